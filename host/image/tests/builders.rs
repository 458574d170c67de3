//! Images as the builders of the field write them. Each case is named after the builder that is known for the shape.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use berth_image::Digest;
use common::*;
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// An OCI archive of an image whose layers are stored as they are given, with a media type each.
fn oci(name: &str, layers: &[Vec<u8>], stored: &[(Vec<u8>, &str)], config: Value) -> Vec<u8> {
    let (config, config_bytes) =
        blob("application/vnd.oci.image.config.v1+json", with_diff_ids(config, layers));
    let stored: Vec<_> = stored.iter().map(|(bytes, media_type)| blob(media_type, bytes.clone())).collect();
    let descriptors: Vec<&Value> = stored.iter().map(|(descriptor, _)| descriptor).collect();
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": descriptors});
    let (mut descriptor, manifest_bytes) = blob(OCI_MANIFEST, manifest.to_string().into_bytes());
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    let blobs: Vec<_> =
        stored.iter().map(|(_, bytes)| bytes.clone()).chain([config_bytes, manifest_bytes]).collect();
    oci_archive(&[descriptor], &blobs)
}

fn with_diff_ids(mut config: Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    config.to_string().into_bytes()
}

/// A `docker save` archive whose files have the names given.
fn docker(config_name: &str, tags: Value, layers: &[Vec<u8>], stored: &[(String, Vec<u8>)]) -> Tar {
    let names: Vec<&String> = stored.iter().map(|(name, _)| name).collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]).to_string();
    let mut tar = Tar::new();
    for (name, bytes) in stored {
        tar = tar.file(name, bytes);
    }
    tar.file(config_name, &config(layers)).file("manifest.json", manifest.as_bytes())
}

fn app() -> Vec<u8> {
    Tar::new().dir("app/").file("app/run", b"run").build()
}

const APP: &str = "app/\napp/run = run\n";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Imports an archive, and lists what a container of its image sees.
fn seen_of(archive: &[u8], name: &str) -> Result<String, String> {
    let store = Store::new();
    store.store.import_reader(archive).map_err(|error| error.to_string())?;
    Ok(listing(&store.store.resolve(name).unwrap().unwrap()))
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x50, 0x2a, 0x4d, 0x18], &length[..], content].concat()
}

/// A gzip member for each block, as eStargz has it.
fn members(tar: &[u8]) -> Vec<u8> {
    tar.chunks(512).flat_map(gzip).collect()
}

#[test]
fn layers_without_entries_for_their_directories_as_bazel_and_ko_write_them() {
    for (builder, layer, expected) in [
        (
            "Bazel",
            Tar::new().file("./usr/bin/app", b"a").symlink("./bin", "usr/bin").file("./bin/tool", b"t"),
            "bin -> usr/bin\nusr/\nusr/bin/\nusr/bin/app = a\nusr/bin/tool = t\n",
        ),
        (
            "ko",
            Tar::new()
                .dir("/var")
                .dir("/var/run")
                .dir("/var/run/ko")
                .file("/var/run/ko/a", b"a")
                .file("/ko-app/x", b"x"),
            "ko-app/\nko-app/x = x\nvar/\nvar/run/\nvar/run/ko/\nvar/run/ko/a = a\n",
        ),
        (
            "Jib",
            Tar::new()
                .dir("app/")
                .dir("app/classes/")
                .file("app/classes/A.class", b"A")
                .file("app/jib-classpath-file", b"c"),
            "app/\napp/classes/\napp/classes/A.class = A\napp/jib-classpath-file = c\n",
        ),
        (
            "Nix",
            Tar::new()
                .dir("./")
                .dir("./nix/")
                .dir("./nix/store/")
                .file("./nix/store/abc-x/bin/x", b"x")
                .symlink("./x", "/nix/store/abc-x/bin"),
            "nix/\nnix/store/\nnix/store/abc-x/\nnix/store/abc-x/bin/\nnix/store/abc-x/bin/x = x\nx -> /nix/store/abc-x/bin\n",
        ),
    ] {
        let layer = layer.build();
        let archive = oci("t", std::slice::from_ref(&layer), &[(gzip(&layer), GZIP)], json!({}));
        assert_eq!(seen_of(&archive, "t").unwrap(), expected, "{builder}");
    }
}

