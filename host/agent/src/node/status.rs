//! The Node object and its lease.

use std::sync::Arc;
use std::time::Duration;

use berth_api::quantity::Quantity;
use berth_api::time::Timestamp;
use berth_api::version::RELEASE;
use berth_client::{ApiResource, ClientError, PatchKind};
use serde_json::{Map, Value, json};

use crate::clock;
use crate::node::Node;
use crate::node::events::Severity;
use crate::node::machine::{Machine, Pressure};

/// Pods a node takes: the kubelet's default.
const PODS_MAX: u32 = 110;
/// How often the status is sent when nothing has changed: the kubelet's `nodeStatusReportFrequency`.
const STATUS_PERIOD: Duration = Duration::from_secs(300);
/// How often conditions are looked at: the kubelet's `nodeStatusUpdateFrequency`.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// How long a lease lasts, and how often it is renewed: the kubelet's defaults.
const LEASE_SECONDS: u32 = 40;
const RENEW_PERIOD: Duration = Duration::from_secs(10);
/// The first and the longest pause after a failed request.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Registers the node at once and keeps its status.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut conditions = Conditions::default();
    conditions.look(Pressure::look(&node.config.data_dir), clock::now());
    let known = known(&node).await;
    conditions.take_over(&known);
    retrying("register the node", || register(&node, &conditions)).await;
    node.events.node(&node.config.node_name, Severity::Normal, "Starting", "Starting kubelet.");
    let mut sent = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(LOOK_PERIOD).await;
        let now = clock::now();
        let mut changed = conditions.look(Pressure::look(&node.config.data_dir), now);
        match node.client().get(ApiResource::NODES, "", &node.config.node_name).await {
            Ok(known) => {
                if !is_ready(&known) {
                    conditions.ready_since = now;
                    changed = true;
                }
                changed |= !has_resources(&known, &capacity(&node));
            }
            // The cluster has lost it.
            Err(error) if error.is_not_found() => {
                conditions.ready_since = now;
                changed = true;
            }
            Err(error) => tracing::debug!(%error, "cannot ask for the node"),
        }
        if changed || sent.elapsed() >= STATUS_PERIOD {
            retrying("report the node's status", || report(&node, &conditions)).await;
            sent = tokio::time::Instant::now();
        }
    }
}

/// Renews the node's lease, by which the cluster knows that it lives.
pub(crate) async fn renew_lease(node: Arc<Node>) {
    loop {
        retrying("renew the node's lease", || renew(&node)).await;
        tokio::time::sleep(RENEW_PERIOD).await;
    }
}

/// Tries until it succeeds.
async fn retrying<F: Future<Output = Result<(), ClientError>>>(what: &str, attempt: impl Fn() -> F) {
    let mut pause = RETRY.0;
    while let Err(error) = attempt().await {
        tracing::debug!(%error, "cannot {what} yet");
        tokio::time::sleep(pause).await;
        pause = RETRY.1.min(pause * 2);
    }
}

/// The node as the cluster knows it, or null.
async fn known(node: &Node) -> Value {
    let mut pause = RETRY.0;
    loop {
        match node.client().get(ApiResource::NODES, "", &node.config.node_name).await {
            Ok(object) => return object,
            Err(error) if error.is_not_found() => return Value::Null,
            Err(error) => tracing::debug!(%error, "cannot ask for the node yet"),
        }
        tokio::time::sleep(pause).await;
        pause = RETRY.1.min(pause * 2);
    }
}

/// False when the cluster has given the node up, because it was not heard for a while.
fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What pods may use: all that the machine has, and what others have added to the node's capacity, which is how a node
/// is given resources that it cannot know of.
fn allocatable(known: &Value, own: &Map<String, Value>) -> Map<String, Value> {
    let mut all = own.clone();
    for (name, amount) in known["status"]["capacity"].as_object().into_iter().flatten() {
        let is_amount = quantity(amount).is_some_and(|amount| !amount.is_negative());
        if is_amount && !own.contains_key(name) {
            all.insert(name.clone(), amount.clone());
        }
    }
    all
}

