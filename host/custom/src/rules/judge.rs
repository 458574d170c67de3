//! Judging an object by its rules, against what it was.

use berth_api::{Cause, Problems};
use berth_cel::{Bindings, Budget, EvalError};
use berth_json::Value;

use super::{Compiled, MESSAGE_BYTES_MAX, OLD_SELF, Rules, SELF};
use crate::passes::{OldElements, is_unchanged};
use crate::path::Path;
use crate::structural::{JsonType, Structural};

/// Judges a value by the rules of its schema; what is wrong as it was is let be. `prefix` is the place of the value, empty for a whole object.
pub(crate) fn judge(
    rules: &Rules,
    schema: &Structural,
    new: &Value,
    old: Option<&Value>,
    prefix: &str,
) -> Problems {
    let mut judging = Judging { budget: Budget::of_object(), problems: Problems::default() };
    let root = if prefix.is_empty() { Path::Root } else { Path::Named(prefix) };
    let pair = old.map(|old| Pair { schema, new, old });
    judging.place(rules, &At { schema, value: new, pair, above: None, path: &root });
    judging.problems
}

/// A value and what it was.
#[derive(Clone, Copy)]
struct Pair<'v> {
    schema: &'v Structural,
    new: &'v Value,
    old: &'v Value,
}

impl Pair<'_> {
    fn is_unchanged(&self) -> bool {
        is_unchanged(self.schema, self.new, self.old)
    }
}

#[derive(Clone, Copy)]
struct At<'v> {
    schema: &'v Structural,
    value: &'v Value,
    /// The value and what it was, when that can be told.
    pair: Option<Pair<'v>>,
    /// The nearest place above of which it could be told.
    above: Option<Pair<'v>>,
    path: &'v Path<'v>,
}

struct Judging {
    budget: Budget,
    problems: Problems,
}

/// That no further rule is judged.
struct Stopped;

impl Judging {
    fn place(&mut self, rules: &Rules, at: &At<'_>) -> Option<Stopped> {
        if at.value.is_null() {
            return None;
        }
        for compiled in &rules.own {
            if let Some(stopped) = self.rule(compiled, at) {
                return Some(stopped);
            }
        }
        match at.value {
            Value::Array(elements) => {
                let (below, schema) = (rules.items.as_deref()?, at.schema.items.as_deref()?);
                let before = OldElements::of(at.schema, at.pair.map(|pair| pair.old));
                for (index, value) in elements.iter().enumerate() {
                    let old = before.as_ref().and_then(|before| before.what_was(value));
                    let path = Path::Index(at.path, index);
                    let part = at.part(schema, value, old, &path);
                    if let Some(stopped) = self.place(below, &part) {
                        return Some(stopped);
                    }
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let Some(schema) = at.schema.field(name) else { continue };
                    let (field, key) = (Path::Field(at.path, name), Path::Key(at.path, name));
                    let (below, path) = match (rules.properties.get(name), at.schema.properties.get(name)) {
                        (Some(below), _) => (below, field),
                        (None, Some(_)) => continue,
                        (None, None) => match rules.others.as_deref() {
                            Some(below) => (below, key),
                            None => continue,
                        },
                    };
                    let old = at.pair.and_then(|pair| pair.old.get(name.as_str()));
                    let part = at.part(schema, value, old, &path);
                    if let Some(stopped) = self.place(below, &part) {
                        return Some(stopped);
                    }
                }
            }
            _ => {}
        }
        None
    }

