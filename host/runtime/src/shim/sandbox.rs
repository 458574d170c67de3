//! What a pod's containers share. The shim itself is in the pod's namespaces, so its children are born in them, and
//! no pause process is needed to hold them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Gid, Uid, pipe2, setgroups, setresgid, setresuid};

use crate::cgroups::{Cgroups, Group};
use crate::error::{StartError, StartErrorKind, describe};
use crate::init;
use crate::rundir::PodDirectory;
use crate::spec::{IpcNamespace, NetworkNamespace, PidNamespace, PodSandboxSpec, sysctl_path};
use crate::sys::{self, Forked};

pub(super) struct Sandbox {
    /// Until the network is joined, which waits for the first container.
    network_pending: Option<PathBuf>,
    /// Mounted by us; `None` with the machine's IPC.
    pub(super) shm: Option<PathBuf>,
    /// Processes beside the containers', by what they do.
    pub(super) helpers: Vec<i32>,
}

/// A step of the set-up failed.
fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> String {
    move |error| format!("{}: {}", action.into(), describe(&error.into()))
}

impl Sandbox {
    /// Makes it around this process.
    pub(super) fn set_up(
        spec: &PodSandboxSpec,
        directory: &PodDirectory,
        cgroups: &dyn Cgroups,
    ) -> Result<Sandbox, String> {
        let mut helpers = Vec::new();
        match Sandbox::make(spec, directory, cgroups, &mut helpers) {
            Ok((shm, network_pending)) => Ok(Sandbox { network_pending, shm, helpers }),
            Err(reason) => {
                for helper in helpers {
                    end_helper(helper);
                }
                Err(reason)
            }
        }
    }

    /// Where the pod's `/dev/shm` is, and the network that is yet to be joined.
    fn make(
        spec: &PodSandboxSpec,
        directory: &PodDirectory,
        cgroups: &dyn Cgroups,
        helpers: &mut Vec<i32>,
    ) -> Result<(Option<PathBuf>, Option<PathBuf>), String> {
        let group = Group::Pod(&spec.id);
        let mut flags = CloneFlags::empty();
        if spec.network != NetworkNamespace::Host {
            flags |= CloneFlags::CLONE_NEWUTS;
        }
        if spec.network == NetworkNamespace::New {
            flags |= CloneFlags::CLONE_NEWNET;
        }
        if spec.ipc == IpcNamespace::Pod {
            flags |= CloneFlags::CLONE_NEWIPC;
        }
        let mut movable = vec![std::process::id() as i32];
        let reaper = match spec.pid {
            PidNamespace::Pod => Some(Reaper::start(directory)?),
            PidNamespace::Container | PidNamespace::Host => None,
        };
        movable.extend(reaper.as_ref().map(|reaper| reaper.pid));
        helpers.extend(reaper.as_ref().map(|reaper| reaper.pid));
        helpers.push(move_in_background(cgroups, &movable)?);
        if let Some(reaper) = &reaper {
            // From here on every child of the shim is born in there.
            setns(&reaper.pidfd, CloneFlags::CLONE_NEWPID).map_err(failed("use the PID namespace"))?;
        }
        cgroups.create(group, &spec.resources).map_err(failed(format!("make {group}")))?;
        unshare(flags).map_err(failed("make namespaces"))?;
        if flags.contains(CloneFlags::CLONE_NEWUTS) {
            nix::unistd::sethostname(&spec.hostname)
                .map_err(failed(format!("set the host name {:?}", spec.hostname)))?;
        }
        let shm = match spec.ipc {
            IpcNamespace::Pod => Some(mount_shm(spec, directory).map_err(failed("mount /dev/shm"))?),
            IpcNamespace::Host => None,
        };
        let network_pending = match &spec.network {
            NetworkNamespace::Path(path) => Some(path.clone()),
            NetworkNamespace::Host => None,
            NetworkNamespace::New => {
                bring_loopback_up().map_err(failed("bring the loopback interface up"))?;
                None
            }
        };
        if network_pending.is_none() {
            set_sysctls(spec)?;
        }
        if let Some(reaper) = reaper {
            reaper.wait_until_harmless()?;
        }
        Ok((shm, network_pending))
    }

    /// Joins the network, the first time it is called.
    pub(super) fn join_network(&mut self, spec: &PodSandboxSpec) -> Result<(), StartError> {
        let Some(path) = &self.network_pending else { return Ok(()) };
        let network = |message| StartError::new(StartErrorKind::Network, message);
        let namespace = fs::File::open(path)
            .map_err(failed(format!("open the network namespace {}", path.display())))
            .map_err(network)?;
        setns(&namespace, CloneFlags::CLONE_NEWNET)
            .map_err(failed(format!("join the network namespace {}", path.display())))
            .map_err(network)?;
        set_sysctls(spec).map_err(network)?;
        self.network_pending = None;
        Ok(())
    }
}

