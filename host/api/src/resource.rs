//! What Berth knows of a kind beyond its schema: one [`Resource`] a kind, found through the [`Catalogue`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use berth_json::Value;

use crate::column::Column;
use crate::decode::Finding;
use crate::kinds::view::copy_field;
use crate::schema::Schema;
use crate::select::FieldSelector;
use crate::status::{Details, Problems};
use crate::time::Timestamp;

/// The name under which a resource is stored and looked up: `pods`, `deployments.apps`, `plugins.berth.dev`.
pub type ResourceName = Arc<str>;

/// Something that only one object of a cluster can have at a time, as a text: `service-ip/10.96.0.7`, `node-port/TCP/30080`.
/// The first part says what it is, so that kinds do not come into each other's way.
pub type Claim = Arc<str>;

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Objects live in a namespace.
    Namespaced,
    /// Objects belong to the whole cluster.
    Cluster,
}

/// A field by which objects are found: one that field selectors may name beyond `metadata.name` and `metadata.namespace`, or
/// one for the server's own parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectable {
    /// Its path: `spec.nodeName`.
    pub name: Cow<'static, str>,
    /// Its value in an object; empty when it is not there.
    pub value: String,
    /// Whether the objects of a value are found without looking at all others.
    pub is_indexed: bool,
    /// Whether clients know nothing of it.
    pub is_internal: bool,
}

impl Selectable {
    /// A field that is looked for in all objects.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), is_indexed: false, is_internal: false }
    }

    /// A field with an index, so that "the pods of a node" does not read all pods.
    pub fn indexed(name: &'static str, value: impl Into<String>) -> Self {
        Self { is_indexed: true, ..Self::new(name, value) }
    }

    /// An index for controllers and the like; to clients there is no such field. Objects without a value are not in it.
    pub fn internal(name: &'static str, value: impl Into<String>) -> Self {
        Self { is_internal: true, ..Self::indexed(name, value) }
    }
}

/// What makes one kind behave as its users expect, beyond its schema; all pure.
///
/// Order within a create: `prune`, `prepare_create`, `default`, `validate`; within an update of the main endpoint: `prune`,
/// `prepare_update`, `default`, `validate_update` (which includes what `validate` checks).
pub trait Kind: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Drops what the schema type lets pass and the kind does not know, and says what that was.
    fn prune(&self, _object: &mut Value) -> Vec<Finding> {
        Vec::new()
    }

    /// Fills in what the client left out.
    fn default(&self, _object: &mut Value) {}

    /// Drops what a client may not set on create (usually `status`).
    fn prepare_create(&self, _object: &mut Value) {}

    /// Takes from the old object what the main endpoint may not change (usually `status`).
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}

    /// Takes from the old object what `/status` may not change: as a rule everything but the status and what clients of
    /// `/status` may carry along in the metadata.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
    }

    /// The fields that `prepare_status` takes: nobody comes to own them there by applying.
    fn kept_by_status(&self) -> &'static [&'static [&'static str]] {
        &[&["spec"]]
    }

    /// Finds what is wrong with a new object.
    fn validate(&self, _object: &Value, _problems: &mut Problems) {}

    /// Finds what is wrong with a changed object, immutable fields included.
    fn validate_update(&self, _new: &Value, _old: &Value, _problems: &mut Problems) {}

    /// Finds what is wrong with a changed status.
    fn validate_status(&self, _new: &Value, _old: &Value, _problems: &mut Problems) {}

    /// Deprecations and the like: each becomes a `Warning` header.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// The same of a changed object: what was let be because it was so before is told besides.
    fn update_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        self.warnings(new)
    }

    /// The fields by which objects are found, with their values; the same fields for every object, `null` included.
    fn fields(&self, _object: &Value) -> Vec<Selectable> {
        Vec::new()
    }

    /// What the object has that no other one may have while it is there: two writes that want the same do not both succeed.
    fn claims(&self, _object: &Value) -> Vec<Claim> {
        Vec::new()
    }

    /// Which of the fields clients may select by: all that are not internal, unless versions of a kind differ in it.
    fn selectable(&self) -> Vec<Cow<'static, str>> {
        let fields = self.fields(&Value::Null).into_iter();
        fields.filter(|field| !field.is_internal).map(|field| field.name).collect()
    }

    /// How objects are stored with a selectable field.
    fn stored_field<'f>(&self, name: &'f str) -> Cow<'f, str> {
        name.into()
    }

    /// Whether objects are shown otherwise than they are stored.
    fn converts(&self) -> bool {
        false
    }

    /// Turns an object as it is stored, with the kind and apiVersion of this resource already, into what is shown.
    fn to_served(&self, _object: &mut Value) {}

    /// Turns an object into what is stored.
    fn to_stored(&self, _object: &mut Value) {}

    /// What OpenAPI says of the kind and its list, by the names of the components; empty where the schema table says it.
    fn components(&self) -> Vec<(String, Value)> {
        Vec::new()
    }

    /// The columns of a table.
    fn columns(&self) -> Vec<Column> {
        vec![Column::of_name(), Column::of_age()]
    }

    /// The form of an object that the columns are about, where that is not its own.
    fn tabled<'o>(&self, object: &'o Value) -> Cow<'o, Value> {
        Cow::Borrowed(object)
    }

    /// What a row says of its object beyond the cells (`metav1.TableRowCondition`): clients may hide what is completed.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }
}

