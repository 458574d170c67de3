//! Evaluation: a walk over the tree, each step paid for. How deep it goes is limited when the source is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Access, Entry, Id, Kind, Operator, Target};
use crate::collection::{Key, Map};
use crate::cost;
use crate::error::EvalError;
use crate::functions::{Answer, Tools};
use crate::library::{operators, optional, regex};
use crate::meter::STEP;
use crate::plan::{Step, is_membership, overload_for, refused, takes};
use crate::program::Program;
use crate::value::{Str, Value};

/// An evaluation on its way.
pub(crate) struct Evaluation<'v> {
    pub(crate) program: &'v Program,
    /// The variables' values by their numbers, as far as they are used.
    pub(crate) variables: Vec<Option<Value<'v>>>,
    /// The variables of the macros around the node.
    pub(crate) locals: Vec<Value<'v>>,
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

    fn ident(&self, step: &Step) -> Answer<'v> {
        let found = match &step.target {
            Target::Local(slot) => self.locals.get(*slot).cloned(),
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
                Ok(if is_optional { Value::some(value) } else { value })
            }
        }
    }

    fn index(&mut self, operand: Id, index: Id, is_optional: bool, is_part: bool) -> Answer<'v> {
        let value = self.operand(operand, is_part)?;
        let key = self.attribute(index, true)?;
        let (inner, was_optional) = match &value {
            Value::Optional(None) => return Ok(Value::none()),
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, false),
        };
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

    /// `a.or(b)` and `a.orValue(b)`: the second is looked at when it is needed.
    fn alternative(&mut self, kind: Alternative, receiver: Id, other: Id) -> Answer<'v> {
        let first = self.value(receiver)?;
        match (optional::inside(&first)?, kind) {
            (Some(_), Alternative::Or) => Ok(first),
            (Some(inside), Alternative::OrValue) => Ok((**inside).clone()),
            (None, Alternative::Or) => {
                let second = self.value(other)?;
                optional::inside(&second)?;
                Ok(second)
            }
            (None, Alternative::OrValue) => self.value(other),
        }
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

    /// Two operands; the second is evaluated and the call is counted though the first has no value, as in Kubernetes.
    fn both(&mut self, left: Id, right: Id) -> Result<[Value<'v>; 2], EvalError> {
        let left = self.value(left);
        if matches!(left, Err(EvalError::Exhausted)) {
            return Err(EvalError::Exhausted);
        }
        let error = match (left, self.value(right)) {
            (Ok(left), Ok(right)) => return Ok([left, right]),
            (_, Err(EvalError::Exhausted)) => return Err(EvalError::Exhausted),
            (Err(error), _) | (Ok(_), Err(error)) => error,
        };
        self.charge(1)?;
        Err(error)
    }

    /// A chain of `&&` or `||`: what decides it outweighs what failed before.
    fn logic(&mut self, is_or: bool, operands: &[Id]) -> Answer<'v> {
        let mut fault = None;
        for operand in operands {
            match self.value(*operand) {
                Ok(Value::Bool(truth)) if truth == is_or => return Ok(Value::Bool(is_or)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => drop(fault.get_or_insert(EvalError::NO_OVERLOAD)),
                Err(EvalError::Exhausted) => return Err(EvalError::Exhausted),
                Err(error) => drop(fault.get_or_insert(error)),
            }
        }
        fault.map_or(Ok(Value::Bool(!is_or)), Err)
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
    map: &mut BTreeMap<Key<'v>, Value<'v>>,
    key: &Value<'v>,
    value: Value<'v>,
) -> Result<(), EvalError> {
    match map.insert(key_of(key)?, value) {
        None => Ok(()),
        Some(_) => {
            let name = key_of(key)?;
            Err(EvalError::new(format!("insert failed: key {name} already exists")))
        }
    }
}

/// Functions of optionals that do not always evaluate their argument.
#[derive(Clone, Copy)]
enum Alternative {
    Or,
    OrValue,
}

impl Alternative {
    fn of(function: &str) -> Option<Self> {
        match function {
            "or" => Some(Self::Or),
            "orValue" => Some(Self::OrValue),
            _ => None,
        }
    }
}
