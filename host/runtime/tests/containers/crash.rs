//! Berth dies, shims die, and what becomes of the containers.

use std::fs;
use std::time::Duration;

use berth_runtime::{ContainerPhase, Error, Event, ExitCause, ShimState};

use crate::support::{Node, PATIENCE, eventually, exec, leftovers, log_of};

/// The pid of a pod's shim, from its own record.
fn shim_pid(node: &Node, pod_id: &str) -> i32 {
    let text = fs::read_to_string(node.path().join("run/pods").join(pod_id).join("shim.json")).unwrap();
    let rest = text.split(r#""pid":"#).nth(1).unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn kill(pid: i32) {
    // SAFETY: plain system call, on a shim that this test has started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

#[test]
fn containers_outlive_the_runtime_and_are_found_again() {
    let node = Node::new();
    let pod = node.pod();
    let living = node.shell("i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done");
    let started = pod.start_container(&living).unwrap();
    let ended = node.shell("exit 5");
    pod.start_container(&ended).unwrap();
    // What a killed berth leaves: nobody closes anything in an orderly way, and another one starts.
    let second = node.second_runtime();
    let recovered = second.recover().unwrap().pods;
    assert_eq!(recovered.len(), 1);
    let (handle, state) = &recovered[0];
    assert_eq!((handle.id(), state.shim, state.containers.len()), (pod.id(), ShimState::Alive, 2));
    let exit = handle.wait(&ended.id, Some(PATIENCE)).unwrap().unwrap();
    assert_eq!((exit.code, exit.cause), (5, ExitCause::Observed));
    let state = handle.state().unwrap();
    let found = state.containers.iter().find(|container| container.spec.id == living.id).unwrap();
    assert_eq!(found.phase, ContainerPhase::Running(started));
    assert_eq!(found.spec, living);
    let lines = log_of(&living).len();
    eventually("the log goes on", || log_of(&living).len() > lines + 2);
    assert_eq!(exec(handle, &living.id, &["sh", "-c", "exit 3"]).0, 3);
    handle.kill(&living.id, libc::SIGKILL).unwrap();
    let mut exits = Vec::new();
    eventually("both ends are told to the new runtime", || {
        for event in second.wait_any(Some(Duration::from_millis(10))).unwrap() {
            match event {
                Event::Exited { container_id, status, .. } => exits.push((container_id, status.code)),
                Event::ShimDied { pod_id } => panic!("{pod_id}"),
            }
        }
        exits.len() >= 2
    });
    exits.sort();
    let mut wanted = [(ended.id.clone(), 5), (living.id.clone(), 137)];
    wanted.sort();
    assert_eq!(exits, wanted);
    handle.remove().unwrap();
    assert_eq!(leftovers(&node), Vec::<String>::new());
}

#[test]
fn a_pod_is_found_again_however_long_its_answer() {
    let node = Node::new();
    let pod = node.pod();
    let mut ids = Vec::new();
    // More than a socket holds: the answer comes in pieces.
    for _ in 0..4 {
        let mut spec = node.container(&["/bin/sleep", "1000"]);
        spec.env.push(("LONG".into(), "x".repeat(120 << 10)));
        pod.start_container(&spec).unwrap();
        ids.push(spec.id);
    }
    let recovered = node.second_runtime().recover().unwrap();
    assert!(recovered.unreachable.is_empty(), "{:?}", recovered.unreachable);
    let found: Vec<_> = recovered.pods[0].1.containers.iter().map(|found| found.spec.id.clone()).collect();
    assert_eq!(found, ids);
}

#[test]
fn a_shim_without_a_descriptor_left_waits_quietly() {
    let node = Node::new();
    let pod = node.pod();
    let spec = node.container(&["/bin/sleep", "1000"]);
    pod.start_container(&spec).unwrap();
    let shim = shim_pid(&node, pod.id());
    let limit = libc::rlimit { rlim_cur: 16, rlim_max: 16 };
    // SAFETY: the kernel reads one struct rlimit.
    let limited = unsafe { libc::prlimit(shim, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()) };
    assert_eq!(limited, 0);
    let socket = node.path().join("run/pods").join(pod.id()).join("shim.sock");
    let clients: Vec<_> =
        (0..32).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    // User and system time, in clock ticks of 10 ms.
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(14 - 3).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before < 25, "it was busy for half of the time: {}", ticks() - before);
    drop(clients);
    eventually("it serves again", || pod.state().is_ok_and(|state| state.containers.len() == 1));
}

#[test]
fn a_damaged_pod_that_cannot_be_removed_hinders_nobody() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let node = Node::new();
    let pod = node.pod();
    let busy = node.path().join("run/pods/damaged/busy");
    fs::create_dir_all(&busy).unwrap();
    mount(Some("tmpfs"), &busy, Some("tmpfs"), MsFlags::empty(), Some("size=4k")).unwrap();
    let recovered = node.second_runtime().recover();
    umount2(&busy, MntFlags::MNT_DETACH).unwrap();
    let recovered = recovered.unwrap();
    assert_eq!((recovered.pods.len(), recovered.pods[0].0.id()), (1, pod.id()));
    assert_eq!((recovered.unreachable.len(), recovered.unreachable[0].0.id()), (1, "damaged"));
    assert_eq!(node.second_runtime().recover().unwrap().unreachable.len(), 0, "now it could be removed");
}

