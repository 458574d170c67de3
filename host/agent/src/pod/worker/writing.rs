//! Watching what a pod writes to the node's disk.

use std::sync::Arc;
use std::time::Duration;

use berth_api::time::Timestamp;
use tokio::task::AbortHandle;

use super::{Message, View, Worker};
use crate::clock::Moment;
use crate::node::Node;
use crate::node::events::Severity;
use crate::node::storage::{self, Places};
use crate::pod::observed::{FailureReason, PodFailure};
use crate::process::blocking;

/// How often it is measured: as often as the kubelet does.
const PERIOD: Duration = Duration::from_secs(10);

impl Worker {
    /// Measures from now on what the pod has written, if it has set itself a limit.
    pub(super) fn watch_writing(&self) -> Option<AbortHandle> {
        if !storage::is_limited(&self.pod) {
            return None;
        }
        let (node, view) = (Arc::clone(&self.node), self.view.subscribe());
        Some(self.background(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                let seen = view.borrow().clone();
                let places = places(&node, &seen);
                let Ok(used) = blocking(move || storage::measure(&places)).await else { continue };
                if let Some(message) = storage::excess(&seen.pod, &used) {
                    return Message::Overused(message);
                }
            }
        }))
    }

    /// The pod has written more than it may.
    pub(super) fn evict(&mut self, message: String, now: Timestamp) {
        let is_ending = self.observed.vanished.is_some() || self.pod.is_deleted();
        if is_ending || self.observed.failure.is_some() || self.observed.is_finished(&self.pod) {
            return;
        }
        self.node.events.pod(&self.pod, Severity::Warning, "Evicted", message.clone());
        // At once.
        let deadline = Moment::now();
        self.observed.failure = Some(PodFailure { reason: FailureReason::Evicted, message, deadline });
        self.save(now);
    }
}

fn places(node: &Node, seen: &View) -> Places {
    let pod = &*seen.pod;
    let volumes = node.layout.pod(pod.uid()).join("volumes");
    let of_container = |name: &str| {
        let paths = node.paths(pod, name, seen.observed.record(name).attempt);
        let logs = paths.log.parent().map(std::path::Path::to_owned);
        [Some(paths.upper()), Some(paths.volumes()), logs].into_iter().flatten().collect()
    };
    Places {
        volumes: storage::on_disk(pod).map(|(name, _)| (name.to_owned(), volumes.join(name))).collect(),
        containers: pod.containers().map(|c| (c.name.clone(), of_container(&c.name))).collect(),
    }
}
