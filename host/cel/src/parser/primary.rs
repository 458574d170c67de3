//! What an expression begins with: literals, names, lists, maps.

use berth_json::Text;

use crate::ast::{Entry, Id, Kind};
use crate::error::Issue;
use crate::lexer::{Token, TokenKind};
use crate::literal;
use crate::macros;
use crate::names::RESERVED;
use crate::value::Value;

use super::{Parser, START, is_start};

impl<'s> Parser<'s> {
    pub(super) fn primary(&mut self) -> Result<Id, Issue> {
        let token = self.peek();
        match token.kind {
            TokenKind::Identifier => self.identifier(),
            TokenKind::Symbol => self.symbol(token),
            TokenKind::End | TokenKind::Escaped => Err(self.no_start(START)),
            _ => self.number_or_text(token, false),
        }
    }

    fn symbol(&mut self, token: Token<'s>) -> Result<Id, Issue> {
        let value = match token.text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "-" => {
                self.take();
                return self.number_or_text(token, true);
            }
            "(" => {
                self.take();
                let inner = self.expression()?;
                return self.expect(")").map(|()| inner);
            }
            "[" => return self.list(),
            "{" => return self.map(),
            "." if self.tokens[self.next + 1].kind == TokenKind::Identifier => {
                self.take();
                return self.identifier();
            }
            _ => return Err(self.no_start(START)),
        };
        self.take();
        self.add(token.at, Kind::Literal(value), &[])
    }

    fn number_or_text(&mut self, first: Token<'s>, is_negative: bool) -> Result<Id, Issue> {
        let token = self.take();
        let fault = |message: &str| Issue { at: first.at, message: message.into() };
        let value = match token.kind {
            TokenKind::Int => {
                Value::Int(literal::int(token.text, is_negative).ok_or_else(|| fault("invalid int literal"))?)
            }
            TokenKind::Uint => {
                Value::Uint(literal::uint(token.text).ok_or_else(|| fault("invalid uint literal"))?)
            }
            TokenKind::Double => {
                let number: Option<f64> = token.text.parse().ok().filter(|number: &f64| number.is_finite());
                let number = number.ok_or_else(|| fault("invalid double literal"))?;
                Value::Double(if is_negative { -number } else { number })
            }
            _ => {
                let bytes = literal::unquote(token.text).map_err(fault)?;
                if token.kind == TokenKind::Bytes {
                    Value::Bytes(bytes.into())
                } else {
                    let text = String::from_utf8(bytes).map_err(|_| fault("invalid string literal"))?;
                    Value::from(text)
                }
            }
        };
        self.add(first.at, Kind::Literal(value), &[])
    }

    /// A name, a call of a function or a message.
    fn identifier(&mut self) -> Result<Id, Issue> {
        let token = self.take();
        let name: Text = token.text.into();
        if self.is_message() {
            return self.message(token);
        }
        if RESERVED.contains(&token.text) {
            return Err(Issue { at: token.at, message: format!("reserved identifier: {name}") });
        }
        if self.is_at("(") {
            let open = self.take().at;
            let arguments = self.arguments()?;
            return macros::global(self, open, &name, arguments);
        }
        self.add(token.at, Kind::Ident(name), &[])
    }

    /// Whether what follows makes the name a message's: `.b.c {`.
    fn is_message(&self) -> bool {
        let mut rest = &self.tokens[self.next..];
        while let [dot, name, after @ ..] = rest
            && dot.text == "."
            && name.kind == TokenKind::Identifier
        {
            rest = after;
        }
        rest.first().is_some_and(|token| token.kind == TokenKind::Symbol && token.text == "{")
    }

    fn message(&mut self, first: Token<'s>) -> Result<Id, Issue> {
        let mut name: Text = first.text.into();
        while self.skip(".").is_some() {
            name.push('.');
            name.push_str(self.take().text);
        }
        let at = self.peek().at;
        self.expect("{")?;
        let mut values = Vec::new();
        while !self.is_at("}") {
            self.skip("?");
            let field = self.take();
            if !matches!(field.kind, TokenKind::Identifier | TokenKind::Escaped) {
                self.next -= usize::from(field.kind != TokenKind::End);
                return Err(self.unexpected("{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}", |_| false));
            }
            self.expect(":")?;
            values.push(self.expression()?);
            if self.skip(",").is_none() {
                self.close("}", false)?;
                let below = values.clone();
                return self.add(at, Kind::Message { name, values }, &below);
            }
        }
        self.expect("}")?;
        let below = values.clone();
        self.add(at, Kind::Message { name, values }, &below)
    }

    fn list(&mut self) -> Result<Id, Issue> {
        let at = self.take().at;
        let mut elements = Vec::new();
        let mut had_comma = false;
        while self.has_more("]", had_comma, elements.is_empty())? {
            let is_optional = self.skip("?").is_some();
            elements.push((self.expression()?, is_optional));
            had_comma = self.skip(",").is_some();
        }
        had_comma |= elements.is_empty() && self.skip(",").is_some();
        self.close("]", had_comma)?;
        let below: Vec<Id> = elements.iter().map(|(element, _)| *element).collect();
        self.add(at, Kind::List(elements), &below)
    }

    fn map(&mut self) -> Result<Id, Issue> {
        let at = self.take().at;
        let mut entries = Vec::new();
        let mut had_comma = false;
        while self.has_more("}", had_comma, entries.is_empty())? {
            let is_optional = self.skip("?").is_some();
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            entries.push(Entry { key, value, is_optional });
            had_comma = self.skip(",").is_some();
        }
        had_comma |= entries.is_empty() && self.skip(",").is_some();
        self.close("}", had_comma)?;
        let below: Vec<Id> = entries.iter().flat_map(|entry| [entry.key, entry.value]).collect();
        self.add(at, Kind::Map(entries), &below)
    }

    /// Whether another element follows; the first of an open list or map can be missing.
    fn has_more(&mut self, close: &str, had_comma: bool, is_first: bool) -> Result<bool, Issue> {
        let token = self.peek();
        if is_start(&token) || self.is_at("?") {
            return Ok(had_comma || is_first);
        }
        if is_first && !self.is_at(close) && !self.is_at(",") {
            let before = if close == "]" {
                "'[', ']', '{', '(', '.', ',', '-', '!', '?', "
            } else {
                "'[', '{', '}', '(', '.', ',', '-', '!', '?', "
            };
            return Err(self.no_start(before));
        }
        Ok(false)
    }
}
