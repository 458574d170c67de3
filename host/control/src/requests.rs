//! Building the writes that controllers make.

use std::sync::Arc;

use berth_api::{Catalogue, Resource};
use berth_json::{Value, json};
use berth_pipeline::{Body, Identity, Options, PatchKind, Request, Verb};
use berth_state::{Key, Stored};

use crate::parts;

/// Makes requests in the name of one controller.
#[derive(Clone)]
pub struct Writer {
    identity: Arc<Identity>,
    manager: &'static str,
    catalogue: Arc<Catalogue>,
}

impl Writer {
    /// A writer for the component `manager`, which managedFields will name.
    pub fn new(manager: &'static str, catalogue: Arc<Catalogue>) -> Self {
        Self { identity: Identity::component(manager), manager, catalogue }
    }

    /// From now on these kinds are served.
    pub(crate) fn know(&mut self, catalogue: Arc<Catalogue>) {
        self.catalogue = catalogue;
    }

    /// The kinds that are served.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The resource of that name.
    ///
    /// # Panics
    /// When the catalogue lacks a kind that controllers are written for: a bug of the wiring.
    pub fn resource(&self, name: &str) -> &Arc<Resource> {
        self.catalogue.named(name).unwrap_or_else(|| panic!("the catalogue lacks {name}"))
    }

    /// The object as a value, as a client sees it.
    pub fn value(&self, stored: &Stored) -> Value {
        stored.to_value(self.resource(&stored.key.resource))
    }

    /// Creates an object in `namespace`.
    pub fn create(&self, resource: &str, namespace: &str, object: Value) -> Request {
        let object = self.typed(resource, object);
        let mut request = self.request(Verb::Create, resource, Body::Object(object));
        request.namespace = namespace.to_owned();
        request
    }

    /// Writes an object back; it must be what the controller read (its resourceVersion is checked).
    pub fn update(&self, key: &Key, subresource: &'static str, object: Value) -> Request {
        let mut request = self.on(Verb::Update, key, Body::Object(object));
        request.subresource = subresource;
        request
    }

    /// Merges `patch` into an object, whatever its revision.
    pub fn merge(&self, key: &Key, subresource: &'static str, patch: &Value) -> Request {
        let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
        let mut request = self.on(Verb::Patch, key, body);
        request.subresource = subresource;
        request
    }

    /// Makes `status` the object's status; `None` when it is that already.
    pub(crate) fn set_status(&self, stored: &Stored, status: Value) -> Option<Request> {
        let converts = self.resource(&stored.key.resource).behaviour.converts();
        let before = if converts { self.value(stored)["status"].take() } else { parts::status(stored) };
        if before == status {
            return None;
        }
        let patch =
            json!({"metadata": {"uid": &*stored.meta().uid}, "status": with_removals(&before, status)});
        Some(self.merge(&stored.key, "status", &patch))
    }

    /// Adds an owner reference.
    pub(crate) fn add_owner(&self, stored: &Stored, reference: Value) -> Request {
        let mut owners = self.owners(stored);
        owners.push(reference);
        self.with_owners(stored, owners)
    }

    /// Takes away the owner references whose uid `gone` says.
    pub(crate) fn remove_owners(&self, stored: &Stored, gone: impl Fn(&str) -> bool) -> Request {
        let mut owners = self.owners(stored);
        owners.retain(|owner| !owner["uid"].as_str().is_some_and(&gone));
        self.with_owners(stored, owners)
    }

    /// Lets an owner go before the object.
    pub(crate) fn unblock_owner(&self, stored: &Stored, owner: &str) -> Request {
        let mut owners = self.owners(stored);
        for reference in owners.iter_mut().filter(|reference| reference["uid"] == owner) {
            reference["blockOwnerDeletion"] = false.into();
        }
        self.with_owners(stored, owners)
    }

    fn owners(&self, stored: &Stored) -> Vec<Value> {
        self.value(stored)["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default()
    }

    /// The resourceVersion guards against references that were added meanwhile: a merge patch replaces the list.
    fn with_owners(&self, stored: &Stored, owners: Vec<Value>) -> Request {
        let revision = stored.revision.to_string();
        let patch = json!({"metadata": {"resourceVersion": revision, "ownerReferences": owners}});
        self.merge(&stored.key, "", &patch)
    }

    /// Deletes just this object, not another one of the same name.
    pub fn delete(&self, stored: &Stored, propagation: &str) -> Request {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation,
            "preconditions": {"uid": &*stored.meta().uid},
        });
        self.on(Verb::Delete, &stored.key, Body::Object(options))
    }

    /// Deletes a pod that no kubelet will report on any more.
    pub fn delete_at_once(&self, stored: &Stored) -> Request {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "preconditions": {"uid": &*stored.meta().uid},
        });
        self.on(Verb::Delete, &stored.key, Body::Object(options))
    }

    /// Takes a finalizer away.
    pub(crate) fn remove_finalizer(&self, stored: &Stored, finalizer: &str) -> Request {
        let finalizers = stored.meta().finalizers.iter().map(|other| &**other);
        let kept: Vec<&str> = finalizers.filter(|other| *other != finalizer).collect();
        let revision = stored.revision.to_string();
        let patch = json!({"metadata": {"resourceVersion": revision, "finalizers": kept}});
        self.merge(&stored.key, "", &patch)
    }

    fn typed(&self, resource: &str, mut object: Value) -> Value {
        let resource = self.resource(resource);
        object["kind"] = resource.kind.as_str().into();
        object["apiVersion"] = resource.api_version().into();
        object
    }

    fn on(&self, verb: Verb, key: &Key, body: Body) -> Request {
        let mut request = self.request(verb, &key.resource, body);
        request.namespace = key.namespace.to_string();
        request.name = key.name.to_string();
        request
    }

    fn request(&self, verb: Verb, resource: &str, body: Body) -> Request {
        Request {
            identity: self.identity.clone(),
            verb,
            resource: self.resource(resource).clone(),
            subresource: "",
            namespace: String::new(),
            name: String::new(),
            body,
            options: Options { field_manager: self.manager.to_owned(), ..Options::default() },
        }
    }
}

/// An owner reference that makes `owner` the controller of the object it is put into.
pub(crate) fn controller_reference(owner: &Stored, resource: &Resource) -> Value {
    json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "name": &*owner.key.name,
        "uid": &*owner.meta().uid, "controller": true, "blockOwnerDeletion": true,
    })
}

/// A merge patch that turns `old` into `new`, one level deep: what `new` lacks is taken away.
pub(crate) fn with_removals(old: &Value, new: Value) -> Value {
    let (Some(old), Value::Object(mut new)) = (old.as_object(), new.clone()) else { return new };
    for key in old.keys() {
        new.entry(key.clone()).or_insert(Value::Null);
    }
    new.into()
}
