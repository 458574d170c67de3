//! What was measured of a workload, as far back as policies may ask.
//!
//! A history belongs to its autoscaler, whatever policy looks at it. It is kept in minutes over a week, and beside that in the
//! step of the present policy when that is finer. A policy that wants another step gets means over it, or the same value
//! several times.

use std::collections::{BTreeMap, VecDeque};

use crate::policy::Manifest;

/// How far apart the samples are that are kept for whatever policy may come: enough for a daily profile.
const BASE_STEP_MS: i64 = 60_000;
/// How far back they go: what the contract allows a policy to want.
const BASE_WINDOW_MS: i64 = 7 * 24 * 3_600_000;
/// Samples of one series: a week of minutes, and what the contract allows.
const SAMPLES_MAX: usize = 10_080;
/// Samples of a series whatever the other autoscalers have: an hour of minutes.
const SAMPLES_MIN: usize = 60;
/// Samples of all autoscalers together: 64 MiB.
const SAMPLES_ALTOGETHER: usize = 8 * 1024 * 1024;
/// Series of one autoscaler; what its other metrics were is not kept.
const SERIES_MAX: usize = 16;

/// How many samples each of so many autoscalers may keep.
pub fn fair_share(autoscalers: usize) -> usize {
    SAMPLES_ALTOGETHER / autoscalers.max(1)
}

/// What was measured of one workload.
#[derive(Debug)]
pub struct History {
    base: Rings,
    /// In a policy's step, when that is finer.
    fine: Option<Rings>,
}

impl Default for History {
    fn default() -> Self {
        Self { base: Rings::new(BASE_STEP_MS, BASE_WINDOW_MS), fine: None }
    }
}

/// A history in a policy's step, oldest first.
#[derive(Debug, Default, PartialEq)]
pub struct Series {
    /// When the last samples were taken.
    pub end_ms: u64,
    /// How many replicas there were.
    pub replicas: Vec<u32>,
    /// By what identifies a metric; NaN where nothing was measured.
    pub metrics: BTreeMap<String, Vec<f64>>,
}

impl History {
    /// Keeps what was measured at `now_ms`: the value of each metric in its unit (NaN for none), in `share` samples
    /// altogether, but at least an hour of minutes.
    pub fn record(&mut self, now_ms: i64, replicas: u32, metrics: &[(String, f64)], share: usize) {
        let metrics = &metrics[..metrics.len().min(SERIES_MAX)];
        let series = (metrics.len() + 1) * if self.fine.is_some() { 2 } else { 1 };
        let limit = (share / series).clamp(SAMPLES_MIN, SAMPLES_MAX);
        self.base.record(now_ms, replicas, metrics, limit);
        if let Some(fine) = &mut self.fine {
            fine.record(now_ms, replicas, metrics, limit);
        }
    }

    /// Keeps it in this policy's step too, as far as it goes back.
    pub fn keep_for(&mut self, manifest: &Manifest) {
        let (step, window) = millis_of(manifest);
        if window == 0 || step >= BASE_STEP_MS {
            self.fine = None;
            return;
        }
        if self.fine.as_ref().is_none_or(|fine| fine.step_ms != step) {
            self.fine = Some(self.fine.as_ref().unwrap_or(&self.base).resampled(step, window));
        }
        if let Some(fine) = &mut self.fine {
            fine.window_ms = window;
        }
    }

    /// What a policy with this manifest is shown.
    pub fn series(&self, manifest: &Manifest) -> Series {
        let (step, window) = millis_of(manifest);
        if window == 0 || step == 0 {
            return Series::default();
        }
        let rings = self.fine.as_ref().filter(|fine| fine.step_ms == step).unwrap_or(&self.base);
        rings.resampled(step, window).into_series()
    }
}

fn millis_of(manifest: &Manifest) -> (i64, i64) {
    let millis = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(BASE_WINDOW_MS);
    (millis(manifest.step), millis(manifest.window).min(BASE_WINDOW_MS))
}

/// Series with the same step and end.
#[derive(Debug)]
struct Rings {
    step_ms: i64,
    window_ms: i64,
    /// The step of the last sample, in steps since the Unix epoch.
    last: i64,
    /// When something was last measured.
    end_ms: i64,
    replicas: VecDeque<Mean>,
    metrics: BTreeMap<String, VecDeque<Mean>>,
}

