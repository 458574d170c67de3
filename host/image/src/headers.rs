//! A bound on what an archive's headers may hold in memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// The most bytes an entry's headers (long names, PAX records, sparse maps) may take: they are held in memory.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// A reader that refuses to go on once the budget for headers is used up.
pub(crate) struct Budget<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// The other end of a [`Budget`]: whoever reads an archive says what it reads.
pub(crate) struct Spender(Rc<Cell<u64>>);

impl<R> Budget<R> {
    pub(crate) fn new(inner: R) -> (Budget<R>, Spender) {
        let left = Rc::new(Cell::new(HEADER_BYTES_MAX));
        (Budget { inner, left: Rc::clone(&left) }, Spender(left))
    }
}

impl Spender {
    /// An entry's headers come next.
    pub(crate) fn headers(&self) {
        self.0.set(HEADER_BYTES_MAX);
    }

    /// Its content comes next.
    pub(crate) fn content(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "an entry's headers are larger than {HEADER_BYTES_MAX} bytes"
            )));
        }
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..length])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}
