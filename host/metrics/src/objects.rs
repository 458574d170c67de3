//! `NodeMetrics` and `PodMetrics` of `metrics.k8s.io/v1beta1`, as metrics-server writes them.

use berth_api::quantity::Format;
use berth_api::{Quantity, Timestamp};
use berth_json::{Value, json};

use crate::{NodeUsage, PodUsage};

/// The `NodeMetrics` of a node with these labels, made `now`.
pub fn node_metrics(name: &str, labels: Value, usage: &NodeUsage, now: Timestamp) -> Value {
    let metadata = metadata(json!({ "name": name }), labels, now);
    let mut object = object("NodeMetrics", metadata, usage.at, usage.window_ms);
    object["usage"] = amounts(usage.cpu_nanos, usage.memory_bytes);
    object
}

/// The `PodMetrics` of a pod with these labels, made `now`.
pub fn pod_metrics(name: &str, namespace: &str, labels: Value, usage: &PodUsage, now: Timestamp) -> Value {
    let metadata = metadata(json!({ "name": name, "namespace": namespace }), labels, now);
    let mut object = object("PodMetrics", metadata, usage.at, usage.window_ms);
    let container = |one: &crate::ContainerUsage| json!({ "name": one.name, "usage": amounts(one.cpu_nanos, one.memory_bytes) });
    object["containers"] = usage.containers.iter().map(container).collect();
    object
}

fn object(kind: &str, metadata: Value, at: Timestamp, window_ms: i64) -> Value {
    json!({
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata,
        "timestamp": at.rfc3339(), "window": go_duration(window_ms),
    })
}

fn metadata(mut metadata: Value, labels: Value, now: Timestamp) -> Value {
    metadata["creationTimestamp"] = now.rfc3339().into();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        metadata["labels"] = labels;
    }
    metadata
}

fn amounts(cpu_nanos: u64, memory_bytes: u64) -> Value {
    let memory = Quantity::from_whole(i64::try_from(memory_bytes).unwrap_or(i64::MAX), Format::BinarySi);
    json!({ "cpu": Quantity::from_nanos(cpu_nanos).to_string(), "memory": memory.to_string() })
}

/// A duration as Go writes it: `15.004s`, `1m0s`.
fn go_duration(ms: i64) -> String {
    if ms.abs() < 1000 {
        return if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") };
    }
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let fraction = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = fraction.trim_end_matches('0').trim_end_matches('.');
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContainerUsage;

    #[test]
    fn durations_are_those_of_go() {
        for (ms, text) in [
            (0, "0s"),
            (999, "999ms"),
            (1_000, "1s"),
            (10_000, "10s"),
            (15_040, "15.04s"),
            (60_000, "1m0s"),
            (70_500, "1m10.5s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }

    #[test]
    fn amounts_are_written_as_metrics_server_writes_them() {
        for (cpu, memory, wanted) in [
            (0, 0, ["0", "0"]),
            (123_456_789, 12_345 << 10, ["123456789n", "12345Ki"]),
            (250_000_000, 64 << 20, ["250m", "64Mi"]),
            (3_000_000_000, 1, ["3", "1"]),
            (1_500_000, u64::MAX, ["1500u", "9223372036854775807"]),
        ] {
            assert_eq!(amounts(cpu, memory), json!({ "cpu": wanted[0], "memory": wanted[1] }));
        }
    }

    #[test]
    fn a_pods_metrics_say_whose_and_of_when_they_are() {
        let container = ContainerUsage { name: "c".to_owned(), cpu_nanos: 1, memory_bytes: 2 };
        let usage = PodUsage {
            at: Timestamp::from_seconds(100),
            window_ms: 15_000,
            containers: vec![container],
            values: [("requests".to_owned(), 7)].into(),
        };
        let now = Timestamp::from_seconds(103);
        let wanted = json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "p", "namespace": "n", "creationTimestamp": "1970-01-01T00:01:43Z", "labels": {"a": "b"},
            },
            "timestamp": "1970-01-01T00:01:40Z", "window": "15s",
            "containers": [{"name": "c", "usage": {"cpu": "1n", "memory": "2"}}],
        });
        assert_eq!(pod_metrics("p", "n", json!({"a": "b"}), &usage, now), wanted);
    }
}
