//! What a real kube-apiserver answered about definitions and their objects, asked of the functions here: all steps that
//! need no server.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use berth_api::decode::{self, Expected, Finding, MediaType};
use berth_api::resource::Resource;
use berth_api::{Patch, PatchType, Problems, Timestamp};
use berth_custom::{conditions, definitions, kinds_of};
use berth_json::{Value, json};

/// The namespace of the scenarios.
const NAMESPACE: &str = "g-abcdefgh";

/// Where the recordings are: beside the repository.
fn recordings() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-golden");
    let directory = std::env::var_os("BERTH_GOLDEN").map_or_else(beside, PathBuf::from).join("scenarios");
    directory.is_dir().then_some(directory)
}

fn scenario(area: &str, name: &str) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(recordings()?.join(format!("{area}.jsonl"))).unwrap();
    let text = text.replace("{ns}", NAMESPACE);
    let steps = text.lines().map(|line| line.parse::<Value>().unwrap());
    Some(steps.filter(|step| step["scenario"] == name).collect())
}

/// A server without a network: definitions, and the objects of their kinds by path.
#[derive(Default)]
struct World {
    definitions: HashMap<String, Value>,
    objects: HashMap<String, Value>,
}

/// What an answer is compared by.
struct Answer {
    code: u64,
    object: Value,
    warnings: Vec<String>,
    causes: Vec<Value>,
}

impl Answer {
    fn of(object: Value, code: u64, warnings: Vec<String>, problems: Problems) -> Self {
        let causes: Vec<Value> = problems
            .causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        let code = if causes.is_empty() { code } else { 422 };
        Self { code, object, warnings, causes }
    }
}

impl World {
    /// Plays a step; none when it is nothing for functions alone.
    fn play(&mut self, step: &Value) -> Option<Answer> {
        let path = step["path"].as_str().unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let is_dry = query.contains("dryRun=All");
        let resources: Vec<Arc<Resource>> = std::iter::once(definitions())
            .chain(self.definitions.values().flat_map(|definition| kinds_of(definition).unwrap()))
            .filter(|resource| resource.is_served)
            .map(Arc::new)
            .collect();
        let (resource, name, subresource) = resources.iter().find_map(|resource| {
            let root = format!("/apis/{}/{}", resource.group, resource.version);
            let rest = path.strip_prefix(&*root)?;
            let rest = rest.strip_prefix(&*format!("/namespaces/{NAMESPACE}")).unwrap_or(rest);
            let mut parts = rest.trim_start_matches('/').split('/');
            let is_it = parts.next() == Some(&resource.plural);
            is_it.then(|| {
                (
                    resource.clone(),
                    parts.next().unwrap_or_default().to_owned(),
                    parts.next().unwrap_or_default().to_owned(),
                )
            })
        })?;
        let key = |name: &str| format!("{}/{name}", resource.id);
        match step["method"].as_str().unwrap() {
            "POST" if subresource.is_empty() => {
                let mut answer = create(&resource, &step["body"]);
                through_the_store(&resource, &mut answer.object);
                if answer.code == 201 && !is_dry {
                    let name = answer.object["metadata"]["name"].as_str().unwrap();
                    self.keep(&resource, key(name), answer.object.clone());
                }
                Some(answer)
            }
            "PATCH" | "PUT" if matches!(&*subresource, "" | "status") => {
                let mut old = self.found(&resource, &key(&name))?.clone();
                resource.behaviour.to_served(&mut old);
                let new = changed(&resource, &old, step)?;
                let mut answer = update(&resource, new, old, &subresource);
                through_the_store(&resource, &mut answer.object);
                if answer.code == 200 && !is_dry {
                    self.keep(&resource, key(&name), answer.object.clone());
                }
                Some(answer)
            }
            "GET" if subresource.is_empty() && !name.is_empty() && step["headers"].is_null() => {
                let mut object = self.found(&resource, &key(&name))?.clone();
                resource.behaviour.to_served(&mut object);
                let warnings = resource.deprecation.iter().cloned().collect();
                Some(Answer { code: 200, object, warnings, causes: vec![] })
            }
            _ => None,
        }
    }

