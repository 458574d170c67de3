//! `Node`.

use std::collections::BTreeSet;

use berth_json::{Text, Value, json};

use super::cursor::Cursor;
use super::meta::{one_of, reject, validate_meta, validate_meta_update};
use super::view::{at, is_true_at, list_at, repeats, str_at};
use super::{Names, keep_status, names, status_of};
use crate::column::Column;
use crate::quantity::Quantity;
use crate::resource::{Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names = Names { group: "", version: "v1", kind: "Node", plural: "nodes", short: &["no"] };

/// What a taint does to pods that do not tolerate it.
pub(super) const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

pub(super) fn resource() -> Resource {
    Resource {
        subresources: vec![status_of("", "v1", "Node")],
        ..super::resource(&NAMES, Scope::Cluster, Node)
    }
}

struct Node;

impl Kind for Node {
    /// `podCIDR` is the first of `podCIDRs`; where they differ, clients that know only the older field win.
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let first = spec.get("podCIDRs").and_then(|list| list.get(0)).cloned().unwrap_or_default();
        match spec.get("podCIDR").filter(|cidr| !cidr.is_null() && **cidr != "") {
            None if !first.is_null() => {
                spec.insert("podCIDR".to_owned(), first);
            }
            Some(cidr) if *cidr != first => {
                let list = json!([cidr]);
                spec.insert("podCIDRs".to_owned(), list);
            }
            _ => {}
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Cluster, names::subdomain_1123, problems);
        validate_taints(object, problems);
        validate_resources(object, problems);
        let spec = Cursor::top(object, "spec");
        for cidr in spec.child("podCIDRs").items() {
            reject(&cidr, names::cidr(cidr.text()), problems);
        }
    }

    /// The API server validates the whole object and then, partly again, the change.
    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        self.validate(new, problems);
        validate_changes(new, old, problems);
        validate_taints(new, problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_changes(new, old, problems);
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        vec![Selectable::new("spec.unschedulable", is_true_at(object, "spec.unschedulable").to_string())]
    }

    fn columns(&self) -> Vec<Column> {
        let status = |object: &Value, _| status_words(object).into();
        let internal = |object: &Value, _| address(object, "InternalIP").into();
        let external = |object: &Value, _| address(object, "ExternalIP").into();
        let info = |name, description, key: &'static str| {
            let cell = move |object: &Value, _| match str_at(object, &format!("status.nodeInfo.{key}")) {
                "" => "<unknown>".into(),
                text => text.into(),
            };
            Column::new(name, "string", 1, description, cell)
        };
        let version = "status.nodeInfo.kubeletVersion";
        vec![
            Column::of_name(),
            Column::new("Status", "string", 0, "Whether the node is ready and takes pods.", status),
            Column::new("Roles", "string", 0, "The node's roles, from its labels.", |object, _| {
                roles(object).into()
            }),
            Column::of_age(),
            Column::text("Version", 0, "The version of the node's agent.", version),
            Column::new("Internal-IP", "string", 1, "The node's address within the cluster.", internal),
            Column::new("External-IP", "string", 1, "The node's address for the world outside.", external),
            info("OS-Image", "The operating system.", "osImage"),
            info("Kernel-Version", "The kernel.", "kernelVersion"),
            info("Container-Runtime", "What runs the containers.", "containerRuntimeVersion"),
        ]
    }
}

fn validate_changes(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    validate_resources(new, problems);
    let status = Cursor::top(new, "status");
    let addresses = status.child("addresses");
    let repeated = repeats(addresses.list(), Value::to_string);
    for (address, is_repeated) in addresses.items().zip(repeated) {
        if is_repeated {
            problems.duplicate(address, address.value());
        }
    }
    for (key, what) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (spec, before) = (Cursor::top(new, "spec"), Cursor::top(old, "spec"));
        if !before.child(key).is_empty() && before.child(key).value() != spec.child(key).value() {
            let detail = format!("node updates may not change {what} except from \"\" to valid");
            problems.forbidden(spec.child(key), &detail);
        }
    }
}

/// The API server names these `metadata.taints`, though they stand in the spec.
fn validate_taints(object: &Value, problems: &mut Problems) {
    let taints = Cursor::named("metadata.taints", at(object, "spec.taints").unwrap_or(&Value::Null));
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.child("key"), taint.child("value"), taint.child("effect"));
        reject(&key, names::qualified_name(key.text()), problems);
        reject(&value, names::label_value(value.text()), problems);
        if effect.is_empty() {
            problems.required(effect, "");
        } else {
            one_of(&effect, &TAINT_EFFECTS, problems);
        }
        if !seen.insert((effect.text().to_owned(), key.text().to_owned())) {
            problems.duplicate(taint, taint.value());
        }
    }
}

fn validate_resources(object: &Value, problems: &mut Problems) {
    let status = Cursor::top(object, "status");
    for key in ["capacity", "allocatable"] {
        for (resource, amount) in status.child(key).entries() {
            for fault in names::qualified_name(resource) {
                problems.invalid(status.child(key), &resource.into(), &fault);
            }
            if Quantity::parse(amount.text()).is_ok_and(Quantity::is_negative) {
                problems.invalid(amount, amount.value(), super::meta::NOT_NEGATIVE);
            }
        }
    }
}

fn status_words(object: &Value) -> String {
    let ready = list_at(object, "status.conditions").iter().rev().find(|c| str_at(c, "type") == "Ready");
    let word = match ready.map(|condition| str_at(condition, "status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    };
    let disabled = if is_true_at(object, "spec.unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{word}{disabled}")
}

fn roles(object: &Value) -> String {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let role = |(key, value): (&'_ Text, &'_ Value)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: BTreeSet<String> =
        labels.into_iter().flatten().filter_map(role).filter(|role| !role.is_empty()).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address(object: &Value, kind: &str) -> String {
    let found = list_at(object, "status.addresses").iter().find(|a| str_at(a, "type") == kind);
    found.map_or("<none>", |address| str_at(address, "address")).to_owned()
}
