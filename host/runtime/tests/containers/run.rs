//! Containers from start to exit.

use crate::support::{Node, leftovers, run_in, stdout_of};
use berth_runtime::{Error, ExitCause, Resources, StartErrorKind, User};

#[test]
fn a_container_runs_and_tells_its_exit_code() {
    let node = Node::new();
    let (exit, log) = node.run(&node.shell("echo hello; echo oops >&2; exit 7"));
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.cause), (7, None, false, ExitCause::Observed));
    assert!(exit.started_at.unwrap() <= exit.finished_at);
    assert!(log.contains(&"stdout F hello".to_owned()), "{log:?}");
    assert!(log.contains(&"stderr F oops".to_owned()), "{log:?}");
}

#[test]
fn environment_directory_user_and_host_name_are_those_asked_for() {
    let node = Node::new();
    let mut spec = node.shell("echo $GREETING $HOME; pwd; id -u; id -g; id -G; hostname; echo $PATH");
    spec.env = vec![("GREETING".into(), "hi".into()), ("GREETING".into(), "moin".into())];
    spec.cwd = "/made/up".into();
    spec.user = User { image_user: "web".into(), additional_gids: vec![77], ..User::default() };
    let mut pod_spec = node.pod_spec();
    pod_spec.hostname = "web-0".into();
    let pod = node.runtime.create_pod(&pod_spec).unwrap();
    let (exit, log) = run_in(&pod, &spec);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(stdout_of(&log), format!("moin /var/www\n/made/up\n33\n44\n44 55 77\nweb-0\n{path}"));
    assert_eq!(exit.code, 0);
}

#[test]
fn the_first_process_is_pid_1_and_sees_nobody_else() {
    let node = Node::new();
    let (_, log) = node.run(&node.shell("echo $$; ls -d /proc/[0-9]* | grep -c ."));
    // The shell, ls and grep.
    assert_eq!(stdout_of(&log).lines().next(), Some("1"), "{log:?}");
    assert!(stdout_of(&log).lines().nth(1).unwrap().parse::<u32>().unwrap() <= 3, "{log:?}");
}

#[test]
fn no_container_belongs_to_the_service_that_started_berth() {
    let node = Node::new();
    let pod = node.pod();
    let started = pod.start_container(&node.container(&["/bin/sleep", "1000"])).unwrap();
    let table = std::fs::read_to_string(format!("/proc/{}/cgroup", started.pid)).unwrap();
    // With cgroup v2 there is but one hierarchy, and the container's group is ours.
    let is_v1 = table.lines().any(|line| line.contains(":memory:"));
    for line in table.lines().filter(|line| line.contains(":name=systemd:") || line.starts_with("0::")) {
        let own = if is_v1 {
            format!("/{}/shims", node.cgroup_root())
        } else {
            format!("/{}/", node.cgroup_root())
        };
        assert!(line.contains(&own), "{table}");
    }
}

#[test]
fn signals_are_handled_as_programs_expect_whatever_berth_was_started_with() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // As a shell does to what it starts in the background.
    // SAFETY: no handler runs.
    unsafe { signal(Signal::SIGQUIT, SigHandler::SigIgn) }.unwrap();
    let node = Node::new();
    let (_, log) = node.run(&node.container(&["/bin/grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"]));
    assert_eq!(stdout_of(&log), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
}

