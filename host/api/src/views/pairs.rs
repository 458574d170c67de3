//! Annotations, quantities by name and the like, in as little room as they need.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Texts by name, sorted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(from = "Option<BTreeMap<Box<str>, Box<str>>>")]
pub struct Pairs(Box<[(Box<str>, Box<str>)]>);

impl From<Option<BTreeMap<Box<str>, Box<str>>>> for Pairs {
    fn from(map: Option<BTreeMap<Box<str>, Box<str>>>) -> Self {
        Self(map.into_iter().flatten().collect())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let map: BTreeMap<&str, &str> = pairs.into_iter().collect();
        Self(map.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}

impl Pairs {
    /// The text of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
