//! What is done to a custom resource with its schema: unknown fields are pruned, defaults filled in, the rest judged.

mod correlate;
mod default;
mod embedded;
mod lists;
mod numbers;
mod prune;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use correlate::{OldElements, is_unchanged};
pub use default::default;
pub use prune::prune;
pub(crate) use prune::prune_place;
pub use validate::validate;
pub(crate) use validate::{judge, validate_embedded, validate_fields, validate_lists, validate_part};
