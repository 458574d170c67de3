//! Real containers, as a user of kubectl sees them.
#![allow(clippy::unwrap_used)] // a test may

mod adoption;
mod failures;
mod helm;
mod pulls;
mod serving;
mod streams;
mod surroundings;
mod usage;

use berth_tests::{Agent, Berth, Options, eventually, images, repository, skip_unprepared};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// For one page of a container on this machine.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// A one-node cluster with the test images, or none where there cannot be one.
fn cluster(test: &str) -> Option<Berth> {
    if !nix::unistd::geteuid().is_root() {
        skip_unprepared(test, "containers need root");
        return None;
    }
    let berth = Berth::start(Options { agent: Agent::Real, simulated_nodes: 0 });
    for image in ["my-app-v1", "my-app-v2", "busybox"] {
        let archive = images().join(format!("{image}.tar"));
        let loaded = berth.berth(&["load", "-i", archive.to_str().unwrap()]).ok();
        assert!(loaded.starts_with("Loaded image: docker.io/library/"), "{loaded}");
    }
    Some(berth)
}

/// Applies one of the example manifests.
fn apply_example(berth: &Berth, name: &str) {
    let manifest = repository().join("examples/manifests").join(name);
    berth.kubectl(&["apply", "-f", manifest.to_str().unwrap()]).ok();
}

/// Waits until a pod is ready.
#[track_caller]
fn ready(berth: &Berth, pod: &str) {
    let waited = berth.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
    if waited.code != 0 {
        panic!("{}{}", waited.stderr, berth.kubectl(&["describe", "pod", pod]).stdout);
    }
}

/// A pod of busybox that runs a command, with more lines for its container.
fn busybox(name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 3\n  containers:\n  \
         - name: main\n    image: busybox:latest\n    imagePullPolicy: IfNotPresent\n    command: [sh, -c, {script:?}]\n{more}"
    )
}

/// A pod's page.
fn page(address: &str) -> Result<String, String> {
    let fetch = || -> std::io::Result<String> {
        let mut stream =
            TcpStream::connect_timeout(&format!("{address}:8080").parse().unwrap(), PAGE_TIMEOUT)?;
        stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    fetch().map_err(|error| format!("{address}: {error}"))
}

/// The addresses of the pods with a label.
fn addresses(berth: &Berth, label: &str) -> Vec<String> {
    let path = "jsonpath={.items[*].status.podIP}";
    let addresses = berth.kubectl(&["get", "pods", "-l", label, "-o", path]).ok();
    addresses.split_whitespace().map(str::to_owned).collect()
}

/// That each pod of the tutorial's Deployment serves the page of a version.
#[track_caller]
fn serve(berth: &Berth, pods: usize, version: &str) {
    let expected = format!("Hello from my-app {version} on my-app-");
    eventually("each pod serves its page", SOON, || {
        let addresses = addresses(berth, "app=my-app");
        if addresses.len() != pods {
            return Err(format!("{addresses:?}"));
        }
        for address in &addresses {
            let page = page(address)?;
            if !page.contains(&expected) {
                return Err(page);
            }
        }
        Ok(())
    });
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
