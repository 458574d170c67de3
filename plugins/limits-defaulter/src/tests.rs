use super::*;
use berth_sdk::admission::ask;

fn becomes(config: &Value, resources: Value) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"},
        "spec": {"containers": [{"name": "c", "resources": resources}]},
    });
    let (policy, _) = LimitsDefaulter::describe(config.to_string().as_bytes()).expect("configured");
    let mut container = pod["spec"]["containers"][0].clone();
    policy.complete(&mut container);
    let verdict =
        ask::<LimitsDefaulter>(&config.to_string(), &Request::create("pods", pod.clone())).expect("asked");
    assert_eq!(verdict.patch().is_some(), container != pod["spec"]["containers"][0]);
    container["resources"].clone()
}

#[test]
fn what_is_missing_is_filled_in() {
    let usual = json!({});
    assert_eq!(becomes(&usual, json!({})), json!({"requests": {"cpu": "100m", "memory": "128Mi"}}));
    let own = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
    assert_eq!(becomes(&usual, own.clone()), own);
    let limited = json!({"limits": {"memory": "64Mi"}});
    assert_eq!(
        becomes(&usual, limited),
        json!({"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}),
        "a limit of its own is its request"
    );
    let both = json!({"limits": {"memory": "256Mi"}, "requests": {"memory": "128Mi"}});
    assert_eq!(
        becomes(&both, json!({})),
        json!({"limits": {"memory": "256Mi"}, "requests": {"memory": "128Mi"}})
    );
}

#[test]
fn exempt_namespaces_stay_as_they_are() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "c"}]},
    });
    assert!(ask::<LimitsDefaulter>("", &Request::create("pods", pod)).expect("asked").patch().is_none());
}
