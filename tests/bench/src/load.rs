//! The pods and nodes of the scheduling figures.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context;
use berth_json::{Value, json};

use crate::Options;

/// Nodes of a cluster at the size of Kubernetes' own limit.
pub(crate) const NODES: usize = 5_000;
/// Pods placed on them.
pub(crate) const PODS: usize = 10_000;
/// Kinds of pods in the generated list.
const GENERATED_CLASSES: u32 = 250;
/// The pod lists of the openb trace that requests are drawn from.
const LISTS: [&str; 4] = ["default", "cpu050", "gpushare40", "multigpu20"];
/// The classes of service that the trace knows, and none.
const QOS: [&str; 5] = ["", "LS", "BE", "Burstable", "Guaranteed"];
/// The extended resource by which a share of a GPU is asked for.
const GPU: &str = "bench.berth.dev/gpu-milli";

/// What one pod asks for; pods that ask for the same are one class to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    cpu_milli: u32,
    memory_mib: u32,
    gpu_milli: u32,
    /// The trace's class of service, whose nodes the pod tolerates.
    qos: &'static str,
}

/// Which pods there are to place.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// What the table calls it.
    pub(crate) name: String,
    shapes: Vec<Shape>,
}

impl Workload {
    /// Pods of many classes, drawn from the trace, or generated without it.
    pub(crate) fn many(options: &Options) -> anyhow::Result<Self> {
        let (source, listed) = match &options.openb {
            Some(directory) => ("openb", read(directory)?),
            None => ("generated", generated()),
        };
        let mut seen = HashSet::new();
        // One of each class, then the trace evenly: its frequent classes stay frequent.
        let mut shapes: Vec<Shape> = listed.iter().copied().filter(|shape| seen.insert(*shape)).collect();
        let rest = PODS.saturating_sub(shapes.len());
        shapes.extend((0..rest).map(|at| listed[at * listed.len() / rest]));
        let name = format!("{source}, {} classes", seen.len());
        Ok(Self { name, shapes })
    }

    /// Pods that all ask for the same.
    pub(crate) fn single() -> Self {
        let shape = Shape { cpu_milli: 500, memory_mib: 512, gpu_milli: 0, qos: QOS[0] };
        Self { name: "1 class".to_owned(), shapes: vec![shape; PODS] }
    }

    /// The pods as a client would post them.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Value> + '_ {
        self.shapes.iter().enumerate().map(|(number, shape)| {
            let mut requests = json!({
                "cpu": format!("{}m", shape.cpu_milli), "memory": format!("{}Mi", shape.memory_mib),
            });
            let mut resources = json!({});
            if shape.gpu_milli > 0 {
                requests[GPU] = shape.gpu_milli.to_string().into();
                resources["limits"] = json!({GPU: shape.gpu_milli.to_string()});
            }
            resources["requests"] = requests;
            let toleration =
                json!({"key": "bench.berth.dev/qos", "value": shape.qos, "effect": "NoSchedule"});
            let tolerations = if shape.qos.is_empty() { json!([]) } else { json!([toleration]) };
            let container = json!({"name": "main", "image": "busybox", "resources": resources});
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{number:05}")},
                "spec": {"containers": [container], "tolerations": tolerations},
            })
        })
    }
}

/// The nodes: so large that each has room for the trace's largest pod even beside others, since `spread` leaves no node empty
/// and what is measured is placing, not refusing.
pub(crate) fn nodes() -> impl Iterator<Item = Value> {
    let offered =
        json!({"cpu": "256", "memory": "2Ti", "ephemeral-storage": "1Ti", "pods": "110", GPU: "32000"});
    (0..NODES).map(move |number| {
        let name = format!("node-{number:05}");
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady"});
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "status": {"capacity": offered, "allocatable": offered, "conditions": [ready]},
        })
    })
}

fn read(directory: &Path) -> anyhow::Result<Vec<Shape>> {
    let mut shapes = Vec::new();
    for list in LISTS {
        let path = directory.join(format!("openb_pod_list_{list}.csv"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        for line in text.lines().skip(1) {
            shapes.push(parse(line).with_context(|| format!("{}: no pod: {line}", path.display()))?);
        }
    }
    Ok(shapes)
}

/// A line `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,…`.
fn parse(line: &str) -> Option<Shape> {
    let mut numbers = line.split(',').skip(1).map(|field| field.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    let (cpu_milli, memory_mib) = (next()?, next()?);
    let gpu_milli = next()? * next()?;
    // One of the lists has no column for it.
    let named = line.split(',').nth(6).unwrap_or_default();
    let qos = QOS.into_iter().find(|qos| *qos == named)?;
    Some(Shape { cpu_milli, memory_mib, gpu_milli, qos })
}

fn generated() -> Vec<Shape> {
    let class = |n: u32| Shape {
        cpu_milli: 100 + 50 * (n % 25),
        memory_mib: 128 + 64 * (n / 25),
        gpu_milli: 0,
        qos: QOS[0],
    };
    (0..GENERATED_CLASSES).map(class).collect()
}
