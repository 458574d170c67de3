//! Pulling: from Debian's `docker-registry` on loopback, and from a server that sends what it should not.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;
mod servers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_image::{Digest, ImageError, Progress, PullOptions, Reference};
use common::*;
use serde_json::json;
use servers::{Answer, Fake, Registry, Spoil, image_on, layer_path, layers, pull};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_from_a_real_registry() {
    let registry = Registry::start();
    let layers = layers();
    let stored: Vec<_> = layers.iter().map(|layer| gzip(layer)).collect();
    let (mut ours, blobs) = oci_image(&layers, &stored);
    registry.push("team/app", "v1", OCI_MANIFEST, &blobs).await;
    ours["platform"] = json!({"os": "linux", "architecture": architecture()});
    let index =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [ours]}).to_string().into_bytes();
    registry.push("team/app", "multi", OCI_INDEX, std::slice::from_ref(&index)).await;

    let store = Store::new();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    let progress: Option<Arc<dyn Fn(Progress) + Send + Sync>> =
        Some(Arc::new(move |step| told.lock().unwrap().push(step)));
    let name = format!("{}/team/app:v1", registry.host());
    let options = PullOptions { progress, ..PullOptions::default() };
    let image = store.store.pull(&name.parse().unwrap(), &[], &options).await.unwrap();
    assert_eq!(image.digest.to_string(), ours["digest"].as_str().unwrap());
    assert_eq!(image.names, std::slice::from_ref(&name));
    assert_eq!(read(image.layer_dirs[4].join("file0")).len(), 300_000);
    assert_eq!(store.store.resolve(&name).unwrap().as_ref(), Some(&image));
    assert_eq!((store.count("tmp"), store.count("layers")), (0, 5));
    let steps = steps.lock().unwrap().clone();
    assert_eq!(steps[0], Progress::Resolved { digest: image.digest, missing_layers: 5, layers: 5 });
    assert_eq!(steps.iter().filter(|step| matches!(step, Progress::Unpacked { .. })).count(), 5);

    // Through the index, by tag and by the index's digest: nothing is fetched twice.
    let multi = pull(&store, &format!("{}/team/app:multi", registry.host()), None, "").await.unwrap();
    assert_eq!(multi.digest, image.digest);
    let by_digest = format!("{}/team/app@{}", registry.host(), Digest::of(&index));
    assert_eq!(pull(&store, &by_digest, None, "").await.unwrap().names.len(), 3);
    assert!(store.store.resolve(&by_digest).unwrap().is_some());

    // As a mirror of another registry.
    let yaml = format!("mirrors: {{docker.io: {{endpoint: ['http://{}']}}}}", registry.host());
    let mirrored = pull(&store, "team/app:v1", None, &yaml).await.unwrap();
    assert!(mirrored.names.contains(&"docker.io/team/app:v1".to_owned()));

    for missing in ["team/app:v9", "team/none:v1"] {
        let name = format!("{}/{missing}", registry.host());
        let error = pull(&store, &name, None, "").await.unwrap_err();
        assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
        let text = format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
        );
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let store = Store::new();
    let error = pull(&store, "127.0.0.1:1/app", None, "").await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }) && error.is_transient());
    let text = error.to_string();
    assert!(
        text.starts_with(
            "failed to pull and unpack image \"127.0.0.1:1/app:latest\": failed to do request to http"
        ),
        "{text}"
    );
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
}

#[tokio::test]
async fn passing_faults_are_retried_and_lasting_ones_reported() {
    let fake = Fake::start();
    let name = image_on(&fake);
    let layer = layer_path(&fake);
    fake.fail_first("/v2/app/manifests/latest", Answer::status(503, ""), 2);
    fake.fail_first(&layer, Answer::cut_short(&fake.body(&layer)), 2);
    pull(&Store::new(), &name, None, "").await.unwrap();

    fake.answer("/v2/app/manifests/latest", Answer::status(500, "<html>"));
    let error = pull(&Store::new(), &name, None, "").await.unwrap_err();
    assert!(error.to_string().ends_with("unexpected status 500 Internal Server Error"), "{error}");
}

#[tokio::test]
async fn wrong_content_is_refused_and_leaves_nothing() {
    let helm = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2}});
    let cases: [(&str, Spoil<'_>, &str); 6] = [
        (
            "layer",
            &|fake| fake.change(&layer_path(fake), |body| body[9] ^= 1),
            "layer 1 of 1 is damaged: its digest is",
        ),
        (
            "layer too long",
            &|fake| fake.change(&layer_path(fake), |body| body.push(0)),
            "which the manifest states",
        ),
        (
            "manifest",
            &|fake| fake.change("/v2/app/manifests/latest", |body| body.truncate(9)),
            "invalid image manifest",
        ),
        (
            "page",
            &|fake| fake.answer("/v2/app/manifests/latest", Answer::ok("text/html", b"{}")),
            "unsupported media type \"text/html\"",
        ),
        (
            "artifact",
            &|fake| {
                fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, helm.to_string().as_bytes()))
            },
            "this is an artifact, not an image",
        ),
        (
            "endless manifest",
            &|fake| fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, &vec![b' '; 9 << 20])),
            "larger than the limit of 8388608 bytes",
        ),
    ];
    for (kind, spoil, expected) in cases {
        let fake = Fake::start();
        let name = image_on(&fake);
        spoil(&fake);
        let store = Store::new();
        let error = pull(&store, &name, None, "").await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("failed to pull and unpack image \"{name}:latest\": ")),
            "{kind}: {error}"
        );
        assert!(error.contains(expected), "{kind}: {error}");
        assert_eq!((store.count("tmp"), store.count("layers")), (0, 0), "{kind}");
        assert_eq!(store.store.list().unwrap(), [], "{kind}");
    }

    let fake = Fake::start();
    let name: Reference = image_on(&fake).parse().unwrap();
    let pinned = name.with_digest(Digest::of(b"something else"));
    fake.answer(
        &format!("/v2/app/manifests/{}", Digest::of(b"something else")),
        Answer::ok(OCI_MANIFEST, b"{}"),
    );
    let error = Store::new().store.pull(&pinned, &[], &PullOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("the image's manifest is damaged"), "{error}");
}

