//! One container, from `clone3` to its exit record.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::Pod;
use super::log::{Log, LogStream};
use super::output::{Input, Output, set_nonblocking};
use super::sandbox::exit_child;
use super::starting::Starting;
use crate::cgroups::{Cgroups, DeviceRule, Group};
use crate::error::{StartError, StartErrorKind};
use crate::init::{ChildStreams, Init, ProcessPlan, Report, Reporter, When};
use crate::rundir::{ContainerDirectory, ProcessRecord, RunningRecord};
use crate::seccomp::Filter;
use crate::spec::{ContainerSpec, PidNamespace, Seccomp, Stdin, Stdio};
use crate::status::{ContainerPhase, ContainerState, ExitCause, ExitStatus, Started};
use crate::sys::{self, Death, Forked};

pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) directory: ContainerDirectory,
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// To recognise it by when this shim is dead.
    process: ProcessRecord,
    pub(super) phase: Phase,
    pub(super) outputs: Vec<Output>,
    pub(super) input: Input,
    pub(super) log: Log,
    /// Connections to be told of its end.
    pub(super) waiters: Vec<u64>,
}

/// Where it is in its life.
pub(super) enum Phase {
    Starting(Starting),
    Running(Started),
    Exited(ExitStatus),
}

/// The shim's ends of a container's pipes.
struct ShimStreams {
    outputs: Vec<Output>,
    input: Input,
}

impl Container {
    /// Makes the container's process. It goes on by itself; its reports tell how.
    pub(super) fn launch(
        pod: &mut Pod,
        spec: ContainerSpec,
        connection: u64,
    ) -> Result<Container, StartError> {
        use StartErrorKind::Internal;
        pod.sandbox.join_network(&pod.record.sandbox)?;
        let directory = pod.directory.container(&spec.id);
        directory.create(&spec).when(Internal, || "write the container's record".into())?;
        let log = Log::open(&spec.log_path)
            .when(Internal, || format!("open the log {}", spec.log_path.display()))?;
        let plan = ProcessPlan::init(&spec, pod.filter(&spec)?);
        let (ours, streams) = connect_streams(spec.stdio).when(Internal, || "make pipes".into())?;
        let (mut starting, theirs) =
            Starting::pair(connection, spec.start_ms_max()).when(Internal, || "make a socket".into())?;
        let (gate, opener) = pipe2(OFlag::O_CLOEXEC).when(Internal, || "make a pipe".into())?;
        let group = Group::Container { pod: &pod.record.sandbox.id, container: &spec.id };
        let target = pod.cgroups.clone_target_for(group, &spec)?;
        let mut flags = libc::CLONE_NEWNS;
        if pod.record.sandbox.pid == PidNamespace::Container {
            flags |= libc::CLONE_NEWPID;
        }
        // SAFETY: the shim has one thread.
        let forked = unsafe { sys::clone3(flags, target.as_ref().map(AsFd::as_fd)) };
        let (pid, pidfd) = match forked.when(Internal, || "clone3".into())? {
            Forked::Parent { pid, pidfd } => (pid, pidfd),
            Forked::Child => {
                drop(opener);
                let reporter = Reporter(theirs);
                let shm = pod.sandbox.shm.clone();
                let (directory, cgroups) = (&directory, &*pod.cgroups);
                let init =
                    Init { spec: &spec, directory, shm, cgroups, streams, gate, reporter: &reporter, plan };
                let Err(error) = init.run();
                end_child(&reporter, error)
            }
        };
        // Now, while it cannot have been collected: it may be over by the time that it is known to run.
        let process = ProcessRecord::of(pid).when(Internal, || format!("look at process {pid}"))?;
        if target.is_none()
            && let Err(error) = pod.cgroups.enter_after(group, &spec, pid)
        {
            starting.fail(error);
        } else {
            // Fails only when the child is dead, which its reports tell.
            let _ = nix::unistd::write(&opener, &[0]);
        }
        let ShimStreams { outputs, input } = ours;
        let phase = Phase::Starting(starting);
        Ok(Container {
            spec,
            directory,
            pid,
            pidfd,
            process,
            phase,
            outputs,
            input,
            log,
            waiters: Vec::new(),
        })
    }

    /// Its program runs.
    pub(super) fn started(&mut self) -> io::Result<Option<(u64, Started)>> {
        let Phase::Starting(starting) = &mut self.phase else { return Ok(None) };
        if let Some(master) = starting.terminal.take() {
            set_nonblocking(&master)?;
            self.outputs = vec![Output::new(master.try_clone()?, LogStream::Stdout)];
            self.input = Input::Terminal { master, typists: Vec::new() };
        }
        let connection = starting.connection;
        let warnings = std::mem::take(&mut starting.warnings);
        let started = Started { pid: self.pid, started_at: SystemTime::now(), warnings };
        let running = RunningRecord { process: self.process.clone(), started_at: started.started_at };
        self.directory.write_running(&running)?;
        self.phase = Phase::Running(started.clone());
        Ok(Some((connection, started)))
    }

