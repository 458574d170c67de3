//! NodeRestriction: what a node writes is about itself and its pods, and draws nothing to it. The authorizer, which sees no
//! bodies, cannot tell.

use std::collections::BTreeSet;

use berth_api::Status;
use berth_api::kinds::view::{at, int_at, list_at, str_at};
use berth_api::{Reason, Resource};
use berth_json::Value;
use berth_state::{Key, State};

use super::{Admission, Review, Verdict, at_once};
use crate::authorizer::node_name;
use crate::identity::{Identity, Verb};

/// Labels of `kubernetes.io` and `k8s.io` that a node gives itself.
const OWN_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Prefixes, with what ends in them, that a node may use.
const OWN_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The prefix of labels by which administrators keep workloads from nodes.
const RESTRICTED_PREFIX: &str = "node-restriction.kubernetes.io";

/// A projected token's lifetime when the pod names none.
const TOKEN_SECONDS_DEFAULT: i64 = 3600;

pub(super) struct NodeRestriction;

impl Admission for NodeRestriction {
    fn name(&self) -> &str {
        "NodeRestriction"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        node_name(review.identity).is_some()
    }

    fn mutate<'a>(&'a self, review: &'a Review<'_>, object: &'a mut Value) -> Verdict<'a> {
        at_once(check(review, object).map(|()| vec![]))
    }
}

fn check(review: &Review<'_>, object: &Value) -> Result<(), Status> {
    let Some(node) = node_name(review.identity) else { return Ok(()) };
    let why = match (&*review.resource.id, review.verb) {
        ("nodes", Verb::Create | Verb::Update) => fault_of_node(review, node, object),
        ("pods", Verb::Update) => fault_of_pod(review, node, object),
        ("leases.coordination.k8s.io", Verb::Create) if review.name != node => {
            Some("can only access node lease with the same name as the requesting node".to_owned())
        }
        _ => None,
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Status::forbidden(review.resource, review.name, &why)),
    }
}

fn fault_of_node(review: &Review<'_>, node: &str, object: &Value) -> Option<String> {
    if review.name != node {
        return Some(format!("node \"{node}\" is not allowed to modify node \"{}\"", review.name));
    }
    let none = Value::Null;
    let old = review.old.unwrap_or(&none);
    let forbidden = forbidden_labels(object, old).join(", ");
    let is_new = review.old.is_none();
    if !forbidden.is_empty() {
        let what = if is_new { "set the following labels" } else { "modify labels" };
        return Some(format!("node \"{node}\" is not allowed to {what}: {forbidden}"));
    }
    // At its birth a node says what it is; later on that is the administrator's to say.
    let fixed = [("taints", "spec.taints"), ("unschedulable", "spec.unschedulable")];
    let fixed =
        fixed.into_iter().filter(|_| !is_new).chain([("ownerReferences", "metadata.ownerReferences")]);
    let changed = fixed.into_iter().find(|(_, path)| given(object, path) != given(old, path));
    changed.map(|(field, _)| format!("node \"{node}\" is not allowed to modify {field}"))
}

fn fault_of_pod(review: &Review<'_>, node: &str, object: &Value) -> Option<String> {
    let old = review.old?;
    let fixed = [
        ("labels", "metadata.labels"),
        ("finalizers", "metadata.finalizers"),
        ("resource claim statuses", "status.resourceClaimStatuses"),
    ];
    let changed = fixed.into_iter().find(|(_, path)| given(object, path) != given(old, path));
    changed.map(|(what, _)| format!("node \"{node}\" cannot update {what} through pod status"))
}

/// What stands at a path; nothing, an empty list and an empty map say the same, and so does false.
fn given<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    at(object, path).filter(|value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}

