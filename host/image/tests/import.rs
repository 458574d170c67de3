//! Archives in, images out: names, formats, garbage collection, and what each kind of broken archive says.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;

use std::collections::BTreeSet;
use std::fs;

use berth_image::{Digest, ImageError, ImageStore, Removal};
use common::*;
use serde_json::{Value, json};

fn layers() -> Vec<Vec<u8>> {
    vec![Tar::new().dir("etc/").file("etc/base", b"base").build(), Tar::new().file("app", b"app").build()]
}

#[test]
fn a_docker_archive_is_found_by_short_and_full_name() {
    let store = Store::new();
    let layers = layers();
    let imported =
        store.store.import_reader(docker_archive(&["my-app:latest"], &layers, &layers).as_slice()).unwrap();
    assert_eq!(imported[0].names, ["docker.io/library/my-app:latest"]);

    let image = store.store.resolve("my-app").unwrap().unwrap();
    let digests =
        [image.digest.to_string(), image.config_digest.to_string(), format!("my-app@{}", image.digest)];
    for name in ["my-app:latest", "docker.io/my-app", "docker.io/library/my-app:latest"]
        .into_iter()
        .map(str::to_owned)
    {
        assert_eq!(store.store.resolve(&name).unwrap().as_ref(), Some(&image), "{name}");
    }
    for name in digests {
        assert_eq!(store.store.resolve(&name).unwrap().as_ref(), Some(&image), "{name}");
    }
    for name in [
        "my-app:v2".to_owned(),
        "other".to_owned(),
        format!("other@{}", image.digest),
        Digest::of(b"x").to_string(),
    ] {
        assert_eq!(store.store.resolve(&name).unwrap(), None, "{name}");
    }
    assert!(matches!(store.store.resolve("My App"), Err(ImageError::InvalidReference { .. })));

    assert_eq!(read(image.layer_dirs[0].join("app")), "app", "the top layer comes first");
    assert_eq!(read(image.layer_dirs[1].join("etc/base")), "base");
    let config = &image.config;
    assert_eq!(
        (&config.entrypoint[0], &config.cmd[0], &config.env[0]),
        (&"/app".into(), &"serve".into(), &"A=b".into())
    );
    assert_eq!(
        (config.working_dir.as_str(), config.user.as_str(), config.stop_signal.as_str()),
        ("/srv", "1000:1000", "SIGQUIT")
    );
    assert_eq!(
        (&config.exposed_ports[0], &config.volumes[0], &config.labels["l"]),
        (&"80/tcp".into(), &"/data".into(), &"v".into())
    );
    assert_eq!(image.created, "2026-01-02T03:04:05Z");
    assert!(image.size_bytes > layers.iter().map(|layer| layer.len() as u64).sum());
    assert_eq!(store.store.list().unwrap()[0].names, image.names);
}

#[test]
fn archives_and_layers_may_be_compressed() {
    let layers = layers();
    let stored = [gzip(&layers[0]), zstd(&layers[1])];
    let archive = docker_archive(&["a:1", "b:2"], &layers, &stored);
    for (kind, bytes) in [("plain", archive.clone()), ("gzip", gzip(&archive)), ("zstd", zstd(&archive))] {
        let store = Store::new();
        let imported = store.store.import_reader(bytes.as_slice()).unwrap();
        assert_eq!(imported[0].names, ["docker.io/library/a:1", "docker.io/library/b:2"], "{kind}");
        let image = store.store.resolve("b:2").unwrap().unwrap();
        assert_eq!(read(image.layer_dirs[0].join("app")), "app", "{kind}");
    }
}

#[test]
fn old_docker_archives_share_layers_by_links() {
    let layer = layers().remove(1);
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["b/layer.tar"]}]).to_string();
    let archive = Tar::new()
        .file("a/layer.tar", &layer)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("c.json", &config(std::slice::from_ref(&layer)))
        .file("./manifest.json", manifest.as_bytes())
        .build();
    let store = Store::new();
    let imported = store.store.import_reader(archive.as_slice()).unwrap();
    assert!(imported[0].names.is_empty());
    let image = store.store.resolve(&imported[0].digest.to_string()).unwrap().unwrap();
    assert!(image.names.is_empty());
    assert_eq!(read(image.layer_dirs[0].join("app")), "app");
}

