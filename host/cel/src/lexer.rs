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
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%",
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
        let length = match token(rest) {
            Ok((kind, length)) => {
                tokens.push(Token { kind, at, text: &rest[..length] });
                length
            }
            Err(length) => {
                if issues.len() < ISSUES_MAX {
                    let text = rest[..length].replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
                    let message = format!("Syntax error: token recognition error at: '{text}'");
                    issues.push(Issue { at, message });
                }
                length
            }
        };
        at += length;
    }
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

/// The first token's kind and length; how much goes wrong when it is none.
fn token(rest: &str) -> Result<(TokenKind, usize), usize> {
    if let Some((kind, length)) = string(rest) {
        return length.map(|length| (kind, length));
    }
    let first = first_length(rest);
    // Half an operator is no token, together with what stands where the other half should.
    let wrong = if rest.starts_with(['&', '|', '=']) { first + first_length(&rest[first..]) } else { first };
    plain(rest).ok_or(wrong)
}

/// A token without quotes.
fn plain(rest: &str) -> Option<(TokenKind, usize)> {
    let first = rest.chars().next()?;
    if first == '_' || first.is_ascii_alphabetic() {
        let length =
            rest.len() - rest.trim_start_matches(|c: char| c == '_' || c.is_ascii_alphanumeric()).len();
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
    if text[length..].starts_with(['u', 'U']) {
        (TokenKind::Uint, length + 1)
    } else {
        (TokenKind::Int, length)
    }
}

/// A string or bytes in quotes: how long it is, or how much of it goes wrong.
fn string(text: &str) -> Option<(TokenKind, Result<usize, usize>)> {
    let unprefixed = text.strip_prefix(['b', 'B']);
    let kind = if unprefixed.is_some() { TokenKind::Bytes } else { TokenKind::String };
    let rest = unprefixed.unwrap_or(text);
    let unraw = rest.strip_prefix(['r', 'R']);
    let body = unraw.unwrap_or(rest);
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote))?;
    let start = text.len() - body.len() + quote.len();
    let end = close(&text[start..], quote, unraw.is_some());
    Some((kind, end.map(|end| start + end + quote.len()).map_err(|wrong| start + wrong)))
}

fn close(text: &str, quote: &str, is_raw: bool) -> Result<usize, usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with(quote) {
            return Ok(at);
        }
        if quote.len() == 1 && (c == '\n' || c == '\r') {
            return Err(at + 1);
        }
        at += if c == '\\' && !is_raw {
            let after = &text[at + 1..];
            1 + escape(after).ok_or(at + 1 + first_length(after))?
        } else {
            c.len_utf8()
        };
    }
    Err(text.len())
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
