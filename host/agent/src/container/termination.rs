//! How the end of a container is told.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use berth_api::time::Timestamp;
use berth_runtime::{ExitCause, ExitStatus};
use serde::{Deserialize, Serialize};

use crate::clock::{micros, stamp};
use crate::container::logs::last_lines;
use crate::container::spec::ContainerPaths;
use crate::manifest::Container;

/// Bytes of last words that are kept: the kubelet's limits, from the file and from the log.
const FILE_BYTES_MAX: u64 = 4096;
const LOG_BYTES_MAX: u64 = 2048;
const LOG_LINES_MAX: usize = 80;

/// How an instance of a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Termination {
    pub(crate) id: String,
    pub(crate) exit_code: i32,
    /// 0: none.
    pub(crate) signal: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    #[serde(with = "micros")]
    pub(crate) started_at: Timestamp,
    #[serde(with = "micros")]
    pub(crate) finished_at: Timestamp,
}

/// The end of a container that ran.
pub(crate) fn of(
    container: &Container,
    id: &str,
    status: &ExitStatus,
    paths: &ContainerPaths,
) -> Termination {
    let finished_at = stamp(status.finished_at);
    Termination {
        id: id.to_owned(),
        exit_code: status.code,
        signal: status.signal.unwrap_or(0),
        reason: reason(status).to_owned(),
        message: message(container, status, paths),
        started_at: status.started_at.map_or(finished_at, stamp),
        finished_at,
    }
}

fn reason(status: &ExitStatus) -> &'static str {
    match status.cause {
        ExitCause::Lost if !status.oom_killed => "ContainerStatusUnknown",
        _ if status.oom_killed => "OOMKilled",
        ExitCause::NeverStarted => "StartError",
        ExitCause::Observed | ExitCause::Lost if status.code == 0 => "Completed",
        ExitCause::Observed | ExitCause::Lost => "Error",
    }
}

/// The end of a container that nobody saw.
pub(crate) fn lost(id: &str, started_at: Timestamp, now: Timestamp) -> Termination {
    Termination {
        id: id.to_owned(),
        exit_code: 137,
        signal: 0,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at,
        finished_at: now,
    }
}

/// The end of a container whose program could not be executed.
pub(crate) fn never_started(id: String, exit_code: i32, message: String, now: Timestamp) -> Termination {
    let (reason, epoch) = ("StartError".to_owned(), Timestamp::from_seconds(0));
    Termination { id, exit_code, signal: 0, reason, message, started_at: epoch, finished_at: now }
}

/// What the container wrote about its end, or where the pod asks for it and it failed, the end of its log.
fn message(container: &Container, status: &ExitStatus, paths: &ContainerPaths) -> String {
    let written = tail(&paths.termination_log(), FILE_BYTES_MAX).unwrap_or_default();
    if !written.is_empty()
        || container.termination_message_policy != "FallbackToLogsOnError"
        || status.code == 0
    {
        return written;
    }
    let log = tail(&paths.log, LOG_BYTES_MAX * 4).unwrap_or_default();
    let text = last_lines(&log, LOG_LINES_MAX);
    let mut begin = text.len().saturating_sub(usize::try_from(LOG_BYTES_MAX).unwrap_or(usize::MAX));
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    text[begin..].to_owned()
}

fn tail(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
