//! Evaluation: a walk over the tree, each step paid for. How deep it goes is limited when the source is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Access, Entry, Id, Kind, Operator, Target};
use crate::collection::{Key, Map};
use crate::cost;
use crate::error::EvalError;
use crate::functions::{Answer, Tools};
use crate::library::{operators, optional, regex};
use crate::logic::Alternative;
use crate::meter::{Meter, STEP};
use crate::plan::{Step, is_membership, overload_for, refused, takes};
use crate::program::Program;
use crate::value::{Str, Value};

/// A variable of a macro.
pub(crate) struct Local<'v> {
    pub(crate) value: Value<'v>,
    /// The optional that it is the value of, until it is read: Kubernetes evaluates that once more then.
    pub(crate) unread: Option<Id>,
}

/// An evaluation on its way.
pub(crate) struct Evaluation<'v> {
    pub(crate) program: &'v Program,
    /// The variables' values by their numbers, as far as they are used.
    pub(crate) variables: Vec<Option<Value<'v>>>,
    /// The variables of the macros around the node.
    pub(crate) locals: Vec<Local<'v>>,
    pub(crate) tools: Tools,
}

impl<'v> Evaluation<'v> {
    fn kind(&self, id: Id) -> &'v Kind {
        &self.program.tree.node(id).kind
    }

    fn step(&self, id: Id) -> &'v Step {
        &self.program.steps[id as usize]
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.tools.meter.charge(cost)
    }

    /// The value of a node.
    pub(crate) fn value(&mut self, id: Id) -> Answer<'v> {
        self.attribute(id, false)
    }

    /// The value of a node; `is_part` when it is a branch of a condition or an index, where Kubernetes does not count
    /// the first name of a path.
    fn attribute(&mut self, id: Id, is_part: bool) -> Answer<'v> {
        self.tools.meter.work(STEP)?;
        let step = self.step(id);
        if let Some(constant) = &step.constant {
            return Ok(match constant {
                Value::String(Str::Shared(text)) => Value::String(Str::Borrowed(text)),
                other => other.clone(),
            });
        }
        match self.kind(id) {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Ident(_) => {
                self.charge(u64::from(!is_part))?;
                self.ident(step)
            }
            Kind::Select { operand, field, mode } => self.select(*operand, field, *mode, is_part),
            Kind::Index { operand, index, is_optional } => {
                self.index(*operand, *index, *is_optional, is_part)
            }
            Kind::Call { function, arguments, is_member } => self.call(step, function, arguments, *is_member),
            Kind::Binary { operator, left, right } => self.binary(step, *operator, *left, *right),
            Kind::Not(operand) => {
                let truth = self.value(*operand)?.as_bool().ok_or(EvalError::NO_OVERLOAD)?;
                self.charge(1)?;
                Ok(Value::Bool(!truth))
            }
            Kind::Negate(operand) => {
                let value = self.value(*operand)?;
                self.charge(1)?;
                operators::negate(&value)
            }
            Kind::Logic { is_or, operands } => self.logic(*is_or, operands),
            Kind::Conditional { condition, yes, no } => {
                let truth = self.value(*condition)?.as_bool().ok_or(EvalError::NO_OVERLOAD)?;
                self.attribute(if truth { *yes } else { *no }, true)
            }
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Message { .. } => Err(EvalError::NO_OVERLOAD),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn ident(&mut self, step: &Step) -> Answer<'v> {
        let found = match &step.target {
            Target::Local(slot) => {
                let unread = self.locals.get_mut(*slot).and_then(|local| local.unread.take());
                if let Some(optional) = unread {
                    self.value(optional)?;
                    self.charge(1)?;
                }
                self.locals.get(*slot).map(|local| local.value.clone())
            }
            Target::Variable(number) => self.variables.get(*number).cloned().flatten(),
            _ => None,
        };
        found.ok_or_else(|| {
            let name = match step.target {
                Target::Variable(number) => self.program.variables[number].0.as_str(),
                _ => "",
            };
            EvalError::new(format!("no such attribute(s): {name}"))
        })
    }

    /// What a path goes on from: the rest of the path, or a value that counts as one more name.
    fn operand(&mut self, id: Id, is_part: bool) -> Answer<'v> {
        let is_path = match self.kind(id) {
            Kind::Ident(_) | Kind::Index { .. } | Kind::Conditional { .. } => true,
            Kind::Select { mode, .. } => *mode != Access::Test,
            _ => false,
        };
        if is_path {
            return self.attribute(id, is_part);
        }
        let value = self.value(id)?;
        self.charge(u64::from(!is_part))?;
        Ok(value)
    }

    fn select(&mut self, operand: Id, field: &'v str, mode: Access, is_part: bool) -> Answer<'v> {
        let value = self.operand(operand, is_part && mode != Access::Test)?;
        self.tools.meter.work(field.len() as u64 / 8)?;
        let (inner, was_optional) = match &value {
            Value::Optional(None) if mode == Access::Test => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::none()),
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, false),
        };
        let found = match inner {
            Value::Map(map) => map.named(field)?,
            _ => None,
        };
        if mode == Access::Test {
            return Ok(Value::Bool(found.is_some()));
        }
        let is_optional = was_optional || mode == Access::Optional;
        self.found(found, is_optional, || EvalError::new(format!("no such key: {field}")))
    }

    fn found(
        &mut self,
        found: Option<Value<'v>>,
        is_optional: bool,
        missing: impl FnOnce() -> EvalError,
    ) -> Answer<'v> {
        match found {
            None if is_optional => Ok(Value::none()),
            None => {
                self.charge(1)?;
                Err(missing())
            }
            Some(value) => {
                self.charge(1)?;
                self.decoded(&value)?;
                Ok(if is_optional { Value::some(value) } else { value })
            }
        }
    }

    /// Pays for bytes of an object that were decoded to be looked at.
    pub(crate) fn decoded(&mut self, value: &Value<'v>) -> Result<(), EvalError> {
        if let Value::Bytes(bytes) = value { self.tools.meter.memory(bytes.len()) } else { Ok(()) }
    }

    fn index(&mut self, operand: Id, index: Id, is_optional: bool, is_part: bool) -> Answer<'v> {
        let value = self.operand(operand, is_part)?;
        let key = self.attribute(index, true)?;
        let (inner, was_optional) = match &value {
            Value::Optional(None) => return Ok(Value::none()),
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, false),
        };
        if let Value::String(name) = &key {
            self.tools.meter.work(name.len() as u64 / 8)?;
        }
        let found = operators::index(inner, &key)?;
        self.found(found, is_optional || was_optional, || operators::missing(inner, &key))
    }

    fn call(&mut self, step: &'v Step, function: &str, arguments: &[Id], is_member: bool) -> Answer<'v> {
        let is_namespaced = matches!(step.target, Target::Call { is_namespaced: true, .. });
        let arguments = &arguments[usize::from(is_namespaced)..];
        if is_member && let (Some(answer), [receiver, other]) = (Alternative::of(function), arguments) {
            return self.alternative(answer, *receiver, *other);
        }
        match arguments {
            [] => self.apply(step, &[]),
            [a] => {
                let values = [self.value(*a)?];
                self.apply(step, &values)
            }
            [a, b] => {
                let values = self.both(*a, *b)?;
                self.apply(step, &values)
            }
            [a, b, c] => {
                let values = [self.value(*a)?, self.value(*b)?, self.value(*c)?];
                self.apply(step, &values)
            }
            more => {
                let values = more.iter().map(|id| self.value(*id)).collect::<Result<Vec<_>, _>>()?;
                self.apply(step, &values)
            }
        }
    }

    fn apply(&mut self, step: &'v Step, values: &[Value<'v>]) -> Answer<'v> {
        let answer = match &step.pattern {
            Some(pattern) => regex::is_match(&mut self.tools, pattern, values[0].text()?),
            None => {
                let overload = match step.only {
                    Some(only) => Some(only).filter(|only| takes(only, values)),
                    None => overload_for(&step.target, values),
                };
                match overload.and_then(|overload| overload.run) {
                    Some(run) => run(&mut self.tools, values),
                    None => Err(refused(&step.target, values)),
                }
            }
        };
        let cost = step.rule.cost(&mut self.tools.meter, values, answer.as_ref().ok())?;
        self.charge(cost)?;
        answer
    }

    fn binary(&mut self, step: &'v Step, operator: Operator, left: Id, right: Id) -> Answer<'v> {
        let values = self.both(left, right)?;
        if !is_membership(&self.program.steps, operator, right) {
            let cost = step.rule.cost(&mut self.tools.meter, &values, None)?;
            self.charge(cost)?;
        }
        let [left, right] = values;
        operators::binary(&mut self.tools, operator, left, right)
    }

    fn list(&mut self, elements: &[(Id, bool)]) -> Answer<'v> {
        self.tools.meter.elements(elements.len())?;
        let mut list = Vec::with_capacity(elements.len());
        for (element, is_optional) in elements {
            let value = self.value(*element)?;
            if !is_optional {
                list.push(value);
            } else if let Some(inside) = optional::inside(&value)? {
                list.push((**inside).clone());
            }
        }
        self.charge(cost::LIST)?;
        Ok(Value::from(list))
    }

    fn map(&mut self, entries: &[Entry]) -> Answer<'v> {
        self.tools.meter.elements(entries.len() * 2)?;
        let mut map = BTreeMap::new();
        for entry in entries {
            let key = self.value(entry.key)?;
            let mut value = self.value(entry.value)?;
            if entry.is_optional {
                match optional::inside(&value)? {
                    Some(inside) => value = (**inside).clone(),
                    None => continue,
                }
            }
            self.tools.meter.work(key.as_str().map_or(0, str::len) as u64)?;
            map.insert(key_of(&key)?, value);
        }
        self.charge(cost::MAP)?;
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }
}

fn key_of<'v>(key: &Value<'v>) -> Result<Key<'v>, EvalError> {
    Key::of(key).ok_or_else(|| EvalError::new(format!("unsupported key type: {}", key.type_name())))
}

/// Puts an entry into a map that has none of that key.
pub(crate) fn insert<'v>(
    meter: &mut Meter,
    map: &mut BTreeMap<Key<'v>, Value<'v>>,
    key: &Value<'v>,
    value: Value<'v>,
) -> Result<(), EvalError> {
    meter.work(key.as_str().map_or(0, str::len) as u64)?;
    match map.insert(key_of(key)?, value) {
        None => Ok(()),
        Some(_) => {
            let name = key_of(key)?;
            Err(EvalError::new(format!("insert failed: key {name} already exists")))
        }
    }
}
