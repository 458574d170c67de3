//! Exec and attach: moving bytes between a client and a process.

use std::fs::File;
use std::time::Duration;

use berth_client::{ExitStatus, NodeError, Streams, TerminalSize};
use berth_runtime::{Error, ExecExit, ExecSpec, PodHandle, Stdin, Stdio};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::process::{self, Channel, Process};
use crate::serve::running::Running;

/// Bytes read from a process at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// How long output is waited for after a process has ended: a child of it may hold the pipe for ever.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Runs a command in a container for a client.
pub(crate) async fn exec(
    handle: &PodHandle,
    container_id: &str,
    command: Vec<String>,
    tty: bool,
    mut streams: Streams,
) -> Result<ExitStatus, NodeError> {
    let mut spec = ExecSpec::new(command);
    spec.stdio = match (tty, streams.stdin.is_some()) {
        (true, _) => Stdio::Terminal { size: first_size(&mut streams) },
        (false, true) => Stdio::Pipes { stdin: Stdin::Once },
        (false, false) => Stdio::Pipes { stdin: Stdin::Empty },
    };
    spec.hang_up = true;
    let mut process = Process::start(handle, container_id, spec).await.map_err(refused)?;
    let files = Files {
        stdin: process.stdin.take(),
        stdout: process.stdout.take(),
        stderr: process.stderr.take(),
        terminal: process.terminal.take(),
    };
    let pumps = pump(files, streams)?;
    tokio::pin!(pumps);
    let exit = tokio::select! {
        exit = process.wait() => {
            drain(pumps).await;
            exit
        }
        // The output has ended before the process: then only its end is waited for.
        () = &mut pumps => process.wait().await,
    };
    exit.map(status).map_err(|error| NodeError::Internal(error.to_string()))
}

/// Connects a client to a container's own process until that ends.
pub(crate) async fn attach(
    handle: &PodHandle,
    running: &mut Running,
    mut streams: Streams,
) -> Result<ExitStatus, NodeError> {
    let (of, id) = (handle.clone(), running.container_id.clone());
    let attached = process::blocking(move || of.attach(&id)).await.and_then(|attached| attached);
    let attached = attached.map_err(refused)?;
    let resizes = streams.resize.take();
    let files =
        Files { stdin: attached.stdin, stdout: attached.stdout, stderr: attached.stderr, terminal: None };
    let resize = follow_sizes(handle.clone(), running.container_id.clone(), resizes);
    let pumps = pump(files, streams)?;
    tokio::pin!(pumps);
    let exit = tokio::select! {
        exit = running.exit() => {
            drain(pumps).await;
            exit
        }
        () = &mut pumps => running.exit().await,
        never = resize => match never {},
    };
    exit.ok_or_else(|| {
        NodeError::Internal("the pod was removed while a client was attached to it".to_owned())
    })
}

/// Waits for what a process that has ended wrote last.
async fn drain(pumps: impl Future<Output = ()>) {
    // A child of it may hold the pipe open: that is not waited for.
    drop(tokio::time::timeout(DRAIN_MAX, pumps).await);
}

/// Tells the container's terminal its size, whenever it changes.
async fn follow_sizes(
    handle: PodHandle,
    container_id: String,
    resizes: Option<mpsc::Receiver<TerminalSize>>,
) -> std::convert::Infallible {
    if let Some(mut resizes) = resizes {
        while let Some(size) = resizes.recv().await {
            let (of, id) = (handle.clone(), container_id.clone());
            // A container that has ended has no terminal any more.
            drop(process::blocking(move || of.resize(&id, size_of(size))).await);
        }
    }
    std::future::pending().await
}

struct Files {
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    terminal: Option<File>,
}

/// Moves bytes both ways; resolves when the process' output has ended.
fn pump(files: Files, streams: Streams) -> Result<impl Future<Output = ()>, NodeError> {
    let channel = |file: Option<File>| file.map(Channel::new).transpose();
    let failed = |error: std::io::Error| NodeError::Internal(format!("connect to the process: {error}"));
    let (stdin, stdout) = (channel(files.stdin).map_err(failed)?, channel(files.stdout).map_err(failed)?);
    let (stderr, terminal) =
        (channel(files.stderr).map_err(failed)?, channel(files.terminal).map_err(failed)?);
    let Streams { stdin: input, stdout: out, stderr: err, resize } = streams;
    Ok(async move {
        match terminal {
            Some(terminal) => {
                tokio::select! {
                    () = output(Some(&terminal), out) => {}
                    () = async {
                        tokio::join!(feed(Some(&terminal), input), resize_all(&terminal, resize));
                        std::future::pending::<()>().await;
                    } => {}
                }
            }
            None => {
                let input = async move {
                    feed(stdin.as_ref(), input).await;
                    // The end of the client's input is the end of the process'.
                    drop(stdin);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    ((), ()) = async { tokio::join!(output(stdout.as_ref(), out), output(stderr.as_ref(), err)) } => {}
                    () = input => {}
                }
            }
        }
    })
}

async fn feed(channel: Option<&Channel>, input: Option<mpsc::Receiver<Bytes>>) {
    let Some(mut input) = input else { return };
    while let Some(bytes) = input.recv().await {
        // A process that reads no more still runs: the rest of the input is thrown away, as a shell's pipe does.
        if let Some(channel) = channel
            && channel.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
}

async fn output(channel: Option<&Channel>, out: Option<mpsc::Sender<Bytes>>) {
    let Some(channel) = channel else { return };
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = channel.read(&mut buffer).await {
        if let Some(out) = &out
            && out.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err()
        {
            return;
        }
    }
}

async fn resize_all(terminal: &Channel, resizes: Option<mpsc::Receiver<TerminalSize>>) {
    let Some(mut resizes) = resizes else { return };
    while let Some(size) = resizes.recv().await {
        // A terminal that has ended has no size.
        drop(Process::resize(terminal.file(), size_of(size)));
    }
}

/// The client tells its size first; a terminal that starts with it does not have to redraw.
fn first_size(streams: &mut Streams) -> berth_runtime::TerminalSize {
    let size = streams.resize.as_mut().and_then(|resizes| resizes.try_recv().ok());
    size.map_or_else(Default::default, size_of)
}

fn size_of(size: TerminalSize) -> berth_runtime::TerminalSize {
    berth_runtime::TerminalSize { rows: size.height, columns: size.width }
}

fn status(exit: ExecExit) -> ExitStatus {
    exit.signal.map_or(ExitStatus::Code(exit.code), ExitStatus::Signal)
}

fn refused(error: Error) -> NodeError {
    match error {
        Error::Start(error) => NodeError::BadRequest(error.to_string()),
        Error::Conflict(message) => NodeError::NotReady(message),
        error @ Error::NotFound { .. } => NodeError::NotFound(error.to_string()),
        error => NodeError::Internal(error.to_string()),
    }
}
