//! Namespaces: what each one has from the start, and how one is emptied.

mod remaining;

use std::sync::Arc;

use berth_api::{Resource, Scope, Timestamp};
use berth_json::{Value, json};
use berth_state::{Key, State, Stored};

use crate::controller::{Controller, Look, News, Wake};
use crate::outcome::{Outcome, Step};
use crate::registry::Config;
use crate::requests::{Writer, with_removals};
use remaining::Remaining;

/// Objects that one reconciliation deletes at most; their going brings the controller back for the rest.
const DELETIONS_MAX: usize = 500;

/// How long a namespace may take to go before its status tells what holds it.
const PATIENCE_MS: i64 = 1_000;
/// How old that may become: an object that lost one of its finalizers wakes nobody here.
const REFRESH_MS: i64 = 10_000;

/// The ConfigMap with the cluster's CA certificate that every namespace has.
const AUTHORITY: &str = "kube-root-ca.crt";
const AUTHORITY_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
                                     internal endpoints such as the internal service IP or kubernetes.default.svc. \
                                     No other usage is guaranteed across distributions of Kubernetes clusters.";

/// Furnishes new namespaces and empties those that are deleted.
pub(crate) struct Namespaces {
    ca_certificate: String,
}

impl Namespaces {
    pub(crate) fn new(config: &Config) -> Self {
        Self { ca_certificate: config.ca_certificate.clone() }
    }
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let key = news.key();
        let is_authority = news.resource() == "configmaps" && *key.name == *AUTHORITY;
        if news.resource() == "namespaces" {
            wake.up(key);
        } else if !key.namespace.is_empty() && (is_authority || news.is_gone()) {
            wake.up(&Key::new("namespaces", "", key.namespace.clone()));
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        if stored.meta().deletion_timestamp.is_some() {
            empty(look.writer, look.state, stored, look.now)
        } else {
            furnish(look.writer, look.state, &stored.key.name, &self.ca_certificate)
        }
    }
}

/// Whether a namespace is being deleted.
pub(crate) fn is_going(state: &State, name: &str) -> bool {
    let namespace = state.get(&Key::new("namespaces", "", name));
    namespace.is_some_and(|namespace| namespace.meta().deletion_timestamp.is_some())
}

/// Every namespace has a ServiceAccount `default` and the cluster's CA certificate.
fn furnish(writer: &Writer, state: &State, namespace: &str, ca_certificate: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if state.get(&Key::new("serviceaccounts", namespace, "default")).is_none() {
        let account = json!({"metadata": {"name": "default", "namespace": namespace}});
        outcome.push(Step::new(writer.create("serviceaccounts", namespace, account)));
    }
    if let Some(step) = publish_authority(writer, state, namespace, ca_certificate) {
        outcome.push(step);
    }
    outcome
}

/// Makes the ConfigMap with the CA certificate, or puts right what somebody changed of it.
fn publish_authority(writer: &Writer, state: &State, namespace: &str, ca_certificate: &str) -> Option<Step> {
    let (key, annotation) = (Key::new("configmaps", namespace, AUTHORITY), "kubernetes.io/description");
    let data = json!({"ca.crt": ca_certificate});
    let annotations = json!({annotation: AUTHORITY_DESCRIPTION});
    let Some(stored) = state.get(&key) else {
        let metadata = json!({"name": AUTHORITY, "namespace": namespace, "annotations": annotations});
        let map = json!({"metadata": metadata, "data": data});
        return Some(Step::new(writer.create("configmaps", namespace, map)));
    };
    let map = writer.value(stored);
    let is_described =
        map["metadata"]["annotations"][annotation].as_str().is_some_and(|text| !text.is_empty());
    if map["data"] == data && map["binaryData"].is_null() && is_described {
        return None;
    }
    if map["immutable"] == true {
        // It cannot be put right; when it is gone it is made anew.
        return Some(Step::new(writer.delete(stored, "Background")).optional());
    }
    let patch = json!({
        "metadata": {"annotations": annotations},
        "data": with_removals(&map["data"], data), "binaryData": null,
    });
    Some(Step::new(writer.merge(&key, "", &patch)))
}

/// Deletes what is in a namespace that is being deleted, says what does not go, then lets go of the namespace itself.
///
/// Pods go first, and all else when they are gone: what still runs is not to lose its secrets, nor the policies that hold it.
fn empty(writer: &Writer, state: &State, stored: &Arc<Stored>, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let mut remaining = Remaining::default();
    let has_pods = state.list("pods", &stored.key.name).next().is_some();
    let is_next =
        |resource: &Resource| resource.scope == Scope::Namespaced && (&*resource.id == "pods" || !has_pods);
    for resource in writer.catalogue().stored().filter(|resource| is_next(resource)) {
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
