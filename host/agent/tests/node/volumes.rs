//! Volumes.

use std::time::{Duration, Instant};

use berth_client::{ApiResource, PatchKind};
use serde_json::json;

use crate::containers::shell;
use crate::world::{World, until};

pub(crate) async fn config_secret_and_token_files_follow_their_sources() {
    let world = World::new().await;
    world.create(ApiResource::CONFIG_MAPS, "cfg", json!({ "data": { "k": "one" } })).await;
    world.create(ApiResource::SECRETS, "sec", json!({ "data": { "p": "c2VjcmV0" } })).await;
    let mut container = shell("c", "sleep 1000");
    container["volumeMounts"] = json!([
        { "name": "cfg", "mountPath": "/cfg" },
        { "name": "cfg", "mountPath": "/file", "subPath": "k" },
        { "name": "sec", "mountPath": "/sec", "readOnly": true },
        { "name": "own", "mountPath": "/own" },
    ]);
    let label = json!({ "path": "app", "fieldRef": { "fieldPath": "metadata.labels['app']" } });
    let pod = world
        .run(
            "files",
            json!({
                "volumes": [
                    { "name": "cfg", "configMap": { "name": "cfg" } },
                    { "name": "sec", "secret": { "secretName": "sec", "defaultMode": 256 } },
                    { "name": "own", "downwardAPI": { "items": [label] } },
                ],
                "containers": [container],
            }),
        )
        .await;
    pod.wait_ready().await;
    let read = async |path: &str| pod.exec("c", &["cat", path]).await.1;
    assert_eq!(read("/cfg/k").await, "one");
    assert_eq!(read("/file").await, "one");
    assert_eq!(read("/own/app").await, "files");
    assert_eq!(read("/sec/p").await, "secret");
    assert_eq!(pod.exec("c", &["stat", "-Lc", "%a", "/sec/p"]).await.1, "400\n");
    for path in ["/sec/x", "/cfg/x", "/own/x"] {
        assert_ne!(pod.exec("c", &["touch", path]).await.0, 0, "{path}: what the node writes is the node's");
    }
    assert_ne!(pod.exec("c", &["sh", "-c", "echo x >/file"]).await.0, 0);
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(read(&format!("{account}/ca.crt")).await, "certificate");
    assert_eq!(read(&format!("{account}/namespace")).await, "default");
    assert_eq!(read(&format!("{account}/token")).await.split('.').count(), 3, "a JWT");

    let change = json!({ "data": { "k": "two" } });
    world
        .admin
        .patch(ApiResource::CONFIG_MAPS, "default", "cfg", "", PatchKind::Merge, &change)
        .await
        .unwrap();
    until("the file changes", async || match read("/cfg/k").await.as_str() {
        "two" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    assert_eq!(read("/file").await, "one", "a sub-path keeps what it had");
    pod.delete().await;
}

pub(crate) async fn an_empty_dir_is_its_containers_once_it_is_made() {
    let world = World::new().await;
    let mut container = shell("c", "sleep 1000");
    container["volumeMounts"] = json!([
        { "name": "disk", "mountPath": "/disk" },
        { "name": "memory", "mountPath": "/memory" },
        { "name": "own", "mountPath": "/own" },
    ]);
    let label = json!({ "path": "app", "fieldRef": { "fieldPath": "metadata.labels['app']" } });
    let volumes = json!([
        { "name": "disk", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory" } },
        { "name": "own", "downwardAPI": { "items": [label] } },
    ]);
    let spec =
        json!({ "securityContext": { "fsGroup": 2000 }, "volumes": volumes, "containers": [container] });
    let pod = world.run("owned", spec).await;
    pod.wait_ready().await;
    let look = async || pod.exec("c", &["stat", "-c", "%a %g", "/disk", "/memory"]).await.1;
    assert_eq!(look().await, "2777 2000\n2777 2000\n");
    // As a database does that wants its directory for itself.
    assert_eq!(pod.exec("c", &["sh", "-c", "chmod 700 /disk /memory && chgrp 7 /disk /memory"]).await.0, 0);
    let before = look().await;
    let change = json!({ "metadata": { "labels": { "app": "changed" } } });
    world.admin.patch(ApiResource::PODS, "default", "owned", "", PatchKind::Merge, &change).await.unwrap();
    until("the volumes are brought up to date", async || match pod.exec("c", &["cat", "/own/app"]).await.1 {
        text if text == "changed" => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(look().await, before);
    pod.delete().await;
}

pub(crate) async fn empty_dirs_and_host_paths() {
    let world = World::new().await;
    let host = world.data().join("host");
    let mut container = shell("c", "sleep 1000");
    container["volumeMounts"] = json!([
        { "name": "memory", "mountPath": "/memory" },
        { "name": "unlimited", "mountPath": "/unlimited" },
        { "name": "host", "mountPath": "/host", "subPath": "a/b" },
    ]);
    container["resources"] = json!({ "limits": { "memory": "48Mi" } });
    let pod = world
        .run(
            "dirs",
            json!({
                "volumes": [
                    { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
                    { "name": "unlimited", "emptyDir": { "medium": "Memory" } },
                    { "name": "host", "hostPath": { "path": host, "type": "DirectoryOrCreate" } },
                ],
                "containers": [container],
            }),
        )
        .await;
    pod.wait_ready().await;
    let (code, _) = pod.exec("c", &["dd", "if=/dev/zero", "of=/memory/x", "bs=1M", "count=2"]).await;
    assert_ne!(code, 0, "it is full after one MiB");
    let (_, sizes) = pod.exec("c", &["df", "-k", "/unlimited"]).await;
    assert_eq!(sizes.split_whitespace().nth_back(4), Some("49152"), "as much as the pod may use: {sizes}");
    assert_eq!(pod.exec("c", &["sh", "-c", "echo x >/host/y"]).await.0, 0);
    assert_eq!(std::fs::read_to_string(host.join("a/b/y")).unwrap(), "x\n");
    pod.delete().await;
    assert!(host.join("a/b/y").exists(), "what belongs to the machine stays");

    let wrong = json!([{ "name": "v", "hostPath": { "path": host, "type": "File" } }]);
    let pod = world.run("wrong", json!({ "volumes": wrong, "containers": [shell("c", "true")] })).await;
    pod.wait_event("FailedMount: MountVolume.SetUp failed for volume \"v\" : hostPath type check failed")
        .await;
    pod.delete().await;
}

pub(crate) async fn volumes_of_the_image_are_the_containers_own_and_go_with_it() {
    let world = World::new().await;
    let layer = crate::archive::layer(&[
        ("data/", 0o750, 33, ""),
        ("data/seed", 0o640, 33, "seed\n"),
        ("own/", 0o755, 0, ""),
        ("own/seed", 0o644, 0, "hidden\n"),
    ]);
    let config = json!({ "Volumes": { "/data": {}, "/own/below": {}, "made": {} } });
    world.import_on_busybox("with-volumes:1", &config, &layer);
    let mut container = shell(
        "c",
        "cat /data/seed; ls /own; touch /data/new /made/new; grep -c ' /data \\| /made ' /proc/self/mounts; sleep 1000",
    );
    container["image"] = json!("with-volumes:1");
    container["securityContext"] = json!({ "readOnlyRootFilesystem": true });
    container["volumeMounts"] = json!([{ "name": "own", "mountPath": "/own" }]);
    let spec = json!({ "volumes": [{ "name": "own", "emptyDir": {} }], "containers": [container] });
    let pod = world.run("volumes", spec).await;
    pod.wait_ready().await;
    pod.wait_log("c", "seed\n2\n").await;
    assert_eq!(
        pod.exec("c", &["stat", "-c", "%a %u", "/data", "/data/seed", "/made"]).await.1,
        "750 33\n640 33\n755 0\n"
    );
    let volumes = || {
        let containers =
            std::fs::read_dir(world.data().join("pods").join(&pod.uid).join("containers")).unwrap();
        containers
            .map(|container| container.unwrap().path().join("volumes"))
            .filter(|path| path.exists())
            .collect::<Vec<_>>()
    };
    let before = volumes();
    assert_eq!(before.len(), 1);
    // As any other instance, the next one begins with what the image has.
    assert_eq!(pod.exec("c", &["rm", "/data/seed"]).await.0, 0);
    let shim = nix::unistd::Pid::from_raw(world.shim_pid(&pod));
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    pod.wait("runs anew", |status| {
        let container = &status["containerStatuses"][0];
        container["ready"] == true && container["restartCount"].as_u64() >= Some(1)
    })
    .await;
    assert_eq!(pod.exec("c", &["cat", "/data/seed"]).await.1, "seed\n");
    until("the volumes of the instance before are gone", async || {
        if before[0].exists() { Err(format!("{before:?}")) } else { Ok(()) }
    })
    .await;
    pod.delete().await;
}

pub(crate) async fn a_volume_waits_for_its_source_and_says_so() {
    let world = World::new().await;
    let mut container = shell("c", "cat /late/k; sleep 1000");
    container["volumeMounts"] = json!([{ "name": "late", "mountPath": "/late" }]);
    let volumes = json!([{ "name": "late", "configMap": { "name": "late" } }]);
    let pod = world.run("waits", json!({ "volumes": volumes, "containers": [container] })).await;
    let told =
        "Warning - FailedMount: MountVolume.SetUp failed for volume \"late\" : configmap \"late\" not found";
    pod.wait_event(told).await;
    pod.wait("waits", |status| {
        status["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    })
    .await;
    world.create(ApiResource::CONFIG_MAPS, "late", json!({ "data": { "k": "here\n" } })).await;
    pod.wait_ready().await;
    pod.wait_log("c", "here").await;
    pod.delete().await;
}

pub(crate) async fn a_volume_that_is_never_found_is_looked_for_less_and_less_often() {
    let world = World::new().await;
    let absent = json!([{ "name": "v", "hostPath": { "path": "/no/such/directory", "type": "Directory" } }]);
    let pod = world.run("never", json!({ "volumes": absent, "containers": [shell("c", "true")] })).await;
    pod.wait_event("FailedMount: MountVolume.SetUp failed for volume \"v\"").await;
    let begun = Instant::now();
    until("it has been tried four times", async || {
        let events = world.admin.list(ApiResource::EVENTS, "default", &Default::default()).await.unwrap();
        let failed = events.items.iter().find(|event| event["reason"] == "FailedMount");
        let count = failed.map_or(0, |event| event["count"].as_u64().unwrap());
        if count >= 4 { Ok(()) } else { Err(format!("tried {count} times")) }
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(6), "after 1, 2 and 4 s: {:?}", begun.elapsed());
    pod.delete().await;
}

pub(crate) async fn a_pod_that_writes_more_than_it_may_is_evicted() {
    let world = World::new().await;
    let writer = |path: &str| {
        let mut container = shell("c", &format!("dd if=/dev/zero of={path}/x bs=1M count=3; sleep 1000"));
        container["volumeMounts"] = json!([{ "name": "scratch", "mountPath": "/scratch" }]);
        container
    };
    let volume = |more: serde_json::Value| json!([{ "name": "scratch", "emptyDir": more }]);
    let mut limited = writer("/root");
    limited["resources"] = json!({ "limits": { "ephemeral-storage": "2Mi" } });
    let spec =
        json!({ "volumes": volume(json!({ "sizeLimit": "2Mi" })), "containers": [writer("/scratch")] });
    let in_volume = world.run("volume", spec).await;
    let spec =
        json!({ "volumes": volume(json!({ "sizeLimit": "4Mi" })), "containers": [writer("/scratch")] });
    let within = world.run("within", spec).await;
    let spec = json!({ "volumes": volume(json!({})), "containers": [limited] });
    let in_layer = world.run("layer", spec).await;

    let total = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ";
    let small = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"2Mi\". ";
    for (pod, message) in [(&in_volume, small), (&in_layer, total)] {
        let status = pod.wait_phase("Failed").await;
        assert_eq!((&status["reason"], &status["message"]), (&json!("Evicted"), &json!(message)));
        pod.wait_event(&format!("Warning - Evicted: {message}")).await;
        let ended =
            |status: &serde_json::Value| !status["containerStatuses"][0]["state"]["terminated"].is_null();
        pod.wait("is ended", ended).await;
    }
    assert_eq!(within.status().await["phase"], "Running");
    in_layer.delete().await;
}
