//! Processes in containers, awaited without a thread each.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use berth_runtime::{Error, ExecExit, ExecProcess, ExecSpec, PodHandle, TerminalSize};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;

/// A process started by exec.
pub(crate) struct Process {
    pub(crate) inner: AsyncFd<Socket>,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    pub(crate) terminal: Option<File>,
}

/// The shim's end of a process, by its descriptor.
pub(crate) struct Socket(ExecProcess);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Process {
    /// Starts a process in a container.
    pub(crate) async fn start(
        handle: &PodHandle,
        container_id: &str,
        spec: ExecSpec,
    ) -> Result<Process, Error> {
        let (handle, id) = (handle.clone(), container_id.to_owned());
        let mut process = blocking(move || handle.exec(&id, &spec)).await??;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (stderr, terminal) = (process.stderr.take(), process.terminal.take());
        let inner = register(Socket(process)).map_err(|source| io_error("watch a process", source))?;
        Ok(Process { inner, stdin, stdout, stderr, terminal })
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&self) -> Result<ExecExit, Error> {
        loop {
            let mut ready =
                self.inner.readable().await.map_err(|source| io_error("wait for a process", source))?;
            if let Some(exit) = self.inner.get_ref().0.wait(Some(Duration::ZERO))? {
                return Ok(exit);
            }
            ready.clear_ready();
        }
    }

    pub(crate) fn signal(&self, signal: i32) -> Result<(), Error> {
        self.inner.get_ref().0.signal(signal)
    }

    pub(crate) fn resize(terminal: &impl AsFd, size: TerminalSize) -> io::Result<()> {
        let size = nix::libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request reads one struct winsize.
        let done =
            unsafe { nix::libc::ioctl(terminal.as_fd().as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// What a command in a container said and how it ended.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// Runs a command in a container and takes its output, up to a limit; kills it when time is over.
///
/// # Errors
/// One sentence: it could not be started, or took too long.
pub(crate) async fn output(
    handle: &PodHandle,
    container_id: &str,
    command: &[String],
    timeout: Duration,
) -> Result<Output, String> {
    /// Output of a probe or hook that is kept: as much as the kubelet keeps.
    const OUTPUT_BYTES_MAX: usize = 10 << 10;
    let mut process = Process::start(handle, container_id, ExecSpec::new(command.to_vec()))
        .await
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let run = async {
        let (mut out, err, exit) = tokio::join!(
            read_up_to(stdout, OUTPUT_BYTES_MAX),
            read_up_to(stderr, OUTPUT_BYTES_MAX),
            process.wait()
        );
        out.extend(err);
        (out, exit)
    };
    match tokio::time::timeout(timeout, run).await {
        Ok((out, exit)) => {
            let code = exit.map_err(|error| error.to_string())?.code;
            Ok(Output { code, text: String::from_utf8_lossy(&out).into_owned() })
        }
        Err(_) => {
            // It may be over in this very moment; then there is nobody to kill.
            drop(process.signal(nix::libc::SIGKILL));
            Err(format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs()))
        }
    }
}

/// Reads to the end, keeping the beginning.
async fn read_up_to(file: Option<File>, max: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(pipe) = file.and_then(|file| Channel::new(file).ok()) else { return kept };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = max.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}

/// Hands a descriptor to the reactor for as long as its owner lives.
pub(crate) fn register<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what is `AsFd` holds one open descriptor until it is dropped, and here as there by the same number.
    unsafe { AsyncFd::register(owner) }.map_err(io::Error::from)
}

/// A pipe, socket or terminal, read and written without blocking.
pub(crate) struct Channel(AsyncFd<File>);

impl Channel {
    pub(crate) fn new(file: File) -> io::Result<Channel> {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        register(file).map(Channel)
    }

    /// Reads what is there, waiting for the first byte; 0 is the end. A terminal whose last user has gone has ended.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|fd| fd.get_ref().read(buffer)) {
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EIO) => return Ok(0),
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| fd.get_ref().write(bytes)) {
                Ok(written) => bytes = &bytes[written?..],
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> &File {
        self.0.get_ref()
    }
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| io_error("run a blocking call", io::Error::other(error)))
}

fn io_error(action: &str, source: io::Error) -> Error {
    Error::Io { action: action.to_owned(), source }
}
