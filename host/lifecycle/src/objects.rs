//! Plugins and bindings as the manager sees them.

use std::collections::BTreeMap;

use berth_api::Timestamp;
use berth_api::quantity::Quantity;
use berth_json::Value;
use berth_scheduler::Failover;
use berth_state::Stored;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::place::{Place, RoleName};

/// What the schema gives a plugin that names no limits.
const LIMITS_DEFAULT: Limits = Limits { memory_bytes: 128 << 20, deadline_ms: 100 };

/// What a component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Linear memory.
    pub memory_bytes: u64,
    /// Processor time of one call.
    pub deadline_ms: u64,
}

/// A component as it is loaded: bytes by their digest, and limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentKey {
    /// `sha256:…`.
    pub digest: String,
    /// What each of its instances may use.
    pub limits: Limits,
}

/// What can serve a place: a component with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The plugin it belongs to.
    pub plugin: String,
    /// What runs.
    pub component: ComponentKey,
    /// The JSON text of the configuration; empty when there is none.
    pub config: String,
}

/// A `Plugin` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// Its component; `None` before one was uploaded.
    pub component: Option<ComponentKey>,
}

/// A `PluginBinding` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Tells it from an earlier one of its name.
    pub uid: String,
    /// Of several for one place the oldest counts.
    pub created: Timestamp,
    /// What the plugin is to serve.
    pub place: Place,
    /// Which plugin is to decide.
    pub plugin: String,
    /// The JSON text of the configuration; empty when there is none.
    pub config: String,
    /// What happens when the policy fails.
    pub failure_policy: FailurePolicy,
    /// What its status remembers of an earlier run of the server.
    pub memory: Memory,
}

/// What a binding's status remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The version to go back to.
    pub last_good: Option<Version>,
    /// The version that failed and is left alone, and how it failed.
    pub failed: Option<(Version, String)>,
    /// How often the component was replaced.
    pub swaps: i64,
    /// What served last.
    pub digest: Option<String>,
}

/// What becomes of a place whose policy failed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The version that served before it.
    #[default]
    LastGood,
    /// The built-in policy.
    Default,
    /// Nothing.
    Fail,
    /// It is as if there were no policy: of admission alone.
    Ignore,
}

impl FailurePolicy {
    /// What serves a place while no policy of its own does.
    pub fn failover(self) -> Failover {
        match self {
            Self::LastGood | Self::Default | Self::Ignore => Failover::Builtin,
            Self::Fail => Failover::Hold,
        }
    }
}

impl Plugin {
    /// Of a stored object; `None` when it is none that this version wrote.
    pub fn read(stored: &Stored) -> Option<Self> {
        let PluginObject { spec } = parse(stored)?;
        let limits = limits(&spec.limits);
        let component = (!spec.digest.is_empty()).then_some(ComponentKey { digest: spec.digest, limits });
        Some(Self { name: stored.key.name.to_string(), component })
    }
}

impl Binding {
    /// Of a stored object; `None` when it is none that this version wrote.
    pub fn read(stored: &Stored) -> Option<Self> {
        let BindingObject { spec, status } = parse(stored)?;
        let failed = status.failed.map(|failed| (failed.message.clone(), failed.version()));
        let role = RoleName::named(&spec.role)?;
        // Each admission policy has a place of its own: many are asked about a write.
        let place = if role == RoleName::Admission { stored.key.name.to_string() } else { spec.profile };
        Some(Self {
            name: stored.key.name.to_string(),
            uid: stored.meta().uid.to_string(),
            created: stored.meta().creation_timestamp.unwrap_or_default(),
            place: Place { role, name: place },
            plugin: spec.plugin,
            config: if spec.config.is_null() { String::new() } else { spec.config.to_string() },
            failure_policy: spec.failure_policy,
            memory: Memory {
                last_good: status.last_good.map(VersionObject::version),
                failed: failed.map(|(message, version)| (version, message)),
                swaps: status.swaps,
                digest: status.active_digest,
            },
        })
    }
}

fn parse<T: DeserializeOwned>(stored: &Stored) -> Option<T> {
    serde_json::from_slice(stored.bytes()).ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PluginObject {
    spec: PluginSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PluginSpec {
    digest: String,
    limits: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct BindingObject {
    spec: BindingSpec,
    status: BindingStatus,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BindingSpec {
    role: String,
    profile: String,
    plugin: String,
    config: Value,
    failure_policy: FailurePolicy,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BindingStatus {
    active_digest: Option<String>,
    swaps: i64,
    last_good: Option<VersionObject>,
    failed: Option<VersionObject>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VersionObject {
    plugin: String,
    digest: String,
    limits: BTreeMap<String, String>,
    config: String,
    message: String,
}

impl VersionObject {
    fn version(self) -> Version {
        let component = ComponentKey { digest: self.digest, limits: limits(&self.limits) };
        Version { plugin: self.plugin, component, config: self.config }
    }
}

fn limits(texts: &BTreeMap<String, String>) -> Limits {
    let memory = texts.get("memory").and_then(|text| Quantity::parse(text).ok());
    let deadline = texts.get("deadline").and_then(|text| millis(text));
    Limits {
        memory_bytes: memory.map_or(LIMITS_DEFAULT.memory_bytes, |q| u64::try_from(q.value()).unwrap_or(0)),
        deadline_ms: deadline.unwrap_or(LIMITS_DEFAULT.deadline_ms),
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
