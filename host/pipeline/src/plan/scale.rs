//! `/scale`: an `autoscaling/v1` Scale as a window on a workload's replicas.

use berth_api::kinds::view::{at, copy_field, int_at, str_at};
use berth_api::managed_fields::show_managers;
use berth_api::resource::ScalePaths;
use berth_api::status::Details;
use berth_api::{Problems, Reason, Selector, Status, status};
use berth_json::{Value, json};

use super::context::{Context, Reply, not_allowed};
use super::{Plan, update};
use crate::identity::Verb;
use crate::request::Body;

const SCALE_TYPE: &str = "autoscaling.v1.Scale";

/// The Scale of an object: what `GET …/scale` answers.
pub fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        copy_field(&mut metadata, &object["metadata"], key);
    }
    let mut spec = json!({});
    let replicas = value_at(object, &paths.spec_replicas).and_then(Value::as_i64).unwrap_or_default();
    if replicas != 0 {
        spec["replicas"] = replicas.into();
    }
    let there = value_at(object, &paths.status_replicas).and_then(Value::as_i64).unwrap_or_default();
    let mut status = json!({ "replicas": there });
    let selector = paths.label_selector.as_ref().and_then(|path| value_at(object, path));
    if let Some(selector) = selector.and_then(selector_text) {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    })
}

/// What stands at a path of plain names that begins with a dot.
fn value_at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    at(object, path.strip_prefix('.')?)
}

/// A selector as a text: custom kinds have it so, workloads as an object.
fn selector_text(selector: &Value) -> Option<String> {
    match selector {
        Value::String(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
        other => Selector::from_object(other).ok().flatten().map(|selector| selector.to_string()),
    }
}

/// Sets what stands at a path of plain names that begins with a dot; objects on the way are made.
fn set_at(object: &mut Value, path: &str, value: Value) {
    let mut here = object;
    for name in path.split('.').skip(1) {
        if !here.is_object() {
            *here = json!({});
        }
        here = &mut here[name];
    }
    *here = value;
}

/// Plans a PUT or PATCH of a Scale.
pub(super) async fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let Some(paths) = &resource.scale else { return Err(not_allowed()) };
    let expected = context.expected_at_subresource(SCALE_TYPE);
    let mut managers = None;
    let (mut scale, mut warnings) = match &context.request.body {
        Body::Apply(_) => {
            let workload = context.found()?.to_value(&resource);
            let mut present = scale_of(paths, &workload);
            show_managers(&workload, &mut present);
            let merged = context.merge_configuration(expected, Some(&present))?;
            managers = Some(merged.managers.of_workload(&workload));
            (merged.object, merged.warnings)
        }
        Body::Patch(..) => {
            let patch = context.decode_patch()?;
            let present = scale_of(paths, &context.found()?.to_value(&resource));
            context.apply(&patch, expected, &present)?
        }
        _ => context.decode_object(expected)?,
    };
    context.check_name(&scale)?;
    let old = context.found()?;
    let version = str_at(&scale, "metadata.resourceVersion");
    if !matches!(version, "" | "0") && version != old.revision.to_string() {
        return Err(context.conflict(status::MODIFIED));
    }
    context.check_uid(&scale, old)?;
    let present = scale_of(paths, &old.to_value(&resource));
    context.admit(Verb::Update, &mut scale, Some(&present), &mut warnings).await?;
    let replicas = int_at(&scale, "spec.replicas").unwrap_or_default();
    check_replicas(&context.request.name, replicas)?;

    let before = old.to_value(&resource);
    let mut new = before.clone();
    set_at(&mut new, &paths.spec_replicas, replicas.into());
    let shown = Some(scale_of(paths, &new));
    update::finish(context, new, old, &before, managers, Reply { code: 200, warnings, shown })
}

fn check_replicas(name: &str, replicas: i64) -> Result<(), Status> {
    if replicas >= 0 {
        return Ok(());
    }
    let mut problems = Problems::default();
    problems.invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
    let text = format!("spec.replicas: {}", problems.causes[0].message);
    let message = format!("Scale.autoscaling \"{name}\" is invalid: {text}");
    let details = Details {
        name: name.to_owned(),
        group: "autoscaling".to_owned(),
        kind: "Scale".to_owned(),
        causes: problems.causes,
        ..Details::default()
    };
    Err(Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) })
}
