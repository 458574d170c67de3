//! What an evaluation may take. Kubernetes' costs decide what is refused where kube-apiserver refuses it too; but they
//! count the joining of two lists as one and comparing as the length of the outermost list, so the real work and memory
//! have limits of their own.

use std::cell::Cell;

use crate::error::EvalError;

/// The most that one evaluation may cost, as Kubernetes counts.
pub const CALL_COST_MAX: u64 = 1_000_000;
/// The most that all rules of one object may cost together, as Kubernetes counts.
pub const OBJECT_COST_MAX: u64 = 10_000_000;
/// The most that one expression may be estimated to cost before it is refused, as Kubernetes counts.
pub const ESTIMATE_MAX: u64 = 10_000_000;
/// The most work, in units of a few nanoseconds: half a second, and several times what a million of cost takes in what is
/// not made to exploit the difference.
const WORK_MAX: u64 = 100_000_000;
/// What evaluating a node or comparing two values takes.
pub(crate) const STEP: u64 = 8;
/// The most bytes that an evaluation may make in all, whether it still holds them or not.
const MEMORY_MAX: u64 = 64 << 20;

/// What is left for a number of evaluations.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    per_call: u64,
}

impl Budget {
    /// A budget of `total`, of which one evaluation may use `per_call`.
    pub fn new(total: u64, per_call: u64) -> Self {
        Self { left: Cell::new(total), per_call }
    }

    /// What kube-apiserver grants the rules of one object.
    pub fn of_object() -> Self {
        Self::new(OBJECT_COST_MAX, CALL_COST_MAX)
    }

    /// What nobody has used yet.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Whether a program used it up.
    pub fn is_spent(&self) -> bool {
        self.left() == 0
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter { cost: 0, limit: self.per_call.min(self.left()), work: 0, memory: 0 }
    }

    pub(crate) fn spend(&self, cost: u64) {
        self.left.set(self.left().saturating_sub(cost));
    }
}

/// What one evaluation has taken.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) cost: u64,
    limit: u64,
    work: u64,
    memory: u64,
}

impl Meter {
    /// Counts cost as Kubernetes does.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::Exhausted) } else { Ok(()) }
    }

    /// Counts steps before they are done.
    pub(crate) fn work(&mut self, steps: u64) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(steps);
        if self.work > WORK_MAX { Err(EvalError::Exhausted) } else { Ok(()) }
    }

    /// Counts bytes before they are made.
    pub(crate) fn memory(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.memory = self.memory.saturating_add(bytes as u64);
        if self.memory > MEMORY_MAX { Err(EvalError::Exhausted) } else { self.work(bytes as u64 / 8 + 1) }
    }

    /// Counts the elements of a list or a map before they are made.
    pub(crate) fn elements(&mut self, count: usize) -> Result<(), EvalError> {
        self.memory(count.saturating_mul(size_of::<crate::Value<'_>>()))
    }
}