/// One kind the server serves.
pub struct Resource {
    /// [`ResourceName`] of this resource.
    pub id: ResourceName,
    /// Whether a definition made it, not this build.
    pub is_custom: bool,
    /// Whether it can be asked for. Objects may be stored in the form of a version that is not served any more.
    pub is_served: bool,
    /// Whether this is the version in whose form objects are stored: of those with the same `id` one is.
    pub is_storage: bool,
    /// API group; empty for the core group.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// Kind, e.g. `Pod`.
    pub kind: String,
    /// Kind of a list, e.g. `PodList`.
    pub list_kind: String,
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
    /// Where `/scale` finds what it shows, when it is served.
    pub scale: Option<ScalePaths>,
    /// The types of its objects.
    pub schema: Arc<Schema>,
    /// The type that an object is decoded as, e.g. `core.v1.Pod`.
    pub schema_type: String,
    /// The type that tells who owns which fields: the same, where the schema knows all of them.
    pub fields_type: String,
    /// Whether `metadata.generation` starts at 1 and grows with every change of `spec`.
    pub has_generation: bool,
    /// Whether a PUT of an absent object creates it.
    pub create_on_update: bool,
    /// Whether a PUT without `metadata.resourceVersion` is accepted.
    pub unconditional_update: bool,
    /// What clients are warned of on every request, when the version is deprecated.
    pub deprecation: Option<String>,
    /// What the kind does beyond the schema.
    pub behaviour: Arc<dyn Kind>,
}

/// Group (empty for the core group), version and kind.
pub type GroupVersionKind = (Cow<'static, str>, Cow<'static, str>, Cow<'static, str>);

/// [`GroupVersionKind`] of a kind that is known at compile time.
pub const fn kind_of(group: &'static str, version: &'static str, kind: &'static str) -> GroupVersionKind {
    (Cow::Borrowed(group), Cow::Borrowed(version), Cow::Borrowed(kind))
}

/// The paths, `.spec.replicas` and the like, of what an `autoscaling/v1` Scale shows and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The number of replicas that is wanted.
    pub spec_replicas: String,
    /// The number of replicas that there are.
    pub status_replicas: String,
    /// The selector of the pods: a text, or an object of `matchLabels` and `matchExpressions`.
    pub label_selector: Option<String>,
}

/// A path below an object, e.g. `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log`, `exec`, …
    pub name: &'static str,
    /// The kind that travels there, with its group and version: `("autoscaling", "v1", "Scale")`.
    pub kind: GroupVersionKind,
    /// `get`, `update`, `patch`, `create` as discovery lists them.
    pub verbs: &'static [&'static str],
}

impl Subresource {
    /// Group, version and kind of what travels there.
    pub fn kind(&self) -> (&str, &str, &str) {
        (&self.kind.0, &self.kind.1, &self.kind.2)
    }
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
    pub fn qualified(&self) -> Cow<'_, str> {
        if self.is_storage || self.is_custom {
            return Cow::Borrowed(&self.id);
        }
        format!("{}.{}", self.plural, self.group).into()
    }

    /// `Pod` or `Deployment.apps`: how messages name the kind.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether there are objects of this kind; if not, it is only ever posted and answered.
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get")
    }

    /// The cells of an object's row, one for each of `columns`.
    pub fn cells(&self, columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
        let object = self.behaviour.tabled(object);
        columns.iter().map(|column| (column.cell)(&object, now)).collect()
    }

    /// A field selector in the words of what is stored.
    ///
    /// # Errors
    /// A sentence that names a field by which nothing can be selected.
    pub fn select(&self, mut selector: FieldSelector) -> Result<FieldSelector, String> {
        let fields = self.behaviour.selectable();
        let known: Vec<&str> = fields.iter().map(AsRef::as_ref).collect();
        selector.check(&known)?;
        for requirement in &mut selector.requirements {
            requirement.field = self.behaviour.stored_field(&requirement.field).into_owned();
        }
        Ok(selector)
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
    stored: Vec<Arc<Resource>>,
}

impl Catalogue {
    /// Adds a resource, in the order in which discovery lists them.
    pub fn register(&mut self, resource: impl Into<Arc<Resource>>) {
        let resource = resource.into();
        self.keep(resource.clone());
        if resource.is_served {
            let path = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
            self.by_path.insert(path, resource.clone());
            self.ordered.push(resource);
        }
    }

    /// Adds a resource that is not served, if it is the one in whose form objects are stored.
    pub fn keep(&mut self, resource: Arc<Resource>) {
        if resource.is_storage {
            self.by_name.insert(resource.id.clone(), resource.clone());
            self.stored.push(resource);
        }
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

    /// Every resource once, in the version in whose form its objects are stored.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.stored.iter()
    }

    /// All resources that are served, in the order in which they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.ordered.iter()
    }
}
