//! What an autoscaler scales, as it is in the state.

use std::sync::Arc;

use berth_api::kinds::view::{at, int_at, str_at};
use berth_api::{Catalogue, Resource, Selector};
use berth_autoscale::{Autoscaler, Reference, Scale, SeenPod};
use berth_json::{Value, json};
use berth_pipeline::{Body, Identity, Options, PatchKind, Request, Verb, scale_of};
use berth_state::{Key, State, Stored};

use super::AUTOSCALERS;

/// A workload with its scale.
pub(super) struct Workload {
    resource: Arc<Resource>,
    stored: Arc<Stored>,
    pub(super) scale: Scale,
    /// Which pods are its own, as its Scale says it.
    selector: String,
}

/// The workload that an autoscaler in `namespace` names; an error says why its scale cannot be had.
pub(super) fn find(
    state: &State,
    catalogue: &Catalogue,
    namespace: &str,
    target: &Reference,
) -> Result<Workload, String> {
    let (resource, stored) = object(state, catalogue, namespace, target)?;
    let paths = resource.scale.clone().ok_or_else(|| format!("{} have no scale", resource.qualified()))?;
    let scale = scale_of(&paths, &stored.to_value(&resource));
    let replicas = |path: &str| {
        let given = int_at(&scale, path).unwrap_or_default();
        u32::try_from(given.clamp(0, i64::from(i32::MAX))).unwrap_or_default()
    };
    Ok(Workload {
        scale: Scale { wanted: replicas("spec.replicas"), present: replicas("status.replicas") },
        selector: str_at(&scale, "status.selector").to_owned(),
        resource,
        stored,
    })
}

fn object(
    state: &State,
    catalogue: &Catalogue,
    namespace: &str,
    target: &Reference,
) -> Result<(Arc<Resource>, Arc<Stored>), String> {
    let (group, _) = target.api_version.split_once('/').unwrap_or(("", &target.api_version));
    let Reference { kind, name, .. } = target;
    let resource = catalogue.of_kind(group, kind);
    let resource = resource.ok_or_else(|| format!("no matches for kind \"{kind}\" in group \"{group}\""))?;
    let key = Key::new(&*resource.id, namespace, &**name);
    let stored = state.get(&key).cloned();
    stored
        .map(|stored| (resource.clone(), stored))
        .ok_or_else(|| format!("{} \"{name}\" not found", resource.qualified()))
}

impl Workload {
    /// Which pods are its own; the reason and the sentence when nobody can say.
    pub(super) fn selector(
        &self,
        state: &State,
        autoscaler: &Stored,
    ) -> Result<Selector, (&'static str, String)> {
        if self.selector.is_empty() {
            let text = "the HPA target's scale is missing a selector";
            return Err(("SelectorRequired", text.to_owned()));
        }
        let selector = Selector::parse(&self.selector);
        let invalid = |why: String| {
            (
                "InvalidSelector",
                format!("couldn't convert selector into a corresponding internal selector object: {why}"),
            )
        };
        let selector = selector.map_err(invalid)?;
        let rivals = rivals(state, autoscaler);
        if rivals.len() > 1 {
            let text = format!(
                "pods by selector {selector} are controlled by multiple HPAs: [{}]",
                rivals.join(" ")
            );
            return Err(("AmbiguousSelector", text));
        }
        Ok(selector)
    }

    /// Sets how many replicas it shall have.
    pub(super) fn rescale(&self, replicas: u32) -> Request {
        let patch = json!({"metadata": {"uid": &*self.stored.meta().uid}, "spec": {"replicas": replicas}});
        Request {
            identity: Identity::component("horizontal-pod-autoscaler"),
            verb: Verb::Patch,
            resource: self.resource.clone(),
            subresource: "scale",
            namespace: self.stored.key.namespace.to_string(),
            name: self.stored.key.name.to_string(),
            body: Body::Patch(PatchKind::Merge, patch.to_string().into()),
            options: Options { field_manager: "horizontal-pod-autoscaler".to_owned(), ..Options::default() },
        }
    }
}

/// All autoscalers of the same workload: two of them would work against each other.
fn rivals(state: &State, autoscaler: &Stored) -> Vec<String> {
    let target = |stored: &Stored| {
        let target = &stored.view::<Autoscaler>()?.spec.scale_target_ref;
        let (group, _) = target.api_version.split_once('/').unwrap_or(("", ""));
        Some((group.to_owned(), target.kind.clone(), target.name.clone()))
    };
    let own = target(autoscaler);
    let all = state.list(AUTOSCALERS, &autoscaler.key.namespace);
    let same = all.filter(|stored| target(stored) == own);
    same.map(|stored| format!("{}/{}", stored.key.namespace, stored.key.name)).collect()
}

/// The pods of a namespace that `selector` selects, in the order of their names.
pub(super) fn pods(state: &State, namespace: &str, selector: &Selector) -> Vec<Arc<Stored>> {
    state.list("pods", namespace).filter(|pod| selector.matches(pod.meta())).cloned().collect()
}

/// What scaling depends on of pods.
pub(super) fn seen(pods: &[Arc<Stored>]) -> Vec<SeenPod<'_>> {
    pods.iter().filter_map(|pod| seen_pod(pod)).collect()
}

fn seen_pod(pod: &Stored) -> Option<SeenPod<'_>> {
    Some(SeenPod {
        name: &pod.key.name,
        uid: &pod.meta().uid,
        is_deleted: pod.meta().deletion_timestamp.is_some(),
        view: pod.view()?,
    })
}

/// The uids of the pods that an object stands for: itself, those that a Service sends to, those of a workload.
pub(super) fn described(
    state: &State,
    catalogue: &Catalogue,
    namespace: &str,
    reference: &Reference,
) -> Result<Vec<String>, String> {
    let (resource, stored) = object(state, catalogue, namespace, reference)?;
    if &*stored.key.resource == "pods" {
        return Ok(vec![stored.meta().uid.to_string()]);
    }
    let object = stored.to_value(&resource);
    let selector = match (&*stored.key.resource, &resource.scale) {
        ("services", _) => Selector::from_object(
            &json!({"matchLabels": at(&object, "spec.selector").cloned().unwrap_or(Value::Null)}),
        ),
        (_, Some(paths)) => match str_at(&scale_of(paths, &object), "status.selector") {
            "" => Ok(None),
            text => Selector::parse(text).map(Some),
        },
        _ => Selector::from_object(&at(&object, "spec.selector").cloned().unwrap_or(Value::Null)),
    };
    let selector = selector.ok().flatten().filter(|selector| !selector.is_empty());
    let selector = selector.ok_or_else(|| "it selects no pods, whose metrics would be its own".to_owned())?;
    Ok(pods(state, namespace, &selector).iter().map(|pod| pod.meta().uid.to_string()).collect())
}
