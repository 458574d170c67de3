//! The protocol between berth and a pod's shim: length-prefixed JSON on a unix socket, descriptors beside it.
//!
//! Shims outlive the berth that made them, so every request carries [`VERSION`]; a shim answers the version it was
//! built with and refuses others with a sentence. Fields may be added (serde ignores what it does not know); a
//! changed meaning needs a new version.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::StartError;
use crate::spec::{ContainerSpec, ExecSpec, TerminalSize};
use crate::status::{ContainerState, ExitStatus, Started};

/// Version of requests, replies and of the files in the run directory.
pub(crate) const VERSION: u32 = 1;

/// Longest message. A container spec is a few KiB; environments and argument lists are limited by the kernel to 2 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Most descriptors in one message: an exec hands out three.
const MESSAGE_FDS_MAX: usize = 4;

/// What berth sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// [`VERSION`] of the sender.
    pub(crate) version: u32,
    /// What it wants.
    pub(crate) request: Request,
}

/// What berth can ask of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Answered by `Done` when the sandbox is up.
    Ping,
    /// Answered by `Started`.
    Start(Box<ContainerSpec>),
    /// Answered by `Done`.
    Kill { container: String, signal: i32 },
    /// Answered by `Exited`, when that happens.
    Wait { container: String },
    /// Answered by `ExecStarted` with descriptors, later by `ExecExited`.
    Exec { container: String, spec: Box<ExecSpec> },
    /// To the process this connection has started by `Exec`; answered by nothing.
    ExecSignal { signal: i32 },
    /// Answered by `Attached` with descriptors.
    Attach { container: String },
    /// Answered by `Done`.
    Resize { container: String, size: TerminalSize },
    /// Answered by `Containers`.
    List,
    /// Answered by `Done`.
    ReopenLog { container: String },
    /// Answered by `Done`; the container must have ended.
    Remove { container: String },
    /// Answered by one `Event` for each container that has ended or will.
    Subscribe,
    /// Kills all, answers `Done`, and ends.
    Shutdown,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    /// The container runs.
    Started(Started),
    /// The container ended.
    Exited(ExitStatus),
    /// The exec'd process runs; with its descriptors, in the order stdin, stdout, stderr or only the terminal.
    ExecStarted {
        pid: i32,
        streams: Vec<Stream>,
        warnings: Vec<String>,
    },
    /// The exec'd process ended.
    ExecExited {
        code: i32,
        signal: Option<i32>,
    },
    /// The descriptors are the attached client's.
    Attached {
        streams: Vec<Stream>,
    },
    Containers(Vec<ContainerState>),
    /// To subscribers.
    Event {
        container: String,
        status: ExitStatus,
    },
    /// It is not done.
    Failed(Failure),
}

/// What a descriptor in a reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stream {
    /// Write to it.
    Stdin,
    /// Read from it.
    Stdout,
    /// Read from it.
    Stderr,
    /// The master side of a terminal.
    Terminal,
}

/// Why a request failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// See [`StartError`].
    Start(StartError),
    /// No such container.
    NotFound { container: String },
    /// The id is taken.
    AlreadyExists { container: String },
    /// Not now.
    Conflict(String),
    /// Not ever.
    Invalid(String),
    /// The sandbox could not be made.
    Sandbox(String),
}

/// Encodes a message as it goes over the socket.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a message of {length} bytes is longer than {MESSAGE_BYTES_MAX}"
        )));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Takes one whole message off the front of `buffer`, if there is one.
pub(crate) fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("the peer announced a message of {length} bytes")));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let message = serde_json::from_slice(&buffer[4..4 + length])?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

/// Sends one message with descriptors, waiting until the peer has taken it.
pub(crate) fn send<T: Serialize>(
    socket: &UnixStream,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = encode(message)?;
    // The descriptors travel with the first byte.
    let mut sent = send_some(socket, &bytes, descriptors)?;
    while sent < bytes.len() {
        sent += send_some(socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Sends as much of `bytes` as the socket takes at once, and the descriptors with the first of them.
pub(crate) fn send_some(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let raw: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    loop {
        let part = [IoSlice::new(bytes)];
        match sendmsg::<()>(socket.as_raw_fd(), &part, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Receives what is there, up to `limit` bytes, and the descriptors with it. Zero bytes mean the end.
fn receive_some(
    socket: &UnixStream,
    buffer: &mut Vec<u8>,
    limit: usize,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let start = buffer.len();
    buffer.resize(start + limit, 0);
    let mut space = nix::cmsg_space!([RawFd; MESSAGE_FDS_MAX]);
    let result = {
        let mut parts = [IoSliceMut::new(&mut buffer[start..])];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).and_then(|message| {
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    // SAFETY: the kernel has just put these descriptors into our table.
                    descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            Ok(message.bytes)
        })
    };
    buffer.truncate(start + result.as_ref().copied().unwrap_or(0));
    Ok(result?)
}

/// Receives one message and its descriptors, waiting as long as the socket's timeout allows. `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = Vec::new();
    let mut descriptors = Vec::new();
    loop {
        // Never past the end of this message: what follows belongs to the next call.
        let wanted = match buffer.first_chunk::<4>() {
            None => 4 - buffer.len(),
            Some(header) => {
                let length = u32::from_le_bytes(*header) as usize;
                if length > MESSAGE_BYTES_MAX {
                    return Err(io::Error::other(format!("the peer announced a message of {length} bytes")));
                }
                4 + length - buffer.len()
            }
        };
        if wanted == 0 {
            return match take(&mut buffer)? {
                Some(message) => Ok(Some((message, descriptors))),
                None => Err(io::Error::other("a message was cut")),
            };
        }
        match receive_some(socket, &mut buffer, wanted, &mut descriptors) {
            Ok(0) if buffer.is_empty() => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes what a socket that does not block has to give. `Ok(false)` at its end.
pub(crate) fn fill(
    socket: &UnixStream,
    buffer: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<bool> {
    while buffer.len() <= MESSAGE_BYTES_MAX {
        match receive_some(socket, buffer, FILL_BYTES, descriptors) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Bytes asked of a socket at a time; nearly all messages are shorter.
const FILL_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_carries_its_descriptors() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        send(&a, &Reply::Attached { streams: vec![Stream::Stdout] }, &[file.as_fd()]).unwrap();
        send(&a, &Reply::Done, &[]).unwrap();
        let (first, descriptors) = receive::<Reply>(&b).unwrap().unwrap();
        assert!(matches!(first, Reply::Attached { .. }));
        assert_eq!(descriptors.len(), 1);
        let (second, descriptors) = receive::<Reply>(&b).unwrap().unwrap();
        assert!(matches!(second, Reply::Done) && descriptors.is_empty());
        drop(a);
        assert!(receive::<Reply>(&b).unwrap().is_none());
    }

    #[test]
    fn messages_arrive_in_any_pieces() {
        let bytes = [encode(&Request::List).unwrap(), encode(&Request::Ping).unwrap()].concat();
        for cut in 0..bytes.len() {
            let mut buffer = bytes[..cut].to_vec();
            let mut seen = 0;
            while take::<Request>(&mut buffer).unwrap().is_some() {
                seen += 1;
            }
            buffer.extend_from_slice(&bytes[cut..]);
            while take::<Request>(&mut buffer).unwrap().is_some() {
                seen += 1;
            }
            assert_eq!((seen, buffer.len()), (2, 0), "cut at {cut}");
        }
    }

    #[test]
    fn an_announced_length_is_bounded() {
        let mut buffer = u32::MAX.to_le_bytes().to_vec();
        assert!(take::<Request>(&mut buffer).is_err());
    }
}
