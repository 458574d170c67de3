//! Several managers who apply and update one object, in any order.

use berth_api::managed_fields::{Applier, Writer, apply, record_update};
use berth_api::{Configuration, Schema, Timestamp};
use berth_json::{Map, Value, json};

use crate::fuzz::fuzz;
use crate::measure::bounded;

/// A type with every way in which a place can be owned.
const TYPES: &str = r#"
{"name":"x.v1.Thing","kinds":["x.dev/v1/Thing"],"open":true,"fields":[{"name":"metadata","type":"meta.v1.ObjectMeta","omitempty":true},{"name":"spec","type":"x.v1.Part","omitempty":true,"pointer":true},{"name":"free","type":"deduced","omitempty":true}]}
{"name":"x.v1.Part","fields":[{"name":"a","type":"string","omitempty":true},{"name":"map","type":"string","map":true,"omitempty":true},{"name":"whole","type":"string","map":true,"mapType":"atomic","omitempty":true},{"name":"list","type":"string","list":true,"omitempty":true},{"name":"set","type":"string","list":true,"listType":"set","omitempty":true},{"name":"items","type":"x.v1.Item","list":true,"listType":"map","listKeys":["k","p"],"omitempty":true},{"name":"part","type":"x.v1.Part","pointer":true,"omitempty":true}]}
{"name":"x.v1.Item","fields":[{"name":"k","type":"string","omitempty":true},{"name":"p","type":"int32","omitempty":true,"default":1},{"name":"v","type":"string","omitempty":true},{"name":"part","type":"x.v1.Part","pointer":true,"omitempty":true}]}
"#;
const TYPE: &str = "x.v1.Thing";

/// How deep the objects are that are made up.
const DEPTH_MAX: usize = 4;
const MANAGERS: [&str; 4] = ["a", "b", "c", "kubectl"];

fn schema() -> Schema {
    let mut schema = Schema::clone(Schema::builtin());
    schema.extend(TYPES).unwrap();
    schema
}

/// Choices, as many as there are bytes; then always the first.
struct Dice<'b> {
    bytes: std::slice::Iter<'b, u8>,
    /// Whether fields may be null.
    nulls: bool,
}

impl Dice<'_> {
    fn roll(&mut self, sides: u8) -> u8 {
        self.bytes.next().map_or(0, |byte| byte % sides)
    }

    fn is_over(&self) -> bool {
        self.bytes.len() == 0
    }

    fn word(&mut self) -> Value {
        ["x", "y", ""][usize::from(self.roll(3))].into()
    }

    fn thing(&mut self) -> Value {
        let mut thing = json!({"metadata": {"name": "n"}});
        if self.roll(4) > 0 {
            thing["spec"] = self.part(0);
        }
        if self.roll(3) == 2 {
            thing["free"] = self.free(0);
        }
        if self.roll(4) == 3 {
            thing["other"] = self.free(0);
        }
        thing
    }

    fn part(&mut self, depth: usize) -> Value {
        let mut part = json!({});
        for name in ["a", "map", "whole", "list", "set", "items", "part"] {
            if self.roll(3) == 2 {
                let is_null = self.nulls && self.roll(6) == 5;
                let value = if is_null { Value::Null } else { self.field(name, depth) };
                // A list without elements, where each has an owner, is nobody's, and says nothing.
                if name == "list" || value != json!([]) {
                    part[name] = value;
                }
            }
        }
        part
    }

    fn field(&mut self, name: &str, depth: usize) -> Value {
        match name {
            "a" => self.word(),
            "map" | "whole" => (0..self.roll(3)).map(|_| (self.key(), self.word())).collect(),
            "list" => (0..self.roll(3)).map(|_| self.word()).collect(),
            "set" => ["x", "y", "z"].into_iter().filter(|_| self.roll(2) == 1).map(Value::from).collect(),
            "items" => {
                let mut items = Vec::new();
                for (key, port) in [("x", 1), ("y", 1), ("x", 2)] {
                    if self.roll(2) == 1 {
                        let at = usize::from(self.roll(2)).min(items.len());
                        items.insert(at, self.item(key, port, depth));
                    }
                }
                items.into()
            }
            _ if depth < DEPTH_MAX => self.part(depth + 1),
            _ => json!({}),
        }
    }

    fn item(&mut self, key: &str, port: i32, depth: usize) -> Value {
        let mut item = json!({"k": key});
        if port != 1 || self.roll(2) == 1 {
            item["p"] = port.into();
        }
        if self.roll(2) == 1 {
            item["v"] = self.word();
        }
        if depth < DEPTH_MAX && self.roll(4) == 3 {
            item["part"] = self.part(depth + 1);
        }
        item
    }

    fn free(&mut self, depth: usize) -> Value {
        match self.roll(5) {
            0 | 1 if depth < DEPTH_MAX => {
                (0..self.roll(3)).map(|_| (self.key(), self.free(depth + 1))).collect()
            }
            2 => json!([1, {"a": self.word()}]),
            3 => Value::Null,
            _ => self.word(),
        }
    }

    fn key(&mut self) -> String {
        ["x", "y", "z"][usize::from(self.roll(3))].to_owned()
    }
}

