//! Built-in policy: requests and limits for containers that have none.
//!
//! As a LimitRange does it: a container's own words stand; a limit that is given is the request, too, unless the configuration
//! has another.

use std::collections::BTreeMap;

use berth_sdk::admission::{Admission, Manifest, Request, Rule, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

/// Quantities by the names of resources.
type Quantities = BTreeMap<String, String>;

/// What its configuration says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    #[serde(default = "requests")]
    requests: Quantities,
    #[serde(default)]
    limits: Quantities,
    #[serde(default = "exempt")]
    exempt_namespaces: Vec<String>,
}

/// Enough that a pod without wishes is placed where there is room, little enough that it is placed.
fn requests() -> Quantities {
    [("cpu", "100m"), ("memory", "128Mi")]
        .map(|(name, quantity)| (name.to_owned(), quantity.to_owned()))
        .into()
}

fn exempt() -> Vec<String> {
    vec!["kube-system".to_owned()]
}

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "requests": {
      "description": "What a container requests that says nothing of a resource: by default 100m of cpu and 128Mi of memory.",
      "type": "object", "maxProperties": 32,
      "additionalProperties": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
    },
    "limits": {
      "description": "What a container is limited to that says nothing of a resource: by default nothing.",
      "type": "object", "maxProperties": 32,
      "additionalProperties": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
    },
    "exemptNamespaces": {
      "description": "Namespaces whose pods stay as they are: by default kube-system.",
      "type": "array", "items": {"type": "string", "minLength": 1}
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct LimitsDefaulter(Config);

impl Admission for LimitsDefaulter {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let config: Config = berth_sdk::config(config)?;
        let pods = Rule::of("", "pods").on_create();
        let manifest = Manifest::new("limits-defaulter", env!("CARGO_PKG_VERSION"));
        Ok((Self(config), manifest.asks_about(pods).mutates_again()))
    }

    fn review(&self, request: &Request) -> Verdict {
        if self.0.exempt_namespaces.contains(&request.namespace) {
            return Verdict::allow();
        }
        let mut pod = request.object().clone();
        for list in ["initContainers", "containers"] {
            for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                self.complete(container);
            }
        }
        if pod == *request.object() { Verdict::allow() } else { Verdict::become_of(request, &pod) }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

impl LimitsDefaulter {
    fn complete(&self, container: &mut Value) {
        let Config { requests, limits, .. } = &self.0;
        for (name, quantity) in limits {
            fill(container, "limits", name, quantity);
        }
        for (name, quantity) in requests {
            // A request above a limit of the container's own would make the pod invalid.
            let limit = container["resources"]["limits"][name.as_str()].as_str().map(str::to_owned);
            let is_own = limit.as_ref().is_some_and(|limit| limits.get(name) != Some(limit));
            fill(
                container,
                "requests",
                name,
                if is_own { limit.as_deref().unwrap_or(quantity) } else { quantity },
            );
        }
    }
}

fn fill(container: &mut Value, list: &str, name: &str, quantity: &str) {
    if container["resources"][list].get(name).is_none() {
        container["resources"][list][name] = json!(quantity);
    }
}

berth_sdk::export!(LimitsDefaulter as admission);

#[cfg(test)]
mod tests;
