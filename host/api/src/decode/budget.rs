//! What a body may become while it is read and changed.
//!
//! The size of a body says little about what it makes: an alias in YAML repeats a megabyte in three bytes, `[[[[` is a
//! list of its own every byte, a `copy` in a patch doubles. So every reader and every patch pays for what it makes out of one
//! budget, before it makes it.

use std::cell::Cell;

use berth_json::Value;

use crate::status::{Reason, Status};

/// How much memory one body may become: ten times the largest body. An object that can be stored is far below it: a
/// pod with a thousand containers needs 3 MB.
pub const EXPANDED_BYTES_MAX: usize = 32 << 20;

/// How many elements may be looked at or moved for one body, so that no order of small operations is slow: well under
/// a second, and twenty for each node that fits into [`EXPANDED_BYTES_MAX`].
pub const STEPS_MAX: usize = 10_000_000;

/// What a value takes in the list or map that it stands in, a growing list's spare room included.
pub(crate) const NODE_BYTES: usize = 64;

/// What the first element of a list or map costs besides: an allocation of its own, with room for four.
pub(crate) const CONTAINER_BYTES: usize = 192;

/// What a struct of the schema costs besides: defaults fill even an empty one (a container `{}` gets eight fields), and
/// what is wrong with it is told.
pub(crate) const STRUCT_BYTES: usize = 512;

/// How many neighbouring values are moved in the time in which one is looked at.
const MOVED_PER_STEP: usize = 16;

/// What is left of [`EXPANDED_BYTES_MAX`] and [`STEPS_MAX`].
///
/// Once it is [spent](Budget::is_spent) it stays so: readers give up with whatever error they have, and whoever gave them
/// the budget asks it first.
#[derive(Debug)]
pub struct Budget {
    bytes: Cell<usize>,
    steps: Cell<usize>,
    spent: Cell<bool>,
}

/// There is no budget left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the body becomes too large when it is read: more than {EXPANDED_BYTES_MAX} bytes or {STEPS_MAX} steps"
)]
pub struct Spent;

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: Cell::new(EXPANDED_BYTES_MAX), steps: Cell::new(STEPS_MAX), spent: Cell::new(false) }
    }
}

impl Budget {
    /// Pays for memory.
    ///
    /// # Errors
    /// When there is not enough left; nothing is paid for from then on.
    pub fn bytes(&self, bytes: usize) -> Result<(), Spent> {
        self.pay(&self.bytes, bytes)
    }

    /// Pays for looking at elements.
    ///
    /// # Errors
    /// As [`Budget::bytes`].
    pub fn steps(&self, steps: usize) -> Result<(), Spent> {
        self.pay(&self.steps, steps)
    }

    /// Pays for making room in a list, or closing a gap, in front of `moved` elements.
    ///
    /// # Errors
    /// As [`Budget::bytes`].
    pub fn moves(&self, moved: usize) -> Result<(), Spent> {
        self.steps(1 + moved / MOVED_PER_STEP)
    }

    /// How much memory may still be used.
    pub fn bytes_left(&self) -> usize {
        self.bytes.get()
    }

    /// Whether something could not be paid for.
    pub fn is_spent(&self) -> bool {
        self.spent.get()
    }

    fn pay(&self, from: &Cell<usize>, amount: usize) -> Result<(), Spent> {
        let left = if self.spent.get() { None } else { from.get().checked_sub(amount) };
        self.spent.set(left.is_none());
        from.set(left.unwrap_or(0));
        left.map(drop).ok_or(Spent)
    }
}

impl From<Spent> for Status {
    fn from(spent: Spent) -> Self {
        Self::new(Reason::RequestEntityTooLarge, format!("Request entity too large: {spent}"))
    }
}

/// What a value that is there already is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// What another copy of it costs.
    pub(crate) bytes: usize,
    /// How many levels stand below it.
    pub(crate) height: usize,
}

impl Extent {
    /// Measures a value; every value in it is a step.
    ///
    /// # Errors
    /// When the steps are spent.
    pub(crate) fn of(value: &Value, budget: &Budget) -> Result<Self, Spent> {
        budget.steps(1)?;
        let mut whole = Self { bytes: NODE_BYTES, height: 0 };
        match value {
            Value::String(text) => whole.bytes += text.len(),
            Value::Array(values) => {
                whole.bytes += CONTAINER_BYTES;
                values.iter().try_for_each(|inner| whole.contain(0, inner, budget))?;
            }
            Value::Object(fields) => {
                whole.bytes += CONTAINER_BYTES;
                fields.iter().try_for_each(|(key, inner)| whole.contain(key.len(), inner, budget))?;
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(whole)
    }

    fn contain(&mut self, key_bytes: usize, inner: &Value, budget: &Budget) -> Result<(), Spent> {
        let inner = Self::of(inner, budget)?;
        self.bytes += key_bytes + inner.bytes;
        self.height = self.height.max(inner.height + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_stays_spent() {
        let budget = Budget::default();
        assert_eq!(budget.bytes(EXPANDED_BYTES_MAX), Ok(()));
        assert_eq!(budget.steps(1), Ok(()));
        assert!(!budget.is_spent());
        assert_eq!(budget.bytes(1), Err(Spent));
        assert_eq!((budget.bytes(0), budget.steps(0)), (Err(Spent), Err(Spent)));
        assert_eq!(Status::from(Spent).code, 413);
    }

    #[test]
    fn a_value_is_measured() {
        let value = berth_json::json!({"key": [["text"], 1]});
        let extent = Extent::of(&value, &Budget::default()).unwrap();
        assert_eq!(
            extent,
            Extent { bytes: 5 * NODE_BYTES + 3 * CONTAINER_BYTES + "keytext".len(), height: 3 }
        );
    }

    #[test]
    fn moving_is_cheaper_than_looking() {
        let budget = Budget::default();
        assert_eq!(budget.moves(STEPS_MAX), Ok(()));
        assert_eq!(budget.steps(STEPS_MAX), Err(Spent));
    }
}
