//! Binding pods to nodes by the thousand: the scheduler's fast way, past the JSON of the generic machine.

use std::collections::HashSet;

use berth_api::status::Details;
use berth_api::{Reason, Status, Timestamp};
use berth_json::Value;
use berth_state::{Action, Draft, Expect, Key, Op, State, Stored};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::plan::set_scheduled;

/// The indexed field that a binding changes.
const NODE_NAME: &str = "spec.nodeName";

/// A scheduler's decision for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The pod.
    pub pod: Key,
    /// The pod's uid when it was decided on: a pod of the same name that came later is another one.
    pub uid: Box<str>,
    /// The node it goes to.
    pub node: Box<str>,
}

/// Turns decisions into writes: `spec.nodeName` and the condition PodScheduled, put into the encoded bytes.
///
/// One result a binding, in their order. That the pod fits its node is the caller's to check; that it is there, the
/// same, unbound, not being deleted and not gated is checked here. Two bindings of one pod: the second is refused.
///
/// # Errors
/// In an element: 404 or 409, as `POST …/binding` answers.
pub fn plan_bindings(state: &State, now: Timestamp, bindings: &[Binding]) -> Vec<Result<Op, Status>> {
    let now_text = now.rfc3339();
    let mut taken = HashSet::with_capacity(bindings.len());
    let mut plan = |binding: &Binding| {
        let stored = state.get(&binding.pod).ok_or_else(|| not_found(&binding.pod))?;
        check_bindable(stored, &binding.uid)?;
        if !taken.insert(binding.pod.clone()) {
            return Err(conflict(&binding.pod.name, "the pod stands twice among the bindings"));
        }
        let draft = bound(stored, &binding.node, now, &now_text)?;
        Ok(Op { key: binding.pod.clone(), expect: Expect::At(stored.revision), action: Action::Put(draft) })
    };
    bindings.iter().map(&mut plan).collect()
}

/// Whether a pod can be bound at all; an empty `uid` means any.
pub(crate) fn check_bindable(pod: &Stored, uid: &str) -> Result<(), Status> {
    let (name, meta) = (&*pod.key.name, pod.meta());
    if !uid.is_empty() && *meta.uid != *uid {
        return Err(conflict(
            name,
            &format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta.uid),
        ));
    }
    if meta.deletion_timestamp.is_some() {
        return Err(conflict(name, &format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    match pod.field(NODE_NAME) {
        None | Some("") => Ok(()),
        Some(node) => Err(conflict(name, &format!("pod {name} is already assigned to node \"{node}\""))),
    }
}

/// 409 as `POST …/binding` answers it.
pub(crate) fn conflict(name: &str, why: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
    let details = Details { name: name.to_owned(), kind: "pods/binding".to_owned(), ..Details::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Conflict, message) }
}

fn not_found(pod: &Key) -> Status {
    let details = Details { name: pod.name.to_string(), kind: "pods".to_owned(), ..Details::default() };
    let message = format!("pods \"{}\" not found", pod.name);
    Status { details: Some(Box::new(details)), ..Status::new(Reason::NotFound, message) }
}

/// The parts of an encoded pod, unread.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    spec: &'a RawValue,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// What of a spec forbids binding.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gates<'a> {
    #[serde(borrow, default)]
    scheduling_gates: Option<&'a RawValue>,
}

fn bound(pod: &Stored, node: &str, now: Timestamp, now_text: &str) -> Result<Draft, Status> {
    let broken = |error: serde_json::Error| Status::internal(format!("{} cannot be read: {error}", pod.key));
    let parts: Parts<'_> = serde_json::from_slice(pod.bytes()).map_err(broken)?;
    let spec = parts.spec.get();
    // The word itself is rare: only where it occurs the spec is looked into.
    if spec.contains("schedulingGates") {
        let gates: Gates<'_> = serde_json::from_str(spec).map_err(broken)?;
        if gates.scheduling_gates.is_some_and(|list| list.get() != "[]") {
            let name = &pod.key.name;
            return Err(conflict(name, &format!("pod {name} has non-empty .spec.schedulingGates")));
        }
    }
    let mut bytes = Vec::with_capacity(pod.bytes().len() + node.len() + 192);
    bytes.extend_from_slice(b"{\"metadata\":");
    bytes.extend_from_slice(parts.metadata.get().as_bytes());
    bytes.extend_from_slice(b",\"spec\":");
    let name = serde_json::to_string(node).map_err(broken)?;
    put_first(&mut bytes, spec, &format!("\"nodeName\":{name}"));
    bytes.extend_from_slice(b",\"status\":");
    let status = parts.status.map_or("{}", RawValue::get);
    if status.contains("\"conditions\"") {
        let mut status: Value = serde_json::from_str(status).map_err(broken)?;
        set_scheduled(&mut status, now);
        serde_json::to_writer(&mut bytes, &status).map_err(broken)?;
    } else {
        let condition = format!(
            "\"conditions\":[{{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastProbeTime\":null,\
             \"lastTransitionTime\":\"{now_text}\"}}]"
        );
        put_first(&mut bytes, status, &condition);
    }
    bytes.push(b'}');
    let mut fields = pod.fields().to_vec();
    fields.iter_mut().filter(|field| field.name == NODE_NAME).for_each(|field| field.value = node.into());
    Ok(Draft::from_parts(Bytes::from(bytes), pod.meta().clone(), fields, pod.claims().into()))
}

/// Writes a JSON object with one more field in front.
fn put_first(bytes: &mut Vec<u8>, object: &str, field: &str) {
    let rest = object.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
    bytes.push(b'{');
    bytes.extend_from_slice(field.as_bytes());
    if !rest.starts_with('}') {
        bytes.push(b',');
    }
    bytes.extend_from_slice(rest.as_bytes());
}