struct World<'s> {
    schema: &'s Schema,
    object: Option<Value>,
    second: i64,
}

impl World<'_> {
    fn writer<'a>(&mut self, manager: &'a str) -> Writer<'a> {
        self.second += 1;
        Writer {
            manager,
            api_version: "x.dev/v1",
            subresource: "",
            now: Timestamp::from_seconds(self.second),
        }
    }

    /// Whether it went through, and whether who owns what changed.
    fn apply(&mut self, manager: &str, config: &Value, force: bool) -> Option<bool> {
        let writer = self.writer(manager);
        let applier = Applier { writer, force, ignored: &[] };
        let applied = apply(self.schema, TYPE, self.object.as_ref(), config, applier);
        let applied = applied.map_err(|refused| assert_eq!(refused.code, 409, "{refused}")).ok()?;
        let (mut object, is_changed) = (applied.object, applied.managers.is_changed);
        if let Some(managers) = applied.managers.encode() {
            managers.put_into(&mut object);
        }
        self.object = Some(object);
        Some(is_changed)
    }

    fn update(&mut self, manager: &str, mut new: Value) {
        let Some(old) = self.object.clone() else { return };
        let writer = self.writer(manager);
        if let Some(managers) = record_update(self.schema, TYPE, &mut new, Some(&old), writer) {
            managers.put_into(&mut new);
        }
        self.object = Some(new);
    }

    fn content(&self) -> Value {
        let mut object = self.object.clone().unwrap_or_default();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        object
    }

    fn owned_by(&self, manager: &str) -> Option<Value> {
        let entries = self.object.as_ref()?["metadata"]["managedFields"].as_array()?.clone();
        let own = |entry: &Value| entry["manager"] == manager && entry["operation"] == "Apply";
        entries.into_iter().find(own).map(|entry| entry["fieldsV1"].clone())
    }
}

