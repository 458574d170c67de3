//! From a request to a commit and an answer, purely.

mod allocate;
mod binding;
mod body;
mod collection;
mod context;
mod create;
mod delete;
mod eviction;
mod metadata;
mod options;
mod patch;
mod review;
mod scale;
mod token;
mod update;

use std::sync::Arc;

use berth_api::{Catalogue, Schema, Status, Timestamp};
use berth_state::{Change, Commit, State};

use crate::admission::Admission;
use crate::identity::{Authorizer, Verb};
use crate::ids::Ids;
use crate::ranges::{NodePorts, ServiceCidr};
use crate::request::{Answer, Request};
use crate::token::TokenIssuer;
use context::Context;

pub(crate) use binding::set_scheduled;
pub use scale::scale_of;

/// What a plan depends on besides the state and the request.
pub struct Env<'a> {
    /// The kinds that are served.
    pub catalogue: &'a Catalogue,
    /// Their types.
    pub schema: &'a Schema,
    /// Asked first.
    pub authorizer: &'a dyn Authorizer,
    /// Asked after the built-in admission, in this order.
    pub admission: &'a [Arc<dyn Admission>],
    /// Signs what `serviceaccounts/token` answers.
    pub tokens: &'a dyn TokenIssuer,
    /// The time of the request.
    pub now: Timestamp,
    /// Gives uids and ends of names.
    pub ids: &'a mut dyn Ids,
    /// Where cluster IPs come from.
    pub services: ServiceCidr,
    /// Where node ports come from.
    pub node_ports: &'a NodePorts,
}

/// What is to be done for a request.
///
/// When the commit meets a conflict, plan again on the new state: the write goes through there, or the client learns
/// why it cannot.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What must become durable before the answer is true; `None` for dry runs, and when nothing changes.
    pub commit: Option<Commit>,
    answer: Answer,
    stamp: Stamp,
}

/// Whether the answer shows the object that is written, and so gets its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Keep,
    FirstChange,
}

/// Plans one write. Pure: the same arguments give the same plan.
///
/// The order: authorise; decode and check against the schema; kind, name and namespace against the endpoint; drop what
/// a client may not set; default; admit; validate; allocate; account for the change (generation, managedFields).
/// An update that changes nothing has no commit and keeps its resourceVersion.
///
/// # Errors
/// What the client is told, coded and worded as the Kubernetes API server does.
pub fn plan(state: &State, env: &mut Env<'_>, request: &Request) -> Result<Plan, Status> {
    let mut context = Context { state, env, request };
    context.check_served()?;
    match (request.verb, request.subresource) {
        (Verb::Create, "") if &*request.resource.id == "bindings" => binding::plan_by_name(&mut context),
        (Verb::Create, "") if !request.resource.is_stored() => review::plan(&mut context),
        (Verb::Create, "") => create::plan(&mut context),
        (Verb::Create, "binding") => binding::plan(&mut context),
        (Verb::Create, "eviction") => eviction::plan(&mut context),
        (Verb::Create, "token") => token::plan(&mut context),
        (Verb::Update | Verb::Patch, "scale") => scale::plan(&mut context),
        (Verb::Update, "" | "status" | "finalize") => update::plan(&mut context),
        (Verb::Patch, "" | "status") => patch::plan(&mut context),
        (Verb::Delete, "") => delete::plan(&mut context),
        (Verb::DeleteCollection, "") => collection::plan(&mut context),
        _ => Err(context::not_allowed()),
    }
}

impl Plan {
    /// A plan whose commit writes, with its first op, the object that is answered.
    fn writing(commit: Commit, answer: Answer) -> Self {
        Self { commit: Some(commit), answer, stamp: Stamp::FirstChange }
    }

    /// A plan whose answer shows nothing that is written.
    fn answering(commit: Option<Commit>, answer: Answer) -> Self {
        Self { commit, answer, stamp: Stamp::Keep }
    }

    /// The answer, once the commit is durable as `changes` (empty when there was none).
    pub fn into_answer(mut self, changes: &[Arc<Change>]) -> Answer {
        if let (Stamp::FirstChange, Some(change)) = (self.stamp, changes.first()) {
            self.answer.object["metadata"]["resourceVersion"] = change.revision.to_string().into();
        }
        self.answer
    }
}
