//! The passes, case by case; what a real API server answered is replayed in `tests/golden.rs`.

use berth_api::Problems;
use berth_json::{Value, json};

use super::{default, prune, validate};
use crate::Structural;

/// A schema whose field `v` is as said.
fn schema(said: Value) -> Structural {
    Structural::parse(&json!({"type": "object", "properties": {"v": said}})).unwrap()
}

fn problems(said: Value, value: Value) -> Vec<String> {
    changed_problems(said, value, None)
}

fn changed_problems(said: Value, new: Value, old: Option<Value>) -> Vec<String> {
    let (new, old) = (json!({ "v": new }), old.map(|old| json!({ "v": old })));
    let mut problems = Problems::default();
    validate(&schema(said), &new, old.as_ref(), &mut problems);
    problems.causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn each_keyword_holds_and_fails() {
    let body = |sentence: &str| format!("v in body {sentence}");
    let string = || json!({"type": "string"});
    let with = |mut schema: Value, keyword: &str, said: Value| {
        schema[keyword] = said;
        schema
    };
    let number = |keyword: &str, said: Value| with(json!({"type": "number"}), keyword, said);
    let list = |keyword: &str, said: Value| {
        with(json!({"type": "array", "items": {"type": "integer"}}), keyword, said)
    };
    let map = |keyword: &str, said: Value| {
        with(json!({"type": "object", "additionalProperties": {"type": "integer"}}), keyword, said)
    };
    let exclusive = |bound: &str, flag: &str| with(number(bound, json!(5)), flag, json!(true));
    for (said, good, bad, wanted) in [
        (
            string(),
            json!("a"),
            json!(5),
            format!("\"integer\": {}", body("must be of type string: \"integer\"")),
        ),
        (
            json!({"type": "integer"}),
            json!(2.0),
            json!("a"),
            format!("\"string\": {}", body("must be of type integer: \"string\"")),
        ),
        (
            json!({"type": "boolean"}),
            json!(true),
            json!(null),
            format!("\"null\": {}", body("must be of type boolean: \"null\"")),
        ),
        (
            json!({"type": "number"}),
            json!(5),
            json!([]),
            format!("\"array\": {}", body("must be of type number: \"array\"")),
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("5%"),
            json!(true),
            format!("\"boolean\": {}", body("must be of type integer,string: \"boolean\"")),
        ),
        (
            number("maximum", json!(5)),
            json!(5),
            json!(6),
            format!("6: {}", body("should be less than or equal to 5")),
        ),
        (
            exclusive("maximum", "exclusiveMaximum"),
            json!(4.5),
            json!(5),
            format!("5: {}", body("should be less than 5")),
        ),
        (
            number("minimum", json!(0.5)),
            json!(0.5),
            json!(0.25),
            format!("0.25: {}", body("should be greater than or equal to 0.5")),
        ),
        (
            exclusive("minimum", "exclusiveMinimum"),
            json!(6),
            json!(5),
            format!("5: {}", body("should be greater than 5")),
        ),
        (
            number("multipleOf", json!(3)),
            json!(9),
            json!(10),
            format!("10: {}", body("should be a multiple of 3")),
        ),
        (
            with(string(), "minLength", json!(2)),
            json!("éé"),
            json!("é"),
            format!("\"é\": {}", body("should be at least 2 chars long")),
        ),
        (
            with(string(), "pattern", json!("^a+$")),
            json!("aa"),
            json!("b"),
            format!("\"b\": {}", body("should match '^a+$'")),
        ),
        (
            with(string(), "format", json!("date")),
            json!("2024-01-02"),
            json!("x"),
            format!("\"x\": {}", body("must be of type date: \"x\"")),
        ),
        (
            list("minItems", json!(1)),
            json!([1]),
            json!([]),
            format!("0: {}", body("should have at least 1 items")),
        ),
        (
            map("minProperties", json!(1)),
            json!({"a": 1}),
            json!({}),
            format!("0: {}", body("should have at least 1 properties")),
        ),
    ] {
        assert_eq!(problems(said.clone(), good), Vec::<String>::new(), "{said}");
        assert_eq!(problems(said.clone(), bad), [format!("v: Invalid value: {wanted}")], "{said}");
    }
    for (said, bad, wanted) in [
        (with(string(), "maxLength", json!(1)), json!("éé"), "v: Too long: may not be more than 1 bytes"),
        (list("maxItems", json!(1)), json!([1, 2]), "v: Too many: 2: must have at most 1 items"),
        (
            map("maxProperties", json!(1)),
            json!({"a": 1, "b": 2}),
            "v: Too many: 2: must have at most 1 items",
        ),
        (
            with(string(), "enum", json!(["a", "b"])),
            json!("c"),
            "v: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (number("enum", json!([1, 2])), json!(3), "v: Unsupported value: 3: supported values: \"1\", \"2\""),
        (map("required", json!(["a"])), json!({}), "v.a: Required value"),
        (list("x-kubernetes-list-type", json!("set")), json!([1, 2, 1, 1]), "v[2]: Duplicate value: 1"),
        (
            with(json!({"type": "integer"}), "format", json!("int32")),
            json!(3_000_000_000_i64),
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in v",
        ),
    ] {
        assert_eq!(problems(said.clone(), bad), [wanted], "{said}");
    }
}

#[test]
fn null_where_it_may_stand() {
    assert_eq!(problems(json!({"type": "string", "nullable": true}), json!(null)), Vec::<String>::new());
    assert_eq!(
        problems(json!({"type": "string", "nullable": true, "enum": ["a"]}), json!(null)),
        ["v: Unsupported value: null: supported values: \"a\""]
    );
}

#[test]
fn clauses() {
    let of = |clauses: Value| {
        let mut said =
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}});
        said.as_object_mut().unwrap().extend(clauses.as_object().unwrap().clone());
        said
    };
    let general = |sentence: &str| format!("<nil>: Invalid value: \"\": \"v\" {sentence}");
    let any = of(json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}));
    assert_eq!(problems(any.clone(), json!({"b": 1})), Vec::<String>::new());
    assert_eq!(
        problems(any, json!({})),
        [general("must validate at least one schema (anyOf)"), "v.a: Required value".to_owned()]
    );
    let all = of(json!({"allOf": [{"required": ["a"]}, {"properties": {"b": {"maximum": 5}}}]}));
    assert_eq!(
        problems(all.clone(), json!({"b": 1})),
        ["v.a: Required value".to_owned(), general("must validate all the schemas (allOf)")]
    );
    assert_eq!(
        problems(all, json!({"b": 6})),
        [
            "v.a: Required value".to_owned(),
            "v.b: Invalid value: 6: v.b in body should be less than or equal to 5".to_owned(),
            general("must validate all the schemas (allOf). None validated"),
        ]
    );
    let not = of(json!({"not": {"required": ["a", "b"]}}));
    assert_eq!(problems(not.clone(), json!({"a": 1})), Vec::<String>::new());
    assert_eq!(problems(not, json!({"a": 1, "b": 1})), [general("must not validate the schema (not)")]);
}

