//! Custom resources: from a CustomResourceDefinition of `apiextensions.k8s.io/v1` to a kind that is served.
//!
//! Nothing here does I/O, reads a clock or draws a random number. What strangers write, schemas and objects alike, is
//! bounded in size when it is read and in work when it is used ([`work`]).

mod columns;
mod definition;
mod faults;
mod field_path;
mod formats;
mod json_path;
mod kind;
mod kinds;
mod names;
mod openapi;
mod passes;
mod path;
mod pattern;
mod rows;
mod rules;
mod scale;
mod structural;
mod work;

pub use definition::{conditions, definitions, is_established};
pub use kinds::{by_stability, kinds_of};
pub use passes::{default, prune, validate};
pub use structural::{Additional, JsonType, ListType, Rule, SchemaError, Structural};