    fn found(&self, resource: &Resource, key: &str) -> Option<&Value> {
        let definition =
            || self.definitions.get(key.strip_prefix("customresourcedefinitions.apiextensions.k8s.io/")?);
        if resource.group == "apiextensions.k8s.io" { definition() } else { self.objects.get(key) }
    }

    fn keep(&mut self, resource: &Resource, key: String, mut object: Value) {
        if resource.group != "apiextensions.k8s.io" {
            self.objects.insert(key, object);
            return;
        }
        if let Some(status) = conditions(&object, [], Timestamp::from_seconds(0)) {
            object["status"] = status;
        }
        self.definitions.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), object);
    }
}

/// An object as it is when it was stored and read.
fn through_the_store(resource: &Resource, object: &mut Value) {
    resource.behaviour.to_stored(object);
    resource.behaviour.to_served(object);
}

fn create(resource: &Resource, body: &Value) -> Answer {
    let body = body.to_string();
    let decoded = decode::decode(&resource.schema, Expected::of(resource), MediaType::Json, body.as_bytes());
    let decode::Decoded { value: mut object, mut findings } = decoded.unwrap();
    let mut warnings = Vec::new();
    object["metadata"]["generation"] = 1.into();
    if resource.scope == berth_api::resource::Scope::Namespaced {
        object["metadata"]["namespace"] = NAMESPACE.into();
    }
    findings.extend(resource.behaviour.prune(&mut object));
    resource.behaviour.prepare_create(&mut object);
    resource.behaviour.default(&mut object);
    let mut problems = Problems::default();
    resource.behaviour.validate(&object, &mut problems);
    warnings.extend(resource.deprecation.clone());
    warnings.extend(resource.behaviour.warnings(&object));
    warnings.extend(findings.iter().map(Finding::warning));
    Answer::of(object, 201, warnings, problems)
}

/// What a patch or an edit makes of an object.
fn changed(resource: &Resource, old: &Value, step: &Value) -> Option<Value> {
    let mut seen = old.clone();
    if let Some(edits) = step["edit"].as_array() {
        for edit in edits {
            let path = format!("/{}", edit[0].as_str()?.replace('.', "/"));
            let (parent, field) = path.rsplit_once('/')?;
            seen.pointer_mut(parent)?[field] = edit[1].clone();
        }
        return Some(seen);
    }
    let kind = PatchType::of_content_type(step["headers"]["Content-Type"].as_str()?).ok()?;
    if !matches!(kind, PatchType::Json | PatchType::Merge) {
        return None;
    }
    let patch = Patch::parse(kind, step["body"].to_string().as_bytes()).ok()?;
    Some(patch.apply(&resource.schema, &resource.schema_type, &seen).unwrap())
}

fn update(resource: &Resource, mut new: Value, old: Value, subresource: &str) -> Answer {
    let behaviour = &resource.behaviour;
    let findings = behaviour.prune(&mut new);
    let mut problems = Problems::default();
    let mut warnings: Vec<String> = resource.deprecation.iter().cloned().collect();
    if subresource.is_empty() {
        new["metadata"]["generation"] = old["metadata"]["generation"].clone();
        behaviour.prepare_update(&mut new, &old);
        behaviour.default(&mut new);
        behaviour.validate_update(&new, &old, &mut problems);
        warnings.extend(behaviour.update_warnings(&new, &old));
        warnings.append(&mut problems.warnings);
        let without = |object: &Value| {
            let mut object = object.clone();
            object
                .as_object_mut()
                .unwrap()
                .retain(|key, _| key != "metadata" && key != "status" && key != "apiVersion");
            object
        };
        if without(&new) != without(&old) {
            new["metadata"]["generation"] = (old["metadata"]["generation"].as_i64().unwrap() + 1).into();
        }
    } else {
        behaviour.prepare_status(&mut new, &old);
        behaviour.validate_status(&new, &old, &mut problems);
    }
    warnings.extend(findings.iter().map(Finding::warning));
    Answer::of(new, 200, warnings, problems)
}

