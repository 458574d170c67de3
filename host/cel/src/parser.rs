//! From tokens to a tree. The parser of cel-rust (`cel` 0.15, made by ANTLR) was tried first: 40,000 times `.a` or 20,000
//! times `+ 1` overflow its stack and end the process, a small rule takes it milliseconds, and its errors are not those of
//! kube-apiserver. This one reads the same grammar in one pass, within limits, and says what cel-go says and where.

mod primary;

use crate::ast::{Access, Id, Kind, Node, Operator, Tree};
use crate::error::Issue;
use crate::lexer::{Token, TokenKind, tokens};
use crate::macros;

/// The most characters of a source: cel-go's limit.
pub(crate) const SOURCE_MAX: usize = 100_000;
/// How deep expressions nest, and how deep a program's recursion goes: cel-go's limit. What a macro makes of its range
/// counts on top of the range, so values nest no deeper than this either.
const DEPTH_MAX: u32 = 250;
const EXPECTED: &str = "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

const START: &str = "'[', '{', '(', '.', '-', '!', ";

/// Reads a source.
pub(crate) fn parse(source: &str) -> Result<Tree, Vec<Issue>> {
    let (tokens, mut issues) = tokens(source);
    let mut parser = Parser { tokens, next: 0, nodes: Vec::new(), depth: 0 };
    let root = parser.expression().and_then(|root| match parser.peek().kind {
        TokenKind::End => Ok(root),
        _ => Err(parser.unexpected("<EOF>", |token| token.kind == TokenKind::End)),
    });
    match root {
        Ok(root) if issues.is_empty() => Ok(Tree { nodes: parser.nodes, root }),
        Ok(_) => Err(issues),
        Err(issue) => {
            issues.push(issue);
            Err(issues)
        }
    }
}

/// Whether an expression can begin so.
fn is_start(token: &Token<'_>) -> bool {
    match token.kind {
        TokenKind::End | TokenKind::Escaped => false,
        TokenKind::Symbol => ["[", "{", "(", ".", "-", "!", "true", "false", "null"].contains(&token.text),
        _ => true,
    }
}

pub(crate) struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    next: usize,
    nodes: Vec<Node>,
    /// How many expressions are open.
    depth: u32,
}

