//! Namespaces: what each one has from the start, and how one is emptied.

mod remaining;

use std::sync::Arc;

use berth_api::{Scope, Timestamp};
use berth_json::{Value, json};
use berth_state::{Key, State, Stored};

use crate::manager::Config;
use crate::outcome::{Outcome, Step};
use crate::requests::Writer;
use remaining::Remaining;

/// Objects that one reconciliation deletes at most; their going brings the controller back for the rest.
const DELETIONS_MAX: usize = 500;

/// How long a namespace may take to go before its status tells what holds it.
const PATIENCE_MS: i64 = 1_000;
/// How old that may become: an object that lost one of its finalizers wakes nobody here.
const REFRESH_MS: i64 = 10_000;

pub(crate) fn reconcile(
    writer: &Writer,
    state: &State,
    stored: &Arc<Stored>,
    config: &Config,
    now: Timestamp,
) -> Outcome {
    if stored.meta().deletion_timestamp.is_some() {
        empty(writer, state, stored, config, now)
    } else {
        furnish(writer, state, &stored.key.name, config)
    }
}

/// Every namespace has a ServiceAccount `default` and the cluster's CA certificate.
fn furnish(writer: &Writer, state: &State, namespace: &str, config: &Config) -> Outcome {
    let mut outcome = Outcome::default();
    if state.get(&Key::new("serviceaccounts", namespace, "default")).is_none() {
        let account = json!({"metadata": {"name": "default", "namespace": namespace}});
        outcome.push(Step::new(writer.create("serviceaccounts", namespace, account)));
    }
    let data = json!({"ca.crt": config.ca_certificate});
    let key = Key::new("configmaps", namespace, "kube-root-ca.crt");
    match state.get(&key) {
        None => {
            let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
                               internal endpoints such as the internal service IP or kubernetes.default.svc. \
                               No other usage is guaranteed across distributions of Kubernetes clusters.";
            let map = json!({
                "metadata": {
                    "name": "kube-root-ca.crt", "namespace": namespace,
                    "annotations": {"kubernetes.io/description": description},
                },
                "data": data,
            });
            outcome.push(Step::new(writer.create("configmaps", namespace, map)));
        }
        Some(map) if writer.value(map)["data"] != data => {
            outcome.push(Step::new(writer.merge(&key, "", &json!({"data": data}))));
        }
        Some(_) => {}
    }
    outcome
}

/// Deletes what is in a namespace that is being deleted, says what does not go, then lets go of the namespace itself.
fn empty(writer: &Writer, state: &State, stored: &Arc<Stored>, config: &Config, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let mut remaining = Remaining::default();
    for resource in config.catalogue.iter().filter(|resource| resource.scope == Scope::Namespaced) {
        for object in state.list(&resource.id, &stored.key.name) {
            remaining.count(resource, object);
            if object.meta().deletion_timestamp.is_none() && outcome.steps.len() < DELETIONS_MAX {
                outcome.push(Step::new(writer.delete(object, "Background")).optional());
            }
        }
    }
    let since = stored.meta().deletion_timestamp.unwrap_or(now);
    let tells_at = since.plus_millis(PATIENCE_MS);
    if !remaining.is_empty() && now < tells_at {
        outcome.look_again(tells_at);
        return outcome;
    }
    if !remaining.is_empty() {
        outcome.look_again(now.plus_millis(REFRESH_MS));
    }
    let mut namespace = writer.value(stored);
    let was_told = namespace["status"]["conditions"].is_array();
    if !remaining.is_empty() || was_told {
        let status = remaining.status(&namespace["status"], now);
        if let Some(request) = writer.set_status(stored, status) {
            outcome.push(Step::new(request).optional());
            return outcome;
        }
    }
    let finalizers = namespace["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    let others: Vec<Value> = finalizers.iter().filter(|f| *f != "kubernetes").cloned().collect();
    if remaining.is_empty() && others.len() < finalizers.len() {
        namespace["spec"]["finalizers"] = others.into();
        outcome.push(Step::new(writer.update(&stored.key, "finalize", namespace)));
    }
    outcome
}