/// What differs between an answer and the recorded one.
fn difference(step: &Value, answer: &Answer) -> Option<String> {
    let want = &step["want"];
    if want["code"].as_u64() != Some(answer.code) {
        return Some(format!("want {} got {}: {:?}", want["code"], answer.code, answer.causes));
    }
    if answer.code == 422 {
        let mut causes = want["body"]["details"]["causes"].as_array().unwrap().clone();
        let mut got = answer.causes.clone();
        if step["unordered"] == true {
            causes.sort_by_key(Value::to_string);
            got.sort_by_key(Value::to_string);
        }
        let same =
            causes.len() == got.len() && causes.iter().zip(&got).all(|(want, got)| is_same_cause(want, got));
        return (!same).then(|| format!("want {causes:#?}\ngot {got:#?}"));
    }
    let mut wanted = texts(&want["headers"]["Warning"]);
    let mut got: Vec<String> =
        answer.warnings.iter().map(|warning| format!("299 - {}", Value::from(warning.as_str()))).collect();
    wanted.sort();
    got.sort();
    if wanted != got {
        return Some(format!("want warnings {wanted:?} got {got:?}"));
    }
    if step["view"].is_null() {
        for part in ["spec", "status"] {
            let is_compared = part == "spec" || answer.object["kind"] != "CustomResourceDefinition";
            if is_compared && want["body"][part] != answer.object[part] {
                return Some(format!("{part}: want {}\n got {}", want["body"][part], answer.object[part]));
            }
        }
        if want["body"]["metadata"]["generation"] != answer.object["metadata"]["generation"] {
            return Some(format!(
                "generation: want {} got {}",
                want["body"]["metadata"]["generation"], answer.object["metadata"]["generation"]
            ));
        }
    }
    None
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.to_string()],
        Value::Array(list) => list.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Messages show some values as Go does, which the recordings leave out.
fn is_same_cause(want: &Value, got: &Value) -> bool {
    let (wanted, message) = (want["message"].as_str().unwrap(), got["message"].as_str().unwrap());
    let same_message = match wanted.split_once("<value>") {
        Some((before, after)) => message.starts_with(before) && message.ends_with(after),
        None => wanted == message,
    };
    same_message && want["reason"] == got["reason"] && want["field"] == got["field"]
}

/// Plays the scenario, but for the named steps; as many steps as said must be compared.
fn replay(area: &str, name: &str, skipped: &[&str], compared: usize) {
    let Some(steps) = scenario(area, name) else {
        assert!(std::env::var_os("CI").is_none(), "the recordings are not here: set BERTH_GOLDEN");
        return;
    };
    let mut world = World::default();
    let (mut faults, mut count) = (Vec::new(), 0);
    for step in &steps {
        if skipped.iter().any(|skipped| step["step"] == *skipped) {
            continue;
        }
        let Some(answer) = world.play(step) else { continue };
        if step["want"].is_null() {
            continue;
        }
        count += 1;
        if let Some(difference) = difference(step, &answer) {
            faults.push(format!("{}: {difference}", step["step"]));
        }
    }
    assert!(faults.is_empty(), "{area}/{name}:\n{}", faults.join("\n"));
    assert_eq!(count, compared, "{area}/{name}: steps compared");
}

#[test]
fn definitions_that_are_wrong() {
    replay("validation", "crd", &[], 12);
}

#[test]
fn defaults_and_faults() {
    replay(
        "defaulting",
        "custom-resources",
        &[
            "a validation rule",
            "unknown fields, strict",
            "put a null where a default is",
            "removing a defaulted field",
        ],
        9,
    );
}

#[test]
fn keywords_subresources_and_names() {
    replay("custom", "definitions", &["its objects are gone"], 12);
}

#[test]
fn what_was_wrong_may_stay() {
    replay("custom", "ratcheting", &[], 18);
}

#[test]
fn several_versions() {
    replay("custom", "versions", &["another version in the body", "apply through the first"], 15);
}

#[test]
fn fields_to_select_by() {
    replay("custom", "selectable-fields", &[], 7);
}

#[test]
fn rules_that_are_wrong() {
    replay("custom", "cel-definition-errors", &[], 10);
}

#[test]
fn rules() {
    replay("custom", "cel-rules", &[], 13);
}

#[test]
fn rules_about_changes() {
    replay("custom", "cel-transitions", &["a rule on a generated name"], 12);
}

#[test]
fn what_broke_a_rule_may_stay() {
    replay("custom", "ratcheting-rules", &[], 10);
}
