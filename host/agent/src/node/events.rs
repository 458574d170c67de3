//! Events about pods and the node, as the kubelet makes them: repeated ones are counted, not repeated.

use std::collections::{HashMap, VecDeque};

use berth_api::time::Timestamp;
use berth_client::{ApiResource, Client, PatchKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock;
use crate::manifest::Pod;

/// Events that wait to be sent. Starting a pod makes three or four; what does not fit is dropped, and said so in
/// the log.
const WAITING_MAX: usize = 1024;
/// Events remembered for counting, and objects remembered for the limit below.
const REMEMBERED_MAX: usize = 1024;
/// How many events about one object are recorded in a row, and after how long one more is: the kubelet's figures. What
/// fails every second would otherwise be written to disk every second.
const BURST_MAX: i64 = 25;
const REFILL_MS: i64 = 300_000;

/// Whether an event is a matter for concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
    /// `spec.containers{web}`, or empty.
    field_path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    subject: Subject,
    severity: Severity,
    reason: &'static str,
    message: String,
}

/// Takes events; a task sends them one after the other.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(Key, Timestamp)>,
}

impl Events {
    pub(crate) fn start(client: Client, node_name: &str) -> Events {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let recorder = Recorder {
            client,
            node_name: node_name.to_owned(),
            known: HashMap::new(),
            order: VecDeque::new(),
            limit: Limit::default(),
        };
        tokio::spawn(recorder.run(receiver));
        Events { sender }
    }

    /// Something happened to a pod as a whole.
    pub(crate) fn pod(
        &self,
        pod: &Pod,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.send(subject(pod, String::new()), severity, reason, message.into());
    }

    /// Something happened to a container.
    pub(crate) fn container(
        &self,
        pod: &Pod,
        container: &str,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let list = if pod.is_init(container) { "initContainers" } else { "containers" };
        let field_path = format!("spec.{list}{{{container}}}");
        self.send(subject(pod, field_path), severity, reason, message.into());
    }

    /// Something happened to the node.
    pub(crate) fn node(
        &self,
        node: &str,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let subject = Subject {
            kind: "Node",
            namespace: String::new(),
            name: node.to_owned(),
            uid: node.to_owned(),
            field_path: String::new(),
        };
        self.send(subject, severity, reason, message.into());
    }

    fn send(&self, subject: Subject, severity: Severity, reason: &'static str, message: String) {
        let key = Key { subject, severity, reason, message };
        if let Err(error) = self.sender.try_send((key, clock::now())) {
            tracing::warn!(reason, %error, "an event is lost");
        }
    }
}

fn subject(pod: &Pod, field_path: String) -> Subject {
    let metadata = &pod.metadata;
    Subject {
        kind: "Pod",
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        field_path,
    }
}

struct Recorder {
    client: Client,
    node_name: String,
    /// The event made for it, and how often it has happened.
    known: HashMap<Key, (String, u64)>,
    order: VecDeque<Key>,
    limit: Limit,
}

/// How much has been said about each object: when its whole burst will be free again. Pure.
#[derive(Debug, Default)]
struct Limit {
    free_at: HashMap<Subject, Timestamp>,
}

impl Limit {
    /// Whether an event at this time is recorded.
    fn admits(&mut self, subject: &Subject, at: Timestamp) -> bool {
        // The parts of an object share its limit.
        let subject = Subject { field_path: String::new(), ..subject.clone() };
        if self.free_at.len() >= REMEMBERED_MAX && !self.free_at.contains_key(&subject) {
            self.forget(at);
        }
        let free_at = self.free_at.entry(subject).or_insert(at);
        let next = (*free_at).max(at).plus_millis(REFILL_MS);
        let is_admitted = next.millis_since(at) <= BURST_MAX * REFILL_MS;
        if is_admitted {
            *free_at = next;
        }
        is_admitted
    }

    /// Makes room: those of whom nothing is held against, or at least the one of whom the least is.
    fn forget(&mut self, at: Timestamp) {
        self.free_at.retain(|_, free_at| *free_at > at);
        if self.free_at.len() >= REMEMBERED_MAX
            && let Some(least) = self.free_at.iter().min_by_key(|(_, free_at)| **free_at)
        {
            let least = least.0.clone();
            self.free_at.remove(&least);
        }
    }
}

