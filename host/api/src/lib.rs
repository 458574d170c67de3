//! The Kubernetes API as data: one schema table, the catalogue of resources, and the pure functions over them.
//!
//! Nothing here does I/O, reads a clock or draws a random number: `now` and names are arguments.

pub mod column;
pub mod decode;
pub mod discovery;
pub mod encode;
pub mod honour;
pub mod kinds;
pub mod managed_fields;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod select;
pub mod status;
pub mod table;
pub mod time;
pub mod version;
pub mod views;

pub use column::Column;
pub use decode::{Decoded, Expected, FieldValidation, MediaType};
pub use patch::{Configuration, Patch, PatchType};
pub use quantity::Quantity;
pub use resource::{Catalogue, Kind, Resource, ResourceName, Scope};
pub use schema::Schema;
pub use select::{FieldSelector, Labels, Selector};
pub use status::{Cause, Problems, Reason, Status};
pub use time::Timestamp;
