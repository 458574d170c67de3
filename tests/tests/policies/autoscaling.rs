//! Autoscaling policies, under a load that simulated pods report.

use berth_tests::{Berth, Options, eventually, holds};
use serde_json::Value;
use std::time::Duration;

/// What pods use is asked for every 15 s and becomes a rate with the second answer; autoscalers look every 15 s.
const SCALED: Duration = Duration::from_secs(240);

/// All pods of the Deployment together use three processors, whatever their number: 60 % of what ten of them request.
const LOADED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {berth.dev/usage-cpu-shared: "3"}
    spec: {containers: [{name: c, image: "i:1", resources: {requests: {cpu: 500m}}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 12
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
"#;

fn autoscaler(berth: &Berth) -> Value {
    berth.get(&["hpa", "web"])
}

/// Waits until the workload is to have so many replicas; it has had between `least` and `most` all the while.
fn scaled(berth: &Berth, to: u64, (least, most): (u64, u64)) -> Value {
    let mut seen = Value::Null;
    eventually("it is scaled", SCALED, || {
        let wanted = berth.get(&["deployment", "web"])["spec"]["replicas"].as_u64().unwrap();
        assert!((least..=most).contains(&wanted), "{wanted} replicas: {}", autoscaler(berth)["status"]);
        seen = autoscaler(berth)["status"].clone();
        holds(wanted == to && seen["desiredReplicas"] == to, &seen)
    });
    seen
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

#[test]
fn a_workload_is_scaled_by_whatever_policy_is_bound() {
    let berth = Berth::start(Options::simulated(3));
    berth.apply(LOADED);
    let status = scaled(&berth, 10, (2, 12));
    assert_eq!(condition(&status, "ScalingActive")["reason"], "ValidMetricFound");
    let listed = berth.kubectl(&["get", "hpa", "web", "--no-headers"]).ok();
    assert!(listed.contains("Deployment/web") && listed.contains("%/60%"), "{listed}");
    let described = berth.kubectl(&["describe", "hpa", "web"]).ok();
    let event = "reason: cpu resource utilization (percentage of request) above target";
    assert!(described.contains("SuccessfulRescale") && described.contains(event), "{described}");

    // Another policy decides from its next look on, and nobody else meanwhile.
    let three = r#"{"windows": [{"from": "00:00", "to": "24:00", "replicas": 3}]}"#;
    let swapped = berth.berth(&["plugin", "swap", "schedule", "--config", three]).ok();
    assert_eq!(swapped, "autoscaling profile default is served by plugin schedule\n");
    let status = scaled(&berth, 3, (3, 10));
    assert_eq!(condition(&status, "ScalingActive")["reason"], "PolicyRecommended");

    // And back: what was measured before is there.
    berth.berth(&["plugin", "rollback", "default"]).ok();
    let status = scaled(&berth, 10, (3, 12));
    assert_eq!(condition(&status, "ScalingActive")["reason"], "ValidMetricFound");

    berth.berth(&["plugin", "unbind", "default"]).ok();
    eventually("it says that nobody decides", SCALED, || {
        let status = autoscaler(&berth)["status"].clone();
        let active = condition(&status, "ScalingActive").clone();
        holds(active["reason"] == "NoPolicy" && status["currentReplicas"] == 10, status)
    });
}
