//! `autoscaling/v1`: the same objects, with a field for one metric; all else that `v2` says stands in annotations.

use std::borrow::Cow;

use berth_json::{Value, json};

use super::legacy_metrics::{self, Side};
use super::{HorizontalPodAutoscaler, annotations, cpu_utilization};
use crate::column::Column;
use crate::decode::Finding;
use crate::kinds::view::{at, list_at, str_at};
use crate::kinds::{Names, fill};
use crate::resource::{Kind, Resource};
use crate::status::Problems;

const NAMES: Names = Names { version: "v1", ..super::NAMES };

pub(in crate::kinds) fn resource() -> Resource {
    Resource { is_storage: false, ..super::served(&NAMES, V1) }
}

struct V1;

/// What is decided of an object is decided of it as it is stored: only there all that it says are fields.
impl Kind for V1 {
    fn converts(&self) -> bool {
        true
    }

    fn to_stored(&self, object: &mut Value) {
        to_stored(object);
    }

    fn to_served(&self, object: &mut Value) {
        to_served(object);
    }

    fn prune(&self, object: &mut Value) -> Vec<Finding> {
        annotations::drop_unreadable(object, |name, text| annotations::read(name, text).is_some())
    }

    fn default(&self, object: &mut Value) {
        as_stored(object, |object| HorizontalPodAutoscaler.default(object));
    }

    fn prepare_create(&self, object: &mut Value) {
        as_stored(object, |object| HorizontalPodAutoscaler.prepare_create(object));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let (mut will_be, before) = (stored(new), stored(old));
        HorizontalPodAutoscaler.prepare_update(&mut will_be, &before);
        HorizontalPodAutoscaler.default(&mut will_be);
        // A change of an annotation may be a change of the spec.
        if will_be["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            will_be["metadata"]["generation"] = (generation + 1).into();
        }
        to_served(&mut will_be);
        *new = will_be;
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        as_stored(new, |new| HorizontalPodAutoscaler.prepare_status(new, &stored(old)));
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        HorizontalPodAutoscaler.validate(&stored(object), problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        HorizontalPodAutoscaler.validate_update(&stored(new), &stored(old), problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        HorizontalPodAutoscaler.validate_status(&stored(new), &stored(old), problems);
    }

    fn columns(&self) -> Vec<Column> {
        HorizontalPodAutoscaler.columns()
    }

    fn tabled<'o>(&self, object: &'o Value) -> Cow<'o, Value> {
        Cow::Owned(stored(object))
    }
}

fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    to_stored(&mut object);
    object
}

fn as_stored(object: &mut Value, change: impl FnOnce(&mut Value)) {
    to_stored(object);
    change(object);
    to_served(object);
}

fn to_stored(object: &mut Value) {
    let texts = annotations::take(object);
    if let Some(spec) = fill::object_at(object, "spec") {
        let metrics = texts.read(annotations::METRICS);
        let mut metrics = metrics.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
        metrics.extend(spec.remove("targetCPUUtilizationPercentage").map(cpu_utilization));
        if !metrics.is_empty() {
            spec.insert("metrics", metrics.into());
        }
        if let Some(behavior) = texts.read(annotations::BEHAVIOR) {
            spec.insert("behavior", behavior);
        }
    }
    let (metrics, conditions) =
        (texts.read(annotations::CURRENT_METRICS), texts.read(annotations::CONDITIONS));
    if object.get("status").is_none() && metrics.is_none() && conditions.is_none() {
        return;
    }
    let Some(status) = fill::object_at(object, "status") else { return };
    let percent = status.remove("currentCPUUtilizationPercentage");
    let utilization = percent.map(|percent| {
        let current = json!({"averageUtilization": percent});
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": current}}])
    });
    status.insert("currentMetrics", metrics.or(utilization).unwrap_or_default());
    if let Some(conditions) = conditions {
        status.insert("conditions", conditions);
    }
    // What `v2` leaves out when it is zero.
    if status.get("currentReplicas").is_some_and(|replicas| *replicas == 0) {
        status.remove("currentReplicas");
    }
}

