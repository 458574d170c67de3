//! Priority, RuntimeClass and DefaultTolerationSeconds.

use berth_api::Status;
use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_json::{Value, json};

use super::{Admission, Review, Verdict, at_once, is_pod};
use crate::identity::Verb;

/// How long a pod stays on a node that is not ready or cannot be reached, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;

const UNHEALTHY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The classes that every cluster has. Others are objects of a kind that is not served yet.
const CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) struct Priority;

impl Admission for Priority {
    fn name(&self) -> &str {
        "Priority"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        is_pod(review, &[Verb::Create])
    }

    fn mutate<'a>(&'a self, review: &'a Review<'_>, pod: &'a mut Value) -> Verdict<'a> {
        at_once(set_priority(review, pod).map(|()| vec![]))
    }
}

/// Sets `spec.priority` from the class; without one it is 0.
fn set_priority(review: &Review<'_>, pod: &mut Value) -> Result<(), Status> {
    let class = str_at(pod, "spec.priorityClassName").to_owned();
    let priority = match CLASSES.iter().find(|(name, _)| *name == class) {
        Some((_, priority)) => *priority,
        None if class.is_empty() => 0,
        None => {
            let why = format!("no PriorityClass with name {class} was found");
            return Err(Status::forbidden(review.resource, review.name, &why));
        }
    };
    if let Some(given) = int_at(pod, "spec.priority").filter(|given| *given != priority) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        );
        return Err(Status::forbidden(review.resource, review.name, &why));
    }
    pod["spec"]["priority"] = priority.into();
    if str_at(pod, "spec.preemptionPolicy").is_empty() {
        pod["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
    Ok(())
}

pub(super) struct RuntimeClass;

impl Admission for RuntimeClass {
    fn name(&self) -> &str {
        "RuntimeClass"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        is_pod(review, &[Verb::Create])
    }

    fn mutate<'a>(&'a self, review: &'a Review<'_>, pod: &'a mut Value) -> Verdict<'a> {
        at_once(check_runtime_class(review, pod).map(|()| vec![]))
    }
}

/// Runtime classes are objects of a kind that is not served yet: none has the name that a pod gives.
fn check_runtime_class(review: &Review<'_>, pod: &Value) -> Result<(), Status> {
    match str_at(pod, "spec.runtimeClassName") {
        "" => Ok(()),
        name => {
            let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
            Err(Status::forbidden(review.resource, review.name, &why))
        }
    }
}

pub(super) struct DefaultTolerations;

impl Admission for DefaultTolerations {
    fn name(&self) -> &str {
        "DefaultTolerationSeconds"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        is_pod(review, &[Verb::Create, Verb::Update])
    }

    fn mutate<'a>(&'a self, _review: &'a Review<'_>, pod: &'a mut Value) -> Verdict<'a> {
        add_default_tolerations(pod);
        at_once(Ok(vec![]))
    }
}

/// Adds what keeps a pod on an unhealthy node for a while, where it does not say so itself.
fn add_default_tolerations(pod: &mut Value) {
    for key in UNHEALTHY {
        let tolerates = |toleration: &Value| {
            ["", key].contains(&str_at(toleration, "key"))
                && ["", "NoExecute"].contains(&str_at(toleration, "effect"))
        };
        if list_at(pod, "spec.tolerations").iter().any(tolerates) {
            continue;
        }
        let toleration = json!({
            "key": key, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": TOLERATION_SECONDS,
        });
        match pod["spec"].get_mut("tolerations").and_then(Value::as_array_mut) {
            Some(tolerations) => tolerations.push(toleration),
            None => pod["spec"]["tolerations"] = json!([toleration]),
        }
    }
}
