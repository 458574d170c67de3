//! From a request to a commit and an answer, purely.

mod allocate;
mod apply;
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
mod size;
mod token;
mod update;

use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use berth_api::{Catalogue, Resource, Schema, Status, Timestamp};
use berth_json::Value;
use berth_state::{Change, Commit, State};

use crate::admission::Admission;
use crate::identity::{Authorizer, Verb};
use crate::ids::Ids;
use crate::ranges::{NodePorts, ServiceCidr};
use crate::request::{Answer, Body, Request, Shown};
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
    code: u16,
    warnings: Vec<String>,
    shown: Outcome,
}

/// What a plan's answer shows.
#[derive(Clone, Debug)]
enum Outcome {
    /// The object that the commit's first op writes.
    Written(Arc<Resource>),
    /// Another view of that object: it gets the same resourceVersion.
    View(Value),
    /// Nothing that is written.
    Other(Value),
}

/// Plans one write. Pure but for the configured admission, which may take its time: the same arguments give the same plan.
///
/// The order: authorise; decode and check against the schema; kind, name and namespace against the endpoint; drop what
/// a client may not set; default; admit; validate; allocate; account for the change (generation, managedFields).
/// An update that changes nothing has no commit and keeps its resourceVersion.
///
/// # Errors
/// What the client is told, coded and worded as the Kubernetes API server does.
pub async fn plan(state: &State, env: &mut Env<'_>, request: &Request) -> Result<Plan, Status> {
    let mut context = Context { state, env, request };
    context.check_served()?;
    match (request.verb, request.subresource) {
        (Verb::Create, "") if &*request.resource.id == "bindings" => binding::plan_by_name(&mut context),
        (Verb::Create, "") if !request.resource.is_stored() => review::plan(&mut context),
        (Verb::Create, "") => create::plan(&mut context).await,
        (Verb::Create, "binding") => binding::plan(&mut context),
        (Verb::Create, "eviction") => eviction::plan(&mut context).await,
        (Verb::Create, "token") => token::plan(&mut context),
        (Verb::Update | Verb::Patch, "scale") => scale::plan(&mut context).await,
        (Verb::Update, "" | "status" | "finalize") => update::plan(&mut context).await,
        (Verb::Patch, "" | "status") => match request.body {
            Body::Apply(_) => apply::plan(&mut context).await,
            _ => patch::plan(&mut context).await,
        },
        (Verb::Delete, "") => delete::plan(&mut context).await,
        (Verb::DeleteCollection, "") => collection::plan(&mut context).await,
        _ => Err(context::not_allowed()),
    }
}

/// [`plan`] where no admission waits for anything: in simulations and tests.
///
/// # Errors
/// As [`plan`].
///
/// # Panics
/// When an admission plugin does wait.
pub fn plan_at_once(state: &State, env: &mut Env<'_>, request: &Request) -> Result<Plan, Status> {
    match pin!(plan(state, env, request)).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(planned) => planned,
        Poll::Pending => panic!("an admission plugin waits where nothing is to be waited for"),
    }
}

impl Plan {
    /// A plan whose answer shows nothing that is written.
    fn answering(commit: Option<Commit>, code: u16, object: Value, warnings: Vec<String>) -> Self {
        Self { commit, code, warnings, shown: Outcome::Other(object) }
    }

    /// The answer, once the commit is durable as `changes`, in the order of its ops (empty when there was none).
    ///
    /// # Panics
    /// When the plan had a commit that writes what is answered, and `changes` do not begin with that write.
    pub fn into_answer(self, changes: &[Arc<Change>]) -> Answer {
        let shown = match self.shown {
            Outcome::Written(resource) => {
                let written = changes.first().and_then(|change| change.new.clone());
                Shown::Stored(resource, written.expect("the first op writes what is answered"))
            }
            Outcome::View(mut value) => {
                if let Some(change) = changes.first() {
                    value["metadata"]["resourceVersion"] = change.revision.to_string().into();
                }
                Shown::Value(value)
            }
            Outcome::Other(value) => Shown::Value(value),
        };
        Answer { code: self.code, shown, warnings: self.warnings }
    }
}
