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
        let decoded: Decoded = match &self.request.body {
            Body::Encoded { media_type, bytes } => {
                let media = MediaType::of_content_type(media_type)?;
                decode::decode(schema, expected, media, bytes)
                    .map_err(|status| self.mismatch(expected, media, bytes).unwrap_or(status))?
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

    /// What the API server says of a body of another kind or version where a custom kind is wanted: it does not know their
    /// types when it decodes.
    fn mismatch(&self, expected: Expected<'_>, media: MediaType, body: &[u8]) -> Option<Status> {
        let sent = decode::read_type_meta(media, body).ok().filter(|_| self.request.resource.is_custom)?;
        let own = expected.api_version();
        let (what, sent, own) = if !sent.api_version.is_empty() && sent.api_version != own {
            ("API version", sent.api_version, own)
        } else if !sent.kind.is_empty() && sent.kind != expected.kind {
            ("kind", sent.kind, expected.kind.to_owned())
        } else {
            return None;
        };
        let message = format!("the {what} in the data ({sent}) does not match the expected {what} ({own})");
        Some(Status::bad_request(message))
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
