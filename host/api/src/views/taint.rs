//! Taints, and what tolerates them.

use berth_json::{Value, json};
use serde::Deserialize;

/// `core/v1.Taint`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct Taint {
    /// Its name.
    pub key: Box<str>,
    /// Its value; may be empty.
    pub value: Box<str>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Box<str>,
    /// Since when it is there, where it says so.
    pub time_added: Option<Box<str>>,
}

/// `core/v1.Toleration`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(default, rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's name; empty: any.
    pub key: Box<str>,
    /// `Exists`, or `Equal`, which is meant when it is empty.
    pub operator: Box<str>,
    /// The taint's value.
    pub value: Box<str>,
    /// The taint's effect; empty: any.
    pub effect: Box<str>,
    /// For how long a `NoExecute` taint is tolerated; for ever when it does not say.
    pub toleration_seconds: Option<i64>,
}

impl Taint {
    /// The form in which a node holds it.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"key": &*self.key, "effect": &*self.effect});
        if !self.value.is_empty() {
            value["value"] = (&*self.value).into();
        }
        if let Some(time) = &self.time_added {
            value["timeAdded"] = (&**time).into();
        }
        value
    }
}

impl Toleration {
    /// Whether a pod with it may be where the taint is.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match &*self.operator {
            "Exists" => true,
            _ => !self.key.is_empty() && self.value == taint.value,
        };
        effect && key && value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(value: Value) -> Toleration {
        berth_json::from_value(&value).unwrap()
    }

    #[test]
    fn what_tolerates_what() {
        let taint: Taint =
            berth_json::from_value(&json!({"key": "k", "value": "v", "effect": "NoExecute"})).unwrap();
        for (tolerates, value) in [
            (true, json!({"operator": "Exists"})),
            (true, json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})),
            (true, json!({"key": "k", "value": "v"})),
            (true, json!({"key": "k", "operator": "Equal", "value": "v"})),
            (false, json!({"key": "k"})),
            (false, json!({"key": "l", "operator": "Exists"})),
            (false, json!({"value": "v"})),
            (false, json!({"operator": "Exists", "effect": "NoSchedule"})),
        ] {
            assert_eq!(toleration(value.clone()).tolerates(&taint), tolerates, "{value}");
        }
    }

    #[test]
    fn a_taint_is_written_back_as_it_was_read() {
        for value in [
            json!({"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-11-21T10:45:13Z"}),
            json!({"key": "k", "effect": "NoSchedule"}),
        ] {
            let taint: Taint = berth_json::from_value(&value).unwrap();
            assert_eq!(taint.to_value(), value);
        }
    }
}
