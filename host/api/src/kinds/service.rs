//! `Service`: defaults, what an update keeps, and the table.

mod validate;

use serde_json::{Map, Value, json};

use super::view::{age, at, copy_field, int_at, list_at, name, str_at};
use super::{Names, age_column, column, drop_status, fill, name_column, status_of, with_status};
use crate::resource::{Behaviour, Column, Resource, Scope};
use crate::status::Problems;
use crate::time::Timestamp;

const NAMES: Names = Names { group: "", version: "v1", kind: "Service", plural: "services", short: &["svc"] };

/// How long a client address stays with the same pod under `sessionAffinity: ClientIP`, in seconds.
const AFFINITY_S: i64 = 10_800;
/// The IP family of this cluster's service range.
const FAMILY: &str = "IPv4";

pub(super) fn resource() -> Resource {
    let behaviour = Behaviour {
        default,
        prepare_create,
        prepare_update,
        validate: validate::validate,
        validate_update: validate::validate_update,
        validate_status: super::meta::validate_meta_update,
        fields,
        columns,
        cells,
        ..with_status()
    };
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![status_of("", "v1", "Service")],
        create_on_update: true,
        ..super::resource(&NAMES, Scope::Namespaced, behaviour)
    }
}

/// Whether the service is given an address: all but `ExternalName` and headless ones.
pub fn needs_cluster_ip(service: &Value) -> bool {
    has_cluster_ip_field(str_at(service, "spec.type")) && str_at(service, "spec.clusterIP") != "None"
}

