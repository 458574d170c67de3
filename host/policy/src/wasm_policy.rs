//! A running component that schedules.

use crate::bindings::{cluster, interface, planning, scoring, types};
use crate::component::{Component, Indices};
use crate::error::StartError;
use crate::instance::Instance;
use crate::limits::SETUP_DEADLINE;
use crate::manifest;
use crate::sandbox::{Sandbox, first_line};
use berth_lifecycle::RoleName;
use berth_scheduler::policy::{
    Action, Columns, Ctx, Feed, Manifest, PlanQuestion, Policy, PolicyError, ScoreQuestion, Scores, Unit,
    Verb, check_plan, check_scores,
};
use wasmtime::Store;

/// One instance of a component, and what it says it is.
pub struct WasmPolicy {
    instance: Instance<Exports>,
    manifest: Manifest,
    /// How many dimensions it has been told of.
    dimensions: usize,
}

/// What can be called.
pub(crate) struct Exports {
    cluster: cluster::Guest,
    scoring: Option<scoring::Guest>,
    planning: Option<planning::Guest>,
}

impl std::fmt::Debug for WasmPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = self.component().digest();
        f.debug_struct("WasmPolicy")
            .field("name", &self.manifest.name)
            .field("digest", &digest)
            .finish_non_exhaustive()
    }
}

impl WasmPolicy {
    pub(crate) fn start(
        component: &Component,
        name: &str,
        config: &[u8],
        offered: Columns<'_>,
    ) -> Result<Self, StartError> {
        let Indices::Scheduler { cluster, scoring, planning } = component.indices() else {
            return Err(StartError::Role { role: component.role(), wanted: RoleName::Scheduler });
        };
        let mut instance = Instance::start(component, name, |store, instance| {
            Ok(Exports {
                cluster: cluster.load(&mut *store, instance)?,
                scoring: scoring.as_ref().map(|scoring| scoring.load(&mut *store, instance)).transpose()?,
                planning: planning
                    .as_ref()
                    .map(|planning| planning.load(&mut *store, instance))
                    .transpose()?,
            })
        })?;
        let described =
            instance.call(SETUP_DEADLINE, |store, exports| exports.cluster.call_describe(store, config))?;
        let manifest = manifest::decode(described.map_err(|why| StartError::Config(first_line(&why)))?)?;
        manifest.check(offered)?;
        check_exports(instance.exports(), &manifest)?;
        Ok(Self { instance, manifest, dimensions: 0 })
    }

    /// The component it is an instance of.
    pub fn component(&self) -> &Component {
        self.instance.component()
    }
}

fn check_exports(exports: &Exports, manifest: &Manifest) -> Result<(), StartError> {
    let missing = |does, name| Err(StartError::MissingInterface { does, interface: interface(name) });
    if manifest.scores != Scores::No && exports.scoring.is_none() {
        return missing("scores", "scoring");
    }
    if manifest.plans && exports.planning.is_none() {
        return missing("plans", "planning");
    }
    Ok(())
}

impl Policy for WasmPolicy {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
        if let Some(dimensions) = &feed.dimensions {
            self.dimensions = dimensions.len();
        }
        feed.assert_shape(&self.manifest, self.dimensions);
        // The dimensions come with the whole cluster: in a policy's first feed, and after a reset.
        let deadline = match &feed.dimensions {
            Some(_) => SETUP_DEADLINE.max(self.instance.deadline()),
            None => self.instance.deadline(),
        };
        self.instance.call(deadline, |store, exports| send(feed, store, &exports.cluster))
    }

    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        let ScoreQuestion { ctx, class, candidates, columns } = *question;
        let deadline = self.instance.deadline();
        let answer = self.instance.call(deadline, |store, exports| match &exports.scoring {
            Some(scoring) => scoring.call_score(store, wire_ctx(ctx), class, candidates, columns).map(Some),
            None => Ok(None),
        })?;
        *scores = answer.ok_or_else(|| PolicyError::BadAnswer("it does not score".to_owned()))?;
        check_scores(question, scores)
    }

    fn plan(&mut self, question: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
        let batch = planning::Batch {
            pods: question.pods.iter().map(wire_pod).collect(),
            classes: question.classes.to_vec(),
            words: question.words,
            feasible: question.feasible.to_vec(),
            eligible: question.eligible.to_vec(),
            columns: question.columns.to_vec(),
        };
        let deadline = self.instance.deadline();
        let answer = self.instance.call(deadline, |store, exports| match &exports.planning {
            Some(planning) => planning.call_plan(store, wire_ctx(question.ctx), &batch).map(Some),
            None => Ok(None),
        })?;
        let answer = answer.ok_or_else(|| PolicyError::BadAnswer("it does not plan".to_owned()))?;
        actions.clear();
        for action in answer {
            actions.push(decode_action(action)?);
        }
        check_plan(question, actions)
    }
}

