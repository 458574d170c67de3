//! One repository at one endpoint: requests of the OCI distribution specification 1.1, with Docker's token flow.

use std::sync::{Arc, Once, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use crate::Credentials;
use crate::answer::{Challenge, failed, read, refusal};
use crate::bounds::{Bounds, Resolver, shown};
use crate::error::plain;
use crate::registry::{Endpoint, Host, Verify};

/// How often one request is sent when the registry is overloaded or fails (429, 5xx).
const ATTEMPTS: u32 = 3;
/// The pause after the first failed attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a manifest, config or token may take in all: the largest come within seconds on a slow line.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How many redirects in a row are followed; object stores need one or two.
const REDIRECTS_MAX: usize = 5;
/// The largest token answer, in bytes; tokens are a few KiB.
const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// The longest part of a credential that is looked for in what a registry says: shorter ones are in every text.
const SECRET_BYTES_MIN: usize = 4;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum RemoteError {
    /// There is nothing at this URL.
    NotFound(String),
    Unauthorized(String),
    /// No answer, or not a usable one.
    Failed(String),
    TooLarge(u64),
}

/// A repository at an endpoint.
pub(crate) struct Remote {
    /// For the endpoint's host, with what is configured of its certificate.
    near: Client,
    /// For wherever it sends us.
    far: Client,
    bounds: Arc<Bounds>,
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
        host: &Host,
        repository: &str,
        mirror_of: Option<String>,
        credentials: Option<Credentials>,
    ) -> Result<Remote, RemoteError> {
        let bounds = Arc::new(Bounds::new(&endpoint).map_err(RemoteError::Failed)?);
        let authorization = match &credentials {
            Some(Credentials::Bearer(token)) => Some(format!("Bearer {token}")),
            _ => None,
        };
        Ok(Remote {
            near: client(host, None).map_err(failed)?,
            far: client(host, Some(&bounds)).map_err(failed)?,
            bounds,
            endpoint,
            repository: repository.to_owned(),
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
        let path = format!("manifests/{tag}");
        in_time(async {
            let response = self.get(&path, accept).await?;
            let header = response.headers().get(reqwest::header::CONTENT_TYPE);
            let media_type = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
            // A type may carry parameters.
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
            Ok((read(response, max).await?, media_type))
        })
        .await
    }

    /// A small blob as a whole.
    pub(crate) async fn blob(&self, digest: &str, max: u64) -> Result<Vec<u8>, RemoteError> {
        in_time(async { read(self.blob_response(digest).await?, max).await }).await
    }

    /// A blob to be read bit by bit.
    pub(crate) async fn blob_response(&self, digest: &str) -> Result<Response, RemoteError> {
        self.get(&format!("blobs/{digest}"), "*/*").await
    }

    /// A blob that the registry does not keep, from where the manifest says that it is ("foreign" layers).
    pub(crate) async fn foreign_response(&self, url: &str) -> Result<Response, RemoteError> {
        let url = Url::parse(url).map_err(|error| RemoteError::Failed(format!("{}: {error}", plain(url))))?;
        let from = Asked { url: url.clone(), is_sent: true };
        let answered = self.follow(url, "*/*", from).await?;
        match answered.response.status() {
            StatusCode::OK => Ok(answered.response),
            _ => Err(answered.refused().await),
        }
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Response, RemoteError> {
        let url = format!("{}/v2/{}/{path}", self.endpoint, self.repository);
        let mut url = Url::parse(&url).map_err(|error| RemoteError::Failed(format!("{url}: {error}")))?;
        if let Some(registry) = &self.mirror_of {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        let (mut attempt, mut authenticated) = (1, false);
        loop {
            let asked = Asked { url: url.clone(), is_sent: false };
            let answered = self.follow(url.clone(), accept, asked).await?;
            let status = answered.response.status();
            match status {
                StatusCode::OK => return Ok(answered.response),
                _ if attempt < ATTEMPTS
                    && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) =>
                {
                    tokio::time::sleep(BACKOFF * (1 << (attempt - 1))).await;
                    attempt += 1;
                }
                // What another host says is no word of the registry's.
                _ if answered.asked.is_sent => return Err(answered.refused().await),
                StatusCode::NOT_FOUND => return Err(RemoteError::NotFound(shown(&url))),
                StatusCode::UNAUTHORIZED if !authenticated => {
                    authenticated = true;
                    self.authenticate(answered.response).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(RemoteError::Unauthorized(self.refusal_text(answered.response).await));
                }
                _ => return Err(RemoteError::Failed(self.refusal_text(answered.response).await)),
            }
        }
    }

    /// Sends a request and follows redirects. Credentials go to the registry alone.
    async fn follow(&self, url: Url, accept: &str, mut asked: Asked) -> Result<Answered, RemoteError> {
        asked.url = url;
        for _ in 0..=REDIRECTS_MAX {
            if asked.is_sent {
                self.bounds.check_redirect(&asked.url).map_err(RemoteError::Failed)?;
            }
            let client = if self.bounds.is_on_host(&asked.url) { &self.near } else { &self.far };
            let mut request = client.get(asked.url.clone()).header(ACCEPT, accept);
            let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(value) = authorization.filter(|_| self.bounds.is_registry(&asked.url)) {
                request = request.header(AUTHORIZATION, value);
            }
            let response = in_time(async { request.send().await.map_err(failed) }).await;
            let response = response.map_err(|error| asked.explain(error))?;
            let Some(next) = redirect(&response) else { return Ok(Answered { response, asked }) };
            let next = asked.url.join(&next);
            let next = next.map_err(|error| RemoteError::Failed(format!("a redirect to no URL: {error}")))?;
            asked = Asked { is_sent: !self.bounds.is_registry(&next), url: next };
        }
        Err(RemoteError::Failed(format!("more than {REDIRECTS_MAX} redirects")))
    }

    /// Does what a 401's challenge asks for: basic authentication, or a token from the server it names.
    async fn authenticate(&self, response: Response) -> Result<(), RemoteError> {
        let challenge = Challenge::of(&response);
        let value = match (challenge.bearer, challenge.is_basic, &self.credentials) {
            (Some(parameters), _, _) => format!("Bearer {}", self.token(&parameters).await?),
            (None, true, Some(Credentials::Basic { username, password })) => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
            _ => return Err(RemoteError::Unauthorized(self.refusal_text(response).await)),
        };
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    /// Asks the token server of a `Bearer` challenge.
    async fn token(&self, parameters: &[(String, String)]) -> Result<String, RemoteError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let find =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let realm = find("realm")
            .ok_or_else(|| RemoteError::Failed("a Bearer challenge without a realm".to_owned()))?;
        let realm = Url::parse(&realm)
            .map_err(|error| RemoteError::Failed(format!("the realm {:?}: {error}", plain(&realm))))?;
        self.bounds.check_realm(&realm).map_err(|why| {
            RemoteError::Failed(format!("{why}: no token was asked for there, and no password sent"))
        })?;
        let name = shown(&realm);
        let scope = find("scope").unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut query = vec![("scope", scope)];
        query.extend(find("service").map(|service| ("service", service)));
        let client = if self.bounds.is_on_host(&realm) { &self.near } else { &self.far };
        let mut request = client.get(realm).query(&query);
        if let Some(Credentials::Basic { username, password }) = &self.credentials {
            request = request.basic_auth(username, Some(password));
        }
        let bytes = in_time(async {
            let response = request.send().await.map_err(failed)?;
            match response.status() {
                StatusCode::OK => read(response, TOKEN_BYTES_MAX).await,
                status if status.is_client_error() => {
                    Err(RemoteError::Unauthorized(self.refusal_text(response).await))
                }
                _ => Err(RemoteError::Failed(self.refusal_text(response).await)),
            }
        });
        let bytes = bytes.await.map_err(|error| match error {
            RemoteError::Failed(why) => RemoteError::Failed(format!("token server {name}: {why}")),
            error => error,
        })?;
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| RemoteError::Failed(format!("token server {name} sent no token")))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        token.ok_or_else(|| RemoteError::Failed(format!("token server {name} sent no token")))
    }

    /// What a refusal says, without the secrets that it may repeat.
    async fn refusal_text(&self, response: Response) -> String {
        let text = refusal(response).await;
        let secrets = match &self.credentials {
            Some(Credentials::Basic { username, password }) => {
                vec![STANDARD.encode(format!("{username}:{password}")), password.clone()]
            }
            Some(Credentials::Bearer(token)) => vec![token.clone()],
            None => Vec::new(),
        };
        let secrets = secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN);
        secrets.fold(text, |text, secret| text.replace(secret.as_str(), "…"))
    }
}

/// Whom a request has come to.
struct Asked {
    url: Url,
    /// Whether the registry has sent us there: it is not itself.
    is_sent: bool,
}

impl Asked {
    fn explain(&self, error: RemoteError) -> RemoteError {
        match error {
            RemoteError::Failed(why) if self.is_sent => {
                RemoteError::Failed(format!("the registry sent us to {}: {why}", shown(&self.url)))
            }
            error => error,
        }
    }
}

struct Answered {
    response: Response,
    asked: Asked,
}

impl Answered {
    /// What another host's refusal means.
    async fn refused(self) -> RemoteError {
        let why = refusal(self.response).await;
        self.asked.explain(RemoteError::Failed(why))
    }
}

fn redirect(response: &Response) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    location.to_str().ok().map(str::to_owned)
}

