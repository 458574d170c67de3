//! What a definition must satisfy as a whole.

use berth_api::Problems;
use berth_api::kinds::cursor::Cursor;
use berth_api::kinds::meta::as_go;
use berth_api::kinds::names::subdomain_1123;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_json::Value;

use super::parts::{self, Parts};
use super::view::{self, Part, said, shared};
use super::{names, status};
use crate::names::label_1035;

/// How many versions a kind may have: each is compiled and kept. Those in use have a handful.
const VERSIONS_MAX: usize = 32;

/// Judges the spec and the status of a definition, against what it was when it is changed.
pub(super) fn validate(definition: &Value, old: Option<&Value>, problems: &mut Problems) {
    let spec = Cursor::top(definition, "spec");
    let count = list_at(definition, "spec.versions").len();
    if count > VERSIONS_MAX {
        return problems.too_many("spec.versions", count, VERSIONS_MAX);
    }
    group(&spec.child("group"), problems);
    one_of(&spec.child("scope"), &["Cluster", "Namespaced"], problems);
    schemas_are_there(definition, &spec, problems);
    let keeps_unknown = spec.child("preserveUnknownFields");
    if keeps_unknown.is_true() && view::schemas(definition).any(super::schema::has_default) {
        let detail = "must be false in order to use defaults in the schema";
        problems.invalid(keeps_unknown, &true.into(), detail);
    }
    versions(definition, &spec, problems);
    required_names(&spec, problems);
    names::validate(definition, "spec.names", problems);
    let has_status = list_at(definition, "spec.versions")
        .iter()
        .any(|version| version.pointer("/subresources/status").is_some_and(|status| !status.is_null()));
    let of_all = |part: Part| shared(definition, part).unwrap_or(&Value::Null);
    parts::validate(&Parts::shared(of_all, has_status), problems);
    conversion(&spec.child("conversion"), problems);
    if let Some(old) = old {
        immutable(definition, old, problems);
    }
    names::validate(definition, "status.acceptedNames", problems);
    stored_versions(definition, problems);
    approval(definition, old, problems);
    if keeps_unknown.is_true() && !old.is_some_and(|old| old["spec"]["preserveUnknownFields"] == true) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        problems.invalid(keeps_unknown, &true.into(), detail);
    }
}

fn group(group: &Cursor<'_>, problems: &mut Problems) {
    let faults = subdomain_1123(group.text());
    if group.is_empty() {
        problems.required(group, "");
    } else if !faults.is_empty() {
        problems.invalid(group, group.value(), &faults.join(","));
    } else if !group.text().contains('.') {
        problems.invalid(group, group.value(), "should be a domain with at least one dot");
    }
}

fn one_of(at: &Cursor<'_>, words: &[&str], problems: &mut Problems) {
    if at.is_empty() {
        problems.required(at, "");
    } else if !words.contains(&at.text()) {
        problems.not_supported(at, at.value(), words);
    }
}

fn schemas_are_there(definition: &Value, spec: &Cursor<'_>, problems: &mut Problems) {
    let is_there = |version: &Value| version.pointer("/schema/openAPIV3Schema").is_some_and(|s| !s.is_null());
    let versions = list_at(definition, "spec.versions");
    for version in spec.child("versions").items().filter(|_| !versions.iter().all(is_there)) {
        if !is_there(version.value()) {
            problems.required(version.child("schema").child("openAPIV3Schema"), "");
        }
    }
}

fn versions(definition: &Value, spec: &Cursor<'_>, problems: &mut Problems) {
    let versions = spec.child("versions");
    let is_shared = |part| shared(definition, part).is_some();
    let alone = |version, part| if is_shared(part) { &Value::Null } else { said(version, part) };
    let mut seen = std::collections::BTreeSet::new();
    let (mut are_unique, mut stored) = (true, 0);
    for version in versions.items() {
        let name = version.child("name");
        stored += usize::from(version.child("storage").is_true());
        are_unique &= seen.insert(name.text().to_owned());
        names::label_of_list(&name, problems);
        let (warning, deprecated) =
            (version.child("deprecationWarning"), version.child("deprecated").is_true());
        for fault in deprecation_faults(&warning, deprecated) {
            problems.invalid(warning, warning.value(), &fault);
        }
        let value = version.value();
        let has_status = value.pointer("/subresources/status").is_some_and(|status| !status.is_null());
        parts::validate(&Parts::of_version(&version, |part| alone(value, part), has_status), problems);
    }
    if !are_unique {
        problems.invalid(versions, &as_go(versions.value()), "must contain unique version names");
    }
    if stored != 1 {
        let none = Value::Array(Vec::new());
        let shown = if versions.exists() { as_go(versions.value()) } else { none };
        problems.invalid(versions, &shown, "must have exactly one version marked as storage version");
    }
    if let Some(first) = versions.items().next() {
        let faults = label_1035(first.child("name").text());
        if !faults.is_empty() && !first.child("name").is_empty() {
            problems.invalid("spec.version", first.child("name").value(), &faults.join(","));
        }
    }
}

/// The longest warning that a header of an answer should carry.
const DEPRECATION_WARNING_BYTES_MAX: usize = 256;