#[test]
fn an_oci_layout_with_many_platforms_gives_the_hosts() {
    let layers = layers();
    let (mut ours, mut blobs) = oci_image(&layers, &[gzip(&layers[0]), zstd(&layers[1])]);
    ours["platform"] = json!({"os": "linux", "architecture": architecture()});
    let mut other = ours.clone();
    other["platform"] = json!({"os": "linux", "architecture": "vax"});
    other["digest"] = json!(Digest::of(b"not in the archive").to_string());
    let inner = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other, ours]}).to_string();
    let (mut index, index_bytes) = blob(OCI_INDEX, inner.into_bytes());
    index["annotations"] =
        json!({"io.containerd.image.name": "ghcr.io/me/app:v1", "org.opencontainers.image.ref.name": "v1"});
    blobs.push(index_bytes);

    let archive = oci_archive(&[index.clone()], &blobs);
    let store = Store::new();
    let imported = store.store.import_reader(archive.as_slice()).unwrap();
    assert_eq!(imported[0].names, ["ghcr.io/me/app:v1"]);
    assert_eq!(imported[0].digest.to_string(), ours["digest"].as_str().unwrap(), "the image's own manifest");

    // The same as a directory, named by the specification's annotation.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    for bytes in &blobs {
        fs::write(dir.path().join("blobs/sha256").join(Digest::of(bytes).hex()), bytes).unwrap();
    }
    index["annotations"] = json!({"org.opencontainers.image.ref.name": "my-app:v2"});
    fs::write(dir.path().join("index.json"), json!({"schemaVersion": 2, "manifests": [index]}).to_string())
        .unwrap();
    assert_eq!(store.store.import_archive(dir.path()).unwrap()[0].names, ["docker.io/library/my-app:v2"]);
    let image = store.store.resolve("my-app:v2").unwrap().unwrap();
    assert_eq!(image.names, ["docker.io/library/my-app:v2", "ghcr.io/me/app:v1"], "one image, two names");
}

#[test]
fn broken_archives_each_say_what_is_wrong_and_leave_nothing() {
    let layers = layers();
    let good = docker_archive(&["a"], &layers, &layers);
    let swapped = vec![layers[1].clone(), layers[0].clone()];
    let (descriptor, blobs) = oci_image(&layers, &layers);
    let with = |key: &str, value: Value| {
        let mut changed = descriptor.clone();
        changed[key] = value;
        oci_archive(&[changed], &blobs)
    };
    let mut damaged = oci_archive(std::slice::from_ref(&descriptor), &blobs);
    let at = damaged.windows(8).position(|window| window == b"etc/base").unwrap();
    damaged[at] = b'x';
    let vax = json!({"os": "linux", "architecture": "vax"});
    let docker = |manifest: Value| Tar::new().file("manifest.json", manifest.to_string().as_bytes()).build();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "holds no manifest.json"),
        (
            "no archive",
            b"#!/bin/sh\necho this is a script, not an image archive at all\n".repeat(20),
            "truncated or no tar archive",
        ),
        ("truncated", good[..good.len() / 3].to_vec(), "truncated or no tar archive"),
        ("truncated gzip", gzip(&good)[..200].to_vec(), "truncated or no tar archive"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "unsupported media type \"bzip2\" of image archive"),
        (
            "no manifest",
            Tar::new().file("hello", b"x").build(),
            "holds no manifest.json (docker save) and no index.json",
        ),
        ("bad JSON", Tar::new().file("manifest.json", b"[").build(), "invalid manifest.json: EOF"),
        (
            "missing file",
            docker(json!([{"Config": "c", "Layers": []}])),
            "lacks \"c\", which its manifest names",
        ),
        (
            "traversal",
            docker(json!([{"Config": "../../etc/passwd", "Layers": []}])),
            "leads outside the archive",
        ),
        ("memory bomb", Tar::new().long_name(8 << 20).build(), "an entry's headers are larger than"),
        ("link out", Tar::new().symlink("a", "../../etc/passwd").build(), "leads outside the archive"),
        ("entry out", Tar::new().file("../a", b"").build(), "leads outside the archive"),
        ("swapped layers", docker_archive(&["a"], &layers, &swapped), "is damaged: its digest is"),
        ("layer count", docker_archive(&["a"], &layers[..1], &layers), "it names 1 layers, the manifest 2"),
        ("bad tag", docker_archive(&["UPPER"], &layers, &layers), "couldn't parse image reference \"UPPER\""),
        ("damaged blob", damaged, "is damaged: its digest is"),
        (
            "missing blob",
            with("digest", json!(Digest::of(b"x").to_string())),
            "image archive lacks \"blobs/sha256/",
        ),
        ("md5", with("digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")), "invalid digest"),
        (
            "media type",
            oci_archive(&[blob("x/y", b"{}".to_vec()).0], &[b"{}".to_vec()]),
            "unsupported media type \"x/y\"",
        ),
        ("platform", with("platform", vax), "no match for platform linux/"),
    ];
    for (kind, bytes, expected) in cases {
        let store = Store::new();
        let error = store.store.import_reader(bytes.as_slice()).unwrap_err().to_string();
        assert!(error.contains(expected), "{kind}: {error}");
        assert!(!error.contains('\n'), "{kind}: one sentence: {error}");
        assert_eq!(store.store.list().unwrap(), [], "{kind}");
        assert_eq!(store.count("tmp"), 0, "{kind}");
    }
}

