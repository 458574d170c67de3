//! A JSON value that is cheap to build, to search, to copy and to drop.
//!
//! Every write of the API is a tree of JSON for a moment: decoded, completed, checked, compared, encoded. Kubernetes'
//! objects are many small maps of short strings, so here a map is one sorted list in one allocation, and a string of up to
//! 24 bytes is none at all. The interface is the part of `serde_json`'s that such code uses, with the same meaning; texts
//! are read and written by `serde_json` itself.

mod convert;
mod deserialize;
mod index;
mod macros;
mod map;
mod serialize;
mod value;

pub use convert::{ToValue, from_value};
pub use index::Place;
pub use map::{Entry, Iter, Map};
pub use serde_json::Number;
pub use value::Value;

/// A string that needs no allocation while it is short: up to 24 bytes.
pub type Text = compact_str::CompactString;
