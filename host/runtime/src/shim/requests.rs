//! What clients can ask for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};

use super::container::{Container, Phase};
use super::exec::Exec;
use super::log::LogStream;
use super::output::Input;
use super::{Ending, Shim};
use crate::cgroups::Group;
use crate::client::set_terminal_size;
use crate::spec::{ContainerSpec, ExecSpec, TerminalSize};
use crate::sys;
use crate::wire::{Failure, Reply, Request, Stream};

/// How long killed processes may take to die before the removal of a pod is given up.
const SHUTDOWN_MS_MAX: u64 = 10_000;

/// An answer to be given at once; `None` when it comes later.
type Answer = Result<Option<Reply>, Failure>;

impl Shim {
    /// Carries out one request.
    pub(super) fn answer(&mut self, connection: u64, request: Request) {
        let answer = match request {
            Request::Ping => Ok(Some(Reply::Done)),
            Request::Start(spec) => self.start(connection, *spec),
            Request::Kill { container, signal } => self.kill(&container, signal),
            Request::Wait { container } => self.wait_for(connection, &container),
            Request::Exec { container, spec } => self.exec(connection, &container, &spec),
            Request::ExecSignal { signal } => self.signal_exec(connection, signal),
            Request::Attach { container } => return self.attach(connection, &container),
            Request::Resize { container, size } => self.resize(&container, size),
            Request::List => {
                Ok(Some(Reply::Containers(self.containers.values().map(Container::state).collect())))
            }
            Request::ReopenLog { container } => self.reopen_log(&container),
            Request::Remove { container } => self.remove(&container),
            Request::Subscribe => self.subscribe(connection),
            Request::Shutdown => self.shut_down(),
        };
        match answer {
            Ok(Some(reply)) => self.reply(connection, &reply, Vec::new()),
            Ok(None) => {}
            Err(failure) => self.reply(connection, &Reply::Failed(failure), Vec::new()),
        }
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or_else(|| Failure::NotFound { container: id.to_owned() })
    }

    fn start(&mut self, connection: u64, spec: ContainerSpec) -> Answer {
        let id = spec.id.clone();
        if self.containers.contains_key(&id) {
            return Err(Failure::AlreadyExists { container: id });
        }
        match Container::launch(&mut self.pod, spec, connection) {
            Ok(container) => {
                self.containers.insert(id.clone(), container);
                self.advance_start(&id);
                Ok(None)
            }
            Err(error) => {
                self.forget(&id);
                Err(Failure::Start(error))
            }
        }
    }

    fn kill(&mut self, id: &str, signal: i32) -> Answer {
        self.container(id)?;
        let Some(container) = self.containers.get(id) else { return Ok(Some(Reply::Done)) };
        match container.kill(&self.pod, signal) {
            Ok(()) => Ok(Some(Reply::Done)),
            Err(error) => Err(Failure::Invalid(format!("send signal {signal} to container {id:?}: {error}"))),
        }
    }

    fn wait_for(&mut self, connection: u64, id: &str) -> Answer {
        let container = self.container(id)?;
        if let Phase::Exited(exit) = &container.phase {
            return Ok(Some(Reply::Exited(exit.clone())));
        }
        container.waiters.push(connection);
        Ok(None)
    }

    fn exec(&mut self, connection: u64, id: &str, spec: &ExecSpec) -> Answer {
        let container = self.container(id)?;
        require_running(container)?;
        let Some(container) = self.containers.get(id) else { return Ok(None) };
        let exec = Exec::launch(&self.pod, container, spec, connection).map_err(Failure::Start)?;
        self.execs.insert(self.number_next, exec);
        self.number_next += 1;
        Ok(None)
    }

    fn signal_exec(&mut self, connection: u64, signal: i32) -> Answer {
        // One that has ended is not in the table any more, and that is what the caller wanted or will soon know.
        for exec in self.execs.values().filter(|exec| exec.connection == connection) {
            if let Err(error) = exec.kill(signal) {
                eprintln!("send signal {signal} to an exec'd process: {error}");
            }
        }
        Ok(None)
    }

    fn attach(&mut self, connection: u64, id: &str) {
        let attached = self.container(id).and_then(|container| {
            require_running(container)?;
            streams_of(container)
                .map_err(|error| Failure::Conflict(format!("attach to container {id:?}: {error}")))
        });
        match attached {
            Ok((streams, descriptors)) => self.reply(connection, &Reply::Attached { streams }, descriptors),
            Err(failure) => self.reply(connection, &Reply::Failed(failure), Vec::new()),
        }
    }

