//! Policies written with the SDK, run without a sandbox: for simulation, tests and comparison.
//!
//! Has no limits and catches no panics, so that it is for policies that are linked into the program on purpose.

mod autoscaler;

use berth_scheduler::policy::{
    Action, Columns, Ctx, Feed, Manifest, ManifestError, PlanQuestion, Pod, PodFlags, Policy, PolicyError,
    ScoreQuestion, Scores, Verb, Watches, check_plan, check_scores,
};
use berth_sdk::{Batch, Instance, Question, Scheduler};

pub use autoscaler::NativeRecommender;

/// A policy compiled into this program.
#[derive(Debug)]
pub struct Native<P> {
    instance: Instance<P>,
    manifest: Manifest,
}

/// Why a native policy does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// It refused its configuration.
    Config(String),
    /// It is not what this host can serve.
    Manifest(ManifestError),
}

impl std::error::Error for StartError {}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(why) => write!(f, "the plugin refuses its configuration: {why}"),
            Self::Manifest(error) => error.fmt(f),
        }
    }
}

impl<P: Scheduler> Native<P> {
    /// Configures, describes and checks a policy, as the sandbox does.
    pub fn start(config: &[u8], offered: Columns<'_>) -> Result<Self, StartError> {
        let mut instance = Instance::default();
        let manifest = manifest(instance.describe(config).map_err(StartError::Config)?);
        manifest.check(offered).map_err(StartError::Manifest)?;
        Ok(Self { instance, manifest })
    }
}

impl<P: Scheduler + Send> Policy for Native<P> {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
        if feed.reset {
            self.instance.reset();
        }
        let to = self.instance.cluster_mut();
        if let Some(dimensions) = &feed.dimensions {
            to.define_dimensions(dimensions.clone());
        }
        if !feed.symbols.texts.is_empty() {
            to.define_symbols(feed.symbols.first, feed.symbols.texts.clone());
        }
        to.remove_nodes(&feed.removed_nodes);
        let nodes = &feed.nodes;
        to.upsert_nodes(&nodes.slots, &nodes.allocatable, &nodes.requested, &nodes.labels);
        to.update_requested(&feed.requested_slots, &feed.requested);
        for update in &feed.columns {
            to.update_column(update.column, &update.slots, &update.values);
        }
        to.upsert_units(feed.units.iter().map(unit));
        to.define_classes(&feed.class_ids, &feed.class_requests, &feed.class_attributes);
        to.forget_classes(&feed.forgotten_classes);
        to.upsert_groups(feed.groups.iter().map(group));
        to.remove_pods(&feed.removed_pods);
        to.upsert_pods(feed.pods.iter().map(pod));
        self.instance.end_batch(feed.seq);
        Ok(())
    }

    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        let asked = Question::new(question.class, question.candidates);
        let asked = asked.with_columns(question.columns).with_ctx(ctx(question.ctx));
        self.instance.score(&asked, scores);
        check_scores(question, scores)
    }

    fn plan(&mut self, question: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
        let pods: Vec<berth_sdk::Pod> = question.pods.iter().map(pod).collect();
        let sets = [question.feasible, question.eligible];
        let words = question.words as usize;
        let batch = Batch::new(ctx(question.ctx), &pods, question.classes, words, sets, question.columns);
        actions.clear();
        actions.extend(self.instance.plan(&batch).into_iter().map(action));
        check_plan(question, actions)
    }
}

fn manifest(manifest: berth_sdk::Manifest) -> Manifest {
    let scores = match manifest.scores {
        berth_sdk::Scores::No => Scores::No,
        berth_sdk::Scores::NodeLocal => Scores::NodeLocal,
        berth_sdk::Scores::ClusterWide => Scores::ClusterWide,
    };
    let bit = |set: bool, bit: Watches| if set { bit.0 } else { 0 };
    let watched = manifest.watches;
    let watches = bit(watched.units, Watches::UNITS)
        | bit(watched.pods, Watches::PODS)
        | bit(watched.groups, Watches::GROUPS);
    Manifest {
        name: manifest.name,
        version: manifest.version,
        scores,
        plans: manifest.plans,
        watches: Watches(watches),
        dimensions: manifest.dimensions,
        node_columns: manifest.node_columns,
        class_columns: manifest.class_columns,
        node_labels: manifest.node_labels,
        node_annotations: manifest.node_annotations,
        pod_labels: manifest.pod_labels,
        pod_annotations: manifest.pod_annotations,
        reasons: manifest.reasons,
    }
}

fn ctx(ctx: Ctx) -> berth_sdk::Ctx {
    berth_sdk::Ctx { seq: ctx.seq, now_ms: ctx.now_ms, seed: ctx.seed }
}

fn unit(unit: &berth_scheduler::policy::Unit) -> berth_sdk::Unit {
    let berth_scheduler::policy::Unit { id, slot, dimension, index, model, capacity, free } = *unit;
    berth_sdk::Unit { id, slot, dimension, index, model, capacity, free }
}

fn group(group: &berth_scheduler::policy::Group) -> berth_sdk::Group {
    berth_sdk::Group { id: group.id, min_members: group.min_members, placed: group.placed }
}

fn pod(pod: &Pod) -> berth_sdk::Pod {
    let Pod { id, since_ms, class, group, priority, slot, flags } = *pod;
    let evictable = flags.0 & PodFlags::EVICTABLE.0 != 0;
    berth_sdk::Pod { id, since_ms, class, group, priority, slot, evictable }
}

fn action(action: berth_sdk::Action) -> Action {
    let berth_sdk::Action { verb, pod, slot, units, reason, transaction } = action;
    let verb = match verb {
        berth_sdk::Verb::Place => Verb::Place,
        berth_sdk::Verb::Evict => Verb::Evict,
        berth_sdk::Verb::Nominate => Verb::Nominate,
        berth_sdk::Verb::Hold => Verb::Hold,
        berth_sdk::Verb::Reject => Verb::Reject,
    };
    Action { verb, pod, slot, units, reason, transaction }
}