/// Moves processes into the shims' cgroup, so that they neither count against the pod nor die with berth's service.
/// In a process of its own: the first move after a while waits for the kernel, 5 to 13 ms on cgroup v1, and makes
/// those after it, of the first container for example, cheap.
fn move_in_background(cgroups: &dyn Cgroups, pids: &[i32]) -> Result<i32, String> {
    // SAFETY: the shim has one thread.
    match unsafe { sys::clone3(0, None) }.map_err(failed("fork"))? {
        Forked::Parent { pid, .. } => Ok(pid),
        Forked::Child => {
            for pid in pids {
                if let Err(error) = cgroups.attach(Group::Shims, *pid) {
                    eprintln!("move the shim into its cgroup: {error}");
                }
            }
            exit_child(0)
        }
    }
}

/// Ends a process that was started here, and waits until it is gone.
fn end_helper(pid: i32) {
    // SAFETY: plain system call, on a child that has not been collected.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    // Fails only when there is no such child any more.
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
}

/// PID 1 of a shared PID namespace: holds it, and reaps whom nobody waits for.
struct Reaper {
    pid: i32,
    pidfd: OwnedFd,
    /// Where it says that it has given up what it must not have, or why not.
    told: OwnedFd,
}

/// What a reaper says when it is as containers may see it.
const HARMLESS: &str = "harmless";

impl Reaper {
    fn start(directory: &PodDirectory) -> Result<Reaper, String> {
        let (told, teller) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;
        // SAFETY: the shim has one thread.
        match unsafe { sys::clone3(libc::CLONE_NEWPID, None) }.map_err(failed("make a PID namespace"))? {
            Forked::Parent { pid, pidfd } => Ok(Reaper { pid, pidfd, told }),
            Forked::Child => {
                // An ignored SIGCHLD makes the kernel reap. Failures have nobody to hear them.
                // SAFETY: no handler runs.
                let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
                let renounced = renounce(directory, &teller);
                let text = renounced.map_or_else(|error| describe(&error), |()| HARMLESS.to_owned());
                // Fails only without a shim, with which this process ends as well.
                let _ = nix::unistd::write(&teller, text.as_bytes());
                if text != HARMLESS {
                    exit_child(1);
                }
                drop(teller);
                loop {
                    nix::unistd::pause();
                }
            }
        }
    }

    /// Waits until containers may see it.
    fn wait_until_harmless(self) -> Result<(), String> {
        let text =
            io::read_to_string(fs::File::from(self.told)).map_err(failed("hear from PID 1 of the pod"))?;
        if text == HARMLESS { Ok(()) } else { Err(format!("set up PID 1 of the pod: {text}")) }
    }
}

/// Gives up everything of the machine's but `keep`. Each container of the pod sees this process, and one that has
/// `SYS_PTRACE` may look at the world through its eyes (`/proc/1/root`), or put words in its mouth.
fn renounce(directory: &PodDirectory, keep: &OwnedFd) -> io::Result<()> {
    /// As the pause container of Kubernetes has it.
    const NOBODY: u32 = 65_535;
    // It must not tell a path of the machine. Where its command line cannot be replaced, the rest holds all the same.
    drop(sys::set_process_title(c"berth-pause"));
    sys::close_all_but(&[keep.as_raw_fd()])?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )?;
    init::enter_nothing(directory.path())?;
    (0..3).try_for_each(nix::unistd::close)?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid)?;
    // The capabilities go with the user.
    setresuid(uid, uid, uid)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    // After the change of user, which clears this.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map(drop)
}

/// The pod's `/dev/shm`, on the machine until the pod is removed.
fn mount_shm(spec: &PodSandboxSpec, directory: &PodDirectory) -> io::Result<PathBuf> {
    let path = directory.shm();
    fs::create_dir_all(&path)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size={}", spec.shm_size_bytes);
    nix::mount::mount(Some("shm"), &path, Some("tmpfs"), flags, Some(options.as_str()))?;
    Ok(path)
}

/// `/proc/sys` shows the namespaces of whoever looks, and the shim is in those of the pod.
fn set_sysctls(spec: &PodSandboxSpec) -> Result<(), String> {
    for (name, value) in &spec.sysctls {
        let path = format!("/proc/sys/{}", sysctl_path(name));
        fs::write(path, value).map_err(failed(format!("set sysctl {name} to {value:?}")))?;
    }
    Ok(())
}

fn bring_loopback_up() -> io::Result<()> {
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let name = CString::new("lo")?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads one ifreq.
    let result = unsafe { libc::ioctl(control.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The process that a pidfd stands for, as this process's `/proc` numbers it.
pub(super) fn pid_of(pidfd: &OwnedFd) -> io::Result<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| io::Error::other("not a pidfd"))
}

/// Ends a forked child without running what the shim had meant to run at its own end.
pub(super) fn exit_child(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}
