//! An autoscaler as it is stored: `autoscaling/v2`, as far as somebody reads it here.

use berth_api::quantity::Quantity;
use berth_api::views::{Condition, Pairs, View};
use berth_json::{Value, json};
use serde::Deserialize;

use crate::policy::{Source, TargetKind};

/// How far the ratio of a value and its target may be from 1 where `behavior` does not say:
/// `--horizontal-pod-autoscaler-tolerance` of kube-controller-manager.
pub const TOLERANCE: f64 = 0.1;

/// A HorizontalPodAutoscaler.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Autoscaler {
    /// What of its metadata is read.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What was last said of it.
    pub status: Status,
}

/// `metav1.ObjectMeta`, as far as it is not beside the bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Its annotations.
    pub annotations: Pairs,
    /// Which spec this is.
    pub generation: i64,
}

/// `autoscaling/v2.HorizontalPodAutoscalerSpec`; defaulting has filled it in.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    /// What is scaled.
    pub scale_target_ref: Reference,
    min_replicas: Option<i64>,
    max_replicas: i64,
    /// By what it is scaled.
    pub metrics: Vec<MetricSpec>,
    /// How fast it may be scaled.
    pub behavior: Option<Behavior>,
}

/// `autoscaling/v2.CrossVersionObjectReference`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct Reference {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name, in the autoscaler's namespace.
    pub name: String,
}

/// `autoscaling/v2.HorizontalPodAutoscalerBehavior`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Behavior {
    /// For more replicas.
    pub scale_up: Rules,
    /// For fewer.
    pub scale_down: Rules,
}

/// `autoscaling/v2.HPAScalingRules`; defaulting has filled them in.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rules {
    /// Over how long recommendations are compared; for fewer replicas nobody has to say so.
    pub stabilization_window_seconds: Option<i64>,
    /// Which of several policies counts.
    pub select_policy: Select,
    /// How much may change in a period.
    pub policies: Vec<RatePolicy>,
    tolerance: Option<Box<str>>,
}

/// `selectPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Select {
    /// The one that allows most.
    #[default]
    Max,
    /// The one that allows least.
    Min,
    /// None: nothing changes in this direction.
    Disabled,
}

/// `autoscaling/v2.HPAScalingPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatePolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: RateKind,
    /// How much may change in a period.
    pub value: i64,
    /// How long a period is.
    pub period_seconds: i64,
}

/// What a rate is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RateKind {
    /// Pods.
    Pods,
    /// Percent of the pods that there were when the period began.
    Percent,
}

/// `status`, as far as the next one depends on it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// What was last wanted.
    pub desired_replicas: i64,
    /// What was said.
    pub conditions: Vec<Condition>,
}

/// One of `spec.metrics`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub struct MetricSpec {
    /// Its type.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// Of a container's resource: which container.
    pub container: String,
    /// Of an object's metric: which object.
    pub described: Reference,
    /// Which series of it are meant, as the spec has it; null: all.
    pub selector: Value,
    /// What the target counts.
    pub target_kind: TargetKind,
    /// The target in thousandths, of a utilisation in percent.
    pub target: i64,
}

impl View for Autoscaler {
    const RESOURCES: &'static [&'static str] = &["horizontalpodautoscalers.autoscaling"];
}

impl Autoscaler {
    /// The lower bound.
    pub fn min_replicas(&self) -> u32 {
        count(self.spec.min_replicas.unwrap_or(1))
    }

    /// The upper bound.
    pub fn max_replicas(&self) -> u32 {
        count(self.spec.max_replicas)
    }

    /// How far above and below 1 the ratio of value and target may be.
    pub fn tolerances(&self) -> (f64, f64) {
        let of = |rules: Option<&Rules>| {
            let given = rules.and_then(|rules| rules.tolerance.as_deref());
            given.and_then(|text| Quantity::parse(text).ok()).map_or(TOLERANCE, thousandths)
        };
        let behavior = self.spec.behavior.as_ref();
        (of(behavior.map(|both| &both.scale_up)), of(behavior.map(|both| &both.scale_down)))
    }
}

/// A number of replicas: what is out of range, validation has kept out.
pub(crate) fn count(replicas: i64) -> u32 {
    u32::try_from(replicas.clamp(0, i64::from(i32::MAX))).unwrap_or_default()
}

fn thousandths(quantity: Quantity) -> f64 {
    // A tolerance is around 0.1.
    quantity.milli_value() as f64 / 1000.0
}

impl Source {
    /// The type of such metrics, and the field that describes them.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Resource => ("Resource", "resource"),
            Self::ContainerResource => ("ContainerResource", "containerResource"),
            Self::Pods => ("Pods", "pods"),
            Self::Object => ("Object", "object"),
            Self::External => ("External", "external"),
        }
    }

    /// Why `ScalingActive` is false when such a metric is missing.
    pub fn trouble(self) -> &'static str {
        match self {
            Self::Resource => "FailedGetResourceMetric",
            Self::ContainerResource => "FailedGetContainerResourceMetric",
            Self::Pods => "FailedGetPodsMetric",
            Self::Object => "FailedGetObjectMetric",
            Self::External => "FailedGetExternalMetric",
        }
    }

    fn of(kind: &str) -> Self {
        let all = [Self::ContainerResource, Self::Pods, Self::Object, Self::External];
        all.into_iter().find(|source| source.names().0 == kind).unwrap_or(Self::Resource)
    }
}

