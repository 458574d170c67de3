//! Reporting a pod's status: one patch at a time, always of the newest state.

use std::sync::Arc;

use berth_api::time::Timestamp;
use berth_client::{ApiResource, ClientError, PatchKind};
use serde_json::Value;

use super::{Message, Worker};
use crate::backoff::{Backoff, Pauses};
use crate::pod::observed::{ImageState, Observed, Part, Phase};
use crate::pod::status::{self, Fields};

/// How long a change is kept back while more is bound to follow, in milliseconds: a container that starts at once
/// is reported once, as running.
const SETTLING_MS: i64 = 300;

/// What has been reported, and what is on its way.
pub(super) struct Report {
    /// As the API has it, as far as is known.
    known: Fields,
    in_flight: bool,
    /// Since when there has been something to say.
    unsaid_since: Option<Timestamp>,
    backoff: Backoff,
    retry_at: Option<Timestamp>,
    /// Nothing is to be said: what the API has is better than what is known here.
    muted: bool,
}

impl Report {
    pub(super) fn new(known: Fields, muted: bool) -> Report {
        Report {
            known,
            in_flight: false,
            unsaid_since: None,
            backoff: Backoff::default(),
            retry_at: None,
            muted,
        }
    }
}

impl Worker {
    /// Reports what has changed; when to look again, if time alone will change it.
    pub(super) fn report(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.report.in_flight || self.report.muted || self.observed.vanished.is_some() {
            return None;
        }
        let fields = status::status(&self.pod, &self.observed, self.facts(), &self.report.known, now);
        let Some(patch) = status::patch(&self.pod, &self.report.known, &fields) else {
            self.report.unsaid_since = None;
            return changes_at(&self.observed, now);
        };
        let since = *self.report.unsaid_since.get_or_insert(now);
        let settled_at = if is_settled(&self.observed) { now } else { since.plus_millis(SETTLING_MS) };
        let at = self.report.retry_at.map_or(settled_at, |retry_at| settled_at.max(retry_at));
        if at > now {
            return Some(at);
        }
        self.send(patch, fields);
        None
    }

    /// Reports the end; true while that is under way.
    pub(super) fn report_final(&mut self) -> bool {
        if self.report.in_flight {
            return true;
        }
        // A failure to report must not keep a pod that is gone.
        if self.report.retry_at.is_some() || self.report.muted {
            return false;
        }
        let now = crate::clock::now();
        let fields = status::status(&self.pod, &self.observed, self.facts(), &self.report.known, now);
        match status::patch(&self.pod, &self.report.known, &fields) {
            Some(patch) => {
                self.send(patch, fields);
                true
            }
            None => false,
        }
    }

    fn send(&mut self, patch: Value, fields: Fields) {
        self.report.in_flight = true;
        self.report.unsaid_since = None;
        let (node, pod) = (Arc::clone(&self.node), Arc::clone(&self.pod));
        self.background(async move {
            let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
            let sent = node.client().patch(
                ApiResource::PODS,
                namespace,
                name,
                "status",
                PatchKind::Strategic,
                &patch,
            );
            Message::Reported { fields, result: sent.await.map(drop) }
        });
    }

    pub(super) fn reported(&mut self, fields: Fields, result: Result<(), ClientError>, now: Timestamp) {
        self.report.in_flight = false;
        match result {
            Ok(()) => {
                self.report.known = fields;
                (self.report.backoff, self.report.retry_at) = (Backoff::default(), None);
            }
            // The watch will tell that it is gone.
            Err(error) if error.is_not_found() => self.report.known = fields,
            Err(error) => {
                tracing::warn!(pod = self.pod.display(), %error, "the pod's status could not be reported");
                self.report.backoff.step(now, Pauses::NODE);
                self.report.retry_at = Some(self.report.backoff.retry_at(now, Pauses::NODE));
            }
        }
    }
}

/// Whether nothing is under way that will change the status in a moment.
fn is_settled(observed: &Observed) -> bool {
    let moving = |part: &Part| matches!(part, Part::Making | Part::Removing);
    let parts_rest = !moving(&observed.sandbox) && !moving(&observed.volumes);
    parts_rest
        && observed.containers.values().all(|record| {
            !matches!(record.phase, Phase::Starting) && !matches!(record.image, ImageState::Resolving { .. })
        })
}

/// When the status changes by itself: a failed pull becomes a back-off.
fn changes_at(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let times = observed.containers.values().filter_map(|record| match &record.image {
        ImageState::Failed { failed_at, retry_at, .. } => Some(status::backs_off_at(*failed_at, *retry_at)),
        _ => None,
    });
    times.filter(|at| *at > now).min()
}