#[test]
fn compressed_layers_as_buildkit_podman_and_stargz_write_them() {
    let layer = app();
    let stargz = Tar::new()
        .file(".prefetch.landmark", &[0xf])
        .dir("app/")
        .file("app/run", b"run")
        .file("stargz.index.json", b"{}")
        .build();
    let padded = [app(), vec![0; 9 * 1024]].concat();
    let chunked: Vec<u8> = layer.chunks(700).flat_map(zstd).collect();
    let docker_gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    for (builder, layer, stored, media_type, expected) in [
        ("BuildKit, gzip", &layer, gzip(&layer), GZIP, APP),
        ("BuildKit, zstd", &layer, zstd(&layer), ZSTD, APP),
        ("BuildKit, uncompressed", &layer, layer.clone(), "application/vnd.oci.image.layer.v1.tar", APP),
        ("Docker, called gzip and plain", &layer, layer.clone(), docker_gzip, APP),
        ("called zstd and gzip", &layer, gzip(&layer), ZSTD, APP),
        ("without a media type", &layer, gzip(&layer), "", APP),
        ("pzstd", &layer, [skippable(b"size"), chunked.clone()].concat(), ZSTD, APP),
        (
            "zstd:chunked",
            &layer,
            [chunked, skippable(&[b't'; 5000]), skippable(b"footer")].concat(),
            ZSTD,
            APP,
        ),
        ("pigz, padded to a block", &layer, [gzip(&layer), vec![0; 512]].concat(), GZIP, APP),
        (
            "nondistributable",
            &layer,
            gzip(&layer),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            APP,
        ),
        (
            "eStargz",
            &stargz,
            [members(&stargz), gzip(b"")].concat(),
            GZIP,
            ".prefetch.landmark = \u{f}\napp/\napp/run = run\nstargz.index.json = {}\n",
        ),
        ("Docker, padded to a record", &padded, gzip(&padded), GZIP, APP),
        ("empty layer", &vec![0; 1024], gzip(&[0; 1024]), GZIP, ""),
        ("no bytes at all", &Vec::new(), Vec::new(), GZIP, ""),
        ("no bytes, compressed", &Vec::new(), gzip(b""), GZIP, ""),
    ] {
        let archive = oci("t", std::slice::from_ref(layer), &[(stored, media_type)], json!({}));
        assert_eq!(seen_of(&archive, "t").as_deref(), Ok(expected), "{builder}");
    }
    for (kind, media_type) in [
        ("encrypted", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        ("an attestation", "application/vnd.in-toto+json"),
        ("a model", "application/vnd.ollama.image.model"),
    ] {
        let archive = oci("t", std::slice::from_ref(&layer), &[(gzip(&layer), media_type)], json!({}));
        let error = seen_of(&archive, "t").unwrap_err();
        assert!(
            error.starts_with(&format!("unsupported media type {media_type:?} of layer sha256:")),
            "{kind}: {error}"
        );
    }
}

#[test]
fn archives_as_docker_podman_ko_jib_kaniko_and_nix2container_write_them() {
    let layers = [app()];
    let hex = Digest::of(&layers[0]).hex();
    let config_hex = Digest::of(&config(&layers)).hex();
    let one = |name: &str, bytes: Vec<u8>| vec![(name.to_owned(), bytes)];
    let plain = || layers[0].clone();
    let tags = json!(["example.com/app:v1"]);
    let old = format!("{hex}/layer.tar");
    for (builder, archive) in [
        (
            "docker save before 25",
            docker(&format!("{config_hex}.json"), tags.clone(), &layers, &one(&old, plain()))
                .file(&format!("{hex}/VERSION"), b"1.0")
                .file(&format!("{hex}/json"), b"{}")
                .file("repositories", b"{}"),
        ),
        (
            "podman, skopeo docker-archive",
            docker(
                &format!("{config_hex}.json"),
                tags.clone(),
                &layers,
                &one(&format!("{hex}.tar"), plain()),
            ),
        ),
        (
            "ko --tarball, kaniko, crane",
            docker(
                &format!("sha256:{config_hex}"),
                tags.clone(),
                &layers,
                &one(&format!("{hex}.tar.gz"), gzip(&layers[0])),
            ),
        ),
        (
            "jib buildTar",
            docker("config.json", tags.clone(), &layers, &one(&format!("{hex}.tar.gz"), gzip(&layers[0]))),
        ),
        (
            "nix2container, absolute",
            docker("/config.json", tags.clone(), &layers, &one(&format!("/{hex}/layer.tar"), plain())),
        ),
        ("dot-slash", docker("./config.json", tags.clone(), &layers, &one(&format!("./{hex}.tar"), plain()))),
    ] {
        assert_eq!(seen_of(&archive.build(), "example.com/app:v1").as_deref(), Ok(APP), "{builder}");
    }
}

#[test]
fn docker_save_since_25_has_both_forms_and_the_other_platforms_missing() {
    let layers = [app()];
    let (mut ours, blobs) = oci_image(&layers, &[gzip(&layers[0])]);
    ours["platform"] = json!({ "os": "linux", "architecture": architecture() });
    let missing = |os: &str, architecture: &str, annotations: Value| {
        json!({ "mediaType": OCI_MANIFEST, "digest": Digest::of(os.as_bytes()).to_string(), "size": 3,
            "platform": { "os": os, "architecture": architecture }, "annotations": annotations })
    };
    let attestation = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let inner = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        missing("unknown", "unknown", attestation), missing("linux", "vax", json!({})), ours,
    ] });
    let (mut index, index_bytes) = blob(OCI_INDEX, inner.to_string().into_bytes());
    index["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/app:v1",
        "org.opencontainers.image.ref.name": "v1" });
    let manifest = json!([{ "Config": "blobs/sha256/none", "RepoTags": ["app:v1"], "Layers": [] }]);
    let index_json = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [index] });
    let mut archive = Tar::new();
    for bytes in blobs.iter().chain([&index_bytes]) {
        archive = archive.file(&format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes);
    }
    let archive = archive
        .file("index.json", index_json.to_string().as_bytes())
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(seen_of(&archive.build(), "app:v1").as_deref(), Ok(APP));
}

