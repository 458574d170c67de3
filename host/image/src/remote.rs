//! One repository at one endpoint: requests of the OCI distribution specification 1.1, with Docker's token flow.

use std::sync::{Once, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use crate::Credentials;
use crate::registry::{Endpoint, Host, Verify};

/// How often one request is sent when the registry is overloaded or fails (429, 5xx).
const ATTEMPTS: u32 = 3;
/// The pause after the first failed attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest token answer, in bytes; tokens are a few KiB.
const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// How much of a refusal is shown, in bytes.
const REFUSAL_BYTES_MAX: u64 = 16 << 10;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum RemoteError {
    NotFound,
    Unauthorized(String),
    /// No answer, or not a usable one.
    Failed(String),
    TooLarge(u64),
}

/// A repository at an endpoint.
pub(crate) struct Remote {
    client: Client,
    endpoint: Endpoint,
    repository: String,
    /// The registry the endpoint is a mirror of.
    mirror_of: Option<String>,
    credentials: Option<Credentials>,
    /// The `Authorization` header in use.
    authorization: RwLock<Option<String>>,
}

impl Remote {
    /// Connects to nothing yet. `mirror_of` is the registry asked for when the endpoint is another one.
    pub(crate) fn new(
        endpoint: Endpoint,
        host: Host,
        repository: &str,
        mirror_of: Option<String>,
        credentials: Option<Credentials>,
    ) -> Result<Remote, RemoteError> {
        let client = client(&host).map_err(failed)?;
        let credentials = credentials.or(host.credentials);
        let authorization = match &credentials {
            Some(Credentials::Bearer(token)) => Some(format!("Bearer {token}")),
            _ => None,
        };
        let repository = repository.to_owned();
        Ok(Remote {
            client,
            endpoint,
            repository,
            mirror_of,
            credentials,
            authorization: RwLock::new(authorization),
        })
    }

    /// A manifest by tag or digest, and its media type.
    pub(crate) async fn manifest(
        &self,
        tag: &str,
        accept: &str,
        max: u64,
    ) -> Result<(Vec<u8>, String), RemoteError> {
        let response = self.get(&format!("manifests/{tag}"), accept).await?;
        let header = response.headers().get(reqwest::header::CONTENT_TYPE);
        let media_type = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A type may carry parameters.
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        Ok((read(response, max).await?, media_type))
    }

    /// A small blob as a whole.
    pub(crate) async fn blob(&self, digest: &str, max: u64) -> Result<Vec<u8>, RemoteError> {
        read(self.blob_response(digest).await?, max).await
    }

    /// A blob to be read bit by bit.
    pub(crate) async fn blob_response(&self, digest: &str) -> Result<Response, RemoteError> {
        self.get(&format!("blobs/{digest}"), "*/*").await
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Response, RemoteError> {
        let url = format!("{}/v2/{}/{path}", self.endpoint, self.repository);
        let (mut attempt, mut authenticated) = (1, false);
        loop {
            let response = self.send(&url, accept).await?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                StatusCode::NOT_FOUND => return Err(RemoteError::NotFound),
                StatusCode::UNAUTHORIZED if !authenticated => {
                    authenticated = true;
                    self.authenticate(response).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(RemoteError::Unauthorized(refusal(response).await));
                }
                status
                    if attempt < ATTEMPTS
                        && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) =>
                {
                    tokio::time::sleep(BACKOFF * (1 << (attempt - 1))).await;
                    attempt += 1;
                }
                _ => return Err(RemoteError::Failed(refusal(response).await)),
            }
        }
    }

    async fn send(&self, url: &str, accept: &str) -> Result<Response, RemoteError> {
        let mut request = self.client.get(url).header(ACCEPT, accept);
        if let Some(registry) = &self.mirror_of {
            request = request.query(&[("ns", registry)]);
        }
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(failed)
    }

    /// Does what a 401's challenge asks for: basic authentication, or a token from the server it names.
    async fn authenticate(&self, response: Response) -> Result<(), RemoteError> {
        let challenges: Vec<String> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let scheme = |name: &str| {
            challenges.iter().find_map(|challenge| {
                let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
                scheme.eq_ignore_ascii_case(name).then_some(rest)
            })
        };
        let value = match (scheme("Bearer"), scheme("Basic"), &self.credentials) {
            (Some(parameters), _, _) => format!("Bearer {}", self.token(parameters).await?),
            (None, Some(_), Some(Credentials::Basic { username, password })) => {
                use base64::Engine as _;
                format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"))
                )
            }
            _ => return Err(RemoteError::Unauthorized(refusal(response).await)),
        };
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    /// Asks the token server of a `Bearer` challenge.
    async fn token(&self, parameters: &str) -> Result<String, RemoteError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let parameters = parse_parameters(parameters);
        let find =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let realm = find("realm")
            .ok_or_else(|| RemoteError::Failed("a Bearer challenge without a realm".to_owned()))?;
        let scope = find("scope").unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut query = vec![("scope", scope)];
        query.extend(find("service").map(|service| ("service", service)));
        let mut request = self.client.get(&realm).query(&query);
        if let Some(Credentials::Basic { username, password }) = &self.credentials {
            request = request.basic_auth(username, Some(password));
        }
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() => {
                return Err(RemoteError::Unauthorized(refusal(response).await));
            }
            _ => return Err(RemoteError::Failed(refusal(response).await)),
        }
        let answer: Answer = serde_json::from_slice(&read(response, TOKEN_BYTES_MAX).await?)
            .map_err(|error| RemoteError::Failed(format!("{realm} sent no token: {error}")))?;
        answer
            .token
            .or(answer.access_token)
            .ok_or_else(|| RemoteError::Failed(format!("{realm} sent no token")))
    }
}

fn client(host: &Host) -> reqwest::Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut builder = Client::builder()
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT);
    if let Some(pem) = &host.ca_pem {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    if host.verify == Verify::Nothing {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build()
}

/// A body as a whole, if it is no larger than `max` bytes.
async fn read(mut response: Response, max: u64) -> Result<Vec<u8>, RemoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() as u64 + chunk.len() as u64 > max {
            return Err(RemoteError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a refusal says: the status, and the registry's own words.
async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let body = read(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let said: Vec<String> = match serde_json::from_slice::<Envelope>(&body) {
        Ok(envelope) => envelope.errors.iter().map(|e| format!("{}: {}", e.code, e.message)).collect(),
        Err(_) => Vec::new(), // Not the specification's form, perhaps a proxy's page: the status says it.
    };
    if said.is_empty() {
        format!("unexpected status {status}")
    } else {
        format!("{status}: {}", said.join("; "))
    }
}

/// reqwest's message names the request only; the cause ("connection refused") is further down.
pub(crate) fn failed(error: reqwest::Error) -> RemoteError {
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.dedup();
    RemoteError::Failed(causes.join(": "))
}

/// The `key="value"` list of a challenge (RFC 9110, section 11.2).
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        rest = left.trim_start_matches([' ', ',']);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let read = parse_parameters(r#"realm="https://a/token",service="reg, istry", scope=x,error="e""#);
        let expected =
            [("realm", "https://a/token"), ("service", "reg, istry"), ("scope", "x"), ("error", "e")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(parse_parameters("").is_empty() && parse_parameters("nonsense").is_empty());
    }
}