#[test]
fn what_an_update_leaves_as_it_was() {
    let said = json!({"type": "object", "properties": {
        "n": {"type": "integer", "maximum": 5}, "m": {"type": "integer"},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer", "maximum": 5}},
        }},
        "plain": {"type": "array", "items": {"type": "integer", "maximum": 5}},
    }});
    let old = json!({"n": 9, "m": 1, "l": [{"k": "a", "n": 9}, {"k": "b"}], "plain": [9, 1]});
    let change = |field: &str, value: Value| {
        let mut new = old.clone();
        new[field] = value;
        changed_problems(said.clone(), new, Some(old.clone())).len()
    };
    assert_eq!(change("m", json!(2)), 0);
    assert_eq!(change("n", json!(8)), 1);
    assert_eq!(change("l", json!([{"k": "b", "n": 1}, {"k": "a", "n": 9}])), 0);
    assert_eq!(change("l", json!([{"k": "b", "n": 9}, {"k": "a", "n": 9}])), 1);
    // Elements of a list without keys cannot be told to be what they were.
    assert_eq!(change("plain", json!([9, 2])), 1);
    assert_eq!(changed_problems(said.clone(), old.clone(), None).len(), 3);
}

#[test]
fn lists_that_were_wrong_may_stay_so() {
    let said = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    assert_eq!(changed_problems(said.clone(), json!(["a", "a"]), Some(json!(["a"]))).len(), 1);
    assert_eq!(changed_problems(said, json!(["a", "a", "b"]), Some(json!(["a", "a"]))).len(), 0);
    let keyed = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"], "items": {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    }});
    assert_eq!(
        problems(keyed, json!([{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "x", "b": 1}, {}, {}])),
        ["v[2]: Duplicate value: {\"a\":\"x\",\"b\":1}", "v[4]: Duplicate value: {}"]
    );
}

