//! What an expression can cost at most, as Kubernetes reckons it before it takes a rule: the sizes that types declare,
//! carried through the expression.

mod calls;
mod folds;

use std::collections::HashMap;

use crate::ast::{Access, Id, Kind, Meaning, Target, Tree};
use crate::checker::Variables;
use crate::cost;
use crate::types::Type;
use crate::value::Value;

/// How large a value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    min: u64,
    max: u64,
}

impl Size {
    const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    const fn exactly(size: u64) -> Self {
        Self { min: size, max: size }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }
}

/// A number times a factor, rounded up, as floating-point numbers have it.
fn scale(size: u64, factor: f64) -> u64 {
    // Numbers beyond 64 bits become the largest one.
    (size as f64 * factor).ceil() as u64
}

/// How large the elements of a list or the keys and values of a map can be.
#[derive(Clone, Copy, Debug)]
struct Inner {
    is_list: bool,
    key: Size,
    value: Size,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Path<'t> {
    /// From no variable.
    None,
    /// From where no size is declared.
    Lost,
    /// From a part of a variable with this type.
    At(&'t Type),
}

/// What is known of a variable of a macro.
struct Local<'t> {
    path: Path<'t>,
    size: Option<Size>,
    inner: Option<Inner>,
}

struct Estimator<'t> {
    tree: &'t Tree,
    meanings: &'t [Meaning],
    variables: &'t Variables,
    paths: HashMap<Id, Path<'t>>,
    sizes: HashMap<Id, Size>,
    inners: HashMap<Id, Inner>,
    locals: Vec<Local<'t>>,
}

