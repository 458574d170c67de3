//! What a `spec` must satisfy.

use berth_json::Value;

use super::SOURCES;
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{NOT_NEGATIVE, one_of, reject};
use crate::kinds::names;
use crate::kinds::pod::validate_resource_name;
use crate::kinds::view::{list_at, str_at};
use crate::quantity::Quantity;
use crate::status::Problems;

/// The longest period of a scaling policy, in seconds.
const PERIOD_MAX_S: i64 = 1800;
/// The longest stabilization window, in seconds.
const WINDOW_MAX_S: i64 = 3600;

/// Checks the spec of a new object, or of one that was `old` before.
pub(super) fn spec(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let spec = Cursor::top(object, "spec");
    let (least, most) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    let most_replicas = most.int().unwrap_or_default();
    if least.int().is_some_and(|least| most_replicas < least) {
        problems.invalid(most, &most_replicas.into(), "must be greater than or equal to `minReplicas`");
    }
    let target = spec.child("scaleTargetRef");
    validate_reference(&target, scaled(object, old), problems);
    validate_metrics(&spec, ApiVersion::of_described(old), problems);
    let behavior = spec.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        validate_rules(&behavior.child(direction), problems);
    }
    // Last, as the API server has them.
    if least.int().is_some_and(|least| least < 0) {
        problems.invalid(least, least.value(), NOT_NEGATIVE);
    }
    match most_replicas {
        0 => problems.required(most, ""),
        ..0 => problems.invalid(most, most.value(), "must be greater than or equal to 1"),
        _ => {}
    }
}

/// How much is asked of the `apiVersion` of a reference.
#[derive(Clone, Copy, PartialEq)]
enum ApiVersion {
    /// It names a group.
    WithGroup,
    /// It can be read.
    Any,
    /// Nothing: it was so before.
    Unchecked,
}

/// What the API server asks of the reference to what is scaled.
fn scaled(object: &Value, old: Option<&Value>) -> ApiVersion {
    let kind_of = |object: &Value| {
        let text = |field: &str| str_at(object, &format!("spec.scaleTargetRef.{field}")).to_owned();
        (text("apiVersion"), text("kind"))
    };
    let (api_version, kind) = kind_of(object);
    match old.map(kind_of) {
        Some(before) if before == (api_version, kind.clone()) => ApiVersion::Unchecked,
        // The only one of the core group that can be scaled.
        _ if kind == "ReplicationController" => ApiVersion::Any,
        _ => ApiVersion::WithGroup,
    }
}

impl ApiVersion {
    /// What is asked of the objects that metrics describe.
    fn of_described(old: Option<&Value>) -> Self {
        let metrics = old.map(|old| list_at(old, "spec.metrics")).unwrap_or_default();
        let is_wrong = |metric: &Value| {
            let described = metric.get("object").and_then(|object| object.get("describedObject"));
            described.is_some_and(|described| Self::Any.fault(str_at(described, "apiVersion")).is_some())
        };
        if metrics.iter().any(is_wrong) { Self::Unchecked } else { Self::Any }
    }

    fn fault(self, text: &str) -> Option<String> {
        match self {
            Self::Unchecked => None,
            _ if text.matches('/').count() > 1 => Some(format!("unexpected GroupVersion string: {text}")),
            Self::WithGroup if matches!(text.split_once('/'), None | Some(("", _))) => {
                Some("apiVersion must specify API group".to_owned())
            }
            _ => None,
        }
    }
}

fn validate_reference(reference: &Cursor<'_>, asked: ApiVersion, problems: &mut Problems) {
    for field in ["kind", "name"] {
        let field = reference.child(field);
        if field.is_empty() {
            problems.required(field, "");
        } else {
            reject(&field, names::path_segment(field.text()), problems);
        }
    }
    let api_version = reference.child("apiVersion");
    if let Some(fault) = asked.fault(api_version.text()) {
        problems.invalid(api_version, &api_version.text().into(), &fault);
    }
}

fn validate_metrics(spec: &Cursor<'_>, described: ApiVersion, problems: &mut Problems) {
    let metrics = spec.child("metrics");
    let mut allows_zero = false;
    for metric in metrics.items() {
        validate_metric(&metric, described, problems);
        allows_zero |= ["Object", "External"].contains(&metric.child("type").text());
    }
    if spec.child("minReplicas").int() == Some(0) && !allows_zero {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        problems.forbidden(metrics, detail);
    }
}

/// Checks one metric. Of several sources only the first is looked at: the others may not be there.
fn validate_metric(metric: &Cursor<'_>, described: ApiVersion, problems: &mut Problems) {
    let kind = metric.child("type");
    if kind.is_empty() {
        problems.required(kind, "must specify a metric source type");
    }
    one_of(&kind, &["ContainerResource", "External", "Object", "Pods", "Resource"], problems);
    let present: Vec<&str> =
        SOURCES.map(|(field, _)| field).into_iter().filter(|field| metric.child(field).exists()).collect();
    if let Some(field) = present.first() {
        validate_source(&metric.child(field), field, described, problems);
    }
    let expected = SOURCES.iter().find(|(_, name)| *name == kind.text()).map(|(field, _)| *field);
    if let Some(expected) = expected.filter(|expected| !metric.child(expected).exists()) {
        let detail = "must populate information for the given metric source";
        problems.required(metric.child(expected), detail);
    }
    if present.len() > 1 {
        for other in present.into_iter().filter(|field| Some(*field) != expected) {
            problems.forbidden(metric.child(other), "must populate the given metric source only");
        }
    }
}

