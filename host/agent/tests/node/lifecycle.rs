//! Probes, hooks, deletion, restarts of the agent, the node itself.

use std::time::{Duration, Instant};

use berth_client::{ApiResource, DeleteOptions, PatchKind};
use serde_json::json;

use crate::containers::shell;
use crate::world::{NODE, World, until};

pub(crate) async fn probes_decide_over_readiness_and_restarts() {
    let world = World::new().await;
    let mut container = shell("c", "while true; do nc -l -p 80 -e true; done");
    container["startupProbe"] = json!({ "exec": { "command": ["true"] }, "periodSeconds": 1 });
    container["readinessProbe"] =
        json!({ "exec": { "command": ["test", "-e", "/ready"] }, "periodSeconds": 1, "failureThreshold": 1 });
    container["livenessProbe"] =
        json!({ "tcpSocket": { "port": 81 }, "periodSeconds": 1, "failureThreshold": 2 });
    let mut healthy = container.clone();
    healthy["livenessProbe"]["tcpSocket"]["port"] = json!(80);

    let pod = world.run("ready", json!({ "containers": [healthy] })).await;
    pod.wait("runs unready", |status| status["containerStatuses"][0]["started"] == true).await;
    pod.wait_event("Unhealthy: Readiness probe failed: ").await;
    assert_eq!(pod.status().await["containerStatuses"][0]["ready"], false);
    assert_eq!(pod.exec("c", &["touch", "/ready"]).await.0, 0);
    let status = pod.wait_ready().await;
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);

    let pod = world.run("dead", json!({ "containers": [container] })).await;
    pod.wait("is restarted", |status| status["containerStatuses"][0]["restartCount"].as_u64() >= Some(1))
        .await;
    pod.wait_event("Killing: Container c failed liveness probe, will be restarted").await;
    pod.delete().await;
}

pub(crate) async fn hooks_and_grace() {
    let world = World::new().await;
    let host = world.data().join("told");
    let mut polite = shell("c", "trap 'echo term >>/told/x; exit 0' TERM; while true; do sleep 0.05; done");
    polite["volumeMounts"] = json!([{ "name": "v", "mountPath": "/told" }]);
    let say = |word: &str| json!({ "exec": { "command": ["sh", "-c", format!("echo {word} >>/told/x")] } });
    polite["lifecycle"] = json!({ "postStart": say("post-start"), "preStop": say("pre-stop") });
    let volumes = json!([{ "name": "v", "hostPath": { "path": host, "type": "DirectoryOrCreate" } }]);
    let spec = json!({ "terminationGracePeriodSeconds": 20, "volumes": volumes, "containers": [polite] });
    let pod = world.run("polite", spec).await;
    pod.wait_ready().await;
    let begun = Instant::now();
    pod.delete().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "it ended by itself");
    assert_eq!(std::fs::read_to_string(host.join("x")).unwrap(), "post-start\npre-stop\nterm\n");

    let pod = world
        .run("stubborn", json!({ "containers": [shell("c", "trap '' TERM; while true; do sleep 1; done")] }))
        .await;
    pod.wait_ready().await;
    let begun = Instant::now();
    pod.delete().await;
    assert!(begun.elapsed() >= Duration::from_millis(900), "it had its second");
}

pub(crate) async fn a_restarted_agent_adopts_everything() {
    let mut world = World::new().await;
    let spec = json!({ "containers": [shell("c", "echo begin; sleep 1000")] });
    let before = world.run("stays", spec.clone()).await.wait_ready().await;
    world.run("goes", spec.clone()).await.wait_ready().await;
    let crashed = world.run("ends", json!({ "restartPolicy": "Never", "containers": [shell("c", "until [ -e /dev/shm/end ]; do sleep 0.02; done; exit 4")] })).await;
    crashed.wait_ready().await;
    let gone = world.pod("goes").await.uid.clone();

    world.stop();
    let shim = world.data().join("run/pods").join(&gone);
    assert!(shim.exists(), "containers outlive the agent");
    world
        .admin
        .delete(ApiResource::PODS, "default", "goes", &DeleteOptions::now(gone.clone()))
        .await
        .unwrap();
    world.start().await;

    until("the deleted pod is cleared", async || {
        if shim.exists() { Err("its shim is there".to_owned()) } else { Ok(()) }
    })
    .await;
    let pod = world.pod("stays").await;
    until("the agent knows the pod", async || match pod.log(pod.log_request("c")).await.as_str() {
        "begin\n" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    assert_eq!(pod.exec("c", &["echo", "x"]).await, (0, "x\n".to_owned()));
    let after = pod.status().await;
    assert_eq!(
        after["containerStatuses"], before["containerStatuses"],
        "the same container, not one restart"
    );
    assert_eq!(after["podIP"], before["podIP"]);
    let pod = world.pod("ends").await;
    assert_eq!(pod.exec("c", &["touch", "/dev/shm/end"]).await.0, 0);
    let status = pod.wait_phase("Failed").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4);
    world.pod("stays").await.delete().await;
}

pub(crate) async fn pods_that_vanish_are_killed() {
    let world = World::new().await;
    let stubborn = shell("c", "trap '' TERM; while true; do sleep 1; done");
    let pod =
        world.run("forced", json!({ "terminationGracePeriodSeconds": 300, "containers": [stubborn] })).await;
    pod.wait_ready().await;
    world
        .admin
        .delete(ApiResource::PODS, "default", "forced", &DeleteOptions::now(pod.uid.clone()))
        .await
        .unwrap();
    let directory = world.data().join("run/pods").join(&pod.uid);
    until(
        "its sandbox is removed",
        async || if directory.exists() { Err("it is there".to_owned()) } else { Ok(()) },
    )
    .await;
}

pub(crate) async fn the_node_registers_and_renews_its_lease() {
    let world = World::new().await;
    let node = until("the node is ready", async || {
        world.admin.get(ApiResource::NODES, "", NODE).await.map_err(|error| error.to_string())
    })
    .await;
    let conditions = node["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"));
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], NODE);
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert!(node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap().starts_with("v1.34."));
    until("its lease is there", async || {
        let lease = world.admin.get(ApiResource::LEASES, "kube-node-lease", NODE).await;
        lease
            .map_err(|error| error.to_string())
            .map(|lease| assert_eq!(lease["spec"]["holderIdentity"], NODE))
    })
    .await;
    // Somebody takes the node for dead: it says that it lives.
    let unknown = json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } });
    world.admin.patch(ApiResource::NODES, "", NODE, "status", PatchKind::Strategic, &unknown).await.unwrap();
    until("it is ready again", async || {
        let node = world.admin.get(ApiResource::NODES, "", NODE).await.map_err(|error| error.to_string())?;
        let conditions = node["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
    })
    .await;
}
