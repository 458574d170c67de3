//! What a binding says, whether its policy runs or not.

use berth_api::views::View;
use serde::{Deserialize, Deserializer};

use crate::contract::{Mutates, Rule};
use crate::rules::Rules;

/// A `PluginBinding` as far as admission looks at it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bound {
    spec: Spec,
    status: Status,
}

impl View for Bound {
    const RESOURCES: &'static [&'static str] = &["pluginbindings.berth.dev"];
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    role: String,
    order: i32,
    failure_policy: FailurePolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    manifest: Remembered,
}

/// What the policy that served last said of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Remembered {
    #[serde(deserialize_with = "mutates")]
    mutates: Mutates,
    #[serde(deserialize_with = "rules")]
    rules: Option<Rules>,
}

/// What becomes of a write when its policy gives no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum FailurePolicy {
    /// It is refused; after several failures the version that served before is asked.
    #[default]
    LastGood,
    /// It is refused.
    Fail,
    /// It goes on, with a warning.
    #[serde(alias = "Default")]
    Ignore,
}

impl Bound {
    /// Whether it binds an admission policy.
    pub fn is_admission(&self) -> bool {
        self.spec.role == "admission"
    }

    /// Those with smaller numbers are asked first.
    pub fn order(&self) -> i32 {
        self.spec.order
    }

    /// What becomes of a write without a verdict.
    pub fn failure_policy(&self) -> FailurePolicy {
        self.spec.failure_policy
    }

    /// What the policy that served last asked about, and whether it changed objects; `None` when none has served yet: a policy
    /// that was never in force holds up nothing.
    pub fn remembered(&self) -> Option<(Mutates, &Rules)> {
        let Remembered { mutates, rules } = &self.status.manifest;
        rules.as_ref().map(|rules| (*mutates, rules))
    }
}

/// What a status holds that this version did not write is as if it were not there.
fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rules>, D::Error> {
    let rules = Option::<Vec<Rule>>::deserialize(from)?;
    Ok(rules.filter(|rules| !rules.is_empty()).and_then(|rules| Rules::new(&rules).ok()))
}

fn mutates<'de, D: Deserializer<'de>>(from: D) -> Result<Mutates, D::Error> {
    Ok(match u32::deserialize(from)? {
        0 => Mutates::No,
        1 => Mutates::Once,
        _ => Mutates::Again,
    })
}