/// The labels that change although they are not the node's to change.
fn forbidden_labels<'v>(new: &'v Value, old: &'v Value) -> Vec<&'v str> {
    let label =
        |object: &'v Value, key: &str| at(object, "metadata.labels").and_then(|labels| labels.get(key));
    let keys = |object: &'v Value| {
        at(object, "metadata.labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
    };
    let all: BTreeSet<&str> = keys(new).chain(keys(old)).collect();
    all.into_iter().filter(|key| label(new, key) != label(old, key) && !is_own_label(key)).collect()
}

fn is_own_label(label: &str) -> bool {
    let prefix = label.split_once('/').map_or("", |(prefix, _)| prefix);
    let is_in =
        |domain: &str| prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is_in(RESTRICTED_PREFIX) {
        return false;
    }
    let is_official = is_in("kubernetes.io") || is_in("k8s.io");
    !is_official || OWN_LABELS.contains(&label) || OWN_PREFIXES.into_iter().any(is_in)
}

/// Refuses a token that a node has no use for: it must be bound to one of the node's pods, for an audience that the pod
/// names. How long it may live at most; `None` for who is no node.
pub(crate) fn check_token(
    state: &State,
    identity: &Identity,
    account: (&Resource, &str, &str),
    request: &Value,
) -> Result<Option<i64>, Status> {
    let Some(node) = node_name(identity) else { return Ok(None) };
    let (resource, namespace, name) = account;
    let refused = |why: &str| Err(Status::forbidden(resource, name, why));
    let reference = &request["spec"]["boundObjectRef"];
    let pod = str_at(reference, "name");
    if (str_at(reference, "apiVersion"), str_at(reference, "kind")) != ("v1", "Pod") || pod.is_empty() {
        return refused("node requested token not bound to a pod");
    }
    let uid = str_at(reference, "uid");
    if uid.is_empty() {
        return refused("node requested token with a pod binding without a uid");
    }
    let Some(stored) = state.get(&Key::new("pods", namespace, pod)) else {
        return Err(Status::new(Reason::NotFound, format!("pods \"{pod}\" not found")));
    };
    if *stored.meta().uid != *uid {
        return refused(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        ));
    }
    if stored.field("spec.nodeName") != Some(node) {
        return refused("node requested token bound to a pod scheduled on a different node");
    }
    let audience = match list_at(request, "spec.audiences") {
        [] => "",
        [audience] => audience.as_str().unwrap_or_default(),
        _ => return refused("node may only request 0 or 1 audiences"),
    };
    let pod: Value = serde_json::from_slice(stored.bytes())
        .map_err(|error| Status::internal(format!("{} cannot be read: {error}", stored.key)))?;
    match longest_projection(&pod, audience) {
        None => refused(&format!("audience \"{audience}\" not found in pod spec volume")),
        longest => Ok(longest),
    }
}

/// The longest lifetime that the pod's volumes ask for in a token for this audience.
fn longest_projection(pod: &Value, audience: &str) -> Option<i64> {
    let sources = list_at(pod, "spec.volumes").iter().flat_map(|volume| list_at(volume, "projected.sources"));
    let tokens = sources.filter_map(|source| source.get("serviceAccountToken"));
    let fitting = tokens.filter(|token| str_at(token, "audience") == audience);
    fitting.map(|token| int_at(token, "expirationSeconds").unwrap_or(TOKEN_SECONDS_DEFAULT)).max()
}

#[cfg(test)]
mod tests {
    use super::is_own_label;

    #[test]
    fn labels_that_a_node_gives_itself() {
        for own in [
            "app",
            "example.com/zone",
            "notkubernetes.io/x",
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/anything",
            "gpu.kubelet.kubernetes.io/model",
        ] {
            assert!(is_own_label(own), "{own}");
        }
        for others in [
            "kubernetes.io/role",
            "node-role.kubernetes.io/control-plane",
            "node-restriction.kubernetes.io/pci",
            "example.node-restriction.kubernetes.io/pci",
            "k8s.io/x",
            "cloud.k8s.io/x",
            "evilnode.kubernetes.io/x",
        ] {
            assert!(!is_own_label(others), "{others}");
        }
    }
}