/// Whether the cluster has the node's resources as they are.
fn has_resources(known: &Value, own: &Map<String, Value>) -> bool {
    let same =
        |one: &Value, other: &Value| matches!((quantity(one), quantity(other)), (Some(a), Some(b)) if a == b);
    let (status, wanted) = (&known["status"], allocatable(known, own));
    let reported = status["allocatable"].as_object();
    own.iter().all(|(name, amount)| same(&status["capacity"][name], amount))
        && wanted.iter().all(|(name, amount)| same(&status["allocatable"][name], amount))
        && reported.is_none_or(|reported| reported.keys().all(|name| wanted.contains_key(name)))
}

fn quantity(amount: &Value) -> Option<Quantity> {
    Quantity::parse(amount.as_str()?).ok()
}

/// The merge patch of what pods may use: what was taken out of the capacity is not to be had any more.
fn allocatable_patch(known: &Value, own: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = allocatable(known, own);
    for name in known["status"]["allocatable"].as_object().into_iter().flat_map(Map::keys) {
        patch.entry(name.clone()).or_insert(Value::Null);
    }
    patch
}

async fn register(node: &Node, conditions: &Conditions) -> Result<(), ClientError> {
    let name = &node.config.node_name;
    let mut object = metadata(node);
    object["kind"] = json!("Node");
    object["apiVersion"] = json!("v1");
    let cidr = node.config.pod_cidr.to_string();
    object["spec"] = json!({ "podCIDR": cidr, "podCIDRs": [cidr] });
    object["status"] = status(node, conditions, &Value::Null);
    match node.client().create(ApiResource::NODES, "", &object).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() => {
            // It was here before: its labels, taints and `unschedulable` are the administrator's.
            let labels = metadata(node);
            node.client().patch(ApiResource::NODES, "", name, "", PatchKind::Merge, &labels).await?;
            report(node, conditions).await
        }
        Err(error) => Err(error),
    }
}

async fn report(node: &Node, conditions: &Conditions) -> Result<(), ClientError> {
    let (client, name) = (node.client(), &node.config.node_name);
    let reported = async {
        let known = client.get(ApiResource::NODES, "", name).await?;
        let patch = json!({ "status": status(node, conditions, &known) });
        client.patch(ApiResource::NODES, "", name, "status", PatchKind::Strategic, &patch).await
    };
    match reported.await {
        // Somebody deleted it; a node that lives belongs to the cluster.
        Err(error) if error.is_not_found() => Box::pin(register(node, conditions)).await,
        other => other.map(drop),
    }
}

fn metadata(node: &Node) -> Value {
    let mut labels = Map::new();
    let usual = [
        ("kubernetes.io/hostname", node.config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", Machine::architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", Machine::architecture()),
    ];
    for (name, value) in usual {
        labels.insert(name.to_owned(), json!(value));
    }
    for (name, value) in &node.config.labels {
        labels.insert(name.clone(), json!(value));
    }
    json!({ "metadata": { "name": node.config.node_name, "labels": labels } })
}

/// What the node says of itself; `known` is what the cluster has of it.
fn status(node: &Node, conditions: &Conditions, known: &Value) -> Value {
    let machine = &node.machine;
    let version = &node.config.version;
    let capacity = capacity(node);
    json!({
        "allocatable": allocatable_patch(known, &capacity),
        "capacity": capacity,
        "conditions": conditions.to_value(clock::now()),
        "addresses": [
            { "type": "InternalIP", "address": machine.ip },
            { "type": "Hostname", "address": machine.hostname },
        ],
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": format!("berth://{version}"),
            "kubeletVersion": format!("{RELEASE}+berth-{version}"),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": Machine::architecture(),
        },
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
    })
}

fn capacity(node: &Node) -> Map<String, Value> {
    let machine = &node.machine;
    let mut capacity = Map::new();
    capacity.insert("cpu".to_owned(), json!(machine.cpus.to_string()));
    capacity.insert("memory".to_owned(), json!(format!("{}Ki", machine.memory_bytes / 1024)));
    capacity.insert("ephemeral-storage".to_owned(), json!(format!("{}Ki", machine.storage_bytes / 1024)));
    capacity.insert("pods".to_owned(), json!(PODS_MAX.to_string()));
    for (name, amount) in &node.config.extended_resources {
        capacity.insert(name.clone(), json!(amount.to_string()));
    }
    capacity
}

