//! The grammar of label selectors in text form.

use std::collections::BTreeSet;

use super::labels::{Operator, Requirement};
use crate::kinds::names;

/// Reads the requirements in the order of the text.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens { tokens: scan(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Symbol("!") => {}
            other => {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text()));
            }
        }
        let requirement = requirement(&mut tokens);
        requirements.push(requirement.map_err(|error| format!("unable to parse requirement: {error}"))?);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => match tokens.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
            },
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'t> {
    Word(&'t str),
    Symbol(&'t str),
    End,
}

struct Tokens<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
}

impl<'t> Token<'t> {
    fn text(self) -> &'t str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

impl<'t> Tokens<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }
}

fn scan(text: &str) -> Vec<Token<'_>> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
    let is_end = |c: char| c.is_ascii_whitespace() || "=!(),><".contains(c);
    let (mut tokens, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if rest.is_empty() {
            return tokens;
        }
        let (token, length) = match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            Some(symbol) => (Token::Symbol(symbol), symbol.len()),
            None => {
                let length = rest.find(is_end).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let negated = tokens.peek() == Token::Symbol("!");
    if negated {
        tokens.next();
    }
    let Token::Word(key) = tokens.peek() else {
        return Err(format!("found '{}', expected: identifier", tokens.peek().text()));
    };
    tokens.next();
    check_key(key)?;
    let operator = match (negated, tokens.peek()) {
        (true, _) => Operator::DoesNotExist,
        (false, Token::End | Token::Symbol(",")) => Operator::Exists,
        (false, operator) => {
            tokens.next();
            with_values(operator, tokens)?
        }
    };
    Ok(Requirement { key: key.to_owned(), operator })
}

fn with_values(operator: Token<'_>, tokens: &mut Tokens<'_>) -> Result<Operator, String> {
    Ok(match operator {
        Token::Word("in") => Operator::In(list(tokens)?),
        Token::Word("notin") => Operator::NotIn(list(tokens)?),
        Token::Symbol("=" | "==") => Operator::Equals(checked(exact(tokens)?)?),
        Token::Symbol("!=") => Operator::NotEquals(checked(exact(tokens)?)?),
        Token::Symbol(">") => Operator::Greater(integer(exact(tokens)?)?),
        Token::Symbol("<") => Operator::Less(integer(exact(tokens)?)?),
        other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
    })
}

fn exact<'t>(tokens: &mut Tokens<'t>) -> Result<&'t str, String> {
    match tokens.peek() {
        Token::End | Token::Symbol(",") => Ok(""),
        Token::Word(word) => {
            tokens.next();
            Ok(word)
        }
        other => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| {
        format!(
            "values[0]: Invalid value: \"{text}\": for 'Gt', 'Lt' operators, the value must be an integer"
        )
    })
}

/// `(a, b)`: words, or nothing, between commas. `()` holds the empty value.
fn list(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    if tokens.peek() != Token::Symbol("(") {
        return Err(format!("found '{}' expected: '('", tokens.peek().text()));
    }
    tokens.next();
    let mut values = BTreeSet::new();
    loop {
        let value = match tokens.peek() {
            Token::Word(word) => {
                tokens.next();
                checked(word)?
            }
            Token::Symbol("," | ")") => String::new(),
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        };
        values.insert(value);
        match tokens.next() {
            Token::Symbol(",") => {}
            Token::Symbol(")") => return Ok(values.into_iter().collect()),
            other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    match names::qualified_name(key).first() {
        None => Ok(()),
        Some(why) => Err(format!("key: Invalid value: {}: {why}", quoted(key))),
    }
}

fn checked(value: &str) -> Result<String, String> {
    match names::label_value(value).first() {
        None => Ok(value.to_owned()),
        Some(why) => Err(format!("values[0]: Invalid value: {}: {why}", quoted(value))),
    }
}

fn quoted(text: &str) -> String {
    berth_json::Value::from(text).to_string()
}
