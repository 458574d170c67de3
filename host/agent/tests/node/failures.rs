//! Containers that do not run, or not for long.

use berth_client::{ApiResource, PatchKind};
use serde_json::{Value, json};

use crate::containers::shell;
use crate::world::{World, until};

fn waiting(status: &Value) -> &Value {
    &status["containerStatuses"][0]["state"]["waiting"]
}

pub(crate) async fn what_cannot_start_says_why() {
    let world = World::new().await;
    let with = |change: fn(&mut Value)| {
        let mut container = shell("c", "sleep 1000");
        change(&mut container);
        json!({ "containers": [container] })
    };

    let pod = world
        .run(
            "noimage",
            with(|c| {
                c["image"] = json!("nope");
                c["imagePullPolicy"] = json!("Never")
            }),
        )
        .await;
    let status = pod.wait("never pulls", |status| waiting(status)["reason"] == "ErrImageNeverPull").await;
    assert_eq!(
        waiting(&status)["message"],
        "Container image \"nope\" is not present with pull policy of Never"
    );

    let pod = world.run("badimage", with(|c| c["image"] = json!("Nope:x"))).await;
    let status = pod.wait("refuses", |status| waiting(status)["reason"] == "InvalidImageName").await;
    assert!(waiting(&status)["message"].as_str().unwrap().contains("repository name must be lowercase"));

    let pod = world.run("far", with(|c| c["image"] = json!("127.0.0.1:1/x"))).await;
    pod.wait("backs off", |status| waiting(status)["reason"] == "ImagePullBackOff").await;
    for event in [
        "Normal spec.containers{c} Pulling: Pulling image \"127.0.0.1:1/x\"",
        "Warning spec.containers{c} Failed: Failed to pull image \"127.0.0.1:1/x\": ",
        "Warning spec.containers{c} Failed: Error: ErrImagePull",
        "Normal spec.containers{c} BackOff: Back-off pulling image \"127.0.0.1:1/x\"",
        "Warning spec.containers{c} Failed: Error: ImagePullBackOff",
    ] {
        pod.wait_event(event).await;
    }
    let refused = pod.log(pod.log_request("c")).await;
    assert_eq!(
        refused,
        "container \"c\" in pod \"far\" is waiting to start: trying and failing to pull image"
    );

    let pod = world.run("nocommand", with(|c| c["command"] = json!(["nope"]))).await;
    let status = pod
        .wait("fails", |s| s["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "StartError")
        .await;
    let end = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(end["exitCode"], 127);
    assert!(end["message"].as_str().unwrap().contains("executable file not found in $PATH"), "{end}");

    let non_root = with(|c| c["securityContext"] = json!({ "runAsNonRoot": true }));
    let pod = world.run("root", non_root).await;
    let status =
        pod.wait("refuses", |status| waiting(status)["reason"] == "CreateContainerConfigError").await;
    let message = waiting(&status)["message"].as_str().unwrap();
    assert!(message.starts_with("container has runAsNonRoot and image will run as root"), "{message}");

    let reference = |c: &mut Value| {
        c["env"] =
            json!([{ "name": "X", "valueFrom": { "configMapKeyRef": { "name": "later", "key": "k" } } }]);
    };
    let pod = world.run("later", with(reference)).await;
    let status = pod.wait("waits", |status| waiting(status)["reason"] == "CreateContainerConfigError").await;
    assert_eq!(waiting(&status)["message"], "configmap \"later\" not found");
    world.create(ApiResource::CONFIG_MAPS, "later", json!({ "data": { "k": "v" } })).await;
    pod.wait_ready().await;
    assert_eq!(pod.exec("c", &["sh", "-c", "echo $X"]).await.1, "v\n");
}

pub(crate) async fn a_sub_path_waits_until_it_stays_in_its_volume() {
    let world = World::new().await;
    let run = async |name: &str, mount: Value| {
        let mut container = shell("c", "echo x >/v/file; sleep 1000");
        container["env"] = json!([
            { "name": "PART", "valueFrom": { "fieldRef": { "fieldPath": "metadata.annotations['part']" } } },
            { "name": "UP", "value": ".." },
        ]);
        container["volumeMounts"] = json!([mount]);
        container["volumeMounts"][0]["name"] = json!("v");
        container["volumeMounts"][0]["mountPath"] = json!("/v");
        let mut links = shell("links", "ln -s /etc /all/out");
        links["volumeMounts"] = json!([{ "name": "v", "mountPath": "/all" }]);
        let volumes = json!([{ "name": "v", "emptyDir": {} }]);
        world
            .run(name, json!({ "volumes": volumes, "initContainers": [links], "containers": [container] }))
            .await
    };
    for (name, mount, message) in [
        (
            "up",
            json!({ "subPathExpr": "$(UP)" }),
            "the subPath \"..\" of volumeMount \"v\" must not contain '..'",
        ),
        (
            "link",
            json!({ "subPath": "out" }),
            "failed to prepare the volumeMounts of container \"c\": the subPath \"out\" of the mount on /v leads out of its volume",
        ),
    ] {
        let pod = run(name, mount).await;
        let status =
            pod.wait("waits", |status| waiting(status)["reason"] == "CreateContainerConfigError").await;
        assert_eq!(waiting(&status)["message"], message);
        pod.wait_event(&format!("Warning spec.containers{{c}} Failed: Error: {message}")).await;
        pod.delete().await;
    }
    let pod = run("later", json!({ "subPathExpr": "$(PART)" })).await;
    let status = pod.wait("waits", |status| waiting(status)["reason"] == "CreateContainerConfigError").await;
    let message = "failed to expand the subPathExpr \"$(PART)\" of volumeMount \"v\": missing value for PART";
    assert_eq!(waiting(&status)["message"], message);
    let change = json!({ "metadata": { "annotations": { "part": "mine" } } });
    world.admin.patch(ApiResource::PODS, "default", "later", "", PatchKind::Merge, &change).await.unwrap();
    pod.wait_ready().await;
    let file = world.data().join("pods").join(&pod.uid).join("volumes/v/mine/file");
    until("it writes there", async || std::fs::read(&file).map_err(|error| error.to_string())).await;
    pod.delete().await;
}

pub(crate) async fn what_a_pod_may_not_have_fails_it() {
    let world =
        World::with(|config| config.allowed_unsafe_sysctls = vec!["kernel.msg*".parse().unwrap()]).await;
    let with = |sysctl: &str, value: &str| {
        json!({
            "securityContext": { "sysctls": [{ "name": sysctl, "value": value }] },
            "containers": [shell("c", "sleep 1000")],
        })
    };
    let pod = world.run("unsafe", with("net.ipv4.ip_forward", "1")).await;
    let status = pod.wait_phase("Failed").await;
    assert_eq!(status["reason"], "SysctlForbidden");
    let message =
        "forbidden sysctl: \"net.ipv4.ip_forward\" not allowlisted; see berth up --allowed-unsafe-sysctls";
    assert_eq!(status["message"], format!("Pod was rejected: {message}"));
    assert!(status["containerStatuses"].is_null(), "nothing waits: {status}");
    pod.wait_event(&format!("Warning - SysctlForbidden: {message}")).await;
    pod.delete().await;

    let pod = world.run("allowed", with("kernel.msgmax", "1234")).await;
    pod.wait_ready().await;
    assert_eq!(pod.exec("c", &["cat", "/proc/sys/kernel/msgmax"]).await.1, "1234\n");
    let pod = world.run("safe", with("net/ipv4/ip_unprivileged_port_start", "7")).await;
    pod.wait_ready().await;
    assert_eq!(pod.exec("c", &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).await.1, "7\n");
}

pub(crate) async fn crashes_are_restarted_with_growing_pauses() {
    let world = World::new().await;
    let pod =
        world.run("crash", json!({ "containers": [shell("c", "echo said $(date +%s%N); exit 3")] })).await;
    let status = pod.wait("backs off", |status| waiting(status)["reason"] == "CrashLoopBackOff").await;
    let message = waiting(&status)["message"].as_str().unwrap();
    assert!(
        message.starts_with("back-off ")
            && message.contains("restarting failed container=c pod=crash_default("),
        "{message}"
    );
    let told = format!("Back-off restarting failed container c in pod crash_default({})", pod.uid);
    pod.wait_event(&format!("Warning spec.containers{{c}} BackOff: {told}")).await;
    let status =
        pod.wait("was restarted", |s| s["containerStatuses"][0]["restartCount"].as_u64() >= Some(2)).await;
    let end = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(3), &json!("Error")));
    let mut request = pod.log_request("c");
    request.previous = true;
    let previous = pod.log(request).await;
    assert!(previous.starts_with("said "), "{previous}");
    pod.delete().await;
}

