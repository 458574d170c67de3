//! Built-in policy: labels and annotations that objects must have, must not have, or get by default.

use std::collections::BTreeMap;

use berth_sdk::admission::{Admission, Manifest, Operation, Request, Rule, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What its configuration says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    #[serde(default = "namespaces")]
    resources: Vec<Named>,
    #[serde(default)]
    required: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    forbidden: Vec<String>,
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    immutable: Vec<String>,
    #[serde(default)]
    exempt_namespaces: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    group: String,
    resource: String,
}

fn namespaces() -> Vec<Named> {
    vec![Named { group: String::new(), resource: "namespaces".to_owned() }]
}

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "resources": {
      "description": "Which objects: by default namespaces.",
      "type": "array", "minItems": 1, "maxItems": 64,
      "items": {
        "type": "object", "required": ["resource"],
        "properties": {
          "group": {"description": "API group; empty for the core group.", "type": "string"},
          "resource": {"description": "Plural, such as `deployments`.", "type": "string", "minLength": 1}
        }
      }
    },
    "required": {
      "description": "Labels that objects must have, each with the values that it may have; no values: any but an empty one.",
      "type": "object",
      "additionalProperties": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 63}}
    },
    "forbidden": {"description": "Labels that objects must not have.", "type": "array", "items": {"type": "string", "minLength": 1}},
    "defaults": {
      "description": "Labels that objects without them get.",
      "type": "object", "additionalProperties": {"type": "string", "maxLength": 63}
    },
    "immutable": {
      "description": "Labels that keep the value they came into being with.",
      "type": "array", "items": {"type": "string", "minLength": 1}
    },
    "exemptNamespaces": {"description": "Namespaces whose objects may have any labels.", "type": "array", "items": {"type": "string", "minLength": 1}}
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct LabelPolicy(Config);

impl Admission for LabelPolicy {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let config: Config = berth_sdk::config(config)?;
        let mut manifest = Manifest::new("label-policy", env!("CARGO_PKG_VERSION"));
        for Named { group, resource } in &config.resources {
            manifest = manifest.asks_about(Rule::of(group, resource).on_create().on_update());
        }
        if !config.defaults.is_empty() {
            manifest = manifest.mutates_again();
        }
        Ok((Self(config), manifest))
    }

    fn review(&self, request: &Request) -> Verdict {
        let config = &self.0;
        if config.exempt_namespaces.iter().any(|name| *name == request.namespace || is_itself(request, name))
        {
            return Verdict::allow();
        }
        let mut object = request.object().clone();
        let added = add_defaults(&config.defaults, &mut object);
        let nothing = Map::new();
        let labels = object["metadata"]["labels"].as_object().unwrap_or(&nothing);
        let mut wrong = Vec::new();
        for (key, values) in &config.required {
            let value = labels.get(key).and_then(Value::as_str).unwrap_or_default();
            if value.is_empty() {
                wrong.push(format!("the label {key} is missing{}", one_of(values)));
            } else if !values.is_empty() && !values.iter().any(|allowed| allowed == value) {
                wrong.push(format!("the label {key} is {value}{}", one_of(values)));
            }
        }
        for key in config.forbidden.iter().filter(|key| labels.contains_key(*key)) {
            wrong.push(format!("the label {key} is not allowed"));
        }
        if request.operation == Operation::Update {
            let before = &request.old_object()["metadata"]["labels"];
            for key in config.immutable.iter().filter(|key| before.get(*key) != labels.get(*key)) {
                wrong.push(format!("the label {key} cannot change"));
            }
        }
        match (wrong.is_empty(), added) {
            (false, _) => Verdict::deny(wrong.join("; ")),
            (true, true) => Verdict::become_of(request, &object),
            (true, false) => Verdict::allow(),
        }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

fn is_itself(request: &Request, name: &str) -> bool {
    request.resource == "namespaces" && request.group.is_empty() && request.name == name
}

fn one_of(values: &[String]) -> String {
    if values.is_empty() { String::new() } else { format!(" and must be one of {}", values.join(", ")) }
}

/// Whether any was added.
fn add_defaults(defaults: &BTreeMap<String, String>, object: &mut Value) -> bool {
    let missing: Vec<_> =
        defaults.iter().filter(|(key, _)| object["metadata"]["labels"].get(*key).is_none()).collect();
    for (key, value) in &missing {
        object["metadata"]["labels"][key.as_str()] = json!(value);
    }
    !missing.is_empty()
}

berth_sdk::export!(LabelPolicy as admission);

#[cfg(test)]
mod tests;
