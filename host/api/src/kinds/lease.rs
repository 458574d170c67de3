//! `Lease`: who leads, and whether a node is alive.

use berth_json::Value;

use super::cursor::Cursor;
use super::meta::{not_negative, validate_meta, validate_meta_update};
use super::view::{int_at, str_at};
use super::{Names, names};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", short: &[] };

pub(super) fn resource() -> Resource {
    Resource {
        create_on_update: true,
        unconditional_update: false,
        ..super::resource(&NAMES, Scope::Namespaced, Lease)
    }
}

struct Lease;

impl Kind for Lease {
    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        let spec = Cursor::top(object, "spec");
        let duration = spec.child("leaseDurationSeconds");
        if duration.int().is_some_and(|seconds| seconds <= 0) {
            problems.invalid(duration, duration.value(), "must be greater than 0");
        }
        not_negative(&spec.child("leaseTransitions"), problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        self.validate(new, problems);
    }

    /// Beyond what the API server offers: commits are fenced by the holder and the number of transitions.
    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let transitions = int_at(object, "spec.leaseTransitions").unwrap_or_default();
        vec![
            Selectable::new("spec.holderIdentity", str_at(object, "spec.holderIdentity")),
            Selectable::new("spec.leaseTransitions", transitions.to_string()),
        ]
    }

    fn columns(&self) -> Vec<Column> {
        let holder = Column::text("Holder", 0, "Who holds the lease.", "spec.holderIdentity");
        vec![Column::of_name(), holder, Column::of_age()]
    }
}
