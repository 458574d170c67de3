//! `kubectl get services`.

use berth_json::Value;

use crate::kinds::view::{age, at, int_at, list_at, name, str_at};
use crate::kinds::{age_column, column, name_column};
use crate::resource::Column;
use crate::time::Timestamp;

/// The columns of a service's row.
pub(super) fn columns() -> Vec<Column> {
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

/// The cells of a service's row.
pub(super) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
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
