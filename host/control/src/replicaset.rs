//! ReplicaSet: as many pods of a template as were asked for.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::select::Selector;
use berth_json::{Value, json};
use berth_state::{State, Stored};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::events::{EventKind, EventNote};
use crate::namespace;
use crate::outcome::{Outcome, Step};
use crate::requests::{Writer, controller_reference};
use crate::view::{self, Condition, Pod, Workload};

/// Pods that one reconciliation creates or deletes at most (kube-controller-manager's burst), so that one large
/// ReplicaSet does not hold up all others.
const BURST_PODS_MAX: usize = 500;

struct Member<'a> {
    stored: &'a Arc<Stored>,
    pod: Pod,
}

/// Keeps the number of pods.
pub(crate) struct ReplicaSets;

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["replicasets.apps", "pods"])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        if news.resource() == "replicasets.apps" {
            return wake.up(news.key());
        }
        wake.all(news.owners().filter(|owner| &*owner.key.resource == "replicasets.apps"));
        if news.is_unowned() {
            wake.all(news.state.list("replicasets.apps", &news.key().namespace));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look, stored)
    }
}

fn reconcile(look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
    let Look { writer, state, now, failure } = *look;
    let mut outcome = Outcome::default();
    let Some(set) = view::read::<Workload>(stored) else { return outcome };
    let Ok(Some(selector)) = Selector::from_object(&set.spec.selector) else { return outcome };
    let members = active_members(state, stored, &selector);
    let deleting = stored.meta().deletion_timestamp.is_some();
    let missing = if deleting { 0 } else { set.spec.replicas() - members.len() as i64 };
    // Nothing new comes into a namespace that goes: whoever tried would only be refused.
    let missing = if namespace::is_going(state, &stored.key.namespace) { missing.min(0) } else { missing };
    let trouble = failure.map(|text| (if missing < 0 { "FailedDelete" } else { "FailedCreate" }, text));
    // The status goes first: what hinders the creation of pods must be seen although their creation fails.
    write_status(writer, stored, &set, &members, trouble, now, &mut outcome);
    if !deleting {
        adopt_and_release(writer, state, stored, &selector, &mut outcome);
    }
    if missing > 0 {
        create_pods(writer, stored, &set, missing as usize, &mut outcome);
    } else if missing < 0 {
        delete_pods(writer, stored, &members, missing.unsigned_abs() as usize, &mut outcome);
    }
    outcome
}

/// Pods that match and belong to nobody become this set's; pods that no longer match are let go.
fn adopt_and_release(
    writer: &Writer,
    state: &State,
    set: &Arc<Stored>,
    selector: &Selector,
    outcome: &mut Outcome,
) {
    let reference = controller_reference(set, writer.resource("replicasets.apps"));
    for pod in state.list("pods", &set.key.namespace) {
        let meta = pod.meta();
        let mine = pod.controller().is_some_and(|owner| owner.uid == set.meta().uid);
        let matches = selector.matches(meta);
        if !mine && matches && pod.controller().is_none() && meta.deletion_timestamp.is_none() {
            if pod.field("status.phase").is_some_and(|phase| matches!(phase, "Succeeded" | "Failed")) {
                continue;
            }
            outcome.push(Step::new(writer.add_owner(pod, reference.clone())));
        } else if mine && !matches {
            outcome.push(Step::new(writer.remove_owners(pod, |owner| owner == &*set.meta().uid)));
        }
    }
}

fn active_members<'a>(state: &'a State, set: &Stored, selector: &Selector) -> Vec<Member<'a>> {
    let mine = state.dependents(&set.meta().uid).filter(|pod| {
        &*pod.key.resource == "pods"
            && pod.controller().is_some_and(|owner| owner.uid == set.meta().uid)
            && pod.meta().deletion_timestamp.is_none()
            && selector.matches(pod.meta())
    });
    mine.filter_map(|stored| Some(Member { stored, pod: view::read(stored)? }))
        .filter(|member| !member.pod.finished())
        .collect()
}

fn create_pods(writer: &Writer, set: &Arc<Stored>, view: &Workload, missing: usize, outcome: &mut Outcome) {
    let created = EventNote::new(set, EventKind::Normal, "SuccessfulCreate", "Created pod: {name}");
    let failed = EventNote::new(set, EventKind::Warning, "FailedCreate", "Error creating: {error}");
    for _ in 0..missing.min(BURST_PODS_MAX) {
        let request = writer.create("pods", &set.key.namespace, new_pod(writer, set, view));
        outcome.push(Step::new(request).telling(created.clone()).warning(failed.clone()));
    }
}

