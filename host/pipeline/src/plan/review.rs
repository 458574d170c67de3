//! Reviews: who somebody is and what he may do, answered from the authorizer and never stored.

use std::collections::BTreeMap;

use berth_api::decode::{Expected, complete};
use berth_api::kinds::meta::as_go;
use berth_api::kinds::view::{at, list_at, str_at};
use berth_api::select::{FieldOperator, FieldRequirement};
use berth_api::status::Details;
use berth_api::{FieldSelector, Problems, Reason, Resource, Status};
use berth_json::{Map, Value, json};

use super::Plan;
use super::context::Context;
use super::metadata::metadata_of;
use crate::identity::{Attributes, Decision, Identity, PathRule, ResourceRule, Verb};

/// Plans the answer to a review.
pub(super) fn plan(context: &mut Context<'_, '_>) -> Result<Plan, Status> {
    context.authorize()?;
    let resource = context.request.resource.clone();
    let (mut review, warnings) = context.decode_object(Expected::of(&resource))?;
    context.place_in_namespace(&mut review)?;
    let status = match resource.kind.as_str() {
        "SelfSubjectReview" => {
            let now = context.env.now.rfc3339();
            metadata_of(&mut review).insert("creationTimestamp".to_owned(), now.into());
            json!({ "userInfo": user_info(&context.request.identity) })
        }
        "TokenReview" => token(context, &review)?,
        "SelfSubjectRulesReview" => rules(context, &review)?,
        kind => access(context, kind, &review)?,
    };
    review["status"] = status;
    complete(&resource.schema, &resource.schema_type, &mut review);
    Ok(Plan::answering(None, 201, review, warnings))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "username": identity.user, "uid": identity.uid, "groups": identity.groups });
    if !identity.extra.is_empty() {
        info["extra"] = identity.extra.iter().map(|(key, values)| (key.clone(), json!(values))).collect();
    }
    info
}

fn token(context: &Context<'_, '_>, review: &Value) -> Result<Value, Status> {
    let token = str_at(review, "spec.token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = texts(review, "spec.audiences");
    let verified = context.env.tokens.verify(token, &audiences, context.env.now);
    Ok(match verified {
        Ok(claims) if claims.still_hold(context.state, context.env.now) => json!({
            "authenticated": true, "user": user_info(&claims.identity()), "audiences": claims.audiences,
        }),
        Ok(_) => json!({ "error": "the token outlived what it is bound to" }),
        Err(why) => json!({ "error": why }),
    })
}

fn rules(context: &Context<'_, '_>, review: &Value) -> Result<Value, Status> {
    let namespace = str_at(review, "spec.namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = context.env.authorizer.rules(&context.request.identity, namespace);
    let of_resource = |rule: &ResourceRule| json!({ "verbs": rule.verbs, "apiGroups": [rule.group], "resources": rule.resources });
    let of_path = |rule: &PathRule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.paths });
    Ok(json!({
        "resourceRules": rules.resources.iter().map(of_resource).collect::<Vec<_>>(),
        "nonResourceRules": rules.paths.iter().map(of_path).collect::<Vec<_>>(),
        "incomplete": !rules.incomplete.is_empty(),
        "evaluationError": rules.incomplete,
    }))
}

fn access(context: &Context<'_, '_>, kind: &str, review: &Value) -> Result<Value, Status> {
    let mut problems = Problems::default();
    check_attributes(review, &mut problems);
    let is_about_self = kind == "SelfSubjectAccessReview";
    if !is_about_self && str_at(review, "spec.user").is_empty() && list_at(review, "spec.groups").is_empty() {
        problems.invalid("spec.user", &"".into(), "at least one of user or group must be specified");
    }
    if kind == "LocalSubjectAccessReview" {
        check_namespace(&context.request.namespace, review, &mut problems);
    }
    if !problems.is_empty() {
        return Err(invalid(&context.request.resource, problems));
    }
    let other;
    let identity = if is_about_self {
        &*context.request.identity
    } else {
        other = Identity {
            user: str_at(review, "spec.user").to_owned(),
            uid: str_at(review, "spec.uid").to_owned(),
            groups: texts(review, "spec.groups"),
            extra: extra(review),
        };
        &other
    };
    Ok(match decide(context, identity, &review["spec"]) {
        Decision::Allow => json!({ "allowed": true }),
        Decision::Deny(reason) => json!({ "allowed": false, "reason": reason }),
    })
}

