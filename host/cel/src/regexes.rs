//! Regular expressions as RE2 understands them, by Rust's engine, which knows no more than they need: what the two write
//! differently is translated. A pattern's states are counted before it is compiled, because `(x{1000}){1000}` is short.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::error::EvalError;
use crate::meter::Meter;

/// The most states of a pattern: what counted repetitions of Kubernetes' own patterns need several times over.
const STATES_MAX: u64 = 20_000;
/// How often something can be repeated at most: RE2's limit.
const REPEAT_MAX: u32 = 1_000;
/// The classes of characters that have names.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
/// How deep groups nest.
const NEST_MAX: u32 = 100;
/// The most bytes of a compiled pattern.
const COMPILED_MAX: usize = 4 << 20;
/// How many patterns that an evaluation makes up are kept.
const KEPT_MAX: usize = 16;
/// How many states a step of searching moves on in most patterns.
const PARALLEL: u64 = 4;
/// What compiling takes in steps, and what each state adds.
const COMPILE_WORK: u64 = 5_000;
const STATE_WORK: u64 = 50;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Arc<Regex>,
    states: u64,
}

/// The patterns that an evaluation made up.
#[derive(Default)]
pub(crate) struct Regexes(HashMap<String, Pattern>);

impl Regexes {
    /// A pattern, compiled now or before.
    pub(crate) fn get(&mut self, meter: &mut Meter, pattern: &str) -> Result<Pattern, EvalError> {
        if let Some(kept) = self.0.get(pattern) {
            return Ok(kept.clone());
        }
        meter.work(COMPILE_WORK + pattern.len() as u64)?;
        let (hir, states) = read(pattern).map_err(EvalError::new)?;
        meter.work(states * STATE_WORK)?;
        let compiled = build(&hir, states).map_err(EvalError::new)?;
        if self.0.len() >= KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

impl Pattern {
    /// A pattern of the program's own text, if it has no more states than that.
    pub(crate) fn new(pattern: &str, most: u64) -> Result<Self, String> {
        let (hir, states) = read(pattern)?;
        if states > most {
            return Err("the patterns of the expression are too large".into());
        }
        build(&hir, states)
    }

    /// About how large it is.
    pub(crate) fn states(&self) -> u64 {
        self.states
    }

    /// The engine, once searching so much text is paid for.
    pub(crate) fn over(&self, meter: &mut Meter, text: &str) -> Result<&Regex, EvalError> {
        meter.work(self.states.saturating_mul(text.len() as u64 + 1) / PARALLEL)?;
        Ok(&self.regex)
    }
}

fn read(pattern: &str) -> Result<(Hir, u64), String> {
    let translated = translate(pattern)?;
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(NEST_MAX).build();
    let hir = parser.parse(&translated).map_err(|error| explain(&error, pattern, &translated))?;
    let states = states(&hir);
    if states > STATES_MAX {
        return Err(format!("error parsing regexp: expression too large: `{pattern}`"));
    }
    Ok((hir, states))
}

/// What is wrong in Go's words, with the piece that is.
fn explain(error: &regex_syntax::Error, pattern: &str, translated: &str) -> String {
    use regex_syntax::ast::ErrorKind;
    let regex_syntax::Error::Parse(error) = error else {
        return format!("error parsing regexp: invalid character class range: `{pattern}`");
    };
    let span = error.span();
    let piece = translated.get(span.start.offset..span.end.offset).unwrap_or_default();
    let (problem, shown) = match error.kind() {
        ErrorKind::GroupUnclosed => ("missing closing )", pattern),
        ErrorKind::GroupUnopened => ("unexpected )", pattern),
        ErrorKind::ClassUnclosed => ("missing closing ]", piece),
        ErrorKind::RepetitionMissing => ("missing argument to repetition operator", piece),
        ErrorKind::ClassRangeInvalid => ("invalid character class range", piece),
        ErrorKind::UnsupportedBackreference | ErrorKind::EscapeUnrecognized => {
            ("invalid escape sequence", piece)
        }
        ErrorKind::NestLimitExceeded(_) => ("expression nests too deeply", pattern),
        ErrorKind::UnsupportedLookAround => ("invalid or unsupported Perl syntax", piece),
        _ => ("invalid or unsupported Perl syntax", pattern),
    };
    format!("error parsing regexp: {problem}: `{shown}`")
}

fn build(hir: &Hir, states: u64) -> Result<Pattern, String> {
    let config = Regex::config().nfa_size_limit(Some(COMPILED_MAX)).onepass(false).dfa(false);
    let regex = Regex::builder().configure(config).build_from_hir(hir);
    let regex = regex.map_err(|_| "error parsing regexp: expression too large".to_owned())?;
    Ok(Pattern { regex: Arc::new(regex), states: states.max(1) })
}

/// About how many states the pattern has; the parser limits how deep this goes.
fn states(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() as u64 * 4,
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1));
            states(&repetition.sub).saturating_mul(times).saturating_add(1)
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(1, |sum, part| states(part).saturating_add(sum))
        }
    }
}

