//! Operands that are not always evaluated, and failures that do not always count.

use crate::ast::Id;
use crate::error::EvalError;
use crate::evaluate::Evaluation;
use crate::functions::Answer;
use crate::library::optional;
use crate::value::Value;

/// Functions of optionals that do not always evaluate their argument.
#[derive(Clone, Copy)]
pub(crate) enum Alternative {
    Or,
    OrValue,
}

impl Alternative {
    pub(crate) fn of(function: &str) -> Option<Self> {
        match function {
            "or" => Some(Self::Or),
            "orValue" => Some(Self::OrValue),
            _ => None,
        }
    }
}

impl<'v> Evaluation<'v> {
    /// Keeps a failure that may not matter in the end; its text is paid for.
    pub(crate) fn keep(&mut self, kept: &mut Option<EvalError>, error: EvalError) -> Result<(), EvalError> {
        let EvalError::Failed(text) = &error else { return Err(error) };
        self.tools.meter.memory(text.len())?;
        kept.get_or_insert(error);
        Ok(())
    }

    /// `a.or(b)` and `a.orValue(b)`: the second is looked at when it is needed.
    pub(crate) fn alternative(&mut self, kind: Alternative, receiver: Id, other: Id) -> Answer<'v> {
        let first = self.value(receiver)?;
        match (optional::inside(&first)?, kind) {
            (Some(_), Alternative::Or) => Ok(first),
            (Some(inside), Alternative::OrValue) => Ok((**inside).clone()),
            (None, Alternative::Or) => {
                let second = self.value(other)?;
                optional::inside(&second)?;
                Ok(second)
            }
            (None, Alternative::OrValue) => self.value(other),
        }
    }

    /// Two operands; the second is evaluated and the call is counted though the first has no value, as in Kubernetes.
    pub(crate) fn both(&mut self, left: Id, right: Id) -> Result<[Value<'v>; 2], EvalError> {
        let left = self.value(left);
        if matches!(left, Err(EvalError::Exhausted)) {
            return Err(EvalError::Exhausted);
        }
        let error = match (left, self.value(right)) {
            (Ok(left), Ok(right)) => return Ok([left, right]),
            (_, Err(EvalError::Exhausted)) => return Err(EvalError::Exhausted),
            (Err(error), _) | (Ok(_), Err(error)) => error,
        };
        self.charge(1)?;
        Err(error)
    }

    /// A chain of `&&` or `||`: what decides it outweighs what failed before.
    pub(crate) fn logic(&mut self, is_or: bool, operands: &[Id]) -> Answer<'v> {
        let mut fault = None;
        for operand in operands {
            match self.value(*operand) {
                Ok(Value::Bool(truth)) if truth == is_or => return Ok(Value::Bool(is_or)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => self.keep(&mut fault, EvalError::NO_OVERLOAD)?,
                Err(error) => self.keep(&mut fault, error)?,
            }
        }
        fault.map_or(Ok(Value::Bool(!is_or)), Err)
    }
}
