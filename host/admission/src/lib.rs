//! Admission policies: which writes they are asked about, and what their verdicts mean.
//!
//! Pure: `reviewing` of `wit/policy.wit` as Rust types ([`Reviewer`] is whatever runs a policy), the rules by which a write
//! concerns a policy ([`Rules`]), what a binding says without its policy ([`Bound`]), the check of a verdict and the patched
//! object ([`judge`]), and when a policy that fails is left alone ([`Breaker`]).
//!
//! Invariants: a policy cannot be asked about what a cluster needs to be mended; a verdict changes nothing that is the
//! server's; what a policy did not answer is never taken for consent or refusal, that is its binding's to say.

mod bound;
mod breaker;
mod contract;
mod judge;
mod rules;

pub use bound::{Bound, FailurePolicy};
pub use breaker::Breaker;
pub use contract::{
    Manifest, Mutates, Operation, PolicyError, Request, Reviewer, Rule, VERDICT_BYTES_MAX, Verdict,
};
pub use judge::{Judged, judge};
pub use rules::{NamespaceLabels, Rules, RulesError, Subject, is_exempt};
