//! What kube-apiserver refuses though the types fit: constants that cannot be converted, lists and maps of several types,
//! and templates that their values do not fit.

use std::collections::HashMap;

use crate::ast::{Id, Kind, Meaning, Tree};
use crate::checker::shown;
use crate::error::Issue;
use crate::library::template::{self, Piece};
use crate::regexes::Pattern;
use crate::time::{parse_duration, parse_timestamp};
use crate::types::Type;
use crate::value::Value;

/// The most states of all patterns of an expression together: compiling them takes a good part of a second.
const STATES_MAX: u64 = 200_000;

/// The patterns of an expression, compiled.
pub(crate) type Patterns = HashMap<String, Pattern>;

/// The patterns of the expression, if nothing is wrong with it.
pub(crate) fn validate(tree: &Tree, meanings: &[Meaning]) -> Result<Patterns, Vec<Issue>> {
    let mut patterns = Patterns::new();
    let mut issues = Vec::new();
    let mut is_exempt = vec![false; tree.nodes.len()];
    // Parents come after their children.
    for id in (0..tree.nodes.len() as Id).rev() {
        let kind = &tree.node(id).kind;
        let is_format = matches!(kind, Kind::Call { function, is_member: true, .. } if function == "format");
        if is_exempt[id as usize] || is_format {
            kind.each_child(|child| is_exempt[child as usize] = true);
        }
        match kind {
            Kind::Call { function, arguments, .. } => {
                issues.extend(literal(tree, function, arguments, &mut patterns));
                if is_format {
                    issues.extend(format(tree, meanings, id, arguments));
                }
            }
            Kind::List(elements) if !is_exempt[id as usize] => {
                let types = elements.iter().map(|(element, is_optional)| (*element, *is_optional));
                issues.extend(same(tree, meanings, types));
            }
            Kind::Map(entries) if !is_exempt[id as usize] => {
                issues.extend(same(tree, meanings, entries.iter().map(|entry| (entry.key, false))));
                issues.extend(same(
                    tree,
                    meanings,
                    entries.iter().map(|entry| (entry.value, entry.is_optional)),
                ));
            }
            _ => {}
        }
    }
    if issues.is_empty() { Ok(patterns) } else { Err(issues) }
}

/// A constant that is none of its function.
fn literal(tree: &Tree, function: &str, arguments: &[Id], patterns: &mut Patterns) -> Option<Issue> {
    let argument = tree.node(*arguments.last()?);
    let Kind::Literal(Value::String(text)) = &argument.kind else { return None };
    let is_right = match (function, arguments.len()) {
        ("timestamp", 1) => parse_timestamp(text).is_some(),
        ("duration", 1) => parse_duration(text).is_some(),
        ("matches", 2) => is_pattern(text, patterns),
        _ => true,
    };
    (!is_right).then(|| Issue { at: argument.at, message: format!("invalid {function} argument") })
}

/// Whether the text is a pattern, and one that the others leave room for.
fn is_pattern(text: &str, patterns: &mut Patterns) -> bool {
    if patterns.contains_key(text) {
        return true;
    }
    let used: u64 = patterns.values().map(Pattern::states).sum();
    match Pattern::new(text, STATES_MAX - used) {
        Ok(pattern) => patterns.insert(text.to_owned(), pattern).is_none(),
        _ => false,
    }
}

/// The first element that is of another type than those before.
fn same(tree: &Tree, meanings: &[Meaning], elements: impl Iterator<Item = (Id, bool)>) -> Option<Issue> {
    let mut first: Option<&Type> = None;
    for (element, is_optional) in elements {
        let value = match &meanings[element as usize].value {
            Type::Optional(inner) if is_optional => inner,
            other => other,
        };
        match first {
            None => first = Some(value),
            Some(first) if first.is(value) => {}
            Some(first) => {
                let message = format!("expected type '{}' but found '{}'", shown(first), shown(value));
                return Some(Issue { at: tree.node(element).at, message });
            }
        }
    }
    None
}

/// A template whose places do not fit the values that stand beside it.
fn format(tree: &Tree, meanings: &[Meaning], id: Id, arguments: &[Id]) -> Option<Issue> {
    let [receiver, list] = *arguments else { return None };
    let Kind::Literal(Value::String(text)) = &tree.node(receiver).kind else { return None };
    let Kind::List(values) = &tree.node(list).kind else { return None };
    let mut places = 0;
    for piece in template::pieces(text) {
        let (at, problem) = match piece {
            Ok(Piece::Text(_)) => continue,
            Ok(Piece::Place { verb, .. }) => {
                let Some((value, _)) = values.get(places) else {
                    let message = format!("index {places} out of range");
                    return Some(Issue { at: tree.node(id).at, message });
                };
                places += 1;
                (*value, template::refusal(verb, &meanings[*value as usize].value))
            }
            Err(error) => (id, Some(error)),
        };
        if let Some(error) = problem {
            return Some(Issue { at: tree.node(at).at, message: error.to_string() });
        }
    }
    let given = values.len();
    (given > places).then(|| Issue {
        at: tree.node(id).at,
        message: format!("too many arguments supplied to string.format (expected {places}, got {given})"),
    })
}
