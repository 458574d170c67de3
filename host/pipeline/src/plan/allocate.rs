//! Addresses and ports of Services, chosen from what the state shows as free.
//!
//! Two Services that are planned at once may choose the same: both claim it, one of the two commits meets a conflict, and that
//! Service is planned again.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use berth_api::Problems;
use berth_api::kinds::service::{self, address_claim, port_claim};
use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_api::resource::Claim;
use berth_json::{Value, json};

use super::context::Context;

/// Addresses tried for one Service: in a range that is nine tenths full, this many miss once in 10¹¹ times.
const PROBES_MAX: usize = 256;

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
    if service::has_node_ports_field(object) {
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
        Some(_) if !is_free_address(context, object, &wish) => "provided IP is already allocated".to_owned(),
        Some(_) => return,
    };
    let value = json!([wish]);
    problems.invalid("spec.clusterIPs", &value, &format!("failed to allocate IP {wish}: {why}"));
}

fn is_free_address(context: &Context<'_, '_>, object: &Value, address: &str) -> bool {
    let api_server = context.env.services.api_server().to_string();
    let is_api_server_service = context.request.namespace == "default" && address == api_server;
    (address != api_server || is_api_server_service) && is_free(context, object, &address_claim(address))
}

/// Whether nobody else has it.
fn is_free(context: &Context<'_, '_>, object: &Value, claim: &Claim) -> bool {
    let own = context.key(str_at(object, "metadata.name"));
    context.state.claimed_by(claim).all(|key| *key == own)
}

fn free_address(context: &Context<'_, '_>, object: &Value) -> Option<Ipv4Addr> {
    let range = context.env.services;
    let name = [&context.request.namespace, str_at(object, "metadata.name")];
    let offsets = places(&name, range.size() - 2).take(PROBES_MAX).map(|place| place + 1);
    offsets.map(|offset| range.address(offset)).find(|address| {
        *address != range.api_server() && is_free_address(context, object, &address.to_string())
    })
}

/// All numbers below `size`, each once, in an order that the name gives: a cluster that is built again gets the same addresses,
/// and Services that are made at once look in different places, however full the range is and wherever there is room.
fn places(name: &[&str], size: u32) -> impl Iterator<Item = u32> + use<> {
    let hash = spread(name);
    let mut stride = 1 + hash.rotate_left(16) % size;
    while common_divisor(stride, size) != 1 {
        stride += 1;
    }
    let start = u64::from(hash % size);
    (0..u64::from(size)).map(move |step| ((start + step * u64::from(stride)) % u64::from(size)) as u32)
}

const fn common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// FNV-1a over the parts: the same with every compiler, so that simulated and real clusters choose alike.
fn spread(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Gives the ports the numbers that they lack, if that is wanted, and looks whether those that were asked for can be had.
fn allocate_ports(
    context: &Context<'_, '_>,
    object: &mut Value,
    old: Option<&Value>,
    problems: &mut Problems,
) {
    let own: HashSet<Claim> = old.map(service::claims).into_iter().flatten().collect();
    let mut wanted: HashSet<Claim> = service::claims(object).into_iter().collect();
    let chooses = service::needs_node_ports(object);
    let range = &context.env.node_ports.0;
    let ports = list_at(object, "spec.ports").iter();
    let wishes: Vec<(String, i64)> = ports.map(|port| (protocol(port), number(port))).collect();
    for (index, (protocol, wish)) in wishes.into_iter().enumerate() {
        let field = format!("spec.ports[{index}].nodePort");
        if wish != 0 {
            let claim = port_claim(&protocol, wish);
            if own.contains(&claim) {
                continue;
            }
            let in_range = u16::try_from(wish).is_ok_and(|wish| range.contains(&wish));
            if chooses && !in_range {
                let detail = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    range.start(),
                    range.end()
                );
                problems.invalid(field, &wish.into(), &detail);
            } else if !is_free(context, object, &claim) {
                problems.invalid(field, &wish.into(), "provided port is already allocated");
            }
        } else if chooses {
            let name = [&context.request.namespace, str_at(object, "metadata.name"), &field];
            let size = u32::from(range.end() - range.start()) + 1;
            let numbers = places(&name, size).map(|place| i64::from(*range.start()) + i64::from(place));
            let mut claims = numbers.map(|number| (number, port_claim(&protocol, number)));
            let is_open = |claim: &Claim| !wanted.contains(claim) && is_free(context, object, claim);
            match claims.find(|(_, claim)| is_open(claim)) {
                Some((number, claim)) => {
                    wanted.insert(claim);
                    object["spec"]["ports"][index]["nodePort"] = number.into();
                }
                None => problems.invalid(field, &Value::Null, "failed to allocate a nodePort: range is full"),
            }
        }
    }
}

fn protocol(port: &Value) -> String {
    str_at(port, "protocol").to_owned()
}

fn number(port: &Value) -> i64 {
    int_at(port, "nodePort").unwrap_or_default()
}
