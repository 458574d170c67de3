//! Steps of a path for people: `f:spec`, `k:{"name":"c"}` become `.spec[name="c"]`.

use std::cmp::Ordering;

use berth_json::{Map, Value};

use super::set::FieldSet;

/// Appends a step of a path as the API server's messages show it.
pub(super) fn show(step: &str, out: &mut String) {
    match step.split_once(':') {
        Some(("f", name)) => {
            out.push('.');
            out.push_str(name);
        }
        Some(("k", keys)) => {
            let keys = serde_json::from_str::<Value>(keys).unwrap_or_default();
            let parts = keys.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
            out.push('[');
            out.push_str(&parts.collect::<Vec<_>>().join(","));
            out.push(']');
        }
        Some(("v", value)) => {
            out.push_str("[=");
            out.push_str(value);
            out.push(']');
        }
        Some((_, index)) => {
            out.push('[');
            out.push_str(index);
            out.push(']');
        }
        None => out.push_str(step),
    }
}

/// How much of a set a message shows: far more than anybody reads, and no more than an answer may hold. A path can be as
/// long as a body, and be part of many others.
const SHOWN_MAX: usize = 1000;
const SHOWN_BYTES_MAX: usize = 256 << 10;

/// Members of sets as paths, as many as a message shows.
pub(super) struct Paths {
    pub(super) shown: Vec<String>,
    bytes_left: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self { shown: Vec::new(), bytes_left: SHOWN_BYTES_MAX }
    }
}

impl Paths {
    /// Adds the members of a set in the API server's order: at each level first those that end there.
    pub(super) fn add(&mut self, set: &FieldSet) {
        self.collect(set, &mut String::new());
    }

    fn collect(&mut self, set: &FieldSet, path: &mut String) {
        let mut children: Vec<(&str, &FieldSet)> = set.children().collect();
        children.sort_by(|before, after| order(before.0, after.0));
        let length = path.len();
        for (step, _) in children.iter().filter(|(_, child)| child.member) {
            show(step, path);
            self.show(path);
            path.truncate(length);
        }
        for (step, child) in children {
            if !self.is_full() && child.has_children() {
                show(step, path);
                self.collect(child, path);
                path.truncate(length);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.shown.len() >= SHOWN_MAX || self.bytes_left == 0
    }

    fn show(&mut self, path: &str) {
        self.bytes_left = self.bytes_left.saturating_sub(path.len());
        if !self.is_full() {
            self.shown.push(path.to_owned());
        }
    }
}

/// How many members a set has.
pub(super) fn count(set: &FieldSet) -> usize {
    usize::from(set.member) + set.children().map(|(_, child)| count(child)).sum::<usize>()
}

/// Names before keys before values; keys and values by what they are, so that port 80 comes before 443.
fn order(before: &str, after: &str) -> Ordering {
    let kind = |step: &str| match step.as_bytes().first() {
        Some(b'f') => 0,
        Some(b'k') => 1,
        Some(b'v') => 2,
        _ => 3,
    };
    kind(before).cmp(&kind(after)).then_with(|| match kind(before) {
        0 => before.cmp(after),
        _ => by_value(before, after),
    })
}

fn by_value(before: &str, after: &str) -> Ordering {
    let parsed = |step: &str| serde_json::from_str::<Value>(step.get(2..).unwrap_or_default()).ok();
    match (parsed(before), parsed(after)) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => keys(&before, &after),
        (Some(before), Some(after)) => scalars(&before, &after),
        _ => before.cmp(after),
    }
}

fn keys(before: &Map, after: &Map) -> Ordering {
    for ((name, value), (other_name, other)) in before.iter().zip(after) {
        let order = name.cmp(other_name).then_with(|| scalars(value, other));
        if order.is_ne() {
            return order;
        }
    }
    before.len().cmp(&after.len())
}

fn scalars(before: &Value, after: &Value) -> Ordering {
    match (before.as_f64(), after.as_f64()) {
        (Some(before), Some(after)) => before.total_cmp(&after),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => before.to_string().cmp(&after.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use berth_json::json;

    use super::*;

    #[test]
    fn paths_are_shown_in_order() {
        let set = FieldSet::read(&json!({
            "f:ports": {"k:{\"port\":443,\"protocol\":\"TCP\"}": {"f:name": {}}, "k:{\"port\":80}": {".": {}}},
            "f:a": {"v:\"x\"": {}, "i:3": {}},
            "f:z": {},
        }));
        let set = set.unwrap();
        let all = [".z", ".a[=\"x\"]", ".a[3]", ".ports[port=80]", ".ports[port=443,protocol=\"TCP\"].name"];
        let mut paths = Paths::default();
        paths.add(&set);
        assert_eq!(paths.shown, all);
        assert_eq!(count(&set), all.len());
    }

    #[test]
    fn a_long_path_is_shown_no_more_often_than_fits() {
        let step = format!("f:{}", "x".repeat(SHOWN_BYTES_MAX / 3));
        let children = (0..9).map(|at| (format!("f:{at}").into(), FieldSet::leaf()));
        let set = FieldSet::of(false, vec![(step.into(), FieldSet::of(false, children.collect()))]);
        let mut paths = Paths::default();
        paths.add(&set);
        assert_eq!(paths.shown.len(), 2);
    }
}
