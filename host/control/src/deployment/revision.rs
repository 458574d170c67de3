//! Revisions: one ReplicaSet a template, numbered, named by the template's hash, and cleaned up when old.

use berth_api::Timestamp;
use berth_api::views::{TEMPLATE_HASH, Workload};
use berth_json::{Value, json};
use berth_state::{Key, State, Stored};

use super::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, Rollout, Set, scale};
use crate::outcome::{Outcome, Step};
use crate::parts;
use crate::requests::controller_reference;

const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The alphabet of generated names: no vowels and nothing that looks like another character.
const SAFE_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Which of the sets has the deployment's template: the oldest, should there be several.
pub(super) fn newest(stored: &Stored, view: &Workload, sets: &[Set<'_>]) -> Option<usize> {
    // Nearly always at most one is left to be read.
    let like = |set: &Set<'_>| set.view.spec.template.hash == view.spec.template.hash;
    let mut like = sets.iter().enumerate().filter(|(_, set)| like(set)).peekable();
    like.peek()?;
    let wanted = parts::spec(stored).template;
    like.find(|(_, set)| same_template(parts::spec(set.stored).template, &wanted)).map(|(at, _)| at)
}

/// Whether two pod templates are equal but for the hash label.
fn same_template(mut of_set: Value, of_deployment: &Value) -> bool {
    if let Some(labels) = of_set.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    of_set == *of_deployment
}

/// Numbers the newest set one above all others, and copies the deployment's annotations and revision.
pub(super) fn sync(rollout: &Rollout<'_>, outcome: &mut Outcome) {
    let Some(newest) = rollout.newest() else { return };
    let highest_old = rollout.old_sets().map(Set::revision).max().unwrap_or(0);
    let revision = if newest.revision() > highest_old { newest.revision() } else { highest_old + 1 };
    let mut annotations = inherited(rollout);
    annotations.retain(|key, value| newest.view.metadata.annotations.get(key.as_str()) != value.as_str());
    if revision != newest.revision() {
        if newest.revision() > 0 {
            let history = newest.view.metadata.annotations.get(REVISION_HISTORY);
            let before = newest.revision().to_string();
            let history = history.map_or_else(|| before.clone(), |h| format!("{h},{before}"));
            annotations.insert(REVISION_HISTORY.to_owned(), history.into());
        }
        annotations.insert(REVISION.to_owned(), revision.to_string().into());
    }
    if !annotations.is_empty() {
        let patch = json!({"metadata": {"annotations": annotations}});
        outcome.push(Step::new(rollout.writer.merge(&newest.stored.key, "", &patch)));
    }
    note_revision(rollout, revision, outcome);
}

fn note_revision(rollout: &Rollout<'_>, revision: i64, outcome: &mut Outcome) {
    let revision = revision.to_string();
    if rollout.view.metadata.annotations.get(REVISION) != Some(revision.as_str()) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
        outcome.push(Step::new(rollout.writer.merge(&rollout.stored.key, "", &patch)));
    }
}

/// The deployment's annotations that its sets carry too.
fn inherited(rollout: &Rollout<'_>) -> berth_json::Map {
    let own = [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS];
    let all = rollout.view.metadata.annotations.iter();
    all.filter(|(key, _)| !own.contains(key)).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Creates the set of the present template and returns its name.
pub(super) fn create_set(rollout: &Rollout<'_>, state: &State, outcome: &mut Outcome) -> String {
    let namespace = &rollout.stored.key.namespace;
    let spec = parts::spec(rollout.stored);
    let mut collisions = rollout.view.status.collision_count.unwrap_or(0);
    let (hash, name) = loop {
        let hash = template_hash(&spec.template, collisions);
        let name = format!("{}-{hash}", rollout.stored.key.name);
        if state.get(&Key::new("replicasets.apps", namespace.clone(), name.as_str())).is_none() {
            break (hash, name);
        }
        collisions += 1; // somebody else's set has that name: a different hash of the same template is as good
    };
    let revision = rollout.sets.iter().map(Set::revision).max().unwrap_or(0) + 1;
    let replicas = scale::first_size(rollout);
    let object = new_set(rollout, spec, &name, &hash, revision, replicas);
    let request = rollout.writer.create("replicasets.apps", namespace, object);
    outcome.push(Step::new(request).telling(rollout.scaled(&name, 0, replicas)));
    note_revision(rollout, revision, outcome);
    name
}

fn new_set(
    rollout: &Rollout<'_>,
    spec: parts::Spec,
    name: &str,
    hash: &str,
    revision: i64,
    replicas: i64,
) -> Value {
    let parts::Spec { mut template, mut selector } = spec;
    template["metadata"]["labels"][TEMPLATE_HASH] = hash.into();
    selector["matchLabels"][TEMPLATE_HASH] = hash.into();
    let mut annotations = inherited(rollout);
    let max = rollout.replicas() + rollout.max_surge();
    annotations.insert(REVISION.to_owned(), revision.to_string().into());
    annotations.insert(DESIRED_REPLICAS.to_owned(), rollout.replicas().to_string().into());
    annotations.insert(MAX_REPLICAS.to_owned(), max.to_string().into());
    json!({
        "metadata": {
            "name": name, "namespace": &*rollout.stored.key.namespace,
            "labels": template["metadata"]["labels"], "annotations": annotations,
            "ownerReferences": [controller_reference(rollout.stored, rollout.writer.resource("deployments.apps"))],
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": rollout.view.spec.min_ready_seconds,
            "selector": selector, "template": template,
        },
    })
}

/// A short name for a template: FNV-1a over its JSON (whose keys are sorted), in the alphabet of generated names.
fn template_hash(template: &Value, collisions: i64) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let salt = if collisions > 0 { collisions.to_string() } else { String::new() };
    for byte in template.to_string().bytes().chain(salt.bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string().into_bytes();
    digits.into_iter().map(|d| char::from(SAFE_ALPHABET[usize::from(d) % SAFE_ALPHABET.len()])).collect()
}

/// Deletes empty old sets beyond `revisionHistoryLimit`, lowest revision first.
pub(super) fn clean_up(rollout: &Rollout<'_>, outcome: &mut Outcome) {
    let Some(limit) = rollout.view.spec.revision_history_limit else { return };
    let mut old: Vec<&Set<'_>> =
        rollout.old_sets().filter(|set| set.stored.meta().deletion_timestamp.is_none()).collect();
    let surplus = (old.len() as i64 - limit).max(0) as usize;
    old.sort_by_key(|set| {
        (set.revision(), set.stored.meta().creation_timestamp.unwrap_or(Timestamp::default()))
    });
    for set in old.into_iter().take(surplus) {
        let settled = set.view.status.observed_generation >= set.stored.meta().generation;
        if set.replicas() == 0 && set.view.status.replicas == 0 && settled {
            outcome.push(Step::new(rollout.writer.delete(set.stored, "Background")).optional());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_the_same_but_for_the_hash() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let hash = template_hash(&template, 0);
        let mut of_set = template.clone();
        of_set["metadata"]["labels"][TEMPLATE_HASH] = hash.as_str().into();
        assert!(same_template(of_set.clone(), &template));
        of_set["spec"]["containers"] = json!([{"name": "c"}]);
        assert!(!same_template(of_set, &template));
        assert_ne!(template_hash(&template, 1), hash);
        assert!(hash.bytes().all(|b| SAFE_ALPHABET.contains(&b)), "{hash}");
    }
}
