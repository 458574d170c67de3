//! What a Service must satisfy, in the order in which the API server checks it.

use std::collections::BTreeSet;

use berth_json::Value;

use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject, validate_labels, validate_meta, validate_meta_update};
use crate::kinds::names;
use crate::kinds::pod::validate_port;
use crate::kinds::view::repeats;
use crate::resource::Scope;
use crate::status::Problems;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
/// The node agent's own port, which no load balancer may take over.
const KUBELET_PORT: i64 = 10_250;
/// The longest `sessionAffinityConfig.clientIP.timeoutSeconds`: a day.
const AFFINITY_S_MAX: i64 = 86_400;
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks a new service.
pub(super) fn validate(object: &Value, problems: &mut Problems) {
    validate_meta(object, Scope::Namespaced, names::label_1123, problems);
    let spec = Cursor::top(object, "spec");
    validate_type(&spec, problems);
    validate_ports(&spec, problems);
    validate_labels(&spec.child("selector"), problems);
    validate_affinity(&spec, problems);
    if spec.child("type").text() != "ExternalName" {
        validate_addresses(&spec, problems);
    }
    for address in spec.child("externalIPs").items() {
        reject(&address, names::endpoint_address(address.text()), problems);
    }
    one_of(&spec.child("type"), &TYPES, problems);
    validate_node_ports(&spec, problems);
    validate_balancer(&spec, problems);
    validate_traffic(&spec, problems);
}

/// Checks a changed service.
pub(super) fn validate_update(new: &Value, old: &Value, problems: &mut Problems) {
    validate_meta_update(new, old, problems);
    let (spec, before) = (Cursor::top(new, "spec"), Cursor::top(old, "spec"));
    let is_named = |spec: &Cursor<'_>| spec.child("type").text() == "ExternalName";
    if !is_named(&spec) && !is_named(&before) {
        validate_kept_addresses(&spec.child("clusterIPs"), &before.child("clusterIPs"), problems);
    }
    validate(new, problems);
}

fn validate_kept_addresses(new: &Cursor<'_>, old: &Cursor<'_>, problems: &mut Problems) {
    const DETAIL: &str = "may not change once set";
    let at = |index: usize| format!("{new}[{index}]");
    if new.list().is_empty() && !old.list().is_empty() {
        problems.invalid(at(0), new.value(), "primary clusterIP can not be unset");
        return;
    }
    for (index, (new_ip, old_ip)) in new.list().iter().zip(old.list()).enumerate() {
        if new_ip != old_ip {
            problems.invalid(at(index), new.value(), DETAIL);
        }
    }
}

fn is_headless(spec: &Cursor<'_>) -> bool {
    let addresses = spec.child("clusterIPs").list();
    addresses.len() == 1 && addresses[0] == "None"
}

fn validate_type(spec: &Cursor<'_>, problems: &mut Problems) {
    let (kind, ports) = (spec.child("type").text(), spec.child("ports"));
    if ports.is_empty() && !is_headless(spec) && kind != "ExternalName" {
        problems.required(ports, "");
    }
    match kind {
        "LoadBalancer" => {
            for port in ports.items().filter(|port| port.child("port").int() == Some(KUBELET_PORT)) {
                let detail =
                    format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                problems.invalid(port.child("port"), &KUBELET_PORT.into(), &detail);
            }
            refuse_headless(spec, kind, problems);
        }
        "NodePort" => refuse_headless(spec, kind, problems),
        "ExternalName" => validate_external_name(spec, problems),
        _ => {}
    }
}

fn refuse_headless(spec: &Cursor<'_>, kind: &str, problems: &mut Problems) {
    if is_headless(spec) {
        let detail = format!("may not be set to 'None' for {kind} services");
        problems.invalid(format!("{}[0]", spec.child("clusterIPs")), &"None".into(), &detail);
    }
}

fn validate_external_name(spec: &Cursor<'_>, problems: &mut Problems) {
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !spec.child(key).is_empty() {
            problems.forbidden(spec.child(key), "may not be set for ExternalName services");
        }
    }
    let name = spec.child("externalName");
    // A trailing dot marks the name as complete.
    match name.text().strip_suffix('.').unwrap_or(name.text()) {
        "" => problems.required(name, ""),
        text => reject(&name, names::subdomain_1123(text), problems),
    }
}

fn validate_ports(spec: &Cursor<'_>, problems: &mut Problems) {
    let ports = spec.child("ports");
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (name, number) = (port.child("name"), port.child("port"));
        if name.is_empty() {
            if ports.list().len() > 1 {
                problems.required(name, "");
            }
        } else {
            reject(&name, names::label_1123(name.text()), problems);
            if !seen.insert(name.text().to_owned()) {
                problems.duplicate(name, name.value());
            }
        }
        let value = number.int().unwrap_or_default();
        for fault in names::port_number(value) {
            problems.invalid(number, &value.into(), &fault);
        }
        one_of(&port.child("protocol"), &PROTOCOLS, problems);
        validate_port(&port.child("targetPort"), problems);
        let protocol = port.child("appProtocol");
        if protocol.exists() {
            reject(&protocol, names::qualified_name(protocol.text()), problems);
        }
    }
}

fn validate_affinity(spec: &Cursor<'_>, problems: &mut Problems) {
    let (affinity, config) = (spec.child("sessionAffinity"), spec.child("sessionAffinityConfig"));
    one_of(&affinity, &["ClientIP", "None"], problems);
    if affinity.text() == "ClientIP" {
        let client = config.child("clientIP");
        let timeout = client.child("timeoutSeconds");
        if timeout.int().is_none_or(|seconds| !(1..=AFFINITY_S_MAX).contains(&seconds)) {
            let detail = format!("must be greater than 0 and less than {AFFINITY_S_MAX}");
            problems.invalid(timeout, timeout.value(), &detail);
        }
    }
}