    fn rule(&mut self, compiled: &Compiled, at: &At<'_>) -> Option<Stopped> {
        let old = at.pair.map(|pair| pair.old).filter(|old| !old.is_null());
        let is_optional = compiled.rule.optional_old_self == Some(true);
        if compiled.uses_old && old.is_none() && !is_optional {
            return None;
        }
        let bindings = bindings(at.value, old, is_optional);
        let answer = compiled.program.evaluate(&bindings, &self.budget);
        let json_type = at.schema.json_type.map_or("", JsonType::as_str);
        let mut refuse = |sentence: String| {
            self.problems.invalid(at.path.bracketed(), &json_type.into(), &sentence);
        };
        match answer {
            Ok(value) if value.as_bool() == Some(true) => None,
            Ok(_) => self.broken(compiled, at, &bindings),
            Err(EvalError::Exhausted) if self.budget.is_spent() => {
                refuse(OUT_OF_BUDGET.to_owned());
                Some(Stopped)
            }
            Err(why @ EvalError::Exhausted) => {
                refuse(format!(
                    "'{why}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    compiled.name()
                ));
                Some(Stopped)
            }
            Err(why) => {
                let why = why.to_string();
                refuse(if why.starts_with("no such overload") {
                    format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for \
                         rule: {}",
                        compiled.name()
                    )
                } else {
                    format!("{why} evaluating rule: {}", compiled.name())
                });
                None
            }
        }
    }

    /// A rule that does not hold: its message may be an expression of its own.
    fn broken(&mut self, compiled: &Compiled, at: &At<'_>, bindings: &Bindings<'_>) -> Option<Stopped> {
        let mut message = None;
        if let Some(expression) = &compiled.message {
            match expression.evaluate(bindings, &self.budget) {
                Ok(value) => message = value.as_str().and_then(usable),
                Err(EvalError::Exhausted) => {
                    let detail = "messageExpression evaluation failed due to running out of cost budget, no further \
                                  validation rules will be run";
                    let json_type = at.schema.json_type.map_or("", JsonType::as_str);
                    self.problems.invalid(compiled.place(at.path), &json_type.into(), detail);
                    return Some(Stopped);
                }
                // What cannot say why is said as if nothing had been written.
                Err(EvalError::Failed(_)) => {}
            }
        }
        let cause = cause(compiled, at, message.unwrap_or_else(|| compiled.default_message()));
        let is_as_it_was = at.pair.or(at.above).is_some_and(|pair| pair.is_unchanged());
        if !compiled.uses_old && is_as_it_was {
            self.problems.tolerate(&cause);
        } else {
            self.problems.push(cause);
        }
        None
    }
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl<'v> At<'v> {
    fn part(
        &self,
        schema: &'v Structural,
        value: &'v Value,
        old: Option<&'v Value>,
        path: &'v Path<'v>,
    ) -> At<'v> {
        let pair = old.map(|old| Pair { schema, new: value, old });
        At { schema, value, pair, above: self.pair.or(self.above), path }
    }
}

fn bindings<'v>(value: &'v Value, old: Option<&'v Value>, is_optional: bool) -> Bindings<'v> {
    let bindings = Bindings::new().json(SELF, value);
    match old {
        Some(old) => bindings.json(OLD_SELF, old),
        None if is_optional => bindings.value(OLD_SELF, berth_cel::Value::none()),
        None => bindings,
    }
}

/// A message that an expression made, if it is one.
fn usable(message: &str) -> Option<String> {
    let message = message.trim();
    let is_usable = !message.is_empty() && !message.contains('\n') && message.len() <= MESSAGE_BYTES_MAX;
    is_usable.then(|| message.to_owned())
}

/// What is told of a rule that does not hold; values that are not scalars are not shown.
fn cause(compiled: &Compiled, at: &At<'_>, message: String) -> Cause {
    let field = compiled.place(at.path);
    let shown = match at.value {
        Value::Object(_) | Value::Array(_) => String::new(),
        value => format!(": {value}"),
    };
    let (reason, message) = match compiled.rule.reason.as_str() {
        "FieldValueForbidden" => ("FieldValueForbidden", format!("Forbidden: {message}")),
        "FieldValueRequired" => ("FieldValueRequired", format!("Required value: {message}")),
        "FieldValueDuplicate" => ("FieldValueDuplicate", format!("Duplicate value{shown}")),
        _ => ("FieldValueInvalid", format!("Invalid value{shown}: {message}")),
    };
    Cause { reason, message, field }
}
