//! The status of plugins and bindings as values.

use berth_api::Timestamp;
use berth_json::{Value, json};

use crate::binding::{Served, Trouble};
use crate::components::Components;
use crate::effect::{LoadFailure, Loaded};
use crate::objects::{ComponentKey, Version};

/// Bytes of a message in a status: a plugin's own words may be long, and each is kept twice.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Bytes of a configuration that is remembered: it stands in the object up to three times, whose size is limited. A version
/// with a longer one is forgotten with the server's process.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// A plugin's status: what its component is, why it did not load, or that neither is known yet.
pub(crate) fn plugin(
    object: &Value,
    component: Option<&ComponentKey>,
    result: Option<Result<&Loaded, &LoadFailure>>,
    now: Timestamp,
) -> Value {
    let digest = component.map(|component| component.digest.as_str());
    let mut status = json!({"observedGeneration": object["metadata"]["generation"]});
    let condition = match (digest, result) {
        (None, _) => {
            status["phase"] = "Pending".into();
            ("False", "NoComponent", "no component was uploaded yet".to_owned())
        }
        // What was found out about these bytes before the server was started anew is still true.
        (Some(digest), None) if object["status"]["digest"] == digest => return object["status"].clone(),
        (Some(_), None) => {
            status["phase"] = "Pending".into();
            ("Unknown", "Loading", "the component is being loaded".to_owned())
        }
        (Some(digest), Some(Ok(Loaded { role, size }))) => {
            (status["phase"], status["role"]) = ("Ready".into(), role.name().into());
            (status["digest"], status["size"]) = (digest.into(), (*size).into());
            ("True", "Loaded", format!("the component is a valid {role} policy"))
        }
        (Some(digest), Some(Err(LoadFailure { why, size, .. }))) => {
            let why = sentence(why);
            (status["phase"], status["message"]) = ("Failed".into(), why.as_str().into());
            (status["digest"], status["size"]) = (digest.into(), (*size).into());
            ("False", "LoadFailed", why)
        }
    };
    status["conditions"] = json!([with_time(object, "Ready", condition, now)]);
    status
}

/// A binding's status: what serves its place now, whether that is what it asks for, and what is remembered.
pub(crate) fn binding(object: &Value, served: &Served, components: &Components, now: Timestamp) -> Value {
    let mut status = json!({"observedGeneration": object["metadata"]["generation"]});
    if served.swaps > 0 {
        status["swaps"] = served.swaps.into(); // nothing is stored as zero
    }
    if let Some(serving) = &served.serving {
        let version = &serving.candidate.version;
        status["activePlugin"] = version.plugin.as_str().into();
        status["activeDigest"] = version.component.digest.as_str().into();
    }
    // After a start of the server this is what the policy that served before it asked for.
    let manifest = served.serving.as_ref().map_or(&object["status"]["manifest"], |serving| &serving.manifest);
    if !manifest.is_null() {
        status["manifest"] = manifest.clone();
    }
    let (last_good, failed) = served.memory();
    let fits = |version: &Version| version.config.len() <= CONFIG_BYTES_MAX;
    if let Some(last_good) = last_good.filter(|version| fits(version)) {
        status["lastGood"] = version(last_good);
    }
    if let Some((failed, why)) = failed.filter(|(version, _)| fits(version)) {
        status["failed"] = version(failed);
        status["failed"]["message"] = sentence(why).into();
    }
    let active = active(served, components);
    let bad = served.bad_answer(now).map(sentence);
    if active.0 == "False" {
        status["message"] = active.2.as_str().into();
    } else if let Some(bad) = &bad {
        status["message"] = bad.as_str().into();
    }
    let mut conditions = vec![with_time(object, "Active", active, now)];
    conditions.extend(bad.map(|bad| with_time(object, "Degraded", ("True", "UnusableAnswers", bad), now)));
    status["conditions"] = conditions.into();
    status
}

/// The status of a binding that is not followed.
pub(crate) fn refused(object: &Value, why: &str, now: Timestamp) -> Value {
    let condition = with_time(object, "Active", ("False", "NotInstalled", why.to_owned()), now);
    let generation = &object["metadata"]["generation"];
    json!({"observedGeneration": generation, "message": why, "conditions": [condition]})
}

/// Whether a place is served by what its binding asks for: `Unknown` while that is on its way.
fn active(served: &Served, components: &Components) -> (&'static str, &'static str, String) {
    let wanted = match &served.wanted {
        Ok(wanted) => wanted,
        Err(why) => return ("False", "NotInstalled", why.clone()),
    };
    let plugin = &wanted.version.plugin;
    let no = |reason, why: &str| ("False", reason, sentence(&format!("plugin {plugin}: {why}")));
    if served.wanted_serves() {
        return ("True", "Installed", format!("plugin {plugin} decides"));
    }
    if let Some(why) = served.condemned() {
        return no(
            "PolicyFailed",
            &format!("{why}; it is left alone until the binding or the plugin changes"),
        );
    }
    if let Some(failure) = components.failure(&wanted.version.component) {
        return no("LoadFailed", &format!("it did not load: {}", failure.why));
    }
    match &wanted.trouble {
        Some(Trouble::Refused(why) | Trouble::NotStarted(why)) => no("StartFailed", why),
        Some(Trouble::Fell(why)) => no("PolicyFailed", why),
        None if served.starting.is_some() => {
            ("Unknown", "Starting", format!("plugin {plugin} is being started"))
        }
        None => ("Unknown", "Loading", format!("plugin {plugin} is being loaded")),
    }
}

fn version(version: &Version) -> Value {
    let Version { plugin, component, config } = version;
    let limits = component.limits;
    let limits = json!({
        "memory": limits.memory_bytes.to_string(), "deadline": format!("{}ms", limits.deadline_ms),
    });
    let mut value = json!({"plugin": plugin.as_str(), "digest": component.digest.as_str(), "limits": limits});
    if !config.is_empty() {
        value["config"] = config.as_str().into();
    }
    value
}

/// A text of a plugin's as part of a message: one line, of bounded length.
pub(crate) fn sentence(text: &str) -> String {
    let end = (0..=MESSAGE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let line: String =
        text[..end.unwrap_or(0)].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() { line + "…" } else { line }
}

/// A condition whose transition time stays while its status does.
fn with_time(object: &Value, kind: &str, condition: (&str, &str, String), now: Timestamp) -> Value {
    let (status, reason, message) = condition;
    let before = object["status"]["conditions"].as_array().into_iter().flatten();
    let same = before.filter(|c| c["type"] == kind && c["status"] == status);
    let since = same.filter_map(|c| c["lastTransitionTime"].as_str()).next();
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.map_or_else(|| now.rfc3339(), str::to_owned),
    })
}

/// A merge patch that makes `before` what `after` is.
pub fn with_removals(before: &Value, mut after: Value) -> Value {
    if let (Some(before), Some(patch)) = (before.as_object(), after.as_object_mut()) {
        for (key, old) in before {
            match patch.get_mut(key) {
                Some(new) => *new = with_removals(old, new.take()),
                None => drop(patch.insert(key.clone(), Value::Null)),
            }
        }
    }
    after
}
