//! YAML to JSON, as the API server's YAML library does it: YAML 1.1 scalars, the first document, merge keys.

use std::collections::HashMap;

use base64::Engine;
use berth_json::{Map, Number, Value};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::budget::{Budget, CONTAINER_BYTES, NODE_BYTES};
use super::{DEPTH_MAX, FINDINGS_MAX, Finding};

/// How much memory aliases may add to a document: far more than any manifest repeats, far less than a bomb does.
const ALIAS_BYTES_MAX: usize = 8 << 20;

/// What an anchor costs besides the node that it names: its places in this reader's table and in the parser's.
const ANCHOR_BYTES: usize = 256;

/// Reads the first document; an empty one is null. Keys that stand twice are found with their line, the later wins.
///
/// # Errors
/// What is wrong, beginning with `yaml: `; anything when the budget is spent.
pub(crate) fn parse(text: &str, budget: &Budget) -> Result<(Value, Vec<Finding>), String> {
    let mut composer = Composer {
        text,
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        alias_bytes: 0,
        findings: Vec::new(),
        budget,
    };
    let value = composer.document()?;
    Ok((value, composer.findings))
}

struct Composer<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> {
    text: &'t str,
    events: I,
    /// Finished nodes by the number of their anchor.
    anchors: HashMap<usize, Node>,
    alias_bytes: usize,
    findings: Vec<Finding>,
    budget: &'t Budget,
}

#[derive(Clone)]
struct Node {
    value: Value,
    /// Whether it is the plain scalar `<<` that merges mappings.
    merges: bool,
    /// What it costs in memory, with all that is in it.
    bytes: usize,
    /// How many levels stand below it.
    height: usize,
}

