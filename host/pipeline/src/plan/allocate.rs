//! Addresses and ports of Services, chosen from what the state shows as free.
//!
//! Two Services that are planned at once could choose the same: whoever commits plans holds a lock over it (see
//! `Cluster::apply`).

use std::collections::HashSet;
use std::net::Ipv4Addr;

use berth_api::Problems;
use berth_api::kinds::service;
use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_json::{Value, json};

use super::context::Context;

/// Addresses tried for one Service: in a range that is nine tenths full, this many miss once in 10¹¹ times.
const PROBES_MAX: u32 = 256;

/// Gives a new or changed Service what it needs; problems are those of wishes that cannot be met.
pub(super) fn allocate(
    context: &Context<'_, '_>,
    object: &mut Value,
    old: Option<&Value>,
    problems: &mut Problems,
) {
    if &*context.request.resource.id != "services" || !context.request.subresource.is_empty() {
        return;
    }
    service::assign_families(object, problems);
    if service::needs_cluster_ip(object) {
        allocate_address(context, object, old, problems);
    }
    if service::needs_node_ports(object) {
        allocate_ports(context, object, old, problems);
    }
}

fn allocate_address(
    context: &Context<'_, '_>,
    object: &mut Value,
    old: Option<&Value>,
    problems: &mut Problems,
) {
    let wish = str_at(object, "spec.clusterIP").to_owned();
    if wish.is_empty() {
        match free_address(context, object) {
            Some(address) => {
                object["spec"]["clusterIP"] = address.to_string().into();
                object["spec"]["clusterIPs"] = json!([address.to_string()]);
            }
            None => problems.invalid("spec.clusterIPs", &Value::Null, "failed to allocate IP: range is full"),
        }
        return;
    }
    if old.is_some_and(|old| str_at(old, "spec.clusterIP") == wish) {
        return;
    }
    let why = match wish.parse().ok().and_then(|address| context.env.services.offset(address)) {
        // The API server tells the range in a dry run only.
        None if context.request.options.dry_run => format!(
            "the provided IP ({wish}) is not in the valid range. The range of valid IPs is {}",
            context.env.services
        ),
        None => "the provided network does not match the current range".to_owned(),
        Some(_) if is_taken(context, &wish) => "provided IP is already allocated".to_owned(),
        Some(_) => return,
    };
    let value = json!([wish]);
    problems.invalid("spec.clusterIPs", &value, &format!("failed to allocate IP {wish}: {why}"));
}

fn is_taken(context: &Context<'_, '_>, address: &str) -> bool {
    let api_server = context.env.services.api_server().to_string();
    let is_api_server_service = context.request.namespace == "default" && address == api_server;
    (address == api_server && !is_api_server_service)
        || context.state.by_field("services", "spec.clusterIP", address).next().is_some()
}

/// Starts from a place that the Service's name gives, so that a cluster that is built again gets the same addresses.
fn free_address(context: &Context<'_, '_>, object: &Value) -> Option<Ipv4Addr> {
    let range = context.env.services;
    let start = spread(&[&context.request.namespace, str_at(object, "metadata.name")]);
    let usable = range.size() - 2;
    let places = (0..usable.min(PROBES_MAX)).map(|step| (start.wrapping_add(step)) % usable + 1);
    places
        .map(|offset| range.address(offset))
        .find(|address| *address != range.api_server() && !is_taken(context, &address.to_string()))
}

/// FNV-1a over the parts: the same with every compiler, so that simulated and real clusters choose alike.
fn spread(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn allocate_ports(
    context: &Context<'_, '_>,
    object: &mut Value,
    old: Option<&Value>,
    problems: &mut Problems,
) {
    let own: HashSet<Port> = old.map(ports_of).unwrap_or_default();
    let used = used_ports(context);
    let range = &context.env.node_ports.0;
    let wishes: Vec<Port> =
        list_at(object, "spec.ports").iter().map(|port| (protocol(port), number(port))).collect();
    let mut taken: HashSet<Port> = wishes.iter().filter(|(_, number)| *number != 0).cloned().collect();
    for (index, (protocol, wish)) in wishes.into_iter().enumerate() {
        let field = format!("spec.ports[{index}].nodePort");
        let port = (protocol, wish);
        if wish != 0 {
            let in_range = u16::try_from(wish).is_ok_and(|wish| range.contains(&wish));
            if own.contains(&port) {
                continue;
            }
            if !in_range {
                let detail = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    range.start(),
                    range.end()
                );
                problems.invalid(field, &wish.into(), &detail);
            } else if used.contains(&port) {
                problems.invalid(field, &wish.into(), "provided port is already allocated");
            }
            continue;
        }
        let size = u32::from(range.end() - range.start()) + 1;
        let start = spread(&[&context.request.namespace, str_at(object, "metadata.name"), &field]) % size;
        let numbers = (0..size).map(|step| i64::from(*range.start()) + i64::from((start + step) % size));
        let is_free = |number: &i64| {
            let port = (port.0.clone(), *number);
            !used.contains(&port) && !taken.contains(&port)
        };
        match numbers.into_iter().find(is_free) {
            Some(number) => {
                taken.insert((port.0, number));
                object["spec"]["ports"][index]["nodePort"] = number.into();
            }
            None => problems.invalid(field, &Value::Null, "failed to allocate a nodePort: range is full"),
        }
    }
}

/// Protocol and number: a TCP and a UDP port of one number are two.
type Port = (String, i64);

fn protocol(port: &Value) -> String {
    match str_at(port, "protocol") {
        "" => "TCP".to_owned(),
        protocol => protocol.to_owned(),
    }
}

fn number(port: &Value) -> i64 {
    int_at(port, "nodePort").unwrap_or_default()
}

fn ports_of(service: &Value) -> HashSet<Port> {
    let ports = list_at(service, "spec.ports").iter();
    ports.map(|port| (protocol(port), number(port))).filter(|(_, number)| *number != 0).collect()
}

/// Ports of all Services: read from the objects, as few Services have any and few requests ask.
fn used_ports(context: &Context<'_, '_>) -> HashSet<Port> {
    let resource = &context.request.resource;
    let has_ports = |bytes: &[u8]| bytes.windows(10).any(|window| window == b"\"nodePort\"");
    let services = context.state.list("services", "").filter(|stored| has_ports(stored.bytes()));
    services.flat_map(|stored| ports_of(&stored.to_value(resource))).collect()
}