#[tokio::test]
async fn what_the_registry_has_lost_is_named() {
    let index_on = |fake: &Fake| {
        let child = Digest::of(b"lost").to_string();
        let platform = json!({"os": "linux", "architecture": architecture()});
        let entry = json!({"mediaType": OCI_MANIFEST, "digest": child, "size": 4, "platform": platform});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
        fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_INDEX, index.as_bytes()));
    };
    let config_path = |fake: &Fake| {
        let is_config = |path: &String| String::from_utf8_lossy(&fake.body(path)).contains("diff_ids");
        fake.paths().into_iter().find(is_config).unwrap()
    };
    let grow = |fake: &Fake| {
        let manifest = String::from_utf8(fake.body("/v2/app/manifests/latest")).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        manifest["layers"][0]["size"] = json!(manifest["layers"][0]["size"].as_u64().unwrap() + 1);
        fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, manifest.to_string().as_bytes()));
    };
    let cases: [(&str, Spoil<'_>, &str); 7] = [
        ("layer", &|fake| fake.lose(&layer_path(fake)), "layer 1 of 1 (sha256:"),
        ("config", &|fake| fake.lose(&config_path(fake)), "the image's config: content at http://"),
        ("child of an index", &index_on, "the manifest for this node's platform: content at http://"),
        ("too short", &grow, "is truncated, damaged or no tar archive: it ends after"),
        (
            "denied layer",
            &|fake| fake.answer(&layer_path(fake), Answer::status(403, r#"{"errors":[{"code":"DENIED"}]}"#)),
            "may require authorization: layer 1 of 1 (sha256:",
        ),
        (
            "redirect to nothing",
            &|fake| fake.answer(&layer_path(fake), Answer::redirect("http://127.0.0.1:1/blob?signature=abc")),
            "the registry sent us to http://127.0.0.1:1/blob: ",
        ),
        (
            "endless redirects",
            &|fake| fake.answer(&layer_path(fake), Answer::redirect(&layer_path(fake))),
            "more than 5 redirects",
        ),
    ];
    for (kind, spoil, expected) in cases {
        let fake = Fake::start();
        let name = image_on(&fake);
        spoil(&fake);
        let error = pull(&Store::new(), &name, None, "").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{kind}: {error}");
        assert!(!error.contains("failed to resolve reference") || kind == "denied layer", "{kind}: {error}");
        assert!(!error.contains("signature"), "{kind}: {error}");
    }
    let fake = Fake::start();
    let name = image_on(&fake);
    let layer = layer_path(&fake);
    fake.lose(&layer);
    let error = pull(&Store::new(), &name, None, "").await.unwrap_err().to_string();
    assert!(error.contains(&format!("content at http://{}{layer} not found: ", fake.host())), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_rely_on_each_other_arrive_in_any_order() {
    let fake = Fake::start();
    let layers: Vec<Vec<u8>> = [Tar::new().dir("usr/").dir("usr/lib/").symlink("lib", "usr/lib")]
        .into_iter()
        .chain((0..6).map(|n| Tar::new().file(&format!("lib/f{n}"), b"x")))
        .map(Tar::build)
        .collect();
    let (_, blobs) = oci_image(&layers, &layers.iter().map(|layer| gzip(layer)).collect::<Vec<_>>());
    for (n, bytes) in blobs.iter().enumerate() {
        // The lowest comes last.
        let per_byte = Duration::from_millis(if n == 0 { 1 } else { 0 });
        let answer = Answer::ok("application/octet-stream", bytes).dripping(per_byte);
        fake.answer(&format!("/v2/app/blobs/{}", Digest::of(bytes)), answer);
    }
    fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, &blobs[8]));
    let store = Store::new();
    let image = pull(&store, &format!("{}/app", fake.host()), None, "").await.unwrap();
    let files: String = (0..6).map(|n| format!("usr/lib/f{n} = x\n")).collect();
    assert_eq!(listing(&image), format!("lib -> usr/lib\nusr/\nusr/lib/\n{files}"));
    assert_eq!((store.count("tmp"), store.count("layers")), (0, 7));
}

#[tokio::test]
async fn documents_that_swell_in_memory_are_refused() {
    let nested = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let many = format!("[{}1]", "1,".repeat(100_001));
    let both = json!({"schemaVersion": 2, "layers": [], "manifests": []}).to_string();
    for (kind, body, expected) in [
        ("nested", nested, "image manifest is larger than the limit of 32 values inside each other"),
        ("many", many, "image manifest is larger than the limit of 100000 values"),
        ("two readings", both, "invalid image manifest: it has both manifests and layers"),
    ] {
        let fake = Fake::start();
        let name = image_on(&fake);
        fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, body.as_bytes()));
        let error = pull(&Store::new(), &name, None, "").await.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{kind}: {error}");
    }
}