fn to_served(object: &mut Value) {
    annotations::take(object);
    let mut texts = Vec::new();
    if let Some(spec) = fill::object_at(object, "spec") {
        let metrics = spec.remove("metrics").unwrap_or_default();
        let metrics = metrics.as_array().map(Vec::as_slice).unwrap_or_default();
        let utilization = metrics.iter().rposition(|metric| cpu_percent(metric, "target").is_some());
        if let Some(percent) = utilization.and_then(|index| cpu_percent(&metrics[index], "target")) {
            spec.insert("targetCPUUtilizationPercentage", percent.clone());
        }
        let others = metrics.iter().enumerate().filter(|(index, _)| Some(*index) != utilization);
        let mut others = others.map(|(_, metric)| metric).peekable();
        if others.peek().is_some() {
            texts.push((annotations::METRICS, legacy_metrics::write(others, Side::Spec)));
        }
        if let Some(behavior) = spec.remove("behavior") {
            texts.push((annotations::BEHAVIOR, annotations::write_behavior(&behavior)));
        }
    }
    if let Some(status) = object.get_mut("status") {
        let metrics = list_at(status, "currentMetrics");
        let percent = metrics.iter().filter_map(|metric| cpu_percent(metric, "current")).next_back().cloned();
        if !metrics.is_empty() {
            texts.push((annotations::CURRENT_METRICS, legacy_metrics::write(metrics.iter(), Side::Status)));
        }
        let conditions = list_at(status, "conditions");
        if !conditions.is_empty() {
            texts.push((annotations::CONDITIONS, annotations::write_conditions(conditions)));
        }
        if let Some(status) = status.as_object_mut() {
            status.remove("currentMetrics");
            status.remove("conditions");
            if let Some(percent) = percent {
                status.insert("currentCPUUtilizationPercentage", percent);
            }
            fill::absent(status, "currentReplicas", 0);
        }
    }
    for (name, text) in texts {
        annotations::put(object, name, text);
    }
}

