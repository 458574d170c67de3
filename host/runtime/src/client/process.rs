//! An exec'd process and an attached client, as the caller holds them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::spec::TerminalSize;
use crate::wire::{self, Envelope, Reply, Request, Stream};

/// How an exec'd process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecExit {
    /// The exit code, or 128 + signal.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// A process started in a container by [`PodHandle::exec`](crate::PodHandle::exec). Take the streams out and move
/// them to wherever they are pumped; they are plain pipes (or one terminal), and nobody else holds their ends. The
/// process goes on when this is dropped, but loses its streams with them; with [`hang_up`](crate::ExecSpec::hang_up) it is
/// told so.
#[derive(Debug)]
pub struct ExecProcess {
    /// As the machine numbers it.
    pub pid: i32,
    /// What was asked for but had to be clamped.
    pub warnings: Vec<String>,
    /// Write its input here; drop to end it. `None` when it has no input, or a terminal.
    pub stdin: Option<File>,
    /// Its output; `None` when it has a terminal.
    pub stdout: Option<File>,
    /// Its errors; `None` when it has a terminal.
    pub stderr: Option<File>,
    /// The master side of its terminal: read and write. Reading fails with `EIO` when all of them have ended.
    pub terminal: Option<File>,
    pub(super) socket: UnixStream,
    pub(super) pod_id: String,
}

impl ExecProcess {
    /// Waits until it has ended; `None` when `timeout` passes before. Call it again as often as you like until it
    /// has given an answer.
    ///
    /// # Errors
    /// [`Error::ShimGone`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<ExecExit>> {
        // The kernel takes zero for "no timeout".
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        self.socket.set_read_timeout(timeout).map_err(Error::io("set a timeout"))?;
        match wire::receive::<Reply>(&self.socket) {
            Ok(Some((Reply::ExecExited { code, signal }, _))) => Ok(Some(ExecExit { code, signal })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Ok(other) => Err(self.gone(format!("unexpected answer {other:?}"))),
            Err(error) => Err(self.gone(error.to_string())),
        }
    }

    /// Sends it a signal; one that has ended is left in peace.
    ///
    /// # Errors
    /// [`Error::ShimGone`].
    pub fn signal(&self, signal: i32) -> Result<()> {
        let envelope = Envelope { version: wire::VERSION, request: Request::ExecSignal { signal } };
        wire::send(&self.socket, &envelope, &[]).map_err(|error| self.gone(error.to_string()))
    }

    /// Changes the size of its terminal; without one nothing happens.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        match &self.terminal {
            Some(terminal) => set_terminal_size(terminal, size).map_err(Error::io("resize the terminal")),
            None => Ok(()),
        }
    }

    fn gone(&self, reason: String) -> Error {
        Error::ShimGone { pod_id: self.pod_id.clone(), reason }
    }
}

/// Readable when [`ExecProcess::wait`] would return at once.
impl AsFd for ExecProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A client attached to a container by [`PodHandle::attach`](crate::PodHandle::attach).
#[derive(Debug)]
pub struct Attachment {
    /// Write the container's input here. `None` when it has none (left).
    pub stdin: Option<File>,
    /// What it writes to its standard output (or terminal) from now on; ends when the container does, or when this
    /// client has not read for [`ATTACH_STALL_MS_MAX`](crate::ATTACH_STALL_MS_MAX).
    pub stdout: Option<File>,
    /// The same for its standard error; `None` with a terminal.
    pub stderr: Option<File>,
}

/// Sorts descriptors that came with a reply by what they are for.
pub(super) struct Streams {
    pub(super) stdin: Option<File>,
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
    pub(super) terminal: Option<File>,
}

impl Streams {
    pub(super) fn new(kinds: &[Stream], descriptors: Vec<OwnedFd>) -> Streams {
        let mut streams = Streams { stdin: None, stdout: None, stderr: None, terminal: None };
        for (kind, descriptor) in kinds.iter().zip(descriptors) {
            let slot = match kind {
                Stream::Stdin => &mut streams.stdin,
                Stream::Stdout => &mut streams.stdout,
                Stream::Stderr => &mut streams.stderr,
                Stream::Terminal => &mut streams.terminal,
            };
            *slot = Some(descriptor.into());
        }
        streams
    }
}

/// `TIOCSWINSZ`.
pub(crate) fn set_terminal_size(terminal: &impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one struct winsize.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
