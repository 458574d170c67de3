//! Macros that evaluate a body for each element. They cost what cel-go's expansions of them cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Fold, Id, Macro};
use crate::collection::Map;
use crate::cost;
use crate::error::EvalError;
use crate::evaluate::{Evaluation, Local, insert};
use crate::functions::Answer;
use crate::library::{lists, optional};
use crate::value::Value;

impl<'v> Evaluation<'v> {
    pub(crate) fn fold(&mut self, fold: &'v Fold) -> Answer<'v> {
        let range = self.value(fold.range)?;
        match fold.name {
            Macro::OptMap | Macro::OptFlatMap => self.optional(fold, &range),
            Macro::SortBy => self.sort_by(fold, range),
            _ => {
                let before = self.locals.len();
                let answer = self.each(fold, &range);
                self.locals.truncate(before);
                answer
            }
        }
    }

    /// The body with this element; of a map its keys, or its keys and values.
    fn body(&mut self, fold: &Fold, id: Id, (first, second): &(Value<'v>, Value<'v>)) -> Answer<'v> {
        self.decoded(first)?;
        self.decoded(second)?;
        let before = self.locals.len();
        self.locals.push(Local { value: first.clone(), unread: None });
        if fold.second.is_some() {
            self.locals.push(Local { value: second.clone(), unread: None });
        }
        let answer = self.value(id);
        self.locals.truncate(before);
        answer
    }

