//! Berth's own OCI runtime.
//!
//! A pod is a **shim**: this program executed once more, single-threaded, which holds the pod's namespaces, clones
//! its containers, writes their logs and exit codes, and outlives the berth that started it. [`Runtime`] starts
//! shims and finds those of an earlier berth again; [`PodHandle`] is the way to talk to one.
//!
//! The calls block and there is no async runtime in here. A program that uses [`ShimExecutable::Current`] must begin
//! its `main` with [`shim_main_if_asked`], before it starts any thread.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use berth_runtime::{ContainerSpec, NetworkNamespace, PodSandboxSpec, Rootfs, Runtime, RuntimeConfig, ShimExecutable};
//!
//! berth_runtime::shim_main_if_asked();
//! let runtime = Runtime::new(RuntimeConfig {
//!     run_dir: "/run/berth".into(),
//!     cgroup_root_name: "berth-example".into(),
//!     shim_executable: ShimExecutable::Current,
//! })?;
//! let pod = runtime.create_pod(&PodSandboxSpec::new("pod-1", NetworkNamespace::New))?;
//! let rootfs = Rootfs::Directory("/srv/busybox".into());
//! pod.start_container(&ContainerSpec::new("hello-0", rootfs, vec!["/bin/true".into()], "/tmp/hello.log"))?;
//! let exit = pod.wait("hello-0", None)?;
//! pod.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! Linux 5.12 or newer is needed (`openat2`, `clone3`, `mount_setattr`); cgroup v1 and v2 both serve.
//!
//! What this crate does not do (yet): user namespaces, hooks, AppArmor and SELinux labels, 32-bit programs under the
//! seccomp profile (they are killed), huge pages and block I/O limits.

#![cfg(target_os = "linux")]

pub mod capabilities;
mod cgroups;
mod client;
mod error;
mod init;
mod rundir;
mod seccomp;
mod shim;
mod spec;
mod status;
mod sys;
mod wire;

pub use client::{
    Attachment, ExecExit, ExecProcess, PodHandle, Recovered, Runtime, RuntimeConfig, ShimExecutable,
};
pub use error::{Error, Result, StartError, StartErrorKind};
pub use shim::{shim_main, shim_main_if_asked};
pub use spec::{
    ContainerSpec, Device, ExecSpec, ID_BYTES_MAX, IpcNamespace, LOG_BYTES_MAX, LOG_FILES_MAX, Mount,
    MountSource, NetworkNamespace, PidNamespace, PodSandboxSpec, Propagation, Resources, Rlimit, Rootfs,
    Seccomp, Stdin, Stdio, TerminalSize, User, default_masked_paths, default_readonly_paths,
};
pub use status::{
    ContainerPhase, ContainerState, Event, ExitCause, ExitStatus, PodState, ShimState, Started, Usage,
};

/// The name (`argv[0]`), or first argument, by which a program knows that it is to be a shim.
pub const SHIM_ARGUMENT: &str = "berth-shim";

/// A container that has not executed its program after this time is killed: a mount of a dead network file system
/// must not leave a pod without an answer.
pub const START_MS_MAX: u64 = 60_000;

/// How much longer that may take when volumes of the image have to be filled: gigabytes, perhaps, by a container with a
/// tenth of a CPU.
pub const FILL_MS_MAX: u64 = 600_000;

/// The same for an exec'd process, which mounts nothing.
pub const EXEC_START_MS_MAX: u64 = 20_000;

/// A shim answers everything else at once; one that has not after this time counts as gone.
pub const REPLY_MS_MAX: u64 = 20_000;

/// An attached client that has not read for this time is cut off: until then it holds up the container's output.
pub const ATTACH_STALL_MS_MAX: u64 = 10_000;