fn check_attributes(review: &Value, problems: &mut Problems) {
    let (resource, path) = (at(review, "spec.resourceAttributes"), at(review, "spec.nonResourceAttributes"));
    if resource.is_some() == path.is_some() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        problems.invalid("spec", &path.map_or(Value::Null, as_go), detail);
    }
}

fn check_namespace(namespace: &str, review: &Value, problems: &mut Problems) {
    if at(review, "spec.nonResourceAttributes").is_some() {
        let detail = "disallowed on this kind of request";
        problems.invalid("spec.nonResourceAttributes", &review["spec"]["nonResourceAttributes"], detail);
    }
    let asked = str_at(review, "spec.resourceAttributes.namespace");
    if asked != namespace {
        let field = "spec.resourceAttributes.namespace";
        problems.invalid(field, &asked.into(), "must match metadata.namespace");
    }
}

/// The API server leaves the kind out of these answers.
fn invalid(resource: &Resource, problems: Problems) -> Status {
    let message = format!(".{} \"\" is invalid: {}", resource.group, problems.text());
    let details = Details { group: resource.group.clone(), causes: problems.causes, ..Details::default() };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) }
}

fn decide(context: &Context<'_, '_>, identity: &Identity, spec: &Value) -> Decision {
    let authorizer = context.env.authorizer;
    let Some(asked) = spec.get("resourceAttributes").and_then(Value::as_object) else {
        let path = &spec["nonResourceAttributes"];
        return authorizer.authorize_path(identity, str_at(path, "verb"), str_at(path, "path"));
    };
    let Some((verb, resource)) = served(context, asked) else {
        return authorizer.authorize_unserved(identity);
    };
    let [subresource, namespace, name] = ["subresource", "namespace", "name"].map(|key| text(asked, key));
    let fields = field_selector(asked.get("fieldSelector").unwrap_or(&Value::Null));
    let fields = fields.as_ref();
    let asked = Attributes { identity, verb, resource, subresource, namespace, name, fields };
    authorizer.authorize(context.state, &asked)
}

/// The endpoint that a review asks about, if it is one that is served.
fn served<'c>(context: &'c Context<'_, '_>, asked: &Map) -> Option<(Verb, &'c Resource)> {
    let (group, plural) = (text(asked, "group"), text(asked, "resource"));
    let found = context.env.catalogue.iter().find(|r| r.group == group && r.plural == plural)?;
    Some((Verb::parse(text(asked, "verb"))?, found))
}

/// The field selector of a list that a review asks about. Requirements that are no simple equality are left out: they only
/// ask for less.
fn field_selector(asked: &Value) -> Option<FieldSelector> {
    let raw = str_at(asked, "rawSelector");
    if !raw.is_empty() {
        return FieldSelector::parse(raw).ok();
    }
    let equality =
        |requirement: &Value| match (str_at(requirement, "operator"), list_at(requirement, "values")) {
            ("In", [Value::String(value)]) => Some(FieldRequirement {
                field: str_at(requirement, "key").to_owned(),
                operator: FieldOperator::Equals,
                value: value.to_string(),
            }),
            _ => None,
        };
    let requirements: Vec<_> = list_at(asked, "requirements").iter().filter_map(equality).collect();
    (!requirements.is_empty()).then_some(FieldSelector { requirements })
}

fn text<'v>(fields: &'v Map, key: &str) -> &'v str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn extra(review: &Value) -> BTreeMap<String, Vec<String>> {
    let given = at(review, "spec.extra").and_then(Value::as_object).into_iter().flatten();
    let values = |list: &Value| {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    given.map(|(key, list)| (key.to_string(), values(list))).collect()
}

fn texts(object: &Value, path: &str) -> Vec<String> {
    list_at(object, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
