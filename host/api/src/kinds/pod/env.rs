//! Environment variables, and references to a pod's fields and a container's resources.

use super::containers::no_backsteps;
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::reject;
use crate::kinds::names;
use crate::status::Problems;

/// The fields of a pod that a variable may show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields of a pod that a file of a downward API volume may show.
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The fields of a pod that have a name here at all.
const KNOWN_FIELDS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.host",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const CPU_DIVISORS: [&str; 3] = ["0", "1m", "1"];
const MEMORY_DIVISORS: [&str; 14] =
    ["0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Checks a container's `env`.
pub(super) fn validate_env(variables: &Cursor<'_>, problems: &mut Problems) {
    for variable in variables.items() {
        let name = variable.child("name");
        if name.is_empty() {
            problems.required(name, "");
        } else {
            reject(&name, names::env_name(name.text()), problems);
        }
        let source = variable.child("valueFrom");
        if source.exists() {
            validate_source(&source, !variable.child("value").is_empty(), problems);
        }
    }
}

fn validate_source(source: &Cursor<'_>, has_value: bool, problems: &mut Problems) {
    let (field, resource) = (source.child("fieldRef"), source.child("resourceFieldRef"));
    if field.exists() {
        validate_field(&field, &ENV_FIELDS, problems);
    }
    if resource.exists() {
        validate_resource(&resource, problems);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if source.child(key).exists() {
            validate_key(&source.child(key), problems);
        }
    }
    if source.child("fileKeyRef").exists() {
        validate_file_key(&source.child("fileKeyRef"), problems);
    }
    let detail = match source.map().map_or(0, berth_json::Map::len) {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    problems.invalid(source, &"".into(), detail);
}

/// Checks a reference to one of the pod's own fields; `allowed` depends on where it stands.
pub(super) fn validate_field(reference: &Cursor<'_>, allowed: &[&str], problems: &mut Problems) {
    let (version, path) = (reference.child("apiVersion"), reference.child("fieldPath"));
    for part in [version, path] {
        if part.is_empty() {
            problems.required(part, "");
            return;
        }
    }
    let refuse = |why: String, problems: &mut Problems| {
        problems.invalid(path, path.value(), &format!("error converting fieldPath: {why}"));
    };
    if version.text() != "v1" {
        return refuse(format!("unsupported pod version: {}", version.text()), problems);
    }
    if let Some((field, subscript)) = subscripted(path.text()) {
        let key = match field {
            "metadata.annotations" => subscript.to_lowercase(),
            "metadata.labels" => subscript.to_owned(),
            _ => return refuse(format!("field label does not support subscript: {}", path.text()), problems),
        };
        for fault in names::qualified_name(&key) {
            problems.invalid(reference, &key.as_str().into(), &fault);
        }
        return;
    }
    if !KNOWN_FIELDS.contains(&path.text()) {
        return refuse(format!("field label not supported: {}", path.text()), problems);
    }
    let field = if path.text() == "spec.host" { "spec.nodeName" } else { path.text() };
    if !allowed.contains(&field) {
        problems.not_supported(path, &field.into(), allowed);
    }
}

/// Splits `metadata.labels['key']` into `metadata.labels` and `key`.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(field, _)| !field.is_empty())
}

/// Checks a reference to a container's request or limit.
pub(super) fn validate_resource(reference: &Cursor<'_>, problems: &mut Problems) {
    let (resource, divisor) = (reference.child("resource"), reference.child("divisor"));
    let name = resource.text();
    if resource.is_empty() {
        problems.required(resource, "");
    } else if !RESOURCES.contains(&name) && !is_huge_pages(name) {
        problems.not_supported(resource, resource.value(), &RESOURCES);
    }
    let kind = name.split_once('.').map_or("", |(_, kind)| kind);
    let wrong = |allowed: &[&str]| !divisor.is_empty() && !allowed.contains(&divisor.text());
    if kind == "cpu" && wrong(&CPU_DIVISORS) {
        let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
        problems.invalid(divisor, &name.into(), detail);
    } else if matches!(kind, "memory" | "ephemeral-storage") && wrong(&MEMORY_DIVISORS) {
        let detail = format!(
            "only divisor's values {} are supported with the {kind} resource",
            MEMORY_DIVISORS[1..].join(", ")
        );
        problems.invalid(divisor, &name.into(), &detail);
    }
}

fn is_huge_pages(resource: &str) -> bool {
    resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-")
}

fn validate_key(reference: &Cursor<'_>, problems: &mut Problems) {
    let (name, key) = (reference.child("name"), reference.child("key"));
    reject(&name, names::subdomain_1123(name.text()), problems);
    if key.is_empty() {
        problems.required(key, "");
    } else {
        reject(&key, names::config_key(key.text()), problems);
    }
}

fn validate_file_key(reference: &Cursor<'_>, problems: &mut Problems) {
    let (key, volume, path) =
        (reference.child("key"), reference.child("volumeName"), reference.child("path"));
    if key.is_empty() {
        problems.required(key, "");
    } else {
        reject(&key, names::env_name(key.text()), problems);
    }
    if volume.is_empty() {
        problems.required(volume, "");
    } else {
        reject(&volume, names::label_1123(volume.text()), problems);
    }
    if path.is_empty() {
        problems.required(path, "");
    } else {
        no_backsteps(&path.path(), path.text(), problems);
    }
}

/// Checks that a file with variables lies in one of the pod's emptyDirs.
pub(super) fn validate_file_volumes(variables: &Cursor<'_>, volumes: &Cursor<'_>, problems: &mut Problems) {
    for variable in variables.items() {
        let source = variable.child("valueFrom");
        let reference = source.child("fileKeyRef");
        if !reference.exists() {
            continue;
        }
        let name = reference.child("volumeName");
        match volumes.items().find(|volume| volume.child("name").text() == name.text()) {
            None => problems.not_found(name, &name.text().into()),
            Some(volume) if !volume.child("emptyDir").exists() => {
                problems.invalid(name, name.value(), "referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
}

/// Checks a container's `envFrom`; the API server names the list, not the item, when the sources are wrong in number.
pub(super) fn validate_env_from(sources: &Cursor<'_>, problems: &mut Problems) {
    for source in sources.items() {
        let prefix = source.child("prefix");
        if !prefix.is_empty() {
            reject(&prefix, names::env_name(prefix.text()), problems);
        }
        let mut found = 0;
        for key in ["configMapRef", "secretRef"] {
            let reference = source.child(key);
            if !reference.exists() {
                continue;
            }
            found += 1;
            let name = reference.child("name");
            if name.is_empty() {
                problems.required(name, "");
            } else {
                reject(&name, names::subdomain_1123(name.text()), problems);
            }
        }
        match found {
            0 => problems.invalid(sources, &"".into(), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => {
                problems.invalid(sources, &"".into(), "may not have more than one field specified at a time")
            }
        }
    }
}