    /// It has ended: takes the rest of its output and writes down how.
    pub(super) fn exited(&mut self, pod: &Pod, death: Death) -> ExitStatus {
        let group = Group::Container { pod: &pod.record.sandbox.id, container: &self.spec.id };
        // In a PID namespace of its own the others have died with it.
        if pod.record.sandbox.pid != PidNamespace::Container
            && let Err(error) = pod.cgroups.kill(group)
        {
            eprintln!("kill the processes in {group}: {error}");
        }
        for output in &mut self.outputs {
            output.drain(&mut self.log);
        }
        self.input = Input::None;
        let exit = ExitStatus {
            code: death.code,
            signal: death.signal,
            oom_killed: pod.cgroups.oom_kills(group).is_ok_and(|count| count > 0),
            cause: ExitCause::Observed,
            started_at: match &self.phase {
                Phase::Running(started) => Some(started.started_at),
                Phase::Starting(_) | Phase::Exited(_) => None,
            },
            finished_at: SystemTime::now(),
        };
        if let Err(error) = self.directory.write_exit(&exit) {
            eprintln!("write the exit record of {}: {error}", self.spec.id);
        }
        self.phase = Phase::Exited(exit.clone());
        exit
    }

    /// Sends a signal; to all processes if it is the one that leaves none.
    pub(super) fn kill(&self, pod: &Pod, signal: i32) -> io::Result<()> {
        if matches!(self.phase, Phase::Exited(_)) {
            return Ok(());
        }
        if signal == libc::SIGKILL && pod.record.sandbox.pid != PidNamespace::Container {
            pod.cgroups.kill(Group::Container { pod: &pod.record.sandbox.id, container: &self.spec.id })?;
        }
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    pub(super) fn state(&self) -> ContainerState {
        let phase = match &self.phase {
            Phase::Starting(_) => ContainerPhase::Starting,
            Phase::Running(started) => ContainerPhase::Running(started.clone()),
            Phase::Exited(exit) => ContainerPhase::Exited(exit.clone()),
        };
        ContainerState { spec: self.spec.clone(), phase }
    }
}

/// Says why a child has failed, and ends it.
pub(super) fn end_child(reporter: &Reporter, error: StartError) -> ! {
    // Without a shim there is nobody to tell.
    drop(reporter.send(&Report::Failed(error)));
    exit_child(1)
}

fn connect_streams(stdio: Stdio) -> io::Result<(ShimStreams, ChildStreams)> {
    let Stdio::Pipes { stdin } = stdio else {
        return Ok((ShimStreams { outputs: Vec::new(), input: Input::None }, ChildStreams::Terminal));
    };
    let mut outputs = Vec::new();
    let mut output = |stream| {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        set_nonblocking(&ours)?;
        outputs.push(Output::new(ours, stream));
        Ok::<_, io::Error>(theirs)
    };
    let (stdout, stderr) = (output(LogStream::Stdout)?, output(LogStream::Stderr)?);
    let (stdin, input) = match stdin {
        Stdin::Empty => (None, Input::None),
        Stdin::Open | Stdin::Once => {
            let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
            let input = if stdin == Stdin::Once { Input::PipeOnce(ours) } else { Input::Pipe(ours) };
            (Some(theirs), input)
        }
    };
    Ok((ShimStreams { outputs, input }, ChildStreams::Pipes { stdin, stdout, stderr }))
}

impl Pod {
    /// The filter that processes of this container get.
    pub(super) fn filter(&self, spec: &ContainerSpec) -> Result<Option<Filter>, StartError> {
        if spec.privileged || spec.seccomp == Seccomp::Unconfined {
            return Ok(None);
        }
        let filter = Filter::load(&self.directory.seccomp(), &spec.capabilities);
        filter.map(Some).when(StartErrorKind::Security, || "load the seccomp profile".into())
    }
}

/// The order in which a container's cgroup is made and entered.
trait Enter {
    /// The group, made, for `CLONE_INTO_CGROUP`; or `None`, and nothing is made yet.
    fn clone_target_for(&self, group: Group<'_>, spec: &ContainerSpec)
    -> Result<Option<OwnedFd>, StartError>;

    /// Without such a group: makes it and moves the child, which is busy with its mounts meanwhile.
    fn enter_after(&self, group: Group<'_>, spec: &ContainerSpec, pid: i32) -> Result<(), StartError>;
}

impl Enter for Box<dyn Cgroups> {
    fn clone_target_for(
        &self,
        group: Group<'_>,
        spec: &ContainerSpec,
    ) -> Result<Option<OwnedFd>, StartError> {
        if !self.clones_into_groups() {
            return Ok(None);
        }
        make_group(&**self, group, spec)?;
        self.clone_target(group).when(StartErrorKind::Cgroup, || format!("open {group}"))
    }

    fn enter_after(&self, group: Group<'_>, spec: &ContainerSpec, pid: i32) -> Result<(), StartError> {
        make_group(&**self, group, spec)?;
        self.attach(group, pid).when(StartErrorKind::Cgroup, || format!("enter {group}"))
    }
}

fn make_group(cgroups: &dyn Cgroups, group: Group<'_>, spec: &ContainerSpec) -> Result<(), StartError> {
    let kind = StartErrorKind::Cgroup;
    cgroups.create(group, &spec.resources).when(kind, || format!("make {group}"))?;
    if spec.privileged {
        return Ok(());
    }
    let mut rules = DeviceRule::STANDARD.to_vec();
    for device in &spec.devices {
        let rule = DeviceRule::for_node(&device.host_path, &device.permissions);
        rules.push(rule.when(kind, || format!("device {}", device.host_path.display()))?);
    }
    cgroups.restrict_devices(group, &rules).when(kind, || format!("restrict the devices of {group}"))
}
