//! What a value must satisfy beyond its type.

use std::sync::Arc;

use berth_json::{Text, Value};
use regex::Regex;

use super::Structural;
use crate::formats::Format;

/// The keywords that judge a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<Format>,
    pub(crate) maximum: Option<Limit>,
    pub(crate) minimum: Option<Limit>,
    pub(crate) multiple_of: Option<Number>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) required: Vec<Text>,
    pub(crate) all_of: Vec<Structural>,
    pub(crate) any_of: Vec<Structural>,
    pub(crate) one_of: Vec<Structural>,
    pub(crate) not: Option<Box<Structural>>,
}

/// A bound of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bound: Number,
    /// Whether the bound itself is beyond.
    pub(crate) is_exclusive: bool,
}

/// A number: whole where JSON wrote one that fits, so that large ones are compared exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

/// A regular expression, with the text that messages show.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) source: Text,
    pub(crate) regex: Arc<Regex>,
}

impl Number {
    /// The number that a value is.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        value.as_i64().map(Self::Int).or_else(|| value.as_f64().map(Self::Float))
    }

    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// Whether this is less than, equal to or more than the other.
    pub(crate) fn compare(self, other: Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Int(mine), Self::Int(theirs)) => Some(mine.cmp(&theirs)),
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }

    /// Whether this is a multiple of the factor, which must be positive.
    pub(crate) fn is_multiple_of(self, factor: Self) -> bool {
        match (self, factor) {
            (Self::Int(number), Self::Int(factor)) => number.checked_rem(factor).is_none_or(|rest| rest == 0),
            _ if factor.as_f64() <= 0.0 => true,
            _ if factor.as_f64() < 1.0 => is_whole(self.as_f64() * (1.0 / factor.as_f64())),
            _ => is_whole(self.as_f64() / factor.as_f64()),
        }
    }
}

/// Whether a float stands for a whole number, as JSON Schema sees it: small errors of the arithmetic are forgiven.
pub(crate) fn is_whole(number: f64) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0; // 2^53 - 1: beyond, floats skip whole numbers
    const TOLERANCE: f64 = 1e-9;
    number.abs() <= EXACT_MAX && (number - number.round()).abs() <= TOLERANCE * number.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::Number::{Float, Int};

    #[test]
    fn multiples() {
        for (number, factor, is_multiple) in [
            (Int(6), Int(3), true),
            (Int(7), Int(3), false),
            (Float(1.5), Float(0.5), true),
            (Float(1.2), Float(0.5), false),
            (Float(0.3), Float(0.1), true),
            (Int(3), Float(1.5), true),
            (Int(i64::MIN), Int(-1), true),
            (Int(1), Int(0), true),
        ] {
            assert_eq!(number.is_multiple_of(factor), is_multiple, "{number:?} {factor:?}");
        }
    }
}
