//! One client of the shim.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::Shim;
use super::exec::Exec;
use crate::REPLY_MS_MAX;
use crate::wire::{self, Envelope, Failure, Reply, Request, VERSION};

/// Most clients at a time. Berth opens one for each thing it waits for, so a pod with a hundred execs is far below;
/// more is a leak, and the oldest must not be kept from answering by it.
const CONNECTIONS_MAX: usize = 1024;

/// Most bytes of answers that wait for a client. The longest answer is a list of all containers with their
/// environments; a client that has not read one before it asks for the next but one does not read at all.
const OUTBOX_BYTES_MAX: usize = 2 * wire::MESSAGE_BYTES_MAX;

/// How long a shim that has no descriptor left for another client lets it wait before it looks again. The containers'
/// output waits as well.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(20);

/// A client and what it has sent so far.
pub(super) struct Connection {
    pub(super) socket: UnixStream,
    inbox: Vec<u8>,
    /// Answers that the socket has not taken yet.
    outbox: VecDeque<Outgoing>,
}

/// The rest of an answer, and the descriptors that go with its first byte.
struct Outgoing {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    /// Sends an answer, now or as soon as the client takes it.
    pub(super) fn send(&mut self, reply: &Reply, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = wire::encode(reply)?;
        let waiting: usize = self.outbox.iter().map(|outgoing| outgoing.bytes.len()).sum();
        if waiting + bytes.len() > OUTBOX_BYTES_MAX {
            return Err(io::Error::other("the client does not read its answers"));
        }
        self.outbox.push_back(Outgoing { bytes, descriptors });
        self.flush()
    }

    /// Gives the client what it will take.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.outbox.front_mut() {
            let descriptors: Vec<_> = first.descriptors.iter().map(AsFd::as_fd).collect();
            match wire::send_some(&self.socket, &first.bytes, &descriptors) {
                Ok(count) => {
                    first.bytes.drain(..count);
                    first.descriptors.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if first.bytes.is_empty() {
                self.outbox.pop_front();
            }
        }
        Ok(())
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }
}

impl Shim {
    /// Takes all who wait.
    pub(super) fn accept(&mut self) {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                // They stay in line, and must not keep the processor busy until somebody leaves.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    return std::thread::sleep(OUT_OF_DESCRIPTORS_PAUSE);
                }
                Err(_) => return,
            };
            if self.connections.len() >= CONNECTIONS_MAX || socket.set_nonblocking(true).is_err() {
                continue;
            }
            let number = self.number_next;
            self.number_next += 1;
            self.connections
                .insert(number, Connection { socket, inbox: Vec::new(), outbox: VecDeque::new() });
            // The request has usually arrived with the connection.
            self.read_requests(number);
        }
    }

    /// Carries out what a client has asked for.
    pub(super) fn read_requests(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        // Clients send none; if one does, they are closed.
        let mut descriptors = Vec::new();
        let alive = wire::fill(&connection.socket, &mut connection.inbox, &mut descriptors).unwrap_or(false);
        loop {
            let Some(connection) = self.connections.get_mut(&number) else { return };
            match wire::take::<Envelope>(&mut connection.inbox) {
                Ok(Some(Envelope { version: VERSION, request })) => self.answer(number, request),
                Ok(Some(Envelope { version, .. })) => {
                    let reason =
                        format!("the pod's shim speaks protocol version {VERSION}, berth speaks {version}");
                    self.reply(number, &Reply::Failed(Failure::Conflict(reason)), Vec::new());
                }
                Ok(None) => break,
                Err(error) => {
                    self.reply(number, &Reply::Failed(Failure::Invalid(error.to_string())), Vec::new());
                    self.drop_connection(number);
                    return;
                }
            }
        }
        if !alive {
            self.drop_connection(number);
        }
    }

    /// Goes on with answers that had to wait.
    pub(super) fn write_answers(&mut self, number: u64) {
        let written = self.connections.get_mut(&number).map(Connection::flush);
        if let Some(Err(_)) = written {
            self.drop_connection(number);
        }
    }

    pub(super) fn drop_connection(&mut self, number: u64) {
        self.connections.remove(&number);
        self.subscribers.retain(|subscriber| *subscriber != number);
        self.execs.values().filter(|exec| exec.connection == number).for_each(Exec::abandon);
        for container in self.containers.values_mut() {
            container.waiters.retain(|waiter| *waiter != number);
        }
    }
}

/// Without a sandbox there is nothing to serve. Tells everybody why who asks within the time a client waits, and
/// ends.
pub(super) fn refuse_all(listener: &UnixListener, failure: &Failure) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let Failure::Sandbox(reason) = failure else { unreachable!("only a sandbox is refused") };
    // The last line of the log answers those who come later.
    eprintln!("{reason}");
    let end = Instant::now() + Duration::from_millis(REPLY_MS_MAX);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, timeout)? == 0 {
            return Ok(());
        }
        let (socket, _) = listener.accept()?;
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let asked = wire::receive::<Envelope>(&socket);
        if let Ok(Some((Envelope { request: Request::Subscribe, .. }, _))) = asked {
            continue;
        }
        // Whoever has left does not need the answer.
        drop(wire::send(&socket, &Reply::Failed(failure.clone()), &[]));
        if matches!(asked, Ok(Some((Envelope { request: Request::Shutdown, .. }, _)))) {
            return Ok(());
        }
    }
}
