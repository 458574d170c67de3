//! Deployment: rolls a pod template out through ReplicaSets, as kube-controller-manager does.

mod revision;
mod scale;
mod status;

use std::sync::Arc;

use berth_api::Timestamp;
use berth_api::select::Selector;
use berth_api::views::Workload;
use berth_json::{Value, json};
use berth_state::{State, Stored};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::events::{EventKind, EventNote};
use crate::outcome::{Outcome, Step};
use crate::ownership;
use crate::requests::Writer;

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// A ReplicaSet of the deployment.
struct Set<'a> {
    stored: &'a Arc<Stored>,
    view: &'a Workload,
}

impl Set<'_> {
    fn replicas(&self) -> i64 {
        self.view.spec.replicas()
    }

    /// Pods that are available and stay: a status of before the set shrank still counts those that are about to go.
    fn available(&self) -> i64 {
        self.view.status.available_replicas.min(self.replicas())
    }

    fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    fn number(&self, annotation: &str) -> Option<i64> {
        self.view.metadata.annotations.get(annotation)?.parse().ok()
    }

    fn name(&self) -> &str {
        &self.stored.key.name
    }
}

/// A deployment, its ReplicaSets oldest first, and which of them has the present template.
struct Rollout<'a> {
    writer: &'a Writer,
    stored: &'a Arc<Stored>,
    view: &'a Workload,
    sets: Vec<Set<'a>>,
    newest: Option<usize>,
}

impl<'a> Rollout<'a> {
    fn replicas(&self) -> i64 {
        self.view.spec.replicas()
    }

    fn newest(&self) -> Option<&Set<'a>> {
        self.newest.map(|at| &self.sets[at])
    }

    fn old_sets(&self) -> impl DoubleEndedIterator<Item = &Set<'a>> {
        let newest = self.newest;
        self.sets.iter().enumerate().filter(move |(at, _)| Some(*at) != newest).map(|(_, set)| set)
    }

    fn rolling(&self) -> bool {
        &*self.view.spec.strategy.kind != "Recreate"
    }

    /// `maxSurge` in pods, percentages rounded up.
    fn max_surge(&self) -> i64 {
        if self.rolling() {
            resolve(&self.view.spec.strategy.rolling_update.max_surge, self.replicas(), true)
        } else {
            0
        }
    }

    /// `maxUnavailable` in pods, percentages rounded down; never 0 together with `maxSurge`, or nothing could move.
    fn max_unavailable(&self) -> i64 {
        if !self.rolling() || self.replicas() == 0 {
            return 0;
        }
        let given = resolve(&self.view.spec.strategy.rolling_update.max_unavailable, self.replicas(), false);
        let given = if given == 0 && self.max_surge() == 0 { 1 } else { given };
        given.min(self.replicas())
    }

    /// Changes a set's size and the sizes noted on it.
    fn resize(&self, set: &Set<'_>, replicas: i64, outcome: &mut Outcome) {
        let (desired, max) = (self.replicas(), self.replicas() + self.max_surge());
        let noted = set.number(DESIRED_REPLICAS) == Some(desired) && set.number(MAX_REPLICAS) == Some(max);
        if set.replicas() == replicas && noted {
            return;
        }
        let annotations = json!({DESIRED_REPLICAS: desired.to_string(), MAX_REPLICAS: max.to_string()});
        let revision = set.stored.revision.to_string();
        let patch = json!({
            "metadata": {"resourceVersion": revision, "annotations": annotations},
            "spec": {"replicas": replicas},
        });
        let step = Step::new(self.writer.merge(&set.stored.key, "", &patch));
        outcome.push(if set.replicas() == replicas {
            step
        } else {
            step.telling(self.scaled(set.name(), set.replicas(), replicas))
        });
    }

    fn scaled(&self, set: &str, from: i64, to: i64) -> EventNote {
        let way = if to > from { "up" } else { "down" };
        let text = format!("Scaled {way} replica set {set} from {from} to {to}");
        EventNote::new(self.stored, EventKind::Normal, "ScalingReplicaSet", text)
    }
}

