//! The status of plugins and bindings as values.

use berth_api::Timestamp;
use berth_json::{Value, json};

/// What serves a profile.
pub(super) struct Active<'a> {
    pub(super) plugin: &'a str,
    pub(super) digest: &'a str,
}

/// A plugin's status after an attempt to load `digest`: its role, or why it did not load.
pub(super) fn plugin(
    object: &Value,
    digest: &str,
    size: usize,
    outcome: Result<String, String>,
    now: Timestamp,
) -> Value {
    let mut status =
        json!({"observedGeneration": object["metadata"]["generation"], "digest": digest, "size": size});
    let condition = match outcome {
        Ok(role) => {
            status["phase"] = "Ready".into();
            status["role"] = role.as_str().into();
            ("True", "Loaded", format!("the component is a valid {role} policy"))
        }
        Err(why) => {
            status["phase"] = "Failed".into();
            status["message"] = why.as_str().into();
            ("False", "LoadFailed", why)
        }
    };
    status["conditions"] = json!([with_time(object, "Ready", condition, now)]);
    status
}

/// A binding's status: what serves, and what is wrong if anything is.
pub(super) fn binding(
    object: &Value,
    active: Option<Active<'_>>,
    swaps: i64,
    trouble: Option<(&str, &str)>,
    now: Timestamp,
) -> Value {
    let mut status = json!({"observedGeneration": object["metadata"]["generation"], "swaps": swaps});
    if let Some(active) = &active {
        status["activePlugin"] = active.plugin.into();
        status["activeDigest"] = active.digest.into();
    }
    let condition = match (trouble, active) {
        (Some((reason, text)), _) => {
            status["message"] = text.into();
            ("False", reason, text.to_owned())
        }
        (None, Some(active)) => {
            ("True", "Installed", format!("plugin {} serves this profile", active.plugin))
        }
        (None, None) => ("False", "NotInstalled", "no plugin serves this profile".to_owned()),
    };
    status["conditions"] = json!([with_time(object, "Active", condition, now)]);
    status
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

/// Makes a merge patch take away what the new status lacks.
pub(super) fn remove_absent(before: &Value, patch: &mut Value) {
    let (Some(before), Some(patch)) = (before.as_object(), patch.as_object_mut()) else { return };
    for key in before.keys() {
        patch.entry(key.clone()).or_insert(Value::Null);
    }
}
