//! Whatever definitions and objects are sent, nothing panics, and work stays bounded.
#![allow(clippy::unwrap_used)] // a test may

use std::time::{Duration, Instant};

use berth_api::{Problems, Timestamp};
use berth_custom::{Structural, default, definitions, kinds_of, prune, validate};
use berth_json::{Map, Value, json};

/// What nothing here may take: bounded work takes a second or two on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn within_patience<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < PATIENCE, "{what} took {:?}", started.elapsed());
    result
}

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.g.example"},
        "spec": {
            "group": "g.example", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// All that is done with a definition; how much is wrong with it.
fn judge_definition(schema: Value) -> Problems {
    let resource = definitions();
    let mut definition = definition(schema);
    resource.behaviour.prune(&mut definition);
    resource.behaviour.prepare_create(&mut definition);
    resource.behaviour.default(&mut definition);
    let mut problems = Problems::default();
    resource.behaviour.validate(&definition, &mut problems);
    resource.behaviour.warnings(&definition);
    if problems.is_empty() {
        kinds_of(&definition).unwrap();
    }
    problems
}

/// All that is done with an object.
fn judge_object(schema: &Structural, mut object: Value, old: Option<&Value>) -> Problems {
    prune(schema, &mut object);
    default(schema, &mut object);
    let mut problems = Problems::default();
    validate(schema, &object, old, &mut problems);
    problems
}

/// A schema inside itself, so deep.
fn nested(depth: usize, wrap: impl Fn(Value) -> Value, inside: Value) -> Value {
    (0..depth).fold(inside, |inside, _| wrap(inside))
}

#[test]
fn schemas_that_are_large() {
    let wide: Map = (0..60_000).map(|at| (format!("f{at}"), json!({"type": "string"}))).collect();
    let wide = json!({"type": "object", "properties": wide});
    let problems = within_patience("a wide schema", || judge_definition(wide));
    assert!(problems.text().contains("too large"), "{}", problems.text());

    let object = |inside| json!({"type": "object", "properties": {"a": inside}});
    let deep =
        within_patience("a deep schema", || judge_definition(nested(45, object, json!({"type": "string"}))));
    assert!(deep.is_empty(), "{}", deep.text());
    let deeper =
        within_patience("a deeper one", || judge_definition(nested(90, object, json!({"type": "string"}))));
    assert!(deeper.text().contains("too large"), "{}", deeper.text());

    let rule = |at: usize| json!({"rule": format!("self + {at} > 0")});
    let rules = json!({"type": "object", "properties": {"a": {
        "type": "integer", "x-kubernetes-validations": (0..3000).map(rule).collect::<Value>(),
    }}});
    let problems = within_patience("many rules", || judge_definition(rules));
    assert!(problems.text().contains("too large"), "{}", problems.text());

    let patterns: Map = (0..1000)
        .map(|at| {
            (format!("p{at}"), json!({"type": "string", "pattern": format!("^(a{{1,500}}{at}){{1,20}}$")}))
        })
        .collect();
    let patterns = json!({"type": "object", "properties": patterns});
    let problems = within_patience("many patterns", || judge_definition(patterns));
    assert!(!problems.is_empty());
}

#[test]
fn clauses_in_clauses() {
    let both = |inside: Value| json!({"anyOf": [inside.clone(), inside]});
    let bomb = json!({"type": "object", "properties": {"a": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "anyOf": [nested(12, both, json!({"required": ["b"], "minProperties": 3}))],
    }}});
    let schema = within_patience("a bomb of clauses", || Structural::parse(&bomb).unwrap());
    let object = json!({"a": {}});
    let problems = within_patience("an object in it", || judge_object(&schema, object, None));
    assert!(!problems.is_empty());
}

#[test]
fn objects_that_meet_every_keyword_everywhere() {
    let clause = json!({"items": {"required": ["a", "b", "c"], "minProperties": 9}});
    let clauses: Vec<Value> = (0..200).map(|_| clause.clone()).collect();
    let schema = Structural::parse(&json!({"type": "object", "properties": {"l": {
        "type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}, "anyOf": clauses,
    }}}))
    .unwrap();
    let object = json!({"l": (0..200_000).map(|_| json!({})).collect::<Value>()});
    let problems = within_patience("a long list in many clauses", || judge_object(&schema, object, None));
    assert!(problems.text().contains("takes too long"), "{}", problems.causes.len());
}

#[test]
fn values_that_are_told_of_at_length() {
    let schema = Structural::parse(&json!({"type": "object", "properties": {"l": {
        "type": "array", "items": {"type": "string", "enum": ["a"]},
    }}}))
    .unwrap();
    let long: Value = "x".repeat(2000).into();
    let object = json!({"l": (0..1000).map(|_| long.clone()).collect::<Value>()});
    let problems = within_patience("long values", || judge_object(&schema, object, None));
    assert!(problems.text().len() < 4 << 20);
}

#[test]
fn defaults_in_defaults() {
    let list = |inside: Value| {
        let zeros: Vec<Value> = (0..10).map(|_| json!({})).collect();
        json!({"type": "object", "properties": {"l": {
            "type": "array", "items": inside, "default": zeros,
        }}})
    };
    // Ten times as much at each level: a small object would become one of 10^20 places.
    let schema = Structural::parse(&nested(20, list, json!({"type": "object"}))).unwrap();
    let mut object = json!({});
    within_patience("defaults", || default(&schema, &mut object));
    assert!(object["l"].is_array());
}

