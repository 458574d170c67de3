//! `pods/<name>/binding`: one pod, one node, over the API. The scheduler's own way is [`crate::binding`].

use berth_api::Status;
use berth_api::decode::Expected;
use berth_api::kinds::view::{at, str_at};
use berth_api::{Reason, Timestamp};
use berth_json::{Value, json};
use berth_state::Expect;

use super::Plan;
use super::context::{Context, Reply, not_allowed, success};
use super::metadata::metadata_of;
use crate::binding::check_bindable;
use crate::request::Request;

/// Plans the binding of a pod.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let (binding, warnings) = context.decode_object(context.expected_at_subresource("core.v1.Binding"))?;
    let name = str_at(&binding, "metadata.name");
    if !name.is_empty() && name != context.request.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    check_target(&binding)?;
    let old = context.found()?;
    check_bindable(old, str_at(&binding, "metadata.uid"))?;

    let mut pod = old.to_value(&context.request.resource);
    check_gates(context, &pod)?;
    pod["spec"]["nodeName"] = binding["target"]["name"].clone();
    if let Some(annotations) = at(&binding, "metadata.annotations").and_then(Value::as_object) {
        let own = metadata_of(&mut pod).entry("annotations").or_insert_with(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            own.extend(annotations.clone());
        }
    }
    set_scheduled(&mut pod["status"], context.env.now);
    let reply = Reply { code: 201, warnings, shown: None };
    let plan = context.write(old.key.clone(), Expect::At(old.revision), pod, None, reply)?;
    Ok(Plan::answering(plan.commit, plan.code, success(201, None), plan.warnings))
}

/// Plans the binding that is posted to the collection `bindings`: of the pod that has its name.
pub(super) fn plan_by_name(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let (binding, _) = context.decode_object(Expected::of(&context.request.resource))?;
    let Some(pods) = context.env.catalogue.named("pods").cloned() else { return Err(not_allowed()) };
    let request = Request {
        resource: pods,
        subresource: "binding",
        name: str_at(&binding, "metadata.name").to_owned(),
        ..context.request.clone()
    };
    plan(&mut Context { state: context.state, env: context.env, request: &request })
}

/// The API server answers these two with 500 and no reason; clients know the sentences.
fn check_target(binding: &Value) -> Result<(), Status> {
    let refused = |text: String| Err(Status::new(Reason::Unknown, text));
    match str_at(binding, "target.kind") {
        "" | "Node" => {}
        kind => {
            let kind = Value::from(kind);
            let text =
                format!("target.kind: Unsupported value: {kind}: supported values: \"Node\", \"<empty>\"");
            return refused(text);
        }
    }
    if str_at(binding, "target.name").is_empty() {
        return refused("target.name: Required value".to_owned());
    }
    Ok(())
}

fn check_gates(context: &Context<'_, '_>, pod: &Value) -> Result<(), Status> {
    let gates = at(pod, "spec.schedulingGates").and_then(Value::as_array);
    if gates.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let name = &context.request.name;
    Err(crate::binding::conflict(name, &format!("pod {name} has non-empty .spec.schedulingGates")))
}

/// Sets the condition PodScheduled to true; it changed now unless it was true before.
pub(crate) fn set_scheduled(status: &mut Value, now: Timestamp) {
    let condition = json!({
        "type": "PodScheduled", "status": "True",
        "lastProbeTime": null, "lastTransitionTime": now.rfc3339(),
    });
    if !status.is_object() {
        *status = json!({});
    }
    match status.get_mut("conditions").and_then(Value::as_array_mut) {
        None => status["conditions"] = json!([condition]),
        Some(conditions) => match conditions.iter_mut().find(|c| c["type"] == "PodScheduled") {
            Some(present) if present["status"] == "True" => {}
            Some(present) => *present = condition,
            None => conditions.push(condition),
        },
    }
}