/// A pattern of RE2 in Rust's syntax.
///
/// # Errors
/// When it repeats what is repeated already, or too often.
fn translate(pattern: &str) -> Result<String, String> {
    let wrong = |problem: &str, piece: &str| format!("error parsing regexp: {problem}: `{piece}`");
    let mut translated = String::with_capacity(pattern.len() + 16);
    let mut in_class = false;
    // How many signs of repetition stand before: the second may be a `?` for as few as possible.
    let mut repeated = 0;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = after;
        if !in_class && (matches!(c, '*' | '+' | '?') || (c == '{' && is_repetition(after))) {
            let is_lazy = repeated == 1 && c == '?';
            if repeated > 0 && !is_lazy && !translated.ends_with('(') {
                let before = translated.chars().next_back().unwrap_or(c);
                return Err(wrong("invalid nested repetition operator", &format!("{before}{c}")));
            }
            if translated.is_empty()
                || translated.ends_with(['(', '|']) && !(c == '?' && translated.ends_with('('))
            {
                return Err(wrong("missing argument to repetition operator", &c.to_string()));
            }
            repeated += 1;
            translated.push(c);
            if c == '{' {
                let (counts, more) = after.split_once('}').unwrap_or((after, ""));
                let is_small =
                    |count: &str| count.is_empty() || count.parse::<u32>().is_ok_and(|n| n <= REPEAT_MAX);
                if !counts.split(',').all(is_small) {
                    return Err(wrong("invalid repeat count", &format!("{{{counts}}}")));
                }
                translated.push_str(counts);
                translated.push('}');
                rest = more;
            }
            continue;
        }
        repeated = 0;
        match c {
            '\\' => {
                if let Some(quoted) = after.strip_prefix('Q') {
                    let (text, more) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                    translated.push_str(&regex_syntax::escape(text));
                    rest = more;
                } else if let Some(escaped) = after.chars().next() {
                    rest = &after[escaped.len_utf8()..];
                    translated.push_str(&escape(escaped, in_class));
                } else {
                    translated.push('\\');
                }
            }
            '[' if in_class && after.starts_with(':') => match after[1..].split_once(":]") {
                Some((name, more)) if CLASSES.contains(&name.trim_start_matches('^')) => {
                    translated.push_str(&format!("[:{name}:]"));
                    rest = more;
                }
                Some((name, _)) => {
                    return Err(wrong("invalid character class range", &format!("[:{name}:]")));
                }
                None => translated.push_str("\\["),
            },
            '[' if in_class => translated.push_str("\\["),
            '[' => {
                in_class = true;
                translated.push('[');
                if let Some(more) = rest.strip_prefix('^') {
                    translated.push('^');
                    rest = more;
                }
                // A bracket that comes first is one of the characters.
                if let Some(more) = rest.strip_prefix(']') {
                    translated.push_str("\\]");
                    rest = more;
                }
            }
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '&' | '~' if in_class => translated.extend(['\\', c]),
            '-' if in_class && after.starts_with('-') => translated.push_str("\\-"),
            '{' | '}' if !in_class => translated.extend(['\\', c]),
            other => translated.push(other),
        }
    }
    Ok(translated)
}

/// `2}`, `2,}` or `2,5}`.
fn is_repetition(text: &str) -> bool {
    let Some((counts, _)) = text.split_once('}') else { return false };
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    let is_number = |digits: &str| digits.bytes().all(|c| c.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

/// An escape; Perl's classes and word boundaries mean ASCII.
fn escape(c: char, in_class: bool) -> String {
    let ranges = match c {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => r"\t\n\f\r ",
        'b' | 'B' if !in_class => return format!("(?-u:\\{c})"),
        'C' if !in_class => return "(?s:.)".into(),
        _ => return format!("\\{c}"),
    };
    match (c.is_ascii_uppercase(), in_class) {
        (false, true) => ranges.into(),
        (false, false) => format!("[{ranges}]"),
        (true, _) => format!("[^{ranges}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, STATES_MAX).unwrap().regex.is_match(text)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"^[\w-]+$", "a-b_1", true),
            (r"^[^\d]$", "x", true),
            (r"^[\D]$", "1", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[a[b]+$", "[ab", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "bc", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^{x}$", "{x}", true),
            (r"^[a&&b]+$", "&a", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"a$", "a\n", false),
            (r"\bfoo\b", "a foo b", true),
            (r"^a{2,3}$", "aaa", true),
            (r"(?i)ABC", "abc", true),
            (r"^\pL+$", "é", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_re2_does_not_take_is_refused() {
        for pattern in [r"(a", r"(?=a)", r"\1", "a**", r"[z-a]", "(x{1000}){1000}", &"(".repeat(10_000)] {
            assert!(Pattern::new(pattern, STATES_MAX).is_err(), "{}", &pattern[..pattern.len().min(20)]);
        }
    }
}
