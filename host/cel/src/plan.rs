//! What can be known of each node before anything is evaluated.

use crate::ast::{Id, Kind, Meaning, Operator, Target, Tree};
use crate::collection::Key;
use crate::cost::{Rule, rule};
use crate::error::EvalError;
use crate::functions::{FUNCTIONS, Overload, Tools, accepts};
use crate::meter::Budget;
use crate::regexes::{Pattern, Regexes};
use crate::validate::Patterns;
use crate::value::Value;

/// Functions that convert constants when the program is made.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

/// How a node is evaluated.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) target: Target,
    /// The value, when it is always the same: it costs nothing.
    pub(crate) constant: Option<Value<'static>>,
    /// The pattern of a call of `matches` that is always the same.
    pub(crate) pattern: Option<Pattern>,
    pub(crate) rule: Rule,
    /// The overload that is called, if the types leave no other.
    pub(crate) only: Option<&'static Overload>,
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

/// The steps of all nodes; children come before their parents, so that what is constant is known of them.
pub(crate) fn plan(tree: &Tree, meanings: &[Meaning], patterns: &Patterns) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(tree.nodes.len());
    let mut tools = Tools { meter: Budget::of_object().meter(), regexes: Regexes::default() };
    for (node, meaning) in tree.nodes.iter().zip(meanings) {
        let only = meaning.target.only().map(|number| FUNCTIONS.overload(number));
        let called = match &node.kind {
            Kind::Call { function, .. } => function.as_str(),
            _ => "",
        };
        let mut step = Step {
            target: meaning.target.clone(),
            constant: constant(&steps, &mut tools, &node.kind, meaning),
            pattern: None,
            rule: rule(only.map_or(called, |overload| overload.function), only.map(|overload| overload.id)),
            only,
        };
        if let Kind::Call { arguments, .. } = &node.kind
            && called == "matches"
            && let Some(argument) = arguments.last()
            && let Kind::Literal(Value::String(text)) = &tree.node(*argument).kind
        {
            step.pattern = patterns.get(&**text).cloned();
        }
        steps.push(step);
    }
    steps
}

fn constant(steps: &[Step], tools: &mut Tools, kind: &Kind, meaning: &Meaning) -> Option<Value<'static>> {
    let known = |id: &Id| steps[*id as usize].constant.clone();
    match kind {
        Kind::Literal(value) => Some(value.clone()),
        Kind::Ident(_) | Kind::Select { .. } => match &meaning.target {
            Target::TypeName(named) => Some(Value::Type(named.clone().into())),
            _ => None,
        },
        Kind::List(elements) => {
            let values =
                elements.iter().map(|(element, is_optional)| known(element).filter(|_| !is_optional));
            Some(Value::from(values.collect::<Option<Vec<_>>>()?))
        }
        Kind::Map(entries) => {
            let mut map = std::collections::BTreeMap::new();
            for entry in entries {
                let value = known(&entry.value).filter(|_| !entry.is_optional)?;
                map.insert(Key::of(&known(&entry.key)?)?, value);
            }
            Some(Value::Map(crate::collection::Map::Owned(map.into())))
        }
        Kind::Call { function, arguments, is_member: false } if CONVERSIONS.contains(&function.as_str()) => {
            let [argument] = arguments[..] else { return None };
            let values = [known(&argument)?];
            overload_for(&meaning.target, &values)?.run?(tools, &values).ok()
        }
        _ => None,
    }
}

/// The overload for these arguments.
pub(crate) fn overload_for(target: &Target, arguments: &[Value<'_>]) -> Option<&'static Overload> {
    let Target::Call { overloads, .. } = target else { return None };
    overloads.iter().map(|number| FUNCTIONS.overload(*number)).find(|overload| takes(overload, arguments))
}

/// Whether the arguments are of the kinds that the overload takes.
pub(crate) fn takes(overload: &Overload, arguments: &[Value<'_>]) -> bool {
    arguments.iter().zip(&overload.parameters).all(|(argument, parameter)| accepts(parameter, argument))
}

/// What is said when no overload takes the arguments.
pub(crate) fn refused(target: &Target, arguments: &[Value<'_>]) -> EvalError {
    let Target::Call { overloads, .. } = target else { return EvalError::NO_OVERLOAD };
    let function = overloads.first().map_or("", |number| FUNCTIONS.overload(*number).function);
    match function {
        "contains" | "startsWith" | "endsWith" | "matches" | "find" | "findAll" => EvalError::NO_OVERLOAD,
        "size" => EvalError::new("no such overload: size"),
        _ => {
            let kinds: Vec<_> = arguments.iter().map(Value::type_name).collect();
            EvalError::new(format!("no such overload: {function}({})", kinds.join(", ")))
        }
    }
}

/// Whether the operator looks a value up in a list that is always the same: Kubernetes counts nothing for that.
pub(crate) fn is_membership(steps: &[Step], operator: Operator, right: Id) -> bool {
    operator == Operator::In && matches!(steps[right as usize].constant, Some(Value::List(_)))
}

/// The variables that a program reads, by their numbers.
pub(crate) fn used(meanings: &[Meaning]) -> Vec<usize> {
    let mut used: Vec<usize> = meanings
        .iter()
        .filter_map(|meaning| if let Target::Variable(number) = meaning.target { Some(number) } else { None })
        .collect();
    used.sort_unstable();
    used.dedup();
    used
}
