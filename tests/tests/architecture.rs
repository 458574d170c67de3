//! The house keeps its shape: who may know whom, what pure crates may touch, how long a file may be.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The arrows of `host/ARCHITECTURE.md`: each crate and the crates of this workspace that it knows, in any but a test.
const ARROWS: &[(&str, &[&str])] = &[
    ("berth-json", &[]),
    ("berth-api", &["berth-json"]),
    ("berth-state", &["berth-api", "berth-json"]),
    ("berth-store", &["berth-state"]),
    ("berth-cel", &["berth-json"]),
    ("berth-custom", &["berth-api", "berth-cel", "berth-json"]),
    ("berth-pipeline", &["berth-api", "berth-custom", "berth-json", "berth-state"]),
    ("berth-control", &["berth-api", "berth-custom", "berth-json", "berth-pipeline", "berth-state"]),
    ("berth-scheduler", &["berth-api", "berth-json", "berth-state"]),
    ("berth-metrics", &["berth-api", "berth-json"]),
    ("berth-autoscale", &["berth-api", "berth-json", "berth-metrics"]),
    ("berth-admission", &["berth-api", "berth-json"]),
    (
        "berth-lifecycle",
        &["berth-admission", "berth-api", "berth-autoscale", "berth-json", "berth-scheduler", "berth-state"],
    ),
    ("berth-policy", &["berth-admission", "berth-autoscale", "berth-lifecycle", "berth-scheduler"]),
    ("berth-native", &["berth-autoscale", "berth-scheduler", "berth-sdk"]),
    ("berth-tasks", &["berth-api"]),
    ("berth-cluster", &["berth-api", "berth-pipeline", "berth-state", "berth-tasks"]),
    (
        "berth-loops",
        &[
            "berth-admission",
            "berth-api",
            "berth-autoscale",
            "berth-client",
            "berth-cluster",
            "berth-control",
            "berth-custom",
            "berth-json",
            "berth-lifecycle",
            "berth-metrics",
            "berth-pipeline",
            "berth-scheduler",
            "berth-state",
            "berth-tasks",
        ],
    ),
    (
        "berth-hollow",
        &["berth-api", "berth-control", "berth-json", "berth-metrics", "berth-pipeline", "berth-state"],
    ),
    (
        "berth-sim",
        &[
            "berth-admission",
            "berth-api",
            "berth-autoscale",
            "berth-cluster",
            "berth-control",
            "berth-hollow",
            "berth-json",
            "berth-lifecycle",
            "berth-loops",
            "berth-metrics",
            "berth-pipeline",
            "berth-scheduler",
            "berth-state",
            "berth-tasks",
        ],
    ),
    ("berth-client", &["berth-metrics"]),
    (
        "berth-server",
        &["berth-api", "berth-client", "berth-cluster", "berth-json", "berth-pipeline", "berth-state"],
    ),
    ("berth-image", &[]),
    ("berth-network", &[]),
    ("berth-runtime", &[]),
    (
        "berth-agent",
        &["berth-api", "berth-client", "berth-image", "berth-metrics", "berth-network", "berth-runtime"],
    ),
    ("berth-sdk", &[]),
    ("berth-guest-build", &[]),
    ("berth-plugins", &["berth-guest-build"]),
    ("berth-plugin-spread", &["berth-sdk"]),
    ("berth-plugin-binpack", &["berth-sdk"]),
    ("berth-plugin-predictive", &["berth-sdk"]),
    ("berth-plugin-schedule", &["berth-sdk"]),
    ("berth-plugin-step", &["berth-sdk"]),
    ("berth-plugin-target-utilisation", &["berth-sdk"]),
    ("berth-plugin-image-policy", &["berth-sdk"]),
    ("berth-plugin-label-policy", &["berth-sdk"]),
    ("berth-plugin-limits-defaulter", &["berth-sdk"]),
    ("berth-plugin-pod-security", &["berth-sdk"]),
];

