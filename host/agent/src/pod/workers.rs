//! Who looks after which pod.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use berth_image::Digest;

use crate::pod::worker::WorkerHandle;

/// The workers by pod uid.
#[derive(Clone, Default)]
pub(crate) struct Workers {
    by_uid: Arc<Mutex<HashMap<String, WorkerHandle>>>,
    complete: Arc<AtomicBool>,
}

impl Workers {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, WorkerHandle>) -> T) -> T {
        look(&mut self.by_uid.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether every pod that may have containers on this node has a worker: not before the API has said which pods
    /// there are, and not as long as one of an earlier run cannot be asked.
    pub(crate) fn are_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(crate) fn tell_complete(&self, complete: bool) {
        self.complete.store(complete, Ordering::Release);
    }

    /// The images of all containers that run or may run again; `None` as long as not every pod has its worker.
    pub(crate) fn images_in_use(&self) -> Option<BTreeSet<Digest>> {
        if !self.are_complete() {
            return None;
        }
        let mut digests = BTreeSet::new();
        self.with(|workers| {
            for view in workers.values().map(|worker| worker.view.borrow()) {
                if view.observed.is_finished(&view.pod) && !view.observed.is_active() {
                    continue;
                }
                let ids =
                    view.observed.containers.values().filter_map(|record| record.image_id.split_once('@'));
                digests.extend(ids.filter_map(|(_, digest)| digest.parse::<Digest>().ok()));
            }
        });
        Some(digests)
    }
}
