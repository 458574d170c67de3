//! What a container must not be able to do.

use std::os::unix::fs::PermissionsExt;

use berth_runtime::{ContainerSpec, Device, PidNamespace, Rlimit, Seccomp, User, capabilities};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{Node, run_in, stdout_of};

/// What a script prints when it runs in a container changed like this.
fn output(node: &Node, script: &str, change: impl Fn(&mut ContainerSpec)) -> String {
    let mut spec = node.shell(script);
    change(&mut spec);
    let (exit, log) = node.run(&spec);
    assert_eq!(exit.code, 0, "{log:?}");
    stdout_of(&log)
}

/// `yes` or `no`, whether a command works.
fn can(node: &Node, command: &str, change: impl Fn(&mut ContainerSpec)) -> bool {
    output(node, &format!("if {command} >/dev/null 2>&1; then echo yes; else echo no; fi"), change) == "yes"
}

fn all_capabilities(spec: &mut ContainerSpec) {
    spec.capabilities = capabilities::Capability::all();
}

#[test]
fn mounting_and_new_namespaces_are_refused() {
    let node = Node::new();
    assert!(!can(&node, "mount -t tmpfs none /tmp", |_| {}));
    assert!(!can(&node, "unshare -U true", |_| {}));
    assert!(!can(&node, "unshare -m true", |_| {}));
    // Unconfined by seccomp, the missing capability still refuses; and a user namespace is a way to it.
    assert!(!can(&node, "mount -t tmpfs none /tmp", |spec| spec.seccomp = Seccomp::Unconfined));
    assert!(can(&node, "unshare -U true", |spec| spec.seccomp = Seccomp::Unconfined));
    assert!(can(&node, "mount -t tmpfs none /tmp", all_capabilities));
}

#[test]
fn capabilities_are_dockers_and_those_of_others_than_root_are_none() {
    let node = Node::new();
    let sets = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | head -n 5";
    let of = |change: &dyn Fn(&mut ContainerSpec)| {
        let text = output(&node, sets, change);
        let values: Vec<u64> = text
            .lines()
            .map(|line| u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap())
            .collect();
        values
    };
    let docker = 0xa804_25fb;
    assert_eq!(of(&|_| {}), [0, docker, docker, docker, 0]);
    assert_eq!(of(&|spec| spec.user.uid = Some(1000)), [0, 0, 0, docker, 0]);
    let one = capabilities::adjusted(&["NET_ADMIN".into()], &["ALL".into()]).unwrap();
    let net_admin = 1 << 12;
    assert_eq!(of(&|spec| spec.capabilities = one.clone()), [0, net_admin, net_admin, net_admin, 0]);
}

#[test]
fn no_new_privs_and_seccomp_go_together_and_apart() {
    let node = Node::new();
    let status = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status";
    let check = |no_new_privs: bool, seccomp: Seccomp, uid: u32| {
        output(&node, status, |spec| {
            spec.no_new_privs = no_new_privs;
            spec.seccomp = seccomp;
            spec.user = User { uid: Some(uid), ..User::default() };
        })
    };
    assert_eq!(check(false, Seccomp::DockerDefault, 0), "NoNewPrivs:\t0\nSeccomp:\t2");
    assert_eq!(check(true, Seccomp::DockerDefault, 1000), "NoNewPrivs:\t1\nSeccomp:\t2");
    assert_eq!(check(true, Seccomp::Unconfined, 0), "NoNewPrivs:\t1\nSeccomp:\t0");
    assert_eq!(check(false, Seccomp::DockerDefault, 1000), "NoNewPrivs:\t0\nSeccomp:\t2");
}

