//! Volumes.

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
    assert_ne!(pod.exec("c", &["touch", "/sec/x"]).await.0, 0);
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

pub(crate) async fn empty_dirs_and_host_paths() {
    let world = World::new().await;
    let host = world.data().join("host");
    let mut container = shell("c", "sleep 1000");
    container["volumeMounts"] = json!([
        { "name": "memory", "mountPath": "/memory" },
        { "name": "host", "mountPath": "/host", "subPath": "a/b" },
    ]);
    let pod = world
        .run(
            "dirs",
            json!({
                "volumes": [
                    { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
                    { "name": "host", "hostPath": { "path": host, "type": "DirectoryOrCreate" } },
                ],
                "containers": [container],
            }),
        )
        .await;
    pod.wait_ready().await;
    let (code, _) = pod.exec("c", &["dd", "if=/dev/zero", "of=/memory/x", "bs=1M", "count=2"]).await;
    assert_ne!(code, 0, "it is full after one MiB");
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
