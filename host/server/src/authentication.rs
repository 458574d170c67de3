//! Who asks: a client certificate, a bearer token, or nobody.

use std::sync::Arc;

use berth_api::{Reason, Status};
use berth_pipeline::{Cluster, Identity, TokenClaims};
use berth_state::{Key, State};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::jwt::TokenKey;

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
    Some(Arc::new(Identity { user, uid: String::new(), groups }))
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
            Some(token) => of_token(cluster, tokens, token).map(Some),
        },
    }
}

/// 401, as the API server words it.
pub(crate) fn unauthorized() -> Status {
    Status::new(Reason::Unauthorized, "Unauthorized")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn of_token(cluster: &Cluster, tokens: &TokenKey, token: &str) -> Result<Arc<Identity>, Status> {
    let claims = tokens.verify(token, cluster.now()).map_err(|error| {
        tracing::debug!(%error, "a bearer token was refused");
        unauthorized()
    })?;
    if !cluster.read(|state| still_there(state, &claims)) {
        tracing::debug!(account = claims.service_account, "a token outlived what it is bound to");
        return Err(unauthorized());
    }
    Ok(Arc::new(of_claims(&claims)))
}

fn of_claims(claims: &TokenClaims) -> Identity {
    let (namespace, account) = (&claims.namespace, &claims.service_account);
    Identity {
        user: format!("system:serviceaccount:{namespace}:{account}"),
        uid: claims.service_account_uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            AUTHENTICATED.to_owned(),
        ],
    }
}

/// Whether the account and all that the token is bound to are still the very same objects.
fn still_there(state: &State, claims: &TokenClaims) -> bool {
    let is = |resource: &str, namespace: &str, name: &str, uid: &str| {
        state.get(&Key::new(resource, namespace, name)).is_some_and(|stored| *stored.meta().uid == *uid)
    };
    let namespace = claims.namespace.as_str();
    let bound = |resource: &str, namespace: &str, to: &Option<(String, String)>| {
        to.as_ref().is_none_or(|(name, uid)| is(resource, namespace, name, uid))
    };
    is("serviceaccounts", namespace, &claims.service_account, &claims.service_account_uid)
        && bound("pods", namespace, &claims.pod)
        && bound("secrets", namespace, &claims.secret)
        && bound("nodes", "", &claims.node)
}
