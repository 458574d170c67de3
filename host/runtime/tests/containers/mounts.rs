//! Volumes, and the sandbox that containers share.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use berth_runtime::{
    Error, IpcNamespace, Mount, MountSource, NetworkNamespace, PidNamespace, Propagation, StartErrorKind,
};

use crate::support::{Node, exec, run_in, stdout_of};

fn bind(path: impl Into<PathBuf>, destination: &str) -> Mount {
    Mount {
        destination: destination.into(),
        source: MountSource::Bind { path: path.into(), sub_path: None },
        read_only: false,
        propagation: Propagation::Private,
    }
}

fn volume(node: &Node, name: &str) -> PathBuf {
    let path = node.path().join("volumes").join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn directories_and_files_are_mounted_where_nothing_was() {
    let node = Node::new();
    let data = volume(&node, "data");
    fs::write(data.join("hosts"), "10.0.0.1 web\n").unwrap();
    let mut spec = node.shell("cat /etc/hosts; echo written > /var/lib/data/new; echo x > /var/lib/config/x");
    spec.mounts = vec![
        bind(data.join("hosts"), "/etc/hosts"),
        bind(&data, "/var/lib/data"),
        Mount { read_only: true, ..bind(&data, "/var/lib/config") },
    ];
    let (exit, log) = node.run(&spec);
    assert_eq!(stdout_of(&log), "10.0.0.1 web");
    assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "written\n");
    assert_ne!(exit.code, 0, "the read-only mount refuses");
    assert!(!data.join("x").exists());
}

#[test]
fn memory_file_systems_have_size_and_mode() {
    let node = Node::new();
    let mut spec =
        node.shell("stat -c %a /cache; dd if=/dev/zero of=/cache/x bs=1M count=4 2>&1 | grep -c 'No space'");
    spec.mounts = vec![Mount {
        destination: "/cache".into(),
        source: MountSource::Tmpfs { size_bytes: Some(2 << 20), mode: 0o1777 },
        read_only: false,
        propagation: Propagation::Private,
    }];
    assert_eq!(stdout_of(&node.run(&spec).1), "1777\n1");
}

#[test]
fn sub_paths_are_made_and_stay_in_their_volume() {
    let node = Node::new();
    let data = volume(&node, "data");
    symlink("/etc", data.join("out")).unwrap();
    symlink("inner", data.join("in")).unwrap();
    fs::create_dir(data.join("inner")).unwrap();
    let start = |sub_path: &str| {
        let mut spec = node.shell("echo x > /data/file");
        let source = MountSource::Bind { path: data.clone(), sub_path: Some(sub_path.into()) };
        spec.mounts = vec![Mount { source, ..bind("", "/data") }];
        let pod = node.pod();
        pod.start_container(&spec).map(|_| pod.wait(&spec.id, None).unwrap().unwrap().code)
    };
    assert_eq!(start("made/here").unwrap(), 0);
    assert!(data.join("made/here/file").exists());
    assert_eq!(start("in").unwrap(), 0);
    assert!(data.join("inner/file").exists());
    for escape in ["out", "../other", "out/x"] {
        match start(escape) {
            Err(Error::Start(error)) => {
                assert_eq!(error.kind, StartErrorKind::SubPath);
                let message = format!("the subPath {escape:?} of the mount on /data leads out of its volume");
                assert_eq!(error.message, message);
            }
            other => panic!("{escape}: {other:?}"),
        }
    }
    assert!(!Path::new("/etc/file").exists());
}

/// A volume that the image declares, on a directory of its own.
fn image_volume(node: &Node, destination: &str) -> Mount {
    let path = volume(node, &destination.replace('/', "-"));
    Mount { source: MountSource::ImageVolume { path }, ..bind("", destination) }
}

