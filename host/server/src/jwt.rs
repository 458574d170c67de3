//! Service account tokens: JSON Web Tokens (RFC 7519) signed with ES256 (RFC 7518 §3.4), and nothing else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_api::{Status, Timestamp};
use berth_json::{Value, json};
use berth_pipeline::{TokenClaims, TokenIssuer};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

/// Who issues tokens, and for whom they are when nobody else is named.
pub const ISSUER: &str = "https://kubernetes.default.svc";
/// How long a token may be; a real one has about 1,000 bytes.
const TOKEN_BYTES_MAX: usize = 8192;
/// How far two machines' clocks may differ.
const CLOCK_SKEW_SECONDS: i64 = 10;

/// The key that signs tokens and the one that checks them. Clones share it.
#[derive(Clone)]
pub struct TokenKey {
    pair: Arc<EcdsaKeyPair>,
    id: Arc<str>,
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the service account key is no ECDSA P-256 key in PKCS#8: {0}")]
pub struct TokenKeyError(String);

/// Why a token is not accepted. For the log: a client only learns that it is unauthorized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no JSON Web Token signed with ES256")]
    Malformed,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is not from this cluster or not for its API")]
    Foreign,
    #[error("it has expired or is not valid yet")]
    Time,
}

impl TokenKey {
    /// Reads a private key (PKCS#8 DER).
    ///
    /// # Errors
    /// When it is no ECDSA P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TokenKeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|error| TokenKeyError(error.to_string()))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref());
        Ok(Self { id: URL_SAFE_NO_PAD.encode(digest).into(), pair: Arc::new(pair) })
    }

    /// The public key as a JSON Web Key (RFC 7518 §6.2), under the id that tokens name.
    pub(crate) fn public_jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point of P-256: a byte of its form, and two coordinates of 32 bytes.
        let [x, y] = [&point[1..33], &point[33..65]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({ "use": "sig", "kty": "EC", "kid": &*self.id, "crv": "P-256", "alg": "ES256", "x": x, "y": y })
    }

    fn sign(&self, claims: &Value) -> Result<String, Status> {
        let header = json!({ "alg": "ES256", "kid": &*self.id });
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| Status::internal("the token could not be signed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// Checks a token's signature, issuer, audience and times; whether what it is bound to still exists is another
    /// question.
    pub(crate) fn check(
        &self,
        token: &str,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<TokenClaims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Value = decode(header)?;
        if header["alg"] != "ES256" {
            return Err(TokenError::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let mut claims = read_claims(&decode(payload)?).ok_or(TokenError::Malformed)?;
        check_times(&claims, now)?;
        claims.audiences.retain(|audience| audiences.contains(&audience.as_str()));
        if claims.audiences.is_empty() {
            return Err(TokenError::Foreign);
        }
        Ok(claims)
    }
}

impl TokenIssuer for TokenKey {
    fn issue(&self, claims: &TokenClaims) -> Result<String, Status> {
        self.sign(&write_claims(claims))
    }

    fn verify(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<TokenClaims, String> {
        let named: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let audiences = if named.is_empty() { &[ISSUER][..] } else { &named };
        self.check(token, audiences, now).map_err(|error| error.to_string())
    }
}

fn decode(part: &str) -> Result<Value, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn check_times(claims: &TokenClaims, now: Timestamp) -> Result<(), TokenError> {
    let (skew, now) = (CLOCK_SKEW_SECONDS, now.seconds());
    let is_good = claims.issued.seconds() - skew <= now && now < claims.expires.seconds() + skew;
    if is_good { Ok(()) } else { Err(TokenError::Time) }
}

/// The claims as Kubernetes writes them (`kubernetes.io` holds what the token is bound to).
fn write_claims(claims: &TokenClaims) -> Value {
    let (namespace, account) = (&claims.namespace, &claims.service_account);
    let mut bound = json!({
        "namespace": namespace,
        "serviceaccount": { "name": account, "uid": claims.service_account_uid },
    });
    for (kind, object) in [("pod", &claims.pod), ("node", &claims.node), ("secret", &claims.secret)] {
        if let Some((name, uid)) = object {
            bound[kind] = json!({ "name": name, "uid": uid });
        }
    }
    let audiences = match claims.audiences.as_slice() {
        [] => vec![ISSUER.to_owned()],
        named => named.to_vec(),
    };
    json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "aud": audiences,
        "iat": claims.issued.seconds(),
        "nbf": claims.issued.seconds(),
        "exp": claims.expires.seconds(),
        "jti": claims.id,
        "kubernetes.io": bound,
    })
}

fn read_claims(value: &Value) -> Option<TokenClaims> {
    if value["iss"] != ISSUER {
        return None;
    }
    let bound = &value["kubernetes.io"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let object = |kind: &str| Some((text(&bound[kind]["name"])?, text(&bound[kind]["uid"])?));
    let account = &bound["serviceaccount"];
    Some(TokenClaims {
        id: text(&value["jti"]).unwrap_or_default(),
        namespace: text(&bound["namespace"])?,
        service_account: text(&account["name"])?,
        service_account_uid: text(&account["uid"])?,
        audiences: value["aud"].as_array()?.iter().filter_map(text).collect(),
        pod: object("pod"),
        node: object("node"),
        secret: object("secret"),
        issued: Timestamp::from_seconds(value["iat"].as_i64()?),
        expires: Timestamp::from_seconds(value["exp"].as_i64()?),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const HERE: &[&str] = &[ISSUER];

    fn key() -> TokenKey {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        TokenKey::from_pkcs8(der.as_ref()).unwrap()
    }

    pub(crate) fn claims() -> TokenClaims {
        TokenClaims {
            id: "t1".to_owned(),
            namespace: "a".to_owned(),
            service_account: "default".to_owned(),
            service_account_uid: "u1".to_owned(),
            audiences: vec![],
            pod: Some(("p".to_owned(), "u2".to_owned())),
            node: None,
            secret: None,
            issued: Timestamp::from_seconds(1000),
            expires: Timestamp::from_seconds(2000),
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was_issued() {
        let key = key();
        let token = key.issue(&claims()).unwrap();
        let expected = TokenClaims { audiences: vec![ISSUER.to_owned()], ..claims() };
        assert_eq!(key.check(&token, HERE, Timestamp::from_seconds(1500)), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let key = key();
        let token = key.issue(&claims()).unwrap();
        let at = |seconds| key.check(&token, HERE, Timestamp::from_seconds(seconds)).map(drop);
        assert_eq!(at(2010), Err(TokenError::Time));
        assert_eq!(at(900), Err(TokenError::Time));
        assert_eq!(at(2009), Ok(()));
        let now = Timestamp::from_seconds(1500);
        assert_eq!(self::key().check(&token, HERE, now), Err(TokenError::Signature));
        let other = key.issue(&TokenClaims { audiences: vec!["vault".to_owned()], ..claims() }).unwrap();
        assert_eq!(key.check(&other, HERE, now), Err(TokenError::Foreign));
        assert_eq!(key.check(&other, &["vault", "x"], now).unwrap().audiences, ["vault"]);
        let (head, tail) = token.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for bad in ["", "a.b", "a.b.c", &format!("{none}.{tail}"), &format!("{head}.{tail}A")] {
            assert!(key.check(bad, HERE, now).is_err(), "{bad}");
        }
    }
}
