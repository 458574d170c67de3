//! What a pod's token, or nobody at all, can do to the API server: it costs little, and others do not notice.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Berth, Options, run};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
/// What a review of oneself may be posted to by everybody.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// How much a hostile body may make berth grow: what it may become while it is read (32 MiB), and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 160 * 1024;

/// A robot with a token and no rights.
struct Robot<'b> {
    berth: &'b Berth,
    token: String,
}

impl<'b> Robot<'b> {
    fn of(berth: &'b Berth) -> Self {
        berth.kubectl(&["create", "serviceaccount", "robot"]).ok();
        let token = berth.kubectl(&["create", "token", "robot"]).ok().trim().to_owned();
        Self { berth, token }
    }

    /// `curl` that posts a file, and prints the answer and its code.
    fn post(&self, path: &str, content_type: &str, file: &Path) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--noproxy", "*", "--http1.1", "-w", " %{http_code}", "-H", "Expect:"])
            .args(["-H", &format!("Authorization: Bearer {}", self.token)])
            .args(["-H", &format!("Content-Type: {content_type}")])
            .arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .arg(format!("https://{}{path}", self.berth.address()));
        curl
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.berth.root().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }
}

/// The most memory that berth ever had, in KiB.
fn peak_kib(berth: &Berth) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", berth.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn bodies_that_become_large_cost_little() {
    let berth = Berth::start(Options::simulated(0));
    let robot = Robot::of(&berth);
    let before = peak_kib(&berth);
    let aliases = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a,".repeat(90_000));
    let lists = format!("spec: {{x: [{}]}}\n", "[[[[[[[[[[]]]]]]]]]],".repeat(140_000));
    let json = format!("{{\"kind\":[{}0]}}", "[[[[[[[[[[]]]]]]]]]],".repeat(140_000));
    for (name, content_type, body, code) in [
        ("aliases", "application/yaml", aliases, "400"),
        ("lists", "application/yaml", lists, "413"),
        ("json", "application/json", json, "413"),
    ] {
        let file = robot.file(name, &body);
        let answer = run(&mut robot.post(REVIEWS, content_type, &file), "", SOON).ok();
        assert!(answer.ends_with(code), "{name}: {answer}");
        let grown = peak_kib(&berth) - before;
        assert!(grown < GROWTH_KIB_MAX, "{name} made berth grow by {grown} KiB");
    }
}

/// Clients that are ended when the test is, however it ends.
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_crowd_of_large_bodies_does_not_keep_others_waiting() {
    /// What a write takes a person's kubectl on a machine that is busy with tests; it was 8.5 s.
    const WRITE_MAX: Duration = Duration::from_secs(5);
    let berth = Berth::start(Options::simulated(0));
    let robot = Robot::of(&berth);
    let body = format!("spec: {{x: [{}]}}\n", "ab,".repeat(1_000_000));
    let file = robot.file("large", &body);
    let crowd = (0..32).map(|_| {
        let mut curl = robot.post(REVIEWS, "application/yaml", &file);
        curl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    let _crowd = Crowd(crowd.collect());
    for at in 0..5 {
        let started = Instant::now();
        berth.kubectl(&["create", "configmap", &format!("m{at}")]).ok();
        let took = started.elapsed();
        assert!(took < WRITE_MAX, "write {at} took {took:?}");
    }
}
