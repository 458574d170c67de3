//! PodSecurity: pods are held against the Pod Security Standard that their namespace's labels name. Pods that violate it are
//! refused, what makes pods is warned of.

use std::collections::BTreeMap;

use berth_api::Status;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_api::pod_security::{Level, Policy, Standard, Violation, seccomp_annotations};
use berth_json::Value;
use berth_state::{Key, State};

use super::{Admission, Review, Verdict, at_once};
use crate::identity::Verb;

/// Where kinds that make pods hold their template.
const TEMPLATES: [(&str, &str); 8] = [
    ("cronjobs.batch", "spec.jobTemplate.spec.template"),
    ("daemonsets.apps", "spec.template"),
    ("deployments.apps", "spec.template"),
    ("jobs.batch", "spec.template"),
    ("podtemplates", "template"),
    ("replicasets.apps", "spec.template"),
    ("replicationcontrollers", "spec.template"),
    ("statefulsets.apps", "spec.template"),
];

/// Pods of a namespace that are looked at when its standard becomes stricter: the API server's number. The answer waits for
/// it.
const PODS_MAX: usize = 3000;

pub(super) struct PodSecurity;

impl Admission for PodSecurity {
    fn name(&self) -> &str {
        "PodSecurity"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        review.subresource.is_empty() && review.verb != Verb::Delete
    }

    fn validate<'a>(&'a self, review: &'a Review<'_>, object: &'a Value) -> Verdict<'a> {
        at_once(validate(review, object))
    }
}

/// Refuses a pod that its namespace does not take. Returns warnings about what only makes such pods.
fn validate(review: &Review<'_>, object: &Value) -> Result<Vec<String>, Status> {
    let id = &*review.resource.id;
    let template =
        TEMPLATES.iter().find(|(resource, _)| *resource == id).and_then(|(_, path)| at(object, path));
    match (id, template) {
        ("namespaces", _) => Ok(of_namespace(review, object)),
        ("pods", _) if is_significant(review, object) => check_pod(review, object),
        (_, Some(template)) => {
            let policy = policy_of(review.state, review.namespace);
            Ok(policy.and_then(|policy| warning(policy.warn, template)).into_iter().collect())
        }
        _ => Ok(vec![]),
    }
}

fn policy_of(state: &State, namespace: &str) -> Option<Policy> {
    state.get(&Key::new("namespaces", "", namespace)).map(|stored| Policy::of(|key| stored.label(key)))
}

fn policy_in(namespace: &Value) -> Policy {
    let labels = at(namespace, "metadata.labels");
    Policy::of(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
}

fn check_pod(review: &Review<'_>, object: &Value) -> Result<Vec<String>, Status> {
    let Some(policy) = policy_of(review.state, review.namespace) else { return Ok(vec![]) };
    let violations = policy.enforce.violations(object);
    if violations.is_empty() {
        return Ok(warning(policy.warn, object).into_iter().collect());
    }
    let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, listed(&violations));
    Err(Status::forbidden(review.resource, review.name, &why))
}

fn warning(standard: Standard, object: &Value) -> Option<String> {
    let violations = standard.violations(object);
    (!violations.is_empty())
        .then(|| format!("would violate PodSecurity \"{standard}\": {}", listed(&violations)))
}

fn listed(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Whether a write of a pod can make it violate what it did not before: a new pod, or one whose containers change.
fn is_significant(review: &Review<'_>, object: &Value) -> bool {
    let Some(old) = review.old.filter(|_| review.verb == Verb::Update) else { return true };
    let lists = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    lists.iter().any(|list| list_at(object, list) != list_at(old, list))
        || seccomp_annotations(object) != seccomp_annotations(old)
}

/// Warnings about the pods that a namespace has already when it begins to ask for more.
fn of_namespace(review: &Review<'_>, object: &Value) -> Vec<String> {
    let Some(old) = review.old else { return vec![] };
    let (new, old) = (policy_in(object).enforce, policy_in(old).enforce);
    let is_relaxed = new.version == old.version && new.level <= old.level;
    if is_relaxed || new.level == Level::Privileged {
        return vec![];
    }
    let pods: Vec<_> = review.state.list("pods", review.name).collect();
    let mut violating: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for stored in pods.iter().take(PODS_MAX) {
        // What is stored is JSON; a pod that could not be read would show elsewhere.
        let Ok(pod) = serde_json::from_slice::<Value>(stored.bytes()) else { continue };
        let reasons: Vec<String> =
            new.violations(&pod).into_iter().map(|violation| violation.reason).collect();
        if !reasons.is_empty() {
            violating.entry(reasons.join(", ")).or_default().push(&stored.key.name);
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > PODS_MAX {
        let total = pods.len();
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {total} existing pods"
        ));
    }
    if !violating.is_empty() {
        let name = str_at(object, "metadata.name");
        warnings.push(format!(
            "existing pods in namespace \"{name}\" violate the new PodSecurity enforce level \"{new}\""
        ));
    }
    let mut each: Vec<String> = violating.iter().map(|(reasons, names)| of_pods(reasons, names)).collect();
    each.sort();
    warnings.extend(each);
    warnings
}

fn of_pods(reasons: &str, names: &[&str]) -> String {
    let first = names.iter().min().copied().unwrap_or_default();
    match names.len() {
        1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        many => format!("{first} (and {} other pods): {reasons}", many - 1),
    }
}
