//! A configuration laid over the live object.

use std::collections::HashMap;

use berth_json::{Map, Value};

use super::compare::{key_step, value_step};
use super::grain::Grain;
use crate::decode::{Budget, Spent};
use crate::schema::{Schema, Type, ValueKind};

/// Lays `config` over `live`: what is owned part by part is merged part by part, everything else is replaced. Nothing goes
/// away. The configuration was [checked](super::check), so that its elements have keys, each once.
///
/// # Errors
/// When the budget is spent.
pub(super) fn objects(
    schema: &Schema,
    budget: &Budget,
    root: &Type,
    live: Map,
    config: &Map,
) -> Result<Map, Spent> {
    Merge { schema, budget }.structure(root, live, config)
}

#[derive(Clone, Copy)]
struct Merge<'s> {
    schema: &'s Schema,
    budget: &'s Budget,
}

impl<'s> Merge<'s> {
    fn structure(self, parent: &'s Type, mut live: Map, config: &Map) -> Result<Map, Spent> {
        for (name, value) in config {
            let Some((grain, _)) = Grain::in_struct(self.schema, parent, name) else { continue };
            self.entry(grain, &mut live, name, value)?;
        }
        Ok(live)
    }

    fn entries(self, grain: Grain<'s>, mut live: Map, config: &Map) -> Result<Map, Spent> {
        for (name, value) in config {
            self.entry(grain, &mut live, name, value)?;
        }
        Ok(live)
    }

    fn entry(self, grain: Grain<'s>, live: &mut Map, name: &str, config: &Value) -> Result<(), Spent> {
        match live.get_mut(name) {
            Some(present) => *present = self.value(grain, present.take(), config)?,
            None => {
                self.budget.steps(1)?;
                live.insert(name, config.clone());
            }
        }
        Ok(())
    }

    fn value(self, grain: Grain<'s>, live: Value, config: &Value) -> Result<Value, Spent> {
        self.budget.steps(1)?;
        Ok(match (grain, live, config) {
            (Grain::Leaf, ..) => config.clone(),
            // A null takes nothing away that others may have put there.
            (_, Value::Object(live), Value::Null) if !live.is_empty() => live.into(),
            (_, Value::Array(live), Value::Null) if !live.is_empty() && !is_deduced(grain) => live.into(),
            (Grain::Struct(inner), Value::Object(live), Value::Object(config)) => {
                self.structure(inner, live, config)?.into()
            }
            (Grain::Map(kind), Value::Object(live), Value::Object(config)) => {
                self.entries(Grain::single(self.schema, kind), live, config)?.into()
            }
            (Grain::Deduced, Value::Object(live), Value::Object(config)) => {
                self.entries(Grain::Deduced, live, config)?.into()
            }
            (Grain::Keyed(kind, keys), Value::Array(live), Value::Array(config)) => {
                self.list(kind, |value| key_step(self.schema, kind, keys, value), live, config)?.into()
            }
            (Grain::Set, Value::Array(live), Value::Array(config)) => {
                self.list(ValueKind::Any, value_step, live, config)?.into()
            }
            _ => config.clone(),
        })
    }

    /// Merges two lists. Elements of both stand in the order of the configuration, those of the live list alone stay
    /// between the neighbours that they had, as far as that is possible.
    fn list(
        self,
        kind: ValueKind,
        step: impl Fn(&Value) -> String,
        live: Vec<Value>,
        config: &[Value],
    ) -> Result<Vec<Value>, Spent> {
        self.budget.steps(live.len() + config.len())?;
        let grain = Grain::single(self.schema, kind);
        let live_steps: Vec<String> = live.iter().map(&step).collect();
        let config_steps: Vec<String> = config.iter().map(&step).collect();
        let config_at: HashMap<&str, usize> = config_steps.iter().map(String::as_str).zip(0..).collect();
        // Elements whose key stands twice, as an update may leave them, are not merged with: they are replaced.
        let mut live_at: HashMap<&str, Option<usize>> = HashMap::with_capacity(live.len());
        for (at, step) in live_steps.iter().enumerate() {
            live_at.entry(step).and_modify(|only| *only = None).or_insert(Some(at));
        }
        let mut live: Vec<Value> = live;
        let mut shared = (0..config.len()).filter(|at| live_at.contains_key(&*config_steps[*at]));
        let mut next_shared = shared.next();
        let mut is_merged = vec![false; config.len()];
        let mut merged = Vec::with_capacity(live.len().max(config.len()));
        let (mut left, mut right) = (0, 0);
        while left < live.len() || right < config.len() {
            let in_config = live_steps.get(left).and_then(|step| config_at.get(step.as_str()).copied());
            if left < live.len() && right < config.len() && in_config != Some(right) {
                // An element of both whose turn it is not yet: it is taken up where the configuration has it.
                if let (Some(at), Some(next)) = (in_config, next_shared)
                    && at != next
                {
                    left += 1;
                    continue;
                }
            }
            if left < live.len() {
                match in_config {
                    None => {
                        merged.push(live[left].take());
                        left += 1;
                        continue;
                    }
                    Some(at) if is_merged[at] || at == right => left += 1,
                    Some(_) => {}
                }
            }
            if right < config.len() {
                let present = live_at.get(&*config_steps[right]).copied().flatten();
                let present = present.map_or(Value::Null, |at| live[at].take());
                merged.push(self.value(grain, present, &config[right])?);
                is_merged[right] = true;
                if next_shared == Some(right) {
                    next_shared = shared.next();
                }
                right += 1;
            }
        }
        Ok(merged)
    }
}

fn is_deduced(grain: Grain<'_>) -> bool {
    matches!(grain, Grain::Deduced)
}
