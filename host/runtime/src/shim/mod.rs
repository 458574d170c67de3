//! The shim: one single-threaded process per pod that outlives berth.
//!
//! It waits in one `poll` for requests, reports of starting processes, output of containers, and the death of
//! children; nothing else in it blocks for longer than a system call does.

mod connection;
mod container;
mod exec;
mod lifecycle;
mod log;
mod output;
mod requests;
mod sandbox;
mod starting;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};

use self::connection::Connection;
use self::container::{Container, Phase};
use self::exec::{Exec, ExecPhase};
use self::output::Input;
use self::sandbox::Sandbox;
use crate::SHIM_ARGUMENT;
use crate::cgroups::Cgroups;
use crate::rundir::{self, PodDirectory, PodRecord, ProcessRecord, ShimRecord};
use crate::sys;
use crate::wire::{Failure, Reply, VERSION};

/// Becomes a shim when this process was started as one, and otherwise returns. To be called at the very start of
/// `main`, before any thread is made.
pub fn shim_main_if_asked() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == SHIM_ARGUMENT) {
        shim_main(arguments);
    }
}

/// Runs a shim with the arguments after its name: the pod's directory. The pod's socket is standard input. Does not
/// return; an error goes to standard error, which is the pod's `shim.log`.
pub fn shim_main(arguments: impl Iterator<Item = OsString>) -> ! {
    let code = match run(arguments) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code)
}

/// The pod as its processes see it.
struct Pod {
    directory: PodDirectory,
    record: PodRecord,
    cgroups: Box<dyn Cgroups>,
    sandbox: Sandbox,
}

/// Everything a shim holds.
struct Shim {
    pod: Pod,
    listener: UnixListener,
    signals: SignalFd,
    containers: BTreeMap<String, Container>,
    execs: BTreeMap<u64, Exec>,
    /// By a number that is never used twice.
    connections: BTreeMap<u64, Connection>,
    number_next: u64,
    subscribers: Vec<u64>,
    ending: Ending,
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Yes,
}

/// What a polled descriptor belongs to.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Answers(u64),
    Start(String),
    ExecStart(u64),
    Output(String, usize),
    Clients(String, usize),
    Input(String),
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let directory = arguments.next().ok_or_else(|| io::Error::other("usage: berth-shim POD-DIRECTORY"))?;
    let directory = PodDirectory::at(PathBuf::from(directory));
    let listener = take_standard_input()?;
    nix::unistd::setsid()?;
    // Mount points and working directories are for the containers' users, whatever the umask that berth was given.
    umask(Mode::from_bits_truncate(0o022));
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    // Nobody in a container may look at this process, not even through a child that has entered it.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    sys::set_process_name(c"berth-shim")?;
    let signals = block_signals()?;
    let record: PodRecord = rundir::read_record(&directory.pod_record())?;
    let process = ProcessRecord::of(std::process::id() as i32)?;
    rundir::write_record(&directory.shim_record(), &ShimRecord { version: VERSION, process })?;
    // Only where the machine permits; the kernel's choice is a good one too.
    drop(fs::write("/proc/self/oom_score_adj", "-998"));
    let cgroups = record.cgroups.driver(&record.cgroup_root);
    let sandbox = match Sandbox::set_up(&record.sandbox, &directory, &*cgroups) {
        Ok(sandbox) => sandbox,
        Err(reason) => return connection::refuse_all(&listener, &Failure::Sandbox(reason)),
    };
    let shim = Shim {
        pod: Pod { directory, record, cgroups, sandbox },
        listener,
        signals,
        containers: BTreeMap::new(),
        execs: BTreeMap::new(),
        connections: BTreeMap::new(),
        number_next: 0,
        subscribers: Vec::new(),
        ending: Ending::No,
    };
    shim.serve()
}

/// The socket came as standard input. Everything else that may have been inherited is closed.
fn take_standard_input() -> io::Result<UnixListener> {
    sys::close_all_but(&[])?;
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    let null = fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    Ok(UnixListener::from(listener))
}

