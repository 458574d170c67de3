//! The hook between values and the disk: nothing today, encryption at rest later.

use berth_state::Key;
use bytes::Bytes;

/// What is done to values on their way to the disk and back. The key is given so that an encryption can bind a value
/// to its place.
pub trait Transform: Send + Sync {
    /// What is written for `value`.
    fn seal(&self, key: &Key, value: &Bytes) -> Bytes;

    /// What was sealed.
    ///
    /// # Errors
    /// One sentence when it cannot be opened.
    fn open(&self, key: &Key, sealed: Bytes) -> Result<Bytes, String>;
}

/// Values are written as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Transform for Plain {
    fn seal(&self, _: &Key, value: &Bytes) -> Bytes {
        value.clone()
    }

    fn open(&self, _: &Key, sealed: Bytes) -> Result<Bytes, String> {
        Ok(sealed)
    }
}
