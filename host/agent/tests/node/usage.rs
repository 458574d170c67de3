//! What containers use, and what pods say of themselves.

use berth_client::{ApiResource, NodeApi, PatchKind};
use berth_metrics::PodSample;
use serde_json::json;

use crate::world::{Pod, World, until};

const SERVES: &str = "mkdir /www; printf 'open 3\\n# TYPE hits_total counter\\nhits_total 5\\n' >/www/metrics; \
                      httpd -p 8080 -h /www; while :; do :; done";

async fn measured(world: &World, pod: &Pod<'_>) -> Option<PodSample> {
    let sample = world.node().usage().await.unwrap();
    assert!(sample.cpu_nanos > 0 && sample.memory_bytes > 0, "{sample:?}");
    sample.pods.into_iter().find(|sample| sample.uid == pod.uid)
}

async fn annotate(world: &World, pod: &Pod<'_>, name: &str, text: &str) {
    let patch = json!({"metadata": {"annotations": {format!("prometheus.io/{name}"): text}}});
    let patched = world.admin.patch(ApiResource::PODS, "default", &pod.name, "", PatchKind::Merge, &patch);
    patched.await.unwrap();
}

pub(crate) async fn a_node_says_what_its_containers_have_used_and_what_they_say() {
    let world = World::new().await;
    let container = |name: &str, command: &[&str]| {
        json!({
            "name": name, "image": "busybox:latest", "imagePullPolicy": "IfNotPresent", "command": command,
            "resources": {"limits": {"cpu": "100m"}},
        })
    };
    let containers = [
        container("serves", &["sh", "-c", SERVES]),
        container("ends", &["sh", "-c", "until [ -e /end ]; do sleep 0.1; done"]),
    ];
    let pod = world.run("busy", json!({"containers": containers})).await;
    pod.wait_ready().await;
    let first = measured(&world, &pod).await.unwrap();
    let of = |sample: &PodSample, name: &str| sample.containers.iter().find(|one| one.name == name).cloned();
    let (serves, ends) = (of(&first, "serves").unwrap(), of(&first, "ends").unwrap());
    assert!(serves.memory_bytes > 0 && first.values.is_empty());
    until("it uses its processor", async || {
        let sample = measured(&world, &pod).await.ok_or("it is not measured")?;
        let now = of(&sample, "serves").ok_or("its container is not measured")?;
        assert_eq!(now.instance, serves.instance);
        if now.cpu_nanos > serves.cpu_nanos { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;

    annotate(&world, &pod, "scrape", "true").await;
    until("the annotation that lacks is told", async || {
        measured(&world, &pod).await.ok_or("it is not measured")?;
        let events = world.events(&pod.name).await;
        let wanted = "ScrapeFailed: annotation prometheus.io/port is missing";
        if events.iter().any(|event| event.contains(wanted)) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
    annotate(&world, &pod, "port", "8080").await;
    until("its metrics are read", async || {
        let sample = measured(&world, &pod).await.ok_or("it is not measured")?;
        let seen: Vec<_> = sample.values.iter().map(|(name, value)| (&**name, *value)).collect();
        if seen == [("open", 3_000)] { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    pod.exec("ends", &["touch", "/end"]).await;
    until("the instance that was started again is another one", async || {
        let sample = measured(&world, &pod).await.ok_or("it is not measured")?;
        let now = of(&sample, "ends").ok_or("its container is not measured")?;
        if now.instance != ends.instance { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    pod.delete().await;
    assert_eq!(measured(&world, &pod).await, None);
}
