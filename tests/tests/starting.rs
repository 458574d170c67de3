//! `berth up` that is refused: it says what, which and what to do, and leaves nothing behind.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Agent, Berth, Options, program, run, skip};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// For a start to be refused.
const SOON: Duration = Duration::from_secs(60);

/// Starts berth, which must refuse, on a port that is free unless the flags say otherwise; what it says.
#[track_caller]
fn refused(data: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(program());
    command.args(["up", "--data-dir", data.to_str().unwrap()]).args(flags).env("NO_COLOR", "1");
    if !flags.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let output = run(&mut command, "", SOON);
    output.fails()
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text:?}");
}

/// What is mounted below a directory.
fn mounts(below: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().filter(|line| line.contains(below.to_str().unwrap())).map(str::to_owned).collect()
}

#[test]
fn a_start_that_is_refused_leaves_nothing_behind() {
    if !nix::unistd::geteuid().is_root() {
        return skip("starting::a_start_that_is_refused_leaves_nothing_behind", "an agent needs root");
    }
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 9] = [
        (
            &["--pod-cidr", "127.0.0.0/16"],
            "overlaps 127.0.0.0/8 of link lo; choose a free range with --pod-cidr",
        ),
        (&["--pod-cidr", "10.62.0.1/16"], "--pod-cidr: invalid range \"10.62.0.1/16\": host bits are set"),
        (&["--pod-cidr", "10.62.0.0/30"], "the prefix of --pod-cidr is from 8 to 29"),
        (&["--pod-cidr", "10.96.0.0/24"], "--service-cidr 10.96.0.0/16 overlap; choose others"),
        (&["--service-cidr", "10.0.0.0/8"], "--service-cidr: \"10.0.0.0/8\" is not an IPv4 range"),
        (&["--node-name", "A_b"], "--node-name \"A_b\" cannot be used"),
        (&["--listen", &address], "another program has that port; stop it, or choose another"),
        (&["--listen", "192.0.2.1:7443"], "this machine does not have that address; choose one of its own"),
        (&["--simulate-nodes", "20001"], "--simulate-nodes"),
    ];
    for (flags, expected) in cases {
        contains(&refused(&data, flags), expected);
        assert!(!data.exists(), "{flags:?} left {data:?}");
    }
}

#[test]
fn a_start_that_fails_half_way_takes_its_mounts_and_links_back() {
    if !nix::unistd::geteuid().is_root() {
        return skip(
            "starting::a_start_that_fails_half_way_takes_its_mounts_and_links_back",
            "an agent needs root",
        );
    }
    let root = tempfile::tempdir().unwrap();
    for (name, range) in [("images", "10.251.0.0/24"), ("run", "10.251.1.0/24"), ("network", "10.251.2.0/24")]
    {
        let data = root.path().join(name);
        fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
        // Where a directory is to be, and cannot.
        fs::write(data.join(name), "").unwrap();
        contains(&refused(&data, &["--pod-cidr", range]), name);
        assert_eq!(mounts(&data), Vec::<String>::new(), "{name}");
        let id = fs::read_to_string(data.join("cluster-id")).unwrap();
        assert!(!Path::new("/sys/class/net").join(format!("br-{id}")).exists(), "{name}");
        fs::remove_dir_all(&data).unwrap();
    }
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return skip("starting::a_data_directory_that_cannot_be_written_is_named", "mounting needs root");
    }
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    contains(&refused(&file, &["--no-agent"]), file.to_str().unwrap());
    let read_only = "/proc/berth";
    contains(
        &refused(Path::new(read_only), &["--no-agent"]),
        "the data directory /proc/berth cannot be made",
    );
}

#[test]
fn what_a_cluster_was_made_with_stays() {
    if !nix::unistd::geteuid().is_root() {
        return skip("starting::what_a_cluster_was_made_with_stays", "an agent needs root");
    }
    let mut berth = Berth::start(Options { agent: Agent::Real, simulated_nodes: 0 });
    let data = berth.data();
    contains(&refused(&data, &[]), "another berth is running on");
    berth.stop();
    let node = fs::read_to_string(data.join("node-name")).unwrap();
    let range = fs::read_to_string(data.join("pod-cidr")).unwrap();
    let other = berth.root().join("other.db");
    let other = other.to_str().unwrap();
    let cases: [(&[&str], String); 4] = [
        (&["--node-name", "other"], format!("start berth with --node-name {node}, or remove them first")),
        (&["--service-cidr", "10.97.0.0/16"], "a cluster keeps the range that it was made with".to_owned()),
        (&["--store", other], "belong to other objects than these".to_owned()),
        (&["--pod-cidr", "10.252.0.0/24"], format!("the node {node} has the range {range}")),
    ];
    for (flags, expected) in cases {
        let mut flags = flags.to_vec();
        if !flags.contains(&"--pod-cidr") {
            flags.extend(["--pod-cidr", &range]);
        }
        contains(&refused(&data, &flags), &expected);
    }
    assert!(!Path::new(other).exists(), "no other store was made");
    berth.up();
}
