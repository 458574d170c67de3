//! A container's log, in the format of the Container Runtime Interface: `<time> <stream> <F|P> <text>`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::spec::{LOG_BYTES_MAX, LOG_FILES_MAX};

/// Longest line in one piece; containerd cuts at the same length.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogStream {
    Stdout,
    Stderr,
}

impl LogStream {
    fn name(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        }
    }
}

/// The current file.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    size_bytes_max: u64,
    /// Set while writing fails, so that one complaint is made and not thousands.
    failing: bool,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Log> {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        let file = File::options().append(true).create(true).mode(0o640).open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Log { path: path.to_owned(), file, size_bytes, size_bytes_max: LOG_BYTES_MAX, failing: false })
    }

    /// Opens the path anew, after somebody has moved the file away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let size_bytes_max = self.size_bytes_max;
        *self = Log::open(&self.path)?;
        self.size_bytes_max = size_bytes_max;
        Ok(())
    }

    /// Writes whole entries. A full disk loses lines; it must not stop the container.
    fn write(&mut self, entries: &[u8]) {
        match self.try_write(entries) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                eprintln!("write the log {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn try_write(&mut self, entries: &[u8]) -> io::Result<()> {
        if self.size_bytes > 0 && self.size_bytes + entries.len() as u64 > self.size_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.size_bytes += entries.len() as u64;
        Ok(())
    }

    /// `log` becomes `log.1`, that becomes `log.2`, and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..LOG_FILES_MAX - 1).rev() {
            rename_if_there(&numbered(number), &numbered(number + 1))?;
        }
        rename_if_there(&self.path, &numbered(1))?;
        self.reopen()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Cuts a stream into log entries. What has no newline yet waits for it, up to [`LINE_BYTES_MAX`].
pub(super) struct Lines {
    stream: LogStream,
    partial: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stream: LogStream) -> Lines {
        Lines { stream, partial: Vec::new() }
    }

    /// Logs what has been read.
    pub(super) fn write(&mut self, log: &mut Log, mut bytes: &[u8], now: SystemTime) {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        let time = rfc3339(now);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&mut entries, &time, &bytes[..end]);
            self.entry(&mut entries, &time, "F");
            bytes = &bytes[end + 1..];
        }
        self.take(&mut entries, &time, bytes);
        if !entries.is_empty() {
            log.write(&entries);
        }
    }

    /// Adds text to the current line, putting out full pieces of it.
    fn take(&mut self, entries: &mut Vec<u8>, time: &str, mut text: &[u8]) {
        while self.partial.len() + text.len() > LINE_BYTES_MAX {
            let (now, later) = text.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(now);
            self.entry(entries, time, "P");
            text = later;
        }
        self.partial.extend_from_slice(text);
    }

    fn entry(&mut self, entries: &mut Vec<u8>, time: &str, tag: &str) {
        entries.extend_from_slice(format!("{time} {} {tag} ", self.stream.name()).as_bytes());
        entries.append(&mut self.partial);
        entries.push(b'\n');
    }

    /// The stream has ended: a line without its newline is partial for ever.
    pub(super) fn finish(&mut self, log: &mut Log, now: SystemTime) {
        if !self.partial.is_empty() {
            let mut entries = Vec::new();
            self.entry(&mut entries, &rfc3339(now), "P");
            log.write(&entries);
        }
    }
}

/// RFC 3339 in UTC with nine digits, as the CRI has it.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let mut text = format!("{year:04}-{month:02}-{day:02}T");
    // Writing to a string cannot fail.
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let _ = write!(text, ".{:09}Z", since.subsec_nanos());
    text
}

/// Year, month and day of a day since 1970, by the proleptic Gregorian calendar (Howard Hinnant's algorithm, with
/// years that begin in March so that the leap day is the last).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, nanoseconds: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanoseconds)
    }

    #[test]
    fn times_are_rfc3339() {
        assert_eq!(rfc3339(at(0, 0)), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(at(951_782_399, 5)), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(rfc3339(at(951_782_400, 0)), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(rfc3339(at(4_107_542_399, 999_999_999)), "2100-02-28T23:59:59.999999999Z");
    }

    /// What is in the log after these writes, without the times.
    fn logged(writes: &[&[u8]]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod/0.log");
        let mut log = Log::open(&path).unwrap();
        let mut lines = Lines::new(LogStream::Stdout);
        for bytes in writes {
            lines.write(&mut log, bytes, at(0, 0));
        }
        lines.finish(&mut log, at(0, 0));
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_cut_at_newlines_however_they_arrive() {
        assert_eq!(
            logged(&[b"one\ntwo\nthr", b"ee\n\n", b"end"]),
            ["stdout F one", "stdout F two", "stdout F three", "stdout F ", "stdout P end"]
        );
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let long = vec![b'x'; LINE_BYTES_MAX + 3];
        let entries = logged(&[&long, b"y\n"]);
        let lengths: Vec<usize> = entries.iter().map(String::len).collect();
        assert_eq!(lengths, ["stdout P ".len() + LINE_BYTES_MAX, "stdout F ".len() + 4]);
        assert!(entries[1].ends_with("F xxxy"));
        let exact = [vec![b'x'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        assert!(logged(&[&exact])[0].starts_with("stdout F "), "a line that just fits is whole");
    }

    #[test]
    fn files_are_rotated_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        log.size_bytes_max = 100;
        for number in 0..20 {
            log.write(format!("entry {number:02} {}\n", "x".repeat(50)).as_bytes());
        }
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"]);
        assert!(fs::read_to_string(&path).unwrap().starts_with("entry 19"));
        assert!(fs::read_to_string(directory.path().join("0.log.4")).unwrap().starts_with("entry 15"));
    }
}
