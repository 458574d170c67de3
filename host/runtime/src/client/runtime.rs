//! The runtime of one node.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cleanup;
use super::executable::SealedExecutable;
use super::pod::PodHandle;
use super::shared::Shared;
use super::watch::Watch;
use crate::cgroups::{self, Group};
use crate::error::{Error, Result};
use crate::rundir::{self, PodDirectory, PodRecord};
use crate::seccomp;
use crate::spec::{IpcNamespace, NetworkNamespace, PodSandboxSpec, sysctl_path};
use crate::status::{Event, PodState, ShimState};
use crate::sys;
use crate::wire::VERSION;
use crate::{REPLY_MS_MAX, SHIM_ARGUMENT};

/// How long [`Runtime::recover`] waits for one shim, in milliseconds: they answer within one, and a shim that hangs must
/// not keep the node from starting.
const RECOVER_MS_MAX: u64 = 1_000;

/// How a node's runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Where pods have their records, sockets and mount points. Made when missing, for root only.
    pub run_dir: PathBuf,
    /// Name of our tree in each cgroup hierarchy, for example `berth-<cluster id>`: two clusters on one machine
    /// need two names.
    pub cgroup_root_name: String,
    /// What a shim executes.
    pub shim_executable: ShimExecutable,
}

/// What a shim executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShimExecutable {
    /// This program. Its `main` begins with [`shim_main_if_asked`](crate::shim_main_if_asked).
    Current,
    /// Another program whose `main` does so.
    Path(PathBuf),
}

/// What [`Runtime::recover`] has found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Pods that can be worked with, or whose end is known.
    pub pods: Vec<(PodHandle, PodState)>,
    /// Pods that are there, and may well be running, but could not be asked, for example because their shim speaks
    /// another version of the protocol, or does not answer soon. They are left alone; [`Runtime::adopt`] asks again,
    /// [`PodHandle::remove`] ends them. Damaged ones that could not be removed are here, too.
    pub unreachable: Vec<(PodHandle, Error)>,
}

/// Runs pods on this machine. Every method blocks, most for microseconds; all may be called from several threads.
pub struct Runtime {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("run_dir", &self.shared.run_dir).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Looks at the machine, and makes the run directory and the root of the cgroup tree.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a cgroup controller is missing, [`Error::InvalidSpec`] for a bad name,
    /// [`Error::Io`] otherwise; being root is needed for nearly everything.
    pub fn new(config: RuntimeConfig) -> Result<Runtime> {
        let RuntimeConfig { run_dir, cgroup_root_name, shim_executable } = config;
        if !rundir::is_valid_id(&cgroup_root_name) {
            return Err(Error::InvalidSpec(format!(
                "cgroup name {cgroup_root_name:?}: use letters, digits and -_."
            )));
        }
        check_kernel()?;
        rundir::make_private(&run_dir.join("pods"))
            .map_err(Error::io(format!("create the run directory {}", run_dir.display())))?;
        // Shims change their working directory, so every path they get must be absolute.
        let run_dir = run_dir.canonicalize().map_err(Error::io(format!("resolve {}", run_dir.display())))?;
        let layout = cgroups::probe()?;
        let cgroups = layout.driver(&cgroup_root_name);
        cgroups.create_root().map_err(Error::io("create the root cgroup"))?;
        let path = match shim_executable {
            ShimExecutable::Current => PathBuf::from("/proc/self/exe"),
            ShimExecutable::Path(path) => path,
        };
        let executable = SealedExecutable::new(&path, &run_dir)
            .map_err(Error::io(format!("prepare the shim's executable {}", path.display())))?;
        let shared = Shared {
            filters: seccomp::Cache::new(run_dir.join("seccomp")),
            run_dir,
            cgroup_root: cgroup_root_name,
            layout,
            cgroups,
            watch: Watch::new().map_err(Error::io("create an epoll instance"))?,
            shims: Mutex::default(),
            executable,
        };
        Ok(Runtime { shared: Arc::new(shared) })
    }

