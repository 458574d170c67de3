//! Reading a log, and waiting for more of it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_client::{ByteStream, NodeError, STREAM_CHUNKS_MAX};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::{Entry, Filter, Wanted, files, tail};
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
        let path = path.to_owned();
        blocking(move || Reader::open(&path, wanted)).await?
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
    /// Files that come after the open one.
    later: std::vec::IntoIter<PathBuf>,
    file: Option<BufReader<File>>,
    inode: u64,
    offset: u64,
}

impl Reader {
    fn open(path: &Path, wanted: Wanted) -> io::Result<Reader> {
        let files = files(path);
        let (first, skip) = match wanted.tail_lines {
            Some(count) if !files.is_empty() => tail(&files, count)?,
            _ => (0, 0),
        };
        let later: Vec<PathBuf> = files.into_iter().skip(first).collect();
        let filter = Filter::new(wanted, skip);
        let mut reader = Reader {
            path: path.to_owned(),
            filter,
            later: later.into_iter(),
            file: None,
            inode: 0,
            offset: 0,
        };
        reader.next_file()?;
        Ok(reader)
    }

    /// Opens the file after the present one; false when there is none.
    fn next_file(&mut self) -> io::Result<bool> {
        let next = match self.later.next() {
            Some(path) => path,
            // Rotated since: the present name is another file.
            None => match fs::metadata(&self.path) {
                Ok(metadata) if metadata.ino() != self.inode => self.path.clone(),
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        let file = match File::open(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        self.inode = file.metadata()?.ino();
        self.offset = 0;
        self.file = Some(BufReader::new(file));
        Ok(true)
    }

    /// The next piece; empty at the end of what there is.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut line = Vec::new();
        while out.len() < CHUNK_BYTES && !self.filter.is_full() {
            line.clear();
            let count = match &mut self.file {
                Some(file) => file.read_until(b'\n', &mut line)?,
                None => 0,
            };
            if count > 0 && line.ends_with(b"\n") {
                self.offset += count as u64;
                if let Some(entry) = Entry::parse(&line) {
                    self.filter.push(&entry, &mut out);
                }
                continue;
            }
            // An entry that is being written is read again when it is complete.
            if count > 0
                && let Some(file) = &mut self.file
            {
                file.seek(SeekFrom::Start(self.offset))?;
            }
            if !self.next_file()? {
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