/// An `intOrString` of a rolling update in pods.
fn resolve(value: &Value, replicas: i64, round_up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number.max(0);
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()).unwrap_or(0);
    let hundredfold = percent.max(0).saturating_mul(replicas);
    if round_up { hundredfold.saturating_add(99) / 100 } else { hundredfold / 100 }
}

/// Rolls out pod templates through ReplicaSets.
pub(crate) struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn hears_of(&self) -> Hears {
        Hears::Of(&["deployments.apps", "replicasets.apps", "pods"])
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let is_deployment = |stored: &&Arc<Stored>| &*stored.key.resource == "deployments.apps";
        match news.resource() {
            "deployments.apps" => wake.up(news.key()),
            "replicasets.apps" => {
                wake.all(news.owners().filter(is_deployment));
                if news.is_unowned() {
                    wake.all(ownership::may_adopt(news, "deployments.apps"));
                }
            }
            // One that recreates waits for the last pod of its old sets; the sets stopped counting it earlier.
            _ if news.is_gone() => {
                let owners = news.owners().flat_map(|set| &set.meta().owner_references);
                wake.all(owners.filter_map(|owner| news.state.by_uid(&owner.uid)).filter(is_deployment));
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        reconcile(look.writer, look.state, stored, look.now)
    }
}

fn reconcile(writer: &Writer, state: &State, stored: &Arc<Stored>, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(view) = stored.view::<Workload>() else { return outcome };
    let Some(selector) = &view.spec.selector else { return outcome };
    let deleting = stored.meta().deletion_timestamp.is_some();
    if !deleting {
        ownership::adopt_and_release(writer, state, stored, selector, "replicasets.apps", &mut outcome);
    }
    let sets = owned_sets(state, stored, selector);
    let newest = revision::newest(stored, view, &sets);
    let rollout = Rollout { writer, stored, view, sets, newest };
    if deleting {
        status::write(&rollout, None, now, &mut outcome);
        return outcome;
    }
    let created = advance(&rollout, state, &mut outcome);
    status::write(&rollout, created.as_deref(), now, &mut outcome);
    outcome
}

/// The one next move of the rollout; returns the name of a ReplicaSet that it creates.
fn advance(rollout: &Rollout<'_>, state: &State, outcome: &mut Outcome) -> Option<String> {
    revision::sync(rollout, outcome);
    // Without rolling there are no proportions to keep: old sets are emptied, whatever the new size.
    if rollout.view.spec.paused || (rollout.rolling() && is_scaling(rollout)) {
        scale::to_new_size(rollout, outcome);
        return None;
    }
    if rollout.newest.is_none() {
        if !rollout.rolling() && !scale::recreate_is_clear(rollout, state, outcome) {
            return None;
        }
        return Some(revision::create_set(rollout, state, outcome));
    }
    if rollout.rolling() {
        scale::roll(rollout, outcome);
    } else if scale::recreate_is_clear(rollout, state, outcome)
        && let Some(newest) = rollout.newest()
    {
        rollout.resize(newest, rollout.replicas(), outcome);
    }
    if status::complete(rollout) {
        revision::clean_up(rollout, outcome);
    }
    None
}

/// Whether `spec.replicas` was changed since the sets were last sized.
fn is_scaling(rollout: &Rollout<'_>) -> bool {
    let mut active = rollout.sets.iter().filter(|set| set.replicas() > 0);
    active.any(|set| set.number(DESIRED_REPLICAS).is_some_and(|desired| desired != rollout.replicas()))
}

fn owned_sets<'a>(state: &'a State, deployment: &'a Stored, selector: &Selector) -> Vec<Set<'a>> {
    let mine = ownership::owned(state, deployment, "replicasets.apps");
    let mine = mine.filter(|set| selector.matches(set.meta()));
    let mut sets: Vec<Set<'a>> =
        mine.filter_map(|stored| Some(Set { stored, view: stored.view()? })).collect();
    sets.sort_by(|a, b| {
        let created = |set: &Set<'_>| set.stored.meta().creation_timestamp;
        created(a).cmp(&created(b)).then_with(|| a.stored.key.name.cmp(&b.stored.key.name))
    });
    sets
}
