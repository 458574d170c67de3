//! What a request carries, decoded and checked.

use berth_api::decode::{self, Decoded, Expected};
use berth_api::{MediaType, Status};
use berth_json::Value;

use super::context::Context;
use crate::request::Body;

impl Context<'_, '_> {
    /// The object in the body, of the kind the endpoint takes, and warnings about fields it does not have.
    pub(super) fn decode_object(&self, expected: Expected<'_>) -> Result<(Value, Vec<String>), Status> {
        let refused = |why: &str| decode::cannot_handle(expected, why);
        let decoded: Decoded = match &self.request.body {
            Body::Encoded { media_type, bytes } => {
                decode::decode(self.env.schema, expected, MediaType::of_content_type(media_type)?, bytes)?
            }
            Body::None => decode::decode(self.env.schema, expected, MediaType::Json, b"")?,
            Body::Object(value) => {
                decode::check(self.env.schema, expected, value.clone()).map_err(|why| refused(&why))?
            }
            Body::Patch(..) => return Err(Status::bad_request("a patch came where an object is wanted")),
        };
        decoded.enforce(self.request.options.field_validation).map_err(|why| refused(&why))
    }

    /// The kind that travels at the request's subresource.
    pub(super) fn expected_at_subresource(&self, schema_type: &'static str) -> Expected<'_> {
        let found = self.request.resource.subresource(self.request.subresource);
        let (group, version, kind) = found.map_or(("", "", ""), |subresource| subresource.kind);
        Expected { group, version, kind, schema_type }
    }
}
