//! POST, PUT, PATCH and DELETE: everything that the pipeline does.

use berth_api::{Configuration, PatchType, Reason, Resource, Status};
use berth_pipeline::{Body, PatchKind, Request, Shown, Verb};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, USER_AGENT};

use crate::query::PATCH_OPTIONS;
use crate::render::{self, Context};
use crate::respond::warn;
use crate::rest::{Target, authorize};
use crate::server::{Call, Handled, Inner, method_not_allowed};
use crate::{body, heavy, list, negotiate};

/// How large a body may be: what the API server takes.
const BODY_BYTES_MAX: usize = berth_api::decode::BODY_BYTES_MAX;

/// Serves a write.
pub(crate) async fn serve(
    server: &Inner,
    target: &Target,
    call: Call,
    sent: berth_client::Body,
    verb: Verb,
) -> Handled {
    check_verb(target, verb)?;
    // Before anything of the body is read: a stranger's bodies cost nothing. The pipeline asks again, on the state that it
    // plans on.
    if let Err(status) = authorize(server, target, &call, verb) {
        body::discard(sent);
        return Err(status);
    }
    let headers = &call.parts.headers;
    let form = if is_only_posted(target) {
        negotiate::posted_form(headers)?
    } else {
        negotiate::object_form(headers)?
    };
    let context = Context::read(&call.query, server.cluster.now())?;
    let patch = match verb {
        Verb::Patch => {
            Some(Patch::of_content_type(header(headers, CONTENT_TYPE.as_str()), &target.resource)?)
        }
        _ => None,
    };
    let user_agent = header(headers, USER_AGENT.as_str());
    let mut options = match patch {
        Some(Patch::Apply) => call.query.apply_options()?,
        _ => call.query.options(options_kind(verb), user_agent)?,
    };
    let limit = options.limit.filter(|_| verb == Verb::DeleteCollection);
    if verb == Verb::DeleteCollection {
        options.after = list::continued(&call.query, target)?;
    }
    let held = match body::is_large(headers, &sent) {
        true => Some(server.fairness.large_bodies.take(&call.identity.user).await?),
        false => None,
    };
    let bytes = body::read(headers, sent, BODY_BYTES_MAX).await?;
    let request = Request {
        identity: call.identity,
        verb,
        resource: target.resource.clone(),
        subresource: target.subresource,
        namespace: target.path.namespace.clone(),
        name: target.path.name.clone(),
        body: encoded(headers, bytes, patch, verb),
        options,
    };
    let mut answer = heavy::apply(server, request, held).await?;
    if let (Some(limit), Shown::Value(list)) = (limit, &mut answer.shown)
        && list["items"].as_array().is_some_and(|items| items.len() == limit)
    {
        list::add_continue(list, &target.resource);
    }
    let mut response = render::answer(&answer, &target.resource, form, context)?;
    warn(&mut response, &answer.warnings);
    Ok(response)
}

/// Whether what is sent is no object that is kept, nor a view of one: a review, a binding, an eviction, a token request.
fn is_only_posted(target: &Target) -> bool {
    !target.resource.is_stored() || matches!(target.subresource, "binding" | "eviction" | "token")
}

/// Whether the resource, or its part, can be written like this.
fn check_verb(target: &Target, verb: Verb) -> Result<(), Status> {
    let namespaced = target.resource.scope == berth_api::Scope::Namespaced;
    if namespaced && target.path.namespace.is_empty() {
        return Err(method_not_allowed());
    }
    let allowed = match target.resource.subresource(target.subresource) {
        None => {
            target.resource.verbs.contains(&verb.as_str())
                && (verb != Verb::Create || target.path.name.is_empty())
        }
        Some(part) => part.verbs.contains(&verb.as_str()),
    };
    if allowed { Ok(()) } else { Err(method_not_allowed()) }
}

fn encoded(headers: &HeaderMap, bytes: Bytes, patch: Option<Patch>, verb: Verb) -> Body {
    match patch {
        Some(Patch::Apply) => Body::Apply(bytes),
        Some(Patch::Of(kind)) => Body::Patch(kind, bytes),
        None if bytes.is_empty() && matches!(verb, Verb::Delete | Verb::DeleteCollection) => Body::None,
        None => Body::Encoded { media_type: header(headers, CONTENT_TYPE.as_str()).to_owned(), bytes },
    }
}

/// What a PATCH carries.
#[derive(Clone, Copy, PartialEq)]
enum Patch {
    /// A patch of that kind.
    Of(PatchKind),
    /// The configuration of a server-side apply.
    Apply,
}

impl Patch {
    fn of_content_type(content_type: &str, resource: &Resource) -> Result<Self, Status> {
        if content_type.split(';').next().unwrap_or_default().trim() == Configuration::MEDIA_TYPE {
            return Ok(Self::Apply);
        }
        Ok(Self::Of(match PatchType::of_content_type(content_type)? {
            PatchType::Json => PatchKind::Json,
            PatchType::Merge => PatchKind::Merge,
            PatchType::StrategicMerge if resource.is_custom => return Err(no_strategic_merge()),
            PatchType::StrategicMerge => PatchKind::Strategic,
        }))
    }
}

/// 415: custom kinds have no keys by which their lists could be merged.
fn no_strategic_merge() -> Status {
    let message = "the body of the request was in an unknown format - accepted media types include: \
                   application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    Status::new(Reason::UnsupportedMediaType, message)
}

/// How the API server's messages call a write's options.
fn options_kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Update => "UpdateOptions",
        Verb::Patch => PATCH_OPTIONS,
        Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
        _ => "CreateOptions",
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