#[test]
fn objects_in_objects() {
    let said = json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(
        problems(
            said.clone(),
            json!({"apiVersion": "a/b/c", "kind": "_", "metadata": {"labels": {"-": "x"}}})
        )
        .len(),
        3
    );
    let named = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a/b"}});
    assert_eq!(
        problems(said.clone(), named),
        ["v.metadata.name: Invalid value: \"a/b\": may not contain '/'"]
    );
    let good = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "more": 1});
    assert_eq!(problems(said, good), Vec::<String>::new());
}

#[test]
fn what_is_pruned() {
    for (said, value, left, unknown) in [
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"a": "x", "b": {"c": 1}}),
            json!({"a": "x"}),
            &["v.b"][..],
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "a": {"type": "object", "properties": {"k": {"type": "string"}}},
            }}),
            json!({"a": {"k": "x", "l": 1}, "b": {"c": 1}}),
            json!({"a": {"k": "x"}, "b": {"c": 1}}),
            &["v.a.l"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            json!({"x": {"k": "a", "l": 1}}),
            json!({"x": {"k": "a"}}),
            &["v.x.l"],
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            json!([{"l": 1}, {"k": "a"}, {"k": "b", "m": 1}]),
            json!([{}, {"k": "a"}, {"k": "b"}]),
            &["v[0].l", "v[2].m"],
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}),
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "spec": {"s": 1}, "more": 1}),
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {}}),
            &["v.metadata.odd", "v.more", "v.spec.s"],
        ),
    ] {
        let mut object = json!({ "apiVersion": "g/v1", "kind": "K", "metadata": {}, "v": value });
        let findings: Vec<String> =
            prune(&schema(said.clone()), &mut object).iter().map(|f| f.warning()).collect();
        let wanted: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        assert_eq!((object["v"].clone(), findings), (left, wanted), "{said}");
        assert!(object.get("metadata").is_some());
    }
}

#[test]
fn what_is_filled_in() {
    let nested =
        json!({"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 1}}});
    for (said, value, filled) in [
        (json!({"type": "string", "default": "d"}), None, json!("d")),
        (json!({"type": "string", "default": "d"}), Some(json!(null)), json!("d")),
        (json!({"type": "string", "default": "d", "nullable": true}), Some(json!(null)), json!(null)),
        (json!({"type": "string", "default": "d"}), Some(json!("")), json!("")),
        (nested.clone(), None, json!({"a": 1})),
        (nested.clone(), Some(json!({"a": 2})), json!({"a": 2})),
        (json!({"type": "array", "items": nested}), Some(json!([{}, null])), json!([{"a": 1}, {"a": 1}])),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer", "default": 7}}),
            Some(json!({"a": null, "b": 1})),
            json!({"a": 7, "b": 1}),
        ),
    ] {
        let mut object = value.map_or_else(|| json!({}), |value| json!({ "v": value }));
        default(&schema(said.clone()), &mut object);
        assert_eq!(object["v"], filled, "{said}");
    }
}
