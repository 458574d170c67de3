//! Regular expressions as Go reads them (RE2), compiled by the `regex` crate.
//!
//! Both know the same language but for a few letters: in Go `\d`, `\w`, `\s` and `\b` are of ASCII, a `[` in a class
//! is itself, as is a `{` that opens no repetition, and `\Q…\E` quotes.

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// How long an expression may be: the longest in use, of image references, have a few hundred bytes.
const SOURCE_BYTES_MAX: usize = 16 * 1024;
/// What a compiled expression may take: nearly all take a hundredth, `^.{1,1000}$` takes half of it.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// What takes more than this is large: a schema may have few of them.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How deep groups may nest: as in Go.
const NESTING_MAX: u32 = 250;

/// Compiles an expression; says as well whether it is large.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn compile(source: &str) -> Result<(Regex, bool), String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("it is longer than {SOURCE_BYTES_MAX} bytes"));
    }
    let translated = translated(source);
    let build = |bytes_max| {
        let mut builder = RegexBuilder::new(&translated);
        builder.size_limit(bytes_max).dfa_size_limit(SMALL_BYTES_MAX * 4).nest_limit(NESTING_MAX).build()
    };
    let built = match build(SMALL_BYTES_MAX) {
        Err(regex::Error::CompiledTooBig(_)) => build(COMPILED_BYTES_MAX).map(|regex| (regex, true)),
        built => built.map(|regex| (regex, false)),
    };
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("it takes more than {COMPILED_BYTES_MAX} bytes"),
        // The crate draws the place over several lines; the last one says what is wrong.
        error => {
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

/// The expression as the `regex` crate writes it.
fn translated(source: &str) -> String {
    let mut translation = Translation { rest: source.chars().peekable(), text: String::new() };
    while let Some(letter) = translation.rest.next() {
        match letter {
            '\\' => translation.escape(false),
            '[' => translation.class(),
            '{' if !opens_repetition(translation.rest.clone()) => translation.text.push_str(r"\{"),
            letter => translation.text.push(letter),
        }
    }
    translation.text
}

struct Translation<'s> {
    rest: Peekable<Chars<'s>>,
    text: String,
}

impl Translation<'_> {
    /// What stands after a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some(letter) = self.rest.next() else {
            self.text.push('\\');
            return;
        };
        let ascii = match (letter, in_class) {
            ('d', false) => "[0-9]",
            ('d', true) => "0-9",
            ('D', _) => "[^0-9]",
            ('w', false) => "[0-9A-Za-z_]",
            ('w', true) => "0-9A-Za-z_",
            ('W', _) => "[^0-9A-Za-z_]",
            ('s', false) => r"[\t\n\f\r ]",
            ('s', true) => r"\t\n\f\r ",
            ('S', _) => r"[^\t\n\f\r ]",
            ('b', false) => r"(?-u:\b)",
            ('B', false) => r"(?-u:\B)",
            ('Q', _) => return self.quotation(),
            _ => {
                self.text.push('\\');
                self.text.push(letter);
                return;
            }
        };
        self.text.push_str(ascii);
    }

    /// All up to `\E` is itself.
    fn quotation(&mut self) {
        let mut quoted = String::new();
        while let Some(letter) = self.rest.next() {
            if letter == '\\' && self.rest.peek() == Some(&'E') {
                self.rest.next();
                break;
            }
            quoted.push(letter);
        }
        self.text.push_str(&regex::escape(&quoted));
    }

    /// A class in brackets, whose opening one was read.
    fn class(&mut self) {
        self.text.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.text.push('^');
        }
        if self.rest.next_if_eq(&']').is_some() {
            self.text.push_str(r"\]");
        }
        while let Some(letter) = self.rest.next() {
            match letter {
                ']' => {
                    self.text.push(']');
                    return;
                }
                '\\' => self.escape(true),
                '[' if self.rest.peek() == Some(&':') => self.named_class(),
                // The crate reads nested classes and operations on sets here; Go does not.
                '[' | '&' | '~' => {
                    self.text.push('\\');
                    self.text.push(letter);
                }
                '-' if self.rest.peek() == Some(&'-') => self.text.push_str(r"\-"),
                letter => self.text.push(letter),
            }
        }
    }

    /// `[:alpha:]` in a class.
    fn named_class(&mut self) {
        self.text.push('[');
        for letter in self.rest.by_ref() {
            self.text.push(letter);
            if letter == ']' {
                return;
            }
        }
    }
}

/// Whether what follows a `{` makes it a repetition: `{2}`, `{2,}` or `{2,3}`.
fn opens_repetition(mut rest: Peekable<Chars<'_>>) -> bool {
    let mut digits = 0;
    while rest.next_if(char::is_ascii_digit).is_some() {
        digits += 1;
    }
    if rest.next_if_eq(&',').is_some() {
        while rest.next_if(char::is_ascii_digit).is_some() {}
    }
    digits > 0 && rest.next() == Some('}')
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn as_go_reads_them() {
        for (pattern, text, matches) in [
            ("^a+$", "aa", true),
            ("^a+$", "ab", false),
            (r"^\d$", "٣", false),
            (r"^\d$", "3", true),
            (r"^[\w-]+$", "é", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[^\d]$", "x", true),
            (r"^[^\D]$", "4", true),
            (r"^[\S]$", " ", false),
            (r"^[[]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[a&&b]$", "&", true),
            (r"^[[:alpha:]]+$", "ab", true),
            ("^{a}$", "{a}", true),
            ("^a{2}$", "aa", true),
            ("^a{,2}$", "a{,2}", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"\bfoo\b", "a foo", true),
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a.b-c", true),
            (r"^.{1,1000}$", "x", true),
        ] {
            assert_eq!(compile(pattern).unwrap().0.is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for pattern in ["(", "[", "*a", r"\", "(?<", "[z-a]", r"((a{1000}){1000}){1000}", "(?=a)"] {
            let why = compile(pattern).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{pattern}: {why}");
        }
        assert!(compile(&"(".repeat(10_000)).is_err());
        assert!(compile(&"a".repeat(20_000)).is_err());
    }
}