fn validate_addresses(spec: &Cursor<'_>, problems: &mut Problems) {
    let (families, policy) = (spec.child("ipFamilies"), spec.child("ipFamilyPolicy"));
    let repeated = repeats(families.list(), |family| family.as_str());
    for (family, is_repeated) in families.items().zip(repeated) {
        one_of(&family, &["IPv4", "IPv6"], problems);
        if is_repeated {
            problems.duplicate(family, family.value());
        }
    }
    if policy.exists() {
        one_of(&policy, &["PreferDualStack", "RequireDualStack", "SingleStack"], problems);
    }
    let (first, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
    if all.is_empty() && !first.is_empty() {
        problems.required(all, "");
    } else if !all.is_empty() && first.is_empty() {
        problems.invalid(all, all.value(), "must be empty when `clusterIP` is not specified");
    } else if !all.is_empty() && all.list()[0] != *first.value() {
        problems.invalid(all, all.value(), "first value must match `clusterIP`");
    }
    if all.list().len() > 2 {
        problems.invalid(all, all.value(), "may only hold up to 2 values");
    }
    validate_address_list(&all, &families, problems);
}

fn validate_address_list(all: &Cursor<'_>, families: &Cursor<'_>, problems: &mut Problems) {
    let mut has_faults = false;
    for (index, address) in all.items().enumerate() {
        if index == 0 && address.text() == "None" {
            if all.list().len() > 1 {
                problems.invalid(all, all.value(), "'None' must be the first and only value");
            }
            return;
        }
        let faults = names::ip_address(address.text());
        has_faults |= !faults.is_empty();
        reject(&address, faults, problems);
    }
    if has_faults {
        return;
    }
    for (index, (address, family)) in all.items().zip(families.list()).enumerate() {
        let is_v6 = address.text().contains(':');
        let family = family.as_str().unwrap_or_default();
        if (family == "IPv4" && is_v6) || (family == "IPv6" && !is_v6) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            problems.invalid(address, address.value(), &detail);
        }
    }
}

fn validate_node_ports(spec: &Cursor<'_>, problems: &mut Problems) {
    let ports = spec.child("ports");
    let number = |port: &Cursor<'_>, key: &str| port.child(key).int().unwrap_or_default();
    if spec.child("type").text() == "ClusterIP" {
        for port in ports.items().filter(|port| number(port, "nodePort") != 0) {
            problems.forbidden(port.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    for key in ["nodePort", "port"] {
        let mut seen = BTreeSet::new();
        for port in ports.items().filter(|port| number(port, key) != 0) {
            let protocol = port.child("protocol").text().to_owned();
            if seen.insert((protocol.clone(), number(&port, key))) {
                continue;
            }
            match key {
                "nodePort" => problems.duplicate(port.child(key), port.child(key).value()),
                _ => {
                    let (protocol, number) = (Value::from(protocol), number(&port, key));
                    let shown = format!(
                        "{{\"Name\":\"\",\"Protocol\":{protocol},\"AppProtocol\":null,\"Port\":{number},\
                         \"TargetPort\":0,\"NodePort\":0}}"
                    );
                    problems.duplicate_shown(port, &shown);
                }
            }
        }
    }
}

fn validate_balancer(spec: &Cursor<'_>, problems: &mut Problems) {
    let is_balancer = spec.child("type").text() == "LoadBalancer";
    let ranges = spec.child("loadBalancerSourceRanges");
    if !ranges.is_empty() {
        // The API server writes this one field with a capital letter.
        let at = spec.child("LoadBalancerSourceRanges");
        if !is_balancer {
            problems.forbidden(at, BALANCER_ONLY);
        }
        for (index, range) in ranges.items().enumerate() {
            for fault in names::cidr(range.text().trim()) {
                problems.invalid(format!("{at}[{index}]"), range.value(), &fault);
            }
        }
    }
    let allocate = spec.child("allocateLoadBalancerNodePorts");
    if allocate.exists() && !is_balancer {
        problems.forbidden(allocate, BALANCER_ONLY);
    }
    let class = spec.child("loadBalancerClass");
    if class.exists() {
        if !is_balancer {
            problems.forbidden(class, BALANCER_ONLY);
        }
        reject(&class, names::qualified_name(class.text()), problems);
    }
}

fn validate_traffic(spec: &Cursor<'_>, problems: &mut Problems) {
    let (external, internal) = (spec.child("externalTrafficPolicy"), spec.child("internalTrafficPolicy"));
    let is_external = match spec.child("type").text() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !spec.child("externalIPs").is_empty(),
        _ => false,
    };
    if !external.is_empty() && !is_external {
        let detail = "may only be set for externally-accessible services";
        problems.invalid(external, external.value(), detail);
    } else if is_external {
        one_of(&external, &["Cluster", "Local"], problems);
    }
    let health = spec.child("healthCheckNodePort");
    if health.int().is_some_and(|port| port != 0) && external.text() != "Local" {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        problems.invalid(health, health.value(), detail);
    }
    if internal.exists() {
        one_of(&internal, &["Cluster", "Local"], problems);
    }
    let distribution = spec.child("trafficDistribution");
    if distribution.exists() {
        one_of(&distribution, &["PreferClose", "PreferSameZone", "PreferSameNode"], problems);
    }
}