impl<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> Composer<'t, I> {
    fn document(&mut self) -> Result<Value, String> {
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd | Event::DocumentEnd, _)) => return Ok(Value::Null),
                Some((Event::StreamStart | Event::DocumentStart(..), _)) => {}
                Some((event, span)) => return Ok(self.node(event, span, 0)?.value),
            }
        }
    }

    /// The next event that is none of a comment. (Whether there are such is up to every crate that uses this parser.)
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, String> {
        loop {
            match self.events.next().transpose().map_err(|error| self.broken(&error))? {
                Some((Event::Comment(..), _)) => {}
                other => return Ok(other),
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, String> {
        let line = span.start.line();
        let (node, anchor) = match event {
            _ if depth > DEPTH_MAX => return Err(too_deep(line)),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref())?, anchor),
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, line, depth),
            _ => return Err(format!("yaml: line {line}: did not find expected node content")),
        };
        if anchor != 0 {
            self.pay(ANCHOR_BYTES + node.bytes)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn pay(&self, bytes: usize) -> Result<(), String> {
        self.budget.bytes(bytes).map_err(|spent| format!("yaml: {spent}"))
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Node, String> {
        self.pay(NODE_BYTES + text.len())?;
        let (value, merges) = scalar(text, style, tag)?;
        Ok(Node { value, merges, bytes: NODE_BYTES + text.len(), height: 0 })
    }

    fn alias(&mut self, anchor: usize, line: usize, depth: usize) -> Result<Node, String> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err("yaml: an anchor's value contains itself".to_owned());
        };
        self.alias_bytes = self.alias_bytes.saturating_add(node.bytes);
        if self.alias_bytes > ALIAS_BYTES_MAX {
            return Err("yaml: document contains excessive aliasing".to_owned());
        }
        if depth + node.height > DEPTH_MAX {
            return Err(too_deep(line));
        }
        self.pay(node.bytes)?;
        Ok(node.clone())
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, String> {
        self.pay(NODE_BYTES + CONTAINER_BYTES)?;
        let (mut values, mut whole) = (Vec::new(), Node::empty());
        loop {
            match self.next()? {
                None | Some((Event::SequenceEnd, _)) => return Ok(Node { value: values.into(), ..whole }),
                Some((event, span)) => {
                    let node = self.node(event, span, depth + 1)?;
                    whole.contain(&node);
                    values.push(node.value);
                }
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, String> {
        self.pay(NODE_BYTES + CONTAINER_BYTES)?;
        let (mut entries, mut merged, mut whole) = (Map::new(), Vec::new(), Node::empty());
        loop {
            let (event, span) = match self.next()? {
                None | Some((Event::MappingEnd, _)) => break,
                Some(found) => found,
            };
            let line = span.start.line();
            let key = self.node(event, span, depth + 1)?;
            let Some((event, span)) = self.next()? else { break };
            let node = self.node(event, span, depth + 1)?;
            whole.contain(&key);
            whole.contain(&node);
            if key.merges {
                merged.push(node.value);
                continue;
            }
            let key = key_text(key.value, line)?;
            if entries.contains_key(&key) && self.findings.len() < FINDINGS_MAX {
                self.pay(key.len())?;
                self.findings.push(Finding::DuplicateYaml { line, key: key.clone() });
            }
            entries.insert(key, node.value);
        }
        merged.into_iter().try_for_each(|value| merge(&mut entries, value))?;
        Ok(Node { value: entries.into(), ..whole })
    }

    fn broken(&self, error: &ScanError) -> String {
        let unfinished = self.text.trim_end().ends_with(['[', '{', ',', ':']);
        let what = match error.kind() {
            ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnexpectedEofFlowMapping
                if unfinished =>
            {
                "did not find expected node content".to_owned()
            }
            ErrorKind::UnexpectedEofFlowMapping | ErrorKind::ExpectedFlowMappingSeparator => {
                "did not find expected ',' or '}'".to_owned()
            }
            ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::ExpectedFlowSequenceSeparator => "did not find expected ',' or ']'".to_owned(),
            _ => error.info(),
        };
        format!("yaml: line {}: {what}", error.marker().line())
    }
}

impl Node {
    /// A list or map in which nothing stands yet.
    fn empty() -> Self {
        Self { value: Value::Null, merges: false, bytes: NODE_BYTES + CONTAINER_BYTES, height: 0 }
    }

    /// Accounts for a node in it.
    fn contain(&mut self, inner: &Self) {
        self.bytes += inner.bytes;
        self.height = self.height.max(inner.height + 1);
    }
}

fn too_deep(line: usize) -> String {
    format!("yaml: line {line}: exceeded max depth of {DEPTH_MAX}")
}

/// `<<: *a` and `<<: [*a, *b]`: what the mapping has itself wins.
fn merge(entries: &mut Map, value: Value) -> Result<(), String> {
    match value {
        Value::Object(other) => {
            for (key, value) in other {
                entries.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(values) => values.into_iter().try_for_each(|value| merge(entries, value)),
        _ => Err("yaml: map merge requires map or sequence of maps as the value".to_owned()),
    }
}

fn key_text(key: Value, line: usize) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text.into()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("yaml: line {line}: a mapping's key must be a string, a number or a boolean"))
        }
    }
}

/// The value of a scalar, and whether it merges mappings.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<(Value, bool), String> {
    if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix() == "binary") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r', ' '], ""));
        let bytes = bytes.map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
        return Ok((String::from_utf8_lossy(&bytes).into_owned().into(), false));
    }
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix() == "str");
    if style != ScalarStyle::Plain || is_text {
        return Ok((text.into(), false));
    }
    Ok((resolve(text), text == "<<"))
}

/// What an unquoted scalar is under YAML 1.1.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return true.into();
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return false.into();
        }
        _ => {}
    }
    number(text).map_or_else(|| text.into(), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, &*plain),
    };
    if let Some(magnitude) = integer(digits) {
        return match negative {
            false => Some(magnitude.into()),
            true if magnitude <= 1 << 63 => Some((magnitude.wrapping_neg() as i64).into()),
            true => None,
        };
    }
    if !is_float(digits) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    // JSON knows one kind of number: 1.0 is 1 to whoever expects an integer.
    if value.fract() == 0.0 && value.abs() < 9e15 {
        Some((value as i64).into())
    } else {
        Number::from_f64(value)
    }
}

/// An unsigned integer as Go reads it with base 0: `0x`, `0o`, `0b`, and a leading zero is octal.
fn integer(digits: &str) -> Option<u64> {
    let radix = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
    if let Some(rest) = radix(["0x", "0X"]) {
        return unsigned(rest, 16);
    }
    if let Some(rest) = radix(["0b", "0B"]) {
        return unsigned(rest, 2);
    }
    if let Some(rest) = radix(["0o", "0O"]) {
        return unsigned(rest, 8);
    }
    match digits.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => unsigned(rest, 8),
        _ => unsigned(digits, 10),
    }
}

fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all_digits.then(|| u64::from_str_radix(digits, radix).ok())?
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => !mantissa.is_empty() && is_digits(mantissa),
    };
    exponent_fits && mantissa_fits
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, json};

    use super::super::budget::{Budget, EXPANDED_BYTES_MAX};
    use super::{ALIAS_BYTES_MAX, Finding};

    fn parse(text: &str) -> Result<(Value, Vec<Finding>), String> {
        super::parse(text, &Budget::default())
    }

    fn value(text: &str) -> Value {
        parse(text).unwrap().0
    }

    #[test]
    fn scalars_are_yaml_1_1() {
        let text =
            "{a: n, b: 'n', c: 010, d: 0x1F, e: 1.0, f: 1_000, g: ~, h: 2001-01-01, i: -5, j: 1e3, k: .5,
            l: 18446744073709551615, m: 0o17, n: -9223372036854775808, o: 08, p: !!str 5, q: 1.2.3, on: z}";
        let expected = json!({
            "a": false, "b": "n", "c": 8, "d": 31, "e": 1, "f": 1000, "g": null, "h": "2001-01-01", "i": -5,
            "j": 1000, "k": 0.5, "l": u64::MAX, "m": 15, "false": i64::MIN, "o": 8, "p": "5", "q": "1.2.3", "true": "z",
        });
        let mut found = value(text);
        // "08" is no octal number, but a float.
        assert_eq!(found["o"].take(), json!(8));
        found["o"] = json!(8);
        assert_eq!(found, expected);
    }

    #[test]
    fn block_style_merge_keys_and_the_first_document() {
        let text = "base: &b {x: 1, y2: 2}\nnew:\n  <<: *b\n  x: 3\ntext: |\n  a\n  b\n---\nkind: x\n";
        let expected = json!({ "base": {"x": 1, "y2": 2}, "new": {"x": 3, "y2": 2}, "text": "a\nb\n" });
        assert_eq!(value(text), expected);
        assert_eq!(value(""), Value::Null);
        assert_eq!(
            value(r#"{"apiVersion":"v1","x":[1,"2",null]}"#),
            json!({"apiVersion": "v1", "x": [1, "2", null]})
        );
    }

    #[test]
    fn duplicate_keys_are_found() {
        let (value, findings) = parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap();
        assert_eq!(value, json!({"a": 1, "b": {"c": 2}}));
        assert_eq!(findings, [Finding::DuplicateYaml { line: 4, key: "c".into() }]);
    }

    #[test]
    fn hostile_documents_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        for (text, expected) in [
            (bomb.as_str(), "yaml: document contains excessive aliasing"),
            ("a: &a [*a]", "yaml: an anchor's value contains itself"),
            ("a: [b", "yaml: line 1: did not find expected ',' or ']'"),
            ("a: [", "yaml: line 1: did not find expected node content"),
            ("? [a]\n: b", "yaml: line 1: a mapping's key must be a string, a number or a boolean"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        assert!(parse(&"[".repeat(200_000)).is_err());
        assert!(parse(&"- ".repeat(200_000)).is_err());
    }

    #[test]
    fn an_alias_costs_what_it_repeats() {
        let aliases = |text_bytes: usize, count: usize| {
            format!("a: &a {}\nb: [{}]\n", "x".repeat(text_bytes), "*a,".repeat(count))
        };
        let (few, many) = (aliases(1_000_000, 4), aliases(1_000_000, 90_000));
        assert_eq!(value(&few)["b"].as_array().unwrap().len(), 4);
        let budget = Budget::default();
        assert_eq!(super::parse(&many, &budget).unwrap_err(), "yaml: document contains excessive aliasing");
        let used = EXPANDED_BYTES_MAX - budget.bytes_left();
        assert!(used < ALIAS_BYTES_MAX + 3_000_000, "{used}");
    }

    #[test]
    fn aliases_do_not_nest_deeper_than_a_body_may() {
        let mut text = String::from("a0: &a0 x\n");
        for level in 1..200 {
            text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert_eq!(parse(&text).unwrap_err(), "yaml: line 101: exceeded max depth of 100");
    }

    #[test]
    fn anchors_within_anchors_are_paid_for() {
        let nested: String = (0..90).map(|level| format!("&a{level} [")).collect();
        let text = format!("{nested}{}{}", "x".repeat(1_000_000), "]".repeat(90));
        let budget = Budget::default();
        assert!(super::parse(&text, &budget).is_err());
        assert!(budget.is_spent());
    }
}