/// Whether the object is what the configuration says, and whether its applier owns that.
fn holds(name: &str, config: &Value, object: Option<&Value>, owned: &Value) -> bool {
    let is_leaf = matches!(name, "whole" | "list");
    let step = |step: String| owned.get(step.as_str()).cloned().unwrap_or_default();
    match (config, object) {
        (Value::Object(config), Some(Value::Object(object))) if !is_leaf => {
            config.iter().all(|(key, value)| {
                let own = step(format!("f:{key}"));
                key == "metadata" || (own.is_object() && holds(key, value, object.get(key), &own))
            })
        }
        (Value::Array(config), Some(Value::Array(object))) if name == "items" => config.iter().all(|item| {
            let port = item.get("p").cloned().unwrap_or(1.into());
            let same = |other: &&Value| {
                other["k"] == item["k"] && other.get("p").cloned().unwrap_or(1.into()) == port
            };
            let own = step(format!("k:{}", json!({"k": item["k"], "p": port})));
            own.is_object() && holds("", item, object.iter().find(same), &own)
        }),
        (Value::Array(config), Some(Value::Array(object))) if name == "set" => {
            config.iter().all(|value| object.contains(value) && step(format!("v:{value}")).is_object())
        }
        (Value::Null, _) => true,
        (config, object) => Some(config) == object,
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_hollow),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

#[test]
fn what_is_applied_by_force_is_so_and_owned_and_stays_when_applied_again() {
    let schema = schema();
    fuzz(|bytes| {
        let mut world = World { schema: &schema, object: None, second: 0 };
        let mut dice = Dice { bytes: bytes.iter(), nulls: true };
        while !dice.is_over() {
            let manager = MANAGERS[usize::from(dice.roll(4))];
            let (kind, thing) = (dice.roll(4), dice.thing());
            if kind == 0 {
                world.update("u", thing);
                continue;
            }
            let before = world.content();
            let force = kind == 1;
            let outcome = bounded("applying", || world.apply(manager, &thing, force));
            if outcome.is_none() {
                assert!(!force && world.content() == before);
                continue;
            }
            let owned = world.owned_by(manager).unwrap_or_default();
            assert!(
                holds("", &thing, Some(&world.content()), &owned),
                "{thing} in {:#}",
                world.object.unwrap()
            );
            let after = world.content();
            // What is left without any manager is of before the first apply for the next one.
            let is_tracked =
                world.object.as_ref().is_some_and(|o| o["metadata"].get("managedFields").is_some());
            let again = world.apply(manager, &thing, false);
            assert!(again == Some(false) || (again.is_some() && !is_tracked), "{thing} in {after:#}");
            assert_eq!(world.content(), after);
        }
    });
}

#[test]
fn what_everybody_gave_up_is_gone() {
    let schema = schema();
    fuzz(|bytes| {
        let mut world = World { schema: &schema, object: None, second: 0 };
        // A null may wait in the place of a list that is empty now, which is nobody's.
        let mut dice = Dice { bytes: bytes.iter(), nulls: false };
        while !dice.is_over() {
            let manager = MANAGERS[usize::from(dice.roll(4))];
            let force = dice.roll(2) == 0;
            world.apply(manager, &dice.thing(), force);
        }
        for manager in MANAGERS {
            assert!(world.apply(manager, &json!({"metadata": {"name": "n"}}), false).is_some());
        }
        let mut rest = world.content();
        rest.as_object_mut().map(|fields| fields.remove("metadata"));
        assert!(is_hollow(&rest), "{rest:#}");
        assert_eq!(world.object.unwrap_or_default()["metadata"].get("managedFields"), None);
    });
}

/// Steps of sets as they are, as they were in another schema, and as they never are.
const STEPS: [&str; 18] = [
    ".",
    "f:spec",
    "f:items",
    "k:{\"k\":\"x\",\"p\":1}",
    "k:{\"p\":1,\"k\":\"x\"}",
    "k:{}",
    "k:[",
    "f:set",
    "v:\"x\"",
    "v:{",
    "f:whole",
    "f:list",
    "i:0",
    "i:x",
    "f:",
    "f:part",
    "f:metadata",
    "f:free",
];

fn some_set(dice: &mut Dice<'_>, depth: usize) -> Value {
    let steps = if depth < 6 { dice.roll(4) } else { 0 };
    let set = (0..steps).map(|_| {
        let step = STEPS[usize::from(dice.roll(STEPS.len() as u8))];
        (step.to_owned(), if step == "." { json!({}) } else { some_set(dice, depth + 1) })
    });
    set.collect()
}

#[test]
fn whatever_a_client_says_of_managers_can_be_applied_over() {
    let schema = schema();
    fuzz(|bytes| {
        let mut dice = Dice { bytes: bytes.iter(), nulls: true };
        let mut object = dice.thing();
        let entries = (0..=dice.roll(4)).map(|_| {
            json!({
                "manager": MANAGERS[usize::from(dice.roll(4))], "apiVersion": "x.dev/v1", "fieldsType": "FieldsV1",
                "operation": ["Apply", "Update"][usize::from(dice.roll(2))], "fieldsV1": some_set(&mut dice, 0),
            })
        });
        object["metadata"]["managedFields"] = entries.collect();
        let mut world = World { schema: &schema, object: Some(object), second: 0 };
        while !dice.is_over() {
            let (manager, thing) = (MANAGERS[usize::from(dice.roll(4))], dice.thing());
            bounded("applying", || world.apply(manager, &thing, false));
            bounded("applying", || world.apply(manager, &thing, true)).unwrap();
            let owned = world.owned_by(manager).unwrap_or_default();
            assert!(
                holds("", &thing, Some(&world.content()), &owned),
                "{thing} in {:#}",
                world.object.unwrap()
            );
        }
    });
}

/// Applies a large configuration to nothing, then to what came of it, turned round, by another manager. Returns the codes.
fn twice(what: &str, config: &str) -> [u16; 2] {
    let read = bounded(what, || Configuration::parse(config.as_bytes()));
    let Ok(config) = read else { return [413, 413] };
    let schema = schema();
    let mut live = None;
    ["one", "other"].map(|manager| {
        let now = Timestamp::from_seconds(0);
        let writer = Writer { manager, api_version: "x.dev/v1", subresource: "", now };
        let applier = Applier { writer, force: true, ignored: &[] };
        let config = if live.is_some() { turned(config.value()) } else { config.value().clone() };
        let applied = bounded(what, || {
            let applied = apply(&schema, TYPE, live.as_ref(), &config, applier)?;
            Ok((applied.object, applied.managers.encode()))
        });
        match applied {
            Ok((mut object, managers)) => {
                managers.unwrap().put_into(&mut object);
                live = Some(object);
                200
            }
            Err(refused) => {
                let refused: berth_api::Status = refused;
                refused.code
            }
        }
    })
}

/// With every list the other way round.
fn turned(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().rev().map(turned).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), turned(value))).collect::<Map>().into()
        }
        other => other.clone(),
    }
}

