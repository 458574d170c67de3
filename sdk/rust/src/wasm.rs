//! The component's face: generated bindings, and the policy behind them.

pub mod admission;
pub mod autoscaler;
pub mod configuring;

use crate::{Batch, Ctx, Instance, Question, Scheduler, log};
use bindings::exports::berth::policy::{cluster, planning, scoring};

/// Made from `wit/policy.wit`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "scheduler",
        pub_export_macro: true,
        export_macro_name: "export_component",
    });
}
pub use bindings::export_component;

/// The host shows the last line logged as an error when a component traps.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
}

/// A policy that has a place in this component: implemented by [`crate::export`].
pub trait Exported: Scheduler + 'static {
    /// Calls with the component's only instance.
    fn with_instance<T>(call: impl FnOnce(&mut Instance<Self>) -> T) -> T;
}

/// Implements the generated traits for any policy.
#[derive(Debug)]
pub struct Component<P>(core::marker::PhantomData<P>);

impl<P: Exported> cluster::Guest for Component<P> {
    fn describe(config: Vec<u8>) -> Result<cluster::Manifest, String> {
        report_panics();
        P::with_instance(|instance| instance.describe(&config)).map(Into::into)
    }

    fn reset() {
        P::with_instance(Instance::reset);
    }

    fn define_dimensions(names: Vec<String>) {
        P::with_instance(|instance| instance.cluster_mut().define_dimensions(names));
    }

    fn define_symbols(first: u32, texts: Vec<String>) {
        P::with_instance(|instance| instance.cluster_mut().define_symbols(first, texts));
    }

    fn remove_nodes(slots: Vec<u32>) {
        P::with_instance(|instance| instance.cluster_mut().remove_nodes(&slots));
    }

    fn upsert_nodes(slots: Vec<u32>, allocatable: Vec<i32>, requested: Vec<i32>, labels: Vec<u32>) {
        P::with_instance(|instance| {
            instance.cluster_mut().upsert_nodes(&slots, &allocatable, &requested, &labels);
        });
    }

    fn update_requested(slots: Vec<u32>, requested: Vec<i32>) {
        P::with_instance(|instance| instance.cluster_mut().update_requested(&slots, &requested));
    }

    fn update_column(column: u32, slots: Vec<u32>, values: Vec<i32>) {
        P::with_instance(|instance| instance.cluster_mut().update_column(column, &slots, &values));
    }

    fn upsert_units(units: Vec<cluster::Unit>) {
        P::with_instance(|instance| instance.cluster_mut().upsert_units(units.into_iter().map(Into::into)));
    }

    fn define_classes(ids: Vec<u32>, requests: Vec<i32>, attributes: Vec<u32>) {
        P::with_instance(|instance| instance.cluster_mut().define_classes(&ids, &requests, &attributes));
    }

    fn forget_classes(ids: Vec<u32>) {
        P::with_instance(|instance| instance.cluster_mut().forget_classes(&ids));
    }

    fn upsert_groups(groups: Vec<cluster::Group>) {
        P::with_instance(|instance| instance.cluster_mut().upsert_groups(groups.into_iter().map(Into::into)));
    }

    fn remove_pods(ids: Vec<u64>) {
        P::with_instance(|instance| instance.cluster_mut().remove_pods(&ids));
    }

    fn upsert_pods(pods: Vec<cluster::Pod>) {
        P::with_instance(|instance| instance.cluster_mut().upsert_pods(pods.into_iter().map(Into::into)));
    }

    fn end_batch(seq: u64) {
        P::with_instance(|instance| instance.end_batch(seq));
    }
}

impl<P: Exported> scoring::Guest for Component<P> {
    fn score(c: scoring::Ctx, class: u32, candidates: Vec<u32>, columns: Vec<i32>) -> Vec<i32> {
        let question = Question::new(class, &candidates).with_columns(&columns).with_ctx(c.into());
        let mut scores = Vec::new();
        P::with_instance(|instance| instance.score(&question, &mut scores));
        scores
    }
}

impl<P: Exported> planning::Guest for Component<P> {
    fn plan(c: planning::Ctx, b: planning::Batch) -> Vec<planning::Action> {
        let pods: Vec<crate::Pod> = b.pods.into_iter().map(Into::into).collect();
        let sets = [&b.feasible[..], &b.eligible];
        let batch = Batch::new(c.into(), &pods, &b.classes, b.words as usize, sets, &b.columns);
        let actions = P::with_instance(|instance| instance.plan(&batch));
        actions.into_iter().map(Into::into).collect()
    }
}

impl From<scoring::Ctx> for Ctx {
    fn from(ctx: scoring::Ctx) -> Self {
        Self { seq: ctx.seq, now_ms: ctx.now_ms, seed: ctx.seed }
    }
}

impl From<crate::Manifest> for cluster::Manifest {
    fn from(manifest: crate::Manifest) -> Self {
        let watches = manifest.watches;
        Self {
            name: manifest.name,
            version: manifest.version,
            scores: manifest.scores as u32,
            plans: u32::from(manifest.plans),
            watches: u32::from(watches.units) | u32::from(watches.pods) << 1 | u32::from(watches.groups) << 2,
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
}

impl From<cluster::Unit> for crate::Unit {
    fn from(unit: cluster::Unit) -> Self {
        let cluster::Unit { id, slot, dimension, index, model, capacity, free } = unit;
        Self { id, slot, dimension, index, model, capacity, free }
    }
}

impl From<cluster::Group> for crate::Group {
    fn from(group: cluster::Group) -> Self {
        Self { id: group.id, min_members: group.min_members, placed: group.placed }
    }
}

impl From<cluster::Pod> for crate::Pod {
    fn from(pod: cluster::Pod) -> Self {
        let cluster::Pod { id, since_ms, class, group, priority, slot, flags } = pod;
        Self { id, since_ms, class, group, priority, slot, evictable: flags & 1 == 1 }
    }
}

impl From<crate::Action> for planning::Action {
    fn from(action: crate::Action) -> Self {
        let crate::Action { verb, pod, slot, units, reason, transaction } = action;
        Self { code: verb as u32, pod, slot, units, reason, transaction }
    }
}
