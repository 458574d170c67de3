//! ServiceAccount: every pod runs as one, and gets its token, the cluster's CA and its namespace mounted.

use berth_api::Status;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_json::{Value, json};
use berth_state::Key;
use serde::Deserialize;

use super::{Admission, Review, Verdict, at_once, is_pod};
use crate::identity::Verb;

/// Where client libraries look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long a mounted token lives: an hour and seven seconds, by which it is recognised as one that is renewed.
const TOKEN_SECONDS: i64 = 3607;

/// The mode of files in a projected volume: 0644.
const FILE_MODE: i64 = 0o644;

const ACCOUNT_DEFAULT: &str = "default";

pub(super) struct ServiceAccount;

impl Admission for ServiceAccount {
    fn name(&self) -> &str {
        "ServiceAccount"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        is_pod(review, &[Verb::Create])
    }

    fn mutate<'a>(&'a self, review: &'a Review<'_>, pod: &'a mut Value) -> Verdict<'a> {
        at_once(give_account(review, pod).map(|()| vec![]))
    }
}

fn give_account(review: &Review<'_>, pod: &mut Value) -> Result<(), Status> {
    let name = match str_at(pod, "spec.serviceAccountName") {
        "" => ACCOUNT_DEFAULT.to_owned(),
        name => name.to_owned(),
    };
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.as_str().into();
    let account = account(review, &name)?;
    if list_at(pod, "spec.imagePullSecrets").is_empty()
        && let Some(secrets) = account.image_pull_secrets
    {
        pod["spec"]["imagePullSecrets"] = secrets;
    }
    let own_wish = at(pod, "spec.automountServiceAccountToken").and_then(Value::as_bool);
    if own_wish.or(account.automount_service_account_token).unwrap_or(true) {
        mount_token(pod, review.suffix);
    }
    Ok(())
}

/// What of a service account its pods get. A pod's own word on the token counts first; without any they get one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    #[serde(default)]
    image_pull_secrets: Option<Value>,
    #[serde(default)]
    automount_service_account_token: Option<bool>,
}

fn account(review: &Review<'_>, name: &str) -> Result<Account, Status> {
    let namespace = review.namespace;
    let Some(stored) = review.state.get(&Key::new("serviceaccounts", namespace, name)) else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return Err(Status::forbidden(review.resource, review.name, &why));
    };
    serde_json::from_slice(stored.bytes())
        .map_err(|error| Status::internal(format!("{} cannot be read: {error}", stored.key)))
}

fn mount_token(pod: &mut Value, suffix: &str) {
    let volume = format!("kube-api-access-{suffix}");
    let mut is_used = false;
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            is_used |= mount_into(container, &volume);
        }
    }
    if !is_used {
        return;
    }
    let volume = token_volume(&volume);
    match pod["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

/// Mounts the volume unless the container has something else there. Whether it did.
fn mount_into(container: &mut Value, volume: &str) -> bool {
    if list_at(container, "volumeMounts").iter().any(|mount| str_at(mount, "mountPath") == MOUNT_PATH) {
        return false;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
        Some(mounts) => mounts.push(mount),
        None => container["volumeMounts"] = json!([mount]),
    }
    true
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": FILE_MODE, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}