#[test]
fn an_index_gives_the_image_that_asks_least_of_the_processor_and_never_an_attestation() {
    let layers = [app()];
    let (ours, blobs) = oci_image(&layers, &[gzip(&layers[0])]);
    let with = |mut entry: Value, change: Value| {
        entry.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        entry
    };
    let other = json!({ "mediaType": OCI_MANIFEST, "digest": Digest::of(b"other").to_string(), "size": 3 });
    let platform = |variant: Option<&str>| {
        let mut platform = json!({ "os": "linux", "architecture": architecture() });
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        json!({ "platform": platform })
    };
    let unknown = json!({ "platform": { "os": "unknown", "architecture": "unknown" } });
    for (kind, entries) in [
        (
            "the plain one before v3",
            vec![with(other.clone(), platform(Some("v3"))), with(ours.clone(), platform(None))],
        ),
        (
            "v2 before v3",
            vec![with(other.clone(), platform(Some("v3"))), with(ours.clone(), platform(Some("v2")))],
        ),
        ("beside an attestation without a mark", vec![with(other.clone(), unknown), ours.clone()]),
        (
            "beside a signature",
            vec![with(other.clone(), json!({ "artifactType": "application/vnd.dev.cosign" })), ours.clone()],
        ),
        ("without platforms", vec![ours.clone()]),
    ] {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
        let (mut index, bytes) = blob(OCI_INDEX, index.to_string().into_bytes());
        index["annotations"] = json!({ "org.opencontainers.image.ref.name": "t" });
        let blobs: Vec<_> = blobs.iter().cloned().chain([bytes]).collect();
        assert_eq!(seen_of(&oci_archive(&[index], &blobs), "t").as_deref(), Ok(APP), "{kind}");
    }
}

#[test]
fn configs_with_history_and_without_as_docker_and_buildpacks_write_them() {
    let layers = [app(), Tar::new().file("x", b"x").build()];
    let stored: Vec<_> = layers.iter().map(|layer| (gzip(layer), GZIP)).collect();
    let history =
        json!([{ "created_by": "COPY", "empty_layer": false }, { "created_by": "ENV", "empty_layer": true }]);
    for (builder, config) in [
        ("Docker", json!({ "architecture": architecture(), "os": "linux", "history": history })),
        (
            "buildpacks, long ago",
            json!({ "architecture": architecture(), "os": "linux", "created": "1980-01-01T00:00:01Z", "config": null, "history": null }),
        ),
        ("by hand", json!({})),
    ] {
        let seen = seen_of(&oci("t", &layers, &stored, config), "t").unwrap();
        assert_eq!(seen, "app/\napp/run = run\nx = x\n", "{builder}");
    }
}

