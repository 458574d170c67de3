//! What a request carries, decoded and checked.

use berth_api::decode::{self, Decoded, Expected};
use berth_api::{MediaType, Schema, Status};
use berth_json::Value;

use super::context::Context;
use crate::request::Body;

impl Context<'_, '_> {
    /// The object in the body, of the kind the endpoint takes, and warnings about fields it does not have.
    pub(super) fn decode_object(&self, expected: Expected<'_>) -> Result<(Value, Vec<String>), Status> {
        let refused = |why: &str| decode::cannot_handle(expected, why);
        let schema = self.schema_of(expected);
        self.check_custom_type(expected)?;
        let decoded: Decoded = match &self.request.body {
            Body::Encoded { media_type, bytes } => {
                decode::decode(schema, expected, MediaType::of_content_type(media_type)?, bytes)?
            }
            Body::None => decode::decode(schema, expected, MediaType::Json, b"")?,
            Body::Object(value) => {
                decode::check(schema, expected, value.clone()).map_err(|why| refused(&why))?
            }
            Body::Patch(..) | Body::Apply(_) => {
                return Err(Status::bad_request("a patch came where an object is wanted"));
            }
        };
        let decoded = self.prune(expected, decoded);
        decoded.enforce(self.request.options.field_validation).map_err(|why| refused(&why))
    }

    /// 400 as the API server words it for custom kinds, whose types it does not know when it decodes.
    fn check_custom_type(&self, expected: Expected<'_>) -> Result<(), Status> {
        let (true, Body::Encoded { media_type, bytes }) =
            (self.request.resource.is_custom, &self.request.body)
        else {
            return Ok(());
        };
        let media = MediaType::of_content_type(media_type)?;
        let Ok(sent) = decode::read_type_meta(media, bytes) else { return Ok(()) };
        let own = expected.api_version();
        let (what, sent, own) = if !sent.api_version.is_empty() && sent.api_version != own {
            ("API version", sent.api_version, own)
        } else if !sent.kind.is_empty() && sent.kind != expected.kind {
            ("kind", sent.kind, expected.kind.to_owned())
        } else {
            return Ok(());
        };
        Err(Status::bad_request(format!(
            "the {what} in the data ({sent}) does not match the expected {what} ({own})"
        )))
    }

    /// The types of what travels here: the resource's own, or those of this build for what goes to its subresources.
    pub(super) fn schema_of(&self, expected: Expected<'_>) -> &Schema {
        if self.is_own(expected) { &self.request.resource.schema } else { self.env.schema }
    }

    /// The type that tells who owns which fields of what travels here.
    pub(super) fn fields_type_of<'a>(&'a self, expected: Expected<'a>) -> &'a str {
        if self.is_own(expected) { &self.request.resource.fields_type } else { expected.schema_type }
    }

    /// What only the kind itself knows to be unknown goes as well.
    pub(super) fn prune(&self, expected: Expected<'_>, mut decoded: Decoded) -> Decoded {
        if self.is_own(expected) {
            decoded.findings.extend(self.request.resource.behaviour.prune(&mut decoded.value));
        }
        decoded
    }

    fn is_own(&self, expected: Expected<'_>) -> bool {
        expected == Expected::of(&self.request.resource)
    }

    /// The kind that travels at the request's subresource.
    pub(super) fn expected_at_subresource(&self, schema_type: &'static str) -> Expected<'_> {
        let found = self.request.resource.subresource(self.request.subresource);
        let (group, version, kind) = found.map_or(("", "", ""), |subresource| subresource.kind());
        Expected { group, version, kind, schema_type }
    }
}
