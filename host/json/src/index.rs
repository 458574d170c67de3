//! Finding an element by key or position.

use std::ops;

use crate::{Map, Text, Value};

/// What stands for an element that is not there.
static NULL: Value = Value::Null;

/// A key of an object or a position of a list.
pub trait Place {
    /// The element there.
    fn find(self, value: &Value) -> Option<&Value>;

    /// The element there, to change it.
    fn find_mut(self, value: &mut Value) -> Option<&mut Value>;

    /// The element there; made when it is a key that is missing.
    ///
    /// # Panics
    /// When `value` is neither an object nor null, or no list of that length: a bug of the caller.
    fn find_or_make(self, value: &mut Value) -> &mut Value;
}

impl Place for &str {
    fn find(self, value: &Value) -> Option<&Value> {
        value.as_object()?.get(self)
    }

    fn find_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_object_mut()?.get_mut(self)
    }

    fn find_or_make(self, value: &mut Value) -> &mut Value {
        if value.is_null() {
            *value = Map::new().into();
        }
        match value {
            Value::Object(map) => map.entry(self).or_insert(Value::Null),
            other => panic!("{other} has no field {self}"),
        }
    }
}

impl Place for usize {
    fn find(self, value: &Value) -> Option<&Value> {
        value.as_array()?.get(self)
    }

    fn find_mut(self, value: &mut Value) -> Option<&mut Value> {
        value.as_array_mut()?.get_mut(self)
    }

    fn find_or_make(self, value: &mut Value) -> &mut Value {
        match value {
            Value::Array(list) => &mut list[self],
            other => panic!("{other} has no element {self}"),
        }
    }
}

macro_rules! as_key {
    ($($text:ty),*) => {$(
        impl Place for $text {
            fn find(self, value: &Value) -> Option<&Value> {
                Place::find(self.as_str(), value)
            }

            fn find_mut(self, value: &mut Value) -> Option<&mut Value> {
                self.as_str().find_mut(value)
            }

            fn find_or_make(self, value: &mut Value) -> &mut Value {
                self.as_str().find_or_make(value)
            }
        }
    )*};
}
as_key!(String, &String, &Text);

/// The element, or null.
impl<P: Place> ops::Index<P> for Value {
    type Output = Value;

    fn index(&self, place: P) -> &Value {
        self.get(place).unwrap_or(&NULL)
    }
}

/// The element; a missing key is put in, into a null too.
impl<P: Place> ops::IndexMut<P> for Value {
    fn index_mut(&mut self, place: P) -> &mut Value {
        place.find_or_make(self)
    }
}

/// The value of a key that is there.
///
/// # Panics
/// When it is not: a bug of the caller.
impl ops::Index<&str> for Map {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        match self.get(key) {
            Some(value) => value,
            None => panic!("no field {key}"),
        }
    }
}