/// The utilization of the CPU that a metric is about: the one that there shall be (`target`), or the `current` one.
fn cpu_percent<'m>(metric: &'m Value, part: &str) -> Option<&'m Value> {
    let is_cpu = str_at(metric, "type") == "Resource" && str_at(metric, "resource.name") == "cpu";
    at(metric, "resource")?
        .get(part)?
        .get("averageUtilization")
        .filter(|percent| is_cpu && !percent.is_null())
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, json};

    use super::{V1, stored};
    use crate::decode::Finding;
    use crate::kinds::horizontal_pod_autoscaler::annotations::{
        BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS,
    };
    use crate::resource::Kind;

    fn quantity(name: &str) -> Value {
        json!({"type": "Resource", "resource": {"name": name, "target": {"type": "AverageValue", "averageValue": "100Mi"}}})
    }

    fn utilization(percent: i64) -> Value {
        super::cpu_utilization(percent.into())
    }

    fn of_metrics(metrics: Value) -> Value {
        json!({"metadata": {"name": "h"}, "spec": {"minReplicas": 1, "maxReplicas": 4, "metrics": metrics}})
    }

    fn served(mut object: Value) -> Value {
        V1.to_served(&mut object);
        object
    }

    fn annotation(object: &Value, name: &str) -> Value {
        object["metadata"]["annotations"][name].clone()
    }

    #[test]
    fn metrics_that_v1_cannot_say_stand_in_an_annotation() {
        let seen = served(of_metrics(json!([quantity("memory"), utilization(70)])));
        assert_eq!(
            seen["spec"],
            json!({"minReplicas": 1, "maxReplicas": 4, "targetCPUUtilizationPercentage": 70})
        );
        let text = r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"100Mi"}}]"#;
        assert_eq!(annotation(&seen, METRICS), text);
        let plain = served(of_metrics(json!([utilization(80)])));
        assert_eq!(plain["metadata"], json!({"name": "h"}));
    }

    #[test]
    fn every_metric_comes_back() {
        let selector = json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}], "matchLabels": {"a": "b"}});
        let object = json!({"kind": "Service", "name": "s", "apiVersion": "v1"});
        let metrics = json!([
            {"type": "Object", "object": {
                "describedObject": object, "metric": {"name": "m", "selector": selector},
                "target": {"type": "Value", "value": "3"},
            }},
            {"type": "Object", "object": {
                "describedObject": object, "metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "3"},
            }},
            {"type": "Pods", "pods": {
                "metric": {"name": "p", "selector": selector}, "target": {"type": "AverageValue", "averageValue": "1500m"},
            }},
            quantity("cpu"),
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 5}}},
            {"type": "ContainerResource", "containerResource": {
                "name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 5},
            }},
            {"type": "ContainerResource", "containerResource": {
                "name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "1Gi"},
            }},
            {"type": "External", "external": {
                "metric": {"name": "e", "selector": selector}, "target": {"type": "Value", "value": "2"},
            }},
            {"type": "External", "external": {
                "metric": {"name": "e"}, "target": {"type": "AverageValue", "averageValue": "2"},
            }},
            utilization(50),
            utilization(60),
        ]);
        let object = of_metrics(metrics);
        let seen = served(object.clone());
        assert_eq!(seen["spec"]["targetCPUUtilizationPercentage"], 60);
        assert_eq!(stored(&seen), object);
        let text = annotation(&seen, METRICS);
        let described = r#"[{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"metricName":"m","targetValue":"3","selector":{"matchLabels":{"a":"b"},"matchExpressions""#;
        assert!(text.as_str().unwrap().starts_with(described), "{text}");
    }

    #[test]
    fn a_behavior_comes_back_under_whatever_names() {
        let behavior = json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "tolerance": "50m",
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
            "scaleDown": {"selectPolicy": "Disabled", "policies": [{"type": "Percent", "value": 1, "periodSeconds": 60}]},
        });
        let mut object = of_metrics(json!([utilization(80)]));
        object["spec"]["behavior"] = behavior.clone();
        let mut seen = served(object.clone());
        let text = r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":"50m"},"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Disabled","Policies":[{"Type":"Percent","Value":1,"PeriodSeconds":60}],"Tolerance":null}}"#;
        assert_eq!(annotation(&seen, BEHAVIOR), text);
        assert_eq!(stored(&seen), object);
        seen["metadata"]["annotations"][BEHAVIOR] = behavior.to_string().into();
        assert_eq!(stored(&seen), object);
    }

    #[test]
    fn a_status_comes_back() {
        let mut object = of_metrics(json!([utilization(80)]));
        object["status"] = json!({
            "desiredReplicas": 2,
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 60, "averageValue": "600m"}}},
                {"type": "External", "external": {"metric": {"name": "e"}, "current": {"value": "0", "averageValue": "2"}}},
            ],
            "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R"}],
        });
        let seen = served(object.clone());
        assert_eq!(
            seen["status"],
            json!({"desiredReplicas": 2, "currentReplicas": 0, "currentCPUUtilizationPercentage": 60})
        );
        assert!(
            annotation(&seen, CURRENT_METRICS)
                .as_str()
                .unwrap()
                .contains(r#""currentAverageUtilization":60"#)
        );
        assert_eq!(
            annotation(&seen, CONDITIONS),
            r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"R"}]"#
        );
        assert_eq!(stored(&seen), object);
    }

    #[test]
    fn what_cannot_be_read_is_dropped_and_told_of() {
        for (name, text) in [
            (METRICS, "no JSON"),
            (METRICS, "{}"),
            (METRICS, "[1]"),
            (METRICS, r#"[{"type":"Pods","pods":{"targetAverageValue":"many"}}]"#),
            (BEHAVIOR, r#"{"ScaleUp":{"StabilizationWindowSeconds":"long"}}"#),
            (CONDITIONS, r#"[{"type":7}]"#),
            (CURRENT_METRICS, "[null]"),
            ("autoscaling.alpha.kubernetes.io/scale-up-tolerance", "1"),
        ] {
            let mut object =
                json!({"metadata": {"annotations": {"a": "b", name: text}}, "spec": {"maxReplicas": 1}});
            let told = V1.prune(&mut object);
            assert_eq!(told, [Finding::Unknown(format!("metadata.annotations[{name}]"))], "{text}");
            assert_eq!(object["metadata"]["annotations"], json!({"a": "b"}));
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let mut object = json!({"metadata": {"annotations": {METRICS: deep}}, "spec": {"maxReplicas": 1}});
        assert_eq!(V1.prune(&mut object).len(), 1);
        assert_eq!(object, json!({"metadata": {}, "spec": {"maxReplicas": 1}}));
    }

    #[test]
    fn an_update_changes_what_the_client_says_and_leaves_the_status() {
        let mut before = of_metrics(json!([quantity("memory"), utilization(80)]));
        before["metadata"]["generation"] = 3.into();
        before["status"] = json!({
            "currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": null,
            "conditions": [{"type": "AbleToScale", "status": "True"}],
        });
        let old = served(before.clone());
        let update = |change: &dyn Fn(&mut Value)| {
            let mut new = old.clone();
            new["status"]["currentReplicas"] = 9.into();
            change(&mut new);
            V1.prepare_update(&mut new, &old);
            V1.default(&mut new);
            stored(&new)
        };
        assert_eq!(update(&|_| {}), before);
        let metrics = r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"5Mi"}}]"#;
        let changed = update(&|new| new["metadata"]["annotations"][METRICS] = metrics.into());
        assert_eq!(changed["metadata"]["generation"], 4);
        assert_eq!(changed["spec"]["metrics"][0]["resource"]["target"]["averageValue"], "5Mi");
        let without = update(&|new| {
            new["metadata"].as_object_mut().unwrap().remove("annotations");
        });
        assert_eq!(without["spec"]["metrics"], json!([utilization(80)]));
        assert_eq!(without["status"], before["status"]);
    }
}
