//! What simulated pods use: what their annotations say, each a [`Course`] over time.
//!
//! | annotation | says |
//! |---|---|
//! | `berth.dev/usage-cpu`, `berth.dev/usage-memory` | what the pod itself uses, from its start on |
//! | `berth.dev/usage-cpu-shared`, `berth.dev/usage-memory-shared` | what all running pods of its controller use together, since the controller was made: each an equal part |
//! | `berth.dev/value-NAME`, `berth.dev/value-NAME-shared` | the same of a metric that the pod would serve under `prometheus.io/*` |
//! | `berth.dev/usage-start` | when all of these begin, as an RFC 3339 time |
//!
//! What a pod uses itself and its part of what is shared are added. Its containers divide it equally, and none gets more CPU
//! than its limit. A pod that no annotation describes reports nothing.

use std::collections::BTreeMap;

use berth_api::views::Pairs;
use berth_api::{Quantity, Timestamp};
use berth_metrics::{ContainerUsage, PodUsage};
use serde::Deserialize;

use crate::course::Course;

const USAGE: &str = "berth.dev/usage-";
const VALUE: &str = "berth.dev/value-";
const SHARED: &str = "-shared";
const START: &str = "berth.dev/usage-start";

/// What a pod uses, as its annotations describe it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    start: Option<Timestamp>,
    cpu: Demand,
    memory: Demand,
    values: BTreeMap<String, Demand>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Demand {
    own: Option<Course>,
    shared: Option<Course>,
}

/// A container, as far as its load depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Container {
    name: String,
    resources: Resources,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Resources {
    limits: Pairs,
}

/// What a load depends on beside the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// When the pod was started.
    pub started: Timestamp,
    /// When its controller was made; when the pod was started, if it has none.
    pub shared_since: Timestamp,
    /// How many pods of its controller run, this one among them.
    pub replicas: u32,
}

impl Load {
    /// Reads the annotations of a pod; `None` when they say nothing of what it uses.
    ///
    /// # Errors
    /// A sentence for each annotation that is wrong.
    pub fn read(annotations: &Pairs) -> Result<Option<Self>, Vec<String>> {
        let (mut load, mut faults, mut is_described) = (Self::default(), Vec::new(), false);
        for (key, text) in annotations.iter() {
            if key == START {
                load.start = Timestamp::parse(text);
                if load.start.is_none() {
                    faults.push(format!("annotation {key}: {text:?} is no RFC 3339 time"));
                }
                continue;
            }
            let place = match (key.strip_prefix(USAGE), key.strip_prefix(VALUE)) {
                (Some(rest), _) => load.usage(rest),
                (_, Some(rest)) => Some(load.value(rest)),
                _ => continue,
            };
            match (place, Course::parse(text)) {
                (None, _) => faults.push(format!(
                    "annotation {key} means nothing here: there are usage-cpu and usage-memory, with {SHARED} or without"
                )),
                (_, Err(why)) => faults.push(format!("annotation {key}: {why}")),
                (Some(place), Ok(course)) => {
                    *place = Some(course);
                    is_described = true;
                }
            }
        }
        if faults.is_empty() { Ok(is_described.then_some(load)) } else { Err(faults) }
    }

    fn usage(&mut self, name: &str) -> Option<&mut Option<Course>> {
        match name.strip_suffix(SHARED).unwrap_or(name) {
            "cpu" => Some(self.cpu.part(name)),
            "memory" => Some(self.memory.part(name)),
            _ => None,
        }
    }

    fn value(&mut self, name: &str) -> &mut Option<Course> {
        let metric = name.strip_suffix(SHARED).unwrap_or(name);
        self.values.entry(metric.to_owned()).or_default().part(name)
    }

    /// What a pod with these containers uses `now`, as if it had done so for the whole window.
    pub fn of(
        &self,
        containers: &[Container],
        around: Circumstances,
        now: Timestamp,
        window_ms: i64,
    ) -> PodUsage {
        let amount = |demand: &Demand| demand.at(self.start, around, now);
        let count = containers.len().max(1) as f64;
        let (cpu, memory) = (amount(&self.cpu) / count, amount(&self.memory) / count);
        let container = |container: &Container| {
            let limit = container.resources.limits.get("cpu");
            let limit = limit
                .and_then(|text| Quantity::parse(text).ok())
                .map(|limit| limit.milli_value() as f64 / 1e3);
            ContainerUsage {
                name: container.name.clone(),
                cpu_nanos: (cpu.min(limit.unwrap_or(f64::INFINITY)) * 1e9).round() as u64,
                memory_bytes: memory.round() as u64,
            }
        };
        let mut containers: Vec<ContainerUsage> = containers.iter().map(container).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let values =
            self.values.iter().map(|(name, demand)| (name.clone(), (amount(demand) * 1e3).round() as i64));
        PodUsage { at: now, window_ms, containers, values: values.collect() }
    }
}

