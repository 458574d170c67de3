//! What was measured of the pods of a workload, metric by metric.

use std::sync::Arc;

use berth_api::quantity::Quantity;
use berth_api::views::{self, Container};
use berth_metrics::{ContainerUsage, PodUsage};

use crate::policy::{Metric, Source, TargetKind};
use crate::spec::{MetricSpec, Reference};

/// Nanos of a processor in a thousandth of one.
const NANOS_PER_MILLI: u64 = 1_000_000;

/// A pod, as far as scaling depends on it.
#[derive(Clone, Copy)]
pub struct SeenPod<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// The rest.
    pub view: &'a views::Pod,
}

/// What pods used lately, by their uid; `None` where that is not known or too long ago.
pub type Usages<'a> = &'a dyn Fn(&str) -> Option<Arc<PodUsage>>;

/// The pods that an object selects, by whose metrics its own are measured; an error says why nobody knows them.
pub type Described<'a> = &'a dyn Fn(&Reference) -> Result<Vec<String>, String>;

/// What a metric is now, as a policy is shown it; without history. `described` answers with uids.
pub(crate) fn read(
    spec: &MetricSpec,
    pods: &[SeenPod<'_>],
    usages: Usages<'_>,
    described: Described<'_>,
) -> Metric {
    let mut metric = Metric {
        source: spec.source,
        name: spec.name.clone(),
        target_kind: spec.target_kind,
        target: spec.target,
        trouble: String::new(),
        measured_ms: 0,
        window_ms: 0,
        pod_values: Vec::new(),
        pod_requests: Vec::new(),
        value: None,
        history: Vec::new(),
    };
    let result = if !spec.selector.is_null() {
        Err(format!("unable to get metric {}: Berth has no selectors of series yet", spec.name))
    } else {
        match spec.source {
            Source::Resource | Source::ContainerResource => of_resource(spec, pods, usages, &mut metric),
            Source::Pods => of_pods(spec, pods, usages, &mut metric),
            Source::Object => of_object(spec, usages, described, &mut metric),
            Source::External => Err(format!(
                "unable to get external metric {}: Berth has no source of external metrics yet",
                spec.name
            )),
        }
    };
    metric.trouble = result.err().unwrap_or_default();
    metric
}

impl Metric {
    /// Its values were measured no earlier than that.
    fn measured(&mut self, usage: &PodUsage) {
        let at = u64::try_from(usage.at.micros() / 1000).unwrap_or_default();
        self.measured_ms = if self.measured_ms == 0 { at } else { self.measured_ms.min(at) };
        self.window_ms = self.window_ms.max(u64::try_from(usage.window_ms).unwrap_or_default());
    }

    /// Its value, or the sum over all pods, in its unit; NaN where none was measured.
    pub(crate) fn total(&self) -> f64 {
        let values = self.pod_values.iter().flatten().chain(&self.value);
        let sum = values.clone().fold(0_i64, |sum, value| sum.saturating_add(*value));
        if values.count() == 0 { f64::NAN } else { sum as f64 / 1000.0 }
    }
}

fn no_pods() -> String {
    "no pods returned by selector while calculating replica count".to_owned()
}

fn of_resource(
    spec: &MetricSpec,
    pods: &[SeenPod<'_>],
    usages: Usages<'_>,
    metric: &mut Metric,
) -> Result<(), String> {
    let name = &*spec.name;
    let mut absent = None;
    for pod in pods {
        let usage = usages(pod.uid).filter(|usage| !usage.containers.is_empty());
        let value = usage.as_deref().and_then(|usage| {
            let named = |container: &&ContainerUsage| {
                spec.source == Source::Resource || container.name == spec.container
            };
            let mut containers = usage.containers.iter().filter(named).peekable();
            if containers.peek().is_none() {
                absent =
                    Some(format!("container {} not present in metrics for pod {}", spec.container, pod.name));
            }
            containers.peek()?;
            containers
                .map(|container| used(container, name))
                .try_fold(0_i64, |sum, one| Some(sum.saturating_add(one?)))
        });
        if value.is_some() {
            usage.iter().for_each(|usage| metric.measured(usage));
        }
        metric.pod_values.push(value);
    }
    let requests: Vec<_> = pods.iter().map(|pod| requested(pod, spec)).collect();
    metric.pod_requests = requests.iter().map(|request| request.as_ref().ok().copied()).collect();
    if pods.is_empty() {
        return Err(no_pods());
    }
    if metric.pod_values.iter().all(Option::is_none) {
        let why = absent.unwrap_or_else(|| "no metrics returned from resource metrics API".to_owned());
        return Err(format!("unable to get metrics for resource {name}: {why}"));
    }
    match requests.into_iter().find_map(Result::err) {
        Some(missing) if spec.target_kind == TargetKind::Utilization => Err(missing),
        _ => Ok(()),
    }
}

/// What a container uses of a resource, in thousandths.
fn used(container: &ContainerUsage, resource: &str) -> Option<i64> {
    let milli = match resource {
        "cpu" => container.cpu_nanos.div_ceil(NANOS_PER_MILLI),
        "memory" => container.memory_bytes.saturating_mul(1000),
        _ => return None,
    };
    Some(i64::try_from(milli).unwrap_or(i64::MAX))
}

/// What a pod requests: the sum of those containers that run side by side, all of which must request something.
fn requested(pod: &SeenPod<'_>, spec: &MetricSpec) -> Result<i64, String> {
    let sidecars = pod.view.rare().init_containers.iter().filter(|container| container.is_sidecar);
    let all = pod.view.containers.iter().chain(sidecars);
    let is_meant = |c: &&Container| spec.source == Source::Resource || *c.name == *spec.container;
    let mut containers = all.filter(is_meant).peekable();
    let resource = &*spec.name;
    if containers.peek().is_none() {
        return Err(format!("container {} not found in Pod {}", spec.container, pod.name));
    }
    containers.try_fold(0_i64, |sum, container| {
        let request = container.requests.get(resource).and_then(|text| Quantity::parse(text).ok());
        let missing =
            || format!("missing request for {resource} in container {} of Pod {}", container.name, pod.name);
        Ok(sum.saturating_add(request.ok_or_else(missing)?.milli_value()))
    })
}

fn of_pods(
    spec: &MetricSpec,
    pods: &[SeenPod<'_>],
    usages: Usages<'_>,
    metric: &mut Metric,
) -> Result<(), String> {
    for pod in pods {
        let usage = usages(pod.uid);
        let value = usage.as_deref().and_then(|usage| usage.values.get(&spec.name).copied());
        if value.is_some() {
            usage.iter().for_each(|usage| metric.measured(usage));
        }
        metric.pod_values.push(value);
    }
    if pods.is_empty() {
        return Err(no_pods());
    }
    match metric.pod_values.iter().all(Option::is_none) {
        true => {
            Err(format!("unable to get metric {}: no metrics returned from custom metrics API", spec.name))
        }
        false => Ok(()),
    }
}

/// An object has no voice of its own: what the pods say that it selects is added up.
fn of_object(
    spec: &MetricSpec,
    usages: Usages<'_>,
    described: Described<'_>,
    metric: &mut Metric,
) -> Result<(), String> {
    let Reference { kind, name, .. } = &spec.described;
    let failed = |why: &str| format!("unable to get metric {}: {kind}/{name}: {why}", spec.name);
    let uids = described(&spec.described).map_err(|why| failed(&why))?;
    for usage in uids.iter().filter_map(|uid| usages(uid)) {
        if let Some(value) = usage.values.get(&spec.name) {
            metric.measured(&usage);
            metric.value = Some(metric.value.unwrap_or_default().saturating_add(*value));
        }
    }
    match metric.value {
        None => Err(failed("none of the pods that it selects says it")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use berth_api::Timestamp;
    use berth_json::{Value, from_value, json};

    use super::*;

    fn pod(containers: Value) -> views::Pod {
        from_value(&json!({"spec": {
            "containers": containers,
            "initContainers": [{"name": "once", "resources": {}}, {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}}],
        }}))
        .unwrap()
    }

    fn usage(uid: &str) -> Option<Arc<PodUsage>> {
        let container = |name: &str, cpu_nanos, memory_bytes| ContainerUsage {
            name: name.to_owned(),
            cpu_nanos,
            memory_bytes,
        };
        let (at, window_ms) = (Timestamp::from_seconds(if uid == "a" { 90 } else { 100 }), 15_000);
        let values = BTreeMap::from([("requests".to_owned(), 2_500)]);
        let containers = vec![container("web", 100_000_001, 1024), container("mesh", 20_000_000, 1)];
        (uid != "c").then(|| Arc::new(PodUsage { at, window_ms, containers, values }))
    }

    fn look(metric: Value, pods: &[views::Pod], described: Described<'_>) -> Metric {
        let seen: Vec<SeenPod<'_>> = pods
            .iter()
            .zip(["a", "b", "c"])
            .map(|(view, name)| SeenPod { name, uid: name, is_deleted: false, view })
            .collect();
        read(&from_value(&metric).unwrap(), &seen, &usage, described)
    }

    fn nobody(_: &Reference) -> Result<Vec<String>, String> {
        Err("not found".to_owned())
    }

    fn resource(name: &str, target: Value) -> Value {
        json!({"type": "Resource", "resource": {"name": name, "target": target}})
    }

    #[test]
    fn resources_are_those_of_all_containers_that_run_side_by_side() {
        let web = json!([{"name": "web", "resources": {"requests": {"cpu": "0.2"}}}]);
        let pods = [pod(web.clone()), pod(web.clone()), pod(web)];
        let half = json!({"type": "Utilization", "averageUtilization": 50});
        let cpu = look(resource("cpu", half.clone()), &pods, &nobody);
        assert_eq!(cpu.trouble, "");
        assert_eq!(cpu.pod_values, [Some(121), Some(121), None]);
        assert_eq!(cpu.pod_requests, [Some(250); 3]);
        assert_eq!((cpu.measured_ms, cpu.window_ms, cpu.total()), (90_000, 15_000, 0.242));
        let memory = look(resource("memory", half.clone()), &pods, &nobody);
        assert_eq!(memory.trouble, "missing request for memory in container web of Pod a");
        assert_eq!(memory.pod_values[0], Some(1_025_000));
        let amount = json!({"type": "AverageValue", "averageValue": "1Ki"});
        assert_eq!(look(resource("memory", amount.clone()), &pods, &nobody).trouble, "");
        let of = |container: &str| {
            let part = json!({"name": "cpu", "container": container, "target": half.clone()});
            look(json!({"type": "ContainerResource", "containerResource": part}), &pods, &nobody)
        };
        assert_eq!((of("web").pod_values[0], of("web").pod_requests[0]), (Some(101), Some(200)));
        assert_eq!(
            of("other").trouble,
            "unable to get metrics for resource cpu: container other not present in metrics for pod b"
        );
        for (pods, trouble) in [
            (&pods[..0], "no pods returned by selector while calculating replica count"),
            (
                &pods[..1],
                "unable to get metrics for resource disk: no metrics returned from resource metrics API",
            ),
        ] {
            assert_eq!(look(resource("disk", amount.clone()), pods, &nobody).trouble, trouble);
        }
    }

    #[test]
    fn what_pods_say_counts_for_them_and_for_who_selects_them() {
        let pods = [pod(json!([])), pod(json!([])), pod(json!([]))];
        let target = json!({"type": "AverageValue", "averageValue": "1"});
        let of_pods = |metric: Value| {
            let part = json!({"metric": metric, "target": target.clone()});
            look(json!({"type": "Pods", "pods": part}), &pods, &nobody)
        };
        let found = of_pods(json!({"name": "requests"}));
        assert_eq!((found.pod_values.as_slice(), found.total()), (&[Some(2500), Some(2500), None][..], 5.0));
        let none = "unable to get metric queue: no metrics returned from custom metrics API";
        assert_eq!(of_pods(json!({"name": "queue"})).trouble, none);
        let selected = of_pods(json!({"name": "requests", "selector": {"matchLabels": {"verb": "GET"}}}));
        assert_eq!(selected.trouble, "unable to get metric requests: Berth has no selectors of series yet");
        let object = |name: &str, described: Described<'_>| {
            let service = json!({"kind": "Service", "name": "web"});
            let part =
                json!({"metric": {"name": name}, "describedObject": service, "target": target.clone()});
            look(json!({"type": "Object", "object": part}), &pods, described)
        };
        let both = |_: &Reference| Ok(vec!["a".to_owned(), "c".to_owned(), "d".to_owned()]);
        assert_eq!(
            (object("requests", &both).value, object("requests", &both).trouble),
            (Some(5000), String::new())
        );
        let why = "unable to get metric queue: Service/web: none of the pods that it selects says it";
        assert_eq!(object("queue", &both).trouble, why);
        assert_eq!(object("queue", &nobody).trouble, "unable to get metric queue: Service/web: not found");
    }
}