impl<'s> Parser<'s> {
    fn peek(&self) -> Token<'s> {
        self.tokens[self.next]
    }

    /// The next token, which is no longer the next one; the end stays.
    fn take(&mut self) -> Token<'s> {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.next += 1;
        }
        token
    }

    fn is_at(&self, symbol: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Symbol && token.text == symbol
    }

    fn skip(&mut self, symbol: &str) -> Option<usize> {
        self.is_at(symbol).then(|| self.take().at)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Issue> {
        if self.skip(symbol).is_some() {
            return Ok(());
        }
        let token = self.peek();
        let is_missing = if symbol == ":" { is_start(&token) } else { token.kind == TokenKind::End };
        if is_missing {
            let text = if token.kind == TokenKind::End { "<EOF>" } else { token.text };
            return Err(Issue {
                at: token.at,
                message: format!("Syntax error: missing '{symbol}' at '{text}'"),
            });
        }
        Err(self.unexpected(&format!("'{symbol}'"), |token| token.text == symbol))
    }

    /// The end of a list or a map, or of what stands in it.
    fn close(&mut self, symbol: &'static str, had_comma: bool) -> Result<(), Issue> {
        if had_comma || self.is_at(symbol) {
            return self.expect(symbol);
        }
        Err(self
            .unexpected(&format!("{{'{symbol}', ','}}"), |token| token.text == symbol || token.text == ","))
    }

    /// A token that cannot stand here; one that only has to go is called extraneous.
    fn unexpected(&self, expected: &str, is_expected: impl Fn(&Token<'s>) -> bool) -> Issue {
        let token = self.peek();
        let after = self.tokens.get(self.next + 1).filter(|_| token.kind != TokenKind::End);
        let problem = if after.is_some_and(is_expected) { "extraneous input" } else { "mismatched input" };
        let text = if token.kind == TokenKind::End { "<EOF>" } else { token.text };
        Issue { at: token.at, message: format!("Syntax error: {problem} '{text}' expecting {expected}") }
    }

    /// A token that no expression begins with; `before` are the brackets that could stand here.
    fn no_start(&self, before: &str) -> Issue {
        self.unexpected(&format!("{{{before}{EXPECTED}"), is_start)
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// A new node above `children`.
    pub(crate) fn add(&mut self, at: usize, kind: Kind, children: &[Id]) -> Result<Id, Issue> {
        let below = children.iter().map(|child| self.node(*child).depth).max().unwrap_or(0);
        self.add_deep(at, kind, below + 1)
    }

    pub(crate) fn add_deep(&mut self, at: usize, kind: Kind, depth: u32) -> Result<Id, Issue> {
        if depth > DEPTH_MAX {
            return Err(too_deep(at));
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(Node { kind, at, depth });
        Ok(id)
    }

    /// `or ('?' or ':' expression)?`
    fn expression(&mut self) -> Result<Id, Issue> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(self.peek().at));
        }
        let condition = self.logic(true)?;
        let whole = match self.skip("?") {
            None => condition,
            Some(at) => {
                let yes = self.logic(true)?;
                self.expect(":")?;
                let no = self.expression()?;
                self.add(at, Kind::Conditional { condition, yes, no }, &[condition, yes, no])?
            }
        };
        self.depth -= 1;
        Ok(whole)
    }

    /// A chain of `||`, or of `&&`.
    fn logic(&mut self, is_or: bool) -> Result<Id, Issue> {
        let symbol = if is_or { "||" } else { "&&" };
        let operand = |parser: &mut Self| if is_or { parser.logic(false) } else { parser.binary(1) };
        let first = operand(self)?;
        let Some(at) = self.skip(symbol) else { return Ok(first) };
        let mut operands = vec![first, operand(self)?];
        while self.skip(symbol).is_some() {
            operands.push(operand(self)?);
        }
        let below = operands.clone();
        self.add(at, Kind::Logic { is_or, operands }, &below)
    }

    /// Operators that bind at least so tightly.
    fn binary(&mut self, least: u8) -> Result<Id, Issue> {
        let mut left = self.unary()?;
        loop {
            let token = self.peek();
            let operator = (token.kind == TokenKind::Symbol).then(|| Operator::of(token.text)).flatten();
            let Some((operator, strength)) = operator.filter(|(_, strength)| *strength >= least) else {
                return Ok(left);
            };
            self.take();
            let right = self.binary(strength + 1)?;
            left = self.add(token.at, Kind::Binary { operator, left, right }, &[left, right])?;
        }
    }

    /// Signs and negations; two of a kind are none.
    fn unary(&mut self) -> Result<Id, Issue> {
        let first = self.peek();
        if first.kind != TokenKind::Symbol || !["!", "-"].contains(&first.text) {
            return self.member();
        }
        let is_number = matches!(self.tokens[self.next + 1].kind, TokenKind::Int | TokenKind::Double);
        if first.text == "-" && is_number {
            return self.member();
        }
        let mut is_odd = false;
        while self.skip(first.text).is_some() {
            is_odd = !is_odd;
        }
        let operand = self.member()?;
        match (is_odd, first.text) {
            (false, _) => Ok(operand),
            (true, "!") => self.add(first.at, Kind::Not(operand), &[operand]),
            (true, _) => self.add(first.at, Kind::Negate(operand), &[operand]),
        }
    }

    /// A value and what is looked up in it or called on it.
    fn member(&mut self) -> Result<Id, Issue> {
        let mut operand = self.primary()?;
        loop {
            if let Some(at) = self.skip(".") {
                operand = self.after_dot(operand, at)?;
            } else if let Some(at) = self.skip("[") {
                let is_optional = self.skip("?").is_some();
                if !is_optional && !is_start(&self.peek()) {
                    return Err(self.no_start("'[', '{', '(', '.', '-', '!', '?', "));
                }
                let index = self.expression()?;
                self.expect("]")?;
                operand = self.add(at, Kind::Index { operand, index, is_optional }, &[operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn after_dot(&mut self, operand: Id, at: usize) -> Result<Id, Issue> {
        let mode = if self.skip("?").is_some() { Access::Optional } else { Access::Value };
        let token = self.take();
        let field = match token.kind {
            TokenKind::Identifier => token.text,
            TokenKind::Escaped => token.text.trim_matches('`'),
            _ => {
                let problem = match mode {
                    Access::Value => format!("no viable alternative at input '.{}'", token.text),
                    _ => {
                        format!("mismatched input '{}' expecting {{IDENTIFIER, ESC_IDENTIFIER}}", token.text)
                    }
                };
                return Err(Issue { at: token.at, message: format!("Syntax error: {problem}") });
            }
        };
        if token.kind == TokenKind::Identifier && mode == Access::Value && self.is_at("(") {
            let open = self.take().at;
            let arguments = self.arguments()?;
            return macros::member(self, open, field, operand, arguments);
        }
        let kind = Kind::Select { operand, field: field.into(), mode };
        self.add(at, kind, &[operand])
    }

    /// Arguments up to the bracket.
    fn arguments(&mut self) -> Result<Vec<Id>, Issue> {
        let mut list = Vec::new();
        if self.skip(")").is_some() {
            return Ok(list);
        }
        if !is_start(&self.peek()) {
            return Err(self.no_start("'[', '{', '(', ')', '.', '-', '!', "));
        }
        loop {
            list.push(self.expression()?);
            if self.skip(",").is_none() {
                return self.expect(")").map(|()| list);
            }
        }
    }
}

fn too_deep(at: usize) -> Issue {
    Issue { at, message: format!("expression recursion limit exceeded: {DEPTH_MAX}") }
}
