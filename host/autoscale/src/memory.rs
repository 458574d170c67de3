//! What is remembered of an autoscaler from one look to the next, because no object says it. Kubernetes' controller forgets it
//! in a restart, too.

use std::collections::VecDeque;

use crate::history::History;

/// Recommendations or changes within so long of one another are remembered as one, at the time of the last: a burst of looks
/// needs no more room than the regular ones.
const FOLD_MS: i64 = 5_000;
/// The longest stabilisation window that validation lets through.
const WINDOW_MAX_MS: i64 = 3_600_000;
/// The longest period of a rate that validation lets through.
const PERIOD_MAX_MS: i64 = 1_800_000;

/// What is remembered of one autoscaler.
#[derive(Debug, Default)]
pub struct Memory {
    /// What was measured.
    pub history: History,
    recommendations: VecDeque<Recommended>,
    ups: VecDeque<Change>,
    downs: VecDeque<Change>,
}

#[derive(Clone, Copy, Debug)]
struct Recommended {
    first_ms: i64,
    at_ms: i64,
    least: u32,
    most: u32,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    first_ms: i64,
    at_ms: i64,
    replicas: u32,
}

impl Memory {
    /// The first look at a workload: as it is, it was recommended.
    pub(crate) fn begin(&mut self, now_ms: i64, current: u32) {
        if self.recommendations.is_empty() {
            self.recommend(now_ms, current);
        }
    }

    pub(crate) fn recommend(&mut self, now_ms: i64, replicas: u32) {
        while self.recommendations.front().is_some_and(|old| old.at_ms < now_ms - WINDOW_MAX_MS) {
            self.recommendations.pop_front();
        }
        match self.recommendations.back_mut().filter(|last| now_ms - last.first_ms < FOLD_MS) {
            Some(last) => {
                last.at_ms = last.at_ms.max(now_ms);
                last.least = last.least.min(replicas);
                last.most = last.most.max(replicas);
            }
            None => self.recommendations.push_back(Recommended {
                first_ms: now_ms,
                at_ms: now_ms,
                least: replicas,
                most: replicas,
            }),
        }
    }

    /// The lowest recommendation since `window_s` seconds.
    pub(crate) fn lowest(&self, now_ms: i64, window_s: i64) -> Option<u32> {
        self.since(now_ms, window_s).map(|old| old.least).min()
    }

    /// The highest recommendation since `window_s` seconds.
    pub(crate) fn highest(&self, now_ms: i64, window_s: i64) -> Option<u32> {
        self.since(now_ms, window_s).map(|old| old.most).max()
    }

    fn since(&self, now_ms: i64, window_s: i64) -> impl Iterator<Item = &Recommended> {
        self.recommendations.iter().filter(move |old| old.at_ms > now_ms - window_s * 1000)
    }

    /// The workload was scaled.
    pub(crate) fn scaled(&mut self, now_ms: i64, from: u32, to: u32) {
        let changes = if to > from { &mut self.ups } else { &mut self.downs };
        while changes.front().is_some_and(|old| old.at_ms < now_ms - PERIOD_MAX_MS) {
            changes.pop_front();
        }
        match changes.back_mut().filter(|last| now_ms - last.first_ms < FOLD_MS) {
            Some(last) => {
                last.at_ms = last.at_ms.max(now_ms);
                last.replicas = last.replicas.saturating_add(from.abs_diff(to));
            }
            None => {
                changes.push_back(Change { first_ms: now_ms, at_ms: now_ms, replicas: from.abs_diff(to) })
            }
        }
    }

    /// How many replicas there were when a period began, of which there are `current` now.
    pub(crate) fn at_start_of(&self, now_ms: i64, period_s: i64, current: u32) -> i64 {
        let sum = |changes: &VecDeque<Change>| -> i64 {
            let recent = changes.iter().filter(|change| change.at_ms > now_ms - period_s * 1000);
            recent.map(|change| i64::from(change.replicas)).sum()
        };
        i64::from(current) - sum(&self.ups) + sum(&self.downs)
    }
}
