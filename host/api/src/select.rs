//! Label and field selectors.

mod fields;
mod labels;
mod parse;

pub use fields::{FieldOperator, FieldRequirement, FieldSelector};
pub use labels::{Labels, Operator, Requirement, Selector};
