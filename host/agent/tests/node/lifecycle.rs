//! Probes, hooks, deletion, restarts of the agent, the node itself.

use std::time::{Duration, Instant};

use berth_client::{ApiResource, DeleteOptions, PatchKind};
use serde_json::{Value, json};

use crate::containers::shell;
use crate::world::{NODE, Pod, World, until};

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
    let spec = json!({ "terminationGracePeriodSeconds": 20, "volumes": &volumes, "containers": [&polite] });
    let pod = world.run("polite", spec).await;
    pod.wait_ready().await;
    let begun = Instant::now();
    pod.delete().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "it ended by itself");
    assert_eq!(std::fs::read_to_string(host.join("x")).unwrap(), "post-start\npre-stop\nterm\n");

    let mut late = polite.clone();
    late["lifecycle"]["preStop"] = json!({ "exec": { "command": ["sleep", "100"] } });
    let spec = json!({ "volumes": volumes, "containers": [late] });
    let pod = world.run("late", spec).await;
    pod.wait_ready().await;
    pod.delete().await;
    let told = std::fs::read_to_string(host.join("x")).unwrap();
    assert!(
        told.ends_with("post-start\nterm\n"),
        "a hook that takes all the time takes not the signal: {told}"
    );

    let pod = world
        .run("stubborn", json!({ "containers": [shell("c", "trap '' TERM; while true; do sleep 1; done")] }))
        .await;
    pod.wait_ready().await;
    let begun = Instant::now();
    pod.delete().await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "it had its second");
}

