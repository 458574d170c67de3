//! Making a question of an autoscaler, its workload and what was measured.

use berth_api::Timestamp;
use berth_api::views::Phase;

use crate::memory::Memory;
use crate::policy::{Manifest, Metric, Pod, PodState, Question, Source};
use crate::reading::{Described, SeenPod, Usages, read};
use crate::spec::{Autoscaler, count};

/// For how long after its start a pod's processor time is not believed while it is not ready:
/// `--horizontal-pod-autoscaler-cpu-initialization-period`.
const INITIALIZATION_MS: u64 = 300_000;
/// For how long a pod that was never ready counts as unready whatever it says:
/// `--horizontal-pod-autoscaler-initial-readiness-delay`.
const READINESS_DELAY_MS: u64 = 30_000;

/// How a workload stands: its Scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// How many replicas it is to have.
    pub wanted: u32,
    /// How many it has.
    pub present: u32,
}

/// What an autoscaler looks at.
pub struct Look<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The autoscaler.
    pub autoscaler: &'a Autoscaler,
    /// Its workload.
    pub scale: Scale,
    /// The workload's pods, in the order of their names.
    pub pods: &'a [SeenPod<'a>],
    /// What pods used.
    pub usages: Usages<'a>,
    /// Which pods an object stands for.
    pub described: Described<'a>,
    /// The time.
    pub now: Timestamp,
}

impl Look<'_> {
    /// The question to a policy with this manifest (`None`: to nobody), with what is measured now; it enters the history, of which `share` samples
    /// are kept ([`fair_share`](crate::fair_share)).
    pub fn question(&self, manifest: Option<&Manifest>, memory: &mut Memory, share: usize) -> Question {
        let spec = &self.autoscaler.spec;
        let mut metrics: Vec<Metric> =
            spec.metrics.iter().map(|metric| read(metric, self.pods, self.usages, self.described)).collect();
        let measured: Vec<(String, f64)> = spec
            .metrics
            .iter()
            .zip(&metrics)
            .map(|(spec, metric)| (spec.identity(), metric.total()))
            .collect();
        let now_ms = millis(self.now);
        if let Some(manifest) = manifest {
            memory.history.keep_for(manifest);
        }
        memory.history.record(now_ms, self.scale.present, &measured, share);
        let series = manifest.map(|manifest| memory.history.series(manifest)).unwrap_or_default();
        for ((identity, _), metric) in measured.iter().zip(&mut metrics) {
            let unknown = || vec![f64::NAN; series.replicas.len()];
            metric.history = series.metrics.get(identity).cloned().unwrap_or_else(unknown);
        }
        let target = &spec.scale_target_ref;
        let (tolerance_up, tolerance_down) = self.autoscaler.tolerances();
        Question {
            now_ms: unsigned(now_ms),
            seed: unsigned(self.now.micros()),
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            target: format!("{}/{}", target.kind, target.name),
            current: self.scale.wanted,
            desired: count(self.autoscaler.status.desired_replicas),
            min_replicas: self.autoscaler.min_replicas(),
            max_replicas: self.autoscaler.max_replicas(),
            tolerance_up,
            tolerance_down,
            initialization_ms: INITIALIZATION_MS,
            readiness_delay_ms: READINESS_DELAY_MS,
            pods: self.pods.iter().map(pod).collect(),
            metrics,
            history_end_ms: series.end_ms,
            history_replicas: series.replicas,
        }
    }
}

pub(crate) fn millis(time: Timestamp) -> i64 {
    time.micros() / 1000
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn pod(seen: &SeenPod<'_>) -> Pod {
    let view = seen.view;
    let is_ready = view.ready_since.is_some() && view.phase == Phase::Running;
    let bits = [
        (is_ready, PodState::READY),
        (view.phase == Phase::Pending, PodState::PENDING),
        (seen.is_deleted || view.phase == Phase::Failed, PodState::IGNORED),
    ];
    let state = bits.into_iter().filter(|(holds, _)| *holds).fold(0, |all, (_, bit)| all | bit.0);
    let of = |time: Option<Timestamp>| time.map_or(0, |time| unsigned(millis(time)));
    Pod {
        state: PodState(state),
        start_ms: of(view.started_at),
        ready_changed_ms: of(view.ready_since.or(view.unready_since)),
    }
}

impl Question {
    /// Which pods' values of a metric are believed: those that Kubernetes' horizontal controller takes averages of.
    pub(crate) fn counted<'q>(&'q self, metric: &'q Metric) -> impl Iterator<Item = (usize, i64)> + 'q {
        let values = self.pods.iter().zip(&metric.pod_values).enumerate();
        values.filter_map(|(index, (pod, value))| {
            Some((index, (*value).filter(|_| self.believes(pod, metric))?))
        })
    }

    fn believes(&self, pod: &Pod, metric: &Metric) -> bool {
        let has = |bit: PodState| pod.state.0 & bit.0 != 0;
        if has(PodState::IGNORED) || has(PodState::PENDING) {
            return false;
        }
        let is_resource = matches!(metric.source, Source::Resource | Source::ContainerResource);
        if !is_resource || metric.name != "cpu" {
            return true;
        }
        if pod.start_ms == 0 || pod.ready_changed_ms == 0 {
            return false;
        }
        if pod.start_ms + self.initialization_ms > self.now_ms {
            return has(PodState::READY) && metric.measured_ms >= pod.ready_changed_ms + metric.window_ms;
        }
        has(PodState::READY) || pod.start_ms + self.readiness_delay_ms <= pod.ready_changed_ms
    }
}