    fn resize(&mut self, id: &str, size: TerminalSize) -> Answer {
        if let Input::Terminal { master, .. } = &self.container(id)?.input {
            set_terminal_size(master, size).map_err(|error| Failure::Conflict(format!("resize: {error}")))?;
        }
        Ok(Some(Reply::Done))
    }

    fn reopen_log(&mut self, id: &str) -> Answer {
        let reopened = self.container(id)?.log.reopen();
        reopened.map_err(|error| Failure::Conflict(format!("open the log of container {id:?}: {error}")))?;
        Ok(Some(Reply::Done))
    }

    fn remove(&mut self, id: &str) -> Answer {
        match self.container(id)?.phase {
            Phase::Exited(_) => {
                self.forget(id);
                Ok(Some(Reply::Done))
            }
            Phase::Starting(_) | Phase::Running(_) => {
                Err(Failure::Conflict(format!("container {id:?} still runs: kill it first")))
            }
        }
    }

    fn subscribe(&mut self, connection: u64) -> Answer {
        let ended: Vec<Reply> = self
            .containers
            .iter()
            .filter_map(|(id, container)| match &container.phase {
                Phase::Exited(exit) => Some(Reply::Event { container: id.clone(), status: exit.clone() }),
                Phase::Starting(_) | Phase::Running(_) => None,
            })
            .collect();
        for event in ended {
            self.reply(connection, &event, Vec::new());
        }
        self.subscribers.push(connection);
        Ok(None)
    }

    /// Ends everything. The pod's directory stays, for berth to remove.
    fn shut_down(&mut self) -> Answer {
        let group = Group::Pod(&self.pod.record.sandbox.id);
        let failed = |action: &str, error: io::Error| Failure::Conflict(format!("{action} {group}: {error}"));
        for container in self.containers.values() {
            // Also those on their way into their cgroup.
            container
                .kill(&self.pod, libc::SIGKILL)
                .map_err(|error| failed("kill the processes in", error))?;
        }
        for helper in &self.pod.sandbox.helpers {
            // SAFETY: plain system call, on a child that has not been reaped.
            unsafe { libc::kill(*helper, libc::SIGKILL) };
        }
        self.pod.cgroups.kill(group).map_err(|error| failed("kill the processes in", error))?;
        wait_for_children()?;
        self.pod.cgroups.remove(group).map_err(|error| failed("remove", error))?;
        if let Some(shm) = &self.pod.sandbox.shm {
            umount2(shm, MntFlags::MNT_DETACH)
                .map_err(|error| failed("unmount the /dev/shm of", error.into()))?;
        }
        self.ending = Ending::Yes;
        Ok(Some(Reply::Done))
    }
}

fn require_running(container: &Container) -> Result<(), Failure> {
    match container.phase {
        Phase::Running(_) => Ok(()),
        Phase::Starting(_) | Phase::Exited(_) => {
            Err(Failure::Conflict(format!("container {:?} is not running", container.spec.id)))
        }
    }
}

fn streams_of(container: &mut Container) -> io::Result<(Vec<Stream>, Vec<OwnedFd>)> {
    let mut streams = Vec::new();
    let mut descriptors = Vec::new();
    if let Some(stdin) = container.input.attach()? {
        streams.push(Stream::Stdin);
        descriptors.push(stdin);
    }
    for output in &mut container.outputs {
        streams.push(match output.stream {
            LogStream::Stdout => Stream::Stdout,
            LogStream::Stderr => Stream::Stderr,
        });
        descriptors.push(output.attach()?);
    }
    Ok((streams, descriptors))
}

/// To `waitpid(2)`.
const ANY_CHILD: i32 = -1;

/// Waits until all killed children are gone.
fn wait_for_children() -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_millis(SHUTDOWN_MS_MAX);
    loop {
        match sys::collect(ANY_CHILD) {
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Ok(None) if Instant::now() >= deadline => {
                return Err(Failure::Conflict(
                    "killed processes do not end; a file system may hang".to_owned(),
                ));
            }
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Conflict(format!("waitpid: {error}"))),
        }
    }
}
