//! A container's output: read, logged, and copied to attached clients.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read, write};

use super::log::{Lines, Log, LogStream};
use crate::ATTACH_STALL_MS_MAX;

/// Read at a time: as much as a pipe holds by default.
const READ_BYTES: usize = 64 << 10;

/// Most that is read of a container that has ended, should somebody outside still hold its pipe and go on writing.
const DRAIN_BYTES_MAX: usize = 4 << 20;

pub(super) struct Output {
    /// `None` after its end.
    pub(super) source: Option<OwnedFd>,
    pub(super) stream: LogStream,
    lines: Lines,
    pub(super) clients: Vec<Client>,
}

/// Somebody who is attached.
pub(super) struct Client {
    pub(super) pipe: OwnedFd,
    pending: Vec<u8>,
    stalled_since: Option<Instant>,
}

/// Whether a stream may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Later,
    Never,
}

impl Output {
    /// For a descriptor that does not block.
    pub(super) fn new(source: OwnedFd, stream: LogStream) -> Output {
        Output { source: Some(source), stream, lines: Lines::new(stream), clients: Vec::new() }
    }

    /// A pipe of which the caller hands out the returned end.
    pub(super) fn attach(&mut self) -> io::Result<OwnedFd> {
        // A container that says nothing does not notice who has left.
        self.clients.retain(Client::is_there);
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        set_nonblocking(&ours)?;
        if self.source.is_some() {
            self.clients.push(Client { pipe: ours, pending: Vec::new(), stalled_since: None });
        }
        Ok(theirs)
    }

    /// While a client has not taken what it was given, nothing more is read: the container waits, as it would for
    /// a slow terminal.
    pub(super) fn is_held_up(&self) -> bool {
        self.clients.iter().any(|client| !client.pending.is_empty())
    }

    /// When the next client will have been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stalled = self.clients.iter().filter_map(|client| client.stalled_since);
        stalled.min().map(|since| since + Duration::from_millis(ATTACH_STALL_MS_MAX))
    }

    /// Reads once and passes it on.
    pub(super) fn pump(&mut self, log: &mut Log) {
        if self.read_once(log).1 == More::Never {
            self.finish(log);
        }
    }

    /// The container is dead: takes what is left. Nobody can write any more, so this ends; should a pipe have been
    /// passed on to another container, it ends all the same.
    pub(super) fn drain(&mut self, log: &mut Log) {
        let mut total = 0;
        while self.source.is_some() && total < DRAIN_BYTES_MAX {
            let (count, more) = self.read_once(log);
            total += count;
            if count == 0 || more == More::Never {
                break;
            }
        }
        self.finish(log);
    }

    fn read_once(&mut self, log: &mut Log) -> (usize, More) {
        let Some(source) = &self.source else { return (0, More::Never) };
        let mut buffer = vec![0; READ_BYTES];
        match read(source, &mut buffer) {
            Ok(0) => (0, More::Never),
            Ok(count) => {
                self.lines.write(log, &buffer[..count], SystemTime::now());
                self.clients.iter_mut().for_each(|client| client.pending.extend_from_slice(&buffer[..count]));
                self.flush();
                (count, More::Later)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => (0, More::Later),
            // EIO: the last process has closed the terminal.
            Err(_) => (0, More::Never),
        }
    }

    fn finish(&mut self, log: &mut Log) {
        self.source = None;
        self.lines.finish(log, SystemTime::now());
        self.flush();
    }

    /// Gives clients what they will take; drops those who are gone, who take too long, or who have it all.
    pub(super) fn flush(&mut self) {
        let ended = self.source.is_none();
        self.clients.retain_mut(|client| client.flush() && !(ended && client.pending.is_empty()));
    }
}

impl Client {
    /// False when it is to be dropped.
    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match write(&self.pipe, &self.pending) {
                Ok(count) => {
                    self.pending.drain(..count);
                    self.stalled_since = None;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let since = *self.stalled_since.get_or_insert_with(Instant::now);
                    return since.elapsed() < Duration::from_millis(ATTACH_STALL_MS_MAX);
                }
                Err(_) => return false,
            }
        }
        self.stalled_since = None;
        true
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the reading end is still open.
    fn is_there(&self) -> bool {
        let mut polled = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        let polled = poll(&mut polled, PollTimeout::ZERO).map(|_| polled[0].revents());
        !polled.is_ok_and(|events| events.is_some_and(|events| events.contains(PollFlags::POLLERR)))
    }
}

/// What goes into a container.
pub(super) enum Input {
    /// Nothing (any more).
    None,
    /// The writing end of its pipe, of which every client gets a copy.
    Pipe(OwnedFd),
    /// The same, for the first client only.
    PipeOnce(OwnedFd),
    /// A terminal, and the clients who type on it.
    Terminal { master: OwnedFd, typists: Vec<Typist> },
}

/// A client of a terminal.
pub(super) struct Typist {
    pub(super) pipe: OwnedFd,
    pending: Vec<u8>,
}

/// Read from a typist at a time; a terminal takes 4 KiB before it is read.
const TYPED_BYTES: usize = 1024;

impl Input {
    /// The end that a new client writes to.
    pub(super) fn attach(&mut self) -> io::Result<Option<OwnedFd>> {
        match std::mem::replace(self, Input::None) {
            Input::None => Ok(None),
            Input::PipeOnce(pipe) => Ok(Some(pipe)),
            Input::Pipe(pipe) => {
                let copy = pipe.try_clone();
                *self = Input::Pipe(pipe);
                copy.map(Some)
            }
            Input::Terminal { master, mut typists } => {
                let made = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).and_then(|(ours, theirs)| {
                    set_nonblocking(&ours)?;
                    typists.push(Typist { pipe: ours, pending: Vec::new() });
                    Ok(theirs)
                });
                *self = Input::Terminal { master, typists };
                made.map(Some)
            }
        }
    }

    /// Moves what was typed to the terminal.
    pub(super) fn pump(&mut self) {
        if let Input::Terminal { master, typists } = self {
            typists.retain_mut(|typist| typist.pump(master));
        }
    }
}

impl Typist {
    pub(super) fn wants_to_write(&self) -> bool {
        !self.pending.is_empty()
    }

    /// False when it has left.
    fn pump(&mut self, master: &OwnedFd) -> bool {
        if self.pending.is_empty() {
            let mut buffer = [0; TYPED_BYTES];
            match read(&self.pipe, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(Errno::EAGAIN | Errno::EINTR) => return true,
                Err(_) => return false,
            }
        }
        match write(master, &self.pending) {
            Ok(count) => {
                self.pending.drain(..count);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}

/// For descriptors of the poll loop.
pub(super) fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_have_left_are_forgotten_although_nothing_is_said() {
        let (source, _container) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut output = Output::new(source, LogStream::Stdout);
        let staying = output.attach().unwrap();
        for _ in 0..10 {
            drop(output.attach().unwrap());
        }
        let last = output.attach().unwrap();
        assert_eq!(output.clients.len(), 2);
        drop((staying, last));
    }
}
