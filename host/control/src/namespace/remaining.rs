//! What keeps a namespace that is being deleted, in the words of Kubernetes' namespace controller.

use std::collections::BTreeMap;

use berth_api::{Resource, Timestamp};
use berth_json::{Value, json};
use berth_state::Stored;

/// What is still there.
#[derive(Default)]
pub(super) struct Remaining {
    /// How many objects, by `<resource>.<group>`.
    objects: BTreeMap<String, usize>,
    /// How many objects wait for somebody to take it off, by finalizer.
    finalizers: BTreeMap<String, usize>,
}

impl Remaining {
    pub(super) fn count(&mut self, resource: &Resource, object: &Stored) {
        *self.objects.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
        for finalizer in &object.meta().finalizers {
            *self.finalizers.entry(finalizer.to_string()).or_default() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The status of the namespace, given the one it has.
    pub(super) fn status(&self, before: &Value, now: Timestamp) -> Value {
        let conditions: Vec<Value> = self
            .conditions()
            .into_iter()
            .map(|(kind, status, reason, message)| {
                let known = before["conditions"].as_array().into_iter().flatten();
                let mut same = known.filter(|c| c["type"] == kind && c["status"] == status);
                let since = same.find_map(|c| c["lastTransitionTime"].as_str());
                json!({
                    "type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": since.map_or_else(|| now.rfc3339(), str::to_owned),
                })
            })
            .collect();
        json!({"phase": "Terminating", "conditions": conditions})
    }

    fn conditions(&self) -> [(&'static str, &'static str, &'static str, String); 5] {
        let fine = |kind, reason, message: &str| (kind, "False", reason, message.to_owned());
        let content = match list(&self.objects, " has ") {
            None => fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
            Some(list) => {
                let message = format!("Some resources are remaining: {list}");
                ("NamespaceContentRemaining", "True", "SomeResourcesRemain", message)
            }
        };
        let finalizers = match list(&self.finalizers, " in ") {
            None => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
            Some(list) => {
                let message = format!("Some content in the namespace has finalizers remaining: {list}");
                ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message)
            }
        };
        [
            fine(
                "NamespaceDeletionDiscoveryFailure",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            fine(
                "NamespaceDeletionGroupVersionParsingFailure",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            fine(
                "NamespaceDeletionContentFailure",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            content,
            finalizers,
        ]
    }
}

/// `pods. has 2 resource instances, …`; `None` when there is nothing.
fn list(counts: &BTreeMap<String, usize>, link: &str) -> Option<String> {
    let each = counts.iter().map(|(what, count)| format!("{what}{link}{count} resource instances"));
    (!counts.is_empty()).then(|| each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(objects: &[(&str, usize)], finalizers: &[(&str, usize)]) -> Remaining {
        let map = |pairs: &[(&str, usize)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Remaining { objects: map(objects), finalizers: map(finalizers) }
    }

    #[test]
    fn what_remains_is_told_by_kind_and_by_finalizer() {
        let early = Timestamp::from_seconds(1_000);
        let held = remaining(&[("pods.", 2), ("replicasets.apps", 1)], &[("example.com/hold", 1)]);
        let status = held.status(&json!({"phase": "Terminating"}), early);
        let messages: Vec<_> = [3, 4].map(|n| status["conditions"][n]["message"].clone()).into();
        assert_eq!(
            messages,
            [
                "Some resources are remaining: pods. has 2 resource instances, replicasets.apps has 1 resource \
                 instances",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ]
        );
        assert_eq!(status["conditions"][3]["status"], "True");

        let late = Timestamp::from_seconds(2_000);
        let fewer = remaining(&[("pods.", 1)], &[]).status(&status, late);
        let since = |n: usize| fewer["conditions"][n]["lastTransitionTime"].clone();
        assert_eq!(since(3), early.rfc3339().as_str(), "it is as true as before");
        assert_eq!(since(4), late.rfc3339().as_str(), "nothing waits for a finalizer any more");
        assert_eq!(held.status(&status, late), status, "nothing changed: nothing is written");
    }
}