/// A small thing is there in time, or not at all: whoever sends it byte by byte holds nobody up.
async fn in_time<T>(work: impl Future<Output = Result<T, RemoteError>>) -> Result<T, RemoteError> {
    tokio::time::timeout(DOCUMENT_TIMEOUT, work).await.unwrap_or_else(|_| {
        let seconds = DOCUMENT_TIMEOUT.as_secs();
        Err(RemoteError::Failed(format!("no complete answer within {seconds} s")))
    })
}

/// A client for the endpoint's own host or, within these bounds, for others.
fn client(host: &Host, bounds: Option<&Arc<Bounds>>) -> reqwest::Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let own = match &host.ca_pem {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem)?,
        None => vec![],
    };
    let builder = || {
        let builder = Client::builder()
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        match bounds {
            Some(bounds) => builder.dns_resolver(Arc::new(Resolver(Arc::clone(bounds)))),
            None if host.verify == Verify::Nothing => builder.tls_danger_accept_invalid_certs(true),
            None => builder,
        }
    };
    let built =
        if own.is_empty() { builder().build() } else { builder().tls_certs_merge(own.clone()).build() };
    // A machine without root certificates pulls all the same where none is needed, as from a registry of its own.
    built.or_else(|_| builder().tls_certs_only(own).build())
}
