//! Pulling: from Debian's `docker-registry` on loopback, and from a server that misbehaves on purpose.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;
mod servers;

use std::sync::{Arc, Mutex};

use berth_image::{Credentials, Digest, Image, ImageError, Progress, PullOptions, Reference, RegistryConfig};
use common::*;
use serde_json::json;
use servers::{Answer, Fake, Registry};

fn layers() -> Vec<Vec<u8>> {
    (0..5).map(|n| Tar::new().file(&format!("file{n}"), &vec![n; 300_000]).build()).collect()
}

fn options(yaml: &str) -> PullOptions {
    PullOptions { registries: Arc::new(RegistryConfig::parse(yaml).unwrap()), progress: None }
}

async fn pull(
    store: &Store,
    name: &str,
    credentials: Option<&Credentials>,
    yaml: &str,
) -> Result<Image, ImageError> {
    store.store.pull(&name.parse().unwrap(), credentials, &options(yaml)).await
}

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
    let image = store.store.pull(&name.parse().unwrap(), None, &options).await.unwrap();
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

/// An image on a fake server, with the answers it needs.
fn image_on(fake: &Fake) -> String {
    let layers = vec![layers().remove(0)];
    let (descriptor, blobs) = oci_image(&layers, &[gzip(&layers[0])]);
    for bytes in &blobs {
        fake.answer(
            &format!("/v2/app/blobs/{}", Digest::of(bytes)),
            Answer::ok("application/octet-stream", bytes),
        );
    }
    fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, &blobs[2]));
    fake.answer(
        &format!("/v2/app/manifests/{}", descriptor["digest"].as_str().unwrap()),
        Answer::ok(OCI_MANIFEST, &blobs[2]),
    );
    format!("{}/app", fake.host())
}

fn layer_path(fake: &Fake) -> String {
    let size = |path: &String| fake.body(path).len();
    let blobs = fake.paths().into_iter().filter(|path| path.contains("/blobs/"));
    // The config is JSON, the layer is not.
    blobs.filter(|path| !fake.body(path).starts_with(b"{")).max_by_key(size).unwrap()
}

#[tokio::test]
async fn tokens_and_passwords_are_used_and_asked_for() {
    let fake = Fake::start();
    let name = image_on(&fake);
    let store = Store::new();
    fake.require(
        "Bearer good",
        &format!(
            "Bearer realm=\"http://{}/token\",service=\"fake\",scope=\"repository:app:pull\"",
            fake.host()
        ),
    );
    fake.answer(
        "/token",
        Answer::status(403, r#"{"errors":[{"code":"DENIED","message":"wrong password"}]}"#),
    );
    let error = pull(&store, &name, None, "").await.unwrap_err();
    assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
    assert!(
        error.to_string().contains("pull access denied")
            && error.to_string().ends_with("DENIED: wrong password"),
        "{error}"
    );

    fake.answer("/token", Answer::ok("application/json", br#"{"token":"good"}"#));
    let secret = Credentials::Basic { username: "me".into(), password: "pw".into() };
    pull(&store, &name, Some(&secret), "").await.unwrap();
    let asked = fake.requests().into_iter().rfind(|request| request.contains("/token?")).unwrap();
    assert!(asked.contains("scope=repository%3Aapp%3Apull") && asked.contains("service=fake"), "{asked}");
    assert!(asked.to_lowercase().contains("authorization: basic bwu6chc="), "{asked}");

    // Basic authentication, from the configuration file.
    fake.require("Basic bWU6cHc=", "Basic realm=\"fake\"");
    let yaml = format!("configs: {{'{}': {{auth: {{username: me, password: pw}}}}}}", fake.host());
    pull(&Store::new(), &name, None, &yaml).await.unwrap();
    let error = pull(&Store::new(), &name, None, "").await.unwrap_err();
    assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
    fake.require("Bearer mine", "Bearer realm=\"http://127.0.0.1:1/\"");
    pull(&Store::new(), &name, Some(&Credentials::Bearer("mine".into())), "").await.unwrap();
}

#[tokio::test]
async fn a_pull_secret_does_not_go_to_a_mirror() {
    let fake = Fake::start();
    image_on(&fake);
    let yaml = format!("mirrors: {{example.test: {{endpoint: ['http://{}']}}}}", fake.host());
    let secret = Credentials::Bearer("secret".into());
    pull(&Store::new(), "example.test/app", Some(&secret), &yaml).await.unwrap();
    let requests = fake.requests();
    assert!(requests.iter().all(|request| !request.contains("secret")));
    assert!(requests[0].contains("?ns=example.test"), "{}", requests[0]);
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

/// Makes a fake registry answer wrongly.
type Spoil<'a> = &'a dyn Fn(&Fake);

#[tokio::test]
async fn wrong_content_is_refused_and_leaves_nothing() {
    let helm = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2}});
    let cases: [(&str, Spoil<'_>, &str); 6] = [
        (
            "layer",
            &|fake| fake.change(&layer_path(fake), |body| body[9] ^= 1),
            "a layer is damaged: its digest is",
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
    let error =
        Store::new().store.pull(&pinned, None, &PullOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("the image's manifest is damaged"), "{error}");
}