/// A mean of what was measured in one step. Measures fit an `f32`: nobody scales by their eighth digit.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    value: f32,
    count: u16,
}

impl Mean {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count = self.count.saturating_add(1);
            let before = f64::from(self.value);
            self.value = (before + (value - before) / f64::from(self.count)) as f32;
        }
    }

    fn get(self) -> f64 {
        if self.count == 0 { f64::NAN } else { f64::from(self.value) }
    }
}

impl Rings {
    fn new(step_ms: i64, window_ms: i64) -> Self {
        let (replicas, metrics) = (VecDeque::new(), BTreeMap::new());
        Self { step_ms, window_ms, last: 0, end_ms: 0, replicas, metrics }
    }

    fn record(&mut self, now_ms: i64, replicas: u32, metrics: &[(String, f64)], limit: usize) {
        let room = usize::try_from(self.window_ms / self.step_ms).unwrap_or(SAMPLES_MAX).clamp(1, limit);
        self.reach(now_ms, room);
        for (name, value) in metrics {
            let ring = self.metrics.entry(name.clone()).or_default();
            if ring.is_empty() {
                // There was a time when nobody measured it.
                ring.resize(self.replicas.len(), Mean::default());
            }
            if let Some(mean) = ring.back_mut() {
                mean.add(*value);
            }
        }
        if let Some(mean) = self.replicas.back_mut() {
            mean.add(f64::from(replicas));
        }
        // What the autoscaler names no longer goes when all of it is absent.
        let named = |name: &String| metrics.iter().any(|(known, _)| known == name);
        self.metrics.retain(|name, ring| named(name) || ring.iter().any(|mean| mean.count > 0));
        if self.metrics.len() > SERIES_MAX {
            self.metrics.retain(|name, _| named(name));
        }
    }

    /// Makes `now_ms` fall into the last step; a clock that goes back stays in it.
    fn reach(&mut self, now_ms: i64, room: usize) {
        let step = now_ms.div_euclid(self.step_ms);
        let new = if self.replicas.is_empty() { 1 } else { step.saturating_sub(self.last).max(0) };
        let new = usize::try_from(new).unwrap_or(room).min(room);
        self.last = if self.replicas.is_empty() { step } else { self.last.max(step) };
        self.end_ms = self.end_ms.max(now_ms);
        for ring in std::iter::once(&mut self.replicas).chain(self.metrics.values_mut()) {
            ring.extend(std::iter::repeat_n(Mean::default(), new));
            let excess = ring.len().saturating_sub(room);
            ring.drain(..excess);
        }
    }

    /// The same in another step, as far back as `window_ms`.
    fn resampled(&self, step_ms: i64, window_ms: i64) -> Self {
        let mut new = Self::new(step_ms, window_ms);
        new.end_ms = self.end_ms;
        new.last = self.end_ms.div_euclid(step_ms);
        if self.replicas.is_empty() {
            return new;
        }
        let oldest_ms =
            (self.last + 1 - i64::try_from(self.replicas.len()).unwrap_or_default()) * self.step_ms;
        let wanted = (window_ms / step_ms).clamp(1, i64::try_from(SAMPLES_MAX).unwrap_or(i64::MAX));
        let first = (new.last + 1 - wanted).max(oldest_ms.div_euclid(step_ms));
        let ring =
            |old: &VecDeque<Mean>| (first..=new.last).map(|at| self.mean_of(old, at, step_ms)).collect();
        new.replicas = ring(&self.replicas);
        new.metrics = self.metrics.iter().map(|(name, old)| (name.clone(), ring(old))).collect();
        new
    }

    /// The mean over the step number `at` of length `step_ms`.
    fn mean_of(&self, ring: &VecDeque<Mean>, at: i64, step_ms: i64) -> Mean {
        let oldest = self.last + 1 - i64::try_from(ring.len()).unwrap_or_default();
        let from = (at * step_ms).div_euclid(self.step_ms);
        let to = (((at + 1) * step_ms - 1).div_euclid(self.step_ms)).min(self.last);
        let mut mean = Mean::default();
        for index in (from - oldest)..=(to - oldest) {
            let sample = usize::try_from(index).ok().and_then(|index| ring.get(index));
            sample.into_iter().for_each(|sample| mean.add(sample.get()));
        }
        mean
    }