#[test]
fn collection_keeps_what_names_or_containers_need() {
    let store = Store::new();
    let layers = layers();
    let both = docker_archive(&["both"], &layers, &layers);
    let base = docker_archive(&["base", "alias"], &layers[..1], &layers[..1]);
    let used = store.store.import_reader(both.as_slice()).unwrap()[0].digest;
    store.store.import_reader(base.as_slice()).unwrap();
    assert_eq!((store.count("layers"), store.count("blobs/sha256")), (2, 4));

    assert_eq!(store.store.remove("nothing").unwrap(), Removal::NotFound);
    assert_eq!(store.store.remove("alias").unwrap(), Removal::Untagged);
    assert_eq!(store.store.remove("both").unwrap(), Removal::Unreferenced);
    assert_eq!(store.store.resolve("both").unwrap(), None);
    let report = store.store.gc(&BTreeSet::from([used])).unwrap();
    assert_eq!((report.blobs, report.layers), (0, 0), "a container runs from it");
    let report = store.store.gc(&BTreeSet::new()).unwrap();
    assert_eq!((report.blobs, report.layers), (2, 1), "the shared layer stays");
    assert!(store.store.resolve("base").unwrap().is_some());
    store.store.remove("base").unwrap();
    store.store.gc(&BTreeSet::new()).unwrap();
    assert_eq!((store.count("layers"), store.count("blobs/sha256"), store.count("tmp")), (0, 0, 0));
}

#[test]
fn a_reopened_store_knows_its_images_and_clears_what_a_crash_left() {
    let store = Store::new();
    let layers = layers();
    store.store.import_reader(docker_archive(&["a"], &layers, &layers).as_slice()).unwrap();
    let root = store.dir.path().join("images");
    fs::create_dir_all(root.join("tmp/1-1/layer/half")).unwrap();
    let reopened = ImageStore::open(&root).unwrap();
    assert_eq!(store.count("tmp"), 0);
    let image = reopened.resolve("a").unwrap().unwrap();

    // A layer that is lost makes the image absent, not broken: it is imported or pulled again.
    fs::remove_dir_all(&image.layer_dirs[0]).unwrap();
    assert_eq!(reopened.resolve("a").unwrap(), None);
    reopened.import_reader(docker_archive(&["a"], &layers, &layers).as_slice()).unwrap();
    assert_eq!(reopened.resolve("a").unwrap(), Some(image));

    fs::write(root.join("index.json"), "{").unwrap();
    let error = reopened.resolve("a").unwrap_err().to_string();
    assert!(error.starts_with("invalid image index") && error.contains("index.json"), "{error}");
}

#[test]
fn two_processes_may_import_at_once() {
    let store = Store::new();
    let layers = layers();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (store, layers) = (&store, &layers);
            scope.spawn(move || {
                // A store of its own, as another process has it.
                let own = ImageStore::open(store.dir.path().join("images")).unwrap();
                own.import_reader(docker_archive(&[&format!("app:{n}")], layers, layers).as_slice()).unwrap();
                own.gc(&BTreeSet::new()).unwrap();
            });
        }
    });
    assert_eq!(store.store.resolve("app:3").unwrap().unwrap().names.len(), 6);
    assert_eq!(store.count("tmp"), 0);
}