fn validate_source(source: &Cursor<'_>, field: &str, described: ApiVersion, problems: &mut Problems) {
    match field {
        "object" => validate_reference(&source.child("describedObject"), described, problems),
        "resource" | "containerResource" => validate_resource(source, field, problems),
        _ => {}
    }
    if !field.ends_with("esource") {
        let metric = source.child("metric");
        let name = metric.child("name");
        if name.is_empty() {
            problems.required(name, "must specify a metric name");
        }
        reject(&name, names::path_segment(name.text()), problems);
    }
    let target = source.child("target");
    validate_target(&target, problems);
    validate_choice(&target, field, problems);
}

fn validate_resource(source: &Cursor<'_>, field: &str, problems: &mut Problems) {
    let (name, container) = (source.child("name"), source.child("container"));
    if name.is_empty() {
        problems.required(name, "must specify a resource name");
    } else if field == "containerResource" {
        validate_resource_name(name.text(), &name, problems);
    }
    if field == "containerResource" {
        if container.is_empty() {
            problems.required(container, "must specify a container");
        } else {
            reject(&container, names::label_1123(container.text()), problems);
        }
    }
}

/// Checks what stands in a target, whatever it is for.
fn validate_target(target: &Cursor<'_>, problems: &mut Problems) {
    let kind = target.child("type");
    if kind.is_empty() {
        problems.required(kind, "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        problems.invalid(kind, &kind.text().into(), "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let amount = target.child(field);
        if amount.exists() && Quantity::parse(amount.text()).is_ok_and(|q| q.is_zero() || q.is_negative()) {
            problems.invalid(amount, amount.value(), "must be positive");
        }
    }
    let utilization = target.child("averageUtilization");
    if utilization.int().is_some_and(|percent| percent < 1) {
        problems.invalid(utilization, utilization.value(), "must be greater than 0");
    }
}

/// Checks which of a target's fields are there: what a source needs, and nothing beside it.
fn validate_choice(target: &Cursor<'_>, field: &str, problems: &mut Problems) {
    let [value, average, utilization] =
        ["value", "averageValue", "averageUtilization"].map(|field| target.child(field));
    match field {
        "object" | "external" => {
            if !value.exists() && !average.exists() {
                let what = if field == "object" { "a target value or averageValue" } else { PER_POD };
                problems.required(average, &format!("must set either {what}"));
            }
            if field == "external" && value.exists() && average.exists() {
                let detail = "may not set both a target value for metric and a per-pod target";
                problems.forbidden(value, detail);
            }
        }
        "pods" => {
            if !average.exists() {
                problems.required(average, "must specify a positive target averageValue");
            }
        }
        _ => match (utilization.exists(), average.exists()) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                problems.required(utilization, detail);
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                problems.forbidden(average, detail);
            }
            _ => {}
        },
    }
}

const PER_POD: &str = "a target value for metric or a per-pod target";

fn validate_rules(rules: &Cursor<'_>, problems: &mut Problems) {
    if !rules.exists() {
        return;
    }
    let window = rules.child("stabilizationWindowSeconds");
    match window.int() {
        Some(..0) => problems.invalid(window, window.value(), "must be greater than or equal to zero"),
        Some(seconds) if seconds > WINDOW_MAX_S => {
            let detail = format!("must be less than or equal to {WINDOW_MAX_S}");
            problems.invalid(window, window.value(), &detail);
        }
        _ => {}
    }
    let select = rules.child("selectPolicy");
    if select.exists() {
        one_of(&select, &["Disabled", "Max", "Min"], problems);
    }
    let policies = rules.child("policies");
    if policies.is_empty() {
        problems.required(policies, "must specify at least one Policy");
    }
    for policy in policies.items() {
        validate_policy(&policy, problems);
    }
    let tolerance = rules.child("tolerance");
    if Quantity::parse(tolerance.text()).is_ok_and(Quantity::is_negative) {
        problems.invalid(tolerance, tolerance.value(), NOT_NEGATIVE);
    }
}

fn validate_policy(policy: &Cursor<'_>, problems: &mut Problems) {
    one_of(&policy.child("type"), &["Percent", "Pods"], problems);
    for field in ["value", "periodSeconds"] {
        let number = policy.child(field);
        let value = number.int().unwrap_or_default();
        if value <= 0 {
            problems.invalid(number, &value.into(), "must be greater than zero");
        }
        if field == "periodSeconds" && value > PERIOD_MAX_S {
            let detail = format!("must be less than or equal to {PERIOD_MAX_S}");
            problems.invalid(number, &value.into(), &detail);
        }
    }
}
