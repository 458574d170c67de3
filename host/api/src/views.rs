//! Typed views of stored objects: the fields that the server's own parts decide by. They ignore what they do not know, so they
//! are never validation.
//!
//! A version of an object is read once and its view is kept beside its bytes (`Stored::view` of `berth-state`) for all who
//! ask. So there is one type for a resource, with what anybody reads, and it is small: what few objects have is boxed, what
//! nobody reads is left out.

mod node;
mod pairs;
mod pod;
mod taint;
mod workload;

use berth_json::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::time::Timestamp;

pub use node::Node;
pub use pairs::Pairs;
pub use pod::{Container, Expression, HostPort, Phase, Pod, Preferred, Rare, Term};
pub use taint::{Taint, Toleration};
pub use workload::{TEMPLATE_HASH, Workload, WorkloadSpec, WorkloadStatus};

/// A type as which stored objects are read.
pub trait View: DeserializeOwned + Send + Sync + 'static {
    /// The resources whose objects have this view; none of them has another.
    const RESOURCES: &'static [&'static str];
}

/// `metav1.Condition` and its likes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Its type: `Ready`, `Available`, ….
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    /// One word.
    pub reason: Box<str>,
    /// A sentence.
    pub message: Box<str>,
    /// When the status changed last; `None` where it does not say.
    pub last_transition_time: Option<Box<str>>,
    /// When the condition changed last; `None` where it does not say.
    pub last_update_time: Option<Box<str>>,
}

impl Condition {
    /// When the status changed last.
    pub fn since(&self) -> Option<Timestamp> {
        self.last_transition_time.as_deref().and_then(Timestamp::parse)
    }

    /// The form in which a status holds the condition; what is empty is left out.
    pub fn to_value(&self) -> Value {
        let texts = [
            ("type", &*self.kind),
            ("status", &self.status),
            ("reason", &self.reason),
            ("message", &self.message),
            ("lastTransitionTime", self.last_transition_time.as_deref().unwrap_or_default()),
            ("lastUpdateTime", self.last_update_time.as_deref().unwrap_or_default()),
        ];
        let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
        Value::Object(given.map(|(key, text)| (key.to_owned(), text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use berth_json::{from_value, json};

    use super::*;

    #[test]
    fn a_resource_has_one_view() {
        let all = [Pod::RESOURCES, Node::RESOURCES, Workload::RESOURCES].concat();
        let once: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len());
    }

    #[test]
    fn a_condition_is_written_back_as_it_was_read() {
        for value in [
            json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T10:45:13Z"}),
            json!({"type": "Available", "status": "False", "reason": "R", "message": "m", "lastUpdateTime": "x"}),
        ] {
            let condition: Condition = from_value(&value).unwrap();
            assert_eq!(condition.to_value(), value);
        }
        let timeless: Condition =
            from_value(&json!({"type": "Ready", "status": "True", "lastTransitionTime": null})).unwrap();
        assert_eq!(timeless.since(), None);
    }
}