impl Recorder {
    async fn run(mut self, mut receiver: mpsc::Receiver<(Key, Timestamp)>) {
        while let Some((key, at)) = receiver.recv().await {
            if !self.limit.admits(&key.subject, at) {
                tracing::debug!(
                    reason = key.reason,
                    message = key.message,
                    "one of too many events about an object"
                );
                continue;
            }
            if let Err(error) = self.record(&key, at).await {
                tracing::debug!(reason = key.reason, %error, "an event could not be recorded");
            }
        }
    }

    async fn record(&mut self, key: &Key, at: Timestamp) -> Result<(), berth_client::ClientError> {
        let namespace = namespace(key);
        if let Some((name, count)) = self.known.get_mut(key) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": at.rfc3339() });
            let sent =
                self.client.patch(ApiResource::EVENTS, namespace, name, "", PatchKind::Merge, &patch).await;
            match sent {
                // Events expire; then it is a new one.
                Err(error) if error.is_not_found() => _ = self.known.remove(key),
                other => return other.map(drop),
            }
        }
        let name = format!(
            "{}.{:x}",
            key.subject.name,
            at.micros().unsigned_abs() * 1000 + self.order.len() as u64 % 1000
        );
        self.client.create(ApiResource::EVENTS, namespace, &self.object(key, &name, at)).await?;
        self.remember(key, name);
        Ok(())
    }

    fn remember(&mut self, key: &Key, name: String) {
        if self.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.known.insert(key.clone(), (name, 1));
    }

    fn object(&self, key: &Key, name: &str, at: Timestamp) -> Value {
        let Subject { kind, namespace: subject_namespace, name: subject_name, uid, field_path } =
            &key.subject;
        let mut involved = json!({ "kind": kind, "apiVersion": "v1", "name": subject_name, "uid": uid });
        if !subject_namespace.is_empty() {
            involved["namespace"] = json!(subject_namespace);
        }
        if !field_path.is_empty() {
            involved["fieldPath"] = json!(field_path);
        }
        let severity = match key.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        json!({
            "metadata": { "name": name, "namespace": namespace(key) },
            "involvedObject": involved,
            "reason": key.reason,
            "message": key.message,
            "type": severity,
            "source": { "component": "kubelet", "host": self.node_name },
            "reportingComponent": "kubelet",
            "reportingInstance": self.node_name,
            "firstTimestamp": at.rfc3339(),
            "lastTimestamp": at.rfc3339(),
            "count": 1,
        })
    }
}

/// Events of what has no namespace are kept in `default`.
fn namespace(key: &Key) -> &str {
    if key.subject.namespace.is_empty() { "default" } else { &key.subject.namespace }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str, field_path: &str) -> Subject {
        let (namespace, uid) = ("n".to_owned(), "u".to_owned());
        Subject { kind: "Pod", namespace, name: name.to_owned(), uid, field_path: field_path.to_owned() }
    }

    #[test]
    fn an_object_has_a_burst_and_then_an_event_every_five_minutes() {
        let mut limit = Limit::default();
        let at = Timestamp::from_seconds;
        let (one, part, other) = (subject("a", ""), subject("a", "spec.containers{c}"), subject("b", ""));
        for number in 0..25 {
            assert!(limit.admits(if number % 2 == 0 { &one } else { &part }, at(1000)), "{number}");
        }
        assert!(!limit.admits(&one, at(1000)) && !limit.admits(&part, at(1299)));
        assert!(limit.admits(&other, at(1000)), "each object for itself");
        assert!(limit.admits(&part, at(1300)) && !limit.admits(&one, at(1300)));
        let rested = at(1000 + 26 * 300);
        assert!((0..25).all(|_| limit.admits(&one, rested)) && !limit.admits(&one, rested));
    }

    #[test]
    fn only_so_many_objects_are_remembered() {
        let mut limit = Limit::default();
        let at = Timestamp::from_seconds;
        for number in 0..REMEMBERED_MAX + 10 {
            assert!(limit.admits(&subject(&number.to_string(), ""), at(1000)));
        }
        assert_eq!(limit.free_at.len(), REMEMBERED_MAX);
        assert!(limit.admits(&subject("later", ""), at(9000)));
        assert_eq!(limit.free_at.len(), 1, "the others' bursts are free again");
    }
}
