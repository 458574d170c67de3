//! Tokens of service accounts: what is asked for is checked here, signing is the server's.

use std::collections::BTreeMap;

use berth_api::{Status, Timestamp};
use berth_state::{Key, State};

use crate::identity::{Identity, extra};

/// How long a token outlives the mark of deletion on what it is bound to: a pod that ends in its grace period still has
/// something to say.
const DELETED_LEEWAY_MS: i64 = 60_000;

/// What a service account's token says (the claims of a projected token, as Kubernetes issues them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// Tells this token from all others (`jti`); empty for one that was issued before berth gave them.
    pub id: String,
    /// Namespace of the service account, and of the object the token is bound to.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// uid of the service account.
    pub service_account_uid: String,
    /// For whom the token is; empty: for this API server.
    pub audiences: Vec<String>,
    /// The pod (name, uid) with which the token dies.
    pub pod: Option<(String, String)>,
    /// The node (name, uid) that the pod is on; without a pod, the node with which the token dies.
    pub node: Option<(String, String)>,
    /// The secret (name, uid) with which the token dies.
    pub secret: Option<(String, String)>,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

impl TokenClaims {
    /// Who shows a token with these claims.
    pub fn identity(&self) -> Identity {
        let Self { namespace, service_account, .. } = self;
        Identity {
            user: format!("system:serviceaccount:{namespace}:{service_account}"),
            uid: self.service_account_uid.clone(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            extra: self.extra(),
        }
    }

    fn extra(&self) -> BTreeMap<String, Vec<String>> {
        let name = |to: &Option<(String, String)>| to.as_ref().map(|(name, _)| name.clone());
        let uid = |to: &Option<(String, String)>| to.as_ref().map(|(_, uid)| uid.clone());
        let known = [
            (extra::CREDENTIAL_ID, Some(format!("JTI={}", self.id)).filter(|_| !self.id.is_empty())),
            (extra::POD_NAME, name(&self.pod)),
            (extra::POD_UID, uid(&self.pod)),
            (extra::NODE_NAME, name(&self.node)),
            (extra::NODE_UID, uid(&self.node).filter(|uid| !uid.is_empty())),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), vec![value?]))).collect()
    }

    /// Whether the account and all that the token is bound to are still the very same objects, and not long on their way
    /// out. The node of a pod may have made way for another of its name: the pod is what counts.
    pub fn still_hold(&self, state: &State, now: Timestamp) -> bool {
        let is = |resource: &str, namespace: &str, name: &str, uid: &str| {
            state.get(&Key::new(resource, namespace, name)).is_some_and(|stored| {
                let going =
                    stored.meta().deletion_timestamp.map(|since| since.plus_millis(DELETED_LEEWAY_MS));
                *stored.meta().uid == *uid && going.is_none_or(|until| now < until)
            })
        };
        let namespace = self.namespace.as_str();
        let bound = |resource: &str, namespace: &str, to: &Option<(String, String)>| {
            to.as_ref().is_none_or(|(name, uid)| is(resource, namespace, name, uid))
        };
        is("serviceaccounts", namespace, &self.service_account, &self.service_account_uid)
            && bound("pods", namespace, &self.pod)
            && bound("secrets", namespace, &self.secret)
            && (self.pod.is_some() || bound("nodes", "", &self.node))
    }
}

/// Signs tokens, and knows its own again.
pub trait TokenIssuer: Send + Sync {
    /// A signed token (a JWT) with these claims.
    ///
    /// # Errors
    /// When no token can be signed; the client sees the status.
    fn issue(&self, claims: &TokenClaims) -> Result<String, Status>;

    /// The claims of a token that this issuer signed for one of `audiences` (empty: for this API server) and that has
    /// not expired, its audiences among these; whether what it is bound to still exists is another question.
    ///
    /// # Errors
    /// Why the token is not good, in one clause.
    fn verify(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<TokenClaims, String>;
}

/// A server without a signing key: every request for a token is answered with a clear error.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTokens;

impl TokenIssuer for NoTokens {
    fn issue(&self, _: &TokenClaims) -> Result<String, Status> {
        Err(Status::new(
            berth_api::Reason::ServiceUnavailable,
            "this server has no key to sign service account tokens with",
        ))
    }

    fn verify(&self, _: &str, _: &[String], _: Timestamp) -> Result<TokenClaims, String> {
        Err("this server has no key to check service account tokens with".to_owned())
    }
}
