//! A configuration and the schema that its component has for it.

use std::sync::Arc;

use berth_api::Problems;
use berth_custom::{Structural, prune, validate};
use berth_json::{Value, json};
use berth_lifecycle::{Component, StartFailure};

/// Refuses a configuration that the component's own schema does not allow, with all that is wrong. One that is empty is `{}`.
pub(super) fn check(component: &Arc<dyn Component>, config: &str) -> Result<(), StartFailure> {
    let schema = component.config_schema()?;
    if schema.is_empty() {
        return Ok(());
    }
    let unusable = |why: String| {
        StartFailure::Refused(format!("the plugin's schema of its configuration cannot be used: {why}"))
    };
    let schema: Value = serde_json::from_str(&schema).map_err(|why| unusable(why.to_string()))?;
    let schema = Structural::parse(&schema).map_err(|why| unusable(why.to_string()))?;
    let mut value = match config {
        "" => json!({}),
        text => serde_json::from_str(text)
            .map_err(|why| StartFailure::Refused(format!("spec.config is not JSON: {why}")))?,
    };
    let mut problems = Problems::default();
    validate(&schema, &value, None, &mut problems);
    let unknown = prune(&schema, &mut value).into_iter().map(|finding| finding.warning());
    let wrong = (!problems.is_empty()).then(|| problems.text());
    let all: Vec<String> = wrong.into_iter().chain(unknown).collect();
    match all.is_empty() {
        true => Ok(()),
        false => Err(StartFailure::Refused(format!(
            "spec.config is not what the plugin takes: {}",
            all.join("; ")
        ))),
    }
}
