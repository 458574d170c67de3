//! What a pod may know of itself: `fieldRef`, `resourceFieldRef`, `$(VAR)`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use berth_api::quantity::{Format, Quantity};

use crate::manifest::{Container, Pod, ResourceFieldRef};

/// What the node adds to a pod's knowledge of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) host_ip: IpAddr,
    pub(crate) pod_ip: Option<IpAddr>,
    /// What the node can give to pods: the limit of a container that has none.
    pub(crate) allocatable: Allocatable,
}

/// What the node can give to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allocatable {
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) storage_bytes: i64,
}

/// The value of a field of the pod.
///
/// # Errors
/// When there is no such field.
pub(crate) fn field(pod: &Pod, path: &str, around: Surroundings) -> Result<String, String> {
    let text = |text: &str| Ok(text.to_owned());
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(format!("invalid fieldPath: {path} does not support subscripts")),
        };
        return Ok(values.get(key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => text(&pod.metadata.name),
        "metadata.namespace" => text(&pod.metadata.namespace),
        "metadata.uid" => text(&pod.metadata.uid),
        "metadata.labels" => Ok(lines(&pod.metadata.labels)),
        "metadata.annotations" => Ok(lines(&pod.metadata.annotations)),
        "spec.nodeName" => text(&pod.spec.node_name),
        "spec.serviceAccountName" => text(&pod.spec.service_account_name),
        "status.hostIP" | "status.hostIPs" => Ok(around.host_ip.to_string()),
        "status.podIP" | "status.podIPs" => Ok(around.pod_ip.map(|ip| ip.to_string()).unwrap_or_default()),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let unquoted = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
    Some((map, unquoted.or_else(|| key.strip_prefix('"')?.strip_suffix('"'))?))
}

/// A map as a file: `key="value"` lines, sorted, values quoted as Go does.
fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join("\n")
}

/// As Go's `strconv.Quote`, which programs that read these files expect.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        // Writing to a string cannot fail.
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' | '\u{7f}' => _ = write!(out, "\\x{:02x}", u32::from(character)),
            _ if character.is_control() || (character.is_whitespace() && character != ' ') => {
                _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// The value of a resource of a container, divided and rounded up as the kubelet does.
///
/// # Errors
/// When there is no such container or resource.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    reference: &ResourceFieldRef,
    around: Surroundings,
) -> Result<String, String> {
    let named = pod.container(&reference.container_name);
    let container = named
        .or(own.filter(|_| reference.container_name.is_empty()))
        .ok_or_else(|| format!("container {} not found", reference.container_name))?;
    let (kind, name) = reference
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", reference.resource))?;
    let amount = match kind {
        "limits" => container.resources.limit(name).or_else(|| allocatable(name, around.allocatable)),
        _ => container.resources.request(name),
    };
    let amount = amount.unwrap_or(Quantity::from_milli(0));
    let divisor = reference.divisor.as_ref().map(|divisor| divisor.0).filter(|divisor| !divisor.is_zero());
    let value = match (name, divisor) {
        ("cpu", Some(divisor)) => {
            amount.milli_value().div_euclid(divisor.milli_value().max(1)).max(0) + {
                i64::from(amount.milli_value().rem_euclid(divisor.milli_value().max(1)) != 0)
            }
        }
        ("cpu", None) => round_up(amount.milli_value(), 1000),
        (_, divisor) => round_up(amount.value(), divisor.map_or(1, Quantity::value)),
    };
    Ok(value.to_string())
}

fn round_up(value: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    value.div_euclid(divisor) + i64::from(value.rem_euclid(divisor) != 0)
}

fn allocatable(resource: &str, node: Allocatable) -> Option<Quantity> {
    match resource {
        "cpu" => Some(Quantity::from_milli(node.cpu_millis)),
        "memory" => Some(Quantity::from_whole(node.memory_bytes, Format::BinarySi)),
        "ephemeral-storage" => Some(Quantity::from_whole(node.storage_bytes, Format::BinarySi)),
        _ => None,
    }
}

/// Replaces `$(NAME)` by its value; an unknown name stays as it is, and `$$` is a dollar sign.
pub(crate) fn expand(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        rest = match (after.strip_prefix('$'), reference) {
            (Some(rest), _) => {
                out.push('$');
                rest
            }
            (None, Some((name, rest))) => {
                match value_of(name) {
                    Some(value) => out.push_str(&value),
                    None => _ = write!(out, "$({name})"),
                }
                rest
            }
            (None, None) => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const AROUND: Surroundings = Surroundings {
        host_ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        pod_ip: None,
        allocatable: Allocatable { cpu_millis: 2000, memory_bytes: 1 << 30, storage_bytes: 0 },
    };

    #[test]
    fn variables_are_expanded_as_kubernetes_does() {
        let value_of = |name: &str| (name == "A").then(|| "x".to_owned());
        for (text, expected) in [
            ("$(A)-$(A)", "x-x"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$x"),
        ] {
            assert_eq!(expand(text, value_of), expected, "{text}");
        }
    }

    #[test]
    fn maps_are_quoted_as_go_does() {
        let text = "a \"b\" c:\\d\n\t\u{1}\u{7f}\u{85}\u{2028}é🦀";
        assert_eq!(quoted(text), r#""a \"b\" c:\\d\n\t\x01\x7f\u0085\u2028é🦀""#);
    }

    #[test]
    fn fields_and_resources() {
        let pod = Pod::from_value(json!({
            "metadata": { "name": "p", "labels": { "app.kubernetes.io/x": "1", "b": "a\"b" } },
            "spec": { "containers": [{ "name": "c", "resources": {
                "requests": { "cpu": "1500m", "memory": "64Mi" } } }] },
        }))
        .unwrap();
        assert_eq!(field(&pod, "metadata.labels['app.kubernetes.io/x']", AROUND).unwrap(), "1");
        assert_eq!(
            field(&pod, "metadata.labels", AROUND).unwrap(),
            "app.kubernetes.io/x=\"1\"\nb=\"a\\\"b\""
        );
        assert!(field(&pod, "spec.containers", AROUND).is_err());
        let of = |resource: &str, divisor: Option<&str>| {
            let reference = json!({ "resource": resource, "divisor": divisor.unwrap_or("0") });
            let reference = serde_json::from_value(reference).unwrap();
            super::resource(&pod, pod.container("c"), &reference, AROUND).unwrap()
        };
        assert_eq!(of("requests.cpu", None), "2");
        assert_eq!(of("requests.cpu", Some("1m")), "1500");
        assert_eq!(of("requests.memory", Some("1Mi")), "64");
        assert_eq!(of("limits.memory", None), (1_i64 << 30).to_string(), "the node's, when it has none");
    }
}
