//! What an update of a Service keeps and drops.

use std::collections::{HashMap, HashSet};

use berth_json::{Map, Value};

use super::{has_cluster_ip_field, list_address, needs_cluster_ip, needs_node_ports};
use crate::kinds::fill;
use crate::kinds::view::{copy_field, int_at, str_at};

/// Clients send whole services without what was allocated for them, and change the type without clearing what the
/// old type needed: both are made good here.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
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
fn follow_address(spec: &mut Map, before: &Map) {
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

fn keep_address(spec: &mut Map, before: &Map) {
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
fn keep_node_ports(spec: &mut Map, before: &Map) {
    let old = before.get("ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    // Of several ports of one name the first counts.
    let old: HashMap<&str, &Value> = old.iter().rev().map(|port| (str_at(port, "name"), port)).collect();
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let mut used: HashSet<i64> = ports.iter().filter_map(|port| int_at(port, "nodePort")).collect();
    for port in ports {
        let same_name = old.get(str_at(port, "name"));
        let Some(number) = same_name.and_then(|other| int_at(other, "nodePort")) else { continue };
        if int_at(port, "nodePort").unwrap_or_default() == 0 && used.insert(number) {
            port["nodePort"] = number.into();
        }
    }
}

/// The new type has no node ports: what the client did not touch is dropped.
fn drop_node_ports(spec: &mut Map, before: &Map) {
    let numbers = |spec: &Map| -> Vec<Option<i64>> {
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
fn drop_unneeded(spec: &mut Map, before: &Map, kind: &str) {
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