pub(crate) async fn pods_that_end_are_counted_as_they_ended() {
    let world = World::new().await;
    let never = |script: &str| {
        let mut container = shell("c", script);
        container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        json!({ "restartPolicy": "Never", "containers": [container] })
    };
    let good = world.run("good", never("echo bye >/dev/termination-log")).await;
    let bad = world.run("bad", never("echo last words; exit 5")).await;
    let late = world
        .run("late", json!({ "activeDeadlineSeconds": 1, "containers": [shell("c", "sleep 1000")] }))
        .await;
    let mut elsewhere = never("echo elsewhere >/tmp/why; echo not this");
    elsewhere["containers"][0]["terminationMessagePath"] = json!("/tmp/why");
    let elsewhere = world.run("elsewhere", elsewhere).await;
    let mut mount = shell("c", "[ -e /work/again ] && exit 0; touch /work/again; exit 1");
    mount["volumeMounts"] = json!([{ "name": "work", "mountPath": "/work" }]);
    let volumes = json!([{ "name": "work", "emptyDir": {} }]);
    let again = json!({ "restartPolicy": "OnFailure", "volumes": volumes, "containers": [mount] });
    let again = world.run("again", again).await;
    let end = |status: &Value| status["containerStatuses"][0]["state"]["terminated"].clone();
    assert_eq!(end(&elsewhere.wait_phase("Succeeded").await)["message"], "elsewhere\n");
    let status = again.wait_phase("Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["restartCount"], 1, "{status}");
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    let volumes = world.data().join("pods").join(&again.uid).join("volumes");
    until("its volumes are removed", async || {
        if volumes.exists() { Err("they are there".to_owned()) } else { Ok(()) }
    })
    .await;
    let good = end(&good.wait_phase("Succeeded").await);
    assert_eq!((&good["reason"], &good["message"]), (&json!("Completed"), &json!("bye\n")));
    let status = bad.wait_phase("Failed").await;
    assert_eq!((&end(&status)["exitCode"], &end(&status)["message"]), (&json!(5), &json!("last words\n")));
    assert_eq!(bad.log(bad.log_request("c")).await, "last words\n", "the log stays");
    assert_eq!(late.wait_phase("Failed").await["reason"], "DeadlineExceeded");
    bad.delete().await;
}

pub(crate) async fn memory_limits_kill() {
    let world = World::new().await;
    let mut container = shell("c", "x=a; while true; do x=$x$x; done");
    container["resources"] = json!({ "limits": { "memory": "16Mi" } });
    let pod = world.run("greedy", json!({ "restartPolicy": "Never", "containers": [container] })).await;
    let status = pod.wait_phase("Failed").await;
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)));
    pod.delete().await;
}
