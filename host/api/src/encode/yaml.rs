//! YAML answers.

use berth_json::{Map, Value};

use crate::decode::yaml::resolve;

/// Encodes a value as one YAML document, keys sorted, as `application/yaml`.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, &mut text),
        Value::Array(values) if !values.is_empty() => sequence(values, 0, &mut text),
        other => {
            scalar(other, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

fn mapping(fields: &Map, indent: usize, text: &mut String) {
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            spaces(indent, text);
        }
        plain_or_quoted(key, text);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                spaces(indent + 2, text);
                mapping(inner, indent + 2, text);
            }
            Value::Array(values) if !values.is_empty() => {
                text.push('\n');
                spaces(indent, text);
                sequence(values, indent, text);
            }
            other => {
                text.push(' ');
                scalar(other, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn sequence(values: &[Value], indent: usize, text: &mut String) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            spaces(indent, text);
        }
        text.push_str("- ");
        match value {
            Value::Object(inner) if !inner.is_empty() => mapping(inner, indent + 2, text),
            Value::Array(values) if !values.is_empty() => sequence(values, indent + 2, text),
            other => {
                scalar(other, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::String(string) if is_block(string) => block(string, indent, text),
        Value::String(string) => plain_or_quoted(string, text),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        other => text.push_str(&other.to_string()),
    }
}

/// Whether a text of several lines can stand as it is: `|` needs a first line that is not indented and nothing that
/// must be escaped.
fn is_block(text: &str) -> bool {
    let lines_fit = text.lines().all(|line| !line.trim().is_empty() || line.is_empty());
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && lines_fit
        && text.chars().all(|c| c == '\n' || is_printable(c))
}

fn block(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    let breaks = text.len() - body.len();
    out.push_str(match breaks {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            spaces(indent, out);
            out.push_str(line);
        }
    }
    for _ in 1..breaks {
        out.push('\n');
    }
}

/// JSON's strings are YAML's double-quoted ones, but YAML escapes more.
fn plain_or_quoted(string: &str, text: &mut String) {
    if is_plain(string) {
        text.push_str(string);
        return;
    }
    for c in Value::from(string).to_string().chars() {
        if is_printable(c) { text.push(c) } else { text.push_str(&format!("\\u{:04x}", u32::from(c))) }
    }
}

/// Whether YAML lets a character stand as it is.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn is_plain(string: &str) -> bool {
    let starts_well = string
        .starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '(' | '$' | '^'));
    starts_well
        && !string.ends_with([' ', ':'])
        && !string.contains(": ")
        && !string.contains(" #")
        && string.chars().all(|c| (' '..='~').contains(&c))
        && resolve(string).is_string()
        && !is_date_or_base_60(string)
        && !string.starts_with("...")
}

/// Whether a reader of YAML 1.1 (PyYAML, Ruby's) takes a text for a date, as `2026-01-31T…`, or for a number to the base of
/// 60, as `22:30`. Go's encoder quotes these too.
fn is_date_or_base_60(string: &str) -> bool {
    let bytes = string.as_bytes();
    let is_date = bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-';
    let is_base_60 = bytes.contains(&b':')
        && bytes.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'_' | b'.'));
    is_date || is_base_60
}

fn spaces(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, json};
    use expect_test::expect;
    use proptest::prelude::*;

    use super::yaml;
    use crate::decode::{Budget, yaml::parse};

    #[test]
    fn as_kubectl_users_know_it() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"labels": {"x": "yes"}, "name": "m", "finalizers": ["a/b", "c"]},
            "data": {"a": "one\ntwo\n", "b": "on", "c": "1", "d": "", "e": "a: b", "f": "22:30", "g": "a:1"},
            "time": "2026-01-31T12:00:00Z",
            "list": [{"x": 1, "y": [true, null]}, [], {}],
        });
        expect![[r#"
            apiVersion: v1
            data:
              a: |
                one
                two
              b: "on"
              c: "1"
              d: ""
              e: "a: b"
              f: "22:30"
              g: a:1
            kind: ConfigMap
            list:
            - x: 1
              "y":
              - true
              - null
            - []
            - {}
            metadata:
              finalizers:
              - a/b
              - c
              labels:
                x: "yes"
              name: m
            time: "2026-01-31T12:00:00Z"
        "#]]
        .assert_eq(&yaml(&object));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = "[a-z0-9 :#\\-'\"\n|>&*!%{}\\[\\],.~=<yn]{0,12}|.{0,8}";
        let leaf = prop_oneof![
            text.prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 30, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::btree_map(text, inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_value()) {
            let text = yaml(&value);
            let (read, findings) = parse(&text, &Budget::default()).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(read, value, "{}", text);
            prop_assert_eq!(findings, []);
        }
    }
}