/// The node's conditions, with the times of their last change.
#[derive(Default)]
struct Conditions {
    pressure: Pressure,
    /// Of MemoryPressure, DiskPressure, PIDPressure.
    since: [Timestamp; 3],
    ready_since: Timestamp,
}

impl Conditions {
    /// Takes in what was seen; whether it differs from before.
    fn look(&mut self, pressure: Pressure, now: Timestamp) -> bool {
        let flags = |pressure: Pressure| [pressure.memory, pressure.disk, pressure.pids];
        let is_first = self.ready_since == Timestamp::default();
        for ((before, after), since) in
            flags(self.pressure).into_iter().zip(flags(pressure)).zip(&mut self.since)
        {
            if is_first || before != after {
                *since = now;
            }
        }
        if is_first {
            self.ready_since = now;
        }
        std::mem::replace(&mut self.pressure, pressure) != pressure
    }

    /// Takes over the times of conditions that are now as an earlier run reported them: nothing has changed since.
    fn take_over(&mut self, node: &Value) {
        let reported = node["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let since = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let same = |condition: &&Value| condition["type"] == kind && condition["status"] == status;
            Timestamp::parse(reported.iter().find(same)?["lastTransitionTime"].as_str()?)
        };
        let Pressure { memory, disk, pids } = self.pressure;
        let held = [("MemoryPressure", memory), ("DiskPressure", disk), ("PIDPressure", pids)];
        for ((kind, holds), own) in held.into_iter().zip(&mut self.since) {
            *own = since(kind, holds).unwrap_or(*own);
        }
        self.ready_since = since("Ready", true).unwrap_or(self.ready_since);
    }

    fn to_value(&self, now: Timestamp) -> Value {
        let condition = |kind: &str, holds: bool, reason: &str, message: &str, since: Timestamp| {
            json!({
                "type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
                "lastHeartbeatTime": now.rfc3339(), "lastTransitionTime": since.rfc3339(),
            })
        };
        /// Reason and message without and with the pressure, as the kubelet words them.
        type Words = [(&'static str, &'static str); 2];
        const MEMORY: Words = [
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ];
        const DISK: Words = [
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ];
        const PIDS: Words = [
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ];
        let pressed = |kind: &str, words: Words, holds: bool, since: Timestamp| {
            let (reason, message) = words[usize::from(holds)];
            condition(kind, holds, reason, message, since)
        };
        let Pressure { memory, disk, pids } = self.pressure;
        json!([
            pressed("MemoryPressure", MEMORY, memory, self.since[0]),
            pressed("DiskPressure", DISK, disk, self.since[1]),
            pressed("PIDPressure", PIDS, pids, self.since[2]),
            condition("Ready", true, "KubeletReady", "kubelet is posting ready status", self.ready_since),
        ])
    }
}

