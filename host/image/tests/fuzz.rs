//! Inputs that nobody has thought of. Whatever comes in: nothing outside the layer is written, nothing panics, what is
//! refused is refused in one plain sentence and leaves nothing, and what is taken is what a simple model makes of it.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;
mod model;

use std::fs;
use std::path::PathBuf;

use common::*;
use model::{Entry, Model};
use serde_json::json;

/// Inputs of each kind in a normal run: some seconds' worth. `BERTH_FUZZ_ITERATIONS` sets another number.
const ITERATIONS: usize = 200;
/// The longest message, in bytes: names of layer and entry, and a sentence.
const MESSAGE_BYTES_MAX: usize = 2000;

fn iterations() -> usize {
    let wanted = std::env::var("BERTH_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(ITERATIONS)
}

/// A store with a tree beside it that nobody may touch.
struct Guarded {
    store: Store,
}

impl Guarded {
    fn new() -> Guarded {
        let store = Store::in_memory();
        let beside = store.dir.path().join("beside");
        fs::create_dir_all(beside.join("sub")).unwrap();
        fs::write(beside.join("sub/file"), "untouched").unwrap();
        Guarded { store }
    }

    fn beside(&self) -> PathBuf {
        self.store.dir.path().join("beside")
    }

    /// What must hold after anything was imported.
    fn check(&self, error: Option<&str>) {
        let names = |path: PathBuf| -> Vec<_> {
            let mut names: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.store.dir.path().to_owned()), ["beside", "images"]);
        assert_eq!(names(self.beside()), ["sub"]);
        assert_eq!(names(self.beside().join("sub")), ["file"]);
        assert_eq!(read(self.beside().join("sub/file")), "untouched");
        assert_eq!(self.store.count("tmp"), 0);
        if let Some(error) = error {
            assert!(error.len() < MESSAGE_BYTES_MAX && !error.chars().any(char::is_control), "{error:?}");
        }
    }

    fn import(&self, archive: &[u8]) {
        let result = self.store.store.import_reader(archive).map_err(|error| error.to_string());
        self.check(result.err().as_deref());
    }
}

#[test]
fn layers_show_what_a_simple_model_makes_of_them() {
    bolero::check!().with_iterations(iterations()).with_max_len(160).for_each(|input: &[u8]| {
        let guarded = Guarded::new();
        let layers = model::layers(input, guarded.beside().to_str().unwrap());
        let mut model = Model::default();
        let expected = layers.iter().try_for_each(|layer| model.apply(layer)).map(|()| model.listing());
        let tars: Vec<Vec<u8>> =
            layers.iter().map(|layer| layer.iter().fold(Tar::new(), put).build()).collect();
        let image = import(&guarded.store, "t", &tars);
        guarded.check(image.as_ref().err().map(String::as_str));
        match (image, expected) {
            (Ok(image), Ok(expected)) => assert_eq!(listing(&image), expected, "{layers:#?}"),
            (Err(_), Err(())) => {}
            (image, expected) => panic!("{image:?} instead of {expected:?}: {layers:#?}"),
        }
    });
}

fn put(tar: Tar, entry: &Entry) -> Tar {
    match entry {
        Entry::File(path, content) => tar.file(path, content.as_bytes()),
        Entry::Directory(path) => tar.dir(&format!("{path}/")),
        Entry::Link(path, target) => tar.symlink(path, target),
        Entry::HardLink(path, target) => tar.hard_link(path, target),
        Entry::Whiteout(parent, name) => tar.file(&join(parent, &format!(".wh.{name}")), b""),
        Entry::Opaque(parent) => tar.file(&join(parent, ".wh..wh..opq"), b""),
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// Changes bytes of something valid: position, value, position, value …
fn spoil(mut bytes: Vec<u8>, input: &[u8]) -> Vec<u8> {
    for change in input.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    bytes
}

/// As [`spoil`], with the checksums of tar headers made right again.
fn spoil_tar(tar: Vec<u8>, input: &[u8]) -> Vec<u8> {
    let mut tar = spoil(tar, input);
    for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}

fn sample() -> Tar {
    Tar::new()
        .dir("a/")
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"y"), ("path", b"a/long")])
        .file("a/short", b"content")
        .symlink("l", "a")
        .file("l/.wh.x", b"")
        .hard_link("h", "a/long")
        .long_name(120)
        .file("name", b"x")
}

#[test]
fn spoilt_layers_are_taken_or_refused_and_nothing_else() {
    bolero::check!().with_iterations(iterations()).with_max_len(60).for_each(|input: &[u8]| {
        let layer = spoil_tar(sample().build(), input);
        let guarded = Guarded::new();
        let layers = [layer];
        guarded.import(&docker_archive(&["t"], &layers, &layers));
    });
}

#[test]
fn spoilt_archives_and_streams_are_taken_or_refused_and_nothing_else() {
    bolero::check!().with_iterations(iterations()).with_max_len(60).for_each(|input: &[u8]| {
        let layers = [sample().build()];
        let archive = docker_archive(&["t"], &layers, &[zstd(&layers[0])]);
        let guarded = Guarded::new();
        guarded.import(&spoil_tar(archive.clone(), input));
        guarded.import(&spoil(gzip(&archive), input));
        guarded.import(&spoil(zstd(&archive), input));
        guarded.import(&[b"\x28\xb5\x2f\xfd", input].concat());
        guarded.import(&[b"\x53\x2a\x4d\x18", input].concat());
        guarded.import(&[b"\x1f\x8b\x08", input].concat());
        guarded.import(input);
    });
}

#[test]
fn spoilt_documents_are_taken_or_refused_and_nothing_else() {
    bolero::check!().with_iterations(iterations()).with_max_len(30).for_each(|input: &[u8]| {
        let layers = [sample().build()];
        let (descriptor, blobs) = oci_image(&layers, &layers);
        let guarded = Guarded::new();
        // The config and the manifest under their new digests, and the index.
        let config = spoil(blobs[1].clone(), input);
        let (config, config_bytes) = blob("application/vnd.oci.image.config.v1+json", config);
        let (layer, layer_bytes) = blob("application/vnd.oci.image.layer.v1.tar", layers[0].clone());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]});
        let (spoilt, spoilt_bytes) = blob(OCI_MANIFEST, spoil(manifest.to_string().into_bytes(), input));
        let (good, good_bytes) = blob(OCI_MANIFEST, manifest.to_string().into_bytes());
        let blobs = [config_bytes, layer_bytes, spoilt_bytes, good_bytes];
        guarded.import(&oci_archive(&[good], &blobs));
        guarded.import(&oci_archive(&[spoilt], &blobs));
        let index =
            spoil(json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string().into_bytes(), input);
        guarded.import(&Tar::new().file("index.json", &index).build());
        let manifest = json!([{"Config": "c", "RepoTags": ["t"], "Layers": ["l"]}]).to_string();
        guarded.import(&Tar::new().file("manifest.json", &spoil(manifest.into_bytes(), input)).build());
    });
}