impl Demand {
    fn part(&mut self, name: &str) -> &mut Option<Course> {
        if name.ends_with(SHARED) { &mut self.shared } else { &mut self.own }
    }

    fn at(&self, start: Option<Timestamp>, around: Circumstances, now: Timestamp) -> f64 {
        let amount = |course: &Option<Course>, since: Timestamp| {
            course.as_ref().map_or(0.0, |course| course.at(now.millis_since(start.unwrap_or(since))))
        };
        let part = amount(&self.shared, around.shared_since) / f64::from(around.replicas.max(1));
        amount(&self.own, around.started) + part
    }
}

#[cfg(test)]
mod tests {
    use berth_json::{from_value, json};

    use super::*;

    fn around(replicas: u32) -> Circumstances {
        let at = Timestamp::from_seconds;
        Circumstances { started: at(1_000), shared_since: at(500), replicas }
    }

    /// Thousandths of processors, MiB and the metric `q` of a pod with one container, at these seconds.
    fn uses(annotations: &[(&str, &str)], replicas: u32, limit: &str, at: i64) -> (u64, u64, Option<i64>) {
        let load = Load::read(&annotations.iter().copied().collect()).unwrap().unwrap();
        let container = from_value(&json!({"name": "c", "resources": {"limits": {"cpu": limit}}})).unwrap();
        let usage = load.of(&[container], around(replicas), Timestamp::from_seconds(at), 15_000);
        let only = &usage.containers[0];
        (only.cpu_nanos / 1_000_000, only.memory_bytes >> 20, usage.values.get("q").copied())
    }

    #[test]
    fn a_pod_uses_its_own_and_its_part_of_what_is_shared() {
        let cpu = ("berth.dev/usage-cpu", "0=0; 100s=1");
        let shared = ("berth.dev/usage-cpu-shared", "0=0; 1000s=10");
        for (annotations, replicas, limit, at, wanted) in [
            (vec![cpu], 5, "", 1_000, (0, 0, None)),
            (vec![cpu], 5, "", 1_050, (500, 0, None)),
            (vec![shared], 1, "", 1_000, (5_000, 0, None)),
            (vec![shared], 5, "", 1_000, (1_000, 0, None)),
            (vec![shared], 5, "700m", 1_000, (700, 0, None)),
            (vec![shared, cpu], 5, "", 1_050, (1_600, 0, None)),
            (vec![shared], 0, "", 1_000, (5_000, 0, None)),
            (vec![cpu, ("berth.dev/usage-start", "1970-01-01T00:16:30Z")], 1, "", 1_040, (500, 0, None)),
            (
                vec![("berth.dev/usage-memory", "64Mi"), ("berth.dev/usage-memory-shared", "100Mi")],
                10,
                "1m",
                1_000,
                (0, 74, None),
            ),
            (
                vec![("berth.dev/value-q", "1500m"), ("berth.dev/value-q-shared", "12")],
                4,
                "",
                0,
                (0, 0, Some(4_500)),
            ),
        ] {
            assert_eq!(uses(&annotations, replicas, limit, at), wanted, "{annotations:?} at {at}");
        }
    }

    #[test]
    fn containers_divide_what_the_pod_uses() {
        let pairs = [("berth.dev/usage-cpu", "3"), ("berth.dev/usage-memory", "3Ki")].into_iter().collect();
        let load = Load::read(&pairs).unwrap().unwrap();
        let containers = [json!({"name": "c"}), json!({"name": "a", "resources": {"limits": {"cpu": "1"}}})];
        let containers = containers.map(|container| from_value(&container).unwrap());
        let usage = load.of(&containers, around(1), Timestamp::from_seconds(1_000), 15_000);
        let of =
            |name: &str, cpu_nanos| ContainerUsage { name: name.to_owned(), cpu_nanos, memory_bytes: 1536 };
        assert_eq!(usage.containers, [of("a", 1_000_000_000), of("c", 1_500_000_000)]);
    }

    #[test]
    fn wrong_annotations_are_named_and_others_are_none_of_its_business() {
        let read = |pairs: &[(&str, &str)]| Load::read(&pairs.iter().copied().collect());
        assert_eq!(read(&[("berth.dev/usage-start", "2026-01-01T00:00:00Z"), ("a/b", "c")]), Ok(None));
        let faults = read(&[
            ("berth.dev/usage-cpu", "lots"),
            ("berth.dev/usage-gpu", "1"),
            ("berth.dev/usage-start", "noon"),
            ("berth.dev/usage-memory", "1Gi"),
        ]);
        let wanted = [
            "annotation berth.dev/usage-cpu: \"lots\" is no quantity",
            "annotation berth.dev/usage-gpu means nothing here: there are usage-cpu and usage-memory, with -shared or without",
            "annotation berth.dev/usage-start: \"noon\" is no RFC 3339 time",
        ];
        assert_eq!(faults, Err(wanted.map(str::to_owned).to_vec()));
    }
}
