//! The fields of plugins and bindings that the manager reads.

use std::collections::BTreeMap;

use berth_api::quantity::Quantity;
use berth_json::Value;
use berth_policy::Limits;
use berth_state::Stored;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(super) fn read<T: DeserializeOwned>(stored: &Stored) -> Option<T> {
    serde_json::from_slice(stored.bytes()).ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Plugin {
    pub(super) spec: PluginSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PluginSpec {
    pub(super) digest: String,
    limits: BTreeMap<String, String>,
}

impl Plugin {
    /// The limits the plugin asks for; the defaults where it asks for none.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        let memory = self.spec.limits.get("memory").and_then(|text| Quantity::parse(text).ok());
        let memory = memory.map_or(default.memory_bytes(), |q| usize::try_from(q.value()).unwrap_or(0));
        let deadline = self.spec.limits.get("deadline").and_then(|text| millis(text));
        Limits::new(memory, deadline.unwrap_or(default.deadline_ms()))
    }
}

/// A Go duration in milliseconds, as validation lets it through: numbers with units, one after another.
fn millis(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Some(total.ceil() as u64)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PluginBinding {
    pub(super) spec: PluginBindingSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PluginBindingSpec {
    pub(super) role: String,
    pub(super) profile: String,
    pub(super) plugin: String,
    config: Value,
    pub(super) failure_policy: FailurePolicy,
}

impl PluginBinding {
    /// The configuration as the plugin gets it: the JSON text, or nothing.
    pub(super) fn config(&self) -> String {
        if self.spec.config.is_null() { String::new() } else { self.spec.config.to_string() }
    }
}

/// What serves a profile after its policy failed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) enum FailurePolicy {
    /// The version that served before it.
    #[default]
    LastGood,
    /// The built-in policy.
    Default,
    /// Nothing: pods wait.
    Fail,
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("20ms", Some(20)),
            ("1.5s", Some(1500)),
            ("1m30s", Some(90_000)),
            ("100us", Some(1)),
            ("", Some(0)),
            ("20", None),
            ("ms", None),
            ("1x", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }
}