#[test]
fn rules_that_cost() {
    let problems = within_patience("a costly rule", || {
        judge_definition(json!({"type": "object", "properties": {"s": {
            "type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, self.all(c, a + b != c)))"}],
        }}}))
    });
    assert!(problems.text().contains("estimated rule cost"), "{}", problems.text());

    let mut bounded = definition(json!({"type": "object", "properties": {"s": {
        "type": "array", "maxItems": 200, "items": {"type": "integer"},
        "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a + b >= 0))"}],
    }}}));
    definitions().behaviour.prepare_create(&mut bounded);
    let kind = kinds_of(&bounded).unwrap().remove(0);
    let object = json!({
        "apiVersion": "g.example/v1", "kind": "A", "metadata": {"name": "a", "namespace": "n"},
        "s": (0..200).collect::<Value>(),
    });
    let mut problems = Problems::default();
    within_patience("its judging", || kind.behaviour.validate(&object, &mut problems));
    assert!(problems.is_empty(), "{}", problems.text());
}

#[test]
fn paths_of_columns_that_lead_everywhere() {
    let mut definition = definition(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "E", "type": "string", "jsonPath": format!(".l{}.x", "[*]".repeat(20))},
        {"name": "F", "type": "string", "jsonPath": ".l[?(@.a==1)][?(@.b==2)].x"},
    ]);
    let kind = kinds_of(&definition).unwrap().remove(0);
    let list = |inside: Value| json!([inside.clone(), inside]);
    let object = json!({"l": nested(16, list, json!({"a": 1}))});
    let cells = within_patience("cells", || {
        kind.cells(&kind.behaviour.columns(), &object, Timestamp::from_seconds(0))
    });
    assert_eq!(cells[1..], [Value::Null, Value::Null]);
}

/// Makes schemas and values of bytes.
struct Maker<'b> {
    bytes: &'b [u8],
}

impl Maker<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn name(&mut self) -> &'static str {
        ["a", "b", "metadata", "kind", "spec", "status", "", "x-y"][usize::from(self.byte() % 8)]
    }

    fn schema(&mut self, depth: usize) -> Value {
        let mut schema = json!({});
        for _ in 0..self.byte() % 6 {
            let (keyword, said) = self.keyword(depth);
            schema[keyword] = said;
        }
        schema
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Value) {
        const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "odd"];
        const NUMBERS: [&str; 9] = [
            "maximum",
            "minimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "maxItems",
            "minItems",
            "maxProperties",
            "minProperties",
        ];
        const FLAGS: [&str; 6] = [
            "nullable",
            "uniqueItems",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
            "exclusiveMaximum",
        ];
        let at = usize::from(self.byte());
        match self.byte() % 16 {
            0..=3 => ("type", TYPES[at % 7].into()),
            4 | 5 if depth > 0 => {
                let fields = (0..at % 4).map(|_| (self.name(), self.schema(depth - 1)));
                ("properties", fields.collect::<Map>().into())
            }
            6 if depth > 0 => ("items", self.schema(depth - 1)),
            7 if depth > 0 => ("additionalProperties", self.schema(depth - 1)),
            8 if depth > 0 => {
                let clauses = (0..at % 3).map(|_| self.schema(depth - 1)).collect();
                (["allOf", "anyOf", "oneOf"][at % 3], clauses)
            }
            9 => (NUMBERS[at % 9], i64::from(self.byte() as i8).into()),
            10 => (FLAGS[at % 6], self.byte().is_multiple_of(2).into()),
            11 => ("default", self.value(2)),
            12 => ("enum", (0..at % 3).map(|_| self.value(1)).collect()),
            13 => ("pattern", ["^a+$", "(", "[", "a{2", r"\d"][at % 5].into()),
            14 => ("x-kubernetes-list-type", ["set", "map", "atomic", "odd"][at % 4].into()),
            _ if at % 2 == 0 => ("required", json!([self.name()])),
            _ => {
                let rule = ["self == oldSelf", "true", "self.a > 1", "has(self.a)", "(((", "self.size() > 2"]
                    [at % 6];
                (
                    "x-kubernetes-validations",
                    json!([{"rule": rule, "fieldPath": ["", ".a", "a", ".a["][at % 4]}]),
                )
            }
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.byte() % 9 {
            0 => Value::Null,
            1 => self.byte().is_multiple_of(2).into(),
            2 => i64::from(self.byte() as i8).into(),
            3 => (f64::from(self.byte()) / 8.0).into(),
            4 => self.name().into(),
            5 | 6 if depth > 0 => (0..self.byte() % 4).map(|_| self.value(depth - 1)).collect(),
            _ if depth > 0 => {
                (0..self.byte() % 5).map(|_| (self.name(), self.value(depth - 1))).collect::<Map>().into()
            }
            _ => "text".into(),
        }
    }
}

#[test]
fn random_schemas_and_values() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let mut maker = Maker { bytes };
        let schema = maker.schema(4);
        judge_definition(schema.clone());
        let Ok(schema) = Structural::parse(&schema) else { return };
        let (old, new) = (maker.value(4), maker.value(4));
        judge_object(&schema, new.clone(), None);
        judge_object(&schema, new.clone(), Some(&old));
        // What is as it was is never refused for its fields' sake.
        let mut pruned = new;
        prune(&schema, &mut pruned);
        default(&schema, &mut pruned);
        let same = judge_object(&schema, pruned.clone(), None);
        let kept = judge_object(&schema, pruned.clone(), Some(&pruned));
        assert!(kept.causes.len() <= same.causes.len(), "{kept:?} {same:?}");
    });
}
