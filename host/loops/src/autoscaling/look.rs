//! One look at one autoscaler, from the snapshot to the last write.

use std::sync::Arc;

use berth_api::Timestamp;
use berth_autoscale::{
    Answer, Autoscaler, Look, Manifest, Memory, Note, Question, Reference, Report, asks, judge, without_scale,
};
use berth_cluster::Leader;
use berth_control::{EventKind, EventNote, Writer};
use berth_json::json;
use berth_lifecycle::Harm;
use berth_state::{Key, State, Stored};

use super::workload::{self, Workload};
use super::{Autoscaling, profile};
use crate::events::EventSink;

/// What looks are carried out with.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) leader: Leader,
    pub(super) writer: Writer,
    pub(super) events: EventSink,
    pub(super) autoscaling: Autoscaling,
}

/// A look has ended.
pub(super) struct Looked {
    pub(super) key: Key,
    pub(super) memory: Memory,
    /// It is worth another look as soon as there is another policy.
    pub(super) lacks_policy: bool,
}

impl Hands {
    /// Looks at an autoscaler; `share` is how many samples its history may have.
    pub(super) async fn look(&self, key: Key, mut memory: Memory, share: usize) -> Looked {
        let state = self.leader.snapshot();
        let stored = state.get(&key).filter(|stored| stored.meta().deletion_timestamp.is_none()).cloned();
        let mut lacks_policy = false;
        if let Some((stored, autoscaler)) = stored.as_deref().and_then(|s| Some((s, s.view::<Autoscaler>()?)))
        {
            lacks_policy = self.look_at(&state, stored, autoscaler, &mut memory, share).await;
        }
        Looked { key, memory, lacks_policy }
    }

    /// Whether there was no policy that could be asked.
    async fn look_at(
        &self,
        state: &Arc<State>,
        stored: &Stored,
        autoscaler: &Autoscaler,
        memory: &mut Memory,
        share: usize,
    ) -> bool {
        let now = self.leader.now();
        let catalogue = self.leader.kinds().at(state);
        let target = &autoscaler.spec.scale_target_ref;
        let workload = match workload::find(state, &catalogue, &stored.key.namespace, target) {
            Ok(workload) => workload,
            Err(why) => {
                self.write(stored, without_scale(autoscaler, &why, now)).await;
                return false;
            }
        };
        let answer = self.answer(state, stored, autoscaler, &workload, (memory, share)).await;
        let lacks_policy = matches!(answer, Answer::Failed(..) | Answer::Impossible("NoPolicy", _));
        // The policy may have taken its time.
        let now = self.leader.now();
        let verdict = judge(autoscaler, workload.scale, answer, memory, now);
        let written = match verdict.rescale {
            Some(replicas) => self.leader.apply(workload.rescale(replicas)).await.map(drop),
            None => Ok(()),
        };
        let written = written.map_err(|error| error.message);
        let report = verdict.report(autoscaler, written, memory, now);
        self.write(stored, report).await;
        lacks_policy
    }

    async fn answer(
        &self,
        state: &Arc<State>,
        stored: &Stored,
        autoscaler: &Autoscaler,
        workload: &Workload,
        (memory, share): (&mut Memory, usize),
    ) -> Answer {
        if !asks(autoscaler, workload.scale) {
            return Answer::Unasked;
        }
        let selector = match workload.selector(state, stored) {
            Ok(selector) => selector,
            Err((reason, sentence)) => return Answer::Impossible(reason, sentence),
        };
        let pods = workload::pods(state, &stored.key.namespace, &selector);
        let serving = self.autoscaling.recommenders.of(profile(autoscaler));
        let manifest = serving.as_ref().ok().map(|serving| serving.recommender.manifest().clone());
        let looks = Measured {
            hands: self,
            state,
            stored,
            autoscaler,
            workload,
            pods: &pods,
            now: self.leader.now(),
        };
        // Without a policy too: what is measured enters the history for the one to come.
        let question = looks.question(manifest.as_ref(), memory, share);
        let serving = match serving {
            Ok(serving) => serving,
            Err(sentence) => return Answer::Impossible("NoPolicy", sentence),
        };
        let (recommender, asked) = (serving.recommender.clone(), question.clone());
        let answered = self.leader.executor().blocking(move || recommender.recommend(&asked)).await;
        let why = match answered {
            Ok(Ok(recommendation)) => return Answer::Recommended(question.into(), recommendation),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        self.autoscaling.failures.tell(serving.installation, why.clone(), Harm::Unusable);
        Answer::Failed(question.into(), why)
    }

    /// Writes what the status does not say yet, and tells what happened.
    async fn write(&self, stored: &Stored, report: Report) {
        if report.is_news(&self.writer.value(stored)["status"]) {
            let patch = json!({"metadata": {"uid": &*stored.meta().uid}, "status": report.status});
            if let Err(error) = self.leader.apply(self.writer.merge(&stored.key, "status", &patch)).await {
                tracing::debug!(autoscaler = %stored.key, "its status was not written: {error}");
            }
        }
        for Note { is_warning, reason, message } in report.notes {
            let kind = if is_warning { EventKind::Warning } else { EventKind::Normal };
            self.events.tell(EventNote::new(stored, kind, reason, message));
        }
    }
}

/// What a question is made of.
struct Measured<'a> {
    hands: &'a Hands,
    state: &'a State,
    stored: &'a Stored,
    autoscaler: &'a Autoscaler,
    workload: &'a Workload,
    pods: &'a [Arc<Stored>],
    now: Timestamp,
}

impl Measured<'_> {
    fn question(&self, manifest: Option<&Manifest>, memory: &mut Memory, share: usize) -> Question {
        let namespace = &*self.stored.key.namespace;
        let catalogue = self.hands.leader.kinds().at(self.state);
        let pods = workload::seen(self.pods);
        let usage = &self.hands.autoscaling.usage;
        let look = Look {
            namespace,
            name: &self.stored.key.name,
            autoscaler: self.autoscaler,
            scale: self.workload.scale,
            pods: &pods,
            usages: &|uid: &str| usage.pod(uid, self.now),
            described: &|reference: &Reference| {
                workload::described(self.state, &catalogue, namespace, reference)
            },
            now: self.now,
        };
        look.question(manifest, memory, share)
    }
}
