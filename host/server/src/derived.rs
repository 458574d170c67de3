//! GET of resources whose objects are stored nowhere: each object is made, when somebody asks, of one of another resource.

use std::sync::Arc;

use berth_api::status::Details;
use berth_api::{Reason, Resource, Status};
use berth_pipeline::Verb;
use berth_state::{Key, Revision, Stored};

use crate::hooks::Derived;
use crate::list::{self, Selection};
use crate::negotiate;
use crate::query::{Query, VersionMatch};
use crate::read::{revision, too_large};
use crate::render::{self, Context};
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner};

/// From how many objects on a list is made beside the async threads: these take some milliseconds.
const APART_MIN: usize = 500;

/// Serves a collection, or the object that the path names.
pub(crate) async fn serve(
    server: &Inner,
    target: &Target,
    call: &Call,
    from: Arc<dyn Derived>,
    watch: bool,
) -> Handled {
    let resource = &target.resource;
    let is_named = !target.path.name.is_empty();
    let verb = match (watch, is_named) {
        (true, _) => Verb::Watch,
        (false, true) => Verb::Get,
        (false, false) => Verb::List,
    };
    authorize(server, target, call, verb)?;
    if watch {
        return Err(not_watched(resource));
    }
    let form = negotiate::object_form(&call.parts.headers)?;
    let context = Context::read(&call.query, server.cluster.now())?;
    let current = server.cluster.read(|state| state.revision());
    check_version(&call.query, is_named, current)?;
    let (source, namespace) = (from.source(), target.path.namespace.as_str());
    if is_named {
        let key = Key::new(source, namespace, target.path.name.as_str());
        let stored = server.cluster.read(|state| state.get(&key).cloned());
        let object = stored.and_then(|stored| from.object(&stored, context.now));
        let object = object.ok_or_else(|| Status::not_found(resource, &target.path.name))?;
        return render::value(200, resource, &object, form, context);
    }
    let selection = Selection::read(&call.query, resource)?;
    // A list of all at once is what a limit allows as well.
    call.query.limit()?;
    if !call.query.text("continue").is_empty() {
        return Err(Status::bad_request("invalid continue token: this list has no pages, none was given"));
    }
    let sources: Vec<Arc<Stored>> = server.cluster.read(|state| {
        state.list(source, namespace).filter(|stored| selection.matches(stored)).cloned().collect()
    });
    let resource = resource.clone();
    let is_short = sources.len() < APART_MIN;
    let answer = move || {
        let objects = sources.iter().filter_map(|stored| from.object(stored, context.now)).collect();
        render::values(&resource, objects, form, context)
    };
    if is_short {
        return answer();
    }
    let answered = server.cluster.executor().blocking(answer).await;
    answered.map_err(|_| Status::internal("an error on the server has prevented the list from being made"))?
}

/// What is made now is as new as anything can be wanted; what was then is not known any more.
fn check_version(query: &Query, is_named: bool, current: Revision) -> Result<(), Status> {
    if !is_named {
        list::check_options(query)?;
    }
    match revision(query.text("resourceVersion"))? {
        Some(wanted) if wanted > current => Err(too_large(wanted, current)),
        _ if matches!(query.version_match(), Ok(VersionMatch::Exact)) => {
            let message = "resourceVersionMatch: these objects are made when they are asked for and have no versions, \
                           leave it out";
            Err(Status::bad_request(message))
        }
        _ => Ok(()),
    }
}

/// 405, as the API server words it for what can be listed and not watched.
fn not_watched(resource: &Resource) -> Status {
    let message = format!("watch is not supported on resources of kind {:?}", resource.qualified());
    let details =
        Details { group: resource.group.clone(), kind: resource.plural.clone(), ..Details::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::MethodNotAllowed, message) }
}
