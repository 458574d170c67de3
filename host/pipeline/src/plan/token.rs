//! `serviceaccounts/<name>/token`: a token for a service account, bound to a pod, a secret or a node if the client says so.

use std::sync::Arc;

use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_api::status::Details;
use berth_api::{Problems, Reason, Status};
use berth_json::{Value, json};
use berth_state::{Key, Stored};

use super::Plan;
use super::context::Context;
use crate::admission;
use crate::request::Request;
use crate::token::TokenClaims;

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// How long a token lives at most, whatever is asked for: nothing but the end of its account takes one back, so a leaked one
/// is to be good for a year and not for a century. The API server has an upper bound too, set by its administrator.
const LIFETIME_SECONDS_MAX: i64 = 365 * 86_400;

/// Plans a TokenRequest: nothing is written, the answer is the token.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let expected = context.expected_at_subresource("authentication.v1.TokenRequest");
    let (mut request, mut warnings) = context.decode_object(expected)?;
    let account = context.found()?;
    let asked = int_at(&request, "spec.expirationSeconds").unwrap_or(DEFAULT_SECONDS);
    check_lifetime(asked)?;
    let Request { identity, resource, namespace, name, .. } = context.request;
    let longest = admission::check_token(context.state, identity, (resource, namespace, name), &request)?;
    let seconds = asked.min(longest.unwrap_or(LIFETIME_SECONDS_MAX)).min(LIFETIME_SECONDS_MAX);
    if seconds < asked {
        warnings.push(format!("requested expiration of {asked} seconds shortened to {seconds} seconds"));
    }
    let mut claims = TokenClaims {
        id: context.env.ids.uid(),
        namespace: context.request.namespace.clone(),
        service_account: context.request.name.clone(),
        service_account_uid: account.meta().uid.to_string(),
        audiences: list_at(&request, "spec.audiences")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        pod: None,
        node: None,
        secret: None,
        issued: context.env.now,
        expires: context.env.now.plus_millis(seconds * 1000),
    };
    bind(context, &request, &mut claims)?;
    if !context.request.options.dry_run {
        let token = context.env.tokens.issue(&claims)?;
        request["status"] = json!({"token": token, "expirationTimestamp": claims.expires.rfc3339()});
    }
    request["metadata"] = json!({
        "name": claims.service_account, "namespace": claims.namespace,
        "uid": claims.service_account_uid, "creationTimestamp": claims.issued.rfc3339(),
    });
    request["spec"]["expirationSeconds"] = seconds.into();
    if request["spec"].get("boundObjectRef").is_none() {
        request["spec"]["boundObjectRef"] = Value::Null;
    }
    Ok(Plan::answering(None, 201, request, warnings))
}

fn check_lifetime(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let mut problems = Problems::default();
    problems.invalid("spec.expirationSeconds", &seconds.into(), why);
    let cause = &problems.causes[0];
    let message =
        format!("TokenRequest.authentication.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
    let details = Details {
        group: "authentication.k8s.io".to_owned(),
        kind: "TokenRequest".to_owned(),
        causes: problems.causes,
        ..Details::default()
    };
    Err(Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) })
}

/// Puts the object the token is bound to into the claims; it must be there, and be the one meant.
fn bind(context: &Context<'_, '_>, request: &Value, claims: &mut TokenClaims) -> Result<(), Status> {
    let reference = match request["spec"].get("boundObjectRef") {
        Some(reference) if !reference.is_null() => reference,
        _ => return Ok(()),
    };
    let (api_version, kind) = (str_at(reference, "apiVersion"), str_at(reference, "kind"));
    let resource = match (api_version, kind) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        ("v1", "Node") => "nodes",
        _ => {
            let slash = if api_version.contains('/') { "" } else { "/" };
            let message = format!("cannot bind token to object of type {slash}{api_version}, Kind={kind}");
            return Err(Status::bad_request(message));
        }
    };
    let object = find_bound(context, resource, reference)?;
    let named = Some((object.key.name.to_string(), object.meta().uid.to_string()));
    match resource {
        "secrets" => claims.secret = named,
        "nodes" => claims.node = named,
        _ => return bind_to_pod(context, object, named, claims),
    }
    Ok(())
}

/// Binds the token to a pod, and says on which node that is.
fn bind_to_pod(
    context: &Context<'_, '_>,
    pod: &Stored,
    named: Option<(String, String)>,
    claims: &mut TokenClaims,
) -> Result<(), Status> {
    check_pod_account(context, pod)?;
    claims.pod = named;
    let node = pod.field("spec.nodeName").filter(|node| !node.is_empty());
    claims.node = node.map(|node| {
        let stored = context.state.get(&Key::new("nodes", "", node));
        (node.to_owned(), stored.map_or_else(String::new, |node| node.meta().uid.to_string()))
    });
    Ok(())
}

fn find_bound<'a>(
    context: &Context<'a, '_>,
    resource: &str,
    reference: &Value,
) -> Result<&'a Arc<Stored>, Status> {
    let name = str_at(reference, "name");
    let namespace = if resource == "nodes" { "" } else { context.request.namespace.as_str() };
    let key = Key::new(resource, namespace, name);
    let details = |kind: &str| Details { name: name.to_owned(), kind: kind.to_owned(), ..Details::default() };
    let object = context.state.get(&key).ok_or_else(|| {
        let status = Status::new(Reason::NotFound, format!("{resource} \"{name}\" not found"));
        Status { details: Some(Box::new(details(resource))), ..status }
    })?;
    let uid = str_at(reference, "uid");
    if uid.is_empty() || *object.meta().uid == *uid {
        return Ok(object);
    }
    let message = format!(
        "Operation cannot be fulfilled on {resource} \"{name}\": the UID in the bound object reference ({uid}) does \
         not match the UID in record. The object might have been deleted and then recreated"
    );
    Err(Status { details: Some(Box::new(details(resource))), ..Status::new(Reason::Conflict, message) })
}

/// A pod's token is one of the account it runs as.
fn check_pod_account(context: &Context<'_, '_>, pod: &Stored) -> Result<(), Status> {
    let account = pod.field("spec.serviceAccountName").unwrap_or_default();
    if account == context.request.name {
        return Ok(());
    }
    let wanted = &context.request.name;
    Err(Status::bad_request(format!(
        "cannot bind token for serviceaccount \"{wanted}\" to pod running with different serviceaccount name."
    )))
}
