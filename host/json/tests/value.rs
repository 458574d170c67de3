//! The value beside `serde_json`'s, whose meaning it has.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;

use berth_json::{Map, Text, Value, from_value, json};
use serde::Deserialize;

/// Texts that cover all there is in JSON.
const TEXTS: [&str; 8] = [
    "null",
    "[true,false,-1,0,18446744073709551615,-9223372036854775808,0.5,1e300]",
    r#""short""#,
    r#""longer than what fits beside the tag, with \"quotes\", \n and ü""#,
    "{}",
    "[[],[{}],[[null]]]",
    r#"{"a":{"b":[{"c":1},{"c":2}]},"z":"z"}"#,
    r#"{"metadata":{"labels":{"app":"web","tier":"front"},"name":"x"},"spec":{"replicas":3}}"#,
];

fn theirs(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn mine(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn texts_come_back_as_they_went() {
    for text in TEXTS {
        assert_eq!(mine(text).to_string(), theirs(text).to_string());
        assert_eq!(format!("{:#}", mine(text)), format!("{:#}", theirs(text)));
        assert_eq!(from_value::<Value>(&mine(text)).unwrap(), mine(text));
        assert_eq!(from_value::<serde_json::Value>(&mine(text)).unwrap(), theirs(text));
    }
}

#[test]
fn keys_in_any_order_are_sorted_and_the_last_of_a_kind_counts() {
    assert_eq!(mine(r#"{"b":1,"a":2,"b":3,"c":4,"a":5}"#).to_string(), r#"{"a":5,"b":3,"c":4}"#);
    let entries = ["b", "a", "b", "a", "a"].into_iter().enumerate().map(|(at, key)| (key, at));
    assert_eq!(entries.collect::<Value>().to_string(), r#"{"a":4,"b":2}"#);
}

/// The same steps on a map and on the standard library's, across the size at which the map changes its form.
#[test]
fn a_map_does_what_a_tree_does() {
    let (mut map, mut tree) = (Map::new(), BTreeMap::new());
    let mut random = 1_u32;
    for step in 0..5_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = Text::from(format!("key-{}", random >> 16 & 0x7f));
        // First it grows, then it shrinks again.
        let grows = (random >> 8) % 8 < if step < 2_500 { 6 } else { 2 };
        if grows && random & 1 == 0 {
            assert_eq!(map.insert(key.clone(), step.into()), tree.insert(key, Value::from(step)));
        } else if grows {
            let there = map.entry(key.clone()).or_insert(step.into()).clone();
            assert_eq!(&there, tree.entry(key).or_insert(step.into()));
        } else {
            assert_eq!(map.remove(&key), tree.remove(&key));
        }
        assert_eq!(map.len(), tree.len());
        assert!(map.iter().eq(tree.iter()) && map.iter().rev().eq(tree.iter().rev()));
    }
    map.retain(|key, _| key.ends_with('1'));
    tree.retain(|key, _| key.ends_with('1'));
    assert!(map.clone().into_iter().eq(tree) && !map.is_empty());
}

#[test]
fn many_keys_in_the_worst_order_are_no_trouble() {
    let mut map = Map::new();
    for number in (0..200_000).rev() {
        map.insert(format!("{number:06}"), Value::Null);
    }
    assert_eq!(map.keys().next().unwrap(), "000000");
    assert_eq!(map.len(), 200_000);
}

#[test]
fn maps_are_equal_by_what_they_hold() {
    let mut grown: Map = (0..100).map(|number| (format!("{number:03}"), number)).collect();
    grown.retain(|key, _| key.as_str() < "010");
    let listed: Map = (0..10).map(|number| (format!("{number:03}"), number)).collect();
    assert_eq!(grown, listed);
    assert_ne!(grown, Map::new());
}

#[test]
fn json_is_written_as_it_reads() {
    const KEY: &str = "constant";
    let (text, list, none) = ("t".to_owned(), vec![1, 2], None::<i32>);
    let value = json!({
        "text": text, "borrowed": &text[..], KEY: [1, null, {"x": true}, list, [[]]], (format!("{text}!")): none,
        "sum": 1 + 2, "object": {"empty": {}}, "null": null,
    });
    let expected = r#"{"borrowed":"t","constant":[1,null,{"x":true},[1,2],[[]]],"null":null,"object":{"empty":{}},"sum":3,"t!":null,"text":"t"}"#;
    assert_eq!(value.to_string(), expected);
    assert_eq!(text, "t", "values are borrowed");
}

#[test]
fn elements_are_found_and_made() {
    let mut value = json!({"a": [{"b": 1}]});
    assert_eq!(value["a"][0]["b"], 1);
    assert_eq!(value["nothing"]["there"][7], Value::Null);
    value["new"]["deep"] = "x".into();
    value["a"][0]["b"] = json!(2);
    assert_eq!(value.to_string(), r#"{"a":[{"b":2}],"new":{"deep":"x"}}"#);
    assert_eq!(value.get_mut("a").map(Value::take), Some(json!([{"b": 2}])));
    assert_eq!(value["a"], Value::Null);
}

#[test]
fn pointers_are_those_of_rfc_6901() {
    let text = r#"{"a/b":{"m~n":[10,20]},"":0}"#;
    let (mut mine, theirs) = (mine(text), theirs(text));
    for pointer in
        ["", "/", "/a~1b/m~0n/1", "/a~1b/m~0n/01", "/a~1b/m~0n/+1", "/a~1b/m~0n/2", "/a~1b/x", "a", "/a/b"]
    {
        let expected = theirs.pointer(pointer).map(ToString::to_string);
        assert_eq!(mine.pointer(pointer).map(ToString::to_string), expected, "{pointer}");
        assert_eq!(mine.pointer_mut(pointer).map(|value| value.to_string()), expected, "{pointer}");
    }
}

#[test]
fn types_read_themselves_from_values() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        name: String,
        count: Option<u16>,
        absent: Option<bool>,
        ratio: f64,
        kind: Kind,
        nested: BTreeMap<String, Vec<i8>>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Always,
    }
    let value = json!({"name": "n", "count": 7, "ratio": 0.5, "kind": "Always", "nested": {"k": [-1, 2]}});
    let expected = Sample {
        name: "n".into(),
        count: Some(7),
        absent: None,
        ratio: 0.5,
        kind: Kind::Always,
        nested: BTreeMap::from([("k".to_owned(), vec![-1, 2])]),
    };
    assert_eq!(from_value::<Sample>(&value).unwrap(), expected);
    let mut wrong = value.clone();
    wrong["count"] = json!(70_000);
    assert!(from_value::<Sample>(&wrong).unwrap_err().to_string().contains("70000"));
}

#[test]
fn a_value_is_small() {
    assert_eq!((size_of::<Value>(), size_of::<(Text, Value)>()), (32, 56));
}
