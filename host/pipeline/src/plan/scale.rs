//! `/scale`: an `autoscaling/v1` Scale as a window on a workload's replicas.

use berth_api::kinds::view::{at, copy_field, int_at, str_at};
use berth_api::status::Details;
use berth_api::{Problems, Reason, Selector, Status, status};
use berth_json::{Value, json};

use super::context::{Context, Reply};
use super::{Plan, update};
use crate::identity::Verb;

const SCALE_TYPE: &str = "autoscaling.v1.Scale";

/// The Scale of a workload: what `GET …/scale` answers.
pub fn scale_of(workload: &Value) -> Value {
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        copy_field(&mut metadata, &workload["metadata"], key);
    }
    let mut spec = json!({});
    let replicas = int_at(workload, "spec.replicas").unwrap_or_default();
    if replicas != 0 {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({"replicas": int_at(workload, "status.replicas").unwrap_or_default()});
    let selector = Selector::from_object(at(workload, "spec.selector").unwrap_or(&Value::Null));
    if let Ok(Some(selector)) = selector {
        status["selector"] = selector.to_string().into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    })
}

/// Plans a PUT or PATCH of a Scale.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let expected = context.expected_at_subresource(SCALE_TYPE);
    let (scale, warnings) = match context.request.verb {
        Verb::Patch => {
            let patch = context.decode_patch()?;
            let present = scale_of(&context.found()?.to_value(&resource));
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
    let replicas = int_at(&scale, "spec.replicas").unwrap_or_default();
    check_replicas(&context.request.name, replicas)?;

    let before = old.to_value(&resource);
    let mut new = before.clone();
    new["spec"]["replicas"] = replicas.into();
    let shown = Some(scale_of(&new));
    update::finish(context, new, old, &before, Reply { code: 200, warnings, shown })
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
