//! One pod: requests to its shim, and what to do when that has died.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cleanup;
use super::process::{Attachment, ExecProcess, Streams};
use super::shared::Shared;
use crate::cgroups::Group;
use crate::error::{Error, Result};
use crate::rundir::{self, ContainerDirectory, PodDirectory, PodRecord, ShimRecord};
use crate::spec::{ContainerSpec, ExecSpec, TerminalSize};
use crate::status::{
    ContainerPhase, ContainerState, ExitCause, ExitStatus, PodState, ShimState, Started, Usage,
};
use crate::wire::{self, Envelope, Failure, Reply, Request};
use crate::{EXEC_START_MS_MAX, REPLY_MS_MAX};

/// Added to the shim's own limits when waiting for its answer, so that the shim's explanation comes first.
const MARGIN_MS: u64 = 5_000;

/// How long a shim may take to end its containers when its pod is removed; what it has not done then is done without
/// it, as it is when the shim is dead.
const SHUTDOWN_MS_MAX: u64 = 5_000;

/// A pod. Cheap to clone; every method opens a connection of its own, so none waits for another.
#[derive(Clone)]
pub struct PodHandle {
    shared: Arc<Shared>,
    id: String,
    directory: PodDirectory,
}

impl std::fmt::Debug for PodHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PodHandle {
    pub(super) fn new(shared: Arc<Shared>, id: String) -> PodHandle {
        let directory = shared.directory(&id);
        PodHandle { shared, id, directory }
    }

    pub(super) fn directory(&self) -> &PodDirectory {
        &self.directory
    }

    /// Whether it is known what the pod was made from.
    pub(super) fn has_record(&self) -> bool {
        rundir::read_record::<PodRecord>(&self.directory.pod_record()).is_ok()
    }

    /// The pod's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the sandbox is up.
    ///
    /// # Errors
    /// [`Error::Sandbox`] with what went wrong in it, [`Error::ShimGone`].
    pub fn wait_ready(&self) -> Result<()> {
        self.done(Request::Ping)
    }

