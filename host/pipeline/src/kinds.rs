//! Which kinds are served: those of this build, and those that CustomResourceDefinitions add.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use berth_api::{Catalogue, Resource};
use berth_custom::{by_stability, definitions, is_established, kinds_of};
use berth_state::{Revision, State, Stored};

/// The resource whose objects define kinds.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The finalizer by which a definition waits until the objects of its kind are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The kinds that are served in a state. What is made of a definition is kept, so that asking costs a look at a revision.
pub struct Kinds {
    built_in: Catalogue,
    definition: Arc<Resource>,
    served: RwLock<Served>,
    /// Held while a catalogue is made: compiling a definition's rules is work that is done once for all.
    made: Arc<Mutex<HashMap<Made, Vec<Arc<Resource>>>>>,
}

/// A definition, and which of its specs: uid and generation.
type Made = (Box<str>, i64);

/// The last catalogue, and the revision of the definitions that it was made from.
struct Served {
    definitions: Option<Revision>,
    catalogue: Arc<Catalogue>,
}

impl Kinds {
    /// The kinds of this build, and from now on those that are defined.
    pub fn new(built_in: &Catalogue) -> Self {
        let mut built_in = built_in.clone();
        let definition = Arc::new(definitions());
        built_in.register(definition.clone());
        let served = Served { definitions: None, catalogue: Arc::new(built_in.clone()) };
        Self { built_in, definition, served: RwLock::new(served), made: Arc::default() }
    }

    /// The same for one who looks at states in their order: others who are ahead do not take kinds away whose objects he still
    /// sees.
    #[must_use]
    pub fn follower(&self) -> Self {
        let served = Served { definitions: None, catalogue: Arc::new(self.built_in.clone()) };
        Self {
            built_in: self.built_in.clone(),
            definition: self.definition.clone(),
            served: RwLock::new(served),
            made: self.made.clone(),
        }
    }

    /// The kinds of this build.
    pub fn built_in(&self) -> &Catalogue {
        &self.built_in
    }

    /// The kinds that are served in `state`. A state that is a little older than one that was asked about before gets the
    /// newer answer.
    pub fn at(&self, state: &State) -> Arc<Catalogue> {
        let revision = state.revision_of(DEFINITIONS);
        if let Some(catalogue) = self.as_of(revision) {
            return catalogue;
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(catalogue) = self.as_of(revision) {
            return catalogue;
        }
        let catalogue = Arc::new(self.catalogue(state.list(DEFINITIONS, ""), &mut made));
        let served = Served { definitions: Some(revision), catalogue: catalogue.clone() };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
        catalogue
    }

    /// The kinds that `definitions` make, before there is a state.
    pub fn defined_by<'s>(&self, definitions: impl Iterator<Item = &'s Arc<Stored>>) -> Catalogue {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.catalogue(definitions, &mut made)
    }

    fn as_of(&self, revision: Revision) -> Option<Arc<Catalogue>> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        (served.definitions >= Some(revision)).then(|| served.catalogue.clone())
    }

    fn catalogue<'s>(
        &self,
        definitions: impl Iterator<Item = &'s Arc<Stored>>,
        made: &mut HashMap<Made, Vec<Arc<Resource>>>,
    ) -> Catalogue {
        let mut catalogue = self.built_in.clone();
        let mut kept = HashMap::new();
        for stored in definitions {
            let definition = stored.to_value(&self.definition);
            if self.built_in.named(&stored.key.name).is_some() {
                continue;
            }
            let generation = definition["metadata"]["generation"].as_i64().unwrap_or_default();
            let key: Made = (stored.meta().uid.to_string().into(), generation);
            let resources = made.remove(&key).unwrap_or_else(|| match kinds_of(&definition) {
                Ok(mut resources) => {
                    // The first version is the one that clients prefer.
                    resources.sort_by(|a, b| by_stability(&b.version, &a.version));
                    resources.into_iter().map(Arc::new).collect()
                }
                Err(error) => {
                    // It was judged before it was stored: another version of Berth judged otherwise.
                    tracing::error!(definition = &*stored.key.name, %error, "a stored definition is not served");
                    vec![]
                }
            });
            match is_established(&definition) {
                true => resources.iter().for_each(|resource| catalogue.register(resource.clone())),
                // Whoever may write its status can say that it is not: its objects are there all the same.
                false => resources.iter().for_each(|resource| catalogue.keep(resource.clone())),
            }
            kept.insert(key, resources);
        }
        *made = kept;
        catalogue
    }
}