/// Whether the service's ports are given ports of the nodes.
pub fn needs_node_ports(service: &Value) -> bool {
    match str_at(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => at(service, "spec.allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// Settles `ipFamilies` and `ipFamilyPolicy` in this cluster of one family; part of allocation, after validation.
pub fn assign_families(service: &mut Value, problems: &mut Problems) {
    let is_open_headless = str_at(service, "spec.clusterIP") == "None"
        && at(service, "spec.selector").is_none_or(|selector| selector == &json!({}));
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("type").is_some_and(|kind| kind == "ExternalName") {
        return;
    }
    let two_families = spec.get("ipFamilies").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    if is_open_headless {
        // Its endpoints are the user's own and may be of any family.
        fill::absent(spec, "ipFamilyPolicy", if two_families { "RequireDualStack" } else { "SingleStack" });
    } else if let Some(policy) = spec.get("ipFamilyPolicy").filter(|policy| *policy == "RequireDualStack") {
        problems.invalid(
            "spec.ipFamilyPolicy",
            policy,
            "this cluster is not configured for dual-stack services",
        );
        return;
    }
    fill::absent(spec, "ipFamilyPolicy", "SingleStack");
    let families = spec.entry("ipFamilies").or_insert_with(|| json!([]));
    match families.as_array_mut() {
        Some(list) if list.is_empty() => list.push(FAMILY.into()),
        Some(list) if !is_open_headless => {
            for (index, family) in list.iter().enumerate().filter(|(_, family)| **family != FAMILY) {
                problems.invalid(
                    format!("spec.ipFamilies[{index}]"),
                    family,
                    "not configured on this cluster",
                );
            }
        }
        _ => {}
    }
}

fn has_cluster_ip_field(kind: &str) -> bool {
    matches!(kind, "" | "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn is_external(spec: &Map<String, Value>) -> bool {
    match spec.get("type").and_then(Value::as_str).unwrap_or_default() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

fn default(object: &mut Value) {
    let Some(spec) = fill::object_at(object, "spec") else { return };
    fill::zero(spec, "sessionAffinity", "None");
    match spec["sessionAffinity"].as_str() {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let config = spec.entry("sessionAffinityConfig").or_insert_with(|| json!({}));
            if let Some(client) = fill::object_at(config, "clientIP") {
                fill::absent(client, "timeoutSeconds", AFFINITY_S);
            }
        }
        _ => {}
    }
    fill::zero(spec, "type", "ClusterIP");
    for port in fill::each(spec, "ports") {
        fill::zero(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_else(|| 0.into());
        fill::zero(port, "targetPort", number);
    }
    if is_external(spec) {
        fill::zero(spec, "externalTrafficPolicy", "Cluster");
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if has_cluster_ip_field(&kind) {
        fill::absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill::absent(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn prepare_create(object: &mut Value) {
    drop_status(object);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        list_address(spec);
    }
}

/// `clusterIP` alone stands for the list of it.
fn list_address(spec: &mut Map<String, Value>) {
    let address = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    let listed = spec.get("clusterIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !address.is_empty() && !listed {
        let list = json!([address]);
        spec.insert("clusterIPs".to_owned(), list);
    }
}

/// Clients send whole services without what was allocated for them, and change the type without clearing what the
/// old type needed: both are made good here.
fn prepare_update(new: &mut Value, old: &Value) {
    copy_field(new, old, "status");
    // What decides is the type a client means by leaving it out.
    let new_kind = match str_at(new, "spec.type") {
        "" => "ClusterIP".to_owned(),
        kind => kind.to_owned(),
    };
    let kept_ip = needs_cluster_ip(old) && has_cluster_ip_field(&new_kind);
    let had_ports = needs_node_ports(old);
    let wants_ports = needs_node_ports(new);
    let (Some(spec), Some(before)) =
        (new.get_mut("spec").and_then(Value::as_object_mut), old.get("spec").and_then(Value::as_object))
    else {
        return;
    };
    follow_address(spec, before);
    if kept_ip {
        keep_address(spec, before);
    }
    match (had_ports, wants_ports) {
        (true, true) => keep_node_ports(spec, before),
        (true, false) => drop_node_ports(spec, before),
        _ => {}
    }
    drop_unneeded(spec, before, &new_kind);
}

/// A client that knows only `clusterIP` changes the first of `clusterIPs` by it.
fn follow_address(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    let is_same = |key: &str| spec.get(key) == before.get(key);
    if is_same("clusterIP") || !is_same("clusterIPs") {
        return;
    }
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    let empty = address.is_null() || address == "";
    let list = spec.get_mut("clusterIPs").and_then(Value::as_array_mut).filter(|list| !list.is_empty());
    match list {
        _ if empty => {
            spec.remove("clusterIPs");
        }
        Some(list) => list[0] = address,
        None => list_address(spec),
    }
}

fn keep_address(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    let old_address = before.get("clusterIP").cloned().unwrap_or_default();
    if !old_address.is_null() {
        fill::zero(spec, "clusterIP", old_address);
    }
    let unlisted = spec.get("clusterIPs").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let is_same = spec.get("clusterIP") == before.get("clusterIP");
    if let Some(list) = before.get("clusterIPs").filter(|_| unlisted && is_same) {
        spec.insert("clusterIPs".to_owned(), list.clone());
    }
    for key in ["ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = before.get(key) {
            fill::absent(spec, key, value.clone());
        }
    }
}

/// A port that is still there by its name keeps its node port, unless another port now has it.
fn keep_node_ports(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    let empty = Vec::new();
    let old = before.get("ports").and_then(Value::as_array).unwrap_or(&empty);
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let mut used: Vec<i64> = ports.iter().filter_map(|port| int_at(port, "nodePort")).collect();
    for port in ports {
        let same_name = old.iter().find(|other| str_at(other, "name") == str_at(port, "name"));
        let Some(number) = same_name.and_then(|other| int_at(other, "nodePort")) else { continue };
        if int_at(port, "nodePort").unwrap_or_default() == 0 && !used.contains(&number) {
            used.push(number);
            port["nodePort"] = number.into();
        }
    }
}

/// The new type has no node ports: what the client did not touch is dropped.
fn drop_node_ports(spec: &mut Map<String, Value>, before: &Map<String, Value>) {
    let numbers = |spec: &Map<String, Value>| -> Vec<Option<i64>> {
        let ports = spec.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        ports.iter().map(|port| int_at(port, "nodePort")).collect()
    };
    if numbers(spec) == numbers(before) {
        for port in fill::each(spec, "ports") {
            port.remove("nodePort");
        }
    }
}

/// Drops what the new type has no use for and the client did not touch.
fn drop_unneeded(spec: &mut Map<String, Value>, before: &Map<String, Value>, kind: &str) {
    let mut unneeded: Vec<&str> = Vec::new();
    if kind == "ExternalName" {
        let fields = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
        unneeded.extend(fields);
    }
    if kind != "LoadBalancer" {
        unneeded.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    if kind == "ExternalName" || (kind == "ClusterIP" && !external_ips) {
        unneeded.extend(["externalTrafficPolicy", "healthCheckNodePort"]);
    }
    for key in unneeded {
        if spec.get(key) == before.get(key) {
            spec.remove(key);
        }
    }
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    ["spec.clusterIP", "spec.type"].map(|path| (path, str_at(object, path).to_owned())).into()
}

fn columns() -> Vec<Column> {
    vec![
        name_column(),
        column("Type", "string", 0, "How the service is reached."),
        column("Cluster-IP", "string", 0, "The service's address within the cluster."),
        column("External-IP", "string", 0, "The service's addresses for the world outside."),
        column("Port(s)", "string", 0, "The service's ports, and those of the nodes."),
        age_column(),
        column("Selector", "string", 1, "Which pods serve."),
    ]
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let address = match list_at(object, "spec.clusterIPs").first().and_then(Value::as_str) {
        None => "<none>",
        Some(address) => address,
    };
    let selector = at(object, "spec.selector").and_then(Value::as_object);
    let labels =
        selector.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    vec![
        name(object).into(),
        str_at(object, "spec.type").into(),
        address.into(),
        external_address(object).into(),
        or_none(list_at(object, "spec.ports").iter().map(port_text)).into(),
        age(object, now).into(),
        or_none(labels).into(),
    ]
}

fn or_none(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

fn port_text(port: &Value) -> String {
    let (number, protocol) = (int_at(port, "port").unwrap_or_default(), str_at(port, "protocol"));
    match int_at(port, "nodePort") {
        Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external_address(service: &Value) -> String {
    let external = list_at(service, "spec.externalIPs").iter().filter_map(Value::as_str).map(str::to_owned);
    match str_at(service, "spec.type") {
        "ClusterIP" | "NodePort" => or_none(external),
        "LoadBalancer" => {
            let ingress = list_at(service, "status.loadBalancer.ingress").iter();
            let balancers = ingress.map(|entry| match str_at(entry, "ip") {
                "" => str_at(entry, "hostname").to_owned(),
                ip => ip.to_owned(),
            });
            let addresses: Vec<String> = balancers.chain(external).collect();
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        "ExternalName" => str_at(service, "spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}
