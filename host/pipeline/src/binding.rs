//! Binding pods to nodes by the thousand: the scheduler's fast way, past the JSON of the generic machine.

use berth_api::{Status, Timestamp};
use berth_state::{Key, Op, State};

/// A scheduler's decision for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The pod.
    pub pod: Key,
    /// The pod's uid when it was decided on: a pod of the same name that came later is another one.
    pub uid: Box<str>,
    /// The node it goes to.
    pub node: Box<str>,
}

/// Turns decisions into writes: `spec.nodeName` and the condition PodScheduled, put into the encoded bytes.
///
/// One result a binding, in their order. That the pod fits its node is the caller's to check; that it is there, the
/// same, unbound, not being deleted and not gated is checked here. Two bindings of one pod: the second is refused.
///
/// # Errors
/// In an element: 404 or 409, as `POST …/binding` answers.
pub fn plan_bindings(state: &State, now: Timestamp, bindings: &[Binding]) -> Vec<Result<Op, Status>> {
    let _ = (state, now, bindings);
    unimplemented!()
}
