//! What the calls of policies cost, and how many fail: for `/metrics`, and through it for `berth plugin ls`.

mod counted;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_api::Timestamp;
use berth_lifecycle::Place;
use berth_tasks::Executor;

pub(crate) use counted::Counted;

/// Upper bounds of the histogram in microseconds: from a Rust policy's few to the longest deadline.
const BUCKETS_US: [u64; 14] =
    [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 100_000, 1_000_000, 10_000_000];
/// Places that are counted: more than can be served at a time. Of those that were bound long ago nobody asks.
const PLACES_MAX: usize = 64;

/// Counters of all places. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct PolicyCalls(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lines: BTreeMap<Place, Line>,
    calls: u64,
}

#[derive(Debug, Default)]
struct Line {
    plugin: String,
    /// Orders places by the last call.
    last: u64,
    buckets: [u64; BUCKETS_US.len()],
    calls: u64,
    failures: u64,
    sum_us: u64,
}

impl PolicyCalls {
    /// A call of the plugin that serves a place has ended.
    fn count(&self, place: &Place, plugin: &str, took_us: u64, failed: bool) {
        let Book { lines, calls } = &mut *self.book();
        *calls += 1;
        if !lines.contains_key(place) && lines.len() >= PLACES_MAX {
            let oldest = lines.iter().min_by_key(|(_, line)| line.last).map(|(place, _)| place.clone());
            oldest.map(|oldest| lines.remove(&oldest));
        }
        let line = lines.entry(place.clone()).or_default();
        if line.plugin != plugin {
            *line = Line { plugin: plugin.to_owned(), ..Line::default() };
        }
        line.last = *calls;
        line.calls += 1;
        line.failures += u64::from(failed);
        line.sum_us += took_us;
        for (bucket, bound) in line.buckets.iter_mut().zip(BUCKETS_US) {
            *bucket += u64::from(took_us <= bound);
        }
    }

    /// In the Prometheus text format 0.0.4.
    pub fn to_text(&self) -> String {
        let lines = &self.book().lines;
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, of: &dyn Fn(&Line) -> u64| {
            // Writing to a text does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (place, line) in lines.iter() {
                let _ = writeln!(out, "{name}{{{}}} {}", labels(place, line), of(line));
            }
        };
        family("berth_policy_calls_total", "counter", "Calls of the policy of a place.", &|line| line.calls);
        family("berth_policy_failures_total", "counter", "Calls that gave no usable answer.", &|line| {
            line.failures
        });
        let name = "berth_policy_duration_seconds";
        let _ = writeln!(out, "# HELP {name} Time of a call by the clock.\n# TYPE {name} histogram");
        for (place, line) in lines.iter() {
            let labels = labels(place, line);
            for (bucket, bound) in line.buckets.iter().zip(BUCKETS_US) {
                let le = bound as f64 / 1e6;
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {bucket}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", line.calls);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", line.sum_us as f64 / 1e6);
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", line.calls);
        }
        out
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of objects need no escapes.
fn labels(place: &Place, line: &Line) -> String {
    format!("role=\"{}\",place=\"{}\",plugin=\"{}\"", place.role, place.name, line.plugin)
}

/// Counts the calls of one installation.
#[derive(Clone)]
pub(crate) struct Counter {
    calls: PolicyCalls,
    executor: Executor,
    place: Place,
    plugin: String,
}

impl Counter {
    pub(crate) fn new(calls: PolicyCalls, executor: Executor, place: Place, plugin: String) -> Self {
        Self { calls, executor, place, plugin }
    }

    /// Makes a call, and counts it.
    fn call<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let begun = self.executor.now();
        let result = call();
        self.ended(begun, result.is_err());
        result
    }

    /// A call that began then has ended; whether without a usable answer.
    pub(crate) fn ended(&self, begun: Timestamp, failed: bool) {
        let took = self.executor.now().micros() - begun.micros();
        self.calls.count(&self.place, &self.plugin, took.max(0).unsigned_abs(), failed);
    }
}

#[cfg(test)]
mod tests {
    use berth_lifecycle::RoleName;

    use super::*;

    fn place(name: &str) -> Place {
        Place { role: RoleName::Admission, name: name.to_owned() }
    }

    #[test]
    fn calls_are_counted_by_place_and_anew_for_another_plugin() {
        let calls = PolicyCalls::default();
        for (took_us, failed) in [(3, false), (15, true), (60_000_000, false)] {
            calls.count(&place("a"), "p", took_us, failed);
        }
        let text = calls.to_text();
        let of = "role=\"admission\",place=\"a\",plugin=\"p\"";
        for line in [
            format!("berth_policy_calls_total{{{of}}} 3\n"),
            format!("berth_policy_failures_total{{{of}}} 1\n"),
            format!("berth_policy_duration_seconds_bucket{{{of},le=\"0.000005\"}} 1\n"),
            format!("berth_policy_duration_seconds_bucket{{{of},le=\"0.00002\"}} 2\n"),
            format!("berth_policy_duration_seconds_bucket{{{of},le=\"10\"}} 2\n"),
            format!("berth_policy_duration_seconds_bucket{{{of},le=\"+Inf\"}} 3\n"),
            format!("berth_policy_duration_seconds_sum{{{of}}} 60.000018\n"),
        ] {
            assert!(text.contains(&line), "no {line} in\n{text}");
        }
        calls.count(&place("a"), "q", 1, false);
        let text = calls.to_text();
        assert!(text.contains("plugin=\"q\"} 1\n") && !text.contains("plugin=\"p\""), "{text}");
    }

    #[test]
    fn places_of_long_ago_are_forgotten() {
        let calls = PolicyCalls::default();
        for number in 0..1_000 {
            calls.count(&place("kept"), "p", 1, false);
            calls.count(&place(&number.to_string()), "p", 1, false);
        }
        let lines = &calls.book().lines;
        assert_eq!(lines.len(), PLACES_MAX);
        assert!(lines.contains_key(&place("kept")) && lines.contains_key(&place("999")));
    }
}
