//! From a source to tokens.

use crate::error::{ISSUES_MAX, Issue};

/// A piece of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'s> {
    pub(crate) kind: TokenKind,
    /// The byte it starts at.
    pub(crate) at: usize,
    pub(crate) text: &'s str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name.
    Identifier,
    /// A name between backquotes.
    Escaped,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// `true`, `false`, `null`, `in`, an operator or a bracket: its text says which.
    Symbol,
    End,
}

/// The operators and brackets; a longer one stands before its beginning.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+",
    "*", "/", "%",
];
const KEYWORDS: [&str; 4] = ["true", "false", "null", "in"];

/// All tokens of a source, the end last, and what is none: that is left out, so that the rest can be read.
pub(crate) fn tokens(source: &str) -> (Vec<Token<'_>>, Vec<Issue>) {
    let (mut tokens, mut issues) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        at += blank(&source[at..]);
        let rest = &source[at..];
        if rest.is_empty() {
            tokens.push(Token { kind: TokenKind::End, at, text: "" });
            return (tokens, issues);
        }
        at += match token(rest) {
            Some((kind, length)) => {
                tokens.push(Token { kind, at, text: &rest[..length] });
                length
            }
            None => {
                let text = &rest[..unknown(rest)];
                if issues.len() < ISSUES_MAX {
                    let shown = text.replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
                    let message = format!("Syntax error: token recognition error at: '{shown}'");
                    issues.push(Issue { at, message });
                }
                text.len()
            }
        };
    }
}

/// How long what is no token is: of a string up to where it goes wrong, of half an operator up to what follows.
fn unknown(rest: &str) -> usize {
    let quoted = rest.trim_start_matches(['b', 'B', 'r', 'R']);
    let length = if quoted.starts_with(['"', '\'']) {
        let start = rest.len() - quoted.len() + 1;
        let wrong = |(at, c): (usize, char)| {
            let is_escape = quoted[at + 1..].starts_with(|c: char| "abfnrtv\"'\\?`xXuU0123".contains(c));
            c == '\n' || c == '\r' || (c == '\\' && !is_escape)
        };
        let end = rest[start..].char_indices().find(|(at, c)| wrong((start + at - (rest.len() - quoted.len()), *c)));
        return match end {
            Some((at, '\\')) => start + at + 1 + first_length(&rest[start + at + 1..]),
            Some((at, c)) => start + at + c.len_utf8(),
            None => rest.len(),
        };
    } else {
        first_length(rest)
    };
    if rest.starts_with(['&', '|', '=']) { length + first_length(&rest[length..]) } else { length }
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// How long the white space and the comments at the beginning are.
fn blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text[at..].trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
        at = text.len() - rest.len();
        if !rest.starts_with("//") {
            return at;
        }
        at += rest.find('\n').unwrap_or(rest.len());
    }
}

/// The first token's kind and length.
fn token(rest: &str) -> Option<(TokenKind, usize)> {
    if let Some(literal) = string(rest) {
        return Some(literal);
    }
    let first = rest.chars().next()?;
    if first == '_' || first.is_ascii_alphabetic() {
        let length = rest.len() - rest.trim_start_matches(|c: char| c == '_' || c.is_ascii_alphanumeric()).len();
        let kind =
            if KEYWORDS.contains(&&rest[..length]) { TokenKind::Symbol } else { TokenKind::Identifier };
        return Some((kind, length));
    }
    if first == '`' {
        let name = rest[1..].split('`').next()?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
        let is_closed = rest.len() > name.len() + 1;
        return (is_closed && !name.is_empty() && name.chars().all(is_name))
            .then_some((TokenKind::Escaped, name.len() + 2));
    }
    if let Some(number) = number(rest) {
        return Some(number);
    }
    SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).map(|s| (TokenKind::Symbol, s.len()))
}

fn digits(text: &str) -> usize {
    text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len()
}

fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match digits(unsigned) {
        0 => 0,
        count => text.len() - unsigned.len() + count,
    }
}

fn number(text: &str) -> Option<(TokenKind, usize)> {
    let whole = digits(text);
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        let count = hexadecimal.len() - hexadecimal.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        if count > 0 {
            return Some(unsigned(text, 2 + count));
        }
    }
    let fraction = text[whole..].strip_prefix('.').map_or(0, digits);
    if fraction > 0 {
        let length = whole + 1 + fraction;
        return Some((TokenKind::Double, length + exponent(&text[length..])));
    }
    if whole == 0 {
        return None;
    }
    match exponent(&text[whole..]) {
        0 => Some(unsigned(text, whole)),
        more => Some((TokenKind::Double, whole + more)),
    }
}

fn unsigned(text: &str, length: usize) -> (TokenKind, usize) {
    if text[length..].starts_with(['u', 'U']) { (TokenKind::Uint, length + 1) } else { (TokenKind::Int, length) }
}

/// A string or bytes in quotes: where it ends.
fn string(text: &str) -> Option<(TokenKind, usize)> {
    let unprefixed = text.strip_prefix(['b', 'B']);
    let kind = if unprefixed.is_some() { TokenKind::Bytes } else { TokenKind::String };
    let rest = unprefixed.unwrap_or(text);
    let unraw = rest.strip_prefix(['r', 'R']);
    let body = unraw.unwrap_or(rest);
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote))?;
    let start = text.len() - body.len() + quote.len();
    let end = close(&text[start..], quote, unraw.is_some())?;
    Some((kind, start + end + quote.len()))
}

fn close(text: &str, quote: &str, is_raw: bool) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with(quote) {
            return Some(at);
        }
        if quote.len() == 1 && (c == '\n' || c == '\r') {
            return None;
        }
        at += if c == '\\' && !is_raw { 1 + escape(&text[at + 1..])? } else { c.len_utf8() };
    }
    None
}

/// How long an escape is, after its backslash.
fn escape(text: &str) -> Option<usize> {
    let digits = match text.chars().next()? {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => return Some(1),
        'x' | 'X' => 2,
        'u' => 4,
        'U' => 8,
        '0'..='3' => {
            let is_octal = text.get(1..3)?.bytes().all(|c| (b'0'..=b'7').contains(&c));
            return is_octal.then_some(3);
        }
        _ => return None,
    };
    text.get(1..=digits)?.bytes().all(|c| c.is_ascii_hexdigit()).then_some(digits + 1)
}
