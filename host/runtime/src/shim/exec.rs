//! A process exec'd in a running container.
//!
//! An intermediate child enters the container's cgroup and namespaces, makes the real process there as a child of
//! the shim (`CLONE_PARENT`), and ends. The shim waits for neither: reports tell how it goes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, pipe2};

use super::Pod;
use super::container::{Container, end_child};
use super::sandbox::{exit_child, pid_of};
use super::starting::Starting;
use crate::EXEC_START_MS_MAX;
use crate::cgroups::Group;
use crate::error::{StartError, StartErrorKind};
use crate::init::{ChildStreams, Exec as ExecInit, ProcessPlan, Report, Reporter, When};
use crate::spec::{ExecSpec, PidNamespace, Stdin, Stdio};
use crate::sys::{self, Forked};
use crate::wire::{Reply, Stream};

/// An exec'd process of this pod.
pub(super) struct Exec {
    /// The connection that asked for it, and that is told of its end.
    pub(super) connection: u64,
    pub(super) phase: ExecPhase,
    /// The process itself; before it exists, the intermediate one.
    pub(super) pidfd: OwnedFd,
    /// Of the process itself, once known.
    pub(super) pid: Option<i32>,
    /// Whether it is told when its caller goes.
    hang_up: bool,
    /// The caller's ends, until it runs.
    streams: Vec<(Stream, OwnedFd)>,
}

/// Where it is in its life. An ended one is forgotten.
pub(super) enum ExecPhase {
    Starting(Starting),
    Running,
}

impl Exec {
    /// Makes the intermediate process.
    pub(super) fn launch(
        pod: &Pod,
        container: &Container,
        spec: &ExecSpec,
        connection: u64,
    ) -> Result<Exec, StartError> {
        use StartErrorKind::Internal;
        let plan = ProcessPlan::exec(&container.spec, spec, pod.filter(&container.spec)?);
        let (streams, child_streams) = connect_streams(spec.stdio).when(Internal, || "make pipes".into())?;
        let (starting, theirs) =
            Starting::pair(connection, EXEC_START_MS_MAX).when(Internal, || "make a socket".into())?;
        let group = Group::Container { pod: &pod.record.sandbox.id, container: &container.spec.id };
        let target = match pod.cgroups.clones_into_groups() {
            true => {
                pod.cgroups.clone_target(group).when(StartErrorKind::Cgroup, || format!("open {group}"))?
            }
            false => None,
        };
        // SAFETY: the shim has one thread.
        let forked = unsafe { sys::clone3(0, target.as_ref().map(AsFd::as_fd)) };
        match forked.when(Internal, || "clone3".into())? {
            Forked::Parent { pidfd, .. } => {
                let phase = ExecPhase::Starting(starting);
                Ok(Exec { connection, phase, pidfd, pid: None, hang_up: spec.hang_up, streams })
            }
            Forked::Child => {
                let reporter = Reporter(theirs);
                let init = ExecInit { streams: child_streams, reporter: &reporter, plan };
                match enter(pod, container, group, target.is_none(), init) {
                    Ok(()) => exit_child(0),
                    Err(error) => end_child(&reporter, error),
                }
            }
        }
    }

    /// The pid has become known.
    pub(super) fn adopt(&mut self, pidfd: OwnedFd) -> io::Result<()> {
        self.pid = Some(pid_of(&pidfd)?);
        self.pidfd = pidfd;
        Ok(())
    }

    /// Its program runs: what the caller gets.
    pub(super) fn started(&mut self) -> Option<(Reply, Vec<OwnedFd>)> {
        let ExecPhase::Starting(starting) = &mut self.phase else { return None };
        let mut streams = std::mem::take(&mut self.streams);
        streams.extend(starting.terminal.take().map(|master| (Stream::Terminal, master)));
        let warnings = std::mem::take(&mut starting.warnings);
        let (kinds, descriptors) = streams.into_iter().unzip();
        self.phase = ExecPhase::Running;
        Some((
            Reply::ExecStarted { pid: self.pid.unwrap_or_default(), streams: kinds, warnings },
            descriptors,
        ))
    }

    /// Its caller has gone.
    pub(super) fn abandon(&self) {
        let (true, ExecPhase::Running, Some(pid)) = (self.hang_up, &self.phase, self.pid) else { return };
        // It leads a session, and until it has been collected its number is nobody else's. It fails when all have ended.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGHUP);
    }

    pub(super) fn kill(&self, signal: i32) -> io::Result<()> {
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }
}

/// In the intermediate process.
fn enter(
    pod: &Pod,
    container: &Container,
    group: Group<'_>,
    move_to_group: bool,
    init: ExecInit<'_>,
) -> Result<(), StartError> {
    use StartErrorKind::Internal;
    // Before the container can see this process: nobody in there is to look at the shim's sockets and logs through it.
    let mut keep = init.streams.descriptors();
    keep.extend([init.reporter.0.as_raw_fd(), container.pidfd.as_raw_fd()]);
    sys::close_all_but(&keep).when(Internal, || "close descriptors".into())?;
    init.plan.set_oom_score(init.reporter)?;
    if move_to_group {
        pod.cgroups.attach(group, 0).when(StartErrorKind::Cgroup, || format!("enter {group}"))?;
    }
    let mut namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    if pod.record.sandbox.pid == PidNamespace::Container {
        namespaces |= CloneFlags::CLONE_NEWPID;
    }
    setns(&container.pidfd, namespaces).when(Internal, || "enter the container's namespaces".into())?;
    let (gate, opener) = pipe2(OFlag::O_CLOEXEC).when(Internal, || "make a pipe".into())?;
    // SAFETY: a child of the shim has one thread.
    let forked = unsafe { sys::clone3(libc::CLONE_PARENT, None) };
    match forked.when(Internal, || "clone3 in the container".into())? {
        Forked::Parent { pidfd, .. } => {
            init.reporter.send_with(&Report::Process, &[&pidfd])?;
            // From here on only the process itself holds the connection: its end is the end of that.
            sys::close_all_but(&[opener.as_raw_fd()]).when(Internal, || "close descriptors".into())?;
            // The end of this process closes the other side of the gate, and so opens it.
            exit_child(0)
        }
        Forked::Child => {
            drop(opener);
            let reporter = init.reporter;
            // The shim must know this process before it can end.
            let _ = nix::unistd::read(&gate, &mut [0]);
            drop(gate);
            let Err(error) = init.run();
            end_child(reporter, error)
        }
    }
}

/// The caller's ends, and the process's.
fn connect_streams(stdio: Stdio) -> io::Result<(Vec<(Stream, OwnedFd)>, ChildStreams)> {
    let Stdio::Pipes { stdin } = stdio else { return Ok((Vec::new(), ChildStreams::Terminal)) };
    let mut ours = Vec::new();
    let child_stdin = match stdin {
        Stdin::Empty => None,
        Stdin::Open | Stdin::Once => {
            let (theirs, writer) = pipe2(OFlag::O_CLOEXEC)?;
            ours.push((Stream::Stdin, writer));
            Some(theirs)
        }
    };
    let (out_reader, stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (err_reader, stderr) = pipe2(OFlag::O_CLOEXEC)?;
    ours.extend([(Stream::Stdout, out_reader), (Stream::Stderr, err_reader)]);
    Ok((ours, ChildStreams::Pipes { stdin: child_stdin, stdout, stderr }))
}