#[test]
fn a_dead_shim_takes_its_containers_along_and_they_are_recorded_as_lost() {
    let node = Node::new();
    let pod = node.pod();
    let ended = node.shell("exit 5");
    pod.start_container(&ended).unwrap();
    pod.wait(&ended.id, Some(PATIENCE)).unwrap().unwrap();
    let living = node.container(&["/bin/sleep", "1000"]);
    let started = pod.start_container(&living).unwrap();
    kill(shim_pid(&node, pod.id()));
    let mut died = false;
    eventually("the death of the shim is told", || {
        let events = node.runtime.wait_any(Some(Duration::from_millis(10))).unwrap();
        died |= events.contains(&Event::ShimDied { pod_id: pod.id().to_owned() });
        died
    });
    let state = pod.state().unwrap();
    assert_eq!(state.shim, ShimState::Dead);
    let exit = |id: &str| {
        let found = state.containers.iter().find(|container| container.spec.id == id).unwrap();
        match &found.phase {
            ContainerPhase::Exited(exit) => exit.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((exit(&ended.id).code, exit(&ended.id).cause), (5, ExitCause::Observed));
    let lost = exit(&living.id);
    assert_eq!((lost.code, lost.cause, lost.started_at), (137, ExitCause::Lost, Some(started.started_at)));
    eventually("the process is gone", || !std::path::Path::new(&format!("/proc/{}", started.pid)).exists());
    assert!(matches!(pod.start_container(&node.shell("exit 0")), Err(Error::ShimGone { .. })));
    // Asked again, or by another runtime: the same answer.
    assert_eq!(node.second_runtime().recover().unwrap().pods[0].1, state);
    pod.remove_container(&living.id).unwrap();
    assert_eq!(pod.state().unwrap().containers.len(), 1);
    pod.remove().unwrap();
    assert_eq!(leftovers(&node), Vec::<String>::new());
}

#[test]
fn a_pod_whose_shim_speaks_another_version_is_left_alone() {
    use std::os::unix::net::UnixListener;
    let node = Node::new();
    let pod = node.pod();
    let spec = node.container(&["/bin/sleep", "1000"]);
    let started = pod.start_container(&spec).unwrap();
    // Somebody else answers on the socket, and says what a shim from the future would.
    let socket = node.path().join("run/pods").join(pod.id()).join("shim.sock");
    let hidden = socket.with_extension("hidden");
    fs::rename(&socket, &hidden).unwrap();
    let impostor = UnixListener::bind(&socket).unwrap();
    let answer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut client, _) = impostor.accept().unwrap();
        let mut length = [0; 4];
        client.read_exact(&mut length).unwrap();
        client.read_exact(&mut vec![0; u32::from_le_bytes(length) as usize]).unwrap();
        let text = r#"{"Failed":{"Conflict":"the pod's shim speaks protocol version 9, berth speaks 1"}}"#;
        client.write_all(&(text.len() as u32).to_le_bytes()).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        impostor
    });
    let second = node.second_runtime();
    let recovered = second.recover().unwrap();
    drop(answer.join().unwrap());
    assert!(recovered.pods.is_empty());
    let (handle, error) = &recovered.unreachable[0];
    assert_eq!(handle.id(), pod.id());
    assert_eq!(error.to_string(), "the pod's shim speaks protocol version 9, berth speaks 1");
    assert!(std::path::Path::new(&format!("/proc/{}", started.pid)).exists(), "its container goes on");
    fs::rename(&hidden, &socket).unwrap();
    let found = second.adopt(handle).unwrap();
    assert_eq!(found.shim, ShimState::Alive);
    assert!(
        matches!(&found.containers[0].phase, ContainerPhase::Running(running) if running.pid == started.pid)
    );
    assert_eq!(exec(&pod, &spec.id, &["true"]).0, 0);
}

#[test]
fn everything_can_be_destroyed_even_what_nobody_knows_any_more() {
    let node = Node::new();
    let forgotten = node.pod();
    forgotten.start_container(&node.container(&["/bin/sleep", "1000"])).unwrap();
    let healthy = node.pod();
    healthy.start_container(&node.container(&["/bin/sleep", "1000"])).unwrap();
    let damaged = node.pod();
    damaged.start_container(&node.container(&["/bin/sleep", "1000"])).unwrap();
    // A pod whose records were lost, and one whose shim was killed and directory removed.
    fs::write(node.path().join("run/pods").join(damaged.id()).join("pod.json"), "{").unwrap();
    kill(shim_pid(&node, forgotten.id()));
    // Its mount goes first, or the directory could not be removed.
    nix::mount::umount2(
        &node.path().join("run/pods").join(forgotten.id()).join("shm"),
        nix::mount::MntFlags::MNT_DETACH,
    )
    .unwrap();
    fs::remove_dir_all(node.path().join("run/pods").join(forgotten.id())).unwrap();
    let second = node.second_runtime();
    assert_eq!(second.recover().unwrap().pods.len(), 1, "only the healthy one");
    second.destroy_all().unwrap();
    assert_eq!(leftovers(&node), Vec::<String>::new());
    assert!(!node.path().join("run").exists());
    // So that the node can clean up as it always does.
    fs::create_dir_all(node.path().join("run/pods")).unwrap();
}

#[test]
fn usage_is_told_and_the_sum_is_the_pods() {
    let node = Node::new();
    let pod = node.pod();
    let spec = node.shell("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; exec sleep 1000");
    pod.start_container(&spec).unwrap();
    eventually("it has used some CPU", || pod.container_usage(&spec.id).unwrap().cpu_usage_ns > 1_000_000);
    let used = pod.container_usage(&spec.id).unwrap();
    assert!(
        used.memory_usage_bytes > 0 && used.memory_working_set_bytes <= used.memory_usage_bytes,
        "{used:?}"
    );
    assert_eq!(used.pids, 1);
    assert!(pod.usage().unwrap().cpu_usage_ns >= used.cpu_usage_ns);
}
