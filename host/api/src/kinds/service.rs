//! `Service`: its defaults, and what is allocated for it.

mod table;
mod update;
mod validate;

use berth_json::{Map, Value, json};

use super::view::{at, int_at, list_at, str_at};
use super::{Names, drop_status, fill, status_of};
use crate::column::Column;
use crate::resource::{Claim, Kind, Resource, Scope, Selectable};
use crate::status::Problems;

const NAMES: Names = Names { group: "", version: "v1", kind: "Service", plural: "services", short: &["svc"] };

/// How long a client address stays with the same pod under `sessionAffinity: ClientIP`, in seconds.
const AFFINITY_S: i64 = 10_800;
/// The IP family of this cluster's service range.
const FAMILY: &str = "IPv4";

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["all".to_owned()],
        subresources: vec![status_of("", "v1", "Service")],
        create_on_update: true,
        ..super::resource(&NAMES, Scope::Namespaced, Service)
    }
}

struct Service;

impl Kind for Service {
    fn default(&self, object: &mut Value) {
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

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            list_address(spec);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        update::prepare_update(new, old);
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate::validate(object, problems);
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate::validate_update(new, old, problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        super::meta::validate_meta_update(new, old, problems);
    }

    fn fields(&self, object: &Value) -> Vec<Selectable> {
        vec![
            Selectable::new("spec.clusterIP", str_at(object, "spec.clusterIP")),
            Selectable::new("spec.type", str_at(object, "spec.type")),
        ]
    }

    fn claims(&self, object: &Value) -> Vec<Claim> {
        claims(object)
    }

    fn columns(&self) -> Vec<Column> {
        table::columns()
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

/// What no other Service may have: its address, and its ports of the nodes.
pub fn claims(service: &Value) -> Vec<Claim> {
    let address = str_at(service, "spec.clusterIP");
    let has_address = needs_cluster_ip(service) && !address.is_empty();
    let mut claims: Vec<Claim> = has_address.then(|| address_claim(address)).into_iter().collect();
    if has_node_ports_field(service) {
        let ports = list_at(service, "spec.ports").iter();
        let given = ports.filter_map(|port| Some((port, int_at(port, "nodePort").filter(|n| *n != 0)?)));
        claims.extend(given.map(|(port, number)| port_claim(str_at(port, "protocol"), number)));
    }
    claims
}

/// The claim to a cluster IP.
pub fn address_claim(address: &str) -> Claim {
    format!("service-ip/{address}").into()
}

/// The claim to a port of the nodes: a TCP and a UDP port of one number are two.
pub fn port_claim(protocol: &str, number: i64) -> Claim {
    let protocol = if protocol.is_empty() { "TCP" } else { protocol };
    format!("node-port/{protocol}/{number}").into()
}

/// Whether the service's ports can be ports of the nodes, given or chosen.
pub fn has_node_ports_field(service: &Value) -> bool {
    matches!(str_at(service, "spec.type"), "NodePort" | "LoadBalancer")
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

fn is_external(spec: &Map) -> bool {
    match spec.get("type").and_then(Value::as_str).unwrap_or_default() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

/// `clusterIP` alone stands for the list of it.
fn list_address(spec: &mut Map) {
    let address = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    let listed = spec.get("clusterIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !address.is_empty() && !listed {
        let list = json!([address]);
        spec.insert("clusterIPs".to_owned(), list);
    }
}
