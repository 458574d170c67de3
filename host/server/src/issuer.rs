//! What others need to check service account tokens themselves: the discovery documents of OpenID Connect, as the API
//! server has them.

use berth_json::{Value, json};
use berth_pipeline::Identity;
use http::HeaderValue;
use http::header::CACHE_CONTROL;

use crate::jwt::ISSUER;
use crate::respond;
use crate::server::{Handled, Inner};

/// Where the issuer describes itself (OpenID Connect Discovery 1.0 §4).
const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Where its keys are.
const KEYS: &str = "/openid/v1/jwks";

/// How long the documents may be kept: the API server's hour. They change only with the signing key.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Serves the issuer's description.
pub(crate) fn configuration(server: &Inner, identity: &Identity) -> Handled {
    let document = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}{KEYS}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    answer(server, identity, CONFIGURATION, "application/json", &document)
}

/// Serves the keys that tokens are signed with (RFC 7517).
pub(crate) fn keys(server: &Inner, identity: &Identity) -> Handled {
    let document = json!({ "keys": [server.tokens.public_jwk()] });
    answer(server, identity, KEYS, "application/jwk-set+json", &document)
}

fn answer(
    server: &Inner,
    identity: &Identity,
    path: &str,
    media_type: &'static str,
    document: &Value,
) -> Handled {
    server.cluster.authorize_path(identity, "get", path)?;
    let mut response = respond::answer(200, media_type, document.to_string());
    response.headers_mut().insert(CACHE_CONTROL, CACHED);
    Ok(response)
}
