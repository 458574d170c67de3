//! Tokens of service accounts: what is asked for is checked here, signing is the server's.

use berth_api::{Status, Timestamp};

/// What a service account's token says (the claims of a projected token, as Kubernetes issues them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaims {
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
    /// The node (name, uid) that the pod is on.
    pub node: Option<(String, String)>,
    /// The secret (name, uid) with which the token dies.
    pub secret: Option<(String, String)>,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

/// Signs tokens.
pub trait TokenIssuer: Send + Sync {
    /// A signed token (a JWT) with these claims.
    ///
    /// # Errors
    /// When no token can be signed; the client sees the status.
    fn issue(&self, claims: &TokenClaims) -> Result<String, Status>;
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
}
