//! `DeleteOptions`, from the body and the query.

use berth_api::decode::{self, Expected, TypeMeta};
use berth_api::kinds::view::{int_at, list_at, str_at};
use berth_api::status::{Cause, Details};
use berth_api::{MediaType, Reason, Status};
use berth_json::{Value, json};

use super::context::Context;
use crate::request::{Body, Propagation};

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct DeleteOptions {
    pub(super) dry_run: bool,
    pub(super) grace_seconds: Option<i64>,
    pub(super) propagation: Option<Propagation>,
    /// The uid the object must have; empty: any.
    pub(super) uid: String,
    /// The version the object must have; empty: any.
    pub(super) resource_version: String,
}

impl Context<'_, '_> {
    /// The options of a delete: those in the body, and from the query what the body leaves open.
    pub(super) fn delete_options(&self) -> Result<DeleteOptions, Status> {
        self.delete_options_of(&self.decode_delete_options()?)
    }

    /// The options in `body`, and from the query what they leave open.
    pub(super) fn delete_options_of(&self, body: &Value) -> Result<DeleteOptions, Status> {
        let query = &self.request.options;
        let dry_run = dry_run(body)?;
        Ok(DeleteOptions {
            dry_run: query.dry_run || dry_run,
            grace_seconds: int_at(body, "gracePeriodSeconds").or(query.grace_period_seconds),
            propagation: propagation(body)?.or(query.propagation),
            uid: str_at(body, "preconditions.uid").to_owned(),
            resource_version: str_at(body, "preconditions.resourceVersion").to_owned(),
        })
    }

    /// Unknown fields in options are dropped, as the API server does.
    fn decode_delete_options(&self) -> Result<Value, Status> {
        let schema = self.env.schema;
        match &self.request.body {
            Body::None => Ok(json!({})),
            Body::Encoded { bytes, .. } if bytes.is_empty() => Ok(json!({})),
            Body::Encoded { media_type, bytes } => {
                let media = MediaType::of_content_type(media_type)?;
                // DeleteOptions are registered in every group: clients send them as of the resource's own.
                let sent = decode::read_type_meta(media, bytes)?;
                if !matches!(&*sent.kind, "" | "DeleteOptions") {
                    let message = format!(
                        "no kind \"{}\" is registered for version \"{}\"",
                        sent.kind, sent.api_version
                    );
                    return Err(Status::bad_request(message));
                }
                let version = delete_options_version(&sent);
                Ok(decode::decode(schema, expected(&version), media, bytes)?.value)
            }
            Body::Object(value) => {
                let checked =
                    decode::check(schema, expected(&(String::new(), "v1".to_owned())), value.clone());
                checked.map(|decoded| decoded.value).map_err(Status::bad_request)
            }
            Body::Patch(..) | Body::Apply(_) => {
                Err(Status::bad_request("a patch came where delete options are wanted"))
            }
        }
    }
}

fn delete_options_version(sent: &TypeMeta) -> (String, String) {
    let default = || (String::new(), "v1".to_owned());
    if sent.kind != "DeleteOptions" {
        return default();
    }
    match sent.api_version.split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => default(),
    }
}

fn expected((group, version): &(String, String)) -> Expected<'_> {
    Expected { group, version, kind: "DeleteOptions", schema_type: "meta.v1.DeleteOptions" }
}

fn dry_run(body: &Value) -> Result<bool, Status> {
    let stages = list_at(body, "dryRun");
    if stages.iter().any(|stage| stage != "All") {
        let value = Value::from(stages);
        let message = format!("Unsupported value: {value}: supported values: \"All\"");
        return Err(invalid("FieldValueNotSupported", "dryRun", message));
    }
    Ok(!stages.is_empty())
}

fn propagation(body: &Value) -> Result<Option<Propagation>, Status> {
    let orphan = body.get("orphanDependents").and_then(Value::as_bool);
    let policy = match str_at(body, "propagationPolicy") {
        "" => {
            return Ok(
                orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background })
            );
        }
        policy => policy,
    };
    let word = Value::from(policy);
    if orphan.is_some() {
        let message =
            format!("Invalid value: {word}: orphanDependents and deletionPropagation cannot be both set");
        return Err(invalid("FieldValueInvalid", "propagationPolicy", message));
    }
    match policy {
        "Foreground" => Ok(Some(Propagation::Foreground)),
        "Background" => Ok(Some(Propagation::Background)),
        "Orphan" => Ok(Some(Propagation::Orphan)),
        _ => {
            let supported = r#""Foreground", "Background", "Orphan", "nil""#;
            let message = format!("Unsupported value: {word}: supported values: {supported}");
            Err(invalid("FieldValueNotSupported", "propagationPolicy", message))
        }
    }
}

fn invalid(reason: &'static str, field: &str, message: String) -> Status {
    let text = format!("DeleteOptions.meta.k8s.io \"\" is invalid: {field}: {message}");
    let details = Details {
        group: "meta.k8s.io".to_owned(),
        kind: "DeleteOptions".to_owned(),
        causes: vec![Cause { reason, message, field: field.to_owned() }],
        ..Details::default()
    };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, text) }
}
