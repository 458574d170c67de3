//! Calls that are read as something else: `has(a.b)`, `list.all(x, p)`.

use berth_json::Text;

use crate::ast::{Access, Fold, Id, Kind, Macro};
use crate::error::Issue;
use crate::parser::Parser;

/// The variables that cel-go keeps for itself.
const ACCUMULATORS: [&str; 2] = ["__result__", "@result"];

/// A function called by its name.
pub(crate) fn global(
    parser: &mut Parser<'_>,
    at: usize,
    name: &Text,
    arguments: Vec<Id>,
) -> Result<Id, Issue> {
    let [argument] = arguments[..] else { return call(parser, at, name.clone(), arguments, false) };
    if name != "has" {
        return call(parser, at, name.clone(), arguments, false);
    }
    match &parser.node(argument).kind {
        Kind::Select { operand, field, mode: Access::Value } => {
            let (operand, field) = (*operand, field.clone());
            parser.add(at, Kind::Select { operand, field, mode: Access::Test }, &[operand])
        }
        _ => Err(Issue { at: parser.node(argument).at, message: "invalid argument to has() macro".into() }),
    }
}

/// A function called on a value.
pub(crate) fn member(
    parser: &mut Parser<'_>,
    at: usize,
    name: &str,
    operand: Id,
    arguments: Vec<Id>,
) -> Result<Id, Issue> {
    let Some(found) = find(name, arguments.len()) else {
        let all = [&[operand][..], &arguments].concat();
        return call(parser, at, name.into(), all, true);
    };
    let target = parser.node(operand);
    if found.name == Macro::SortBy
        && matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Message { .. })
    {
        let message =
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        return Err(Issue { at: target.at, message: message.into() });
    }
    let (variables, bodies) = arguments.split_at(found.variables);
    let names = variables.iter().map(|id| variable(parser, *id, found)).collect::<Result<Vec<_>, _>>()?;
    let (variable, second) = match &names[..] {
        [first, second] if first == second => {
            let message = format!("duplicate variable name: {first}");
            return Err(Issue { at: parser.node(variables[1]).at, message });
        }
        [first, second] => (first.clone(), Some(second.clone())),
        [first, ..] => (first.clone(), None),
        [] => (Text::default(), None),
    };
    let (filter, body) = match *bodies {
        [filter, body] => (Some(filter), body),
        [body, ..] => (None, body),
        [] => (None, operand),
    };
    let inner = bodies.iter().map(|id| parser.node(*id).depth).max().unwrap_or(0);
    let depth = parser.node(operand).depth + inner + 1;
    let fold = Fold { name: found.name, range: operand, variable, second, filter, body };
    parser.add_deep(at, Kind::Fold(Box::new(fold)), depth)
}

fn call(
    parser: &mut Parser<'_>,
    at: usize,
    name: Text,
    arguments: Vec<Id>,
    is_member: bool,
) -> Result<Id, Issue> {
    let below = arguments.clone();
    parser.add(at, Kind::Call { function: name, arguments, is_member }, &below)
}

/// A macro that is called on a value.
#[derive(Clone, Copy)]
struct Found {
    name: Macro,
    /// How many arguments are names of variables.
    variables: usize,
    /// What is said of one that is none.
    complaint: &'static str,
}

fn find(name: &str, arguments: usize) -> Option<Found> {
    const SIMPLE: &str = "argument must be a simple name";
    const IDENTIFIER: &str = "argument is not an identifier";
    let (name, variables, complaint) = match (name, arguments) {
        ("all", 2) => (Macro::All, 1, SIMPLE),
        ("exists", 2) => (Macro::Exists, 1, SIMPLE),
        ("exists_one" | "existsOne", 2) => (Macro::ExistsOne, 1, SIMPLE),
        ("map", 2 | 3) => (Macro::Map, 1, IDENTIFIER),
        ("filter", 2) => (Macro::Filter, 1, IDENTIFIER),
        ("sortBy", 2) => (Macro::SortBy, 1, IDENTIFIER),
        ("all", 3) => (Macro::All, 2, SIMPLE),
        ("exists", 3) => (Macro::Exists, 2, SIMPLE),
        ("exists_one" | "existsOne", 3) => (Macro::ExistsOne, 2, SIMPLE),
        ("transformList", 3 | 4) => (Macro::Map, 2, SIMPLE),
        ("transformMap", 3 | 4) => (Macro::TransformMap, 2, SIMPLE),
        ("transformMapEntry", 3 | 4) => (Macro::TransformMapEntry, 2, SIMPLE),
        ("optMap", 2) => (Macro::OptMap, 1, "optMap() variable name must be a simple identifier"),
        ("optFlatMap", 2) => (Macro::OptFlatMap, 1, "optFlatMap() variable name must be a simple identifier"),
        _ => return None,
    };
    Some(Found { name, variables, complaint })
}

fn variable(parser: &Parser<'_>, id: Id, found: Found) -> Result<Text, Issue> {
    let node = parser.node(id);
    let message = match &node.kind {
        Kind::Ident(name) if ACCUMULATORS.contains(&name.as_str()) => {
            "iteration variable overwrites accumulator variable"
        }
        Kind::Ident(name) => return Ok(name.clone()),
        _ => found.complaint,
    };
    Err(Issue { at: node.at, message: message.into() })
}
