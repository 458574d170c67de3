//! Three roles: administrator, node, service account.

use berth_state::State;

use crate::identity::{Attributes, Authorizer, Decision};

/// The authorizer of the first days, before RBAC: the group decides.
///
/// - `system:masters`: everything.
/// - `system:nodes` as `system:node:<name>`: its own Node and its Lease; the pods bound to it, with their status; the
///   secrets, config maps and service accounts (with tokens) those pods use; events; services and nodes to read.
/// - Everybody else, service accounts included: nothing but discovery, as under RBAC without bindings.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoleAuthorizer;

impl Authorizer for RoleAuthorizer {
    fn authorize(&self, state: &State, asked: &Attributes<'_>) -> Decision {
        let _ = (state, asked);
        unimplemented!()
    }
}