#[test]
fn what_cannot_start_says_why() {
    let node = Node::new();
    let pod = node.pod();
    let check = |change: &dyn Fn(&mut berth_runtime::ContainerSpec)| {
        let mut spec = node.container(&["/bin/true"]);
        change(&mut spec);
        match pod.start_container(&spec) {
            Err(Error::Start(error)) => (error.kind, error.message),
            other => panic!("{other:?}"),
        }
    };
    let args = |text: &str| vec![text.to_owned()];
    let (kind, message) = check(&|spec| spec.args = args("/nope"));
    assert_eq!(message, r#"exec: "/nope": stat /nope: no such file or directory"#);
    assert_eq!((kind, kind.exit_code()), (StartErrorKind::CommandNotFound, 127));
    let (kind, message) = check(&|spec| spec.args = args("nope"));
    assert_eq!(message, r#"exec: "nope": executable file not found in $PATH"#);
    assert_eq!(kind, StartErrorKind::CommandNotFound);
    let (kind, message) = check(&|spec| spec.args = args("/etc/passwd"));
    assert_eq!(message, r#"exec: "/etc/passwd": permission denied"#);
    assert_eq!((kind, kind.exit_code()), (StartErrorKind::CommandNotExecutable, 126));
    let (kind, message) = check(&|spec| spec.cwd = "/etc/passwd".into());
    assert_eq!(message, r#"chdir to cwd ("/etc/passwd") set in config.json failed: not a directory"#);
    assert_eq!(kind, StartErrorKind::WorkingDirectory);
    let (kind, message) = check(&|spec| spec.user.image_user = "nobody2".into());
    assert_eq!(message, "unable to find user nobody2: no matching entries in passwd file");
    assert_eq!(kind, StartErrorKind::UserNotFound);
    let (kind, _) = check(&|spec| spec.user.must_not_be_root = true);
    assert_eq!(kind, StartErrorKind::RootRefused);
    let (kind, message) = check(&|spec| {
        spec.mounts.push(berth_runtime::Mount {
            destination: "/data".into(),
            source: berth_runtime::MountSource::Bind { path: "/no/such/volume".into(), sub_path: None },
            read_only: false,
            propagation: berth_runtime::Propagation::Private,
        });
    });
    assert_eq!(message, "mount /no/such/volume on /data: no such file or directory");
    assert_eq!(kind, StartErrorKind::Mount);
    // None of them has left anything in the pod.
    assert!(pod.state().unwrap().containers.is_empty());
    let spec = node.shell("exit 3");
    assert_eq!(run_in(&pod, &spec).0.code, 3);
}

#[test]
fn a_failed_start_frees_its_id() {
    let node = Node::new();
    let pod = node.pod();
    let mut spec = node.container(&["/nope"]);
    pod.start_container(&spec).unwrap_err();
    spec.args = vec!["/bin/true".into()];
    // A writable layer serves one start only.
    spec.rootfs = node.container(&[]).rootfs;
    assert_eq!(run_in(&pod, &spec).0.code, 0);
    assert!(matches!(pod.start_container(&spec), Err(Error::AlreadyExists { .. })));
    pod.remove_container(&spec.id).unwrap();
    pod.remove_container(&spec.id).unwrap();
}

#[test]
fn many_short_containers_lose_no_exit_code() {
    let node = Node::new();
    let pod = node.pod();
    let specs: Vec<_> = (0..24).map(|code| node.shell(&format!("exit {code}"))).collect();
    std::thread::scope(|scope| {
        for (code, spec) in specs.iter().enumerate() {
            let pod = &pod;
            scope.spawn(move || assert_eq!(run_in(pod, spec).0.code, code as i32));
        }
    });
}

#[test]
fn memory_is_limited_and_the_kill_is_told() {
    let node = Node::new();
    let mut spec = node.shell("exec dd if=/dev/zero of=/dev/null bs=512M count=1");
    spec.resources = Resources { memory_limit_bytes: Some(64 << 20), ..Resources::default() };
    let (exit, _) = node.run(&spec);
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(libc::SIGKILL), true));
}

#[test]
fn processes_and_cpu_are_limited() {
    let node = Node::new();
    let mut spec = node.shell(
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; \
         cat /sys/fs/cgroup/cpu*/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | head -n 1; \
         i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done",
    );
    spec.resources = Resources {
        pids_max: Some(10),
        cpu_quota_us: Some(20_000),
        cpu_shares: Some(512),
        ..Resources::default()
    };
    let (exit, log) = node.run(&spec);
    let out = stdout_of(&log);
    assert!(out.starts_with("10\n20000"), "{log:?}");
    assert_ne!(exit.code, 0, "forks beyond the limit fail");
    assert!(log.iter().any(|line| line.contains("can't fork")), "{log:?}");
}

#[test]
fn a_signal_reaches_the_container_and_kill_reaches_all_of_it() {
    let node = Node::new();
    let pod = node.pod();
    let spec = node.shell("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done");
    pod.start_container(&spec).unwrap();
    crate::support::eventually("the trap is set", || crate::support::log_of(&spec) == ["stdout F ready"]);
    pod.kill(&spec.id, libc::SIGTERM).unwrap();
    let exit = pod.wait(&spec.id, Some(crate::support::PATIENCE)).unwrap().unwrap();
    assert_eq!(exit.code, 4);
    let spec = node.shell("sleep 1000 & sleep 1000 & wait");
    pod.start_container(&spec).unwrap();
    pod.kill(&spec.id, libc::SIGKILL).unwrap();
    let exit = pod.wait(&spec.id, Some(crate::support::PATIENCE)).unwrap().unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
    pod.kill(&spec.id, libc::SIGTERM).unwrap();
    assert!(matches!(pod.kill("unknown", libc::SIGTERM), Err(Error::NotFound { .. })));
}

#[test]
fn nothing_is_left_behind() {
    let node = Node::new();
    let pod = node.pod();
    let spec = node.shell("sleep 1000 & exec sleep 1000");
    pod.start_container(&spec).unwrap();
    assert_ne!(leftovers(&node), Vec::<String>::new(), "the check sees a living pod");
    pod.remove().unwrap();
    pod.remove().unwrap();
    assert_eq!(leftovers(&node), Vec::<String>::new());
    assert!(matches!(pod.state(), Err(Error::NotFound { .. })));
    assert!(
        node.runtime
            .create_pod(&berth_runtime::PodSandboxSpec { id: pod.id().into(), ..node.pod_spec() })
            .is_ok()
    );
}