fn new_pod(writer: &Writer, set: &Stored, view: &Workload) -> Value {
    let template = &view.spec.template;
    let mut metadata = json!({
        "generateName": pod_name_prefix(&set.key.name),
        "namespace": &*set.key.namespace,
        "ownerReferences": [controller_reference(set, writer.resource("replicasets.apps"))],
    });
    for key in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][key].is_null() {
            metadata[key] = template["metadata"][key].clone();
        }
    }
    json!({"metadata": metadata, "spec": template["spec"]})
}

/// `<set>-`, or nothing where that would be no valid beginning of a name.
fn pod_name_prefix(set: &str) -> String {
    const GENERATED_PREFIX_MAX: usize = 58; // 63 less the five characters that are added
    let prefix = format!("{set}-");
    if prefix.len() <= GENERATED_PREFIX_MAX { prefix } else { prefix[..GENERATED_PREFIX_MAX].to_owned() }
}

fn delete_pods(
    writer: &Writer,
    set: &Arc<Stored>,
    members: &[Member<'_>],
    surplus: usize,
    outcome: &mut Outcome,
) {
    let mut ranked: Vec<&Member<'_>> = members.iter().collect();
    ranked.sort_by_key(|member| dispensability(member));
    for member in ranked.into_iter().take(surplus.min(BURST_PODS_MAX)) {
        let text = format!("Deleted pod: {}", member.stored.key.name);
        let note = EventNote::new(set, EventKind::Normal, "SuccessfulDelete", text);
        outcome.push(Step::new(writer.delete(member.stored, "Background")).telling(note).optional());
    }
}

/// The order in which pods go: not placed, not running, not ready, cheapest by annotation, youngest ready, most
/// restarts, youngest. (`controller.ActivePodsWithRanks`)
fn dispensability(member: &Member<'_>) -> impl Ord + use<> {
    let Member { stored, pod } = member;
    let phase = match pod.status.phase.as_str() {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost");
    let ready = pod.ready_since();
    (
        !pod.spec.node_name.is_empty(),
        phase,
        ready.is_some(),
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0),
        std::cmp::Reverse(ready),
        std::cmp::Reverse(pod.restarts()),
        std::cmp::Reverse(stored.meta().creation_timestamp),
        std::cmp::Reverse(stored.key.name.clone()),
    )
}

fn write_status(
    writer: &Writer,
    stored: &Stored,
    set: &Workload,
    members: &[Member<'_>],
    trouble: Option<(&str, &str)>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let template_labels = &set.spec.template["metadata"]["labels"];
    let fully_labelled = members.iter().filter(|member| {
        let mut wanted = template_labels.as_object().into_iter().flatten();
        wanted.all(|(key, value)| member.stored.label(key) == value.as_str())
    });
    let conditions = conditions(set, trouble, now);
    let mut status = json!({
        "fullyLabeledReplicas": fully_labelled.count(),
        "readyReplicas": members.iter().filter(|m| m.pod.ready_since().is_some()).count(),
        "availableReplicas": available_count(members, set.spec.min_ready_seconds, now, outcome),
        "observedGeneration": stored.meta().generation,
        "conditions": conditions.iter().map(Condition::to_value).collect::<Vec<_>>(),
    });
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| *value != 0 && *value != json!([]));
    }
    status["replicas"] = members.len().into();
    if let Some(request) = writer.set_status(stored, status) {
        outcome.push(Step::new(request));
    }
}

/// The set's conditions: `ReplicaFailure` while the last attempt to change the pods failed.
fn conditions(set: &Workload, trouble: Option<(&str, &str)>, now: Timestamp) -> Vec<Condition> {
    let mut conditions = set.status.conditions.clone();
    let before = conditions.iter().position(|c| c.kind == "ReplicaFailure").map(|at| conditions.remove(at));
    if let Some((reason, text)) = trouble {
        let since = before.map(|c| c.last_transition_time).unwrap_or_else(|| now.rfc3339());
        conditions.push(Condition {
            kind: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: text.to_owned(),
            last_transition_time: since,
            last_update_time: String::new(),
        });
    }
    conditions
}

/// Pods that have been ready for `minReadySeconds`; the next moment at which one more will have been is noted.
fn available_count(
    members: &[Member<'_>],
    min_ready_seconds: i64,
    now: Timestamp,
    outcome: &mut Outcome,
) -> usize {
    let mut available = 0;
    for ready in members.iter().filter_map(|member| member.pod.ready_since()) {
        let from = ready.plus_millis(min_ready_seconds.saturating_mul(1000));
        if from <= now || min_ready_seconds == 0 {
            available += 1;
        } else {
            outcome.look_again(from);
        }
    }
    available
}