/// The one crate that puts everything together.
const TOP: &str = "berth";

/// Crates that are functions of their arguments, and all that they may depend on beside each other.
const PURE: [&str; 13] = [
    "berth-admission",
    "berth-autoscale",
    "berth-metrics",
    "berth-json",
    "berth-api",
    "berth-cel",
    "berth-custom",
    "berth-state",
    "berth-pipeline",
    "berth-control",
    "berth-scheduler",
    "berth-lifecycle",
    "berth-hollow",
];
const PURE_DEPENDENCIES: [&str; 13] = [
    "base64",
    "bytes",
    "compact_str",
    "granit-parser",
    "imbl",
    "jiff",
    "regex",
    "regex-automata",
    "regex-syntax",
    "serde",
    "serde_json",
    "thiserror",
    "tracing",
];
/// What no source of theirs may name: time, chance, input and output, threads.
const IMPURE: [&str; 15] = [
    "SystemTime",
    "Instant::",
    "time::Instant",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::io::std",
    "std::process",
    "std::thread",
    "std::env",
    "tokio",
    "sqlx",
    "wasmtime",
    "getrandom",
    "rand::",
];

/// Crates that nothing of ours may be built with.
const BANNED: [(&str, &str); 5] = [
    ("aws-lc-sys", "TLS is rustls with ring"),
    ("aws-lc-rs", "TLS is rustls with ring"),
    ("openssl-sys", "TLS is rustls with ring"),
    ("openssl", "TLS is rustls with ring"),
    ("native-tls", "TLS is rustls with ring"),
];

/// Lines that a source file may have.
const LINES_MAX: usize = 600;
/// Longer files, and why.
const LONGER: [(&str, &str); 0] = [];

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let rustc = Command::new("rustc").arg("-vV").output().unwrap();
        let rustc = String::from_utf8(rustc.stdout).unwrap();
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // For this platform alone: what others need was not downloaded to build here.
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host]);
        command.current_dir(repository());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The packages of this workspace.
fn members() -> impl Iterator<Item = &'static Value> {
    let members: BTreeSet<&str> = list(&metadata()["workspace_members"]).iter().map(text).collect();
    list(&metadata()["packages"]).iter().filter(move |package| members.contains(text(&package["id"])))
}

/// What a package depends on outside its tests.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    list(&package["dependencies"]).iter().filter(|d| d["kind"] != "dev").map(|d| text(&d["name"]))
}

fn directory(package: &Value) -> PathBuf {
    Path::new(text(&package["manifest_path"])).parent().unwrap().to_owned()
}

/// All files below a directory with this ending, but what was built.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && name != ".git" {
                found.extend(files(&path, ending));
            }
        } else if name.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap().display().to_string()
}

#[track_caller]
fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn crates_know_only_whom_they_may() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let names: BTreeSet<&str> = members().map(|package| text(&package["name"])).collect();
    let mut wrong: Vec<String> = arrows
        .keys()
        .filter(|&name| !names.contains(name))
        .map(|name| format!("there is no {name} any more"))
        .collect();
    for package in members() {
        let name = text(&package["name"]);
        let test = directory(package).starts_with(repository().join("tests"));
        if name == TOP || test {
            continue;
        }
        let Some(known) = arrows.get(name) else {
            wrong.push(format!("{name} has no arrows in this test: say whom it may know"));
            continue;
        };
        let ours = dependencies(package).filter(|dependency| names.contains(dependency));
        wrong.extend(ours.filter(|d| !known.contains(d)).map(|d| format!("{name} must not depend on {d}")));
    }
    none(wrong);
}