    fn each(&mut self, fold: &'v Fold, range: &Value<'v>) -> Answer<'v> {
        let (count, keys) = match range {
            Value::List(list) => (list.len(), Vec::new()),
            Value::Map(map) => (map.len(), map.keys()),
            other => {
                let kind = other.go_name();
                return Err(EvalError::new(match fold.second {
                    Some(_) => format!("unsupported comprehension range type: types.{kind}"),
                    None => format!("got 'types.{kind}', expected iterable type"),
                }));
            }
        };
        self.tools.meter.elements(keys.len())?;
        let element = |at: usize| -> Result<Option<(Value<'v>, Value<'v>)>, EvalError> {
            match range {
                Value::List(list) => {
                    let Some(value) = list.get(at).transpose()? else { return Ok(None) };
                    Ok(Some(if fold.second.is_some() {
                        (Value::Int(at as i64), value)
                    } else {
                        (value, Value::Null)
                    }))
                }
                Value::Map(map) => {
                    let Some(key) = keys.get(at) else { return Ok(None) };
                    let value = if fold.second.is_some() { map.get(key)? } else { None };
                    Ok(Some((key.clone(), value.unwrap_or(Value::Null))))
                }
                _ => Ok(None),
            }
        };
        match fold.name {
            Macro::All => self.quantify(fold, count, false, element),
            Macro::Exists => self.quantify(fold, count, true, element),
            Macro::ExistsOne => self.exists_one(fold, count, element),
            Macro::TransformMap | Macro::TransformMapEntry => self.collect_map(fold, count, element),
            _ => self.collect_list(fold, count, element),
        }
    }

    /// `all` and `exists`: what decides outweighs what failed.
    fn quantify(
        &mut self,
        fold: &'v Fold,
        count: usize,
        is_exists: bool,
        element: impl Fn(usize) -> Result<Option<(Value<'v>, Value<'v>)>, EvalError>,
    ) -> Answer<'v> {
        let condition = if is_exists { 3 } else { 2 };
        let mut fault = None;
        for at in 0..count {
            let Some(pair) = element(at)? else { break };
            self.charge(condition + 1)?;
            match self.body(fold, fold.body, &pair) {
                Ok(Value::Bool(truth)) if truth == is_exists => {
                    // The condition is looked at once more.
                    let more = if at + 1 < count { condition } else { 0 };
                    self.charge(more + 1)?;
                    return Ok(Value::Bool(is_exists));
                }
                Ok(Value::Bool(_)) => {}
                Ok(_) => self.keep(&mut fault, EvalError::NO_OVERLOAD)?,
                Err(error) => self.keep(&mut fault, error)?,
            }
        }
        self.charge(1)?;
        fault.map_or(Ok(Value::Bool(!is_exists)), Err)
    }

    fn exists_one(
        &mut self,
        fold: &'v Fold,
        count: usize,
        element: impl Fn(usize) -> Result<Option<(Value<'v>, Value<'v>)>, EvalError>,
    ) -> Answer<'v> {
        let (mut found, mut fault) = (0, None);
        for at in 0..count {
            let Some(pair) = element(at)? else { break };
            if self.keeps(&mut fault, Some(fold.body), fold, &pair)? {
                self.charge(2)?;
                found += 1;
            }
        }
        self.charge(2)?;
        fault.map_or(Ok(Value::Bool(found == 1)), Err)
    }

    /// Whether an element is kept. Like kube-apiserver the others are looked at though this fails, and the last failure of
    /// a filter is what is told.
    fn keeps(
        &mut self,
        fault: &mut Option<EvalError>,
        filter: Option<Id>,
        fold: &Fold,
        pair: &(Value<'v>, Value<'v>),
    ) -> Result<bool, EvalError> {
        let Some(filter) = filter else { return Ok(true) };
        let answer = self.body(fold, filter, pair);
        let error = match answer.and_then(|value| value.as_bool().ok_or(EvalError::NO_OVERLOAD)) {
            Ok(truth) => return Ok(truth),
            Err(error) => error,
        };
        *fault = None;
        self.keep(fault, error).map(|()| false)
    }

    /// `map`, `filter` and `transformList`.
    fn collect_list(
        &mut self,
        fold: &'v Fold,
        count: usize,
        element: impl Fn(usize) -> Result<Option<(Value<'v>, Value<'v>)>, EvalError>,
    ) -> Answer<'v> {
        let is_filter = fold.name == Macro::Filter;
        let filter = if is_filter { Some(fold.body) } else { fold.filter };
        // The list of one element that is added; one that is always the same costs nothing.
        let is_constant = !is_filter && self.program.steps[fold.body as usize].constant.is_some();
        let one = if is_constant { 2 } else { 2 + cost::LIST };
        let (mut list, mut fault) = (Vec::new(), None);
        for at in 0..count {
            let Some(pair) = element(at)? else { break };
            if !self.keeps(&mut fault, filter, fold, &pair)? {
                continue;
            }
            self.tools.meter.elements(1)?;
            if is_filter {
                self.charge(one + 1)?;
                list.push(pair.0);
            } else {
                self.charge(one)?;
                match self.body(fold, fold.body, &pair) {
                    Ok(value) => list.push(value),
                    Err(error) => self.keep(&mut fault, error)?,
                }
            }
        }
        self.charge(1)?;
        fault.map_or(Ok(Value::from(list)), Err)
    }

    /// `transformMap` and `transformMapEntry`.
    fn collect_map(
        &mut self,
        fold: &'v Fold,
        count: usize,
        element: impl Fn(usize) -> Result<Option<(Value<'v>, Value<'v>)>, EvalError>,
    ) -> Answer<'v> {
        let is_entry = fold.name == Macro::TransformMapEntry;
        let (mut map, mut fault) = (BTreeMap::new(), None);
        for at in 0..count {
            let Some(pair) = element(at)? else { break };
            if !self.keeps(&mut fault, fold.filter, fold, &pair)? {
                continue;
            }
            let value = self.body(fold, fold.body, &pair)?;
            self.tools.meter.elements(2)?;
            if !is_entry {
                self.charge(3)?;
                insert(&mut self.tools.meter, &mut map, &pair.0, value)?;
                continue;
            }
            self.charge(2)?;
            let Value::Map(entries) = value else { return Err(EvalError::NO_OVERLOAD) };
            self.tools.meter.elements(entries.len() * 2)?;
            for key in entries.keys() {
                if let Some(value) = entries.get(&key)? {
                    insert(&mut self.tools.meter, &mut map, &key, value)?;
                }
            }
        }
        self.charge(1)?;
        fault.map_or(Ok(Value::Map(Map::Owned(Arc::new(map)))), Err)
    }

    /// `optMap` and `optFlatMap`.
    fn optional(&mut self, fold: &'v Fold, range: &Value<'v>) -> Answer<'v> {
        let Some(inside) = optional::inside(range)? else {
            self.charge(2)?;
            return Ok(Value::none());
        };
        self.charge(1)?;
        self.locals.push(Local { value: (**inside).clone(), unread: Some(fold.range) });
        let answer = self.value(fold.body);
        self.locals.pop();
        let value = answer?;
        if fold.name == Macro::OptMap {
            self.charge(1)?;
            return Ok(Value::some(value));
        }
        optional::inside(&value)?;
        Ok(value)
    }

    fn sort_by(&mut self, fold: &'v Fold, range: Value<'v>) -> Answer<'v> {
        self.charge(1)?;
        let before = self.locals.len();
        let keys = self.each(fold, &range);
        self.locals.truncate(before);
        let arguments = [range, keys?];
        let sorted = lists::sort_by(&mut self.tools, &arguments)?;
        let cost = cost::Rule::SelfCompare(1).cost(&mut self.tools.meter, &arguments, None)?;
        self.charge(cost + 1)?;
        Ok(sorted)
    }
}
