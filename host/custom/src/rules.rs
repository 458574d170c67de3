//! The rules of a schema (`x-kubernetes-validations`): compiled when a definition is read, judged with every object.

mod estimate;
mod judge;
mod types;

use std::collections::BTreeMap;

use berth_cel::{Environment, Program, Type};
use berth_json::Text;

pub(crate) use estimate::Estimates;
pub(crate) use judge::judge;

use crate::field_path::{self, Step};
use crate::path::Path;
use crate::structural::{Additional, Rule, Structural};

/// The rules of a place and of those below it, where there are any.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    own: Vec<Compiled>,
    properties: BTreeMap<Text, Rules>,
    others: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

/// A rule that can be judged.
#[derive(Debug)]
pub(crate) struct Compiled {
    rule: Rule,
    program: Program,
    message: Option<Program>,
    /// Whether it compares with what was.
    uses_old: bool,
    /// The field that is told to be wrong, below the rule's place.
    field: Vec<Step>,
}

/// What is wrong with a rule.
#[derive(Debug)]
pub(crate) enum RuleFault {
    /// With the rule itself.
    Rule(String),
    /// With the expression of its message.
    Message(String),
}

impl Rules {
    /// Compiles the rules of a schema; none when there is none that can be. Rules that cannot are left out: a definition
    /// is judged before it is stored.
    pub(crate) fn of(schema: &Structural) -> Option<Self> {
        Self::place(schema, true)
    }

    /// The rules of a part of an object.
    pub(crate) fn of_part(schema: &Structural) -> Option<Self> {
        Self::place(schema, schema.embedded)
    }

    fn place(schema: &Structural, is_root: bool) -> Option<Self> {
        if !schema.has_rules() {
            return None;
        }
        let declared = if schema.rules.is_empty() { None } else { types::declared(schema, is_root) };
        let own = declared.into_iter().flat_map(|declared| {
            schema.rules.iter().filter_map(move |rule| compile(schema, rule, &declared.0).ok())
        });
        let rules = Self {
            own: own.collect(),
            properties: schema
                .properties
                .iter()
                .filter_map(|(name, field)| Some((name.clone(), Self::of_part(field)?)))
                .collect(),
            others: match &schema.additional {
                Additional::Schema(others) => Self::of_part(others).map(Box::new),
                _ => None,
            },
            items: schema.items.as_ref().and_then(|items| Self::of_part(items).map(Box::new)),
        };
        let has_any = !rules.own.is_empty()
            || !rules.properties.is_empty()
            || rules.others.is_some()
            || rules.items.is_some();
        has_any.then_some(rules)
    }
}

/// The largest message that an expression may make.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// Compiles a rule for values of a type.
fn compile(schema: &Structural, rule: &Rule, declared: &Type) -> Result<Compiled, RuleFault> {
    let old = match rule.optional_old_self {
        Some(true) => Type::optional(declared.clone()),
        _ => declared.clone(),
    };
    let environment = Environment::new().variable(SELF, declared.clone()).variable(OLD_SELF, old);
    let program = Program::compile(&environment, &rule.rule)
        .map_err(|why| RuleFault::Rule(format!("compilation failed: {why}")))?;
    if *program.result_type() != Type::Bool {
        return Err(RuleFault::Rule("cel expression must evaluate to a bool".to_owned()));
    }
    let message = match rule.message_expression.trim() {
        "" => None,
        _ => {
            let program = Program::compile(&environment, &rule.message_expression)
                .map_err(|why| RuleFault::Message(format!("messageExpression compilation failed: {why}")))?;
            if *program.result_type() != Type::STRING {
                return Err(RuleFault::Message("messageExpression must evaluate to a string".to_owned()));
            }
            Some(program)
        }
    };
    let field = match rule.field_path.as_str() {
        "" => Vec::new(),
        path => field_path::follow(path, schema, true).map(|(steps, _)| steps).unwrap_or_default(),
    };
    Ok(Compiled { rule: rule.clone(), uses_old: program.uses(OLD_SELF), program, message, field })
}

const SELF: &str = "self";
const OLD_SELF: &str = "oldSelf";

impl Compiled {
    /// The place that a failure is told of.
    fn place(&self, path: &Path<'_>) -> String {
        fn below(path: &Path<'_>, steps: &[Step]) -> String {
            match steps.split_first() {
                None => path.bracketed(),
                Some((Step::Field(name), rest)) => below(&Path::Field(path, name), rest),
                Some((Step::Key(key), rest)) => below(&Path::Key(path, key), rest),
            }
        }
        below(path, &self.field)
    }

    /// What a rule is called in messages.
    fn name(&self) -> &str {
        let message = self.rule.message.trim();
        if self.rule.message.is_empty() { self.rule.rule.trim() } else { message }
    }

    /// What is said when nothing else is.
    fn default_message(&self) -> String {
        if self.rule.message.is_empty() {
            format!("failed rule: {}", self.name())
        } else {
            self.name().to_owned()
        }
    }
}
