//! `kubectl get services`.

use berth_json::Value;

use crate::column::Column;
use crate::kinds::view::{at, int_at, list_at, str_at};

/// The columns of a service's row.
pub(super) fn columns() -> Vec<Column> {
    vec![
        Column::of_name(),
        Column::text("Type", 0, "How the service is reached.", "spec.type"),
        Column::new("Cluster-IP", "string", 0, "The service's address within the cluster.", |service, _| {
            let address = list_at(service, "spec.clusterIPs").first().and_then(Value::as_str);
            address.unwrap_or("<none>").into()
        }),
        Column::new(
            "External-IP",
            "string",
            0,
            "The service's addresses for the world outside.",
            |service, _| external_address(service).into(),
        ),
        Column::new("Port(s)", "string", 0, "The service's ports, and those of the nodes.", |service, _| {
            or_none(list_at(service, "spec.ports").iter().map(port_text)).into()
        }),
        Column::of_age(),
        Column::new("Selector", "string", 1, "Which pods serve.", |service, _| {
            let selector = at(service, "spec.selector").and_then(Value::as_object).into_iter().flatten();
            or_none(selector.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))).into()
        }),
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
