//! A write as data: what every client, controller, scheduler and agent hands to the pipeline.

use std::borrow::Cow;
use std::sync::Arc;

pub use berth_api::FieldValidation;
use berth_api::kinds::view::str_at;
use berth_api::{PatchType, Resource};
use berth_json::Value;
use berth_state::{Key, Stored};
use bytes::Bytes;

use crate::identity::{Identity, Verb};

/// One write.
#[derive(Clone)]
pub struct Request {
    /// Who writes.
    pub identity: Arc<Identity>,
    /// `Create`, `Update`, `Patch`, `Delete` or `DeleteCollection`.
    pub verb: Verb,
    /// To what.
    pub resource: Arc<Resource>,
    /// `status`, `scale`, `binding`, …; empty for the object itself.
    pub subresource: &'static str,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for creates (the body names the object) and for deletecollection.
    pub name: String,
    /// What is written.
    pub body: Body,
    /// The query parameters.
    pub options: Options,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// An object or options as the client sent them, to be decoded and checked against the schema.
    Encoded {
        /// `Content-Type`, parameters included.
        media_type: String,
        /// As sent.
        bytes: Bytes,
    },
    /// An object or options made inside berth; checked against the schema all the same.
    Object(Value),
    /// A patch.
    Patch(PatchKind, Bytes),
    /// The configuration of a server-side apply.
    Apply(Bytes),
}

/// How a patch is to be read, from its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

impl From<PatchKind> for PatchType {
    fn from(kind: PatchKind) -> Self {
        match kind {
            PatchKind::Json => Self::Json,
            PatchKind::Merge => Self::Merge,
            PatchKind::Strategic => Self::StrategicMerge,
        }
    }
}

/// What becomes of an object's dependents (`propagationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without this owner.
    Orphan,
    /// They go after the object.
    Background,
    /// They go before the object.
    Foreground,
}

/// The options of a write (`metav1.CreateOptions`, `UpdateOptions`, `PatchOptions`).
///
/// `DeleteOptions` travel in the body; what kubectl puts into the query is merged into them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Do everything but persist.
    pub dry_run: bool,
    /// Who is named in managedFields; empty: derived from the user agent by the server, `unknown` otherwise.
    pub field_manager: String,
    /// Whether an apply takes what others own.
    pub force: bool,
    /// Unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// `labelSelector` of a deletecollection.
    pub label_selector: String,
    /// `fieldSelector` of a deletecollection.
    pub field_selector: String,
    /// How many objects a deletecollection takes at most.
    pub limit: Option<usize>,
    /// The object after which a deletecollection goes on.
    pub after: Option<Key>,
    /// `propagationPolicy` given in the query.
    pub propagation: Option<Propagation>,
    /// `gracePeriodSeconds` given in the query.
    pub grace_period_seconds: Option<i64>,
}

/// The answer to a write that succeeded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201 or 202.
    pub code: u16,
    /// What is answered.
    pub shown: Shown,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// The object of an answer.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The object as it was written: its bytes can be served as they are.
    Stored(Arc<Resource>, Arc<Stored>),
    /// What was not written, or not so: an unchanged or deleted object, a `Status`, a subresource's kind; with kind and
    /// apiVersion.
    Value(Value),
}

impl Answer {
    /// `metadata.name` of what is answered; empty when it has none.
    pub fn name(&self) -> &str {
        match &self.shown {
            Shown::Stored(_, stored) => &stored.key.name,
            Shown::Value(value) => str_at(value, "metadata.name"),
        }
    }

    /// The object as it is now (or was when deleted), a `Status`, or a subresource's kind, with kind and apiVersion.
    pub fn object(&self) -> Cow<'_, Value> {
        match &self.shown {
            Shown::Stored(resource, stored) => Cow::Owned(stored.to_value(resource)),
            Shown::Value(value) => Cow::Borrowed(value),
        }
    }
}
