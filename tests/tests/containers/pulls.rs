//! Images from a registry, by the configuration in the data directory.

use crate::{SOON, cluster, contains, ready};
use berth_tests::{Berth, Registry, eventually, holds, images};
use serde_json::Value;

#[track_caller]
fn waits(berth: &Berth, pod: &str, reason: &str) -> String {
    eventually(&format!("{pod} has {reason}"), SOON, || {
        let waiting = berth.get(&["pod", pod])["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        holds(waiting["reason"] == reason, &waiting)
            .map(|()| waiting["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// The events of a pod's container, as `type reason: message`.
fn events(berth: &Berth, pod: &str) -> String {
    let events = berth.get(&["events", "--field-selector", &format!("involvedObject.name={pod}")]);
    let of_container =
        |event: &&Value| event["involvedObject"]["fieldPath"] == format!("spec.containers{{{pod}}}");
    let line = |event: &Value| {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}\n", text("type"), text("reason"), text("message"))
    };
    events["items"].as_array().unwrap().iter().filter(of_container).map(line).collect()
}

#[test]
fn images_come_from_a_mirror_and_what_does_not_come_says_why() {
    let name = "containers::images_come_from_a_mirror_and_what_does_not_come_says_why";
    let Some(mut berth) = cluster(name) else { return };
    let registry = Registry::start();
    let address = registry.address();
    registry.push(&images().join("busybox-oci.tar"), "library/pulled", "v1");
    // The configuration is read when berth starts.
    berth.stop();
    let mirrors = format!("mirrors: {{docker.io: {{endpoint: ['http://{address}']}}}}\n");
    std::fs::write(berth.data().join("registries.yaml"), mirrors).unwrap();
    berth.up();

    let run = |pod: &str, image: &str, policy: &str| {
        let (image, policy) = (format!("--image={image}"), format!("--image-pull-policy={policy}"));
        let command = ["--command", "--", "sleep", "infinity"];
        berth.kubectl(&[&["run", pod, &image, &policy][..], &command].concat()).ok();
    };
    run("mirrored", "pulled:v1", "IfNotPresent");
    ready(&berth, "mirrored");
    let status = berth.get(&["pod", "mirrored"])["status"]["containerStatuses"][0].clone();
    assert_eq!(status["image"], "docker.io/library/pulled:v1");
    contains(status["imageID"].as_str().unwrap(), &["docker.io/library/pulled@sha256:"]);
    eventually("it is told", SOON, || {
        let events = events(&berth, "mirrored");
        let told = [
            "Normal Pulling: Pulling image \"pulled:v1\"\n",
            "Normal Pulled: Successfully pulled image \"pulled:v1\" in ",
        ];
        holds(told.iter().all(|event| events.contains(event)), events)
    });
    let direct = format!("{address}/library/pulled:v1");
    run("direct", &direct, "Always");
    ready(&berth, "direct");

    let missing = format!("{address}/library/pulled:v9");
    run("missing", &missing, "IfNotPresent");
    let message = waits(&berth, "missing", "ErrImagePull");
    contains(&message, &[&missing]);
    let backs_off = waits(&berth, "missing", "ImagePullBackOff");
    contains(&backs_off, &[&format!("Back-off pulling image \"{missing}\": ErrImagePull: "), &message]);
    eventually("it is told", SOON, || {
        let events = events(&berth, "missing");
        let failed = format!("Warning Failed: Failed to pull image \"{missing}\": {message}\n");
        let back_off = format!("Normal BackOff: Back-off pulling image \"{missing}\"\n");
        let told = [
            &failed,
            "Warning Failed: Error: ErrImagePull\n",
            &back_off,
            "Warning Failed: Error: ImagePullBackOff\n",
        ];
        holds(told.iter().all(|event| events.contains(event)), events)
    });

    let absent = r#"--overrides={"spec":{"imagePullSecrets":[{"name":"absent"}]}}"#;
    berth.kubectl(&["run", "unlocked", &format!("--image={missing}"), absent]).ok();
    waits(&berth, "unlocked", "ErrImagePull");
    let selector = "--field-selector=involvedObject.name=unlocked,reason=FailedToRetrieveImagePullSecret";
    eventually("it is told that the secret is not there", SOON, || {
        let message =
            berth.kubectl(&["get", "events", selector, "-o", "jsonpath={.items[0].message}"]).stdout;
        holds(message.starts_with("Unable to retrieve some image pull secrets (absent); "), message)
    });

    // What has been pulled is here; whoever wants it fresh needs the registry.
    drop(registry);
    run("again", &direct, "IfNotPresent");
    ready(&berth, "again");
    run("fresh", &direct, "Always");
    contains(&waits(&berth, "fresh", "ErrImagePull"), &[&direct]);
}
