//! `HorizontalPodAutoscaler`: stored as `autoscaling/v2` has it; what `autoscaling/v1` shows of it stands in `v1`.

mod annotations;
mod legacy_metrics;
mod table;
mod v1;
mod validate;

use berth_json::{Map, Value, json};

pub(super) use v1::resource as resource_v1;

use super::cursor::Cursor;
use super::meta::{not_negative, validate_meta, validate_meta_update};
use super::{Names, drop_status, fill, keep_status, names, status_of};
use crate::column::Column;
use crate::decode::Finding;
use crate::resource::{Kind, Resource, Scope};
use crate::status::Problems;

const NAMES: Names = Names {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    short: &["hpa"],
};

/// How much of the CPU that they request the pods shall use, in percent, where nobody says what to scale by.
const CPU_PERCENT: i64 = 80;

/// The sources of metrics, in the order in which the API server looks at them.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

pub(super) fn resource() -> Resource {
    served(&NAMES, HorizontalPodAutoscaler)
}

/// What both versions have in common.
fn served(names: &Names, behaviour: impl Kind + 'static) -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![status_of("autoscaling", names.version, "HorizontalPodAutoscaler")],
        has_generation: true,
        ..super::resource(names, Scope::Namespaced, behaviour)
    }
}

struct HorizontalPodAutoscaler;

impl Kind for HorizontalPodAutoscaler {
    /// The annotations are what `v1` shows of fields that are here.
    fn prune(&self, object: &mut Value) -> Vec<Finding> {
        annotations::drop_unreadable(object, |_, _| false)
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = fill::object_at(object, "spec") else { return };
        fill::absent(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("metrics", json!([cpu_utilization(CPU_PERCENT.into())]));
        }
        if let Some(behavior) = fill::part(spec, "behavior") {
            default_rules(
                behavior,
                "scaleUp",
                &json!({
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                    ],
                }),
            );
            let everything = json!({"policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
            default_rules(behavior, "scaleDown", &everything);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
        validate::spec(object, None, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        validate::spec(new, Some(old), problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        let status = Cursor::top(new, "status");
        for condition in status.child("conditions").items() {
            not_negative(&condition.child("observedGeneration"), problems);
        }
        not_negative(&status.child("currentReplicas"), problems);
        not_negative(&status.child("desiredReplicas"), problems);
    }

    fn columns(&self) -> Vec<Column> {
        table::columns()
    }
}

fn default_rules(behavior: &mut Map, direction: &str, rules: &Value) {
    fill::absent(behavior, direction, json!({}));
    let Some(there) = fill::part(behavior, direction) else { return };
    fill::absent(there, "selectPolicy", "Max");
    for (key, value) in rules.as_object().into_iter().flatten() {
        fill::absent(there, key, value.clone());
    }
}

/// The metric that `v1` has a field for.
fn cpu_utilization(percent: Value) -> Value {
    json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    })
}
