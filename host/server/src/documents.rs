//! Documents about the kinds that are served, kept until others are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use berth_api::{Catalogue, Schema, openapi};
use berth_json::Value;
use bytes::Bytes;

/// Documents of the kinds that are served, made once, when they are first asked for.
pub(crate) struct Documents {
    catalogue: Arc<Catalogue>,
    index: OnceLock<Value>,
    /// By group and version; made for all that are served.
    openapi: HashMap<(String, String), OnceLock<Bytes>>,
}

impl Documents {
    fn new(catalogue: Arc<Catalogue>) -> Self {
        let served = catalogue.iter().map(|r| ((r.group.clone(), r.version.clone()), OnceLock::new()));
        Self { index: OnceLock::new(), openapi: served.collect(), catalogue }
    }

    pub(crate) fn index(&self) -> &Value {
        self.index.get_or_init(|| openapi::index(&self.catalogue, Schema::builtin()))
    }

    pub(crate) fn openapi(&self, group: &str, version: &str) -> Option<Bytes> {
        let made = self.openapi.get(&(group.to_owned(), version.to_owned()))?;
        let make = || {
            let document = openapi::document(&self.catalogue, Schema::builtin(), group, version);
            document.map(|document| Bytes::from(document.to_string())).unwrap_or_default()
        };
        Some(made.get_or_init(make).clone())
    }
}

/// The documents of the kinds that were served last.
#[derive(Default)]
pub(crate) struct LastDocuments(Mutex<Option<Arc<Documents>>>);

impl LastDocuments {
    /// Those of the kinds that are served now: others are made anew.
    pub(crate) fn of(&self, catalogue: Arc<Catalogue>) -> Arc<Documents> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(documents) if Arc::ptr_eq(&documents.catalogue, &catalogue) => documents.clone(),
            _ => last.insert(Arc::new(Documents::new(catalogue))).clone(),
        }
    }
}
