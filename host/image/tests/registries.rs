//! Registries that ask for credentials, send us elsewhere, talk nonsense, or take their time.
#![allow(clippy::unwrap_used)] // A test's helpers are tests too.

mod common;
mod servers;

use std::time::{Duration, Instant};

use berth_image::{Credentials, ImageError, Login, PullLimits, Reference};
use common::*;
use serde_json::json;
use servers::{Answer, Fake, image_on, layer_path, login, options, pull};

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
async fn credentials_are_tried_one_after_the_other_in_their_order() {
    let fake = Fake::start();
    let name = image_on(&fake);
    fake.require("Basic bWU6cHc=", "Basic realm=\"fake\"");
    let reference: Reference = name.parse().unwrap();
    let pull = async |logins: &[Login], yaml: &str| {
        Store::new().store.pull(&reference, logins, &options(yaml)).await.map_err(|error| error.to_string())
    };
    pull(&[login("bad", "stale"), login("good", "pw")], "").await.unwrap();
    pull(&[login("good", "pw"), login("bad", "stale")], "").await.unwrap();
    let yaml = |password: &str| {
        format!("configs: {{'{}': {{auth: {{username: me, password: {password}}}}}}}", fake.host())
    };
    pull(&[login("bad", "stale")], &yaml("pw")).await.unwrap();
    let error = pull(&[login("a", "stale-1"), login("b", "stale-2")], &yaml("stale-3")).await.unwrap_err();
    let said = "unexpected status 401 Unauthorized";
    assert!(
        error.ends_with(&format!(
            "secret \"a\": {said}; secret \"b\": {said}; the node's registries.yaml: {said}"
        )),
        "{error}"
    );
    assert!(!error.contains("stale"), "{error}");
}

#[tokio::test]
async fn passwords_go_to_the_registry_and_nowhere_else() {
    // A registry on loopback may have its token server there; what it sends us to elsewhere gets nothing.
    let (fake, other) = (Fake::start(), Fake::start());
    let name = image_on(&fake);
    let layer = layer_path(&fake);
    other.answer("/blob", Answer::ok("application/octet-stream", &fake.body(&layer)));
    fake.require("Basic bWU6cGFzc3dvcmQ=", "Basic realm=\"fake\"");
    let secret = Credentials::Basic { username: "me".into(), password: "password".into() };
    fake.answer(&layer, Answer::redirect(&format!("http://{}/blob?signature=abc", other.host())));
    pull(&Store::new(), &name, Some(&secret), "").await.unwrap();
    let requests = other.requests();
    assert!(requests.iter().any(|request| request.starts_with("GET /blob?signature=abc")));
    assert!(requests.iter().all(|request| !request.to_lowercase().contains("authorization")), "{requests:?}");

    // A registry elsewhere (here: one that is not on loopback by its name) may send nobody to this machine.
    for realm in
        ["http://auth.example.test/token", "http://169.254.169.254/token", "https://169.254.169.254/token"]
    {
        fake.require("Bearer x", &format!("Bearer realm=\"{realm}\""));
        let error = pull(&Store::new(), &name, Some(&secret), "").await.unwrap_err().to_string();
        assert!(error.contains(&format!("the registry sends us to {realm}, which is ")), "{error}");
        assert!(error.contains("no token was asked for there, and no password sent"), "{error}");
    }
}

#[tokio::test]
async fn what_a_registry_says_reaches_nobody_as_control_characters_or_with_the_password() {
    let fake = Fake::start();
    let name = image_on(&fake);
    let long = "x".repeat(9000);
    let said =
        json!({"errors": [{"code": "DENIED\u{1b}[2J", "message": format!("a\nb\u{202e}c password {long}")}]});
    fake.answer("/v2/app/manifests/latest", Answer::status(403, &said.to_string()));
    let secret = Credentials::Basic { username: "me".into(), password: "password".into() };
    let error = pull(&Store::new(), &name, Some(&secret), "").await.unwrap_err().to_string();
    assert!(error.contains("403 Forbidden: DENIED[2J: a bc … xxx"), "{error}");
    assert!(error.len() < 1000 && !error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_drips_holds_nobody_up() {
    let fake = Fake::start();
    let name: Reference = image_on(&fake).parse().unwrap();
    let layer = layer_path(&fake);
    fake.answer(&layer, Answer::ok("x", &fake.body(&layer)).dripping(Duration::from_millis(20)));
    let mut slow = options("");
    slow.limits = PullLimits { rate_min: 10_000, rate_period: Duration::from_millis(300), ..slow.limits };
    let store = Store::new();
    let begun = Instant::now();
    let error = store.store.pull(&name, &[], &slow).await.unwrap_err().to_string();
    assert!(
        error.contains("layer 1 of 1 (sha256:") && error.contains("less than the lowest rate of 10000"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(30));

    // At a rate that would do, but not for ever.
    slow.limits = PullLimits { rate_min: 1, time_max: Duration::from_secs(1), ..slow.limits };
    let error = store.store.pull(&name, &[], &slow).await.unwrap_err().to_string();
    assert!(error.ends_with("the image has not arrived within 1 s"), "{error}");
    assert_eq!((store.count("tmp"), store.count("layers")), (0, 0));

    // A pull that nobody waits for leaves nothing behind.
    let options = options("");
    let pulls = store.store.pull(&name, &[], &options);
    assert!(tokio::time::timeout(Duration::from_millis(300), pulls).await.is_err());
    assert_eq!((store.count("tmp"), store.count("layers")), (0, 0));
}

#[tokio::test]
async fn a_foreign_layer_comes_from_where_the_manifest_says() {
    let (fake, other) = (Fake::start(), Fake::start());
    let name = image_on(&fake);
    let layer = layer_path(&fake);
    other.answer("/layer", Answer::ok("application/octet-stream", &fake.body(&layer)));
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fake.body("/v2/app/manifests/latest")).unwrap();
    manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", other.host())]);
    manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    fake.answer("/v2/app/manifests/latest", Answer::ok(OCI_MANIFEST, manifest.to_string().as_bytes()));
    fake.lose(&layer);
    let secret = Credentials::Bearer("secret".into());
    pull(&Store::new(), &name, Some(&secret), "").await.unwrap();
    assert!(other.requests().iter().all(|request| !request.contains("secret")), "no credentials go there");
}

/// Root certificates are read once a process: another one is told that there are none.
#[test]
fn a_machine_without_root_certificates_pulls_where_none_are_needed() {
    let pull = ["tokens_and_passwords_are_used_and_asked_for", "--exact"];
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let ended = command.args(pull).envs(nowhere).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}
