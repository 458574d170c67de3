//! The pod template of a workload, read where it is needed: its view has a digest of it only.

use berth_json::Value;
use berth_state::Stored;
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Workload {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    template: Value,
}

/// `spec.template`; null where there is none, which validation rules out.
pub(crate) fn read(workload: &Stored) -> Value {
    let read: Result<Workload, _> = serde_json::from_slice(workload.bytes());
    read.unwrap_or_default().spec.template
}
