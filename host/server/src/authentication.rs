//! Who asks: a client certificate, a bearer token, or nobody.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_api::{Reason, Status};
use berth_cluster::Cluster;
use berth_pipeline::Identity;
use berth_pipeline::identity::extra;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::jwt::{ISSUER, TokenKey};
use crate::websocket;

const AUTHENTICATED: &str = "system:authenticated";

/// On whose behalf a request came in, before its headers are looked at.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Over the network; the identity of a client certificate that was checked against the authority, if any.
    Network(Option<Arc<Identity>>),
    /// From within the process.
    Process(Arc<Identity>),
}

/// The identity of a client certificate: the common name is the user, organizations are the groups.
///
/// `None` when it names nobody: such a client counts as one without a certificate.
pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Arc<Identity>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
    let mut groups: Vec<String> = organizations.map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let id: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = [(extra::CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={id}")])].into();
    Some(Arc::new(Identity { user, groups, extra, ..Identity::default() }))
}

/// The identity behind a request; `None` for nobody.
///
/// # Errors
/// 401 for a token that is not good: a client that shows one does not want to be nobody.
pub(crate) fn authenticate(
    cluster: &Cluster,
    tokens: &TokenKey,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, Status> {
    match caller {
        Caller::Process(identity) | Caller::Network(Some(identity)) => Ok(Some(identity.clone())),
        Caller::Network(None) => match bearer(headers) {
            None => Ok(None),
            Some(token) => of_token(cluster, tokens, &token).map(Some),
        },
    }
}

/// 401, as the API server words it.
pub(crate) fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        // What cannot be decoded is a token as well, and no good one.
        let decoded = URL_SAFE_NO_PAD.decode(websocket::encoded_token(headers)?).unwrap_or_default();
        return Some(String::from_utf8(decoded).unwrap_or_default().into());
    };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
}

fn of_token(cluster: &Cluster, tokens: &TokenKey, token: &str) -> Result<Arc<Identity>, Status> {
    let now = cluster.now();
    let claims = tokens.check(token, &[ISSUER], now).map_err(|error| {
        tracing::debug!(%error, "a bearer token was refused");
        unauthorized()
    })?;
    if !cluster.read(|state| claims.still_hold(state, now)) {
        tracing::debug!(account = claims.service_account, "a token outlived what it is bound to");
        return Err(unauthorized());
    }
    Ok(Arc::new(claims.identity()))
}
