//! Reading a log, and waiting for more of it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Take};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_client::{ByteStream, NodeError, STREAM_CHUNKS_MAX};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::{Entry, Filter, LogFile, Wanted, names, open_all, tail};
use crate::process::register;

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 32 << 10;

/// Whether a container still writes its log.
pub(crate) trait Alive: Send + 'static {
    /// Resolves when it has ended.
    fn ended(&mut self) -> BoxFuture<'_, ()>;
}

/// The bytes of a log; with `alive`, as they come, until the container has ended.
pub(crate) fn stream(path: PathBuf, wanted: Wanted, alive: Option<Box<dyn Alive>>) -> ByteStream {
    let (sender, receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    tokio::spawn(async move {
        if let Err(error) = produce(&path, wanted, alive, &sender).await {
            let message = format!("read the log {}: {error}", path.display());
            // When the client is gone, nobody needs to know.
            drop(sender.send(Err(NodeError::Internal(message))).await);
        }
    });
    Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    }))
}

type Sender = mpsc::Sender<Result<Bytes, NodeError>>;

async fn produce(
    path: &Path,
    wanted: Wanted,
    alive: Option<Box<dyn Alive>>,
    sender: &Sender,
) -> io::Result<()> {
    // Watched before it is read: nothing written in between is missed.
    let watch = alive.is_some().then(|| Watch::new(path)).transpose()?;
    let reader = {
        let (path, follows) = (path.to_owned(), watch.is_some());
        blocking(move || Reader::open(&path, wanted, follows)).await?
    };
    let Some(mut reader) = read_all(reader, sender).await? else { return Ok(()) };
    let (Some(mut alive), Some(watch)) = (alive, watch) else { return Ok(()) };
    loop {
        let ended = tokio::select! {
            () = alive.ended() => true,
            changed = watch.changed() => changed.map(|()| false)?,
            () = sender.closed() => return Ok(()),
        };
        match read_all(reader, sender).await? {
            Some(rest) if !ended => reader = rest,
            _ => return Ok(()),
        }
    }
}

