//! The one machine behind every resource: from path and method to a verb.

use std::sync::Arc;

use berth_api::Status;
use berth_client::Body;
use berth_pipeline::Verb;
use http::Method;

use crate::path::ObjectPath;
use crate::rest::{Target, find};
use crate::server::{Call, Handled, Inner, method_not_allowed, no_such_resource};
use crate::{component, derived, list, logs, read, respond, session, watch, write};

/// Serves a request for a collection, an object or a part of one.
pub(crate) async fn serve(server: Arc<Inner>, path: ObjectPath, call: Call, body: Body) -> Handled {
    let Some(target) = find(&server, path)? else { return Ok(respond::text(404, "404 page not found\n")) };
    let named = !target.path.name.is_empty();
    if !target.resource.is_stored() && (named || call.parts.method != Method::POST) {
        return Err(if named { no_such_resource() } else { method_not_allowed() });
    }
    if call.parts.method == Method::GET
        && let Some(from) = server.hooks.derived.get(&target.resource.id).cloned()
    {
        let is_watch = watched(&target, &call);
        return derived::serve(&server, &target, &call, from, is_watch).await;
    }
    let deprecation = target.resource.deprecation.clone();
    let mut answered = dispatch(server, target, call, body).await;
    if let (Ok(response), Some(text)) = (&mut answered, deprecation) {
        respond::warn_first(response, text);
    }
    answered
}

async fn dispatch(server: Arc<Inner>, target: Target, call: Call, body: Body) -> Handled {
    let named = !target.path.name.is_empty();
    match (call.parts.method.clone(), named, target.subresource) {
        (Method::GET, false, _) | (Method::GET, true, "") if watched(&target, &call) => {
            watch::serve(server, target, call)
        }
        (Method::GET, false, _) => list::serve(&server, &target, &call),
        (Method::GET, true, "log") => logs::serve(&server, &target, call).await,
        (Method::GET | Method::POST, true, "exec" | "attach") => session::serve(server, target, call).await,
        (method, true, "component") => component::serve(&server, &target, call, body, &method).await,
        (Method::GET, true, _) => read::serve(&server, &target, &call),
        (method, _, _) => write::serve(&server, &target, call, body, verb(&method, named)?).await,
    }
}

fn watched(target: &Target, call: &Call) -> bool {
    let named = !target.path.name.is_empty();
    target.path.watch || (!named && call.query.flag("watch"))
}

fn verb(method: &Method, named: bool) -> Result<Verb, Status> {
    match (method, named) {
        (&Method::POST, _) => Ok(Verb::Create),
        (&Method::PUT, true) => Ok(Verb::Update),
        (&Method::PATCH, true) => Ok(Verb::Patch),
        (&Method::DELETE, true) => Ok(Verb::Delete),
        (&Method::DELETE, false) => Ok(Verb::DeleteCollection),
        _ => Err(method_not_allowed()),
    }
}
