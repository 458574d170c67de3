//! Images that come and go.

use std::path::{Path, PathBuf};

use berth_agent::ImageGcPolicy;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::containers::shell;
use crate::world::{NODE, World, until};

/// A small file system of its own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: u32) -> SmallDisk {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        SmallDisk(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

pub(crate) async fn unused_images_go_when_the_disk_fills_up() {
    let mut world = World::with(|config| {
        config.image_gc = ImageGcPolicy { high_percent: 60, low_percent: 20, age_ms_min: 0, period_ms: 50 };
        SmallDisk::mount(&config.data_dir.join("images"), 64)
    })
    .await;
    let images = world.data().join("images");
    let uses = world.run("uses", json!({ "containers": [shell("c", "sleep 1000")] })).await;
    let busybox = digest(&uses.wait_ready().await);
    let my_app = digest(&try_image(&world, "my-app:v1").await);

    // The disk fills up. What was imported here could not come from anywhere else: it stays, and it is said.
    std::fs::write(images.join("ballast"), vec![0; 45 << 20]).unwrap();
    until("it is said", async || {
        let events = world.events(NODE).await;
        let said = "Warning - FreeDiskSpaceFailed: Failed to garbage collect required amount of images.";
        if events.iter().any(|event| event.starts_with(said)) { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
    assert_eq!(digest(&try_image(&world, "my-app:v1").await), my_app);

    // The same images, as if they had come from a registry: what a pod runs from stays.
    world.stop();
    let pulled = json!({
        "docker.io/library/busybox:latest": busybox,
        "docker.io/library/my-app:latest": my_app,
        "docker.io/library/my-app:v1": my_app,
    });
    std::fs::write(images.join("pulled.json"), pulled.to_string()).unwrap();
    world.start().await;
    until("it is gone", async || {
        let layers = std::fs::read_dir(images.join("layers")).unwrap().count();
        if layers == 1 { Ok(()) } else { Err(format!("{layers} layers")) }
    })
    .await;
    let gone = try_image(&world, "my-app:v1").await;
    assert_eq!(gone["containerStatuses"][0]["state"]["waiting"]["reason"], "ErrImageNeverPull");
    assert_eq!(digest(&try_image(&world, "busybox").await), busybox);
    assert_eq!(world.pod("uses").await.exec("c", &["echo", "x"]).await, (0, "x\n".to_owned()));
}

/// The status of a pod that has run from an image, or could not.
async fn try_image(world: &World, image: &str) -> Value {
    let mut container = shell("c", "true");
    (container["image"], container["imagePullPolicy"]) = (json!(image), json!("Never"));
    let pod = world.run("tries", json!({ "restartPolicy": "Never", "containers": [container] })).await;
    let status = pod
        .wait("is told", |status| {
            let state = &status["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == "ErrImageNeverPull" || !state["terminated"].is_null()
        })
        .await;
    pod.delete().await;
    status
}

fn digest(status: &Value) -> String {
    let id = status["containerStatuses"][0]["imageID"].as_str().unwrap();
    id.split_once('@').unwrap().1.to_owned()
}
