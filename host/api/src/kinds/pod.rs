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
pub(super) use resources::validate_resource_name;
pub(super) use validate::validate_template;
pub(super) use warnings::warnings as template_warnings;

use super::cursor::Cursor;
use super::meta::validate_meta_update;
use super::view::{copy_field, is_true_at, list_at, str_at};
use super::{Names, keep_status, status_of, unowned};
use crate::column::Column;
use crate::resource::{Kind, Resource, Scope, Selectable, Subresource, kind_of};
use crate::status::Problems;

const NAMES: Names = Names { group: "", version: "v1", kind: "Pod", plural: "pods", short: &["po"] };

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![
            Subresource {
                name: "attach",
                kind: kind_of("", "v1", "PodAttachOptions"),
                verbs: &["create", "get"],
            },
            Subresource { name: "binding", kind: kind_of("", "v1", "Binding"), verbs: &["create"] },
            Subresource { name: "eviction", kind: kind_of("policy", "v1", "Eviction"), verbs: &["create"] },
            Subresource {
                name: "exec",
                kind: kind_of("", "v1", "PodExecOptions"),
                verbs: &["create", "get"],
            },
            Subresource { name: "log", kind: kind_of("", "v1", "Pod"), verbs: &["get"] },
            status_of("", "v1", "Pod"),
        ],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Namespaced, Pod)
    }
}

struct Pod;

impl Kind for Pod {
    fn default(&self, object: &mut Value) {
        default::default_pod(object);
    }

    /// Every pod starts as pending.
    fn prepare_create(&self, object: &mut Value) {
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

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
            copy_field(metadata, before, "ownerReferences");
        }
        default::mirror_addresses(new);
    }

    fn kept_by_status(&self) -> &'static [&'static [&'static str]] {
        &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate::validate(object, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        update::validate_update(new, old, problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings::warnings(&Cursor::top(object, "metadata"), &Cursor::top(object, "spec"))
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        let field = |path: &'static str| Selectable::new(path, str_at(object, path));
        let ip = list_at(object, "status.podIPs").first().map_or("", |ip| str_at(ip, "ip"));
        vec![
            Selectable::indexed("spec.nodeName", str_at(object, "spec.nodeName")),
            field("spec.restartPolicy"),
            field("spec.schedulerName"),
            field("spec.serviceAccountName"),
            Selectable::new("spec.hostNetwork", is_true_at(object, "spec.hostNetwork").to_string()),
            field("status.phase"),
            Selectable::new("status.podIP", ip),
            field("status.nominatedNodeName"),
            unowned(object),
        ]
    }

    fn columns(&self) -> Vec<Column> {
        table::columns()
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        table::row_conditions(object)
    }
}
