//! Built-in policy: where images may come from, and how they are named.
//!
//! It is asked about pods, whoever makes them, and about their ephemeral containers.

mod reference;

use berth_sdk::admission::{Admission, Manifest, Request, Rule, Verdict};
use reference::Reference;
use serde::Deserialize;

/// What its configuration says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    allowed_registries: Vec<String>,
    allow_latest: bool,
    require_digest: bool,
    exempt_namespaces: Vec<String>,
}

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "allowedRegistries": {
      "description": "Registries, or parts of them by path, that images may come from, such as `registry.example` or `ghcr.io/team`. A name without a registry is docker.io's. Empty: any.",
      "type": "array", "maxItems": 256, "items": {"type": "string", "minLength": 1, "maxLength": 255}
    },
    "allowLatest": {"description": "Whether the tag `latest`, and no tag at all, are let through.", "type": "boolean"},
    "requireDigest": {"description": "Whether images must be named by digest (`@sha256:…`).", "type": "boolean"},
    "exemptNamespaces": {
      "description": "Namespaces whose pods may have any image.",
      "type": "array", "maxItems": 256, "items": {"type": "string", "minLength": 1, "maxLength": 63}
    }
  }
}"#;

/// The policy.
#[derive(Debug)]
pub struct ImagePolicy(Config);

impl Admission for ImagePolicy {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        let config: Config = berth_sdk::config(config)?;
        let pods = Rule::of("", "pods").and("pods/ephemeralcontainers").on_create().on_update();
        let manifest = Manifest::new("image-policy", env!("CARGO_PKG_VERSION")).asks_about(pods);
        Ok((Self(config), manifest))
    }

    fn review(&self, request: &Request) -> Verdict {
        if self.0.exempt_namespaces.contains(&request.namespace) {
            return Verdict::allow();
        }
        let wrong: Vec<String> = containers(request.object())
            // What is there already is not refused again: other parts of the pod must be free to change.
            .filter(|found| containers(request.old_object()).all(|old| old != *found))
            .filter_map(|(name, image)| Some(format!("container {name}: {}", self.complaint(image)?)))
            .collect();
        if wrong.is_empty() { Verdict::allow() } else { Verdict::deny(wrong.join("; ")) }
    }

    fn schema() -> Option<&'static str> {
        Some(SCHEMA)
    }
}

/// Names and images of all containers of a pod.
fn containers(pod: &serde_json::Value) -> impl Iterator<Item = (&str, &str)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .map(|container| {
            (container["name"].as_str().unwrap_or_default(), container["image"].as_str().unwrap_or_default())
        })
}

impl ImagePolicy {
    /// What is wrong with an image.
    fn complaint(&self, image: &str) -> Option<String> {
        let Config { allowed_registries, allow_latest, require_digest, .. } = &self.0;
        let reference = Reference::parse(image);
        if !allowed_registries.is_empty() && !allowed_registries.iter().any(|there| reference.is_in(there)) {
            let allowed = allowed_registries.join(", ");
            return Some(format!("the image {image} is not from an allowed registry ({allowed})"));
        }
        if *require_digest && reference.digest.is_none() {
            return Some(format!("the image {image} is not named by digest (@sha256:…)"));
        }
        let is_latest = reference.digest.is_none() && matches!(reference.tag, None | Some("latest"));
        if is_latest && !allow_latest {
            return Some(format!("the image {image} must have a tag other than latest, or a digest"));
        }
        None
    }
}

berth_sdk::export!(ImagePolicy as admission);

#[cfg(test)]
mod tests;
