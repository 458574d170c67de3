//! What can go wrong, in cel-go's words.

use std::borrow::Cow;
use std::fmt;

/// The most problems of one source that are told.
pub(crate) const ISSUES_MAX: usize = 100;
/// The longest line that is shown beside a problem.
const SNIPPET_MAX: usize = 16_384;

/// A source that is no program, and why: `ERROR: <input>:1:6: …` with the line and a mark below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    text: String,
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A problem at a place of the source.
#[derive(Debug)]
pub(crate) struct Issue {
    /// The byte it stands at.
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl CompileError {
    /// The problems in the order of their places.
    pub(crate) fn new(source: &str, mut issues: Vec<Issue>) -> Self {
        let more = issues.len().saturating_sub(ISSUES_MAX);
        issues.truncate(ISSUES_MAX);
        issues.sort_by_key(|issue| issue.at);
        let mut lines: Vec<String> = issues.iter().map(|issue| show(source, issue)).collect();
        if more > 0 {
            lines.push(format!("{more} more errors were truncated"));
        }
        Self { text: lines.join("\n") }
    }

    /// A problem of no place in particular.
    pub(crate) fn whole(message: &str) -> Self {
        Self { text: format!("ERROR: :1:1: {message}") }
    }
}

fn show(source: &str, issue: &Issue) -> String {
    let at = issue.at.min(source.len());
    let before = source.get(..at).unwrap_or(source);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[start..].split('\n').next().unwrap_or_default();
    let column = source.get(start..at).unwrap_or_default().chars().count();
    let row = before.matches('\n').count() + 1;
    let mut text = format!("ERROR: <input>:{row}:{}: {}", column + 1, issue.message);
    if line.len() <= SNIPPET_MAX {
        let marks = line.chars().take(column).map(|c| if c.is_ascii() { '.' } else { '\u{ff0e}' });
        let mark = line.chars().nth(column).map_or('^', |c| if c.is_ascii() { '^' } else { '\u{ff3e}' });
        text.push_str("\n | ");
        text.push_str(&line.replace('\t', " "));
        text.push_str("\n | ");
        text.extend(marks);
        text.push(mark);
    }
    text
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// The expression has no value for these bindings: `no such key: x`.
    Failed(Cow<'static, str>),
    /// It cost more than it may.
    Exhausted,
}

impl EvalError {
    pub(crate) const NO_OVERLOAD: Self = Self::Failed(Cow::Borrowed("no such overload"));

    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(message.into())
    }
}

impl std::error::Error for EvalError {}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) => f.write_str(message),
            Self::Exhausted => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}
