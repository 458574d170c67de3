//! The one way every write takes, whoever makes it: authorise, default, admit, validate, commit.
//!
//! [`plan`] is pure (but for admission plugins that ask elsewhere): it turns a [`Request`] and a [`State`](berth_state::State) into a commit and an answer.
//! [`Cluster`] is the shell that makes commits durable and publishes them. No HTTP and no SQL here.

pub mod admission;
pub mod authorizer;
pub mod binding;
pub mod bootstrap;
pub mod cluster;
pub mod identity;
pub mod ids;
pub mod kinds;
pub mod plan;
pub mod ranges;
pub mod request;
pub mod token;

pub use admission::{Admission, Review};
pub use authorizer::RoleAuthorizer;
pub use binding::{Binding, plan_bindings};
pub use cluster::{
    Atomicity, Changes, Clock, Cluster, Config, Expired, Interest, StartError, Subscription, SystemClock,
};
pub use identity::{Attributes, Authorizer, Decision, Identity, PathRule, ResourceRule, Rules, Verb};
pub use ids::{Ids, RandomIds, SeededIds};
pub use kinds::Kinds;
pub use plan::{Env, Plan, plan, plan_at_once, scale_of};
pub use ranges::{NodePorts, ServiceCidr};
pub use request::{Answer, Body, FieldValidation, Options, PatchKind, Propagation, Request, Shown};
pub use token::{NoTokens, TokenClaims, TokenIssuer};