/// The most that the expression can cost.
pub(crate) fn estimate(tree: &Tree, meanings: &[Meaning], variables: &Variables) -> u64 {
    let mut estimator = Estimator {
        tree,
        meanings,
        variables,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        inners: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(tree.root)
}

impl<'t> Estimator<'t> {
    fn type_of(&self, id: Id) -> &'t Type {
        &self.meanings[id as usize].value
    }

    fn path(&self, id: Id) -> Path<'t> {
        self.paths.get(&id).copied().unwrap_or(Path::None)
    }

    /// One step on. Kubernetes takes what begins nowhere for a part of the first variable, and the first step for the
    /// variable itself.
    fn next(&self, from: Path<'t>, step: impl FnOnce(&'t Type) -> Option<&'t Type>) -> Path<'t> {
        match from {
            Path::None => self.root(),
            Path::Lost => Path::Lost,
            Path::At(value) => step(value).map_or(Path::Lost, Path::At),
        }
    }

    fn root(&self) -> Path<'t> {
        self.variables.first().map_or(Path::Lost, |(_, value)| Path::At(value))
    }

    fn cost(&mut self, id: Id) -> u64 {
        match &self.tree.node(id).kind {
            Kind::Literal(_) => 0,
            Kind::Ident(_) => self.ident(id),
            Kind::Select { operand, field, mode } => {
                if matches!(self.meanings[id as usize].target, Target::TypeName(_)) {
                    self.paths.insert(id, self.root());
                    return 1;
                }
                self.select(id, *operand, field, *mode)
            }
            Kind::Index { operand, index, is_optional } => {
                let cost = self.cost(*operand).saturating_add(self.cost(*index)).saturating_add(1);
                if !is_optional && !matches!(self.type_of(*operand), Type::Optional(_)) {
                    let path = self.next(self.path(*operand), element);
                    self.paths.insert(id, path);
                }
                let size = self.inner(*operand).map(|inner| inner.value).or_else(|| self.size(id));
                self.set_size(id, size);
                cost
            }
            Kind::Call { function, arguments, is_member } => {
                self.function(id, function, arguments, *is_member)
            }
            Kind::Binary { left, right, .. } => self.binary(id, *left, *right),
            Kind::Not(operand) | Kind::Negate(operand) => self.cost(*operand).saturating_add(1),
            Kind::Logic { operands, .. } => {
                operands.iter().fold(0, |sum, id| self.cost(*id).saturating_add(sum))
            }
            Kind::Conditional { condition, yes, no } => {
                let condition = self.cost(*condition);
                let branches = self.cost(*yes).max(self.cost(*no));
                let size = self.known(*yes).union(self.known(*no));
                self.set_size(id, Some(size));
                let inner = join(self.inner(*yes), self.inner(*no));
                self.set_inner(id, inner);
                condition.saturating_add(branches)
            }
            Kind::List(elements) => self.list(id, elements),
            Kind::Map(entries) => {
                let (mut sum, mut key, mut value) = (cost::MAP, None, None);
                for entry in entries {
                    sum = sum.saturating_add(self.cost(entry.key)).saturating_add(self.cost(entry.value));
                    key = Some(join_size(key, self.known(entry.key)));
                    value = Some(join_size(value, self.known(entry.value)));
                }
                let nothing = Size::exactly(0);
                let inner =
                    Inner { is_list: false, key: key.unwrap_or(nothing), value: value.unwrap_or(nothing) };
                self.set_inner(id, Some(inner));
                sum
            }
            Kind::Message { .. } => 0,
            Kind::Fold(fold) => self.fold(id, fold),
        }
    }

    fn ident(&mut self, id: Id) -> u64 {
        let path = match self.meanings[id as usize].target {
            Target::Variable(number) => Path::At(&self.variables[number].1),
            Target::Local(slot) => self.locals.get(slot).map_or(Path::None, |local| local.path),
            _ => self.root(),
        };
        self.paths.insert(id, path);
        1
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, mode: Access) -> u64 {
        let cost = self.cost(operand);
        match mode {
            Access::Test => cost,
            Access::Optional => cost.saturating_add(1),
            Access::Value => {
                let path = self.next(self.path(operand), |value| match value {
                    Type::Object(object) => object.field(field).map(|field| &field.value),
                    _ => None,
                });
                self.paths.insert(id, path);
                let is_counted = matches!(self.type_of(operand), Type::Map(_) | Type::Object(_));
                cost.saturating_add(u64::from(is_counted))
            }
        }
    }

    fn list(&mut self, id: Id, elements: &[(Id, bool)]) -> u64 {
        let (mut sum, mut value) = (cost::LIST, None);
        for (element, _) in elements {
            sum = sum.saturating_add(self.cost(*element));
            value = Some(join_size(value, self.known(*element)));
        }
        let inner = Inner { is_list: true, key: Size::exactly(1), value: value.unwrap_or(Size::exactly(0)) };
        self.set_inner(id, Some(inner));
        sum
    }

    fn function(&mut self, id: Id, function: &str, arguments: &[Id], is_member: bool) -> u64 {
        let is_namespaced =
            matches!(self.meanings[id as usize].target, Target::Call { is_namespaced: true, .. });
        let arguments = &arguments[usize::from(is_namespaced)..];
        let sum = arguments.iter().fold(0_u64, |sum, argument| self.cost(*argument).saturating_add(sum));
        if function == "dyn"
            && let [argument] = *arguments
        {
            let size = self.size(argument);
            self.set_size(id, size);
            let inner = self.inner(argument);
            self.set_inner(id, inner);
            return sum.saturating_add(1);
        }
        let mut most = 0;
        let mut size: Option<Size> = None;
        for overload in self.overloads(id) {
            let (cost, result) = self.call(function, overload, arguments, is_member && !is_namespaced);
            most = most.max(cost);
            size = match (size, result) {
                (Some(size), Some(result)) => Some(size.union(result)),
                (size, result) => size.or(result),
            };
        }
        let size = size.or_else(|| self.size(id));
        self.set_size(id, size);
        sum.saturating_add(most)
    }

    fn set_size(&mut self, id: Id, size: Option<Size>) {
        if let Some(size) = size {
            self.sizes.insert(id, size);
        }
    }

    fn set_inner(&mut self, id: Id, inner: Option<Inner>) {
        if let Some(inner) = inner {
            self.inners.insert(id, inner);
        }
    }

    fn inner(&self, id: Id) -> Option<Inner> {
        let local = || match self.meanings[id as usize].target {
            Target::Local(slot) => self.locals.get(slot).and_then(|local| local.inner),
            _ => None,
        };
        self.inners.get(&id).copied().or_else(local)
    }

    /// How large the value of a node can be, as far as that is known.
    fn size(&self, id: Id) -> Option<Size> {
        if let Some(size) = self.sizes.get(&id) {
            return Some(*size);
        }
        match &self.tree.node(id).kind {
            Kind::Literal(value) => return Some(Size::exactly(literal(value))),
            Kind::List(elements) => return Some(Size::exactly(elements.len() as u64)),
            Kind::Map(entries) => return Some(Size::exactly(entries.len() as u64)),
            _ => {}
        }
        if let Some(size) = of_path(self.path(id)) {
            return Some(size);
        }
        if self.type_of(id).is_scalar() {
            return Some(Size::exactly(1));
        }
        match self.meanings[id as usize].target {
            Target::Local(slot) => self.locals.get(slot).and_then(|local| local.size),
            _ => None,
        }
    }

    fn known(&self, id: Id) -> Size {
        self.size(id).unwrap_or(Size::UNKNOWN)
    }

    /// How large an element of a list can be: by its declaration alone.
    fn element(&self, id: Id) -> Size {
        match self.path(id) {
            Path::At(value) => element(value).and_then(declared).unwrap_or(Size::UNKNOWN),
            _ => Size::UNKNOWN,
        }
    }

    /// The whole number that stands there, if one does.
    fn number(&self, id: Id) -> Option<u64> {
        match &self.tree.node(id).kind {
            Kind::Literal(Value::Int(number)) => Some(u64::try_from(*number).unwrap_or(0)),
            _ => None,
        }
    }
}

/// What the elements of a list or the values of a map are.
fn element(value: &Type) -> Option<&Type> {
    match value {
        Type::List(list) => Some(&list.element),
        Type::Map(map) => Some(&map.value),
        _ => None,
    }
}

fn of_path(path: Path<'_>) -> Option<Size> {
    if let Path::At(value) = path { declared(value) } else { None }
}

fn declared(value: &Type) -> Option<Size> {
    value.max_size().map(|max| Size { min: 0, max })
}

fn literal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(_) | Value::Bytes(_) => value.size(),
        _ => 1,
    }
}

fn join_size(before: Option<Size>, size: Size) -> Size {
    before.map_or(size, |before| before.union(size))
}

fn join(a: Option<Inner>, b: Option<Inner>) -> Option<Inner> {
    let (a, b) = (a?, b?);
    Some(Inner { is_list: a.is_list, key: a.key.union(b.key), value: a.value.union(b.value) })
}
