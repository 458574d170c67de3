//! `Plugin` of `berth.dev/v1alpha1`: a policy's Wasm component, named, limited and described.
//!
//! The component's bytes live in the store under their digest; `plugins/{name}/component` uploads them and sets
//! `spec.digest`.

use berth_json::{Value, json};

use super::cursor::Cursor;
use super::meta::{validate_meta, validate_meta_update};
use super::view::str_at;
use super::{Names, fill, keep_status, names, status_of};
use crate::column::Column;
use crate::quantity::Quantity;
use crate::resource::{Kind, Resource, Scope, Subresource, kind_of};
use crate::status::Problems;

const NAMES: Names =
    Names { group: "berth.dev", version: "v1alpha1", kind: "Plugin", plural: "plugins", short: &["plug"] };

/// Memory a plugin gets unless it asks: a scheduler's picture of 5,000 nodes takes 2 MiB, an interpreter 50.
const MEMORY: &str = "128Mi";
/// Time one call may take unless the plugin asks for another limit: scoring 5,000 nodes takes well below 1 ms.
const DEADLINE: &str = "100ms";
/// The least memory: below this no guest's allocator starts.
const MEMORY_BYTES_MIN: i64 = 1 << 20;
/// The most memory: room for 100,000 nodes.
const MEMORY_BYTES_MAX: i64 = 1 << 30;
/// The longest deadline: the scheduler waits for this call, and with it the cluster.
const DEADLINE_MS_MAX: f64 = 10_000.0;

pub(super) fn resource() -> Resource {
    Resource {
        categories: vec!["berth".to_owned()],
        subresources: vec![
            Subresource {
                name: "component",
                kind: kind_of("berth.dev", "v1alpha1", "Plugin"),
                verbs: &["create", "get", "update"],
            },
            status_of("berth.dev", "v1alpha1", "Plugin"),
        ],
        has_generation: true,
        ..super::resource(&NAMES, Scope::Cluster, Plugin)
    }
}

struct Plugin;

impl Kind for Plugin {
    fn default(&self, object: &mut Value) {
        let Some(spec) = fill::object_at(object, "spec") else { return };
        fill::absent(spec, "limits", json!({}));
        if let Some(limits) = fill::part(spec, "limits") {
            fill::absent(limits, "memory", MEMORY);
            fill::absent(limits, "deadline", DEADLINE);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(plugin) = object.as_object_mut() {
            plugin.insert("status".to_owned(), json!({ "phase": "Pending" }));
        }
    }

    /// A manifest without a digest leaves the uploaded component in place.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        let digest = str_at(old, "spec.digest");
        if digest.is_empty() {
            return;
        }
        if let Some(spec) = fill::object_at(new, "spec") {
            fill::zero(spec, "digest", digest);
        }
    }

    fn validate(&self, object: &Value, problems: &mut Problems) {
        validate_meta(object, Scope::Cluster, names::subdomain_1123, problems);
        let spec = Cursor::top(object, "spec");
        let digest = spec.child("digest");
        if !digest.is_empty() && !is_digest(digest.text()) {
            let detail =
                "must be `sha256:` and 64 hexadecimal digits; leave it out and upload the component instead";
            problems.invalid(digest, digest.value(), detail);
        }
        let limits = spec.child("limits");
        let memory = limits.child("memory");
        let bytes = Quantity::parse(memory.text()).map_or(0, Quantity::value);
        if memory.exists() && !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&bytes) {
            problems.invalid(memory, memory.value(), "must be between 1Mi and 1Gi");
        }
        let deadline = limits.child("deadline");
        let millis = duration_ms(deadline.text()).unwrap_or_default();
        if deadline.exists() && !(millis > 0.0 && millis <= DEADLINE_MS_MAX) {
            problems.invalid(deadline, deadline.value(), "must be more than 0s and at most 10s");
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
        self.validate(new, problems);
    }

    fn validate_status(&self, new: &Value, old: &Value, problems: &mut Problems) {
        validate_meta_update(new, old, problems);
    }

    fn columns(&self) -> Vec<Column> {
        let digest = |object: &Value, _| short_digest(str_at(object, "status.digest")).into();
        vec![
            Column::of_name(),
            Column::text("Role", 0, "What the component decides.", "status.role"),
            Column::text("Phase", 0, "Pending, Ready or Failed.", "status.phase"),
            Column::new("Digest", "string", 0, "The component in use.", digest),
            Column::of_age(),
            Column::number("Size", "integer", 1, "Size of the component in bytes.", "status.size"),
            Column::text("Memory", 1, "Limit of its memory.", "spec.limits.memory"),
            Column::text("Deadline", 1, "Limit of one call's time.", "spec.limits.deadline"),
            Column::text("Message", 1, "Why the plugin is not ready.", "status.message"),
        ]
    }
}

/// Whether `text` is `sha256:` and 64 lower-case hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Milliseconds of a duration as Go writes it, such as `20ms` or `1m0.5s`.
fn duration_ms(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] =
        [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("ns", 1e-6), ("h", 3.6e6), ("m", 6e4), ("s", 1e3)];
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        sum += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    Some(sum)
}

/// As much of a digest as tells it from others in a table.
pub(super) fn short_digest(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations() {
        for (text, want) in [
            ("20ms", Some(20.0)),
            ("1m0.5s", Some(60_500.0)),
            ("5µs", Some(0.005)),
            ("5", None),
            ("ms", None),
        ] {
            assert_eq!(duration_ms(text), want, "{text}");
        }
    }
}
