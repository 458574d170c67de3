//! The durable store: SQLite behind [`berth_state::Store`].

use berth_state::StoreError;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens the store at `location`, a path or `sqlite:<path>`; makes it, with its directory, when it is not there.
    ///
    /// # Errors
    /// When another berth has it open, when it is no database of berth's, is damaged, or was written by a newer berth.
    pub async fn open(location: &str) -> Result<Self, StoreError> {
        let _ = location;
        unimplemented!()
    }
}
