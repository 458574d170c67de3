//! Revisions, changes, the in-memory state, and the trait that every durable store stands behind.
//!
//! Pure: no I/O, no clock, no async runtime. The one writer stages commits with a [`Ledger`], makes them durable
//! through a [`Store`], and only then publishes them to a [`State`]; everybody else sees published changes only.

mod change;
pub mod conformance;
mod history;
mod key;
mod ledger;
mod memory;
mod meta;
mod state;
mod store;
mod stored;
mod table;
mod viewed;

pub use change::{Change, Revision};
pub use key::Key;
pub use ledger::{Action, Commit, CommitError, Expect, Fence, Ledger, Need, Op};
pub use memory::MemoryStore;
pub use meta::{Meta, Owner};
pub use state::State;
pub use store::{BlobFuture, Blobs, Entry, Record, Refused, Store, StoreError};
pub use stored::{Draft, EncodeError, Stored, StoredField};