async fn renew(node: &Node) -> Result<(), ClientError> {
    const NAMESPACE: &str = "kube-node-lease";
    let name = &node.config.node_name;
    let now = clock::now().rfc3339_micro();
    let spec = json!({ "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now });
    let patch = json!({ "spec": spec });
    let client = node.client();
    match client.patch(ApiResource::LEASES, NAMESPACE, name, "", PatchKind::Merge, &patch).await {
        Err(error) if error.is_not_found() => {
            let lease = json!({
                "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec,
            });
            client.create(ApiResource::LEASES, NAMESPACE, &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_change_their_time_only_when_they_change() {
        let mut conditions = Conditions::default();
        let at = Timestamp::from_seconds;
        assert!(!conditions.look(Pressure::default(), at(100)));
        assert!(conditions.look(Pressure { disk: true, ..Pressure::default() }, at(200)));
        assert!(!conditions.look(Pressure { disk: true, ..Pressure::default() }, at(300)));
        let (first, second) = (at(100).rfc3339(), at(200).rfc3339());
        assert_eq!(
            lines(&conditions.to_value(at(400))),
            [
                format!("MemoryPressure KubeletHasSufficientMemory {first}"),
                format!("DiskPressure KubeletHasDiskPressure {second}"),
                format!("PIDPressure KubeletHasSufficientPID {first}"),
                format!("Ready KubeletReady {first}"),
            ]
        );
    }

    fn lines(conditions: &Value) -> Vec<String> {
        let line = |condition: &Value| {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("type"), text("reason"), text("lastTransitionTime"))
        };
        conditions.as_array().unwrap().iter().map(line).collect()
    }

    #[test]
    fn what_others_add_to_the_capacity_can_be_allocated_until_they_take_it_away() {
        let Value::Object(own) = json!({ "cpu": "2", "memory": "1024Ki" }) else { panic!() };
        let node = |capacity: Value, allocatable: Value| {
            let with_own = |mut more: Value| {
                more.as_object_mut().unwrap().extend(own.clone());
                more
            };
            json!({ "status": { "capacity": with_own(capacity), "allocatable": with_own(allocatable) } })
        };
        for (capacity, allocatable, is_right, patch) in [
            (json!({}), json!({}), true, json!({})),
            (json!({ "example.com/foo": "3" }), json!({}), false, json!({ "example.com/foo": "3" })),
            (
                json!({ "example.com/foo": "3" }),
                json!({ "example.com/foo": "3" }),
                true,
                json!({ "example.com/foo": "3" }),
            ),
            (
                json!({ "example.com/foo": "5" }),
                json!({ "example.com/foo": "3" }),
                false,
                json!({ "example.com/foo": "5" }),
            ),
            (json!({}), json!({ "example.com/foo": "3" }), false, json!({ "example.com/foo": null })),
            (json!({ "example.com/foo": "-1" }), json!({}), true, json!({})),
            (
                json!({ "example.com/foo": "much" }),
                json!({ "example.com/foo": "3" }),
                false,
                json!({ "example.com/foo": null }),
            ),
        ] {
            let known = node(capacity, allocatable);
            assert_eq!(has_resources(&known, &own), is_right, "{known}");
            let mut expected = own.clone();
            expected.extend(patch.as_object().unwrap().clone());
            assert_eq!(allocatable_patch(&known, &own), expected, "{known}");
        }
        let mut changed = node(json!({}), json!({}));
        changed["status"]["capacity"]["cpu"] = json!("64");
        assert!(!has_resources(&changed, &own), "the machine's own are the machine's");
        changed["status"]["capacity"]["cpu"] = json!("2000m");
        assert!(has_resources(&changed, &own), "the same amount in other words");
        assert!(
            !has_resources(&Value::Null, &own) && allocatable_patch(&Value::Null, &own) == own,
            "a new node"
        );
    }

    #[test]
    fn a_restart_changes_nothing_that_is_as_it_was() {
        let at = Timestamp::from_seconds;
        let mut conditions = Conditions::default();
        conditions.look(Pressure { disk: true, ..Pressure::default() }, at(500));
        let reported = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": at(100).rfc3339() });
        let node = |ready: &str| {
            let all = [("MemoryPressure", "False"), ("DiskPressure", "False"), ("Ready", ready)];
            json!({ "status": { "conditions": all.map(|(kind, status)| reported(kind, status)) } })
        };
        let (before, now) = (at(100).rfc3339(), at(500).rfc3339());
        let expected = |ready: &str| {
            [
                format!("MemoryPressure KubeletHasSufficientMemory {before}"),
                format!("DiskPressure KubeletHasDiskPressure {now}"),
                format!("PIDPressure KubeletHasSufficientPID {now}"),
                format!("Ready KubeletReady {ready}"),
            ]
        };
        conditions.take_over(&node("Unknown"));
        assert_eq!(lines(&conditions.to_value(at(600))), expected(&now), "it was not ready");
        conditions.take_over(&node("True"));
        assert_eq!(lines(&conditions.to_value(at(600))), expected(&before));
        conditions.take_over(&Value::Null);
        assert_eq!(lines(&conditions.to_value(at(600))), expected(&before), "a new node");
    }
}