    /// Starts a pod's shim. It does not wait until the sandbox is up: start it early, beside the network. What goes
    /// wrong in there is the answer to the first request, for example [`PodHandle::start_container`] (or
    /// [`PodHandle::wait_ready`]).
    ///
    /// # Errors
    /// [`Error::InvalidSpec`], [`Error::AlreadyExists`], [`Error::Io`].
    pub fn create_pod(&self, spec: &PodSandboxSpec) -> Result<PodHandle> {
        validate_pod(spec)?;
        let directory = PodDirectory::new(&self.shared.run_dir, &spec.id);
        match fs::create_dir(directory.path()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists { what: "pod", id: spec.id.clone() });
            }
            other => other.map_err(Error::io(format!("create {}", directory.path().display())))?,
        }
        let handle = PodHandle::new(Arc::clone(&self.shared), spec.id.clone());
        if let Err(error) = self.spawn_shim(spec, &directory) {
            // Best effort: the error that counts is the first one.
            drop(handle.remove());
            return Err(error);
        }
        Ok(handle)
    }

    fn spawn_shim(&self, spec: &PodSandboxSpec, directory: &PodDirectory) -> Result<()> {
        let shared = &*self.shared;
        let record = PodRecord {
            version: VERSION,
            sandbox: spec.clone(),
            cgroups: shared.layout.clone(),
            cgroup_root: shared.cgroup_root.clone(),
        };
        let failed = |action: &str| Error::io(format!("{action} of pod {}", spec.id));
        rundir::write_record(&directory.pod_record(), &record).map_err(failed("write the record"))?;
        let listener = directory.listen().map_err(failed("listen on the socket"))?;
        let log = fs::File::create(directory.shim_log()).map_err(failed("create the shim's log"))?;
        // No environment: it may hold secrets of the operator, and no pre_exec: that would fork this whole process
        // instead of sharing its memory until the exec.
        let child = Command::new(shared.executable.path())
            .arg0(SHIM_ARGUMENT)
            .arg(directory.path())
            .env_clear()
            .current_dir("/")
            .stdin(listener)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed("execute the shim"))?;
        shared.lock_shims().insert(spec.id.clone(), child);
        shared.watch.add(&spec.id, directory).map_err(failed("subscribe to the shim"))
    }

    /// A pod known to exist. The shim is not asked.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn pod(&self, pod_id: &str) -> Result<PodHandle> {
        let directory = PodDirectory::new(&self.shared.run_dir, pod_id);
        if !rundir::is_valid_id(pod_id) || !directory.path().exists() {
            return Err(Error::NotFound { what: "pod", id: pod_id.to_owned() });
        }
        Ok(PodHandle::new(Arc::clone(&self.shared), pod_id.to_owned()))
    }

    /// Picks up the pods that an earlier berth left: subscribes to those whose shim lives, ends the processes of those
    /// without one and records their containers as lost. A directory so damaged that not even its pod can be told is
    /// removed with all that belongs to it.
    ///
    /// # Errors
    /// [`Error::Io`] when the run directory cannot be read.
    pub fn recover(&self) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        for pod_id in self.pod_ids()? {
            let handle = PodHandle::new(Arc::clone(&self.shared), pod_id);
            if !handle.has_record() {
                // What hinders one pod's removal must not hinder the node.
                if let Err(error) = handle.remove() {
                    recovered.unreachable.push((handle, error));
                }
                continue;
            }
            match self.adopt_within(&handle, RECOVER_MS_MAX) {
                Ok(state) => recovered.pods.push((handle, state)),
                Err(error) => recovered.unreachable.push((handle, error)),
            }
        }
        Ok(recovered)
    }

    /// Asks a pod of [`Recovered::unreachable`] again, and subscribes to it if it answers now.
    ///
    /// # Errors
    /// As [`PodHandle::state`].
    pub fn adopt(&self, handle: &PodHandle) -> Result<PodState> {
        self.adopt_within(handle, REPLY_MS_MAX)
    }

    fn adopt_within(&self, handle: &PodHandle, ms_max: u64) -> Result<PodState> {
        let state = handle.state_within(ms_max)?;
        self.watch_if_alive(handle, &state)?;
        Ok(state)
    }

    fn watch_if_alive(&self, handle: &PodHandle, state: &PodState) -> Result<()> {
        if state.shim == ShimState::Dead {
            return Ok(());
        }
        let watched = self.shared.watch.add(handle.id(), handle.directory());
        watched.map_err(Error::io(format!("subscribe to pod {}", handle.id())))
    }

    /// The ids of all pods that have a directory.
    fn pod_ids(&self) -> Result<Vec<String>> {
        let pods = self.shared.run_dir.join("pods");
        let listing = fs::read_dir(&pods).map_err(Error::io(format!("list {}", pods.display())))?;
        let names = listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| rundir::is_valid_id(name)).collect())
    }

    /// Waits for something to happen in any pod; nothing has when `timeout` passes (`None`: wait for ever). One
    /// caller at a time is the use it is made for; [`Self::events_fd`] tells without waiting.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn wait_any(&self, timeout: Option<Duration>) -> Result<Vec<Event>> {
        self.shared.watch.wait(timeout)
    }

    /// Becomes readable when [`Self::wait_any`] would return at once.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.shared.watch.as_fd()
    }

    /// Ends and removes every pod, and everything this runtime or an earlier one of the same name has made: for
    /// `berth down`.
    ///
    /// # Errors
    /// The first one, after everything else has been tried.
    pub fn destroy_all(&self) -> Result<()> {
        let mut result = Ok(());
        for pod_id in self.pod_ids()? {
            result = result.and(PodHandle::new(Arc::clone(&self.shared), pod_id).remove());
        }
        result = result.and(cleanup::stray_cgroups(&*self.shared.cgroups));
        result = result.and(cleanup::mounts_below(&self.shared.run_dir));
        // Shims whose pods have lost their directories. The others are about to leave by themselves.
        let shims = self.shared.cgroups.kill(Group::Shims);
        result = result.and(shims.map_err(Error::io("kill stray shims")));
        result = result.and(self.shared.cgroups.remove_root().map_err(Error::io("remove the root cgroup")));
        let run_dir = &self.shared.run_dir;
        result.and(fs::remove_dir_all(run_dir).map_err(Error::io(format!("remove {}", run_dir.display()))))
    }
}