#[test]
fn paths_are_masked_and_read_only() {
    let node = Node::new();
    assert_eq!(output(&node, "cat /proc/keys /proc/timer_list | head -c 1; ls /sys/firmware", |_| {}), "");
    assert!(!can(&node, "sh -c 'echo 1 > /proc/sys/kernel/panic'", |_| {}));
    assert!(!can(&node, "mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x", |_| {}));
    assert!(!can(&node, "touch /sys/x", |_| {}));
    let unmasked = |spec: &mut ContainerSpec| {
        spec.masked_paths.clear();
        spec.readonly_paths.clear();
    };
    assert!(can(&node, "grep -q . /proc/timer_list /proc/keys", unmasked));
}

#[test]
fn a_read_only_root_is_read_only_but_its_volumes_are_not() {
    let node = Node::new();
    let read_only = |spec: &mut ContainerSpec| {
        spec.readonly_rootfs = true;
        // Made although nothing can be made any more later.
        spec.cwd = "/work/here".into();
    };
    assert!(!can(&node, "touch /x", read_only));
    assert!(can(&node, "touch /dev/shm/x", read_only));
    assert_eq!(output(&node, "pwd", read_only), "/work/here");
}

#[test]
fn devices_are_the_harmless_ones() {
    let node = Node::new();
    assert_eq!(output(&node, "head -c 3 /dev/zero | dd of=/dev/null 2>/dev/null; ls /dev", |_| {}), {
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero"
    });
    // A node can be made, but not opened: /dev/mem, and the first loop device.
    assert!(!can(&node, "sh -c 'mknod /m c 1 1 && head -c 1 /m'", |_| {}));
    assert!(!can(&node, "sh -c 'mknod /l b 7 0 && head -c 1 /l'", |_| {}));
    let kmsg = |spec: &mut ContainerSpec| {
        spec.devices = vec![Device {
            host_path: "/dev/kmsg".into(),
            container_path: "/dev/kernel/messages".into(),
            permissions: "rw".into(),
        }];
    };
    assert!(can(&node, "sh -c 'echo berth-runtime test > /dev/kernel/messages'", kmsg));
    assert!(!can(&node, "sh -c 'mknod /k c 1 11 && echo x > /k'", |_| {}));
}

#[test]
fn a_privileged_container_has_it_all() {
    let node = Node::new();
    let privileged = |spec: &mut ContainerSpec| spec.privileged = true;
    assert!(can(&node, "mount -t tmpfs none /tmp", privileged));
    assert!(can(&node, "test -c /dev/kmsg", privileged));
    assert!(can(&node, "grep -q . /proc/timer_list", privileged));
    assert_eq!(output(&node, "grep Seccomp: /proc/self/status", privileged), "Seccomp:\t0");
}

#[test]
fn limits_of_the_process_are_set_or_clamped_with_a_warning() {
    // As `berth up` has it; a container does not.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let node = Node::new();
    let pod = node.pod();
    let (_, log) = run_in(&pod, &node.shell("ulimit -Sn; ulimit -Hn"));
    assert_eq!(stdout_of(&log), format!("{}\n{hard}", hard.min(1024)));
    let mut spec = node.shell("ulimit -n; cat /proc/self/oom_score_adj");
    spec.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 512, hard: 1024 }];
    spec.oom_score_adj = 500;
    let (_, log) = run_in(&pod, &spec);
    assert_eq!(stdout_of(&log), "512\n500");
    let mut spec = node.container(&["/bin/true"]);
    spec.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 64, hard: u64::MAX }];
    spec.oom_score_adj = -900;
    // Whether it is permitted depends on the machine; that it starts does not.
    let started = pod.start_container(&spec).unwrap();
    let permitted = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = permitted.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let has_sys_resource = u64::from_str_radix(effective, 16).unwrap() >> 24 & 1 == 1;
    if !has_sys_resource {
        let text = started.warnings.join("\n");
        assert!(text.contains("oom_score_adj -900 is not permitted on this machine"), "{text}");
        assert!(text.contains("RLIMIT_NOFILE"), "{text}");
    }
}

