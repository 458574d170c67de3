//! A node for tests: its own run directory and cgroups, and a small image made of busybox.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use berth_runtime::{
    ContainerSpec, ExecProcess, ExecSpec, ExitStatus, NetworkNamespace, PodHandle, PodSandboxSpec, Rootfs,
    Runtime, RuntimeConfig, ShimExecutable,
};

/// How long anything may take before a test gives up. The tests also run in an emulator (tests/cgroup2).
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where the set-up puts a static one.
const BUSYBOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/busybox");

const APPLETS: [&str; 30] = [
    "sh", "cat", "echo", "true", "false", "sleep", "id", "pwd", "env", "ls", "mount", "umount", "unshare",
    "touch", "mkdir", "chroot", "stat", "head", "dd", "grep", "hostname", "readlink", "ps", "kill", "stty",
    "tail", "yes", "mknod", "test", "printf",
];

static NODES: AtomicU32 = AtomicU32::new(0);

/// Everything of one test; dropping it removes it from the machine.
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    directory: tempfile::TempDir,
    cgroup_root: String,
    names: Cell<u32>,
}

impl Node {
    pub(crate) fn new() -> Node {
        assert!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is missing: make it with `make setup`");
        // SAFETY: plain system call.
        assert_eq!(unsafe { libc::geteuid() }, 0, "these tests make containers and must run as root");
        let directory = tempfile::Builder::new().prefix("berth-runtime-test-").tempdir().unwrap();
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let cgroup_root = format!("berth-test-{}-{number}", std::process::id());
        make_image(directory.path());
        let runtime = open(directory.path(), &cgroup_root);
        Node { runtime, directory, cgroup_root, names: Cell::new(0) }
    }

    /// Another runtime for the same run directory, as a restarted berth would make it.
    pub(crate) fn second_runtime(&self) -> Runtime {
        open(self.path(), &self.cgroup_root)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn cgroup_root(&self) -> &str {
        &self.cgroup_root
    }

    fn name(&self, prefix: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{prefix}-{}", self.names.get())
    }

    /// A sandbox with a network of its own and an unused id.
    pub(crate) fn pod_spec(&self) -> PodSandboxSpec {
        PodSandboxSpec::new(self.name("pod"), NetworkNamespace::New)
    }

    pub(crate) fn pod(&self) -> PodHandle {
        self.runtime.create_pod(&self.pod_spec()).unwrap()
    }

    /// A container on the busybox image with an unused id and a fresh writable layer.
    pub(crate) fn container(&self, args: &[&str]) -> ContainerSpec {
        let id = self.name("container");
        let layer = |kind: &str| {
            let path = self.path().join("layers").join(&id).join(kind);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let lowers = vec![self.path().join("image/base"), self.path().join("image/etc")];
        let rootfs = Rootfs::Overlay { lowers, upper: layer("upper"), work: layer("work") };
        let args = args.iter().map(ToString::to_string).collect();
        ContainerSpec::new(&id, rootfs, args, self.path().join("logs").join(&id).join("0.log"))
    }

    pub(crate) fn shell(&self, script: &str) -> ContainerSpec {
        self.container(&["/bin/sh", "-c", script])
    }

    /// Runs a container to its end, alone in a pod.
    pub(crate) fn run(&self, spec: &ContainerSpec) -> (ExitStatus, Vec<String>) {
        let pod = self.pod();
        let result = run_in(&pod, spec);
        pod.remove().unwrap();
        result
    }
}

/// Runs a container to its end: how it ended, and its log without times.
pub(crate) fn run_in(pod: &PodHandle, spec: &ContainerSpec) -> (ExitStatus, Vec<String>) {
    pod.start_container(spec).unwrap();
    let exit = pod.wait(&spec.id, Some(PATIENCE)).unwrap().expect("the container goes on and on");
    (exit, log_of(spec))
}

/// The lines of a container's log without times: `stdout F text`.
pub(crate) fn log_of(spec: &ContainerSpec) -> Vec<String> {
    let text = fs::read_to_string(&spec.log_path).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

/// Standard output of a container's log, in one piece.
pub(crate) fn stdout_of(lines: &[String]) -> String {
    let texts: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("stdout F ")).collect();
    texts.join("\n")
}

/// Runs a command in a container to its end: exit code, output, errors.
pub(crate) fn exec(pod: &PodHandle, container: &str, args: &[&str]) -> (i32, String, String) {
    let spec = ExecSpec::new(args.iter().map(ToString::to_string).collect());
    finish(pod.exec(container, &spec).unwrap())
}

pub(crate) fn finish(mut process: ExecProcess) -> (i32, String, String) {
    let stdout = std::io::read_to_string(process.stdout.take().unwrap()).unwrap();
    let stderr = std::io::read_to_string(process.stderr.take().unwrap()).unwrap();
    let exit = process.wait(Some(PATIENCE)).unwrap().expect("the exec'd process goes on and on");
    (exit.code, stdout, stderr)
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything on this machine that belongs to a node: mounts, cgroups and processes.
pub(crate) fn leftovers(node: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let run_dir = node.path().to_string_lossy().into_owned();
    found.extend(mounts.lines().filter(|line| line.contains(&run_dir)).map(|line| format!("mount {line}")));
    find_groups(Path::new("/sys/fs/cgroup"), node.cgroup_root(), &mut found);
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.starts_with("berth-shim") && command.contains(&run_dir) {
            found.push(format!("process {}", entry.path().display()));
        }
    }
    found
}

fn find_groups(directory: &Path, root: &str, found: &mut Vec<String>) {
    // Either /sys/fs/cgroup is the hierarchy, or it holds the mount points of several.
    for candidate in [directory.join(root)]
        .into_iter()
        .chain(fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path().join(root)))
    {
        if candidate.exists() {
            let children = fs::read_dir(&candidate).unwrap().flatten();
            let pods = children.filter(|child| child.file_name().to_string_lossy().starts_with("pod-"));
            found.extend(pods.map(|pod| format!("cgroup {}", pod.path().display())));
        }
    }
}

fn open(directory: &Path, cgroup_root: &str) -> Runtime {
    Runtime::new(RuntimeConfig {
        run_dir: directory.join("run"),
        cgroup_root_name: cgroup_root.to_owned(),
        shim_executable: ShimExecutable::Path(PathBuf::from(env!("CARGO_BIN_EXE_berth-shim"))),
    })
    .unwrap()
}

/// Two layers: programs, and a user database.
fn make_image(directory: &Path) {
    let base = directory.join("image/base");
    fs::create_dir_all(base.join("bin")).unwrap();
    fs::create_dir_all(base.join("tmp")).unwrap();
    fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(BUSYBOX, base.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", base.join("bin").join(applet)).unwrap();
    }
    let etc = directory.join("image/etc/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/var/www:/bin/sh\n")
        .unwrap();
    fs::write(etc.join("group"), "root:x:0:\nwww:x:44:\nlogs:x:55:web\n").unwrap();
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.destroy_all() {
            eprintln!("clean up after the test: {error}");
        }
    }
}
