//! The inside of a container between `clone3` and `execve`.
//!
//! Everything here runs in a child of the single-threaded shim. Each step that fails ends the start with a
//! [`StartError`] that the shim passes on.

mod command;
mod device_nodes;
mod filesystem;
mod fill;
mod hide;
mod mounts;
mod process;
mod resolve;
mod rootfs;
mod stdio;
mod user;

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

pub(crate) use process::ProcessPlan;
pub(crate) use rootfs::enter_nothing;
pub(crate) use stdio::ChildStreams;

use crate::cgroups::Cgroups;
use crate::error::{StartError, StartErrorKind, describe};
use crate::rundir::ContainerDirectory;
use crate::spec::ContainerSpec;
use crate::sys;
use crate::wire;
use resolve::Root;

/// What a starting process tells its shim. The connection closes when its program is executed, or when it dies.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// An intermediate process has made the real one; its pidfd comes along.
    Process,
    /// The master side of its terminal comes along.
    Terminal,
    /// Something had to be clamped.
    Warning(String),
    /// The next thing it does is `execve`. If the connection closes without a failure after this, it has succeeded.
    Executing,
    /// It has failed, and ends.
    Failed(StartError),
}

/// Where a starting process sends its reports.
pub(crate) struct Reporter(pub(crate) UnixStream);

impl Reporter {
    pub(crate) fn send(&self, report: &Report) -> Result<(), StartError> {
        self.send_with(report, &[])
    }

    pub(crate) fn send_with(&self, report: &Report, descriptors: &[&OwnedFd]) -> Result<(), StartError> {
        let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        wire::send(&self.0, report, &descriptors)
            .when(StartErrorKind::Internal, || "report to the shim".into())
    }
}

/// Turns the error of a step into a [`StartError`].
pub(crate) trait When<T> {
    /// `what` names the step and its object.
    fn when(self, kind: StartErrorKind, what: impl FnOnce() -> String) -> Result<T, StartError>;
}

impl<T> When<T> for io::Result<T> {
    fn when(self, kind: StartErrorKind, what: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(|error| StartError::new(kind, format!("{}: {}", what(), describe(&error))))
    }
}

impl<T> When<T> for nix::Result<T> {
    fn when(self, kind: StartErrorKind, what: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(io::Error::from).when(kind, what)
    }
}

/// What a container's first process needs to know.
pub(crate) struct Init<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) directory: &'a ContainerDirectory,
    /// The pod's `/dev/shm` on the machine; `None` with the machine's IPC.
    pub(crate) shm: Option<PathBuf>,
    pub(crate) cgroups: &'a dyn Cgroups,
    pub(crate) streams: ChildStreams,
    /// Ends when this process is in its cgroup.
    pub(crate) gate: OwnedFd,
    pub(crate) reporter: &'a Reporter,
    pub(crate) plan: ProcessPlan,
}

impl Init<'_> {
    /// Makes the container around this process and becomes its program. Returns only to say why not.
    pub(crate) fn run(mut self) -> Result<Infallible, StartError> {
        use StartErrorKind::{Cgroup, Mount, Rootfs};
        self.forget_the_shim()?;
        self.plan.set_oom_score(self.reporter)?;
        let sources = mounts::open_sources(&self.spec.mounts)?;
        mounts::detach_from_host().when(Rootfs, || "make the mounts of the machine slaves".into())?;
        let root = rootfs::mount(&self.spec.rootfs, &self.directory.rootfs())?;
        let root = Root::new(root);
        fill::fill(&root, &sources)?;
        mounts::standard(&root, self.spec, self.shm.as_deref())?;
        device_nodes::make(&root, self.spec)?;
        sources.into_iter().try_for_each(|source| source.attach(&root))?;
        rootfs::pivot(&root).when(Rootfs, || "pivot_root".into())?;
        command::make_working_directory(&root, &self.spec.cwd)?;
        if !self.spec.privileged {
            hide::mask(&root, &self.spec.masked_paths)?;
            hide::make_read_only(&root, &self.spec.readonly_paths)?;
        }
        // The kernel takes milliseconds to move a process into a v1 cgroup; all of the above went on meanwhile.
        self.wait_for_cgroup()?;
        nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP)
            .when(Cgroup, || "unshare the cgroup namespace".into())?;
        mounts::cgroups(&root, self.spec, self.cgroups)?;
        self.streams.install(&root, &self.plan, self.reporter, stdio::Console::Make)?;
        if self.spec.readonly_rootfs {
            let set = sys::mount_setattr(root.as_fd(), sys::MOUNT_ATTR_RDONLY, 0, false);
            set.when(Mount, || "make the root file system read-only".into())?;
        }
        drop((root, self.gate));
        self.plan.execute(self.reporter)
    }

    /// Closes what belongs to the shim: a container must not reach its sockets and directories.
    fn forget_the_shim(&self) -> Result<(), StartError> {
        let mut keep = self.streams.descriptors();
        keep.extend([self.gate.as_raw_fd(), self.reporter.0.as_raw_fd()]);
        sys::close_all_but(&keep).when(StartErrorKind::Internal, || "close descriptors".into())?;
        process::reset_signals().when(StartErrorKind::Internal, || "reset signals".into())?;
        nix::unistd::setsid().map(drop).when(StartErrorKind::Internal, || "setsid".into())
    }

    fn wait_for_cgroup(&mut self) -> Result<(), StartError> {
        let mut gate = fs::File::from(self.gate.try_clone().when(StartErrorKind::Internal, || "dup".into())?);
        let mut signal = [0];
        match gate.read(&mut signal) {
            Ok(1) => Ok(()),
            // The shim has died, or is about to say itself what went wrong.
            _ => Err(StartError::new(StartErrorKind::Cgroup, "the process could not be put into its cgroup")),
        }
    }
}

/// An exec'd process: it is already in the container's namespaces and cgroup.
pub(crate) struct Exec<'a> {
    pub(crate) streams: ChildStreams,
    pub(crate) reporter: &'a Reporter,
    pub(crate) plan: ProcessPlan,
}

impl Exec<'_> {
    /// Becomes the program. Returns only to say why not.
    pub(crate) fn run(self) -> Result<Infallible, StartError> {
        let internal = StartErrorKind::Internal;
        let mut keep = self.streams.descriptors();
        keep.push(self.reporter.0.as_raw_fd());
        sys::close_all_but(&keep).when(internal, || "close descriptors".into())?;
        process::reset_signals().when(internal, || "reset signals".into())?;
        nix::unistd::setsid().when(internal, || "setsid".into())?;
        let root = Root::current().when(internal, || "open the container's root".into())?;
        self.streams.install(&root, &self.plan, self.reporter, stdio::Console::None)?;
        drop(root);
        self.plan.execute(self.reporter)
    }
}
