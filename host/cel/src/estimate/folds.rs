//! What macros can cost at most: as much as cel-go's expansions of them.

use crate::ast::{Fold, Id, Kind, Macro};
use crate::cost;
use crate::types::Type;

use super::{Estimator, Inner, Local, Path, Size, element, of_path, scale};

impl Estimator<'_> {
    pub(super) fn fold(&mut self, id: Id, fold: &Fold) -> u64 {
        let range = self.cost(fold.range);
        match fold.name {
            Macro::OptMap | Macro::OptFlatMap => {
                let local = Local { path: Path::None, size: self.inner_value_size(fold.range), inner: None };
                self.locals.push(local);
                let body = self.cost(fold.body);
                self.locals.pop();
                let wrapped = u64::from(fold.name == Macro::OptMap);
                let there = range.saturating_add(body).saturating_add(cost::LIST + 1 + wrapped);
                range.saturating_add(1).saturating_add(there.max(1))
            }
            Macro::SortBy => {
                self.push_variables(fold);
                let body = self.cost(fold.body);
                self.pop_variables(fold);
                let count = self.known(fold.range);
                let map = count.max.saturating_mul(body.saturating_add(12)).saturating_add(cost::LIST + 2);
                let is_text = self.is_text_list(id);
                let sorting =
                    scale(count.times(count).max, if is_text { 2.1 } else { 2.0 }).saturating_add(11);
                self.set_size(id, Some(count.times(count)));
                range.saturating_add(cost::LIST + 1).saturating_add(map).saturating_add(sorting)
            }
            _ => self.comprehension(id, fold, range),
        }
    }

    /// Whether the list is sorted by texts.
    fn is_text_list(&self, id: Id) -> bool {
        let Kind::Fold(fold) = &self.tree.node(id).kind else { return false };
        matches!(self.type_of(fold.body), Type::String(_) | Type::Bytes(_) | Type::Dyn(_))
    }

    fn inner_value_size(&self, range: Id) -> Option<Size> {
        match self.type_of(range) {
            Type::Optional(inner) if inner.is_scalar() => Some(Size::exactly(1)),
            _ => None,
        }
    }

    fn push_variables(&mut self, fold: &Fold) {
        let inner = self.inner(fold.range);
        let path = self.path(fold.range);
        let is_list = inner.map_or(matches!(self.type_of(fold.range), Type::List(_)), |inner| inner.is_list);
        let key = self.next(path, |value| if let Type::Map(map) = value { Some(&map.key) } else { None });
        let of_key = Local { path: key, size: inner.map(|inner| inner.key), inner: None };
        let of_value =
            Local { path: self.next(path, element), size: inner.map(|inner| inner.value), inner: None };
        match (&fold.second, is_list) {
            (Some(_), _) => self.locals.extend([of_key, of_value]),
            (None, true) => self.locals.push(of_value),
            (None, false) => self.locals.push(of_key),
        }
    }

    fn pop_variables(&mut self, fold: &Fold) {
        let count = 1 + usize::from(fold.second.is_some());
        self.locals.truncate(self.locals.len() - count);
    }

    fn comprehension(&mut self, id: Id, fold: &Fold, range: u64) -> u64 {
        self.push_variables(fold);
        let filter = fold.filter.map(|filter| self.cost(filter));
        let body = self.cost(fold.body);
        let size = self.known(fold.body);
        let element = self.locals.last().and_then(|local| of_path(local.path).or(local.size));
        self.pop_variables(fold);
        let count = self.known(fold.range);
        let (start, step, end) = match fold.name {
            Macro::All => (0, body.saturating_add(3), 1),
            Macro::Exists => (0, body.saturating_add(4), 1),
            Macro::ExistsOne => (0, body.saturating_add(2), 2),
            Macro::Filter => (cost::LIST, body.saturating_add(cost::LIST + 3), 1),
            Macro::TransformMap => (cost::MAP, body.saturating_add(3), 1),
            Macro::TransformMapEntry => (cost::MAP, body.saturating_add(2), 1),
            _ => (cost::LIST, body.saturating_add(cost::LIST + 2), 1),
        };
        let step = step.saturating_add(filter.unwrap_or(0));
        match fold.name {
            Macro::All | Macro::Exists | Macro::ExistsOne => self.set_size(id, Some(Size::exactly(1))),
            _ => self.set_size(id, Some(count)),
        }
        let made = match fold.name {
            Macro::Map => Some(size),
            Macro::Filter => Some(element.unwrap_or(Size::UNKNOWN)),
            _ => None,
        };
        if let Some(value) = made {
            let value = Size { min: 0, ..value };
            self.set_inner(id, Some(Inner { is_list: true, key: Size::exactly(1), value }));
        }
        range.saturating_add(start).saturating_add(end).saturating_add(count.max.saturating_mul(step))
    }
}
