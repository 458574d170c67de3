//! What the machine is and has, from `/proc` and the like.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::container::fields::Allocatable;

/// The machine's figures; they do not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) storage_bytes: u64,
    pub(crate) hostname: String,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) machine_id: String,
    pub(crate) boot_id: String,
    pub(crate) system_uuid: String,
    pub(crate) ip: IpAddr,
    pub(crate) has_app_armor: bool,
    /// Whether its kernel enforces labels, or would.
    pub(crate) has_selinux: bool,
}

impl Machine {
    /// Looks at the machine. What cannot be read is empty: only `describe node` shows it.
    pub(crate) fn look(data_dir: &Path, ip: Option<IpAddr>) -> Machine {
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory_bytes: memory_bytes(),
            storage_bytes: storage_bytes(data_dir),
            hostname: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            system_uuid: line("/sys/class/dmi/id/product_uuid"),
            has_app_armor: line("/sys/module/apparmor/parameters/enabled") == "Y",
            ip: ip.or_else(default_address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            has_selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }

    /// What pods may use: everything, as the kubelet's when nothing is reserved.
    pub(crate) fn allocatable(&self) -> Allocatable {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Allocatable {
            cpu_millis: signed(self.cpus.saturating_mul(1000)),
            memory_bytes: signed(self.memory_bytes),
            storage_bytes: signed(self.storage_bytes),
        }
    }

    /// The processor, in Go's terms.
    pub(crate) fn architecture() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn memory_bytes() -> u64 {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = table.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

fn storage_bytes(path: &Path) -> u64 {
    nix::sys::statvfs::statvfs(path)
        .map_or(0, |figures| figures.blocks().saturating_mul(figures.fragment_size()))
}

fn os_image(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// The address from which this machine reaches others. Nothing is sent: connecting a datagram socket only looks up
/// the route.
fn default_address() -> Option<IpAddr> {
    let anywhere = SocketAddr::from(([192, 0, 2, 1], 9));
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(anywhere).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// What is left of memory, disk and process numbers, for the node's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pressure {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
    pub(crate) pids: bool,
}

impl Pressure {
    /// Looks at the machine, by the kubelet's default thresholds: 100 MiB of memory, 10 % of the disk (5 % of inodes),
    /// a tenth of the process numbers.
    pub(crate) fn look(data_dir: &Path) -> Pressure {
        const MEMORY_BYTES_MIN: u64 = 100 << 20;
        let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let available = available.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let disk = nix::sys::statvfs::statvfs(data_dir).is_ok_and(|figures| {
            let short = |free: u64, all: u64, percent: u64| all > 0 && free < all / 100 * percent;
            short(figures.blocks_available(), figures.blocks(), 10)
                || short(figures.files_available(), figures.files(), 5)
        });
        Pressure {
            memory: available.is_some_and(|kib| kib * 1024 < MEMORY_BYTES_MIN),
            disk,
            pids: few_pids(),
        }
    }
}

fn few_pids() -> bool {
    let loads = line("/proc/loadavg");
    let threads = loads
        .split(' ')
        .nth(3)
        .and_then(|field| field.split('/').nth(1))
        .and_then(|all| all.parse::<u64>().ok());
    let max = line("/proc/sys/kernel/pid_max").parse::<u64>().ok();
    matches!((threads, max), (Some(threads), Some(max)) if threads > max / 10 * 9)
}
