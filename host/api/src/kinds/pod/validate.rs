//! What a pod and a pod template must satisfy, in the order in which the API server checks it.

use std::collections::BTreeSet;

use berth_json::Value;

use super::{containers, env, placement, resources, security, volumes};
use crate::kinds::cursor::Cursor;
use crate::kinds::meta::{one_of, reject, validate_annotations, validate_labels, validate_meta};
use crate::kinds::names;
use crate::resource::Scope;
use crate::status::Problems;

/// As many name servers as a resolver's configuration may hold.
const NAME_SERVERS_MAX: usize = 3;
/// As many search domains as a resolver's configuration may hold.
const SEARCHES_MAX: usize = 32;
/// As many bytes as all search domains may have together, spaces included.
const SEARCHES_BYTES_MAX: usize = 2048;

/// The longest name that Linux lets a host have.
const HOSTNAME_LENGTH_MAX: usize = 64;

/// Checks a new pod.
pub(super) fn validate(object: &Value, problems: &mut Problems) {
    validate_pod(object, problems);
    let spec = Cursor::top(object, "spec");
    if !spec.child("ephemeralContainers").is_empty() {
        problems.forbidden(spec.child("ephemeralContainers"), "cannot be set on create");
    }
    if !spec.child("nodeName").is_empty() && !spec.child("schedulingGates").is_empty() {
        problems
            .forbidden(spec.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// What holds for new and for changed pods.
pub(super) fn validate_pod(object: &Value, problems: &mut Problems) {
    validate_meta(object, Scope::Namespaced, names::subdomain_1123, problems);
    let spec = Cursor::top(object, "spec");
    validate_spec(&spec, problems);
    if spec.child("serviceAccountName").is_empty() {
        refuse_tokens(&spec, problems);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.child(list).items() {
            let image = container.child("image");
            if image.text().trim() != image.text() {
                problems.invalid(image, image.value(), "must not have leading or trailing whitespace");
            }
        }
    }
}

/// Checks the template of a workload; the API server leaves `metadata` out of its paths.
pub(in crate::kinds) fn validate_template(template: &Cursor<'_>, problems: &mut Problems) {
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    validate_labels(&Cursor::named(&format!("{template}.labels"), labels.value()), problems);
    let annotations = metadata.child("annotations");
    validate_annotations(&Cursor::named(&format!("{template}.annotations"), annotations.value()), problems);
    let spec = template.child("spec");
    validate_spec(&spec, problems);
    if !spec.child("ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        problems.forbidden(spec.child("ephemeralContainers"), detail);
    }
}

fn validate_spec(spec: &Cursor<'_>, problems: &mut Problems) {
    volumes::validate_volumes(&spec.child("volumes"), problems);
    containers::validate_all(spec, problems);
    if spec.child("resources").exists() {
        resources::validate_requirements(&spec.child("resources"), problems);
    }
    one_of(&spec.child("restartPolicy"), &["Always", "OnFailure", "Never"], problems);
    let dns_policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(&spec.child("dnsPolicy"), &dns_policies, problems);
    validate_labels(&spec.child("nodeSelector"), problems);
    security::validate_pod_context(spec, problems);
    placement::validate_affinity(&spec.child("affinity"), problems);
    validate_dns_config(spec, problems);
    validate_gates(spec, problems);
    placement::validate_spread(&spec.child("topologySpreadConstraints"), problems);
    security::validate_host_users(spec, problems);
    validate_hostname_override(spec, problems);
    validate_references(spec, problems);
    validate_identity(spec, problems);
    placement::validate_tolerations(&spec.child("tolerations"), problems);
    validate_host_aliases(&spec.child("hostAliases"), problems);
    for key in ["priorityClassName", "runtimeClassName"] {
        let name = spec.child(key);
        if !name.is_empty() {
            reject(&name, names::subdomain_1123(name.text()), problems);
        }
    }
    if spec.child("preemptionPolicy").exists() {
        one_of(&spec.child("preemptionPolicy"), &["PreemptLowerPriority", "Never"], problems);
    }
    security::validate_os(spec, problems);
    for list in ["initContainers", "containers"] {
        for container in spec.child(list).items() {
            env::validate_file_volumes(&container.child("env"), &spec.child("volumes"), problems);
        }
    }
}

/// Names of the objects that a pod refers to, and its own deadline.
fn validate_references(spec: &Cursor<'_>, problems: &mut Problems) {
    for key in ["serviceAccountName", "nodeName"] {
        let name = spec.child(key);
        if !name.is_empty() {
            reject(&name, names::subdomain_1123(name.text()), problems);
        }
    }
    let deadline = spec.child("activeDeadlineSeconds");
    if let Some(seconds) = deadline.int() {
        reject(&deadline, names::in_range(seconds, 1, i64::from(i32::MAX)), problems);
    }
}

/// A name of any form a host may have, in place of `hostname` and `subdomain`.
fn validate_hostname_override(spec: &Cursor<'_>, problems: &mut Problems) {
    let name = spec.child("hostnameOverride");
    if !name.exists() {
        return;
    }
    for key in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.child(key).is_true() {
            problems.forbidden(name, &format!("may not be specified when {key} is true"));
        }
    }
    if name.text().len() > HOSTNAME_LENGTH_MAX {
        problems.too_long(name, &format!("may not be more than {HOSTNAME_LENGTH_MAX} bytes"));
    }
    reject(&name, names::subdomain_1123(name.text()), problems);
}

/// The name the pod goes by inside.
fn validate_identity(spec: &Cursor<'_>, problems: &mut Problems) {
    for key in ["hostname", "subdomain"] {
        let name = spec.child(key);
        if !name.is_empty() {
            reject(&name, names::label_1123(name.text()), problems);
        }
    }
}

fn refuse_tokens(spec: &Cursor<'_>, problems: &mut Problems) {
    for volume in spec.child("volumes").items() {
        let projected = volume.child("projected");
        for source in projected.child("sources").items() {
            if source.child("serviceAccountToken").exists() {
                let detail = "must not be specified when serviceAccountName is not set";
                problems.forbidden(source.child("serviceAccountToken"), detail);
            }
        }
    }
}

fn validate_gates(spec: &Cursor<'_>, problems: &mut Problems) {
    for gate in spec.child("readinessGates").items() {
        let condition = gate.child("conditionType");
        reject(&condition, names::qualified_name(condition.text()), problems);
    }
    let mut seen = BTreeSet::new();
    for gate in spec.child("schedulingGates").items() {
        let name = gate.child("name").text().to_owned();
        for fault in names::qualified_name(&name) {
            problems.invalid(gate, &name.as_str().into(), &fault);
        }
        if seen.contains(&name) {
            problems.duplicate(gate, &name.into());
        } else {
            seen.insert(name);
        }
    }
}

fn validate_dns_config(spec: &Cursor<'_>, problems: &mut Problems) {
    let config = spec.child("dnsConfig");
    let (servers, searches, options) =
        (config.child("nameservers"), config.child("searches"), config.child("options"));
    if spec.child("dnsPolicy").text() == "None" {
        if !config.exists() {
            problems.required(config, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            problems.required(servers, "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if servers.list().len() > NAME_SERVERS_MAX {
        let detail = format!("must not have more than {NAME_SERVERS_MAX} nameservers");
        problems.invalid(servers, servers.value(), &detail);
    }
    for server in servers.items() {
        reject(&server, names::ip_address(server.text()), problems);
    }
    if searches.list().len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        problems.invalid(searches, searches.value(), &detail);
    }
    let bytes: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if bytes > SEARCHES_BYTES_MAX + 1 {
        let detail = format!(
            "must not have more than {SEARCHES_BYTES_MAX} characters (including spaces) in the search list"
        );
        problems.invalid(searches, searches.value(), &detail);
    }
    for search in searches.items() {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        reject(&search, names::subdomain_1123(name), problems);
    }
    for option in options.items().filter(|option| option.child("name").is_empty()) {
        problems.required(option, "must not be empty");
    }
}

fn validate_host_aliases(aliases: &Cursor<'_>, problems: &mut Problems) {
    for alias in aliases.items() {
        let ip = alias.child("ip");
        reject(&ip, names::ip_address(ip.text()), problems);
        for name in alias.child("hostnames").items() {
            reject(&name, names::subdomain_1123(name.text()), problems);
        }
    }
}
