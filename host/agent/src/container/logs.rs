//! Container logs: lines of the Container Runtime Interface, over several files.

mod follow;
mod lines;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
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

/// A file of a log, held open: it stays the same whatever it is called by then.
struct LogFile {
    file: File,
    inode: u64,
    /// What was in it when it was opened.
    length: u64,
}

impl LogFile {
    /// `None` when there is none of that name.
    fn open(path: &Path) -> io::Result<Option<LogFile>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let metadata = file.metadata()?;
        Ok(Some(LogFile { file, inode: metadata.ino(), length: metadata.len() }))
    }
}

/// The names of a log's files, the newest first.
fn names(path: &Path) -> impl Iterator<Item = PathBuf> {
    let rotated = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    std::iter::once(path.to_owned()).chain((1..LOG_FILES_MAX).map(rotated))
}

/// The files of a log that are there, the oldest first. They are opened in the other order: one that is rotated
/// meanwhile is met twice then, and not missed.
fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    for name in names(path) {
        let Some(found) = LogFile::open(&name)? else { continue };
        if files.iter().all(|known| known.inode != found.inode) {
            files.push(found);
        }
    }
    files.reverse();
    Ok(files)
}

/// Where the last `count` lines begin: a file, and how many lines that end in it or later come before them.
fn tail(files: &[LogFile], count: u64) -> io::Result<(usize, u64)> {
    let mut missing = count;
    for (index, file) in files.iter().enumerate().rev() {
        let (ended, is_unfinished) = count_lines(file)?;
        // A line that is still being written is one, too.
        let lines = ended + u64::from(is_unfinished && index + 1 == files.len());
        // Of just as many the first may have begun in the file before.
        if lines > missing {
            return Ok((index, lines - missing));
        }
        missing -= lines;
    }
    Ok((0, 0))
}

/// How many lines end in a file, and whether another one has begun.
fn count_lines(file: &LogFile) -> io::Result<(u64, bool)> {
    let mut shared = &file.file;
    let mut reader = BufReader::new(shared.take(file.length));
    let (mut line, mut ended, mut is_unfinished) = (Vec::new(), 0, false);
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Some(entry) = Entry::parse(&line) {
            ended += u64::from(entry.is_whole);
            is_unfinished = !entry.is_whole;
        }
        line.clear();
    }
    shared.rewind()?;
    Ok((ended, is_unfinished))
}