impl AsFd for Runtime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events_fd()
    }
}

/// The first kernel with everything that is used: `mount_setattr` was the last to come.
const KERNEL_MIN: (u32, u32) = (5, 12);

fn check_kernel() -> Result<()> {
    let (major, minor) = sys::kernel_version().map_err(Error::io("uname"))?;
    if (major, minor) < KERNEL_MIN {
        return Err(Error::Unsupported(format!(
            "Linux {major}.{minor} is too old; 5.12 is the oldest that serves"
        )));
    }
    Ok(())
}

fn validate_pod(spec: &PodSandboxSpec) -> Result<()> {
    if !rundir::is_valid_id(&spec.id) {
        return Err(Error::InvalidSpec(format!("pod id {:?}: use letters, digits and -_.", spec.id)));
    }
    let shares_network = spec.network == NetworkNamespace::Host;
    let shares_ipc = spec.ipc == IpcNamespace::Host;
    for name in spec.sysctls.keys() {
        let net = name.starts_with("net.");
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
            || name == "kernel.sem";
        let reason = match (net, ipc) {
            (true, _) if shares_network => "the pod uses the network of the machine",
            (_, true) if shares_ipc => "the pod uses the IPC namespace of the machine",
            (false, false) => "it would change the whole machine",
            _ if !sysctl_path(name).split('/').all(|part| !matches!(part, "" | "." | "..")) => {
                "it is not a dotted name"
            }
            _ => continue,
        };
        return Err(Error::InvalidSpec(format!("sysctl {name:?} cannot be set for a pod: {reason}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sysctl: &str, network: NetworkNamespace) -> String {
        let mut spec = PodSandboxSpec::new("p", network);
        spec.sysctls.insert(sysctl.to_owned(), "1".to_owned());
        validate_pod(&spec).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn only_namespaced_sysctls_are_accepted() {
        assert_eq!(check("net.ipv4.ip_forward", NetworkNamespace::New), "ok");
        assert_eq!(check("kernel.shmmax", NetworkNamespace::Host), "ok");
        assert!(
            check("net.ipv4.ip_forward", NetworkNamespace::Host).ends_with("uses the network of the machine")
        );
        assert!(check("vm.swappiness", NetworkNamespace::New).ends_with("it would change the whole machine"));
        assert_eq!(check("net.ipv4.conf.eth0/1.forwarding", NetworkNamespace::New), "ok");
        for odd in ["net.../../kernel/panic", "net.//.kernel.panic", "net./.x", "net..x", "net."] {
            assert!(check(odd, NetworkNamespace::New).ends_with("it is not a dotted name"), "{odd}");
        }
    }
}
