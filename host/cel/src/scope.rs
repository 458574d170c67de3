//! The types of macros.

use crate::ast::{Fold, Id, Macro};
use crate::checker::{Checker, shown};
use crate::types::Type;

impl Checker<'_> {
    /// The type of a macro's value. The body is checked where its variables are known.
    pub(crate) fn fold(&mut self, id: Id, fold: &Fold) -> Type {
        let range = self.check(fold.range);
        let range = self.types.resolve(&range, false);
        match fold.name {
            Macro::OptMap | Macro::OptFlatMap => self.optional(id, fold, range),
            Macro::SortBy => self.sort_by(id, fold, range),
            _ => self.comprehension(id, fold, &range),
        }
    }

    /// The types of the variables: of an index or a key, and of an element.
    fn variables(&mut self, at: Id, fold: &Fold, range: &Type) -> (Type, Type) {
        match range {
            Type::List(list) => {
                (if fold.second.is_some() { Type::Int } else { list.element.clone() }, list.element.clone())
            }
            Type::Map(map) => (map.key.clone(), map.value.clone()),
            Type::Dyn(_) | Type::Error | Type::Parameter(_) => {
                self.types.fit(std::slice::from_ref(range), &[Type::DYN]);
                (Type::DYN, Type::DYN)
            }
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    shown(other)
                );
                self.report(at, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn comprehension(&mut self, id: Id, fold: &Fold, range: &Type) -> Type {
        let (first, second) = self.variables(fold.range, fold, range);
        let before = self.locals.len();
        self.locals.push((fold.variable.clone(), first.clone()));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        let filter = fold.filter.map(|filter| self.check(filter));
        let body = self.check(fold.body);
        self.locals.truncate(before);
        let (result, condition) = match fold.name {
            Macro::All | Macro::Exists => {
                self.expect_bool(fold.body, &body);
                return Type::Bool;
            }
            Macro::ExistsOne => {
                self.choose(id, &body, &Type::Int);
                return Type::Bool;
            }
            Macro::Filter => (Type::list(first), Some(body)),
            Macro::TransformMap => (Type::map(first, body), filter),
            Macro::TransformMapEntry => {
                let wanted = Type::map(self.types.fresh(), self.types.fresh());
                if !self.types.fit(std::slice::from_ref(&wanted), std::slice::from_ref(&body)) {
                    let applied = format!("({}, {})", shown(&wanted), shown(&body));
                    let message =
                        format!("found no matching overload for 'cel.@mapInsert' applied to '{applied}'");
                    self.report(id, message);
                }
                (wanted, filter)
            }
            _ => (Type::list(body), filter),
        };
        if let Some(condition) = condition {
            self.choose(id, &condition, &result);
        }
        self.types.resolve(&result, false)
    }

    /// `condition ? value : value`
    fn choose(&mut self, id: Id, condition: &Type, value: &Type) {
        self.call(id, "_?_:_", &[condition.clone(), value.clone(), value.clone()], false);
    }

    fn optional(&mut self, id: Id, fold: &Fold, range: Type) -> Type {
        self.call(id, "hasValue", std::slice::from_ref(&range), true);
        self.call(id, "value", std::slice::from_ref(&range), true);
        let inner = match range {
            Type::Optional(inner) => (*inner).clone(),
            _ => Type::DYN,
        };
        self.locals.push((fold.variable.clone(), inner));
        let body = self.check(fold.body);
        self.locals.pop();
        if fold.name == Macro::OptMap {
            return Type::optional(body);
        }
        let none = Type::optional(self.types.fresh());
        self.call(id, "_?_:_", &[Type::Bool, body, none], false).0
    }

    fn sort_by(&mut self, id: Id, fold: &Fold, range: Type) -> Type {
        let (element, _) = self.variables(id, fold, &range);
        self.locals.push((fold.variable.clone(), element));
        let key = self.check(fold.body);
        self.locals.pop();
        self.call(id, "@sortByAssociatedKeys", &[range, Type::list(key)], true).0
    }
}