/// Validation has seen to it that the part that its type names is there, with a target.
impl From<Value> for MetricSpec {
    fn from(metric: Value) -> Self {
        let source = Source::of(metric["type"].as_str().unwrap_or_default());
        let part = &metric[source.names().1];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let identity = if matches!(source, Source::Resource | Source::ContainerResource) {
            part
        } else {
            &part["metric"]
        };
        let described = &part["describedObject"];
        let (target_kind, target) = target(source, &part["target"]);
        Self {
            source,
            name: text(&identity["name"]),
            container: text(&part["container"]),
            described: Reference {
                api_version: text(&described["apiVersion"]),
                kind: text(&described["kind"]),
                name: text(&described["name"]),
            },
            selector: identity["selector"].clone(),
            target_kind,
            target,
        }
    }
}

/// Which of its amounts a target means.
fn target(source: Source, target: &Value) -> (TargetKind, i64) {
    let amount = |field: &str| target[field].as_str().and_then(|text| Quantity::parse(text).ok());
    let (value, average) = (amount("value"), amount("averageValue"));
    let is_by_value = match source {
        Source::Object => target["type"] == "Value" || average.is_none(),
        _ => average.is_none(),
    };
    match (value, average, target["averageUtilization"].as_i64()) {
        (Some(value), _, _) if is_by_value => (TargetKind::Value, value.milli_value()),
        (_, Some(average), _) => (TargetKind::AverageValue, average.milli_value()),
        (_, None, percent) => (TargetKind::Utilization, percent.unwrap_or_default()),
    }
}

impl MetricSpec {
    /// As Kubernetes' horizontal controller calls it.
    pub fn title(&self) -> String {
        let Self { name, source, .. } = self;
        let is_relative = self.target_kind == TargetKind::Utilization;
        match source {
            Source::Resource if is_relative => {
                format!("{name} resource utilization (percentage of request)")
            }
            Source::Resource => format!("{name} resource"),
            Source::ContainerResource if is_relative => {
                format!("{name} container resource utilization (percentage of request)")
            }
            Source::ContainerResource => format!("{name} container resource"),
            Source::Pods => format!("pods metric {name}"),
            Source::Object => format!("{} metric {name}", self.described.kind),
            Source::External => format!("external metric {name}"),
        }
    }

    /// Tells it from the others of its autoscaler, whatever its target: whose history this is.
    pub(crate) fn identity(&self) -> String {
        let Reference { kind, name, .. } = &self.described;
        let (source, _) = self.source.names();
        format!("{source}/{}/{}/{kind}/{name}/{}", self.name, self.container, self.selector)
    }

    /// The part of `status.currentMetrics` about it, with what is measured now.
    pub(crate) fn status(&self, current: Value) -> Value {
        let (kind, field) = self.source.names();
        let mut part = match self.source {
            Source::Resource => json!({"name": self.name.as_str()}),
            Source::ContainerResource => {
                json!({"name": self.name.as_str(), "container": self.container.as_str()})
            }
            Source::Pods | Source::Object | Source::External => {
                let mut metric = json!({"name": self.name.as_str()});
                if !self.selector.is_null() {
                    metric["selector"] = self.selector.clone();
                }
                json!({"metric": metric})
            }
        };
        if self.source == Source::Object {
            let Reference { api_version, kind, name } = &self.described;
            part["describedObject"] = json!({"kind": kind.as_str(), "name": name.as_str()});
            if !api_version.is_empty() {
                part["describedObject"]["apiVersion"] = api_version.as_str().into();
            }
        }
        part["current"] = current;
        json!({"type": kind, field: part})
    }
}

#[cfg(test)]
mod tests {
    use berth_json::from_value;

    use super::*;

    fn metric(value: &Value) -> MetricSpec {
        from_value(value).unwrap()
    }

    #[test]
    fn metrics_of_all_types_are_read_with_the_target_that_they_mean() {
        let object = |target: Value| {
            let described = json!({"kind": "Service", "name": "web"});
            json!({"type": "Object", "object": {"metric": {"name": "m"}, "describedObject": described, "target": target}})
        };
        let resource =
            |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        for (value, source, kind, target, title) in [
            (
                resource(json!({"type": "Utilization", "averageUtilization": 50})),
                Source::Resource,
                TargetKind::Utilization,
                50,
                "cpu resource utilization (percentage of request)",
            ),
            (
                resource(json!({"type": "AverageValue", "averageValue": "1500m"})),
                Source::Resource,
                TargetKind::AverageValue,
                1500,
                "cpu resource",
            ),
            (
                json!({"type": "ContainerResource", "containerResource": {
                    "name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "1Ki"},
                }}),
                Source::ContainerResource,
                TargetKind::AverageValue,
                1_024_000,
                "memory container resource",
            ),
            (
                json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "3"}}}),
                Source::Pods,
                TargetKind::AverageValue,
                3000,
                "pods metric m",
            ),
            (
                object(json!({"type": "Value", "value": "7", "averageValue": "3"})),
                Source::Object,
                TargetKind::Value,
                7000,
                "Service metric m",
            ),
            (
                object(json!({"type": "AverageValue", "value": "7", "averageValue": "3"})),
                Source::Object,
                TargetKind::AverageValue,
                3000,
                "Service metric m",
            ),
            (
                json!({"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "2"}}}),
                Source::External,
                TargetKind::Value,
                2000,
                "external metric m",
            ),
        ] {
            let read = metric(&value);
            let found = (read.source, read.target_kind, read.target, read.title());
            assert_eq!(found, (source, kind, target, title.to_owned()), "{value}");
        }
    }

    #[test]
    fn tolerances_are_those_of_their_direction() {
        let behavior = json!({"scaleUp": {"tolerance": "50m"}, "scaleDown": {}});
        let read: Autoscaler = from_value(&json!({"spec": {"behavior": behavior}})).unwrap();
        assert_eq!(read.tolerances(), (0.05, 0.1));
        assert_eq!(Autoscaler::default().tolerances(), (0.1, 0.1));
    }
}
