//! `/version`, `/api`, `/apis` and `/openapi`: documents made from the catalogue.

use std::collections::BTreeSet;

use berth_api::version::{GIT_VERSION, MINOR};
use berth_api::{Catalogue, discovery};
use berth_client::Body;
use berth_json::{Value, json};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::negotiate::{self, Encoding};
use crate::path::Route;
use crate::respond::{answer, full, text, value};
use crate::server::{Call, Handled, Inner, no_such_resource};

/// kubectl only looks whether an OpenAPI v2 document can be had, and reads an empty one as a document without types.
const OPENAPI_V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_V2_ACCEPT: &str = "application/com.github.proto-openapi.spec.v2";

/// `GET /version`.
pub(crate) fn version(parts: &Parts) -> Handled {
    let form = negotiate::text_form(&parts.headers)?;
    let minor = MINOR.to_string();
    Ok(value(
        200,
        form.encoding,
        &json!({
            "major": "1", "minor": minor,
            "emulationMajor": "1", "emulationMinor": minor,
            "minCompatibilityMajor": "1", "minCompatibilityMinor": (MINOR - 1).to_string(),
            "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "none", "compiler": "rustc", "platform": format!("linux/{}", go_architecture()),
        }),
    ))
}

/// What `GET /` lists: where there is something to read that is no object.
fn paths(catalogue: &Catalogue) -> BTreeSet<String> {
    let fixed = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    let mut paths: BTreeSet<String> = fixed.map(str::to_owned).into();
    for resource in catalogue.iter() {
        let (group, version) = (&resource.group, &resource.version);
        if group.is_empty() {
            paths.insert(format!("/api/{version}"));
        } else {
            paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
        }
    }
    paths
}

/// All other documents.
pub(crate) fn serve(server: &Inner, route: &Route, call: &Call) -> Handled {
    let (served, headers) = (server.cluster.catalogue(), &call.parts.headers);
    let catalogue = &served;
    match route {
        Route::Paths => {
            Ok(value(200, negotiate::plain_form(headers)?.encoding, &json!({"paths": paths(catalogue)})))
        }
        Route::CoreVersions => {
            let (form, aggregated) = negotiate::discovery_form(headers)?;
            Ok(match aggregated {
                Some(version) => aggregate(discovery::aggregated_core(catalogue, version), version, headers),
                None => value(200, form.encoding, &discovery::core_versions(address(&call.parts))),
            })
        }
        Route::Groups => {
            let (form, aggregated) = negotiate::discovery_form(headers)?;
            Ok(match aggregated {
                Some(version) => {
                    aggregate(discovery::aggregated_groups(catalogue, version), version, headers)
                }
                None => value(200, form.encoding, &discovery::groups(catalogue)),
            })
        }
        Route::Group(group) => document(call, discovery::group(catalogue, group)),
        Route::Resources { group, version } => match discovery::resources(catalogue, group, version) {
            None if group.is_empty() || discovery::group(catalogue, group).is_some() => {
                Err(no_such_resource())
            }
            found => document(call, found),
        },
        Route::OpenApiV2 => Ok(openapi_v2(call)),
        Route::OpenApiIndex => {
            let body = server.documents.of(served).index().to_string();
            Ok(answer(200, "text/plain; charset=utf-8", body))
        }
        Route::OpenApi { group, version } => Ok(match server.documents.of(served).openapi(group, version) {
            Some(document) => cached(call, document),
            None => {
                let mut absent = Response::new(full(Bytes::new()));
                *absent.status_mut() = StatusCode::NOT_FOUND;
                absent
            }
        }),
        _ => Ok(text(404, "404 page not found\n")),
    }
}

fn document(call: &Call, found: Option<Value>) -> Handled {
    let Some(found) = found else { return Ok(text(404, "404 page not found\n")) };
    Ok(value(200, negotiate::plain_form(&call.parts.headers)?.encoding, &found))
}

fn aggregate(list: Value, version: &'static str, headers: &http::HeaderMap) -> Response<Body> {
    let content_type = match version {
        "v2beta1" => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    };
    let bytes = Bytes::from(list.to_string());
    with_etag(answer(200, content_type, bytes.clone()), &bytes, headers)
}

/// A document under the hash that clients put into its address may be kept for ever.
fn cached(call: &Call, document: Bytes) -> Response<Body> {
    let response = answer(200, Encoding::Json.media_type(), document.clone());
    let mut response = with_etag(response, &document, &call.parts.headers);
    if !call.query.text("hash").is_empty() {
        let forever = HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    response
}

fn with_etag(mut response: Response<Body>, body: &[u8], request: &http::HeaderMap) -> Response<Body> {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    let tag: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let tag = format!("\"{tag}\"");
    if request.get(IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        // Clients merge this head into the kept one: it must be the same but for the code.
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = full(Bytes::new());
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn openapi_v2(call: &Call) -> Response<Body> {
    let accepted = call.parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accepted.contains(PROTOBUF_V2_ACCEPT) {
        return answer(200, OPENAPI_V2_TYPE, Bytes::new());
    }
    let document =
        json!({ "swagger": "2.0", "info": { "title": "Berth", "version": GIT_VERSION }, "paths": {} });
    answer(200, "application/json", document.to_string())
}

/// Where the client reached the server.
fn address(parts: &Parts) -> &str {
    let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    host.or_else(|| parts.uri.authority().map(|authority| authority.as_str())).unwrap_or_default()
}

/// The machine's architecture as Go calls it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_answers_whether_anything_changed() {
        let first = with_etag(answer(200, "application/json", "x"), b"x", &http::HeaderMap::new());
        let mut again = http::HeaderMap::new();
        again.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(with_etag(answer(200, "application/json", "x"), b"x", &again).status(), 304);
        assert_eq!(with_etag(answer(200, "application/json", "y"), b"y", &again).status(), 200);
    }
}
