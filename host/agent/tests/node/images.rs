//! Images that come and go.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_agent::ImageGcPolicy;
use berth_image::{Digest, ImageStore};
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

/// Adds layers with a file each to the one image of a `docker save` archive.
fn with_layers(archive: &Path, name: &str, count: usize) -> Vec<u8> {
    let mut files = std::collections::BTreeMap::new();
    let mut read = tar::Archive::new(std::fs::File::open(archive).unwrap());
    for entry in read.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() {
            files.insert(name, bytes);
        }
    }
    let mut manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let image = &mut manifest[0];
    let config_name = image["Config"].as_str().unwrap().to_owned();
    let mut config: Value = serde_json::from_slice(&files[&config_name]).unwrap();
    for number in 0..count {
        let mut layer = tar::Builder::new(Vec::new());
        append(&mut layer, &format!("many/{number:03}"), number.to_string().as_bytes());
        let layer = layer.into_inner().unwrap();
        let file = format!("layer{number}.tar");
        image["Layers"].as_array_mut().unwrap().push(json!(file));
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(Digest::of(&layer).to_string()));
        files.insert(file, layer);
    }
    image["RepoTags"] = json!([name]);
    files.insert(config_name, config.to_string().into_bytes());
    files.insert("manifest.json".to_owned(), json!([manifest[0]]).to_string().into_bytes());
    files.remove("index.json");
    let mut written = tar::Builder::new(Vec::new());
    files.iter().for_each(|(name, bytes)| append(&mut written, name, bytes));
    written.into_inner().unwrap()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).unwrap();
}

pub(crate) async fn an_image_of_127_layers_runs_and_shows_them_all() {
    let world = World::new().await;
    let busybox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images/busybox.tar");
    let store = ImageStore::open(world.data().join("images")).unwrap();
    store.import_reader(with_layers(&busybox, "many:127", 126).as_slice()).unwrap();
    let mut container = shell("c", "sleep 1000");
    (container["image"], container["imagePullPolicy"]) = (json!("many:127"), json!("Never"));
    let pod = world.run("many", json!({ "containers": [container] })).await;
    pod.wait_ready().await;
    let (status, seen) = pod.exec("c", &["sh", "-c", "ls /many | wc -l; cat /many/000 /many/125"]).await;
    assert_eq!((status, seen.trim()), (0, "126\n0125"));
}

/// A registry that takes connections and says nothing.
struct Silent {
    address: String,
    open: Arc<AtomicUsize>,
}

impl Silent {
    fn start() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = Silent { address: listener.local_addr().unwrap().to_string(), open: Arc::default() };
        let open = Arc::clone(&silent.open);
        // Ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let open = Arc::clone(&open);
                open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        silent
    }
}

pub(crate) async fn a_slow_registry_stops_nobody_else_and_its_pulls_end_with_their_pods() {
    /// Less than the time after which a silent registry is given up.
    const AT_ONCE: Duration = Duration::from_secs(20);
    let world = World::new().await;
    let silent = Silent::start();
    let pod = async |name: &str, image: &str| {
        let mut container = shell("c", "true");
        container["image"] = json!(image);
        world.run(name, json!({ "containers": [container] })).await
    };
    let mut slow = Vec::new();
    for number in 0..5 {
        slow.push(pod(&format!("slow-{number}"), &format!("{}/app:{number}", silent.address)).await);
    }
    until("three pull", async || {
        let open = silent.open.load(Ordering::SeqCst);
        if open == 3 { Ok(()) } else { Err(format!("{open} connections")) }
    })
    .await;
    // Nobody listens there, and that is told although the other registry has not answered.
    let other = pod("other", "127.0.0.1:1/app").await;
    let begun = Instant::now();
    other
        .wait("is told", |status| {
            status["containerStatuses"][0]["state"]["waiting"]["message"]
                .to_string()
                .contains("onnection refused")
        })
        .await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());

    let begun = Instant::now();
    for pod in &slow {
        pod.delete().await;
    }
    until("no pull is left", async || {
        let open = silent.open.load(Ordering::SeqCst);
        if open == 0 { Ok(()) } else { Err(format!("{open} connections")) }
    })
    .await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}