#[test]
fn headers_as_gnu_tar_bsdtar_and_go_write_them() {
    let store = Store::new();
    let header = |name: &str, kind: EntryType| {
        let mut header = Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header
    };
    // Before 1970 and beyond 21 bits: in binary.
    let mut old = header("old", EntryType::Regular);
    old.as_old_mut().mtime = [0xff; 12];
    old.set_uid(3_000_000_000);
    // Fields that a writer left empty.
    let mut blank = header("blank", EntryType::Regular);
    (blank.as_old_mut().uid, blank.as_old_mut().gid, blank.as_old_mut().mtime) = ([0; 8], [b' '; 8], [0; 12]);
    // A directory of Unix V7.
    let mut v7 = Header::new_old();
    v7.as_old_mut().name[..4].copy_from_slice(b"dir/");
    v7.as_old_mut().linkflag = [0];
    v7.set_mode(0o755);
    v7.set_uid(0);
    v7.set_gid(0);
    v7.set_mtime(0);
    v7.set_size(0);
    let long = format!("{}/name", "d".repeat(200));
    let mut block = header("disk", EntryType::Block);
    block.set_device_major(8).unwrap();
    block.set_device_minor(1).unwrap();
    let layer = Tar::new()
        .entry(EntryType::XGlobalHeader, "pax_global_header", "", 0o644, b"19 comment=abcdefg\n")
        .raw(old, b"")
        .raw(blank, b"")
        .raw(v7, b"")
        .pax(&[
            ("path", long.as_bytes()),
            ("mtime", b"-1.5"),
            ("uid", b"100000"),
            ("gid", b"4294967294"),
            ("SCHILY.xattr.user.note", b"n"),
            ("SCHILY.xattr.security.selinux", b"x"),
        ])
        .file("short", b"x")
        .pax(&[("linkpath", b"a/target/that/is/in/a/record")])
        .symlink("link", "short")
        .entry(EntryType::Regular, "suid", "", 0o6755, b"s")
        .raw(block, b"")
        .build();
    let root = unpack(&store, layer).unwrap();
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((stat("old").mtime(), stat("old").uid()), (-1, 3_000_000_000));
    assert_eq!((stat("blank").uid(), stat("blank").mtime()), (0, 0));
    assert!(stat("dir").is_dir());
    let long = stat(&long);
    assert_eq!(
        (long.mtime(), long.mtime_nsec(), long.uid(), long.gid()),
        (-2, 500_000_000, 100_000, 4_294_967_294)
    );
    assert_eq!(fs::read_link(root.join("link")).unwrap().to_str().unwrap(), "a/target/that/is/in/a/record");
    assert_eq!(stat("suid").mode() & 0o7777, 0o6755);
    assert!(stat("disk").file_type().is_block_device());
}

#[test]
fn a_layer_may_come_again_as_the_empty_one_of_old_docker_does() {
    let (empty, app) = (vec![0; 1024], app());
    let hides = Tar::new().file(".wh.app", b"").build();
    for (kind, layers, expected) in [
        ("empty", vec![empty.clone(), app.clone(), empty.clone(), empty], APP),
        ("with something", vec![app.clone(), app.clone()], APP),
        ("removed in between", vec![app.clone(), hides.clone(), app.clone()], APP),
        ("removed twice", vec![hides.clone(), app, hides], ""),
    ] {
        let store = Store::new();
        assert_eq!(listing(&import(&store, "t", &layers).unwrap()), expected, "{kind}");
    }
}

#[test]
fn an_image_of_127_layers_shows_them_all() {
    let layers: Vec<_> = (0..127)
        .map(|n| Tar::new().file(&format!("deep/f{n:03}"), n.to_string().as_bytes()).build())
        .collect();
    let store = Store::new();
    let image = import(&store, "t", &layers).unwrap();
    assert_eq!(image.layer_dirs.len(), 127);
    for (n, layer) in image.layer_dirs.iter().rev().enumerate() {
        assert_eq!(read(layer.join(format!("deep/f{n:03}"))), n.to_string());
    }
}
