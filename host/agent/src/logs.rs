//! Container logs: lines of the Container Runtime Interface, over several files.

mod follow;
mod lines;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use berth_api::time::Timestamp;
use berth_client::{LogRequest, LogSince};
use berth_runtime::LOG_FILES_MAX;

pub(crate) use follow::{Alive, stream};
pub(crate) use lines::last_lines;
use lines::{Entry, Filter};

/// What is wanted of a log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit_bytes: Option<u64>,
}

impl Wanted {
    /// # Errors
    /// When `sinceTime` is no time.
    pub(crate) fn of(request: &LogRequest, now: Timestamp) -> Result<Wanted, String> {
        let since = match &request.since {
            None => None,
            Some(LogSince::Seconds(seconds)) => {
                Some(now.plus_millis(-i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000)))
            }
            Some(LogSince::Time(text)) => Some(
                Timestamp::parse(text)
                    .ok_or_else(|| format!("sinceTime {text:?} is not an RFC 3339 time"))?,
            ),
        };
        let LogRequest { timestamps, tail_lines, limit_bytes, .. } = *request;
        Ok(Wanted { timestamps, tail_lines, since, limit_bytes })
    }
}

/// The files of a log that are there, the oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    let all = (1..LOG_FILES_MAX).rev().map(numbered).chain([path.to_owned()]);
    all.filter(|path| path.exists()).collect()
}

/// Where the last `count` lines begin: a file, and how many of its whole lines come before them.
fn tail(files: &[PathBuf], count: u64) -> io::Result<(usize, u64)> {
    let mut missing = count;
    for (index, file) in files.iter().enumerate().rev() {
        let lines = count_lines(file)?;
        if lines >= missing {
            return Ok((index, lines - missing));
        }
        missing -= lines;
    }
    Ok((0, 0))
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut line, mut count) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        count += u64::from(Entry::parse(&line).is_some_and(|entry| entry.is_whole));
        line.clear();
    }
    Ok(count)
}