#[test]
fn the_shim_and_the_machine_cannot_be_reached() {
    let node = Node::new();
    // No descriptor of the shim is inherited, and /proc/self/exe of the container is busybox.
    let script = "ls /proc/self/fd; readlink /proc/1/exe; ls /proc/1/cwd/ >/dev/null && echo own";
    let out = output(&node, script, |_| {});
    assert_eq!(out, "0\n1\n2\n3\n/bin/busybox\nown", "3 is the directory that ls reads");
    // A working directory through a descriptor of the runtime's (CVE-2024-21626).
    for number in 3..12 {
        let mut spec = node.container(&["/bin/true"]);
        spec.cwd = format!("/proc/self/fd/{number}").into();
        let pod = node.pod();
        let error = pod.start_container(&spec).expect_err("a descriptor of the runtime was left open");
        assert!(error.to_string().starts_with("chdir to cwd"), "{error}");
    }
}

#[test]
fn a_program_may_start_where_its_user_could_not_go() {
    let node = Node::new();
    let closed = |spec: &mut ContainerSpec| {
        spec.cwd = "/closed".into();
        spec.user.uid = Some(1000);
    };
    let closed_directory = node.path().join("image/base/closed");
    std::fs::create_dir(&closed_directory).unwrap();
    std::fs::set_permissions(&closed_directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(
        output(&node, "pwd; ls . 2>/dev/null || echo and no further", closed),
        "/closed\nand no further"
    );
}

#[test]
fn pid_1_of_a_shared_namespace_has_nothing_of_the_machine() {
    let node = Node::new();
    let mut pod_spec = node.pod_spec();
    pod_spec.pid = PidNamespace::Pod;
    let pod = node.runtime.create_pod(&pod_spec).unwrap();
    // What the Kubernetes documentation gives a container that is to debug its neighbours.
    let script = "ls -A /proc/1/root /proc/1/cwd /proc/1/fd; for n in net ipc uts mnt cgroup; do readlink /proc/1/ns/$n; done; \
                  grep -E '^(Uid|CapPrm):' /proc/1/status";
    let mut spec = node.shell(script);
    spec.capabilities = capabilities::adjusted(&["SYS_PTRACE".into()], &[]).unwrap();
    let (exit, log) = run_in(&pod, &spec);
    let out = stdout_of(&log);
    assert_eq!(exit.code, 0, "{log:?}");
    assert!(out.starts_with("/proc/1/cwd:\n\n/proc/1/fd:\n\n/proc/1/root:\nnet:["), "{out}");
    assert!(out.ends_with("Uid:\t65535\t65535\t65535\t65535\nCapPrm:\t0000000000000000"), "{out}");
    for name in ["net", "ipc", "uts", "mnt", "cgroup"] {
        let of_machine = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(!out.contains(&*of_machine.to_string_lossy()), "{name}: {out}");
    }
}

#[test]
fn executing_the_runtime_itself_does_not_give_it_away() {
    let node = Node::new();
    let pod = node.pod();
    // As root in the container, with the entry point of CVE-2019-5736.
    let spec = node.container(&["/proc/self/exe"]);
    let before = std::fs::read(env!("CARGO_BIN_EXE_berth-shim")).unwrap();
    match pod.start_container(&spec) {
        // It runs as itself, prints its usage and ends.
        Ok(_) => {
            let exit = pod.wait(&spec.id, Some(crate::support::PATIENCE)).unwrap().unwrap();
            assert_ne!(exit.code, 0);
        }
        Err(error) => assert!(error.to_string().contains("exec"), "{error}"),
    }
    let sleeper =
        node.shell("while :; do for p in /proc/[0-9]*; do echo x >> $p/exe; done; done 2>/dev/null");
    pod.start_container(&sleeper).unwrap();
    for _ in 0..5 {
        assert_eq!(crate::support::exec(&pod, &sleeper.id, &["true"]).0, 0);
    }
    assert_eq!(std::fs::read(env!("CARGO_BIN_EXE_berth-shim")).unwrap(), before);
}