/// Death of children is read from a descriptor; requests to end come over the socket only.
fn block_signals() -> io::Result<SignalFd> {
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    blocked.thread_block()?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

impl Shim {
    fn serve(mut self) -> io::Result<()> {
        while self.ending == Ending::No {
            let ready = self.wait()?;
            ready.into_iter().for_each(|source| self.handle(source));
            self.check_deadlines();
        }
        Ok(())
    }

    /// Waits for something to do.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let sources = self.sources();
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let timeout = match self.deadline() {
            None => PollTimeout::NONE,
            Some(at) => {
                // Rounded up: waking a moment early would only spin.
                let left_ms = at.saturating_duration_since(Instant::now()).as_millis() + 1;
                PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().map(|polled| polled.any().unwrap_or(false));
        Ok(sources
            .iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|((source, ..), _)| source.clone())
            .collect())
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        // Reports come before deaths: a process is known before its end is looked at.
        let mut all = Vec::new();
        for (number, exec) in &self.execs {
            if let ExecPhase::Starting(starting) = &exec.phase {
                all.push((Source::ExecStart(*number), starting.socket.as_fd(), read));
            }
        }
        for (id, container) in &self.containers {
            if let Phase::Starting(starting) = &container.phase {
                all.push((Source::Start(id.clone()), starting.socket.as_fd(), read));
            }
            add_streams(&mut all, id, container);
        }
        all.push((Source::Signals, self.signals.as_fd(), read));
        all.push((Source::Listener, self.listener.as_fd(), read));
        for (number, connection) in &self.connections {
            all.push((Source::Connection(*number), connection.socket.as_fd(), read));
            if connection.wants_to_write() {
                all.push((Source::Answers(*number), connection.socket.as_fd(), write));
            }
        }
        debug_assert!(all.iter().all(|(.., flags)| flags.intersects(read | write)));
        all
    }

    /// When a start or an attached client will have taken too long.
    fn deadline(&self) -> Option<Instant> {
        let containers = self.containers.values().filter_map(|container| match &container.phase {
            Phase::Starting(starting) => starting.deadline(),
            Phase::Running(_) | Phase::Exited(_) => None,
        });
        let execs = self.execs.values().filter_map(|exec| match &exec.phase {
            ExecPhase::Starting(starting) => starting.deadline(),
            ExecPhase::Running => None,
        });
        let outputs = self.containers.values().flat_map(|container| &container.outputs);
        containers.chain(execs).chain(outputs.filter_map(output::Output::deadline)).min()
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        for id in self.containers.keys().cloned().collect::<Vec<_>>() {
            self.advance_start(&id);
        }
        for number in self.execs.keys().copied().collect::<Vec<_>>() {
            self.advance_exec(number);
        }
        for container in self.containers.values_mut() {
            container.outputs.iter_mut().for_each(output::Output::flush);
        }
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.reap(),
            Source::Connection(number) => self.read_requests(number),
            Source::Answers(number) => self.write_answers(number),
            Source::Start(id) => self.advance_start(&id),
            Source::ExecStart(number) => self.advance_exec(number),
            Source::Output(id, index) => {
                if let Some(Container { outputs, log, .. }) = self.containers.get_mut(&id)
                    && let Some(output) = outputs.get_mut(index)
                {
                    output.pump(log);
                }
            }
            Source::Clients(id, index) => {
                let output =
                    self.containers.get_mut(&id).and_then(|container| container.outputs.get_mut(index));
                if let Some(output) = output {
                    output.flush();
                }
            }
            Source::Input(id) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.input.pump();
                }
            }
        }
    }

    /// Answers a request, if whoever asked is still there.
    fn reply(&mut self, number: u64, reply: &Reply, descriptors: Vec<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if let Err(error) = connection.send(reply, descriptors) {
            // Nobody to tell but the log: one that has left is no news.
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("answer a client: {error}");
            }
            self.drop_connection(number);
        }
    }
}

fn add_streams<'a>(all: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>, id: &str, container: &'a Container) {
    let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
    for (index, output) in container.outputs.iter().enumerate() {
        if let (Some(source), false) = (&output.source, output.is_held_up()) {
            all.push((Source::Output(id.to_owned(), index), source.as_fd(), read));
        }
        for client in output.clients.iter().filter(|client| client.wants_to_write()) {
            all.push((Source::Clients(id.to_owned(), index), client.pipe.as_fd(), write));
        }
    }
    if let Input::Terminal { master, typists } = &container.input {
        for typist in typists {
            let (fd, flags) =
                if typist.wants_to_write() { (master.as_fd(), write) } else { (typist.pipe.as_fd(), read) };
            all.push((Source::Input(id.to_owned()), fd, flags));
        }
    }
}