pub(crate) async fn http_probes_follow_what_the_server_says() {
    let world = World::new().await;
    let script = "mkdir -p /www/up; touch /www/healthz /www/up/index.html; exec httpd -f -p 8080 -h /www";
    let mut container = shell("c", script);
    container["ports"] = json!([{ "name": "web", "containerPort": 8080 }]);
    let probe = |path: &str| {
        let header = json!([{ "name": "X-Probe", "value": "yes" }]);
        let get = json!({ "path": path, "port": "web", "httpHeaders": header });
        json!({ "httpGet": get, "periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 1 })
    };
    container["readinessProbe"] = probe("/ready");
    container["livenessProbe"] = probe("/healthz");
    // A directory without a slash: httpd redirects.
    container["startupProbe"] = probe("/up");
    container["startupProbe"]["failureThreshold"] = json!(30);
    let pod = world.run("served", json!({ "containers": [container] })).await;
    pod.wait("is started", |status| status["containerStatuses"][0]["started"] == true).await;
    pod.wait_event("Warning spec.containers{c} Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404").await;
    for round in ["once", "twice"] {
        assert_eq!(pod.exec("c", &["touch", "/www/ready"]).await.0, 0);
        pod.wait_ready().await;
        assert_eq!(pod.exec("c", &["rm", "/www/ready"]).await.0, 0);
        let unready = format!("is unready {round}");
        pod.wait(&unready, |status| status["containerStatuses"][0]["ready"] == false).await;
    }
    assert_eq!(pod.status().await["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(pod.exec("c", &["rm", "/www/healthz"]).await.0, 0);
    pod.wait("is restarted", |status| status["containerStatuses"][0]["restartCount"].as_u64() >= Some(1))
        .await;
    pod.wait_event("Normal spec.containers{c} Killing: Container c failed liveness probe, will be restarted")
        .await;
    pod.delete().await;
}

pub(crate) async fn a_grace_has_its_full_length_whenever_it_begins() {
    let world = World::new().await;
    let host = world.data().join("ended");
    let volumes = json!([{ "name": "v", "hostPath": { "path": host, "type": "DirectoryOrCreate" } }]);
    let mut pods = Vec::new();
    for tenth in [1, 3, 5, 7, 9] {
        // A deadline cut to whole seconds comes too early for the last of them, and none needs to hurry.
        let script =
            format!("trap 'sleep 1.3; touch /ended/{tenth}; exit 0' TERM; echo set; sleep 1000 & wait");
        let mut container = shell("c", &script);
        container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/ended" }]);
        let spec =
            json!({ "terminationGracePeriodSeconds": 2, "volumes": volumes, "containers": [container] });
        pods.push((tenth, world.run(&format!("p{tenth}"), spec).await));
    }
    for (_, pod) in &pods {
        pod.wait_log("c", "set").await;
    }
    for (tenth, pod) in &pods {
        let micros = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros();
        let wait = (1_000_000 + tenth * 100_000 - micros) % 1_000_000;
        tokio::time::sleep(Duration::from_micros(wait.into())).await;
        pod.begin_deletion().await;
    }
    for (_, pod) in &pods {
        pod.wait_gone().await;
    }
    let mut ended: Vec<String> = std::fs::read_dir(&host)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    ended.sort();
    assert_eq!(ended, ["1", "3", "5", "7", "9"], "each by itself, and none was killed");
}

pub(crate) async fn a_restarted_agent_neither_cuts_nor_renews_a_grace() {
    /// Of the pod, and how much of it has passed when the agent is there again.
    const GRACE: Duration = Duration::from_secs(6);
    const PASSED: Duration = Duration::from_secs(4);
    let mut world = World::new().await;
    let stubborn = shell("c", "trap 'echo told' TERM; echo set; while :; do sleep 0.05; done");
    let spec = json!({ "terminationGracePeriodSeconds": GRACE.as_secs(), "containers": [stubborn] });
    let begun = {
        let pod = world.run("ends", spec).await;
        pod.wait_log("c", "set").await;
        let begun = Instant::now();
        pod.begin_deletion().await;
        pod.wait_log("c", "told").await;
        begun
    };
    world.stop();
    tokio::time::sleep(PASSED.saturating_sub(begun.elapsed())).await;
    world.start().await;
    world.pod("ends").await.wait_gone().await;
    let took = begun.elapsed();
    assert!(took >= GRACE, "cut short: {took:?}");
    assert!(took < PASSED + GRACE, "begun anew: {took:?}");
}

pub(crate) async fn hooks_that_fail_are_told() {
    let world = World::new().await;
    let failing = json!({ "exec": { "command": ["sh", "-c", "echo secret; exit 1"] } });
    let mut container = shell("c", "sleep 1000");
    container["lifecycle"] = json!({ "postStart": failing });
    let pod = world.run("unhooked", json!({ "containers": [container] })).await;
    pod.wait("is restarted", |status| status["containerStatuses"][0]["restartCount"].as_u64() >= Some(1))
        .await;
    pod.wait_event("Warning spec.containers{c} FailedPostStartHook: PostStartHook failed").await;
    pod.wait_event("Normal spec.containers{c} Killing: FailedPostStartHook").await;
    pod.delete().await;

    let mut container = shell("c", "trap 'exit 0' TERM; while true; do sleep 0.05; done");
    container["lifecycle"] = json!({ "preStop": failing });
    let pod = world
        .run("unstopped", json!({ "terminationGracePeriodSeconds": 20, "containers": [container] }))
        .await;
    pod.wait_ready().await;
    pod.delete().await;
    pod.wait_event("Warning spec.containers{c} FailedPreStopHook: PreStopHook failed").await;
    let told = [world.events("unhooked").await, world.events("unstopped").await].concat();
    assert!(!told.iter().any(|event| event.contains("secret")), "{told:#?}");
}

pub(crate) async fn sidecars_end_after_the_containers_they_serve() {
    let world = World::new().await;
    let host = world.data().join("order");
    let ending = |name: &str, pause: &str| {
        let script = format!(
            "trap 'echo {name} is told >>/order/x; sleep {pause}; echo {name} ends >>/order/x; exit 0' TERM; \
             while true; do sleep 0.05; done"
        );
        let mut container = shell(name, &script);
        container["volumeMounts"] = json!([{ "name": "order", "mountPath": "/order" }]);
        container
    };
    let sidecar = |name: &str| {
        let mut container = ending(name, "0");
        container["restartPolicy"] = json!("Always");
        container
    };
    let volumes = json!([{ "name": "order", "hostPath": { "path": host, "type": "DirectoryOrCreate" } }]);
    let spec = json!({
        "terminationGracePeriodSeconds": 30, "volumes": volumes,
        "initContainers": [sidecar("one"), sidecar("two")], "containers": [ending("main", "0.3")],
    });
    let pod = world.run("ordered", spec).await;
    pod.wait_ready().await;
    pod.delete().await;
    let expected = "main is told\nmain ends\ntwo is told\ntwo ends\none is told\none ends\n";
    assert_eq!(std::fs::read_to_string(host.join("x")).unwrap(), expected);
}

pub(crate) async fn a_lost_sandbox_and_another_image_are_new_instances() {
    let world = World::new().await;
    let pod = world.run("renewed", json!({ "containers": [shell("c", "sleep 1000")] })).await;
    pod.wait_ready().await;
    let shim = nix::unistd::Pid::from_raw(world.shim_pid(&pod));
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    let restarted = |count: u64| {
        move |status: &Value| {
            let container = &status["containerStatuses"][0];
            container["ready"] == true && container["restartCount"].as_u64() == Some(count)
        }
    };
    pod.wait_event("Normal - SandboxChanged: Pod sandbox changed, it will be killed and re-created.").await;
    let status = pod.wait("is restarted in another sandbox", restarted(1)).await;
    let lost = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&lost["reason"], &lost["exitCode"]), (&json!("ContainerStatusUnknown"), &json!(137)));
    let directory = world.data().join("pods").join(&pod.uid).join("containers");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1, "what the lost one wrote is gone");

    let change = json!({ "spec": { "containers": [{ "name": "c", "image": "my-app:latest" }] } });
    world
        .admin
        .patch(ApiResource::PODS, "default", "renewed", "", PatchKind::Strategic, &change)
        .await
        .unwrap();
    let status = pod.wait("runs the other image", restarted(2)).await;
    assert_eq!(status["containerStatuses"][0]["image"], "docker.io/library/my-app:latest");
    assert_eq!(pod.exec("c", &["cat", "/app/version"]).await, (0, "v1\n".to_owned()));
    pod.wait_event("Normal spec.containers{c} Killing: Container c definition changed, will be restarted")
        .await;
    pod.delete().await;
}

pub(crate) async fn a_pod_whose_shim_does_not_answer_is_left_alone() {
    let mut world = World::new().await;
    let spec = json!({ "containers": [shell("c", "sleep 1000")] });
    let before = world.run("hangs", spec.clone()).await.wait_ready().await;
    world.run("unwanted", spec.clone()).await.wait_ready().await;
    let hanging = world.shim_pid(&world.pod("hangs").await);
    let unwanted = world.shim_pid(&world.pod("unwanted").await);
    let sandbox = world.data().join("run/pods").join(&world.pod("unwanted").await.uid);
    let signal = |pid, signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    world.stop();
    signal(hanging, nix::sys::signal::Signal::SIGSTOP);
    signal(unwanted, nix::sys::signal::Signal::SIGSTOP);
    world.start().await;
    world.pod("hangs").await.wait_event("Warning - FailedSync: error determining status: ").await;
    assert_eq!(world.pod("hangs").await.status().await, before, "nothing is done to it");

    // What is to go does not have to answer.
    world.pod("unwanted").await.delete().await;
    assert!(!sandbox.exists(), "its sandbox is removed");

    signal(hanging, nix::sys::signal::Signal::SIGCONT);
    let pod = world.pod("hangs").await;
    is_adopted(&pod, "", &before).await;
    pod.delete().await;
}

/// Waits until the agent knows a pod of an earlier run with this log; it must be as it was. Its status.
async fn is_adopted(pod: &Pod<'_>, log: &str, before: &Value) -> Value {
    until("it is taken over", async || match pod.log(pod.log_request("c")).await {
        text if text == log => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(pod.exec("c", &["echo", "x"]).await, (0, "x\n".to_owned()));
    let after = pod.status().await;
    assert_eq!(
        after["containerStatuses"], before["containerStatuses"],
        "the same container, not one restart"
    );
    after
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
    let after = is_adopted(&pod, "begin\n", &before).await;
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
    let mut world = World::new().await;
    let node = until("the node is ready", async || {
        world.admin.get(ApiResource::NODES, "", NODE).await.map_err(|error| error.to_string())
    })
    .await;
    let conditions = node["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"));
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], NODE);
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert!(node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap().starts_with("v1.37."));
    until("its lease is there", async || {
        let lease = world.admin.get(ApiResource::LEASES, "kube-node-lease", NODE).await;
        lease
            .map_err(|error| error.to_string())
            .map(|lease| assert_eq!(lease["spec"]["holderIdentity"], NODE))
    })
    .await;
    // It is started anew: that changes nothing.
    world.stop();
    let long_ago = "2020-01-01T00:00:00Z";
    let ready = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": long_ago, "lastHeartbeatTime": long_ago }]);
    set_conditions(&world, ready).await;
    world.start().await;
    until("it reports anew", async || {
        let ready = ready_condition(&world).await;
        if ready["lastHeartbeatTime"] == long_ago { Err(ready.to_string()) } else { Ok(()) }
    })
    .await;
    assert_eq!(ready_condition(&world).await["lastTransitionTime"], long_ago, "it has been ready all along");
    // Somebody takes the node for dead: it says that it lives, since now.
    set_conditions(&world, json!([{ "type": "Ready", "status": "Unknown" }])).await;
    until("it is ready again", async || {
        let ready = ready_condition(&world).await;
        if ready["status"] == "True" { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    assert_ne!(ready_condition(&world).await["lastTransitionTime"], long_ago);
}

pub(crate) async fn what_is_added_to_the_nodes_capacity_can_be_allocated() {
    let mut world = World::new().await;
    let patch_capacity = async |world: &World, amount: Value| {
        let patch = json!({ "status": { "capacity": { "example.com/foo": amount } } });
        world
            .admin
            .patch(ApiResource::NODES, "", NODE, "status", PatchKind::Strategic, &patch)
            .await
            .unwrap();
    };
    let wait_allocatable = async |world: &World, amount: Value| {
        until(&format!("{amount} can be allocated"), async || {
            let node =
                world.admin.get(ApiResource::NODES, "", NODE).await.map_err(|error| error.to_string())?;
            let allocatable = &node["status"]["allocatable"];
            if allocatable["example.com/foo"] == amount { Ok(()) } else { Err(allocatable.to_string()) }
        })
        .await;
    };
    until("the node is there", async || {
        world.admin.get(ApiResource::NODES, "", NODE).await.map_err(|e| e.to_string())
    })
    .await;
    patch_capacity(&world, json!("3")).await;
    wait_allocatable(&world, json!("3")).await;
    world.stop();
    patch_capacity(&world, json!("5")).await;
    world.start().await;
    wait_allocatable(&world, json!("5")).await;
    patch_capacity(&world, Value::Null).await;
    wait_allocatable(&world, Value::Null).await;
}

async fn set_conditions(world: &World, conditions: Value) {
    let patch = json!({ "status": { "conditions": conditions } });
    world.admin.patch(ApiResource::NODES, "", NODE, "status", PatchKind::Strategic, &patch).await.unwrap();
}

async fn ready_condition(world: &World) -> Value {
    let node = world.admin.get(ApiResource::NODES, "", NODE).await.unwrap();
    let conditions = node["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap().clone()
}
