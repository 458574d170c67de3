//! The Kubernetes API as data: one schema table, the catalogue of resources, and the pure functions over them.
//!
//! Nothing here does I/O, reads a clock or draws a random number: `now` and names are arguments.

pub mod kinds;
pub mod resource;
pub mod status;
pub mod time;

pub use resource::{Behaviour, Catalogue, Resource, ResourceName, Scope};
pub use status::{Cause, Problems, Reason, Status};
pub use time::Timestamp;
