//! What is wrong with a value, in the words of the API server.

use berth_api::{Cause, Problems};
use berth_json::{Text, Value};

use crate::path::{NOWHERE, Path};
use crate::structural::Number;

/// How many faults of one object are kept: more than are told of.
const FAULTS_MAX: usize = 1000;

/// What validation of one place found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) faults: Vec<Fault>,
    /// Whether there was any fault, kept or not.
    pub(crate) has_failed: bool,
    /// How many checks were made: of several alternatives that fail, the one that came furthest is told of.
    pub(crate) matched: u32,
}

/// One fault: where, and what.
pub(crate) struct Fault {
    /// The place as messages name it; empty for the object itself.
    pub(crate) place: String,
    pub(crate) what: What,
}

/// What is wrong at a place.
pub(crate) enum What {
    /// A field is missing.
    Required,
    /// The value is none of those that may stand here.
    Unlisted { value: String, listed: Vec<String> },
    /// The text is longer than so many letters.
    TooLong(u64),
    /// There are more elements or fields than may be.
    TooMany { count: usize, max: u64 },
    /// A value of another type or format; `found` is the type, or the text of another format.
    Type { expected: Text, found: String },
    /// A sentence about the value at the place.
    Invalid { value: Value, sentence: String },
    /// A sentence about the object.
    General(String),
}

impl Outcome {
    /// Adds a fault at a place.
    pub(crate) fn add(&mut self, path: &Path<'_>, what: What) {
        self.add_named(path, "", what);
    }

    /// Adds a fault of a field of a place.
    pub(crate) fn add_named(&mut self, path: &Path<'_>, field: &str, what: What) {
        self.has_failed = true;
        if self.faults.len() < FAULTS_MAX {
            let place = if field.is_empty() { path.dotted() } else { Path::Field(path, field).dotted() };
            self.faults.push(Fault { place, what });
        }
    }

    /// Takes over what was found below.
    pub(crate) fn merge(&mut self, below: Self) {
        self.has_failed |= below.has_failed;
        self.matched = self.matched.saturating_add(below.matched);
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        self.faults.extend(below.faults.into_iter().take(room));
    }

    /// Tells of all faults; the places are below `prefix`.
    pub(crate) fn report(self, prefix: &str, problems: &mut Problems) {
        self.faults.into_iter().for_each(|fault| fault.report(prefix, problems));
    }
}

impl Fault {
    fn report(self, prefix: &str, problems: &mut Problems) {
        let Self { place, what } = self;
        let nowhere = || if prefix.is_empty() { NOWHERE.to_owned() } else { prefix.to_owned() };
        let field = match (prefix.is_empty(), place.is_empty()) {
            (_, true) => nowhere(),
            (true, false) => place.clone(),
            (false, false) => format!("{prefix}.{place}"),
        };
        match what {
            What::Required => problems.required(field, ""),
            What::Unlisted { value, listed } => {
                let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
                problems.not_supported_shown(field, &value, &listed);
            }
            What::TooLong(max) => problems.too_long(field, &format!("may not be more than {max} bytes")),
            What::TooMany { count, max } => {
                problems.too_many(field, count, usize::try_from(max).unwrap_or(usize::MAX));
            }
            What::Type { expected, found } => {
                let found = Value::from(found);
                let message =
                    format!("Invalid value: {found}: {place} in body must be of type {expected}: {found}");
                problems.push(Cause { reason: "FieldValueTypeInvalid", message, field });
            }
            What::Invalid { value, sentence } => {
                problems.invalid(field, &value, &format!("{place} in body {sentence}"));
            }
            What::General(sentence) => problems.invalid(nowhere(), &"".into(), &sentence),
        }
    }
}

/// A number as Go's `%v` prints it: integers plainly, floats as short as they can be, with an exponent from a million on
/// and below a ten-thousandth.
pub(crate) fn go_number(number: Number) -> String {
    let float = match number {
        Number::Int(int) => return int.to_string(),
        Number::Float(float) => float,
    };
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    float.to_string()
}

#[cfg(test)]
mod tests {
    use super::go_number;
    use crate::structural::Number::{Float, Int};

    #[test]
    fn numbers_as_go_prints_them() {
        for (number, text) in [
            (Int(1_000_000), "1000000"),
            (Float(0.5), "0.5"),
            (Float(10.0), "10"),
            (Float(1e6), "1e+06"),
            (Float(123_456.5), "123456.5"),
            (Float(1_234_567.0), "1.234567e+06"),
            (Float(1e-5), "1e-05"),
            (Float(1e21), "1e+21"),
        ] {
            assert_eq!(go_number(number), text);
        }
    }
}