#[test]
fn volumes_of_the_image_hold_what_the_image_has_there() {
    let node = Node::new();
    let data = node.path().join("image/base/data");
    let (seed, nested) = (data.join("deep/seed"), data.join("nested"));
    fs::create_dir_all(data.join("deep")).unwrap();
    fs::create_dir(&nested).unwrap();
    fs::write(&seed, "seed\n").unwrap();
    fs::write(nested.join("file"), "nested\n").unwrap();
    symlink("/etc/shadow", data.join("link")).unwrap();
    nix::unistd::mkfifo(&data.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
    for (path, mode) in [(&data, 0o1750), (&seed, 0o4755), (&nested, 0o711)] {
        std::os::unix::fs::chown(path, Some(33), Some(44)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set_attribute(path, "kept");
    }
    std::os::unix::fs::lchown(data.join("link"), Some(33), Some(44)).unwrap();
    fs::hard_link(&seed, data.join("again")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&seed).unwrap().set_modified(old).unwrap();
    symlink("data", node.path().join("image/base/linked")).unwrap();

    let script = "cat /data/deep/seed /data/nested/file; for d in /data /data/nested /none/yet; do echo x >$d/new || exit 1; done; \
                  cat /linked/deep/seed; touch /x 2>/dev/null || echo read-only";
    let mut spec = node.shell(script);
    spec.readonly_rootfs = true;
    spec.mounts = ["/data", "/data/nested", "/none/yet"].map(|path| image_volume(&node, path)).into();
    let (exit, log) = node.run(&spec);
    assert_eq!((exit.code, stdout_of(&log).as_str()), (0, "seed\nnested\nseed\nread-only"), "{log:?}");

    let volumes = node.path().join("volumes");
    let copy = volumes.join("-data");
    assert_eq!(names(&copy), ["again", "deep", "link", "nested", "new", "pipe"]);
    assert_eq!(names(&copy.join("nested")), [""; 0], "its content is in the volume of its own");
    assert_eq!(names(&volumes.join("-data-nested")), ["file", "new"]);
    assert_eq!(names(&volumes.join("-none-yet")), ["new"]);
    for (of_image, path) in [
        (&seed, "deep/seed"),
        (&nested, "nested"),
        (&data.join("pipe"), "pipe"),
        (&data.join("link"), "link"),
    ] {
        let about = |path: &Path| {
            let found = fs::symlink_metadata(path).unwrap();
            (found.mode(), found.uid(), found.gid(), found.mtime(), fs::read_link(path).ok(), attribute(path))
        };
        assert_eq!(about(&copy.join(path)), about(of_image), "{path}");
    }
    let (seed, again) =
        (fs::metadata(copy.join("deep/seed")).unwrap(), fs::metadata(copy.join("again")).unwrap());
    assert_eq!((seed.ino(), seed.nlink()), (again.ino(), 2), "one file with two names");
    let (top, nested) = (fs::metadata(&copy).unwrap(), fs::metadata(volumes.join("-data-nested")).unwrap());
    assert_eq!((top.mode() & 0o7777, top.uid(), top.gid()), (0o1750, 33, 44));
    assert_eq!((nested.mode() & 0o7777, nested.uid()), (0o711, 33));
    assert_eq!(
        (attribute(&copy), attribute(&volumes.join("-data-nested"))),
        (b"kept".into(), b"kept".into())
    );
}

#[test]
fn a_volume_behind_a_link_is_where_the_link_leads_and_mounts_of_the_pod_cover_it() {
    let node = Node::new();
    let base = node.path().join("image/base");
    fs::create_dir_all(base.join("srv/data")).unwrap();
    fs::write(base.join("srv/data/file"), "of the image\n").unwrap();
    symlink("/srv/data", base.join("vol")).unwrap();
    symlink("../../../../etc/nowhere", base.join("dangling")).unwrap();
    let mut spec = node.shell("cat /vol/file; touch /srv/data/new /dangling/new && echo writable");
    spec.readonly_rootfs = true;
    spec.mounts = ["/vol", "/dangling"].map(|path| image_volume(&node, path)).into();
    assert_eq!(stdout_of(&node.run(&spec).1), "of the image\nwritable");
    assert_eq!(names(&node.path().join("volumes/-vol")), ["file", "new"]);
    assert!(!Path::new("/etc/nowhere").exists());

    fs::remove_dir_all(node.path().join("volumes")).unwrap();
    let own = volume(&node, "own");
    fs::create_dir(own.join("data")).unwrap();
    let mut spec = node.shell("ls /vol; ls /srv");
    spec.mounts = vec![image_volume(&node, "/vol"), bind(&own, "/srv")];
    assert_eq!(stdout_of(&node.run(&spec).1), "data");
}

#[test]
fn a_volume_of_the_image_that_is_a_file_there_is_told() {
    let node = Node::new();
    for place in ["/bin/busybox", "/bin/busybox/below"] {
        let mut spec = node.container(&["/bin/true"]);
        spec.mounts = vec![image_volume(&node, place)];
        match node.pod().start_container(&spec) {
            Err(Error::Start(error)) => {
                assert_eq!(error.message, format!("the image's volume {place}: not a directory"));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An attribute that takes no support of the file system's but the usual: `trusted.` is for root, on any kind of file.
const ATTRIBUTE: &std::ffi::CStr = c"trusted.berth";

fn set_attribute(path: &Path, value: &str) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: both strings end in NUL; the kernel reads the value's bytes.
    let set =
        unsafe { libc::lsetxattr(path.as_ptr(), ATTRIBUTE.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Its value; empty without one.
fn attribute(path: &Path) -> Vec<u8> {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let mut value = vec![0_u8; 64];
    // SAFETY: both strings end in NUL; the kernel writes at most that many bytes.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), ATTRIBUTE.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).unwrap_or(0));
    value
}

#[test]
fn a_sub_path_that_is_made_is_as_open_as_its_volume() {
    let node = Node::new();
    let data = volume(&node, "data");
    std::os::unix::fs::chown(&data, None, Some(2000)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2777)).unwrap();
    let mut spec = node.shell("echo x > /data/file && stat -c '%a %g' /data");
    spec.user.uid = Some(1000);
    let source = MountSource::Bind { path: data.clone(), sub_path: Some("made/here".into()) };
    spec.mounts = vec![Mount { source, ..bind("", "/data") }];
    let (exit, log) = node.run(&spec);
    assert_eq!((exit.code, stdout_of(&log).as_str()), (0, "2777 2000"));
}

#[test]
fn a_link_in_the_image_does_not_lead_a_mount_out_of_it() {
    let node = Node::new();
    let outside = node.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let image = node.path().join("image/base");
    symlink(&outside, image.join("absolute")).unwrap();
    symlink("../../../../../../..", image.join("upwards")).unwrap();
    let data = volume(&node, "data");
    fs::write(data.join("file"), "in the volume\n").unwrap();
    let link = outside.to_string_lossy().into_owned();
    let mut spec = node.shell(&format!("cat {link}/mine/file; cat {link}/yours/file"));
    spec.mounts = vec![bind(&data, "/absolute/mine"), bind(&data, &format!("/upwards{link}/yours"))];
    let (exit, log) = node.run(&spec);
    assert_eq!((exit.code, stdout_of(&log).as_str()), (0, "in the volume\nin the volume"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "the directory of the machine was touched");
}

#[test]
fn a_racing_neighbour_cannot_move_a_mount_out() {
    let node = Node::new();
    let outside = node.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let (shared, data) = (volume(&node, "shared"), volume(&node, "data"));
    let pod = node.pod();
    // The neighbour swaps a directory of the shared volume for a link, for ever.
    let swap = "cd /shared; while :; do mkdir -p a; mv a b 2>/dev/null; ln -s $0 a; rm -rf a b; done";
    let mut neighbour = node.container(&["/bin/sh", "-c", swap, &outside.to_string_lossy()]);
    neighbour.mounts = vec![bind(&shared, "/shared")];
    for applet in ["mv", "ln", "rm"] {
        symlink("busybox", node.path().join("image/base/bin").join(applet)).unwrap();
    }
    pod.start_container(&neighbour).unwrap();
    for _ in 0..30 {
        let mut spec = node.shell("exit 0");
        spec.mounts = vec![bind(&shared, "/shared"), bind(&data, "/shared/a/deep/mount")];
        // It may fail, when the directory goes away under it; it may not end up elsewhere.
        if pod.start_container(&spec).is_ok() {
            pod.wait(&spec.id, None).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "the directory of the machine was touched");
}

/// A directory of the machine that shares its mounts.
struct SharedDirectory(PathBuf);

impl SharedDirectory {
    fn new(path: PathBuf) -> SharedDirectory {
        use nix::mount::{MsFlags, mount};
        mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let shared = SharedDirectory(path);
        mount(None::<&str>, &shared.0, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        shared
    }

    /// What is mounted below it.
    fn mounted(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let below = |point: &&str| Path::new(point).starts_with(&self.0) && Path::new(point) != self.0;
        points.filter(below).map(str::to_owned).collect()
    }
}

impl Drop for SharedDirectory {
    fn drop(&mut self) {
        for point in self.mounted().iter().rev().map(PathBuf::from).chain([self.0.clone()]) {
            let _ = nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

#[test]
fn mounts_of_a_container_show_on_the_machine_only_when_both_share() {
    let node = Node::new();
    let data = SharedDirectory::new(volume(&node, "data"));
    let pod = node.pod();
    let mount_inside = |propagation| {
        let mut spec = node.shell("mkdir -p /data/inner && mount -t tmpfs made /data/inner");
        spec.privileged = true;
        spec.mounts = vec![Mount { propagation, ..bind(&data.0, "/data") }];
        let (exit, log) = run_in(&pod, &spec);
        assert_eq!(exit.code, 0, "{log:?}");
        data.mounted()
    };
    for one_way in [Propagation::Private, Propagation::HostToContainer] {
        assert_eq!(mount_inside(one_way), Vec::<String>::new(), "{one_way:?}");
    }
    let inner = data.0.join("inner").display().to_string();
    assert_eq!(mount_inside(Propagation::Bidirectional), [inner]);

    let private = volume(&node, "private");
    let flags = nix::mount::MsFlags::MS_PRIVATE;
    let own = SharedDirectory::new(private.clone());
    nix::mount::mount(None::<&str>, &own.0, None::<&str>, flags, None::<&str>).unwrap();
    let mut spec = node.container(&["/bin/true"]);
    spec.mounts = vec![Mount { propagation: Propagation::Bidirectional, ..bind(&private, "/data") }];
    let error = pod.start_container(&spec).unwrap_err().to_string();
    assert_eq!(error, format!("path {} is mounted but it is not a shared mount", private.display()));
}

#[test]
fn containers_of_a_pod_share_network_host_name_and_memory() {
    let node = Node::new();
    let pod = node.pod();
    let first = node.shell("echo shared > /dev/shm/file; exec sleep 1000");
    pod.start_container(&first).unwrap();
    let namespaces_of = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
    let second = node.shell(&format!("cat /dev/shm/file; hostname; {namespaces_of}"));
    crate::support::eventually("the file is there", || {
        exec(&pod, &first.id, &["cat", "/dev/shm/file"]).0 == 0
    });
    let (_, log) = run_in(&pod, &second);
    let out = stdout_of(&log);
    assert!(out.starts_with(&format!("shared\n{}\nnet:[", pod.id())), "{out}");
    let (_, namespaces, _) = exec(&pod, &first.id, &["sh", "-c", namespaces_of]);
    assert!(out.ends_with(namespaces.trim_end()), "{out} {namespaces}");
    let of_machine = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!namespaces.contains(&*of_machine.to_string_lossy()));
}

#[test]
fn a_network_namespace_may_be_made_after_the_pod() {
    let node = Node::new();
    let path = node.path().join("netns");
    let mut spec = node.pod_spec();
    spec.network = NetworkNamespace::Path(path.clone());
    spec.sysctls = [("net.ipv4.ip_unprivileged_port_start".into(), "0".into())].into();
    let pod = node.runtime.create_pod(&spec).unwrap();
    pod.wait_ready().unwrap();
    let container =
        node.shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start; readlink /proc/self/ns/net");
    match pod.start_container(&container) {
        Err(Error::Start(error)) => {
            assert_eq!(error.kind, StartErrorKind::Network);
            assert!(error.message.ends_with("netns: no such file or directory"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let namespace = NetworkNamespaceFile::new(&path);
    let again = node.shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start; readlink /proc/self/ns/net");
    let (_, log) = run_in(&pod, &again);
    assert_eq!(stdout_of(&log), format!("0\n{}", namespace.name));
}

/// A network namespace bind-mounted on a file, as the network crate makes them.
struct NetworkNamespaceFile {
    path: PathBuf,
    name: String,
}

impl NetworkNamespaceFile {
    fn new(path: &Path) -> NetworkNamespaceFile {
        fs::write(path, "").unwrap();
        let copy = path.to_owned();
        let name = std::thread::spawn(move || {
            use nix::sched::{CloneFlags, unshare};
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let own = Path::new("/proc/thread-self/ns/net");
            nix::mount::mount(Some(own), &copy, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>)
                .unwrap();
            fs::read_link(own).unwrap().to_string_lossy().into_owned()
        });
        NetworkNamespaceFile { path: path.to_owned(), name: name.join().unwrap() }
    }
}

impl Drop for NetworkNamespaceFile {
    fn drop(&mut self) {
        nix::mount::umount2(&self.path, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn processes_are_shared_when_asked_for_and_all_die_with_their_container() {
    let node = Node::new();
    let mut pod_spec = node.pod_spec();
    pod_spec.pid = PidNamespace::Pod;
    let pod = node.runtime.create_pod(&pod_spec).unwrap();
    let first = node.shell("sleep 1111 & exec sleep 2222");
    pod.start_container(&first).unwrap();
    let second = node.container(&["/bin/sleep", "3333"]);
    pod.start_container(&second).unwrap();
    let list = || exec(&pod, &second.id, &["ps", "-o", "args"]).1;
    crate::support::eventually("all are seen", || {
        list().contains("sleep 1111") && list().contains("sleep 2222")
    });
    assert!(!list().contains("run/pods"), "no path of the machine: {}", list());
    pod.kill(&first.id, libc::SIGKILL).unwrap();
    pod.wait(&first.id, Some(crate::support::PATIENCE)).unwrap().unwrap();
    crate::support::eventually("the child is gone too", || !list().contains("sleep 1111"));
    assert!(list().contains("sleep 3333"), "the neighbour lives on");
    assert_eq!(exec(&pod, &second.id, &["sh", "-c", "exit 6"]).0, 6);
}

#[test]
fn namespaces_of_the_machine_can_be_used() {
    let node = Node::new();
    let mut pod_spec = node.pod_spec();
    pod_spec.network = NetworkNamespace::Host;
    pod_spec.pid = PidNamespace::Host;
    pod_spec.ipc = IpcNamespace::Host;
    let pod = node.runtime.create_pod(&pod_spec).unwrap();
    let spec = node.shell("for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done");
    let (_, log) = run_in(&pod, &spec);
    let of_machine =
        |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned();
    let wanted = ["net", "pid", "ipc", "uts"].map(of_machine).join("\n");
    assert!(stdout_of(&log).starts_with(&wanted), "{log:?} {wanted}");
    assert!(!stdout_of(&log).contains(&of_machine("mnt")));
}

#[test]
fn a_sandbox_that_cannot_be_made_says_why() {
    let node = Node::new();
    let mut spec = node.pod_spec();
    spec.sysctls = [("net.ipv4.no_such_parameter".into(), "1".into())].into();
    let pod = node.runtime.create_pod(&spec).unwrap();
    let error = pod.start_container(&node.container(&["/bin/true"])).unwrap_err();
    let wanted = r#"pod sandbox: set sysctl net.ipv4.no_such_parameter to "1": no such file or directory"#;
    assert_eq!(error.to_string(), wanted);
    pod.remove().unwrap();
    assert_eq!(crate::support::leftovers(&node), Vec::<String>::new());
}
