//! ReplicaSet: as many pods of a template as were asked for.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::select::Selector;
use berth_api::views::{Condition, Phase, Pod, Workload};
use berth_json::{Value, json};
use berth_state::{State, Stored};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::events::{EventKind, EventNote};
use crate::namespace;
use crate::outcome::{Outcome, Step};
use crate::requests::{Writer, controller_reference};
use crate::{ownership, parts};

/// Pods that one reconciliation creates or deletes at most (kube-controller-manager's burst), so that one large
/// ReplicaSet does not hold up all others.
const BURST_PODS_MAX: usize = 500;

struct Member<'a> {
    stored: &'a Arc<Stored>,
    pod: &'a Pod,
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
            wake.all(ownership::may_adopt(news, "replicasets.apps"));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look, stored)
    }
}

fn reconcile(look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
    let Look { writer, state, now, failure } = *look;
    let mut outcome = Outcome::default();
    let Some(set) = stored.view::<Workload>() else { return outcome };
    let Some(selector) = &set.spec.selector else { return outcome };
    let members = active_members(state, stored, selector);
    let deleting = stored.meta().deletion_timestamp.is_some();
    let missing = if deleting { 0 } else { set.spec.replicas() - members.len() as i64 };
    // Nothing new comes into a namespace that goes: whoever tried would only be refused.
    let missing = if namespace::is_going(state, &stored.key.namespace) { missing.min(0) } else { missing };
    let trouble = failure.map(|text| (if missing < 0 { "FailedDelete" } else { "FailedCreate" }, text));
    // The status goes first: what hinders the creation of pods must be seen although their creation fails.
    write_status(writer, stored, set, &members, trouble, now, &mut outcome);
    if !deleting {
        ownership::adopt_and_release(writer, state, stored, selector, "pods", &mut outcome);
    }
    if missing > 0 {
        create_pods(writer, stored, missing as usize, &mut outcome);
    } else if missing < 0 {
        delete_pods(writer, stored, &members, missing.unsigned_abs() as usize, &mut outcome);
    }
    outcome
}

fn active_members<'a>(state: &'a State, set: &'a Stored, selector: &Selector) -> Vec<Member<'a>> {
    let mine = ownership::owned(state, set, "pods")
        .filter(|pod| pod.meta().deletion_timestamp.is_none() && selector.matches(pod.meta()));
    mine.filter_map(|stored| Some(Member { stored, pod: stored.view()? }))
        .filter(|member| !member.pod.is_finished())
        .collect()
}

fn create_pods(writer: &Writer, set: &Arc<Stored>, missing: usize, outcome: &mut Outcome) {
    let created = EventNote::new(set, EventKind::Normal, "SuccessfulCreate", "Created pod: {name}");
    let failed = EventNote::new(set, EventKind::Warning, "FailedCreate", "Error creating: {error}");
    let pod = new_pod(writer, set);
    for _ in 0..missing.min(BURST_PODS_MAX) {
        let request = writer.create("pods", &set.key.namespace, pod.clone());
        outcome.push(Step::new(request).telling(created.clone()).warning(failed.clone()));
    }
}

fn new_pod(writer: &Writer, set: &Stored) -> Value {
    let template = parts::spec(set).template;
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
    let phase = match pod.phase {
        Phase::Pending => 0,
        Phase::Running => 2,
        Phase::Succeeded | Phase::Failed | Phase::Unknown => 1,
    };
    let is_placed = stored.field("spec.nodeName").is_some_and(|node| !node.is_empty());
    let cost = pod.annotations.get("controller.kubernetes.io/pod-deletion-cost");
    let ready = pod.ready_since;
    (
        is_placed,
        phase,
        ready.is_some(),
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0),
        std::cmp::Reverse(ready),
        std::cmp::Reverse(pod.restarts),
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
    let wanted = &set.spec.template.labels;
    let fully_labelled = members
        .iter()
        .filter(|member| wanted.iter().all(|(key, value)| member.stored.label(key) == Some(value)));
    let conditions = conditions(set, trouble, now);
    let mut status = json!({
        "fullyLabeledReplicas": fully_labelled.count(),
        "readyReplicas": members.iter().filter(|m| m.pod.ready_since.is_some()).count(),
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
    let before = conditions.iter().position(|c| &*c.kind == "ReplicaFailure").map(|at| conditions.remove(at));
    if let Some((reason, text)) = trouble {
        let since = before.and_then(|c| c.last_transition_time).unwrap_or_else(|| now.rfc3339().into());
        conditions.push(Condition {
            kind: "ReplicaFailure".into(),
            status: "True".into(),
            reason: reason.into(),
            message: text.into(),
            last_transition_time: Some(since),
            last_update_time: None,
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
    for ready in members.iter().filter_map(|member| member.pod.ready_since) {
        let from = ready.plus_millis(min_ready_seconds.saturating_mul(1000));
        if from <= now || min_ready_seconds == 0 {
            available += 1;
        } else {
            outcome.look_again(from);
        }
    }
    available
}
