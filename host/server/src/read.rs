//! GET of one object, its status or its scale.

use berth_api::status::{Cause, Details};
use berth_api::{Reason, Status};
use berth_pipeline::{Verb, scale_of};
use berth_state::{Key, Revision};

use crate::negotiate;
use crate::render::{self, Context};
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner, method_not_allowed};

/// Serves `GET …/<name>`, `…/status` and `…/scale`.
pub(crate) fn serve(server: &Inner, target: &Target, call: &Call) -> Handled {
    let resource = &target.resource;
    let readable = resource.subresource(target.subresource).is_none_or(|sub| sub.verbs.contains(&"get"));
    if !readable {
        return Err(method_not_allowed());
    }
    authorize(server, target, call, Verb::Get)?;
    let form = negotiate::object_form(&call.parts.headers)?;
    let context = Context::read(&call.query, server.cluster.now())?;
    let wanted = revision(call.query.text("resourceVersion"))?;
    let key = Key::new(resource.id.clone(), target.path.namespace.as_str(), target.path.name.as_str());
    let (current, found) = server.cluster.read(|state| (state.revision(), state.get(&key).cloned()));
    if let Some(wanted) = wanted.filter(|wanted| *wanted > current) {
        return Err(too_large(wanted, current));
    }
    let found = found.ok_or_else(|| Status::not_found(resource, &target.path.name))?;
    if let ("scale", Some(paths)) = (target.subresource, &resource.scale) {
        let scale = scale_of(paths, &found.to_value(resource));
        return render::value(200, resource, &scale, form, context);
    }
    render::stored(200, resource, &found, form, context)
}

/// Reads a resourceVersion; `None` when it is empty.
///
/// # Errors
/// 400. (The API server has 500 here for some verbs, for a client's mistake.)
pub(crate) fn revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(|number| Some(Revision(number))).map_err(|_| {
        Status::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// 504 for a revision of the future.
pub(crate) fn too_large(wanted: Revision, current: Revision) -> Status {
    let cause = Cause {
        reason: "ResourceVersionTooLarge",
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    let details = Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() };
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Timeout, message) }
}
