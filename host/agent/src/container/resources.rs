//! Requests and limits as cgroup figures, and the quality of service that follows from them.

use berth_api::quantity::Quantity;
use berth_runtime::Resources;

use crate::manifest::{Container, Pod, Requirements};

/// Kubernetes' classes, by which the kernel chooses whom to kill when memory runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// The least CPU weight the kernel takes: that of a container that asks for nothing.
const SHARES_MIN: u64 = 2;
/// CPU weight of one CPU.
const SHARES_PER_CPU: u64 = 1024;
/// Length of a CPU period, in microseconds.
const PERIOD_US: u64 = 100_000;
/// The least quota the kernel takes, in microseconds.
const QUOTA_US_MIN: u64 = 1_000;

pub(crate) fn qos(pod: &Pod) -> Qos {
    let named = |list: &Requirements| ["cpu", "memory"].map(|name| (list.request(name), list.limit(name)));
    let mut all_equal = true;
    let mut any = false;
    for container in pod.containers() {
        for (request, limit) in named(&container.resources) {
            let is_set = |amount: Option<Quantity>| amount.is_some_and(|amount| !amount.is_zero());
            any |= is_set(request) || is_set(limit);
            let equal = matches!((request, limit), (Some(a), Some(b)) if a.milli_value() == b.milli_value());
            all_equal &= equal && is_set(limit);
        }
    }
    match (any, all_equal) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// How readily the kernel kills a container's processes, −1000 to 1000, as the kubelet computes it.
pub(crate) fn oom_score_adj(pod: &Pod, container: &Container, machine_memory_bytes: u64) -> i32 {
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = container.resources.request("memory").map_or(0, |amount| amount.value().max(0));
            let machine = i128::from(machine_memory_bytes.max(1));
            let score = 1000 - 1000 * i128::from(request) / machine;
            i32::try_from(score.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// A container's own limits.
pub(crate) fn of_container(container: &Container) -> Resources {
    let millis =
        |amount: Option<Quantity>| amount.map(|amount| u64::try_from(amount.milli_value()).unwrap_or(0));
    let request = millis(container.resources.request("cpu"));
    Resources {
        cpu_shares: Some(shares(request.unwrap_or(0))),
        cpu_quota_us: millis(container.resources.limit("cpu")).filter(|millis| *millis > 0).map(quota),
        cpu_period_us: Some(PERIOD_US),
        memory_limit_bytes: bytes(container.resources.limit("memory")),
        pids_max: None,
    }
}

/// The pod's limits as a whole: the sum of its containers', where each of them has one, and the node's.
pub(crate) fn of_pod(pod: &Pod, pids_max: Option<u64>) -> Resources {
    let running = || pod.sidecars().chain(&pod.spec.containers);
    let cpu_request = running()
        .filter_map(|c| c.resources.request("cpu"))
        .map(Quantity::milli_value)
        .fold(0, i64::saturating_add);
    let sum = |limit: fn(&Container) -> Option<i64>| {
        running().map(limit).try_fold(0_i64, |sum, limit| Some(sum.saturating_add(limit?)))
    };
    let cpu_limits = sum(|c| c.resources.limit("cpu").map(Quantity::milli_value));
    let memory_limits = sum(|c| c.resources.limit("memory").map(Quantity::value));
    // An init container runs alone and may need more than all others together.
    let init = |limit: fn(&Container) -> Option<i64>| pod.spec.init_containers.iter().map(limit);
    let cpu_init: Option<Vec<i64>> = init(|c| c.resources.limit("cpu").map(Quantity::milli_value)).collect();
    let memory_init: Option<Vec<i64>> = init(|c| c.resources.limit("memory").map(Quantity::value)).collect();
    let greatest = |sum: Option<i64>, init: Option<Vec<i64>>| {
        let (sum, init) = (sum?, init?);
        u64::try_from(init.into_iter().fold(sum, i64::max)).ok().filter(|limit| *limit > 0)
    };
    Resources {
        cpu_shares: Some(shares(u64::try_from(cpu_request).unwrap_or(0))),
        cpu_quota_us: greatest(cpu_limits, cpu_init).map(quota),
        cpu_period_us: Some(PERIOD_US),
        memory_limit_bytes: greatest(memory_limits, memory_init),
        pids_max,
    }
}

fn shares(millis: u64) -> u64 {
    (millis.saturating_mul(SHARES_PER_CPU) / 1000).clamp(SHARES_MIN, 262_144)
}

fn quota(millis: u64) -> u64 {
    (millis.saturating_mul(PERIOD_US) / 1000).max(QUOTA_US_MIN)
}

fn bytes(amount: Option<Quantity>) -> Option<u64> {
    amount.and_then(|amount| u64::try_from(amount.value()).ok()).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(resources: &[Value]) -> Pod {
        let container = |resources: &Value| json!({ "name": "c", "resources": resources });
        let containers: Vec<Value> = resources.iter().map(container).collect();
        Pod::from_value(json!({ "spec": { "containers": containers } })).unwrap()
    }

    #[test]
    fn classes_and_scores() {
        let machine = 8 << 30;
        let exact = json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
        let some = json!({ "requests": { "memory": "2Gi" } });
        for (pod, class, score) in [
            (pod(&[json!({})]), Qos::BestEffort, 1000),
            (pod(std::slice::from_ref(&exact)), Qos::Guaranteed, -997),
            (pod(&[exact, json!({})]), Qos::Burstable, 875),
            (pod(&[some]), Qos::Burstable, 750),
        ] {
            assert_eq!(qos(&pod), class);
            assert_eq!(oom_score_adj(&pod, &pod.spec.containers[0], machine), score);
        }
    }

    #[test]
    fn figures() {
        let tutorial = json!({ "requests": { "cpu": "100m", "memory": "128Mi" },
            "limits": { "cpu": "200m", "memory": "256Mi" } });
        let pod = pod(&[tutorial, json!({})]);
        let own = of_container(&pod.spec.containers[0]);
        assert_eq!((own.cpu_shares, own.cpu_quota_us), (Some(102), Some(20_000)));
        assert_eq!(own.memory_limit_bytes, Some(256 << 20));
        let whole = of_pod(&pod, Some(4096));
        assert_eq!((whole.cpu_shares, whole.cpu_quota_us, whole.memory_limit_bytes), (Some(102), None, None));
        assert_eq!((whole.pids_max, own.pids_max), (Some(4096), None), "its containers share it");
    }

    #[test]
    fn sums_of_absurd_limits_do_not_overflow() {
        let absurd = json!({ "requests": { "cpu": "8E" }, "limits": { "cpu": "8E", "memory": "8E" } });
        let whole = of_pod(&pod(&[absurd.clone(), absurd]), None);
        assert_eq!(whole.memory_limit_bytes, u64::try_from(i64::MAX).ok());
        assert_eq!(whole.cpu_shares, Some(262_144));
    }
}
