//! The log of a container.

use std::fs;

use berth_runtime::{LOG_BYTES_MAX, LOG_FILES_MAX};

use crate::support::{Node, PATIENCE, eventually, log_of};

#[test]
fn lines_have_time_stream_and_tag() {
    let node = Node::new();
    let spec = node.shell("printf 'one\\ntwo'");
    let (_, log) = node.run(&spec);
    assert_eq!(log, ["stdout F one", "stdout P two"]);
    let text = fs::read_to_string(&spec.log_path).unwrap();
    let time = text.split(' ').next().unwrap();
    assert_eq!(time.len(), "2026-01-02T03:04:05.123456789Z".len());
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
}

#[test]
fn a_log_is_rotated_and_bounded() {
    let node = Node::new();
    // Six times what one file may hold.
    let count = 6 * LOG_BYTES_MAX / 1000;
    let mut spec = node.shell("yes $X | head -n $COUNT");
    spec.env = vec![("X".into(), "x".repeat(950)), ("COUNT".into(), count.to_string())];
    let (exit, _) = node.run(&spec);
    assert_eq!(exit.code, 0);
    let mut sizes = Vec::new();
    for entry in fs::read_dir(spec.log_path.parent().unwrap()).unwrap() {
        sizes.push(entry.unwrap().metadata().unwrap().len());
    }
    assert_eq!(sizes.len(), LOG_FILES_MAX as usize);
    assert!(sizes.iter().all(|size| *size <= LOG_BYTES_MAX), "{sizes:?}");
}

#[test]
fn a_log_that_was_moved_away_is_opened_again() {
    let node = Node::new();
    let pod = node.pod();
    let spec = node.shell("trap 'echo after' USR1; echo before; while :; do sleep 0.02; done");
    pod.start_container(&spec).unwrap();
    eventually("the first line", || log_of(&spec) == ["stdout F before"]);
    let moved = spec.log_path.with_extension("old");
    fs::rename(&spec.log_path, &moved).unwrap();
    pod.reopen_log(&spec.id).unwrap();
    pod.kill(&spec.id, libc::SIGUSR1).unwrap();
    eventually("the second line", || log_of(&spec) == ["stdout F after"]);
    pod.kill(&spec.id, libc::SIGKILL).unwrap();
    pod.wait(&spec.id, Some(PATIENCE)).unwrap().unwrap();
    assert!(fs::read_to_string(moved).unwrap().ends_with(" stdout F before\n"));
}
