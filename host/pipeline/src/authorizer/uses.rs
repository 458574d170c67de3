//! What a node may read because a pod bound to it needs it.

use berth_api::kinds::view::{list_at, str_at};
use berth_json::Value;
use berth_state::State;

use crate::identity::Attributes;

/// What a pod refers to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    Secret,
    ConfigMap,
    ServiceAccount,
}

/// Whether a pod on `node` uses the object asked about.
pub(super) fn pods_use(state: &State, node: &str, asked: &Attributes<'_>, used: Used) -> bool {
    if asked.name.is_empty() {
        return false;
    }
    let mut pods =
        state.by_field("pods", "spec.nodeName", node).filter(|pod| &*pod.key.namespace == asked.namespace);
    if used == Used::ServiceAccount {
        return pods.any(|pod| pod.field("spec.serviceAccountName") == Some(asked.name));
    }
    let quoted = Value::from(asked.name).to_string();
    // A pod is read only when the name occurs in it at all.
    pods.filter(|pod| contains(pod.bytes(), quoted.as_bytes()))
        .filter_map(|pod| serde_json::from_slice::<Value>(pod.bytes()).ok())
        .any(|pod| refers(&pod, used, asked.name))
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn refers(pod: &Value, used: Used, name: &str) -> bool {
    let (volume, volume_name, source, key_ref, env_ref) = match used {
        Used::Secret => ("secret", "secretName", "secret", "secretKeyRef", "secretRef"),
        _ => ("configMap", "name", "configMap", "configMapKeyRef", "configMapRef"),
    };
    let is_it = |object: &Value, part: &str, field: &str| {
        object.get(part).is_some_and(|part| str_at(part, field) == name)
    };
    let in_volume = |v: &Value| {
        is_it(v, volume, volume_name)
            || list_at(v, "projected.sources").iter().any(|projected| is_it(projected, source, "name"))
    };
    let in_container = |c: &Value| {
        let by_key = |e: &Value| e.get("valueFrom").is_some_and(|from| is_it(from, key_ref, "name"));
        list_at(c, "env").iter().any(by_key)
            || list_at(c, "envFrom").iter().any(|e| is_it(e, env_ref, "name"))
    };
    let pulls = |s: &Value| used == Used::Secret && str_at(s, "name") == name;
    let containers = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    list_at(pod, "spec.volumes").iter().any(in_volume)
        || containers.iter().any(|list| list_at(pod, list).iter().any(in_container))
        || list_at(pod, "spec.imagePullSecrets").iter().any(pulls)
}
