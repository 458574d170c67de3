//! Fixtures that clean up also when a test fails, and tiny TCP servers in namespaces.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use berth_network::{Ipv4Cidr, Network, NetworkConfig, destroy};
use nix::sched::{CloneFlags, setns, unshare};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A network's directory and names; everything is removed at the end, and the removal checked.
pub(crate) struct Fixture {
    pub(crate) id: &'static str,
    pub(crate) pod_cidr: Ipv4Cidr,
    pub(crate) dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new(id: &'static str, pod_cidr: &str) -> Fixture {
        assert!(nix::unistd::geteuid().is_root(), "the network's tests need root: run them with sudo");
        let fixture = Fixture { id, pod_cidr: pod_cidr.parse().unwrap(), dir: tempfile::tempdir().unwrap() };
        destroy(&fixture.config(0)).unwrap(); // What a killed earlier run left in the kernel.
        fixture
    }

    pub(crate) fn config(&self, spare_count: usize) -> NetworkConfig {
        let (cluster_id, data_dir) = (self.id.parse().unwrap(), self.dir.path().to_owned());
        NetworkConfig { cluster_id, pod_cidr: self.pod_cidr, api: None, data_dir, spare_count }
    }

    pub(crate) fn open(&self, spare_count: usize) -> Network {
        Network::open(self.config(spare_count)).unwrap()
    }

    pub(crate) fn assert_nothing_left(&self) {
        let names: Vec<String> = fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(&format!("v{}", self.id)) || *name == format!("br-{}", self.id))
            .collect();
        assert!(names.is_empty(), "links left: {names:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "mounts left: {mounts}");
        let tables = sh("nft list tables");
        assert!(!tables.contains(&format!("berth-{}", self.id)), "rules left: {tables}");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let destroyed = destroy(&self.config(0));
        if !std::thread::panicking() {
            destroyed.unwrap();
            self.assert_nothing_left();
        }
    }
}

/// A namespace beside the node, as another machine on its network: `<prefix>.1` is the node, `<prefix>.2` the other.
pub(crate) struct Outside {
    link: String,
    /// Only this descriptor keeps the namespace.
    _file: File,
    pub(crate) netns: PathBuf,
    pub(crate) near: Ipv4Addr,
    pub(crate) far: Ipv4Addr,
}

impl Outside {
    pub(crate) fn new(id: &str, prefix: &str) -> Outside {
        let create = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let file = std::thread::spawn(create).join().unwrap();
        let outside = Outside {
            link: format!("o{id}"),
            netns: format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into(),
            _file: file,
            near: format!("{prefix}.1").parse().unwrap(),
            far: format!("{prefix}.2").parse().unwrap(),
        };
        outside.remove();
        let (link, netns) = (&outside.link, outside.netns.display());
        sh(&format!(
            "set -e; ip link add {link} type veth peer name eth0 netns {netns}; \
             ip addr add {prefix}.1/24 dev {link}; ip link set {link} up"
        ));
        let configure =
            format!("set -e; ip addr add {prefix}.2/24 dev eth0; ip link set eth0 up; ip link set lo up");
        inside(&outside.netns, move || sh(&configure));
        outside
    }

    fn remove(&self) {
        let _ = Command::new("ip").args(["link", "del", &self.link]).output(); // It may not be there.
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Runs `work` in a thread that has entered the namespace.
pub(crate) fn inside<T: Send + 'static>(netns: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(netns).unwrap();
    let enter = move || {
        setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A server that tells each client the address it sees; it lives as long as the test's process.
pub(crate) struct Server {
    pub(crate) port: u16,
}

/// Starts a [`Server`] in a namespace (or here); port 0 takes a free one.
pub(crate) fn serve(netns: Option<&Path>, address: (Ipv4Addr, u16)) -> Server {
    let bind = move || TcpListener::bind(address).unwrap();
    let listener = match netns {
        Some(netns) => inside(netns, bind),
        None => bind(),
    };
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let Ok(SocketAddr::V4(peer)) = client.peer_addr() else { return };
            let _ = client.write_all(peer.ip().to_string().as_bytes()); // A client may hang up.
        }
    });
    Server { port }
}

/// The address under which a [`Server`] sees us.
pub(crate) fn ask(server: (Ipv4Addr, u16)) -> String {
    let mut stream =
        TcpStream::connect_timeout(&server.into(), PATIENCE).unwrap_or_else(|e| panic!("{server:?}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether there is a link of that name.
pub(crate) fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// What a shell command prints.
pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a condition.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