/// Sends all there is; `None` when the client has enough or is gone.
async fn read_all(mut reader: Reader, sender: &Sender) -> io::Result<Option<Reader>> {
    loop {
        let (back, chunk) = blocking(move || {
            let chunk = reader.chunk()?;
            Ok((reader, chunk))
        })
        .await?;
        reader = back;
        if chunk.is_empty() {
            return Ok(Some(reader));
        }
        if sender.send(Ok(chunk.into())).await.is_err() || reader.filter.is_full() {
            return Ok(None);
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads the files of a log one after the other, across rotations.
struct Reader {
    path: PathBuf,
    filter: Filter,
    /// Whether what is written from now on is wanted, too.
    follows: bool,
    /// Files that come after the open one.
    later: std::vec::IntoIter<LogFile>,
    file: Option<BufReader<Take<File>>>,
    inode: u64,
    /// The beginning of an entry that is being written.
    unfinished: Vec<u8>,
    /// Another file has taken the open one's place: nothing is added to it any more.
    is_complete: bool,
}

impl Reader {
    fn open(path: &Path, wanted: Wanted, follows: bool) -> io::Result<Reader> {
        let files = open_all(path)?;
        let (first, skip) = match wanted.tail_lines {
            Some(count) => tail(&files, count)?,
            None => (0, 0),
        };
        let later: Vec<LogFile> = files.into_iter().skip(first).collect();
        Ok(Reader {
            path: path.to_owned(),
            filter: Filter::new(wanted, skip),
            follows,
            later: later.into_iter(),
            file: None,
            inode: 0,
            unfinished: Vec::new(),
            is_complete: false,
        })
    }

    /// Goes on to the file after the present one, if the present one has been read to its end for good; false when there
    /// is nothing more for now.
    fn go_on(&mut self) -> io::Result<bool> {
        let next = match self.later.next() {
            Some(next) => next,
            None if !self.follows => return Ok(false),
            None => match self.successor()? {
                None => return Ok(false),
                // Something may have been added between its end and its rotation.
                Some(_) if self.file.is_some() && !self.is_complete => {
                    self.is_complete = true;
                    return Ok(true);
                }
                Some(next) => next,
            },
        };
        // One that is not followed ends where it did when it was asked for, however much its container writes.
        let end = if self.follows { u64::MAX } else { next.length };
        self.inode = next.inode;
        self.file = Some(BufReader::new(next.file.take(end)));
        self.unfinished.clear();
        self.is_complete = false;
        Ok(true)
    }

    /// The file that was begun when the present one was rotated.
    fn successor(&self) -> io::Result<Option<LogFile>> {
        /// Looks at a log that is rotated at the same time; each takes a container 10 MiB of writing.
        const LOOKS_MAX: u32 = 5;
        for _ in 0..LOOKS_MAX {
            let Some((name, inode)) = self.find_successor()? else { return Ok(None) };
            match LogFile::open(&name)? {
                Some(found) if found.inode == inode => return Ok(Some(found)),
                _ => {}
            }
        }
        Ok(None)
    }

    fn find_successor(&self) -> io::Result<Option<(PathBuf, u64)>> {
        let mut newer = None;
        for name in names(&self.path) {
            let inode = match fs::metadata(&name) {
                Ok(metadata) => metadata.ino(),
                // Between two steps of a rotation.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if inode == self.inode {
                return Ok(newer);
            }
            newer = Some((name, inode));
        }
        // It is gone: the oldest that is left comes next.
        Ok(newer)
    }

    /// The next piece; empty at the end of what there is.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && !self.filter.is_full() {
            let count = match &mut self.file {
                Some(file) => file.read_until(b'\n', &mut self.unfinished)?,
                None => 0,
            };
            if self.unfinished.ends_with(b"\n") {
                if let Some(entry) = Entry::parse(&self.unfinished) {
                    self.filter.push(&entry, &mut out);
                }
                self.unfinished.clear();
            } else if count == 0 && !self.go_on()? {
                break;
            }
        }
        Ok(out)
    }
}

/// Tells of changes in a log's directory.
struct Watch {
    inotify: AsyncFd<Descriptor>,
}

struct Descriptor(Inotify);

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    fn new(path: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let directory = path.parent().unwrap_or(path);
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(directory, flags)?;
        Ok(Watch { inotify: register(Descriptor(inotify))? })
    }

    /// Resolves when something has been written since the last time.
    async fn changed(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        // Only that there are events counts; they are all taken, so that the next ones are news.
        while self.inotify.get_ref().0.read_events().is_ok_and(|events| !events.is_empty()) {}
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use berth_runtime::LOG_FILES_MAX;

    use super::*;

    /// A log as a shim writes it.
    struct Log {
        directory: tempfile::TempDir,
        file: File,
        lines: u32,
    }

    impl Log {
        fn new() -> Log {
            let directory = tempfile::tempdir().unwrap();
            let file = File::create(directory.path().join("0.log")).unwrap();
            Log { directory, file, lines: 0 }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("0.log")
        }

        /// Lines `1`, `2` and so on.
        fn write(&mut self, count: u32) {
            for _ in 0..count {
                self.lines += 1;
                self.put(&format!("2026-01-01T00:00:00.000000001Z stdout F {}\n", self.lines));
            }
        }

        fn put(&mut self, text: &str) {
            self.file.write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&mut self) {
            let all: Vec<PathBuf> = names(&self.path()).collect();
            for (newer, older) in all.iter().zip(&all[1..]).rev() {
                if newer.exists() {
                    fs::rename(newer, older).unwrap();
                }
            }
            self.file = File::create(self.path()).unwrap();
        }

        fn open(&self, tail: Option<u64>, follows: bool) -> Reader {
            let wanted = Wanted { tail_lines: tail, ..Wanted::default() };
            Reader::open(&self.path(), wanted, follows).unwrap()
        }
    }

    /// Everything there is, with spaces for newlines.
    fn rest(reader: &mut Reader) -> String {
        let mut all = Vec::new();
        loop {
            match reader.chunk().unwrap() {
                chunk if chunk.is_empty() => break,
                chunk => all.extend(chunk),
            }
        }
        String::from_utf8(all).unwrap().trim_end().replace('\n', " ")
    }

    #[test]
    fn a_log_that_is_not_followed_ends_where_it_did_when_it_was_asked_for() {
        for (tail, expected) in [
            (None, "1 2 3 4 5 6"),
            (Some(0), ""),
            (Some(1), "6"),
            (Some(3), "4 5 6"),
            (Some(4), "3 4 5 6"),
            (Some(100), "1 2 3 4 5 6"),
        ] {
            let mut log = Log::new();
            log.write(3);
            log.rotate();
            log.write(3);
            let mut reader = log.open(tail, false);
            log.write(2);
            assert_eq!(rest(&mut reader), expected, "{tail:?}");
        }
    }

    #[test]
    fn a_followed_log_begins_at_its_tail_and_goes_on() {
        let mut log = Log::new();
        log.write(5);
        let (mut two, mut none) = (log.open(Some(2), true), log.open(Some(0), true));
        assert_eq!((rest(&mut two).as_str(), rest(&mut none).as_str()), ("4 5", ""));
        log.write(2);
        assert_eq!((rest(&mut two).as_str(), rest(&mut none).as_str()), ("6 7", "6 7"));
        log.put("2026-01-01T00:00:00.000000001Z std");
        assert_eq!(rest(&mut two), "", "an entry that is being written");
        log.put("out F whole\n");
        assert_eq!(rest(&mut two), "whole");
    }

    #[test]
    fn rotations_lose_and_repeat_nothing() {
        let mut log = Log::new();
        log.write(2);
        let mut slow = log.open(None, true);
        assert_eq!(rest(&mut slow), "1 2");
        // What was added before the rotation is in a file that has another name by now.
        log.write(1);
        for _ in 0..3 {
            log.rotate();
            log.write(2);
        }
        assert_eq!(rest(&mut slow), "3 4 5 6 7 8 9");
        let mut whole = log.open(None, false);
        log.rotate();
        log.write(1);
        assert_eq!(rest(&mut whole), "1 2 3 4 5 6 7 8 9");
        log.rotate();
        log.write(1);
        assert_eq!(rest(&mut slow), "10 11");
        for _ in 0..LOG_FILES_MAX {
            log.rotate();
            log.write(1);
        }
        assert_eq!(rest(&mut slow), "12 13 14 15 16", "its file is gone, and the oldest goes on");
    }

    #[test]
    fn pieces_of_a_line_are_one_line() {
        let mut log = Log::new();
        let piece = |tag: &str, text: &str| format!("2026-01-01T00:00:00.000000001Z stdout {tag} {text}\n");
        log.write(1);
        log.put(&piece("P", "lo"));
        log.rotate();
        log.put(&piece("F", "ng"));
        log.put(&piece("P", "unfini"));
        for (tail, expected) in [(0, ""), (1, "unfini"), (2, "long unfini"), (3, "1 long unfini")] {
            assert_eq!(rest(&mut log.open(Some(tail), false)), expected, "{tail}");
        }
        let mut reader = log.open(Some(0), true);
        assert_eq!(rest(&mut reader), "");
        log.put(&piece("F", "shed"));
        log.write(1);
        assert_eq!(rest(&mut reader), "2", "the rest of a line that had begun is none");
    }
}
