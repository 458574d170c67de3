//! Defaults of pods and pod templates.

use berth_json::{Map, Value, json};

use crate::kinds::fill;

/// How long containers get to end by themselves, in seconds.
const GRACE_PERIOD_S: i64 = 30;
/// Mode of the files of ConfigMap, Secret, downward API and projected volumes: 0644.
const FILE_MODE: i64 = 0o644;
/// How long a projected service-account token lives, in seconds.
const TOKEN_LIFE_S: i64 = 3600;

/// Every list of containers of a pod spec.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fills in a whole pod.
pub(super) fn default_pod(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    default_spec(spec);
    for list in ["containers", "initContainers"] {
        for container in fill::each(spec, list) {
            if let Some(resources) = fill::part(container, "resources") {
                request_limits(resources);
            }
        }
    }
    if let Some(resources) = fill::part(spec, "resources") {
        request_limits(resources);
    }
    fill::absent(spec, "enableServiceLinks", true);
}

/// Fills in the pod template at `template` of a workload's spec.
pub(in crate::kinds) fn default_template(workload_spec: &mut Map) {
    fill::absent(workload_spec, "template", json!({}));
    if let Some(template) = fill::part(workload_spec, "template") {
        fill::absent(template, "spec", json!({}));
        if let Some(spec) = fill::part(template, "spec") {
            default_spec(spec);
        }
    }
}

/// Fills in a pod's or a template's spec.
fn default_spec(spec: &mut Map) {
    fill::zero(spec, "restartPolicy", "Always");
    fill::zero(spec, "dnsPolicy", "ClusterFirst");
    fill::zero(spec, "schedulerName", "default-scheduler");
    fill::absent(spec, "terminationGracePeriodSeconds", GRACE_PERIOD_S);
    fill::absent(spec, "securityContext", json!({}));
    name_service_account(spec);
    let on_host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in CONTAINER_LISTS {
        for container in fill::each(spec, list) {
            default_container(container);
            if on_host_network {
                publish_ports(container);
            }
        }
    }
    for volume in fill::each(spec, "volumes") {
        default_volume(volume);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; the API shows both.
fn name_service_account(spec: &mut Map) {
    let name_of = |key: &str| spec.get(key).filter(|name| !name.is_null() && **name != "").cloned();
    if let Some(name) = name_of("serviceAccountName").or_else(|| name_of("serviceAccount")) {
        spec.insert("serviceAccountName".to_owned(), name.clone());
        spec.insert("serviceAccount".to_owned(), name);
    }
}

fn default_container(container: &mut Map) {
    fill::zero(container, "terminationMessagePath", "/dev/termination-log");
    fill::zero(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    fill::zero(container, "imagePullPolicy", policy);
    for port in fill::each(container, "ports") {
        fill::zero(port, "protocol", "TCP");
    }
    for variable in fill::each(container, "env") {
        let field = fill::part(variable, "valueFrom").and_then(|source| fill::part(source, "fieldRef"));
        if let Some(field) = field {
            fill::zero(field, "apiVersion", "v1");
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = fill::part(container, key) {
            default_probe(probe);
        }
    }
    let Some(lifecycle) = fill::part(container, "lifecycle") else { return };
    for key in ["postStart", "preStop"] {
        if let Some(handler) = fill::part(lifecycle, key) {
            default_handler(handler);
        }
    }
}

fn default_probe(probe: &mut Map) {
    fill::zero(probe, "timeoutSeconds", 1);
    fill::zero(probe, "periodSeconds", 10);
    fill::zero(probe, "successThreshold", 1);
    fill::zero(probe, "failureThreshold", 3);
    default_handler(probe);
}

fn default_handler(handler: &mut Map) {
    if let Some(get) = fill::part(handler, "httpGet") {
        fill::zero(get, "path", "/");
        fill::zero(get, "scheme", "HTTP");
    }
    if let Some(grpc) = fill::part(handler, "grpc") {
        fill::absent(grpc, "service", "");
    }
}

/// On the host's network a container's port is the host's port.
fn publish_ports(container: &mut Map) {
    for port in fill::each(container, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            fill::zero(port, "hostPort", number);
        }
    }
}

/// `Always` for an image whose tag is `latest` or missing, else `IfNotPresent`; a digest is a fixed image.
fn pull_policy(image: &str) -> &'static str {
    let (name, is_pinned) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !is_pinned && !name.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

/// A limit without a request is requested as well.
fn request_limits(resources: &mut Map) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

fn default_volume(volume: &mut Map) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
        return;
    }
    if let Some(host_path) = fill::part(volume, "hostPath") {
        fill::absent(host_path, "type", "");
    }
    for key in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = fill::part(volume, key) {
            fill::absent(source, "defaultMode", FILE_MODE);
            default_files(source);
        }
    }
    if let Some(iscsi) = fill::part(volume, "iscsi") {
        fill::zero(iscsi, "iscsiInterface", "default");
    }
    let claim = fill::part(volume, "ephemeral").and_then(|source| fill::part(source, "volumeClaimTemplate"));
    if let Some(spec) = claim.and_then(|template| fill::part(template, "spec")) {
        fill::absent(spec, "volumeMode", "Filesystem");
    }
}

/// Fills in the sources of a projected and the items of a downward API volume.
fn default_files(source: &mut Map) {
    let default_items = |source: &mut Map| {
        for item in fill::each(source, "items") {
            if let Some(field) = fill::part(item, "fieldRef") {
                fill::zero(field, "apiVersion", "v1");
            }
        }
    };
    default_items(source);
    for projected in fill::each(source, "sources") {
        if let Some(token) = fill::part(projected, "serviceAccountToken") {
            fill::absent(token, "expirationSeconds", TOKEN_LIFE_S);
        }
        if let Some(downward) = fill::part(projected, "downwardAPI") {
            default_items(downward);
        }
    }
}

/// `podIP` is the first of `podIPs`, `hostIP` the first of `hostIPs`; a node may report either.
pub(super) fn mirror_addresses(object: &mut Value) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    for (one, all) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let single = status.get(one).and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
        let first = status.get(all).and_then(|list| list.get(0)?.get("ip")?.as_str()).map(str::to_owned);
        match (single, first) {
            (None, Some(ip)) => {
                status.insert(one.to_owned(), ip.into());
            }
            (Some(ip), None) => {
                status.insert(all.to_owned(), json!([{ "ip": ip }]));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("app", "Always"),
            ("app:latest", "Always"),
            ("app:v1", "IfNotPresent"),
            ("r.example:5000/app", "Always"),
            ("r.example:5000/app:2", "IfNotPresent"),
            ("app@sha256:0000", "IfNotPresent"),
            ("app:latest@sha256:0000", "Always"),
            ("", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
