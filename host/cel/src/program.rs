//! Programs: sources that were read and checked.

use berth_json as json;
use berth_json::Text;

use crate::ast::Tree;
use crate::checker;
use crate::error::{CompileError, EvalError};
use crate::estimate;
use crate::evaluate::Evaluation;
use crate::functions::Tools;
use crate::meter::Budget;
use crate::parser;
use crate::plan::{self, Step};
use crate::regexes::Regexes;
use crate::types::Type;
use crate::validate;
use crate::value::Value;

/// The variables that expressions can read.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(Text, Type)>,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// One variable more.
    #[must_use]
    pub fn variable(mut self, name: &str, value: Type) -> Self {
        self.variables.push((name.into(), value));
        self
    }
}

/// An expression that can be evaluated, by many at once.
#[derive(Debug)]
pub struct Program {
    pub(crate) tree: Tree,
    pub(crate) steps: Vec<Step>,
    pub(crate) variables: Vec<(Text, Type)>,
    /// The variables that it reads, by their numbers.
    used: Vec<usize>,
    result: Type,
    estimate: u64,
}

impl Program {
    /// Reads and checks a source.
    ///
    /// # Errors
    /// When it is no expression, or one whose types do not fit.
    pub fn compile(environment: &Environment, source: &str) -> Result<Self, CompileError> {
        let size = source.chars().take(parser::SOURCE_MAX + 1).count();
        if size > parser::SOURCE_MAX {
            let message = format!(
                "expression code point size exceeds limit: size: {}, limit {}",
                source.chars().count(),
                parser::SOURCE_MAX
            );
            return Err(CompileError::whole(&message));
        }
        let variables = environment.variables.clone();
        let tree = parser::parse(source).map_err(|issues| CompileError::new(source, issues))?;
        let meanings =
            checker::check(&tree, &variables).map_err(|issues| CompileError::new(source, issues))?;
        let patterns =
            validate::validate(&tree, &meanings).map_err(|issues| CompileError::new(source, issues))?;
        let steps = plan::plan(&tree, &meanings, &patterns);
        let estimate = estimate::estimate(&tree, &meanings, &variables);
        let result = meanings[tree.root as usize].value.clone();
        Ok(Self { used: plan::used(&meanings), tree, steps, variables, result, estimate })
    }

    /// The type of its value.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// Whether it reads a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.used.iter().any(|number| self.variables[*number].0 == variable)
    }

    /// The most that an evaluation can cost when all values are as large as their types allow, as Kubernetes reckons.
    pub fn estimated_cost(&self) -> u64 {
        self.estimate
    }

    /// The value for these variables.
    ///
    /// # Errors
    /// When there is none, or when it costs more than the budget has left.
    pub fn evaluate<'v>(&'v self, bindings: &Bindings<'v>, budget: &Budget) -> Result<Value<'v>, EvalError> {
        let mut variables = vec![None; self.used.last().map_or(0, |last| last + 1)];
        for number in &self.used {
            let (name, declared) = &self.variables[*number];
            variables[*number] = bindings.get(name, declared)?;
        }
        let tools = Tools { meter: budget.meter(), regexes: Regexes::default() };
        let mut evaluation = Evaluation { program: self, variables, locals: Vec::new(), tools };
        let answer = evaluation.value(self.tree.root);
        budget.spend(evaluation.tools.meter.cost);
        answer
    }
}

/// What variables stand for in an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'v> {
    values: Vec<(&'v str, Binding<'v>)>,
}

#[derive(Clone, Debug)]
enum Binding<'v> {
    Json(&'v json::Value),
    Value(Value<'v>),
}

impl<'v> Bindings<'v> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable that is an object, or a part of one, looked at as the type it was declared with.
    #[must_use]
    pub fn json(mut self, name: &'v str, value: &'v json::Value) -> Self {
        self.values.push((name, Binding::Json(value)));
        self
    }

    /// A variable that is any value.
    #[must_use]
    pub fn value(mut self, name: &'v str, value: Value<'v>) -> Self {
        self.values.push((name, Binding::Value(value)));
        self
    }

    fn get(&self, name: &str, declared: &'v Type) -> Result<Option<Value<'v>>, EvalError> {
        match self.values.iter().find(|(bound, _)| *bound == name) {
            Some((_, Binding::Json(value))) => Value::from_json(value, declared).map(Some),
            Some((_, Binding::Value(value))) => Ok(Some(value.clone())),
            None => Ok(None),
        }
    }
}