    fn into_series(self) -> Series {
        // Between two looks the replicas are what they were.
        let mut before = 0;
        let mut replicas = |mean: &Mean| {
            if mean.count > 0 {
                before = mean.value.round() as u32;
            }
            before
        };
        let values = |ring: &VecDeque<Mean>| ring.iter().map(|mean| mean.get()).collect();
        Series {
            end_ms: u64::try_from(self.end_ms).unwrap_or_default(),
            replicas: self.replicas.iter().map(&mut replicas).collect(),
            metrics: self.metrics.iter().map(|(name, ring)| (name.clone(), values(ring))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: i64 = 60_000;
    const PLENTY: usize = 1_000_000;

    fn manifest(step_s: u64, window_s: u64) -> Manifest {
        let (step, window) = (Duration::from_secs(step_s), Duration::from_secs(window_s));
        Manifest { name: "p".to_owned(), version: "1".to_owned(), window, step }
    }

    fn cpu(value: f64) -> [(String, f64); 1] {
        [("cpu".to_owned(), value)]
    }

    /// NaNs as -1, to be compared.
    fn values(series: &Series) -> Vec<f64> {
        series.metrics["cpu"].iter().map(|value| if value.is_nan() { -1.0 } else { *value }).collect()
    }

    #[test]
    fn a_policy_sees_what_was_before_it_in_its_own_step() {
        let mut history = History::default();
        for minute in 0..6 {
            history.record(minute * MINUTE, 2, &cpu(minute as f64), PLENTY);
        }
        let seen = history.series(&manifest(60, 180));
        assert_eq!((values(&seen), seen.replicas, seen.end_ms), (vec![3.0, 4.0, 5.0], vec![2; 3], 300_000));
        let coarse = history.series(&manifest(120, 3600));
        assert_eq!(values(&coarse), [0.5, 2.5, 4.5]);
        history.keep_for(&manifest(30, 180));
        assert_eq!(values(&history.series(&manifest(30, 180))), [2.5_f64.floor(), 3.0, 3.0, 4.0, 4.0, 5.0]);
        history.record(5 * MINUTE + 30_000, 3, &cpu(9.0), PLENTY);
        assert_eq!(values(&history.series(&manifest(30, 90))), [4.0, 5.0, 9.0]);
        assert_eq!(history.series(&manifest(60, 0)), Series::default());
        assert_eq!(values(&history.series(&manifest(60, 120))), [4.0, 7.0], "the mean of both");
    }

    #[test]
    fn what_was_not_measured_is_not_made_up() {
        let mut history = History::default();
        history.record(0, 1, &cpu(1.0), PLENTY);
        history.record(3 * MINUTE, 2, &cpu(4.0), PLENTY);
        history.record(4 * MINUTE, 2, &cpu(f64::NAN), PLENTY);
        let seen = history.series(&manifest(60, 3600));
        assert_eq!(values(&seen), [1.0, -1.0, -1.0, 4.0, -1.0]);
        assert_eq!(seen.replicas, [1, 1, 1, 2, 2]);
        history.record(5 * MINUTE, 2, &[("new".to_owned(), 1.0)], PLENTY);
        let seen = history.series(&manifest(60, 3600));
        assert_eq!(seen.metrics["new"].iter().filter(|value| value.is_nan()).count(), 5);
        assert_eq!(values(&seen).len(), 6, "all series are of one length");
    }

    #[test]
    fn a_history_is_bounded_and_a_long_sleep_costs_nothing() {
        let mut history = History::default();
        for minute in 0..500 {
            history.record(minute * MINUTE, 1, &cpu(1.0), 200);
        }
        assert_eq!(history.base.replicas.len(), 100);
        history.record(i64::MAX / 2, 1, &cpu(1.0), 200);
        assert_eq!(values(&history.series(&manifest(60, 120))), [-1.0, 1.0]);
        let names: Vec<(String, f64)> = (0..100).map(|i| (format!("m{i}"), 1.0)).collect();
        history.record(i64::MAX / 2, 1, &names, 200);
        assert!(history.base.metrics.len() <= SERIES_MAX);
        assert!(fair_share(1000) > 8000);
    }
}