#[test]
fn large_configurations() {
    let items = |count: usize| {
        let items: Vec<String> = (0..count).map(|at| format!("{{\"k\":\"n{at}\",\"v\":\"x\"}}")).collect();
        format!("{{\"spec\":{{\"items\":[{}]}}}}", items.join(","))
    };
    assert_eq!(twice("many elements", &items(30_000)), [200, 200]);
    assert_eq!(twice("elements as many as a body holds", &items(100_000)), [413, 413]);
    let values: Vec<String> = (0..100_000).map(|at| format!("\"value-{at}\"")).collect();
    assert_eq!(twice("a large set", &format!("{{\"spec\":{{\"set\":[{}]}}}}", values.join(","))), [200, 200]);
    let entries: Vec<String> = (0..60_000).map(|at| format!("\"key-{at}\":\"v\"")).collect();
    assert_eq!(
        twice("a large map", &format!("{{\"spec\":{{\"map\":{{{}}}}}}}", entries.join(","))),
        [200, 200]
    );
    let same = vec!["{\"k\":\"n\"}"; 30_000].join(",");
    assert_eq!(
        twice("one element again and again", &format!("{{\"spec\":{{\"items\":[{same}]}}}}")),
        [400, 400]
    );
    let unknown: Vec<String> = (0..60_000).map(|at| format!("\"unknown-{at}\":\"v\"")).collect();
    assert_eq!(twice("unknown fields", &format!("{{\"spec\":{{{}}}}}", unknown.join(","))), [400, 400]);
    let long = "x".repeat(1 << 20);
    let below: Vec<String> = (0..50_000).map(|at| format!("\"{at}\":1")).collect();
    let deep =
        format!("{{\"spec\":{{\"part\":{{\"{long}\":1,\"map\":{{\"{long}\":1,{}}}}}}}}}", below.join(","));
    assert_eq!(twice("long names with problems below", &deep), [400, 400]);
}
