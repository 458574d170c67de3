//! Parts of an object that are read where they are needed: most of its bytes, and seldom looked at.

use berth_json::Value;
use berth_state::Stored;
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
struct WithSpec {
    spec: Spec,
}

/// What of a workload's spec its view has a digest of only.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Spec {
    /// The pods' template; null where there is none, which validation rules out.
    pub(crate) template: Value,
    /// The selector.
    pub(crate) selector: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WithStatus {
    status: Value,
}

pub(crate) fn spec(workload: &Stored) -> Spec {
    let read: Result<WithSpec, _> = serde_json::from_slice(workload.bytes());
    read.unwrap_or_default().spec
}

/// The status as it is stored.
pub(crate) fn status(stored: &Stored) -> Value {
    let read: Result<WithStatus, _> = serde_json::from_slice(stored.bytes());
    read.unwrap_or_default().status
}
