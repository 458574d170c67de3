//! The status of a definition: which names it got, and whether its kind is served.

use std::collections::BTreeSet;

use berth_api::Timestamp;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_json::{Map, Value, json};

const ACCEPTED: &str = "NamesAccepted";
const ESTABLISHED: &str = "Established";

/// The status that a definition should have among the other definitions; none when it has it. Names that another
/// definition of the group has are not taken from it; the others are, and once all were a kind is served for good.
pub fn conditions<'d>(
    definition: &Value,
    others: impl IntoIterator<Item = &'d Value>,
    now: Timestamp,
) -> Option<Value> {
    let taken = Taken::of(definition, others);
    let (names, conflict) = taken.names(definition);
    let mut status = definition.get("status").cloned().unwrap_or_else(|| Map::new().into());
    status["acceptedNames"] = names;
    let is_accepted = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    set(&mut status, ACCEPTED, is_accepted, reason, &message, now);
    if !is_established(definition) {
        let (reason, message) = if is_accepted {
            ("InitialNamesAccepted", "the initial names have been accepted")
        } else {
            ("NotAccepted", "not all names are accepted")
        };
        set(&mut status, ESTABLISHED, is_accepted, reason, message, now);
    }
    (definition.get("status") != Some(&status)).then_some(status)
}

/// Whether the kind of a definition is served.
pub fn is_established(definition: &Value) -> bool {
    is_true(definition, ESTABLISHED)
}

/// Whether a condition holds.
pub(super) fn is_true(definition: &Value, name: &str) -> bool {
    let mut conditions = list_at(definition, "status.conditions").iter();
    conditions.any(|condition| condition["type"] == name && condition["status"] == "True")
}

/// The names that other definitions of a group have.
struct Taken<'d> {
    resources: BTreeSet<&'d str>,
    kinds: BTreeSet<&'d str>,
}

impl<'d> Taken<'d> {
    fn of(definition: &Value, others: impl IntoIterator<Item = &'d Value>) -> Self {
        let mut taken = Self { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        let is_other = |other: &&Value| {
            other["spec"]["group"] == definition["spec"]["group"]
                && other["metadata"]["name"] != definition["metadata"]["name"]
        };
        for other in others.into_iter().filter(is_other) {
            let names = |name| str_at(other, name);
            taken.resources.insert(names("status.acceptedNames.plural"));
            taken.resources.insert(names("status.acceptedNames.singular"));
            taken.resources.extend(texts(other, "status.acceptedNames.shortNames"));
            taken.kinds.insert(names("status.acceptedNames.kind"));
            taken.kinds.insert(names("status.acceptedNames.listKind"));
        }
        taken.resources.remove("");
        taken.kinds.remove("");
        taken
    }

    /// The names that a definition gets, and the last conflict.
    fn names(&self, definition: &Value) -> (Value, Option<(&'static str, String)>) {
        let mut names = at(definition, "status.acceptedNames").cloned().unwrap_or_else(|| json!({}));
        let mut conflict = None;
        let wishes = [
            ("plural", "PluralConflict", &self.resources),
            ("singular", "SingularConflict", &self.resources),
            ("shortNames", "ShortNamesConflict", &self.resources),
            ("kind", "KindConflict", &self.kinds),
            ("listKind", "ListKindConflict", &self.kinds),
        ];
        for (name, reason, taken) in wishes {
            let wished = definition["spec"]["names"].get(name);
            let in_use: Vec<String> = match wished {
                Some(Value::Array(list)) => list.iter().filter_map(|name| in_use(name, taken)).collect(),
                Some(name) => in_use(name, taken).into_iter().collect(),
                None => Vec::new(),
            };
            if in_use.is_empty() {
                put(&mut names, name, wished);
            } else if in_use.len() == 1 {
                conflict = Some((reason, in_use.concat()));
            } else {
                conflict = Some((reason, format!("[{}]", in_use.join(", "))));
            }
        }
        put(&mut names, "categories", definition["spec"]["names"].get("categories"));
        (names, conflict)
    }
}

fn in_use(name: &Value, taken: &BTreeSet<&str>) -> Option<String> {
    taken.contains(name.as_str()?).then(|| format!("{name} is already in use"))
}

fn put(names: &mut Value, name: &str, value: Option<&Value>) {
    let Some(fields) = names.as_object_mut() else { return };
    match value {
        Some(value) => drop(fields.insert(name, value.clone())),
        None => drop(fields.remove(name)),
    }
}

fn texts<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v str> {
    list_at(object, path).iter().filter_map(Value::as_str)
}

fn set(status: &mut Value, name: &str, holds: bool, reason: &str, message: &str, now: Timestamp) {
    let mut condition = json!({
        "type": name, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now.rfc3339(),
        "reason": reason, "message": message,
    });
    if status["conditions"].as_array().is_none() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == name) {
        Some(before) => {
            if before["status"] == condition["status"] {
                condition["lastTransitionTime"] = before["lastTransitionTime"].clone();
            }
            *before = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use berth_api::Timestamp;
    use berth_json::{Value, json};

    use super::{conditions, is_established};

    fn definition(plural: &str, kind: &str) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.g.example")},
            "spec": {"group": "g.example", "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
                "shortNames": ["s"],
            }},
        })
    }

    fn with_status(mut definition: Value, status: Value) -> Value {
        definition["status"] = status;
        definition
    }

    #[test]
    fn the_first_gets_its_names_and_the_second_those_that_are_left() {
        let now = Timestamp::from_seconds(0);
        let first = definition("as", "A");
        let status = conditions(&first, [], now).unwrap();
        assert_eq!(status["acceptedNames"], first["spec"]["names"]);
        assert_eq!(status["conditions"][0]["reason"], "NoConflicts");
        assert_eq!(status["conditions"][1]["reason"], "InitialNamesAccepted");
        let first = with_status(first, status);
        assert!(is_established(&first));
        assert_eq!(conditions(&first, [&first], Timestamp::from_seconds(9)), None);

        let second = definition("bs", "A");
        let status = conditions(&second, [&first], now).unwrap();
        assert_eq!(status["acceptedNames"], json!({"plural": "bs"}));
        assert_eq!(status["conditions"][0]["status"], "False");
        assert_eq!(status["conditions"][0]["message"], "\"AList\" is already in use");
        assert_eq!(status["conditions"][1]["reason"], "NotAccepted");
        let second = with_status(second, status);
        assert!(!is_established(&second));
        // The first one goes: its names are free.
        let status = conditions(&second, [], Timestamp::from_seconds(5)).unwrap();
        assert_eq!(status["conditions"][1]["status"], "True");
        assert_eq!(status["conditions"][1]["lastTransitionTime"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn what_was_served_stays_served_when_a_new_name_is_taken() {
        let now = Timestamp::from_seconds(0);
        let first = definition("as", "A");
        let first = with_status(first.clone(), conditions(&first, [], now).unwrap());
        let mut second = definition("bs", "B");
        second["spec"]["names"]["shortNames"] = json!([]);
        let mut second = with_status(second.clone(), conditions(&second, [&first], now).unwrap());
        second["spec"]["names"]["shortNames"] = json!(["s"]);
        let status = conditions(&second, [&first], now).unwrap();
        assert_eq!(status["conditions"][0]["reason"], "ShortNamesConflict");
        assert_eq!(status["acceptedNames"]["shortNames"], json!([]));
        assert!(is_established(&with_status(second, status)));
    }
}
