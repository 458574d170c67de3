//! What a policy is asked about.

use std::cell::OnceCell;

use serde_json::Value;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It comes into being.
    Create = 1,
    /// It is replaced or patched.
    Update = 2,
    /// It goes.
    Delete = 4,
}

/// One write. Objects are read when they are first looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The only source of randomness.
    pub seed: u64,
    /// One for each review.
    pub uid: String,
    /// What is done.
    pub operation: Operation,
    /// Empty for the core group.
    pub group: String,
    /// Of the group.
    pub version: String,
    /// `Pod`, …
    pub kind: String,
    /// `pods`, …
    pub resource: String,
    /// `status`, `scale`, …; empty for the object itself.
    pub sub_resource: String,
    /// Empty for objects that are in none.
    pub namespace: String,
    /// The labels of the namespace.
    pub namespace_labels: Vec<(String, String)>,
    /// Its name.
    pub name: String,
    /// Who writes.
    pub user: String,
    /// His uid.
    pub user_uid: String,
    /// His groups.
    pub user_groups: Vec<String>,
    /// What else is known of him.
    pub user_extra: Vec<(String, Vec<String>)>,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// JSON; empty on delete.
    pub object_json: Vec<u8>,
    /// JSON; empty on create.
    pub old_json: Vec<u8>,
    pub(crate) object: OnceCell<Value>,
    pub(crate) old: OnceCell<Value>,
}

impl Request {
    /// The creation of an object, as an administrator in a namespace without labels.
    pub fn create(resource: &str, object: Value) -> Self {
        Self::new(Operation::Create, resource, object, Value::Null)
    }

    /// The replacement of one object by another.
    pub fn update(resource: &str, old: Value, object: Value) -> Self {
        Self::new(Operation::Update, resource, object, old)
    }

    /// The deletion of an object.
    pub fn delete(resource: &str, old: Value) -> Self {
        Self::new(Operation::Delete, resource, Value::Null, old)
    }

    fn new(operation: Operation, resource: &str, object: Value, old: Value) -> Self {
        let shown = if object.is_null() { &old } else { &object };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let api_version = text(&shown["apiVersion"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let bytes = |value: &Value| if value.is_null() { Vec::new() } else { value.to_string().into_bytes() };
        Self {
            now_ms: 0,
            seed: 0,
            uid: "1".to_owned(),
            operation,
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text(&shown["kind"]),
            resource: resource.to_owned(),
            sub_resource: String::new(),
            namespace: text(&shown["metadata"]["namespace"]),
            namespace_labels: Vec::new(),
            name: text(&shown["metadata"]["name"]),
            user: "kubernetes-admin".to_owned(),
            user_uid: String::new(),
            user_groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            user_extra: Vec::new(),
            dry_run: false,
            object_json: bytes(&object),
            old_json: bytes(&old),
            object: OnceCell::new(),
            old: OnceCell::new(),
        }
    }

    /// The same in a namespace with this label, too.
    pub fn with_namespace_label(mut self, key: &str, value: &str) -> Self {
        self.namespace_labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same by somebody else.
    pub fn by(self, user: &str, groups: &[&str]) -> Self {
        let user_groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { user: user.to_owned(), user_groups, ..self }
    }

    /// The object as it will be stored; null on delete.
    pub fn object(&self) -> &Value {
        self.object.get_or_init(|| read(&self.object_json))
    }

    /// The object as it is; null on create.
    pub fn old_object(&self) -> &Value {
        self.old.get_or_init(|| read(&self.old_json))
    }

    /// The object, or, when it goes, the one that goes.
    pub fn subject(&self) -> &Value {
        if self.operation == Operation::Delete { self.old_object() } else { self.object() }
    }

    /// A label of the namespace.
    pub fn namespace_label(&self, key: &str) -> Option<&str> {
        self.namespace_labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The host's objects are JSON: nothing else comes here.
fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}
