//! Label selectors: the text of `labelSelector=` and the object `LabelSelector`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Where a label's value is looked up.
pub trait Labels {
    /// The value of the label `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

/// A conjunction of requirements on labels; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
}

/// How a label's value is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there with one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above this one.
    Greater(i64),
    /// The label is an integer below this one.
    Less(i64),
}

impl Selector {
    /// Reads the text of a `labelSelector` parameter: `a=b,c!=d,e in (f, g),!h,i>3`.
    ///
    /// # Errors
    /// One sentence as the API server words it; the answer is 400 with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        unimplemented!()
    }

    /// Reads a `LabelSelector` object. An absent (null) selector selects nothing (`None`), an empty one everything.
    ///
    /// # Errors
    /// One sentence: `"x" is not a valid label selector operator` and the like.
    pub fn from_object(object: &Value) -> Result<Option<Self>, String> {
        unimplemented!()
    }

    /// The selector that requires exactly these labels (`matchLabels`, a Service's or Node selector).
    pub fn from_map(labels: &Map<String, Value>) -> Self {
        unimplemented!()
    }

    /// Whether all requirements hold.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        unimplemented!()
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The text form, requirements sorted by key: what a Scale's `status.selector` holds.
    pub fn text(&self) -> String {
        unimplemented!()
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl<K: AsRef<str> + Ord + std::borrow::Borrow<str>, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| name.as_ref() == key).map(|(_, value)| value.as_ref())
    }
}
