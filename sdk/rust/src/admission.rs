//! Write an admission policy: change or refuse objects before they are stored.
//!
//! ```
//! use berth_sdk::admission::{Admission, Manifest, Request, Rule, Verdict};
//!
//! /// Namespaces must say whose they are.
//! struct Owned;
//!
//! impl Admission for Owned {
//!     fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
//!         let namespaces = Rule::of("", "namespaces").on_create().on_update();
//!         Ok((Owned, Manifest::new("owned", "1.0.0").asks_about(namespaces)))
//!     }
//!
//!     fn review(&self, request: &Request) -> Verdict {
//!         match request.object()["metadata"]["labels"]["owner"].as_str() {
//!             Some(_) => Verdict::allow(),
//!             None => Verdict::deny("label the namespace with its `owner`"),
//!         }
//!     }
//! }
//!
//! berth_sdk::export!(Owned as admission);
//! # use serde_json::json;
//! let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
//! let verdict = berth_sdk::admission::ask::<Owned>("", &Request::create("namespaces", object)).unwrap();
//! assert!(!verdict.is_allowed());
//! ```

mod patch;
mod request;
mod rule;

pub use patch::Patch;
pub use request::{Operation, Request};
pub use rule::{Manifest, Mutates, Rule};

use serde_json::Value;

/// An admission policy. Several instances of it may be asked at a time, and none is told of the others: an answer follows from
/// the configuration and the request alone.
pub trait Admission: Sized {
    /// Makes the policy from its configuration, which is the JSON text of its binding's `config` and empty when there is none.
    ///
    /// # Errors
    /// One sentence for the person who wrote the configuration.
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String>;

    /// Says what becomes of a write that the manifest asks about.
    fn review(&self, request: &Request) -> Verdict;

    /// What configuration it takes: a structural OpenAPI v3 schema as JSON. The host checks a binding's `config` against it
    /// before `describe` sees it. `None`: only `describe` judges.
    fn schema() -> Option<&'static str> {
        None
    }
}

/// What becomes of a write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    denied: Option<(u32, String)>,
    patch: Option<Patch>,
    warnings: Vec<String>,
    audit: Vec<(String, String)>,
}

impl Verdict {
    /// The write may go on as it is.
    pub fn allow() -> Self {
        Self::default()
    }

    /// It may not: 403, with one sentence for the user.
    pub fn deny(message: impl Into<String>) -> Self {
        Self { denied: Some((0, message.into())), ..Self::default() }
    }

    /// It may go on with these changes.
    pub fn change(patch: Patch) -> Self {
        Self { patch: Some(patch), ..Self::default() }
    }

    /// It may go on as `changed`: the difference to the request's object is the patch.
    pub fn become_of(request: &Request, changed: &Value) -> Self {
        Self::change(Patch::between(request.object(), changed))
    }

    /// A refusal with another HTTP status, 400 to 499.
    pub fn with_code(mut self, code: u32) -> Self {
        if let Some(denied) = &mut self.denied {
            denied.0 = code;
        }
        self
    }

    /// Tells the user something, whatever becomes of the write.
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    /// Notes something for the log of who did what.
    pub fn audit(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.audit.push((name.into(), value.into()));
        self
    }

    /// Whether the write may go on.
    pub fn is_allowed(&self) -> bool {
        self.denied.is_none()
    }

    /// The sentence of a refusal; empty when there is none.
    pub fn message(&self) -> &str {
        self.denied.as_ref().map_or("", |(_, message)| message)
    }

    /// The HTTP status of a refusal; 0 stands for 403.
    pub fn code(&self) -> u32 {
        self.denied.as_ref().map_or(0, |(code, _)| *code)
    }

    /// What the user is told beside that.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is noted.
    pub fn audits(&self) -> &[(String, String)] {
        &self.audit
    }

    /// The changes, if there are any.
    pub fn patch(&self) -> Option<&Patch> {
        self.patch.as_ref().filter(|patch| !patch.is_empty())
    }
}

/// Configures a policy and asks it once: what a test needs. An empty configuration is none.
///
/// # Errors
/// What the policy says about its configuration.
pub fn ask<P: Admission>(config: &str, request: &Request) -> Result<Verdict, String> {
    let (policy, _) = P::describe(config.as_bytes())?;
    Ok(policy.review(request))
}
