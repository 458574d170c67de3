//! The real kubectl against simulated nodes: what it shows, not only whether it ends well.
#![allow(clippy::unwrap_used)] // a test may

mod apply;
mod auth;
mod create;
mod custom;
mod edit;
mod get;
mod nodes;
mod rollout;
mod top;

use berth_tests::{Berth, Options, repository};

/// A cluster of three nodes that exist only in the API.
fn cluster() -> Berth {
    Berth::start(Options::simulated(3))
}

/// A cluster with the tutorial's Deployment rolled out.
fn with_my_app() -> Berth {
    let berth = cluster();
    let manifest = repository().join("examples/manifests/my-app.yaml");
    let created = berth.kubectl(&["apply", "-f", manifest.to_str().unwrap()]).ok();
    assert_eq!(created, "deployment.apps/my-app created\n");
    let rolled_out = berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=60s"]).ok();
    assert!(rolled_out.ends_with("deployment \"my-app\" successfully rolled out\n"), "{rolled_out}");
    berth
}

/// The words of a table's line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The words of the line that a table has for a name.
#[track_caller]
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    words(line.unwrap_or_else(|| panic!("no {name} in\n{table}")))
}

/// That each of these is in a text.
#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
