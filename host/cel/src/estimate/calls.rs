//! What a call of a function can cost at most, and how large its result can be.

use crate::ast::{Id, Target};
use crate::cost::LIST;
use crate::functions::FUNCTIONS;
use crate::types::{Opaque, Type};

use super::{Estimator, Size, join, scale};

/// How long the patterns of named formats are reckoned to be.
const FORMAT_SIZE: f64 = 128.0;
/// What a tenth of a character costs, and a quarter of a pattern's.
const TEXT: f64 = 0.1;
const PATTERN: f64 = 0.25;
/// How long the name of a format is at most.
const FORMAT_MAX: u64 = 64;
/// The bytes of an address.
const ADDRESS: u64 = 16;

/// A list that is made: what it costs, and how large it is.
fn made(factor: f64, size: Size) -> (u64, Option<Size>) {
    (scale(size.max, factor).saturating_add(1 + LIST), Some(size))
}

impl Estimator<'_> {
    pub(super) fn binary(&mut self, id: Id, left: Id, right: Id) -> u64 {
        let arguments = self.cost(left).saturating_add(self.cost(right));
        let (a, b) = (self.known(left), self.known(right));
        let overloads = self.overloads(id);
        let mut most = 0;
        let mut size: Option<Size> = None;
        for overload in &overloads {
            let cost = match *overload {
                "add_string" | "add_bytes" => scale(a.plus(b).max, 0.1),
                "in_list" => scale(b.max, 1.0),
                "equals" | "not_equals" if self.opaque(left).is_some() => {
                    self.opaque(left).map_or(1, |opaque| match opaque {
                        Opaque::Url => scale(b.max, 0.1),
                        Opaque::Format => scale(FORMAT_MAX, 0.1),
                        _ => 1,
                    })
                }
                "equals"
                | "not_equals"
                | "less_string"
                | "less_equals_string"
                | "greater_string"
                | "greater_equals_string"
                | "less_bytes"
                | "less_equals_bytes"
                | "greater_bytes"
                | "greater_equals_bytes" => scale(a.max.min(b.max), 0.1),
                _ => 1,
            };
            most = most.max(cost);
            if matches!(*overload, "add_string" | "add_bytes" | "add_list") {
                size = Some(size.map_or(a.plus(b), |size| size.union(a.plus(b))));
                let inner = join(self.inner(left), self.inner(right));
                self.set_inner(id, inner);
            }
        }
        let size = size.or_else(|| self.size(id));
        self.set_size(id, size);
        arguments.saturating_add(most)
    }

    /// Which of Kubernetes' own types it is.
    fn opaque(&self, id: Id) -> Option<Opaque> {
        if let Type::Opaque(opaque) = self.type_of(id) { Some(*opaque) } else { None }
    }

    pub(super) fn overloads(&self, id: Id) -> Vec<&'static str> {
        match &self.meanings[id as usize].target {
            Target::Call { overloads, .. } => {
                overloads.iter().map(|number| FUNCTIONS.overload(*number).id).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn call(
        &self,
        function: &str,
        overload: &str,
        arguments: &[Id],
        is_member: bool,
    ) -> (u64, Option<Size>) {
        let size = |at: usize| arguments.get(at).map_or(Size::UNKNOWN, |id| self.known(*id));
        let first = size(0);
        let scanned = scale(first.max, TEXT);
        match overload {
            "list_slice" => {
                let number = |at: usize, otherwise| {
                    arguments.get(at).and_then(|id| self.number(*id)).unwrap_or(otherwise)
                };
                return made(1.0, Size::exactly(number(2, first.max).wrapping_sub(number(1, 0))));
            }
            "lists_range" => {
                let count = arguments.first().and_then(|id| self.number(*id)).unwrap_or(u64::MAX);
                return made(1.0, Size::exactly(count));
            }
            "list_reverse" => return made(1.0, first),
            "list_flatten" => return made(1.0, first),
            "list_flatten_int" => {
                let depth = arguments.get(1).and_then(|id| self.number(*id)).unwrap_or(u64::MAX);
                return made(depth as f64, first);
            }
            "list_distinct" => return made(2.0, first.times(first)),
            "list_string_sort" | "list_bytes_sort" => return made(2.0 + TEXT, first.times(first)),
            id if id.ends_with("_sort") => return made(2.0, first.times(first)),
            "list_sets_contains_list" | "list_sets_intersects_list" => {
                return (scale(first.times(size(1)).max, 1.0).saturating_add(1), None);
            }
            "list_sets_equivalent_list" => {
                return (scale(first.times(size(1)).max, 2.0).saturating_add(1), None);
            }
            _ => {}
        }
        match function {
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" if is_member => {
                (self.walk(function, arguments[0]), None)
            }
            "url" => (scanned, Some(first)),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (scanned, Some(first)),
            "replace" => (scale(first.max, 2.0 * TEXT), Some(replaced(first, size(1), size(2)))),
            "split" => {
                let most = arguments.get(2).and_then(|id| self.number(*id)).unwrap_or(first.max);
                (scale(first.max, 2.0 * TEXT), Some(Size { min: 0, max: most }))
            }
            "join" => {
                let is_list = matches!(self.type_of(arguments[0]), Type::List(_));
                let mut joined =
                    if is_list { first.times(self.element(arguments[0])) } else { Size::exactly(0) };
                if arguments.len() > 1 {
                    let gaps = Size { min: first.min.saturating_sub(1), max: first.max.saturating_sub(1) };
                    joined = joined.plus(size(1).times(gaps));
                }
                (scale(joined.max, TEXT), Some(joined))
            }
            "find" | "findAll" => (searched(first, size(1)), Some(Size { min: 0, max: first.max })),
            "matches" => (searched(first, size(1)), None),
            "contains" if overload == "contains_string" => {
                (scanned.saturating_mul(scale(size(1).max, TEXT)), None)
            }
            "ip" if overload == "cidr_ip" => (1, None),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                (scanned, None)
            }
            "isCanonical" | "ip.isCanonical" => (scale(first.max, 2.0 * TEXT), None),
            "containsIP" => {
                let parsed = if overload == "cidr_contains_ip_string" { scale(size(1).max, TEXT) } else { 0 };
                (scale(2 * ADDRESS, TEXT).saturating_add(parsed), None)
            }
            "containsCIDR" => {
                let parsed =
                    if overload == "cidr_contains_cidr_string" { scale(size(1).max, TEXT) } else { 0 };
                let compared = scale(2 * ADDRESS, TEXT) + scale(ADDRESS, TEXT) + 1;
                (compared.saturating_add(parsed), None)
            }
            "validate" => (scale(scale(size(1).max, TEXT), FORMAT_SIZE * PATTERN), None),
            "startsWith" | "endsWith" => (scale(size(1).max, TEXT), None),
            "format" => (scanned, None),
            "quote" => {
                (scanned, Some(Size { min: first.min + 2, max: first.max.wrapping_mul(2).wrapping_add(2) }))
            }
            "bytes" if overload == "string_to_bytes" => {
                (scanned, Some(Size { min: first.min, max: first.max.wrapping_mul(4) }))
            }
            "string" if overload == "bytes_to_string" => {
                (scanned, Some(Size { min: first.min / 4, max: first.max }))
            }
            _ => (1, None),
        }
    }

    /// Going through a list or a text.
    fn walk(&self, function: &str, receiver: Id) -> u64 {
        let size = self.known(receiver).max;
        match self.type_of(receiver) {
            Type::List(list) => {
                let each = match list.element {
                    Type::String(_) | Type::Bytes(_) => {
                        scale(self.element(receiver).max, TEXT).saturating_add(1)
                    }
                    _ => 1,
                };
                size.saturating_mul(each)
            }
            _ if function == "includes" => size,
            _ => scale(size, TEXT),
        }
    }
}

/// A pattern over a text.
fn searched(text: Size, pattern: Size) -> u64 {
    scale(text.max.saturating_add(1), TEXT).saturating_mul(scale(pattern.max, PATTERN))
}

/// How long a text can be whose pieces of one size are replaced by pieces of another.
fn replaced(text: Size, from: Size, to: Size) -> Size {
    let times = |length: u64, by: u64| (length as f64 / by as f64).ceil() as u64;
    let (most, kept) = if from.min == 0 {
        (text.max.saturating_add(1), text.max)
    } else if to.max <= from.min {
        (0, text.max)
    } else {
        (times(text.max, from.min), 0)
    };
    let (least, left) = if from.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if from.max <= to.min {
        (0, text.min)
    } else {
        (times(text.min, from.max), 0)
    };
    Size { min: least, max: most }.times(to).plus(Size { min: left, max: kept })
}