    /// Starts a container and waits until its program is executed.
    ///
    /// # Errors
    /// [`Error::Start`] when it cannot be started; then nothing of it is left but the id, which can be used again.
    /// [`Error::InvalidSpec`], [`Error::AlreadyExists`], [`Error::Sandbox`], [`Error::ShimGone`].
    pub fn start_container(&self, spec: &ContainerSpec) -> Result<Started> {
        validate_container(spec)?;
        self.shared.prepare_filter(spec)?;
        let request = Request::Start(Box::new(spec.clone()));
        match self.ask(request, Some(spec.start_ms_max() + MARGIN_MS))?.0 {
            Reply::Started(started) => Ok(started),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Sends a signal to a container's first process. `SIGKILL` reaches all its processes. A container that has
    /// ended is left in peace.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ShimGone`].
    pub fn kill(&self, container_id: &str, signal: i32) -> Result<()> {
        self.done(Request::Kill { container: container_id.to_owned(), signal })
    }

    /// Waits until a container has ended; `None` when `timeout` passes before.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ShimGone`].
    pub fn wait(&self, container_id: &str, timeout: Option<Duration>) -> Result<Option<ExitStatus>> {
        let socket = self.send(Request::Wait { container: container_id.to_owned() })?;
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        socket.set_read_timeout(timeout).map_err(Error::io("set a timeout"))?;
        match wire::receive::<Reply>(&socket) {
            Ok(Some((Reply::Exited(status), _))) => Ok(Some(status)),
            Ok(Some((Reply::Failed(failure), _))) => Err(self.failed(failure)),
            Ok(Some((other, _))) => Err(self.unexpected(&other)),
            Ok(None) => Err(self.gone(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.gone(&error)),
        }
    }

    /// Starts a process in a running container and waits until its program is executed.
    ///
    /// # Errors
    /// [`Error::Start`] when it cannot be started (its kind gives the exit code that a shell would show),
    /// [`Error::Conflict`] when the container does not run, [`Error::NotFound`], [`Error::ShimGone`].
    pub fn exec(&self, container_id: &str, spec: &ExecSpec) -> Result<ExecProcess> {
        let request = Request::Exec { container: container_id.to_owned(), spec: Box::new(spec.clone()) };
        let socket = self.send(request)?;
        let (reply, descriptors) = self.receive(&socket, Some(EXEC_START_MS_MAX + MARGIN_MS))?;
        let Reply::ExecStarted { pid, streams, warnings } = reply else {
            return Err(self.unexpected(&reply));
        };
        let Streams { stdin, stdout, stderr, terminal } = Streams::new(&streams, descriptors);
        Ok(ExecProcess { pid, warnings, stdin, stdout, stderr, terminal, socket, pod_id: self.id.clone() })
    }

    /// Attaches to a running container's streams: its output from now on, and its input if it has one.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it does not run, [`Error::NotFound`], [`Error::ShimGone`].
    pub fn attach(&self, container_id: &str) -> Result<Attachment> {
        let request = Request::Attach { container: container_id.to_owned() };
        match self.ask(request, Some(REPLY_MS_MAX))? {
            (Reply::Attached { streams }, descriptors) => {
                let Streams { stdin, stdout, stderr, .. } = Streams::new(&streams, descriptors);
                Ok(Attachment { stdin, stdout, stderr })
            }
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// Changes the size of a container's terminal; without one nothing happens.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ShimGone`].
    pub fn resize(&self, container_id: &str, size: TerminalSize) -> Result<()> {
        self.done(Request::Resize { container: container_id.to_owned(), size })
    }

    /// Opens a container's log file anew, after somebody has moved it away.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ShimGone`].
    pub fn reopen_log(&self, container_id: &str) -> Result<()> {
        self.done(Request::ReopenLog { container: container_id.to_owned() })
    }

    /// Forgets a container that has ended: its cgroup and records. Its log, writable layer and volumes belong to the
    /// caller. One that is not known is no error.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it still runs, [`Error::Io`].
    pub fn remove_container(&self, container_id: &str) -> Result<()> {
        match self.done(Request::Remove { container: container_id.to_owned() }) {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(Error::ShimGone { .. }) if rundir::is_valid_id(container_id) && self.shim_is_dead() => {
                self.remove_container_of_dead(container_id)
            }
            other => other,
        }
    }

    fn remove_container_of_dead(&self, container_id: &str) -> Result<()> {
        self.end_processes()?;
        let group = Group::Container { pod: &self.id, container: container_id };
        self.shared.cgroups.remove(group).map_err(Error::io(format!("remove {group}")))?;
        cleanup::remove_directory(self.directory.container(container_id).path())
    }

    /// What is known of the pod. When its shim has died: its processes are ended, and containers whose end nobody
    /// saw are recorded as [`ExitCause::Lost`].
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Io`] when its record is missing or cannot be read.
    pub fn state(&self) -> Result<PodState> {
        self.state_within(REPLY_MS_MAX)
    }

    /// [`Self::state`], with a shorter patience.
    pub(super) fn state_within(&self, ms_max: u64) -> Result<PodState> {
        let record: PodRecord = rundir::read_record(&self.directory.pod_record()).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Error::NotFound { what: "pod", id: self.id.clone() };
            }
            Error::Io { action: format!("read the record of pod {}", self.id), source: error }
        })?;
        match self.ask(Request::List, Some(ms_max)) {
            Ok((Reply::Containers(containers), _)) => {
                Ok(PodState { spec: record.sandbox, shim: ShimState::Alive, containers })
            }
            Ok((other, _)) => Err(self.unexpected(&other)),
            Err(Error::ShimGone { .. }) if self.shim_is_dead() => {
                let containers = self.end_leftovers()?;
                Ok(PodState { spec: record.sandbox, shim: ShimState::Dead, containers })
            }
            Err(error) => Err(error),
        }
    }

    /// Only a certain death counts: what follows from it ends the pod's processes.
    fn shim_is_dead(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        // Nobody but the shim holds the other side of the socket.
        let connection = self.directory.connect();
        let refused = connection.is_err_and(|error| matches!(error.kind(), ConnectionRefused | NotFound));
        let record = rundir::read_record::<ShimRecord>(&self.directory.shim_record());
        refused || record.is_ok_and(|record| !record.process.is_alive())
    }

    /// Ends what is left of a pod without a shim and completes its records.
    fn end_leftovers(&self) -> Result<Vec<ContainerState>> {
        let directories = self.container_directories()?;
        // Asked before the processes are ended and the groups with them.
        let oom_killed = |id: &str| {
            let group = Group::Container { pod: &self.id, container: id };
            self.shared.cgroups.oom_kills(group).is_ok_and(|count| count > 0)
        };
        let oom_killed: Vec<bool> = directories.iter().map(|(id, _)| oom_killed(id)).collect();
        self.end_processes()?;
        let mut containers = Vec::new();
        for ((_, directory), oom_killed) in directories.into_iter().zip(oom_killed) {
            // One without a spec was never started: the record is written first.
            let Ok(spec) = directory.spec() else { continue };
            let status = match directory.exit() {
                Some(status) => status,
                None => record_lost(&directory, oom_killed)
                    .map_err(Error::io(format!("record the end of container {}", spec.id)))?,
            };
            containers.push(ContainerState { spec, phase: ContainerPhase::Exited(status) });
        }
        Ok(containers)
    }

    fn container_directories(&self) -> Result<Vec<(String, ContainerDirectory)>> {
        let path = self.directory.containers();
        let listing = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::io(format!("list {}", path.display())))?,
        };
        let names = listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut found: Vec<_> = names.map(|name| (name.clone(), self.directory.container(&name))).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// Kills the pod's processes and its shim, without the shim's help.
    fn end_processes(&self) -> Result<()> {
        if let Ok(shim) = rundir::read_record::<ShimRecord>(&self.directory.shim_record()) {
            shim.process.kill().map_err(Error::io(format!("kill the shim of pod {}", self.id)))?;
        }
        self.shared.reap_shim(&self.id);
        for (_, directory) in self.container_directories()? {
            if let Some(running) = directory.running() {
                running.process.kill().map_err(Error::io(format!("kill process {}", running.process.pid)))?;
            }
        }
        let group = Group::Pod(&self.id);
        self.shared.cgroups.kill(group).map_err(Error::io(format!("kill the processes in {group}")))
    }

    /// Ends the pod's containers at once, and removes its cgroups, mounts, records and shim. What the caller gave
    /// (network namespace, layers, volumes, logs) stays. Removing twice is no error.
    ///
    /// # Errors
    /// [`Error::Io`] with what could not be removed; it can be called again.
    pub fn remove(&self) -> Result<()> {
        self.shared.watch.remove(&self.id);
        // A shim that is gone, or that cannot clean up itself, is no obstacle: the steps below do not need it.
        match self.done_within(Request::Shutdown, SHUTDOWN_MS_MAX) {
            Ok(()) => self.shared.reap_shim(&self.id),
            Err(_) => self.end_processes()?,
        }
        let group = Group::Pod(&self.id);
        self.shared.cgroups.remove(group).map_err(Error::io(format!("remove {group}")))?;
        cleanup::unmount(&self.directory.shm())?;
        cleanup::remove_directory(self.directory.path())
    }

    /// What the whole pod uses.
    ///
    /// # Errors
    /// [`Error::Io`] when its cgroup is gone.
    pub fn usage(&self) -> Result<Usage> {
        self.usage_of(Group::Pod(&self.id))
    }

    /// What a container uses.
    ///
    /// # Errors
    /// [`Error::Io`] when its cgroup is gone, for example because it has ended.
    pub fn container_usage(&self, container_id: &str) -> Result<Usage> {
        self.usage_of(Group::Container { pod: &self.id, container: container_id })
    }

    fn usage_of(&self, group: Group<'_>) -> Result<Usage> {
        self.shared.cgroups.usage(group).map_err(Error::io(format!("read the usage of {group}")))
    }

    /// Opens a connection and sends one request.
    fn send(&self, request: Request) -> Result<UnixStream> {
        let socket = self.directory.connect().map_err(|error| self.gone(&error))?;
        let envelope = Envelope { version: wire::VERSION, request };
        wire::send(&socket, &envelope, &[]).map_err(|error| self.gone(&error))?;
        Ok(socket)
    }

    /// Receives one reply; a failure becomes an error.
    fn receive(&self, socket: &UnixStream, timeout_ms: Option<u64>) -> Result<(Reply, Vec<OwnedFd>)> {
        socket.set_read_timeout(timeout_ms.map(Duration::from_millis)).map_err(Error::io("set a timeout"))?;
        match wire::receive::<Reply>(socket) {
            Ok(Some((Reply::Failed(failure), _))) => Err(self.failed(failure)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.gone(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.gone(&error)),
        }
    }

    fn ask(&self, request: Request, timeout_ms: Option<u64>) -> Result<(Reply, Vec<OwnedFd>)> {
        self.receive(&self.send(request)?, timeout_ms)
    }

    fn done(&self, request: Request) -> Result<()> {
        self.done_within(request, REPLY_MS_MAX)
    }

    fn done_within(&self, request: Request, ms_max: u64) -> Result<()> {
        match self.ask(request, Some(ms_max))?.0 {
            Reply::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Start(error) => Error::Start(error),
            Failure::NotFound { container } => Error::NotFound { what: "container", id: container },
            Failure::AlreadyExists { container } => Error::AlreadyExists { what: "container", id: container },
            Failure::Conflict(reason) => Error::Conflict(reason),
            Failure::Invalid(reason) => Error::InvalidSpec(reason),
            Failure::Sandbox(reason) => Error::Sandbox(reason),
        }
    }

    fn unexpected(&self, reply: &Reply) -> Error {
        self.gone(&io::Error::other(format!("it gave an answer that belongs to another question: {reply:?}")))
    }

    /// The shim does not answer; its log may say why.
    fn gone(&self, error: &io::Error) -> Error {
        if !self.directory.path().exists() {
            return Error::NotFound { what: "pod", id: self.id.clone() };
        }
        let log = fs::read_to_string(self.directory.shim_log()).unwrap_or_default();
        let reason = match log.lines().last() {
            Some(last) => last.to_owned(),
            None => error.to_string(),
        };
        Error::ShimGone { pod_id: self.id.clone(), reason }
    }
}

/// Writes down that nobody saw how a container ended.
fn record_lost(directory: &ContainerDirectory, oom_killed: bool) -> io::Result<ExitStatus> {
    let status = ExitStatus {
        code: 128 + libc::SIGKILL,
        signal: None,
        oom_killed,
        cause: ExitCause::Lost,
        started_at: directory.running().map(|running| running.started_at),
        finished_at: SystemTime::now(),
    };
    directory.write_exit(&status)?;
    Ok(status)
}

fn validate_container(spec: &ContainerSpec) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidSpec(format!("container {:?}: {reason}", spec.name)));
    if !rundir::is_valid_id(&spec.id) {
        return Err(Error::InvalidSpec(format!("container id {:?}: use letters, digits and -_.", spec.id)));
    }
    if spec.args.is_empty() {
        return invalid("no command specified".to_owned());
    }
    if !spec.cwd.is_absolute() {
        return invalid(format!("the working directory {:?} is not absolute", spec.cwd));
    }
    if let Some(mount) = spec.mounts.iter().find(|mount| !mount.destination.is_absolute()) {
        return invalid(format!("the mount path {:?} is not absolute", mount.destination));
    }
    // Arguments and values may be secret: they are named, not shown.
    if let Some(number) = spec.args.iter().position(|argument| argument.contains('\0')) {
        return invalid(format!("argument {number} of the command contains a NUL character"));
    }
    if let Some((name, _)) = spec.env.iter().find(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return invalid(format!("the environment variable {name:?} contains a NUL character"));
    }
    if let Some((name, _)) = spec.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        return invalid(format!("{name:?} cannot be the name of an environment variable"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Rootfs;

    #[test]
    fn what_cannot_be_passed_is_named_and_not_shown() {
        let check = |args: &[&str], env: &[(&str, &str)]| {
            let args = args.iter().map(ToString::to_string).collect();
            let mut spec = ContainerSpec::new("c", Rootfs::Directory("/".into()), args, "/log");
            spec.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            validate_container(&spec).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        };
        assert_eq!(check(&["true"], &[("A", "b=c")]), "ok");
        assert_eq!(
            check(&["login", "hush\0"], &[]),
            "container \"c\": argument 1 of the command contains a NUL character"
        );
        assert_eq!(
            check(&["true"], &[("KEY", "hush\0")]),
            "container \"c\": the environment variable \"KEY\" contains a NUL character"
        );
        assert!(check(&["true"], &[("A=B", "")]).contains("cannot be the name of an environment variable"));
    }
}