#[test]
fn nothing_but_tests_depends_on_tests() {
    let tests: BTreeSet<&str> = members()
        .filter(|package| directory(package).starts_with(repository().join("tests")))
        .map(|package| text(&package["name"]))
        .collect();
    let others = members().filter(|package| !tests.contains(text(&package["name"])));
    let wrong = others.flat_map(|package| {
        let name = text(&package["name"]);
        dependencies(package)
            .filter(|d| tests.contains(d))
            .map(move |d| format!("{name} depends on the test crate {d}"))
    });
    none(wrong.collect());
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    let mut wrong = Vec::new();
    for package in members().filter(|package| PURE.contains(&text(&package["name"]))) {
        let name = text(&package["name"]);
        let allowed = |d: &str| PURE.contains(&d) || PURE_DEPENDENCIES.contains(&d);
        wrong.extend(dependencies(package).filter(|d| !allowed(d)).map(|d| format!("{name} depends on {d}")));
    }
    none(wrong);
    let found = members().filter(|package| PURE.contains(&text(&package["name"]))).count();
    assert_eq!(found, PURE.len(), "a crate of the list is not there any more");
}

#[test]
fn pure_crates_take_time_and_chance_as_arguments() {
    let mut wrong = Vec::new();
    for package in members().filter(|package| PURE.contains(&text(&package["name"]))) {
        let sources = files(&directory(package).join("src"), ".rs");
        assert!(!sources.is_empty(), "the sources of {} were not found", package["name"]);
        for path in sources {
            let source = std::fs::read_to_string(&path).unwrap();
            for (number, line) in source.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let named = IMPURE.iter().filter(|word| code.contains(*word));
                wrong.extend(named.map(|word| format!("{}:{}: {word}", relative(&path), number + 1)));
            }
        }
    }
    none(wrong);
}

#[test]
fn what_is_built_in_is_free_and_safe_to_link() {
    let graph: BTreeMap<&str, &Value> =
        list(&metadata()["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let packages: BTreeMap<&str, &Value> =
        list(&metadata()["packages"]).iter().map(|package| (text(&package["id"]), package)).collect();
    // From the program along everything but what only tests use.
    let top = members().find(|package| package["name"] == TOP).unwrap();
    let mut open = vec![text(&top["id"])];
    let mut built_in = BTreeSet::new();
    while let Some(id) = open.pop() {
        if built_in.insert(id) {
            let edges = list(&graph[id]["deps"]).iter();
            let real = edges.filter(|edge| list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"));
            open.extend(real.map(|edge| text(&edge["pkg"])));
        }
    }
    assert!(built_in.len() > 100, "the graph was not read: {} packages", built_in.len());
    let mut wrong = Vec::new();
    for package in built_in.iter().map(|id| packages[id]) {
        let (name, license) = (text(&package["name"]), text(&package["license"]));
        wrong.extend(
            BANNED.iter().filter(|(banned, _)| *banned == name).map(|(_, why)| format!("{name}: {why}")),
        );
        // A choice that includes GPL is not GPL.
        let choices = license.split(" OR ").flat_map(|part| part.split('/'));
        if choices.clone().all(|choice| choice.contains("GPL")) && !license.is_empty() {
            wrong.push(format!("{name} is licensed {license}"));
        }
        if license.is_empty() && package["license_file"].is_null() {
            wrong.push(format!("{name} has no license"));
        }
    }
    none(wrong);
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut wrong = Vec::new();
    for path in files(repository(), ".rs") {
        let (name, lines) = (relative(&path), std::fs::read_to_string(&path).unwrap().lines().count());
        if lines > LINES_MAX && !LONGER.iter().any(|(longer, _)| *longer == name) {
            wrong.push(format!(
                "{name} has {lines} lines; {LINES_MAX} are the limit: split it, or say here why not"
            ));
        }
    }
    none(wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file is not found.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["#[igno", "re"].concat(),
    ];
    let mut wrong = Vec::new();
    for path in [".rs", ".sh", ".wit", ".toml"].iter().flat_map(|ending| files(repository(), ending)) {
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(*word));
            wrong.extend(found.map(|word| format!("{}:{}: {word}", relative(&path), number + 1)));
        }
    }
    none(wrong);
}
