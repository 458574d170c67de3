//! What Berth knows of a kind beyond its schema: one [`Resource`] a kind, found through the [`Catalogue`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use berth_json::Value;

use crate::status::{Details, Problems};
use crate::time::Timestamp;

/// The name under which a resource is stored and looked up: `pods`, `deployments.apps`, `plugins.berth.dev`.
pub type ResourceName = Arc<str>;

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Objects live in a namespace.
    Namespaced,
    /// Objects belong to the whole cluster.
    Cluster,
}

/// One column of `kubectl get` (`metav1.TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the object's name, else empty.
    pub format: &'static str,
    /// What the column shows.
    pub description: String,
    /// 0: always shown; 1: only with `-o wide`.
    pub priority: i32,
}

/// The short functions that make one kind behave as its users expect; all pure.
///
/// Order within a create: `prepare_create`, `default`, `validate`; within an update of the main endpoint:
/// `prepare_update`, `default`, `validate_update` (which includes what `validate` checks).
#[derive(Clone)]
pub struct Behaviour {
    /// Fills in what the client left out.
    pub default: fn(&mut Value),
    /// Drops what a client may not set on create (usually `status`).
    pub prepare_create: fn(&mut Value),
    /// Takes from the old object what the main endpoint may not change (usually `status`). `(new, old)`
    pub prepare_update: fn(&mut Value, &Value),
    /// Takes from the old object what `/status` may not change (all but `status`). `(new, old)`
    pub prepare_status: fn(&mut Value, &Value),
    /// Finds what is wrong with a new object.
    pub validate: fn(&Value, &mut Problems),
    /// Finds what is wrong with a changed object, immutable fields included. `(new, old, …)`
    pub validate_update: fn(&Value, &Value, &mut Problems),
    /// Finds what is wrong with a changed status. `(new, old, …)`
    pub validate_status: fn(&Value, &Value, &mut Problems),
    /// Deprecations and the like: each becomes a `Warning` header.
    pub warnings: fn(&Value) -> Vec<String>,
    /// The fields that field selectors may name beyond `metadata.name` and `metadata.namespace`, with their values.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
    /// The columns of a table.
    pub columns: fn() -> Vec<Column>,
    /// The cells of one row, as many as there are columns. `(object, now)`
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// What a row says of its object beyond the cells (`metav1.TableRowCondition`): clients may hide what is completed.
    pub row_conditions: fn(&Value) -> Vec<Value>,
}

/// One kind the server serves.
pub struct Resource {
    /// [`ResourceName`] of this resource.
    pub id: ResourceName,
    /// API group; empty for the core group.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// Kind, e.g. `Pod`.
    pub kind: String,
    /// Lower-case plural, as in paths.
    pub plural: String,
    /// Lower-case singular.
    pub singular: String,
    /// `po`, `deploy`, …
    pub short_names: Vec<String>,
    /// `all`, …
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub scope: Scope,
    /// `get`, `list`, `watch`, `create`, … as discovery lists them.
    pub verbs: Vec<&'static str>,
    /// `status`, `scale`, `binding`, `log`, … that this resource serves.
    pub subresources: Vec<Subresource>,
    /// The row of the schema table that describes the object, e.g. `core.v1.Pod`.
    pub schema_type: String,
    /// Whether `metadata.generation` starts at 1 and grows with every change of `spec`.
    pub has_generation: bool,
    /// Whether a PUT of an absent object creates it.
    pub create_on_update: bool,
    /// Whether a PUT without `metadata.resourceVersion` is accepted.
    pub unconditional_update: bool,
    /// What the kind does beyond the schema.
    pub behaviour: Behaviour,
}

/// A path below an object, e.g. `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log`, `exec`, …
    pub name: &'static str,
    /// The kind that travels there, with its group and version: `("autoscaling", "v1", "Scale")`.
    pub kind: (&'static str, &'static str, &'static str),
    /// `get`, `update`, `patch`, `create` as discovery lists them.
    pub verbs: &'static [&'static str],
}

impl fmt::Debug for Resource {
    /// Its id: the rest are functions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `deployments.apps`: how messages name the resource.
    pub fn qualified(&self) -> &str {
        &self.id
    }

    /// `Pod` or `Deployment.apps`: how messages name the kind.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether there are objects of this kind; if not, it is only ever posted and answered.
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get")
    }

    /// The subresource `name`, when this resource has it.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    pub(crate) fn plural_details(&self, name: &str) -> Details {
        Details {
            name: name.to_owned(),
            group: self.group.clone(),
            kind: self.plural.clone(),
            ..Details::default()
        }
    }
}

/// Every resource that is served now. Run-time data: Berth's own kinds are registered as custom resources will be.
#[derive(Clone, Default)]
pub struct Catalogue {
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    by_name: HashMap<ResourceName, Arc<Resource>>,
    ordered: Vec<Arc<Resource>>,
}

impl Catalogue {
    /// Adds a resource, in the order in which discovery lists them.
    pub fn register(&mut self, resource: Resource) {
        let resource = Arc::new(resource);
        let path = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.by_path.insert(path, resource.clone());
        self.by_name.insert(resource.id.clone(), resource.clone());
        self.ordered.push(resource);
    }

    /// The resource served at `/apis/<group>/<version>/…/<plural>`.
    pub fn at(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The resource stored under `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(name)
    }

    /// The resource of a kind.
    pub fn of_kind(&self, group: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.ordered.iter().find(|r| r.group == group && r.kind == kind)
    }

    /// All resources, in the order in which they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.ordered.iter()
    }
}
