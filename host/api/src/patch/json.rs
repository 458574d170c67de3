//! JSON patch (RFC 6902) with the leniencies of the library that the API server uses: replacing an absent key adds it,
//! removing one does nothing, copying from one gives null, negative indexes count from the end.

use berth_json::{Map, Value};

use crate::decode::budget::Extent;
use crate::decode::{Budget, DEPTH_MAX, Spent};

/// A patch that cannot be applied; the API server does not say why, so neither does this.
pub(super) struct Unpatchable;

impl From<Spent> for Unpatchable {
    fn from(_: Spent) -> Self {
        Self
    }
}

/// How many bytes `copy` operations may add, so that doubling copies end early: as on the API server, the largest body.
const COPIED_BYTES_MAX: usize = crate::decode::BODY_BYTES_MAX;

pub(super) fn apply(object: &Value, operations: &[Value], budget: &Budget) -> Result<Value, Unpatchable> {
    let mut document = Document { root: object.clone(), copied_bytes: 0, budget };
    for operation in operations {
        document.apply(operation)?;
    }
    Ok(document.root)
}

struct Document<'b> {
    root: Value,
    copied_bytes: usize,
    budget: &'b Budget,
}

impl Document<'_> {
    fn apply(&mut self, operation: &Value) -> Result<(), Unpatchable> {
        let text = |field: &str| operation.get(field).and_then(Value::as_str).ok_or(Unpatchable);
        let path = text("path")?;
        let value = || operation.get("value").cloned().unwrap_or(Value::Null);
        self.budget.steps(1)?;
        match text("op")? {
            "add" => self.add(path, value()),
            "remove" => self.remove(path).map(drop),
            "replace" => self.replace(path, value()),
            "move" => {
                let moved = self.remove(text("from")?)?;
                self.add(path, moved)
            }
            "copy" => {
                let copied = self.copy(text("from")?)?;
                self.add(path, copied)
            }
            "test" => self.test(path, operation.get("value")),
            _ => Err(Unpatchable),
        }
    }

    fn copy(&mut self, from: &str) -> Result<Value, Unpatchable> {
        let budget = self.budget;
        let Some(found) = self.get(from)? else { return Ok(Value::Null) };
        let extent = Extent::of(found, budget)?;
        budget.bytes(extent.bytes)?;
        let copied = found.clone();
        self.copied_bytes += copied.to_string().len();
        if self.copied_bytes > COPIED_BYTES_MAX { Err(Unpatchable) } else { Ok(copied) }
    }

    /// Whether a value may stand at a path: operation after operation could nest it as deep as it likes.
    fn check_depth(&self, path: &str, value: &Value) -> Result<(), Unpatchable> {
        let depth = path.bytes().filter(|byte| *byte == b'/').count();
        let height = Extent::of(value, self.budget)?.height;
        if depth + height > DEPTH_MAX { Err(Unpatchable) } else { Ok(()) }
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), Unpatchable> {
        self.check_depth(path, &value)?;
        let budget = self.budget;
        let (parent, key) = self.parent(path)?;
        match parent {
            Value::Object(fields) => {
                fields.insert(key, value);
            }
            Value::Array(values) => {
                let at = if key == "-" { values.len() } else { index(&key, values.len() + 1)? };
                budget.moves(values.len() - at)?;
                values.insert(at, value);
            }
            _ => return Err(Unpatchable),
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<Value, Unpatchable> {
        let budget = self.budget;
        let (parent, key) = self.parent(path)?;
        match parent {
            Value::Object(fields) => Ok(fields.remove(&key).unwrap_or(Value::Null)),
            Value::Array(values) => {
                let at = index(&key, values.len())?;
                budget.moves(values.len() - at)?;
                Ok(values.remove(at))
            }
            _ => Err(Unpatchable),
        }
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), Unpatchable> {
        self.check_depth(path, &value)?;
        if path.is_empty() {
            self.root = if value.is_null() { Map::new().into() } else { value };
            return Ok(());
        }
        let (parent, key) = self.parent(path)?;
        match parent {
            Value::Object(fields) => {
                fields.insert(key, value);
            }
            Value::Array(values) => {
                let at = index(&key, values.len())?;
                values[at] = value;
            }
            _ => return Err(Unpatchable),
        }
        Ok(())
    }

    fn test(&mut self, path: &str, wanted: Option<&Value>) -> Result<(), Unpatchable> {
        let found = if path.is_empty() { Some(&self.root) } else { self.get(path)? };
        let is_equal = found.unwrap_or(&Value::Null) == wanted.unwrap_or(&Value::Null);
        if is_equal { Ok(()) } else { Err(Unpatchable) }
    }

    /// The value at `path`; `None` for an absent key of an object.
    fn get(&mut self, path: &str) -> Result<Option<&Value>, Unpatchable> {
        let (parent, key) = self.parent(path)?;
        match parent {
            Value::Object(fields) => Ok(fields.get(&key)),
            Value::Array(values) => Ok(values.get(index(&key, values.len())?)),
            _ => Err(Unpatchable),
        }
    }

    /// The container in which the last step of `path` is taken, and that step.
    fn parent(&mut self, path: &str) -> Result<(&mut Value, String), Unpatchable> {
        let mut steps: Vec<String> =
            path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        if steps.len() < 2 {
            return Err(Unpatchable);
        }
        let last = steps.pop().ok_or(Unpatchable)?;
        let mut place = &mut self.root;
        for step in &steps[1..] {
            place = match place {
                Value::Object(fields) => fields.get_mut(step).ok_or(Unpatchable)?,
                Value::Array(values) => {
                    let at = index(step, values.len())?;
                    &mut values[at]
                }
                _ => return Err(Unpatchable),
            };
        }
        Ok((place, last))
    }
}

/// An index below `length`; negative ones count from the end.
fn index(step: &str, length: usize) -> Result<usize, Unpatchable> {
    let number: i64 = step.parse().map_err(|_| Unpatchable)?;
    let from_end = if number < 0 { number + length as i64 } else { number };
    usize::try_from(from_end).ok().filter(|at| *at < length).ok_or(Unpatchable)
}
