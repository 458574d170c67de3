//! The contract between the host and admission policies, whatever runs them: `reviewing` of `wit/policy.wit`.

use std::sync::Arc;

use berth_json::{Value, json};
use serde::Deserialize;

/// Bytes of a verdict: a patch can be no larger than an object.
pub const VERDICT_BYTES_MAX: usize = 4 << 20;

/// What a policy is and what it is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// Whether it changes objects.
    pub mutates: Mutates,
    /// It is asked when one of them matches.
    pub rules: Vec<Rule>,
}

impl Manifest {
    /// As a binding's status shows it, and [`crate::Bound`] reads it after a start of the server.
    pub fn to_value(&self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(Rule::to_value).collect();
        json!({
            "name": self.name.as_str(), "version": self.version.as_str(), "mutates": self.mutates as u32, "rules": rules,
        })
    }
}

impl Rule {
    /// What is empty is left out.
    fn to_value(&self) -> Value {
        let list = |texts: &[String]| texts.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>();
        let mut value = json!({
            "groups": list(&self.groups), "resources": list(&self.resources), "operations": self.operations,
        });
        if !self.namespaces.is_empty() {
            value["namespaces"] = list(&self.namespaces).into();
        }
        for (key, text) in [("selector", &self.selector), ("namespaceSelector", &self.namespace_selector)] {
            if !text.is_empty() {
                value[key] = text.as_str().into();
            }
        }
        value
    }
}

/// Whether a policy changes objects, by its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutates {
    /// It only refuses, and is asked about the object that will be stored.
    #[default]
    No = 0,
    /// It changes objects.
    Once = 1,
    /// It changes objects, and is asked once more when a later policy has changed one again.
    Again = 2,
}

/// Which writes to ask about: all of its conditions hold. As it stands in the status of bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// API groups, `*` for any.
    pub groups: Vec<String>,
    /// `pods`, `pods/status`, `pods/*`, `*`, `*/*`.
    pub resources: Vec<String>,
    /// Bits of [`Operation`].
    pub operations: u32,
    /// Names; empty for any.
    pub namespaces: Vec<String>,
    /// A label selector; empty for any.
    pub selector: String,
    /// A label selector for the namespace; empty for any.
    pub namespace_selector: String,
}

/// What is done to an object, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It comes into being.
    Create = 1,
    /// It is replaced or patched.
    Update = 2,
    /// It goes.
    Delete = 4,
}

/// What a policy is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural.
    pub resource: String,
    /// Empty for the object itself.
    pub sub_resource: String,
    /// Empty for objects that are in none.
    pub namespace: String,
    /// The labels of the namespace.
    pub namespace_labels: Vec<(String, String)>,
    /// The object's name.
    pub name: String,
    /// Who writes.
    pub user: String,
    /// The uid of a service account.
    pub user_uid: String,
    /// His groups.
    pub user_groups: Vec<String>,
    /// What else is known of him.
    pub user_extra: Vec<(String, Vec<String>)>,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// JSON; empty on delete. Shared with those that ask other policies.
    pub object: Arc<[u8]>,
    /// JSON; empty on create.
    pub old_object: Arc<[u8]>,
}

/// What a policy answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the write may go on.
    pub allowed: bool,
    /// The HTTP status of a refusal; 0 stands for 403.
    pub code: u32,
    /// The sentence of a refusal.
    pub message: String,
    /// A JSON Patch; empty for none.
    pub patch: Vec<u8>,
    /// Texts for the user.
    pub warnings: Vec<String>,
    /// Names and values for the log of who did what.
    pub audit: Vec<(String, String)>,
}

/// Why a policy gave no verdict that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It failed at this request.
    #[error("{0}")]
    Failed(String),
    /// Its verdict means nothing.
    #[error("the policy gave an unusable verdict: {0}")]
    BadVerdict(String),
}

/// An admission policy. It may be asked from several threads at a time.
pub trait Reviewer: Send + Sync {
    /// What it is and what it is asked about.
    fn manifest(&self) -> &Manifest;

    /// Answers one question. It may take its time: call it where that holds up nobody.
    ///
    /// # Errors
    /// When it fails.
    fn review(&self, request: &Request) -> Result<Verdict, PolicyError>;
}