fn deprecation_faults(warning: &Cursor<'_>, is_deprecated: bool) -> Vec<String> {
    if !warning.exists() {
        return Vec::new();
    }
    if !is_deprecated {
        return vec!["can only be set for deprecated versions".to_owned()];
    }
    let mut faults = Vec::new();
    if warning.text().len() > DEPRECATION_WARNING_BYTES_MAX {
        faults.push(format!("must be <= {DEPRECATION_WARNING_BYTES_MAX} characters long"));
    }
    if warning.text().is_empty() {
        faults.push("must not be an empty string".to_owned());
    }
    let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if let Some((at, _)) = warning.text().char_indices().find(|(_, c)| unprintable(*c)) {
        faults.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
    faults
}

fn required_names(spec: &Cursor<'_>, problems: &mut Problems) {
    let names = spec.child("names");
    for name in ["plural", "singular", "kind", "listKind"] {
        if names.child(name).is_empty() {
            problems.required(names.child(name), "");
        }
    }
}

/// Which versions of the conversion protocol there are.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// What converts objects between versions. Webhooks are not called: of a definition that has one, the stored version alone
/// is served (`kinds_of`).
fn conversion(conversion: &Cursor<'_>, problems: &mut Problems) {
    const CLIENT: &str = "spec.conversion.webhookClientConfig";
    const REVIEWS: &str = "spec.conversion.conversionReviewVersions";
    let strategy = conversion.child("strategy");
    if conversion.exists() {
        one_of(&strategy, &["None", "Webhook"], problems);
    }
    let webhook = conversion.child("webhook");
    let (client, reviews) = (webhook.child("clientConfig"), webhook.child("conversionReviewVersions"));
    if strategy.text() != "Webhook" {
        let said = [(CLIENT, client.exists()), (REVIEWS, !reviews.is_empty())];
        for (path, _) in said.into_iter().filter(|(_, is_said)| *is_said) {
            problems.forbidden(path, "should not be set when strategy is not set to Webhook");
        }
        return;
    }
    if !client.exists() {
        problems.required(CLIENT, "required when strategy is set to Webhook");
    } else if client.child("url").exists() == client.child("service").exists() {
        problems.required(CLIENT, "exactly one of url or service is required");
    }
    if reviews.is_empty() {
        problems.required(REVIEWS, "");
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (at, version) in reviews.list().iter().enumerate() {
        let text = version.as_str().unwrap_or_default();
        let path = format!("{REVIEWS}[{at}]");
        if !seen.insert(text) {
            problems.invalid(path, version, "duplicate version");
            continue;
        }
        label_1035(text).iter().for_each(|fault| problems.invalid(path.as_str(), version, fault));
    }
    if !REVIEW_VERSIONS.into_iter().any(|version| seen.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        problems.invalid(REVIEWS, reviews.value(), &detail);
    }
}

fn immutable(new: &Value, old: &Value, problems: &mut Problems) {
    let established = ["spec.scope", "spec.names.kind"];
    let always = ["spec.group", "spec.names.plural"];
    let kept = established.into_iter().filter(|_| status::is_true(old, "Established")).chain(always);
    for path in kept.filter(|path| str_at(new, path) != str_at(old, path)) {
        problems.invalid(path, &str_at(new, path).into(), "field is immutable");
    }
}

fn stored_versions(definition: &Value, problems: &mut Problems) {
    const PATH: &str = "status.storedVersions";
    let stored = list_at(definition, PATH);
    let versions = list_at(definition, "spec.versions");
    if stored.is_empty() {
        problems.invalid(PATH, &Value::Null, "must have at least one stored version");
        return;
    }
    // A name that stands twice among the versions is found once, as by the API server.
    let mut found = std::collections::BTreeSet::new();
    for version in versions {
        let is_found = stored.contains(&version["name"]) && found.insert(str_at(version, "name"));
        if version["storage"] == true && !is_found {
            let detail = format!("must have the storage version {}", str_at(version, "name"));
            problems.invalid(PATH, &stored.into(), &detail);
        }
    }
    for (at, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let name_text = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {name_text} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name_text} and \
                 removes {name_text} from status.storedVersions"
            );
            problems.invalid(format!("{PATH}[{at}]"), name, &detail);
        }
    }
}

const APPROVAL: &str = "api-approved.kubernetes.io";

#[derive(PartialEq)]
enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

fn approval_of(definition: &Value) -> (Approval, &str) {
    let annotations = at(definition, "metadata.annotations");
    let text = annotations.and_then(|all| all.get(APPROVAL)).and_then(Value::as_str).unwrap_or_default();
    let is_url = text
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'));
    let approval = match text {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed,
        _ if is_url => Approval::Approved,
        _ => Approval::Invalid,
    };
    (approval, text)
}

/// Groups of the Kubernetes project say who approved their kinds.
fn approval(definition: &Value, old: Option<&Value>, problems: &mut Problems) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = str_at(definition, "spec.group");
    let is_protected = ["k8s.io", "kubernetes.io"]
        .into_iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let (approval, text) = approval_of(definition);
    if !is_protected || old.is_some_and(|old| approval_of(old).0 == approval) {
        return;
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    match approval {
        Approval::Approved | Approval::Bypassed => {}
        Approval::Missing => {
            let detail = format!("protected groups must have approval annotation \"{APPROVAL}\", {SEE}");
            problems.required(field, &detail);
        }
        Approval::Invalid => {
            let detail = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason \
                 starting with \"unapproved\", {SEE}"
            );
            problems.invalid(field, &text.into(), &detail);
        }
    }
}
