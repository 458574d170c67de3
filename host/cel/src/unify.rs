//! Whether types fit each other, as cel-go's checker decides it: variables are bound to what they must be.

use std::sync::Arc;

use crate::types::{ListType, MapType, Type};

/// The most steps that the types of one expression may take: types that mention a variable twice can double with every
/// macro.
const STEPS_MAX: u32 = 5_000_000;

/// What the variables stand for.
#[derive(Default)]
pub(crate) struct Unifier {
    bindings: Vec<Option<Type>>,
    /// What was bound before, to be undone.
    trail: Vec<(u32, Option<Type>)>,
    steps: u32,
}

impl Unifier {
    /// Whether the types were too much; all answers since are worth nothing.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.steps >= STEPS_MAX
    }

    fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_add(1);
        !self.is_exhausted()
    }

    /// A type that nothing is known of.
    pub(crate) fn fresh(&mut self) -> Type {
        self.bindings.push(None);
        Type::Parameter(self.bindings.len() as u32 - 1)
    }

    fn bound(&self, variable: u32) -> Option<&Type> {
        self.bindings.get(variable as usize)?.as_ref()
    }

    fn bind(&mut self, variable: u32, to: Type) {
        let before = self.bindings[variable as usize].replace(to);
        self.trail.push((variable, before));
    }

    /// Whether each of `actual` can be used where the one of `wanted` is; if not, nothing is bound.
    pub(crate) fn fit(&mut self, wanted: &[Type], actual: &[Type]) -> bool {
        let mark = self.trail.len();
        let fits = wanted.len() == actual.len()
            && actual.iter().zip(wanted).all(|(actual, wanted)| self.is_assignable(actual, wanted));
        while !fits && self.trail.len() > mark {
            if let Some((variable, before)) = self.trail.pop() {
                self.bindings[variable as usize] = before;
            }
        }
        fits
    }

    fn is_assignable(&mut self, a: &Type, b: &Type) -> bool {
        if !self.step() {
            return false;
        }
        if let Type::Parameter(variable) = b {
            let was_bound = self.bound(*variable).is_some();
            if self.substitutes(a, *variable) {
                return true;
            }
            if was_bound {
                return false;
            }
        }
        if let Type::Parameter(variable) = a {
            return self.substitutes(b, *variable);
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Optional(_)
                    | Type::Object(_)
                    | Type::Opaque(_)
                    | Type::Duration
                    | Type::Timestamp
                    | Type::Date
            ),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.is_assignable(&a.element, &b.element),
            (Type::Map(a), Type::Map(b)) => {
                self.is_assignable(&a.key, &b.key) && self.is_assignable(&a.value, &b.value)
            }
            (Type::Optional(a), Type::Optional(b)) => self.is_assignable(a, b),
            _ => a.is(b),
        }
    }

    /// Whether the variable can stand for `a`; binds it.
    fn substitutes(&mut self, a: &Type, variable: u32) -> bool {
        if matches!(a, Type::Parameter(other) if *other == variable) {
            return true;
        }
        let Some(current) = self.bound(variable).cloned() else {
            let is_free = !self.occurs(variable, a);
            if is_free {
                self.bind(variable, a.clone());
            }
            return is_free;
        };
        if matches!((a, &current), (Type::Parameter(a), Type::Parameter(b)) if a == b) {
            return true;
        }
        if !self.is_assignable(a, &current) {
            return false;
        }
        let general = if self.is_less_specific(a, &current) { a.clone() } else { current };
        if !self.occurs(variable, &general) {
            self.bind(variable, general);
        }
        true
    }

    /// The more general of two types that fit.
    pub(crate) fn general(&mut self, a: &Type, b: &Type) -> Type {
        if self.is_less_specific(a, b) { a.clone() } else { b.clone() }
    }

    fn is_less_specific(&mut self, a: &Type, b: &Type) -> bool {
        if !self.step() || a.is_dyn() || matches!(a, Type::Parameter(_)) {
            return true;
        }
        if b.is_dyn() || matches!(b, Type::Parameter(_)) {
            return false;
        }
        match (a, b) {
            (Type::List(a), Type::List(b)) => self.is_less_specific(&a.element, &b.element),
            (Type::Map(a), Type::Map(b)) => {
                self.is_less_specific(&a.key, &b.key) && self.is_less_specific(&a.value, &b.value)
            }
            (Type::Optional(a), Type::Optional(b)) => self.is_less_specific(a, b),
            (Type::Type(_), Type::Type(_)) => true,
            _ => a.is(b),
        }
    }

    /// Whether the variable stands somewhere in the type.
    fn occurs(&mut self, variable: u32, within: &Type) -> bool {
        if !self.step() {
            return true;
        }
        match within {
            Type::Parameter(other) if *other == variable => true,
            Type::Parameter(other) => match self.bound(*other).cloned() {
                Some(bound) => self.occurs(variable, &bound),
                None => false,
            },
            Type::List(list) => self.occurs(variable, &list.element),
            Type::Map(map) => self.occurs(variable, &map.key) || self.occurs(variable, &map.value),
            Type::Optional(inner) | Type::Type(inner) => self.occurs(variable, inner),
            _ => false,
        }
    }

    /// The type with all variables replaced that are bound; the others become `dyn` when it is the last word.
    pub(crate) fn resolve(&mut self, value: &Type, is_final: bool) -> Type {
        if !self.step() {
            return Type::Error;
        }
        match value {
            Type::Parameter(variable) => match self.bound(*variable).cloned() {
                Some(bound) => self.resolve(&bound, is_final),
                None if is_final => Type::DYN,
                None => value.clone(),
            },
            Type::List(list) if has_variables(&list.element) => Type::List(Arc::new(ListType {
                element: self.resolve(&list.element, is_final),
                max_items: list.max_items,
                kind: list.kind.clone(),
            })),
            Type::Map(map) if has_variables(&map.key) || has_variables(&map.value) => {
                Type::Map(Arc::new(MapType {
                    key: self.resolve(&map.key, is_final),
                    value: self.resolve(&map.value, is_final),
                    max_properties: map.max_properties,
                }))
            }
            Type::Optional(inner) => Type::Optional(Arc::new(self.resolve(inner, is_final))),
            Type::Type(inner) => Type::Type(Arc::new(self.resolve(inner, is_final))),
            other => other.clone(),
        }
    }

    /// A declared signature with variables of its own for its letters.
    pub(crate) fn instantiate(&mut self, parameters: &[Type], result: &Type) -> (Vec<Type>, Type) {
        let mut letters = Vec::new();
        let parameters = parameters.iter().map(|parameter| self.renamed(parameter, &mut letters)).collect();
        (parameters, self.renamed(result, &mut letters))
    }

    /// Declared signatures are a few levels deep.
    fn renamed(&mut self, value: &Type, letters: &mut Vec<(u32, Type)>) -> Type {
        match value {
            Type::Parameter(letter) => match letters.iter().find(|(known, _)| known == letter) {
                Some((_, variable)) => variable.clone(),
                None => {
                    let variable = self.fresh();
                    letters.push((*letter, variable.clone()));
                    variable
                }
            },
            Type::List(list) => Type::list(self.renamed(&list.element, letters)),
            Type::Map(map) => Type::map(self.renamed(&map.key, letters), self.renamed(&map.value, letters)),
            Type::Optional(inner) => Type::optional(self.renamed(inner, letters)),
            Type::Type(inner) => Type::Type(Arc::new(self.renamed(inner, letters))),
            other => other.clone(),
        }
    }
}

/// Whether there may be variables in it: what has no parts has none.
fn has_variables(value: &Type) -> bool {
    matches!(value, Type::Parameter(_) | Type::List(_) | Type::Map(_) | Type::Optional(_) | Type::Type(_))
}
