//! `Pod`.

mod containers;
mod default;
mod env;
mod placement;
mod probes;
mod resources;
mod security;
mod table;
mod update;
mod validate;
mod volumes;
mod warnings;

use berth_json::{Value, json};

pub(super) use default::default_template;
pub(super) use probes::validate_port;
pub(super) use validate::validate_template;
pub(super) use warnings::warnings as template_warnings;

use super::cursor::Cursor;
use super::meta::validate_meta_update;
use super::view::{copy_field, is_true_at, list_at, str_at};
use super::{Names, status_of, with_status};
use crate::resource::{Behaviour, Resource, Scope, Subresource};

const NAMES: Names = Names { group: "", version: "v1", kind: "Pod", plural: "pods", short: &["po"] };

pub(super) fn resource() -> Resource {
    let behaviour = Behaviour {
        default: default::default_pod,
        prepare_create,
        prepare_status,
        validate: validate::validate,
        validate_update: update::validate_update,
        validate_status: validate_meta_update,
        warnings,
        fields,
        columns: table::columns,
        cells: table::cells,
        row_conditions: table::row_conditions,
        ..with_status()
    };
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![
            Subresource { name: "attach", kind: ("", "v1", "PodAttachOptions"), verbs: &["create", "get"] },
            Subresource { name: "binding", kind: ("", "v1", "Binding"), verbs: &["create"] },
            Subresource { name: "eviction", kind: ("policy", "v1", "Eviction"), verbs: &["create"] },
            Subresource { name: "exec", kind: ("", "v1", "PodExecOptions"), verbs: &["create", "get"] },
            Subresource { name: "log", kind: ("", "v1", "Pod"), verbs: &["get"] },
            status_of("", "v1", "Pod"),
        ],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Namespaced, behaviour)
    }
}

/// Every pod starts as pending.
fn prepare_create(object: &mut Value) {
    let mut status = json!({ "phase": "Pending", "qosClass": resources::qos_class(object) });
    if !list_at(object, "spec.schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
}

fn prepare_status(new: &mut Value, old: &Value) {
    copy_field(new, old, "spec");
    if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
        copy_field(metadata, before, "ownerReferences");
    }
    default::mirror_addresses(new);
}

fn warnings(object: &Value) -> Vec<String> {
    warnings::warnings(&Cursor::top(object, "metadata"), &Cursor::top(object, "spec"))
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let field = |path: &'static str| (path, str_at(object, path).to_owned());
    let ip = list_at(object, "status.podIPs").first().map_or("", |ip| str_at(ip, "ip"));
    vec![
        field("spec.nodeName"),
        field("spec.restartPolicy"),
        field("spec.schedulerName"),
        field("spec.serviceAccountName"),
        ("spec.hostNetwork", is_true_at(object, "spec.hostNetwork").to_string()),
        field("status.phase"),
        ("status.podIP", ip.to_owned()),
        field("status.nominatedNodeName"),
    ]
}