/// One feed, in the order of the contract; what is empty costs nothing.
fn send(feed: &Feed, store: &mut Store<Sandbox>, to: &cluster::Guest) -> wasmtime::Result<()> {
    if feed.reset {
        to.call_reset(&mut *store)?;
    }
    if let Some(dimensions) = &feed.dimensions {
        to.call_define_dimensions(&mut *store, dimensions)?;
    }
    if !feed.symbols.texts.is_empty() {
        to.call_define_symbols(&mut *store, feed.symbols.first, &feed.symbols.texts)?;
    }
    if !feed.removed_nodes.is_empty() {
        to.call_remove_nodes(&mut *store, &feed.removed_nodes)?;
    }
    let nodes = &feed.nodes;
    if !nodes.slots.is_empty() {
        to.call_upsert_nodes(&mut *store, &nodes.slots, &nodes.allocatable, &nodes.requested, &nodes.labels)?;
    }
    if !feed.requested_slots.is_empty() {
        to.call_update_requested(&mut *store, &feed.requested_slots, &feed.requested)?;
    }
    for update in &feed.columns {
        to.call_update_column(&mut *store, update.column, &update.slots, &update.values)?;
    }
    send_objects(feed, store, to)?;
    to.call_end_batch(store, feed.seq)
}

/// The later part of a feed: units, classes, groups, pods.
fn send_objects(feed: &Feed, store: &mut Store<Sandbox>, to: &cluster::Guest) -> wasmtime::Result<()> {
    if !feed.units.is_empty() {
        let units: Vec<_> = feed.units.iter().map(wire_unit).collect();
        to.call_upsert_units(&mut *store, &units)?;
    }
    if !feed.class_ids.is_empty() {
        to.call_define_classes(&mut *store, &feed.class_ids, &feed.class_requests, &feed.class_attributes)?;
    }
    if !feed.forgotten_classes.is_empty() {
        to.call_forget_classes(&mut *store, &feed.forgotten_classes)?;
    }
    if !feed.groups.is_empty() {
        let wire = |group: &berth_scheduler::policy::Group| cluster::Group {
            id: group.id,
            min_members: group.min_members,
            placed: group.placed,
        };
        let groups: Vec<_> = feed.groups.iter().map(wire).collect();
        to.call_upsert_groups(&mut *store, &groups)?;
    }
    if !feed.removed_pods.is_empty() {
        to.call_remove_pods(&mut *store, &feed.removed_pods)?;
    }
    if !feed.pods.is_empty() {
        let pods: Vec<_> = feed.pods.iter().map(wire_pod).collect();
        to.call_upsert_pods(&mut *store, &pods)?;
    }
    Ok(())
}

fn wire_ctx(ctx: Ctx) -> types::Ctx {
    types::Ctx { seq: ctx.seq, now_ms: ctx.now_ms, seed: ctx.seed }
}

fn wire_unit(unit: &Unit) -> cluster::Unit {
    let Unit { id, slot, dimension, index, model, capacity, free } = *unit;
    cluster::Unit { id, slot, dimension, index, model, capacity, free }
}

fn wire_pod(pod: &berth_scheduler::policy::Pod) -> cluster::Pod {
    let berth_scheduler::policy::Pod { id, since_ms, class, group, priority, slot, flags } = *pod;
    cluster::Pod { id, since_ms, class, group, priority, slot, flags: flags.0 }
}

fn decode_action(action: planning::Action) -> Result<Action, PolicyError> {
    let planning::Action { code, pod, slot, units, reason, transaction } = action;
    let verb = Verb::from_code(code);
    let verb = verb.ok_or_else(|| PolicyError::BadAnswer(format!("{code} is no known action")))?;
    Ok(Action { verb, pod, slot, units, reason, transaction })
}
