//! JSON patches (RFC 6902).

use serde_json::{Value, json};

/// Changes of an object, one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(Vec<Value>);

impl Patch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field, or puts an item before another of a list (`-`: at its end). What is around it must be there.
    pub fn add<'p>(mut self, path: impl IntoIterator<Item = &'p str>, value: Value) -> Self {
        self.0.push(json!({"op": "add", "path": pointer(path), "value": value}));
        self
    }

    /// Replaces what is there.
    pub fn replace<'p>(mut self, path: impl IntoIterator<Item = &'p str>, value: Value) -> Self {
        self.0.push(json!({"op": "replace", "path": pointer(path), "value": value}));
        self
    }

    /// Takes away what is there.
    pub fn remove<'p>(mut self, path: impl IntoIterator<Item = &'p str>) -> Self {
        self.0.push(json!({"op": "remove", "path": pointer(path)}));
        self
    }

    /// What makes one value of another.
    pub fn between(before: &Value, after: &Value) -> Self {
        let mut patch = Self::default();
        patch.difference(&mut Vec::new(), before, after);
        patch
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        Value::from(self.0.clone()).to_string().into_bytes()
    }

    fn difference(&mut self, path: &mut Vec<String>, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(old), Value::Object(new)) => {
                for key in old.keys().filter(|key| !new.contains_key(*key)) {
                    path.push(key.clone());
                    self.0.push(json!({"op": "remove", "path": pointer(path.iter().map(String::as_str))}));
                    path.pop();
                }
                for (key, value) in new {
                    path.push(key.clone());
                    match old.get(key) {
                        Some(there) => self.difference(path, there, value),
                        None => self.push("add", path, value),
                    }
                    path.pop();
                }
            }
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    path.push(index.to_string());
                    self.difference(path, old, new);
                    path.pop();
                }
            }
            _ => self.push("replace", path, after),
        }
    }

    fn push(&mut self, op: &str, path: &[String], value: &Value) {
        self.0.push(json!({"op": op, "path": pointer(path.iter().map(String::as_str)), "value": value}));
    }
}

/// RFC 6901.
fn pointer<'p>(path: impl IntoIterator<Item = &'p str>) -> String {
    path.into_iter()
        .fold(String::new(), |pointer, name| pointer + "/" + &name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_changed_and_no_more() {
        let before = json!({"a": {"x/y": 1, "gone": 2}, "list": [{"n": 1}, {"n": 2}], "same": [1]});
        let after = json!({"a": {"x/y": 3, "new~": 4}, "list": [{"n": 1}, {"n": 5}], "same": [1]});
        let expected = Patch::new()
            .remove(["a", "gone"])
            .add(["a", "new~"], json!(4))
            .replace(["a", "x/y"], json!(3))
            .replace(["list", "1", "n"], json!(5));
        let mut patch = Patch::between(&before, &after);
        let path = |op: &Value| op["path"].to_string();
        patch.0.sort_by_key(path);
        let mut expected = expected;
        expected.0.sort_by_key(path);
        assert_eq!(patch, expected);
        assert!(Patch::between(&before, &before).is_empty());
        let shorter = Patch::between(&json!([1, 2]), &json!([1]));
        assert_eq!(shorter.to_json(), br#"[{"op":"replace","path":"","value":[1]}]"#);
    }
}
