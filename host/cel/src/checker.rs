//! What each node of an expression means, and of which type it is. The rules and the words are cel-go's.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::ast::{Access, Id, Kind, Meaning, Target, Tree};
use crate::error::Issue;
use crate::functions::FUNCTIONS;
use crate::types::{Opaque, Type};
use crate::unify::Unifier;

/// The longest name of a type that an error shows.
const SHOWN_MAX: usize = 1_000;

/// The variables of the environment: their names and types.
pub(crate) type Variables = [(berth_json::Text, Type)];

/// What all nodes mean.
pub(crate) fn check(tree: &Tree, variables: &Variables) -> Result<Vec<Meaning>, Vec<Issue>> {
    let nothing = Meaning { value: Type::Error, target: Target::None };
    let mut checker = Checker {
        tree,
        variables,
        types: Unifier::default(),
        meanings: vec![nothing; tree.nodes.len()],
        locals: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(tree.root);
    for at in 0..checker.meanings.len() {
        let value = checker.meanings[at].value.clone();
        checker.meanings[at].value = checker.types.resolve(&value, true);
    }
    if checker.types.is_exhausted() {
        return Err(vec![Issue { at: 0, message: "the types of the expression are too complex".into() }]);
    }
    if checker.issues.is_empty() { Ok(checker.meanings) } else { Err(checker.issues) }
}

pub(crate) struct Checker<'e> {
    pub(crate) tree: &'e Tree,
    variables: &'e Variables,
    pub(crate) types: Unifier,
    meanings: Vec<Meaning>,
    /// The variables of the macros around the node.
    pub(crate) locals: Vec<(berth_json::Text, Type)>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    pub(crate) fn report(&mut self, id: Id, message: String) {
        self.issues.push(Issue { at: self.tree.node(id).at, message });
    }

    /// Checks a node and returns its type.
    pub(crate) fn check(&mut self, id: Id) -> Type {
        let (value, target) = self.meaning(id);
        self.meanings[id as usize] = Meaning { value: value.clone(), target };
        value
    }

    fn meaning(&mut self, id: Id) -> (Type, Target) {
        let tree = self.tree;
        let value = match &tree.node(id).kind {
            Kind::Literal(value) => value.type_of(),
            Kind::Ident(name) => return self.ident(id, name),
            Kind::Select { operand, field, mode } => {
                if *mode == Access::Value
                    && let Some(named) = self.qualified(id).and_then(|name| self.type_named(&name))
                {
                    return (Type::Type(Arc::new(named.clone())), Target::TypeName(named));
                }
                let found = self.select(id, *operand, field, *mode == Access::Optional);
                if *mode == Access::Test { Type::Bool } else { found }
            }
            Kind::Index { operand, index, is_optional } => {
                let arguments = [self.check(*operand), self.check(*index)];
                return self.call(id, if *is_optional { "_[?_]" } else { "_[_]" }, &arguments, false);
            }
            Kind::Call { function, arguments, is_member } => {
                return self.function(id, function, arguments, *is_member);
            }
            Kind::Binary { operator, left, right } => {
                let arguments = [self.check(*left), self.check(*right)];
                return self.call(id, operator.function(), &arguments, false);
            }
            Kind::Not(operand) => {
                let arguments = [self.check(*operand)];
                return self.call(id, "!_", &arguments, false);
            }
            Kind::Negate(operand) => {
                let arguments = [self.check(*operand)];
                return self.call(id, "-_", &arguments, false);
            }
            Kind::Logic { operands, .. } => {
                let mut is_bool = true;
                for operand in operands {
                    let value = self.check(*operand);
                    is_bool &= self.expect_bool(*operand, &value);
                }
                if is_bool { Type::Bool } else { Type::Error }
            }
            Kind::Conditional { condition, yes, no } => {
                let arguments = [self.check(*condition), self.check(*yes), self.check(*no)];
                return self.call(id, "_?_:_", &arguments, false);
            }
            Kind::List(elements) => {
                let mut joined = None;
                for (element, is_optional) in elements {
                    let value = self.check(*element);
                    let value = self.unwrapped(*element, value, *is_optional);
                    joined = Some(self.join(joined, value));
                }
                Type::list(joined.unwrap_or_else(|| self.types.fresh()))
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    let key = self.check(entry.key);
                    keys = Some(self.join(keys, key));
                    let value = self.check(entry.value);
                    let value = self.unwrapped(entry.value, value, entry.is_optional);
                    values = Some(self.join(values, value));
                }
                let key = keys.unwrap_or_else(|| self.types.fresh());
                Type::map(key, values.unwrap_or_else(|| self.types.fresh()))
            }
            Kind::Message { name, values } => {
                for value in values {
                    self.check(*value);
                }
                self.report(id, undeclared(name));
                Type::Error
            }
            Kind::Fold(fold) => self.fold(id, fold),
        };
        (value, Target::None)
    }

    fn ident(&mut self, id: Id, name: &str) -> (Type, Target) {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name) {
            return (self.locals[slot].1.clone(), Target::Local(slot));
        }
        if let Some(number) = self.variables.iter().position(|(variable, _)| variable == name) {
            return (self.variables[number].1.clone(), Target::Variable(number));
        }
        if let Some(named) = self.type_named(name) {
            return (Type::Type(Arc::new(named.clone())), Target::TypeName(named));
        }
        self.report(id, undeclared(name));
        (Type::Error, Target::None)
    }

    /// A type that expressions can name.
    fn type_named(&mut self, name: &str) -> Option<Type> {
        Some(match name {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::STRING,
            "bytes" => Type::BYTES,
            "null_type" => Type::Null,
            "list" => Type::list(self.types.fresh()),
            "map" => Type::map(self.types.fresh(), self.types.fresh()),
            "type" => Type::Type(Arc::new(Type::DYN)),
            "optional_type" => Type::optional(self.types.fresh()),
            "google.protobuf.Timestamp" => Type::Timestamp,
            "google.protobuf.Duration" => Type::Duration,
            "net.IP" => Type::Opaque(Opaque::Ip),
            "net.CIDR" => Type::Opaque(Opaque::Cidr),
            _ => return None,
        })
    }

    /// `a.b.c` when it is made of names alone, of which the first is no variable.
    fn qualified(&self, id: Id) -> Option<String> {
        let mut names = Vec::new();
        let mut at = id;
        loop {
            match &self.tree.node(at).kind {
                Kind::Select { operand, field, mode: Access::Value } => {
                    names.push(field.as_str());
                    at = *operand;
                }
                Kind::Ident(name) => {
                    let is_local = self.locals.iter().any(|(local, _)| local == name);
                    let is_variable = self.variables.iter().any(|(variable, _)| variable == name);
                    names.push(name);
                    names.reverse();
                    return (!is_local && !is_variable).then(|| names.join("."));
                }
                _ => return None,
            }
        }
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, is_optional: bool) -> Type {
        let value = self.check(operand);
        let value = self.types.resolve(&value, false);
        let (inner, was_optional) = match value {
            Type::Optional(inner) => ((*inner).clone(), true),
            other => (other, false),
        };
        let found = match &inner {
            Type::Map(map) => map.value.clone(),
            Type::Object(object) => match object.field(field) {
                Some(field) => field.value.clone(),
                None => {
                    self.report(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Opaque(opaque) if opaque.is_object() => {
                self.report(id, format!("undefined field '{field}'"));
                Type::Error
            }
            Type::Parameter(_) => {
                self.types.fit(std::slice::from_ref(&inner), &[Type::DYN]);
                Type::DYN
            }
            Type::Dyn(_) | Type::Error => Type::DYN,
            other => {
                let message = format!("type '{}' does not support field selection", shown(other));
                self.report(id, message);
                Type::DYN
            }
        };
        if was_optional || is_optional { Type::optional(found) } else { found }
    }

    fn function(&mut self, id: Id, name: &str, arguments: &[Id], is_member: bool) -> (Type, Target) {
        let Some((receiver, rest)) = arguments.split_first().filter(|_| is_member) else {
            let types: Vec<Type> = arguments.iter().map(|argument| self.check(*argument)).collect();
            return self.call(id, name, &types, false);
        };
        let others: Vec<Type> = rest.iter().map(|argument| self.check(*argument)).collect();
        let namespaced = self.qualified(*receiver).map(|prefix| format!("{prefix}.{name}"));
        if let Some(full) = namespaced.filter(|full| FUNCTIONS.named(full).is_some()) {
            let (value, target) = self.call(id, &full, &others, false);
            return match target {
                Target::Call { overloads, .. } => (value, Target::Call { overloads, is_namespaced: true }),
                other => (value, other),
            };
        }
        let mut types = vec![self.check(*receiver)];
        types.extend(others);
        self.call(id, name, &types, true)
    }

    /// The overloads that fit these arguments.
    pub(crate) fn call(&mut self, id: Id, name: &str, arguments: &[Type], is_member: bool) -> (Type, Target) {
        let Some(numbers) = FUNCTIONS.named(name) else {
            self.report(id, undeclared(name));
            return (Type::Error, Target::None);
        };
        let mut overloads = Vec::new();
        let mut result: Option<Type> = None;
        for number in numbers {
            let overload = FUNCTIONS.overload(*number);
            if overload.is_member != is_member || overload.parameters.len() != arguments.len() {
                continue;
            }
            let (parameters, returned) = self.types.instantiate(&overload.parameters, &overload.result);
            if !self.types.fit(&parameters, arguments) {
                continue;
            }
            overloads.push(*number);
            let returned = self.types.resolve(&returned, false);
            result = Some(match result {
                None => returned,
                Some(before) if before.is_dyn() || before.is(&returned) => before,
                Some(_) => Type::DYN,
            });
        }
        match result {
            Some(value) => (value, Target::Call { overloads, is_namespaced: false }),
            None => {
                let shown: Vec<String> =
                    arguments.iter().map(|argument| shown(&self.types.resolve(argument, true))).collect();
                let applied = match shown.split_first() {
                    Some((receiver, rest)) if is_member => format!("{receiver}.({})", rest.join(", ")),
                    _ => format!("({})", shown.join(", ")),
                };
                self.report(id, format!("found no matching overload for '{name}' applied to '{applied}'"));
                (Type::Error, Target::None)
            }
        }
    }

    pub(crate) fn expect_bool(&mut self, id: Id, value: &Type) -> bool {
        let is_bool = self.types.fit(&[Type::Bool], std::slice::from_ref(value));
        if !is_bool {
            self.mismatch(id, &Type::Bool, value);
        }
        is_bool
    }

    fn mismatch(&mut self, id: Id, expected: &Type, actual: &Type) {
        let (expected, actual) = (self.types.resolve(expected, false), self.types.resolve(actual, false));
        self.report(id, format!("expected type '{}' but found '{}'", shown(&expected), shown(&actual)));
    }

    /// The type of what is left out when it is none.
    fn unwrapped(&mut self, id: Id, value: Type, is_optional: bool) -> Type {
        match value {
            Type::Optional(inner) if is_optional => (*inner).clone(),
            other => {
                if is_optional && !other.is_dyn_or_error() {
                    self.mismatch(id, &Type::optional(other.clone()), &other);
                }
                other
            }
        }
    }

    /// The common type of elements; whether they may differ is looked at when all types are known.
    fn join(&mut self, before: Option<Type>, value: Type) -> Type {
        let Some(before) = before else { return value };
        if self.types.fit(std::slice::from_ref(&value), std::slice::from_ref(&before)) {
            return self.types.general(&before, &value);
        }
        Type::DYN
    }
}

fn undeclared(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}

/// The name of a type for an error, cut when it is very long.
pub(crate) fn shown(value: &Type) -> String {
    struct Limited(String);
    impl Write for Limited {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            if self.0.len() > SHOWN_MAX { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut limited = Limited(String::new());
    if write!(limited, "{value}").is_err() {
        limited.0.push('…');
    }
    limited.0
}
