//! What Berth does not do yet, as data: nothing that is accepted is silently ignored.

use serde_json::Value;

use crate::resource::Resource;

/// What happens to a request that uses a field Berth does not honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is accepted with a `Warning` header.
    Warn,
    /// It is refused: ignoring the field would break a promise.
    Refuse,
}

/// A field that is used and not honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhonoured {
    /// Where it stands: `spec.template.spec.affinity.podAffinity`.
    pub field: String,
    /// What happens.
    pub action: Action,
    /// One clause for the user: what Berth does instead.
    pub reason: String,
}

impl Unhonoured {
    /// The text of the `Warning` header: `spec.hostname: …`.
    pub fn warning(&self) -> String {
        unimplemented!()
    }
}

/// The fields that `object` uses and Berth does not honour, in the order of the object.
pub fn unhonoured(resource: &Resource, object: &Value) -> Vec<Unhonoured> {
    unimplemented!()
}
