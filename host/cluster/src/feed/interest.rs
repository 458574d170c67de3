//! What a follower wants of a resource.

use std::borrow::Cow;
use std::sync::Arc;

use berth_state::{Change, Stored, StoredField};

/// Which of a resource's objects somebody follows: the narrower, the less it is woken for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// All of them.
    All,
    /// Those of a namespace.
    Namespace(Arc<str>),
    /// The one of a namespace (empty for cluster-scoped objects) and name.
    Object(Arc<str>, Arc<str>),
    /// Those whose indexed field has a value, coming and going included.
    Field(Cow<'static, str>, Arc<str>),
}

impl Interest {
    /// Every interest that a change touches, each once.
    pub(super) fn touched_by(change: &Change) -> impl Iterator<Item = Self> {
        let key = &change.key;
        let place = [
            Self::All,
            Self::Namespace(key.namespace.clone()),
            Self::Object(key.namespace.clone(), key.name.clone()),
        ];
        let now = indexed(change.new.as_deref());
        let before = indexed(change.old.as_deref());
        let before = before.filter(|field| {
            change.new.as_ref().and_then(|new| new.field(&field.name)) != Some(&*field.value)
        });
        let field = |field: &StoredField| Self::Field(field.name.clone(), Arc::from(&*field.value));
        place.into_iter().chain(now.chain(before).map(field))
    }

    /// Whether a change touches it.
    pub(super) fn wants(&self, change: &Change) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => change.key.namespace == *namespace,
            Self::Object(namespace, name) => change.key.namespace == *namespace && change.key.name == *name,
            Self::Field(name, value) => {
                let has = |stored: &Arc<Stored>| stored.field(name) == Some(&**value);
                change.old.as_ref().is_some_and(has) || change.new.as_ref().is_some_and(has)
            }
        }
    }
}

fn indexed(stored: Option<&Stored>) -> impl Iterator<Item = &StoredField> {
    stored.into_iter().flat_map(Stored::fields).filter(|field| field.is_indexed)
}
