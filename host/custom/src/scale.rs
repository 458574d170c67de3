//! Where a custom resource has what `/scale` shows.

use berth_api::Problems;
use berth_api::resource::ScalePaths;
use berth_json::Value;

/// Reads `subresources` of a version.
pub(crate) fn paths_of(subresources: &Value) -> Option<ScalePaths> {
    let scale = subresources.get("scale")?.as_object()?;
    let path = |name: &str| scale.get(name).and_then(Value::as_str).filter(|path| !path.is_empty());
    Some(ScalePaths {
        spec_replicas: path("specReplicasPath")?.to_owned(),
        status_replicas: path("statusReplicasPath")?.to_owned(),
        label_selector: path("labelSelectorPath").map(str::to_owned),
    })
}

/// Judges the wanted replicas of an object.
pub(crate) fn validate_spec(scale: &ScalePaths, object: &Value, problems: &mut Problems) {
    count(object, &scale.spec_replicas, problems);
}

/// Judges the counted replicas and the selector of an object.
pub(crate) fn validate_status(scale: &ScalePaths, object: &Value, problems: &mut Problems) {
    count(object, &scale.status_replicas, problems);
    let Some(path) = &scale.label_selector else { return };
    match at(object, path) {
        Err(why) => problems.invalid(path, &"".into(), &why),
        Ok(Some(selector)) if !selector.is_string() => {
            problems.invalid(path, &"".into(), &mismatch(path, selector, "string"));
        }
        Ok(_) => {}
    }
}

fn count(object: &Value, path: &str, problems: &mut Problems) {
    let found = match at(object, path) {
        Ok(None) => return,
        Ok(Some(found)) => found,
        Err(why) => return problems.invalid(path, &0.into(), &why),
    };
    match found.as_i64() {
        None => problems.invalid(path, &0.into(), &mismatch(path, found, "int64")),
        Some(..0) => problems.invalid(path, found, "should be a non-negative integer"),
        Some(replicas) if replicas > i64::from(i32::MAX) => {
            problems.invalid(path, found, &format!("should be less than or equal to {}", i32::MAX));
        }
        Some(_) => {}
    }
}

/// The value at a path of plain names; none when it is not there.
fn at<'v>(object: &'v Value, path: &str) -> Result<Option<&'v Value>, String> {
    let mut here = object;
    let mut walked = String::new();
    for name in path.trim_start_matches('.').split('.') {
        let Value::Object(fields) = here else {
            return Err(mismatch(&walked, here, "map[string]interface{}"));
        };
        walked.push('.');
        walked.push_str(name);
        match fields.get(name) {
            Some(value) => here = value,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

fn mismatch(path: &str, found: &Value, wanted: &str) -> String {
    let found_type = match found {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Number(_) if found.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
    };
    let shown = match found {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    };
    format!("{path} accessor error: {shown} is of the type {found_type}, expected {wanted}")
}

#[cfg(test)]
mod tests {
    use berth_api::Problems;
    use berth_json::json;

    use super::{paths_of, validate_spec, validate_status};

    #[test]
    fn what_a_scale_refuses() {
        let subresources = json!({"scale": {
            "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.sel",
        }});
        let scale = paths_of(&subresources).unwrap();
        for (object, message) in [
            (json!({"spec": {"n": 3}, "status": {"n": 3, "sel": "a=b"}}), None),
            (json!({}), None),
            (json!({"spec": {"n": -1}}), Some("Invalid value: -1: should be a non-negative integer")),
            (
                json!({"spec": {"n": "two"}}),
                Some("Invalid value: 0: .spec.n accessor error: two is of the type string, expected int64"),
            ),
            (
                json!({"spec": 1}),
                Some(
                    "Invalid value: 0: .spec accessor error: 1 is of the type int64, expected map[string]interface{}",
                ),
            ),
            (
                json!({"status": {"n": 3_000_000_000_i64}}),
                Some("Invalid value: 3000000000: should be less than or equal to 2147483647"),
            ),
            (
                json!({"status": {"sel": 1}}),
                Some(
                    "Invalid value: \"\": .status.sel accessor error: 1 is of the type int64, expected string",
                ),
            ),
        ] {
            let mut problems = Problems::default();
            validate_spec(&scale, &object, &mut problems);
            validate_status(&scale, &object, &mut problems);
            let got = problems.causes.first().map(|cause| &*cause.message);
            assert_eq!(got, message, "{object}");
        }
    }
}
