//! Log lines. Pure.

use berth_api::time::Timestamp;

use super::Wanted;

/// `<time> <stream> <F|P> <text>`.
pub(super) struct Entry<'a> {
    pub(super) time: &'a str,
    /// False for a piece of a line that goes on in the next entry.
    pub(super) is_whole: bool,
    /// Without the newline.
    pub(super) text: &'a [u8],
}

impl Entry<'_> {
    /// Reads one line of a log file; `None` for one that is not finished, or damaged.
    pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
        let line = line.strip_suffix(b"\n")?;
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let is_whole = parts.next()? == b"F";
        Some(Entry { time, is_whole, text: parts.next().unwrap_or_default() })
    }
}

/// Turns log entries into what the client wants to see of them.
pub(super) struct Filter {
    wanted: Wanted,
    /// Whole lines still to be left out.
    skip: u64,
    at_line_start: bool,
    /// The line that is being read is too old.
    too_old: bool,
    left_bytes: u64,
}

impl Filter {
    pub(super) fn new(wanted: Wanted, skip: u64) -> Filter {
        let left_bytes = wanted.limit_bytes.unwrap_or(u64::MAX);
        Filter { wanted, skip, at_line_start: true, too_old: false, left_bytes }
    }

    /// Whether the client has all it wanted.
    pub(super) fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    /// Adds what is to be seen of an entry.
    pub(super) fn push(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        if self.skip > 0 {
            self.skip -= u64::from(entry.is_whole);
            return;
        }
        let is_first = std::mem::replace(&mut self.at_line_start, entry.is_whole);
        if is_first {
            let time = self.wanted.since.and_then(|since| Some((since, Timestamp::parse(entry.time)?)));
            self.too_old = time.is_some_and(|(since, time)| time < since);
        }
        if self.too_old {
            return;
        }
        if self.wanted.timestamps && is_first {
            self.put(entry.time.as_bytes(), out);
            self.put(b" ", out);
        }
        self.put(entry.text, out);
        if entry.is_whole {
            self.put(b"\n", out);
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let taken = &bytes[..bytes.len().min(room)];
        out.extend_from_slice(taken);
        self.left_bytes -= taken.len() as u64;
    }
}

/// The texts of the last lines of a piece of a log.
pub(crate) fn last_lines(log: &str, count: usize) -> String {
    let mut text = Vec::new();
    let mut filter = Filter::new(Wanted::default(), 0);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let from = lines.len().saturating_sub(count);
    for entry in lines[from..].iter().filter_map(|line| Entry::parse(line.as_bytes())) {
        filter.push(&entry, &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:00.000000001Z stdout F one\n\
        2026-01-01T00:00:01.000000001Z stdout P tw\n\
        2026-01-01T00:00:02.000000001Z stdout F o\n\
        2026-01-01T00:00:03.000000001Z stderr F \n\
        2026-01-01T00:00:04.000000001Z stdout F th";

    fn see(wanted: Wanted, skip: u64) -> String {
        let (mut filter, mut out) = (Filter::new(wanted, skip), vec![]);
        for entry in LOG.split_inclusive('\n').filter_map(|line| Entry::parse(line.as_bytes())) {
            filter.push(&entry, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_are_joined_and_an_unfinished_entry_waits() {
        assert_eq!(see(Wanted::default(), 0), "one\ntwo\n\n");
        assert_eq!(see(Wanted::default(), 1), "two\n\n");
    }

    #[test]
    fn times_since_and_limits() {
        let timed = see(Wanted { timestamps: true, ..Wanted::default() }, 0);
        assert!(
            timed.starts_with("2026-01-01T00:00:00.000000001Z one\n2026-01-01T00:00:01.000000001Z two\n")
        );
        for (since, expected) in [("00:00:03", "\n"), ("00:00:02", "\n"), ("00:00:01", "two\n\n")] {
            let since = Timestamp::parse(&format!("2026-01-01T{since}Z"));
            assert_eq!(
                see(Wanted { since, ..Wanted::default() }, 0),
                expected,
                "a line has its first piece's time"
            );
        }
        assert_eq!(see(Wanted { limit_bytes: Some(5), ..Wanted::default() }, 0), "one\nt");
        assert_eq!(last_lines(LOG, 3), "o\n\n");
    }
}
