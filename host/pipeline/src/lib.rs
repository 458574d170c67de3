//! The one way every write takes, whoever makes it: authorise, default, admit, validate, commit.
//!
//! [`plan`](plan::plan) is pure: it turns a [`Request`] and a [`State`](berth_state::State) into a commit and an
//! answer. [`Cluster`](cluster::Cluster) is the shell that makes commits durable and publishes them. No HTTP and no
//! SQL here.

pub mod identity;
pub mod request;

pub use identity::{Attributes, Authorizer, Decision, Identity, Verb};
pub use request::{Answer, Body, FieldValidation, Options, PatchKind, Propagation, Request};
