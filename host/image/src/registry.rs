//! Which endpoints serve a registry, how to trust them, and with which credentials.
//!
//! The file has the form of k3s' `registries.yaml`, which many know:
//!
//! ```yaml
//! mirrors:
//!   docker.io:                  # or "*" for every registry without an entry of its own
//!     endpoint:                 # tried in this order; the registry itself comes last
//!       - "https://mirror.example.com"
//!       - "http://127.0.0.1:5000"
//! configs:
//!   mirror.example.com:         # host[:port] of an endpoint
//!     auth: { username: me, password: secret }      # or auth: "<base64 of user:password>"
//!     tls: { ca_file: /etc/berth/ca.pem, insecure_skip_verify: false }
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::ImageError;

/// The largest configuration file, in bytes: far more than anybody writes by hand.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The host behind the name `docker.io`.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Credentials for one pull (an image pull secret); they are tried before the configuration file's.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Basic {
        /// The user.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// A bearer token the registry takes as it is.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Basic { username, .. } => write!(f, "Basic({username:?}, …)"),
            Credentials::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

/// Credentials, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// For messages, for example `secret "mine"`.
    pub origin: String,
    /// The credentials.
    pub credentials: Credentials,
}

/// Mirrors, trust and credentials by registry. The default has none.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    mirrors: BTreeMap<String, Vec<Endpoint>>,
    hosts: BTreeMap<String, Host>,
}

/// Where to ask: scheme and host, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: &'static str,
    /// Host and port.
    pub(crate) host: String,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

impl Endpoint {
    /// Whether it is the registry itself, not a mirror.
    pub(crate) fn is_of(&self, registry: &str) -> bool {
        self.host == host_of(registry)
    }
}

fn host_of(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB } else { registry }
}

/// What is configured for a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(crate) credentials: Option<Credentials>,
    /// Extra roots, PEM.
    pub(crate) ca_pem: Option<Vec<u8>>,
    pub(crate) verify: Verify,
}

/// Whether a server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verify {
    #[default]
    Certificate,
    Nothing,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileForm {
    mirrors: BTreeMap<String, MirrorForm>,
    configs: BTreeMap<String, HostForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorForm {
    endpoint: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HostForm {
    auth: Option<AuthForm>,
    tls: Option<TlsForm>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuthForm {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsForm {
    ca_file: Option<PathBuf>,
    insecure_skip_verify: bool,
}

impl RegistryConfig {
    /// Reads the file; a missing file is the empty configuration.
    pub fn load(path: &Path) -> Result<RegistryConfig, ImageError> {
        let refuse = |detail: String| ImageError::RegistryConfig { path: path.to_owned(), detail };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RegistryConfig::default()),
            Ok(found) if found.len() > FILE_BYTES_MAX => return Err(refuse("larger than 1 MiB".to_owned())),
            _ => fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?,
        };
        RegistryConfig::parse(&text).map_err(refuse)
    }

    /// Parses the file's text; the error says what is wrong and where.
    pub fn parse(text: &str) -> Result<RegistryConfig, String> {
        if text.trim().is_empty() {
            return Ok(RegistryConfig::default());
        }
        let form: FileForm = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut config = RegistryConfig::default();
        for (registry, mirror) in form.mirrors {
            let endpoints = mirror.endpoint.iter().map(|url| endpoint(url)).collect::<Result<_, _>>();
            config
                .mirrors
                .insert(registry.clone(), endpoints.map_err(|e| format!("mirrors.{registry}: {e}"))?);
        }
        for (name, form) in form.configs {
            let host = host(form).map_err(|error| format!("configs.{name}: {error}"))?;
            config.hosts.insert(name, host);
        }
        Ok(config)
    }

    /// Where to ask for an image of `registry`, in order: mirrors, then the registry itself. A registry on this machine's
    /// loopback may speak plain HTTP, as for Docker and containerd.
    pub(crate) fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let mirrors = self.mirrors.get(registry).or_else(|| self.mirrors.get("*"));
        let mut endpoints = mirrors.cloned().unwrap_or_default();
        let host = host_of(registry);
        let mut own = vec![Endpoint { scheme: "https", host: host.to_owned() }];
        if is_loopback(registry) {
            own.push(Endpoint { scheme: "http", host: host.to_owned() });
        }
        own.retain(|endpoint| !endpoints.contains(endpoint));
        endpoints.extend(own);
        endpoints
    }

    pub(crate) fn host(&self, endpoint: &Endpoint, registry: &str) -> Host {
        let own = self.hosts.get(&endpoint.host);
        // The name people write for Docker Hub is not its host.
        own.or_else(|| (endpoint.host == DOCKER_HUB).then(|| self.hosts.get(registry)).flatten())
            .cloned()
            .unwrap_or_default()
    }
}

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let (scheme, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => ("https", rest),
        (_, Some(rest)) => ("http", rest),
        _ => {
            return Err(format!("endpoint {url:?} needs the form https://host[:port] or http://host[:port]"));
        }
    };
    let host = rest.strip_suffix("/v2").unwrap_or(rest).trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!("endpoint {url:?} needs the form https://host[:port], without a path or user"));
    }
    Ok(Endpoint { scheme, host: host.to_owned() })
}

fn host(form: HostForm) -> Result<Host, String> {
    let mut host = Host::default();
    if let Some(tls) = form.tls {
        host.verify = if tls.insecure_skip_verify { Verify::Nothing } else { Verify::Certificate };
        if let Some(path) = tls.ca_file {
            host.ca_pem =
                Some(fs::read(&path).map_err(|error| format!("ca_file {}: {error}", path.display()))?);
        }
    }
    host.credentials = match form.auth {
        None => None,
        Some(AuthForm { username: Some(username), password: Some(password), auth: None }) => {
            Some(Credentials::Basic { username, password })
        }
        Some(AuthForm { username: None, password: None, auth: Some(auth) }) => Some(decode(&auth)?),
        Some(_) => return Err("auth needs username and password, or auth alone".to_owned()),
    };
    Ok(host)
}

fn decode(auth: &str) -> Result<Credentials, String> {
    let refuse = || "auth.auth is not the base64 of user:password".to_owned();
    let text = String::from_utf8(STANDARD.decode(auth).map_err(|_| refuse())?).map_err(|_| refuse())?;
    let (username, password) = text.split_once(':').ok_or_else(refuse)?;
    Ok(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let config = RegistryConfig::parse(
            "mirrors:\n  docker.io:\n    endpoint: [\"https://m.example/\", \"http://127.0.0.1:5000/v2\"]\n  '*':\n    endpoint: ['https://all.example']\n",
        )
        .unwrap();
        let urls = |registry| config.endpoints(registry).iter().map(Endpoint::to_string).collect::<Vec<_>>();
        assert_eq!(
            urls("docker.io"),
            ["https://m.example", "http://127.0.0.1:5000", "https://registry-1.docker.io"]
        );
        assert_eq!(urls("quay.io"), ["https://all.example", "https://quay.io"]);
        let plain = RegistryConfig::default();
        let schemes: Vec<_> = plain.endpoints("localhost:5000").iter().map(|e| e.scheme).collect();
        assert_eq!(schemes, ["https", "http"]);
        assert_eq!(
            plain.endpoints("10.0.0.1:5000").len(),
            1,
            "plain HTTP elsewhere only where it is configured"
        );
    }

    #[test]
    fn credentials_are_found_by_host_and_never_printed() {
        let config = RegistryConfig::parse(
            "configs:\n  docker.io: {auth: {auth: 'bWU6c2VjcmV0'}}\n  h:5000: {auth: {username: a, password: b}, tls: {insecure_skip_verify: true}}\n",
        )
        .unwrap();
        let hub = config.host(&config.endpoints("docker.io")[0], "docker.io");
        assert_eq!(
            hub.credentials,
            Some(Credentials::Basic { username: "me".into(), password: "secret".into() })
        );
        assert_eq!(config.host(&config.endpoints("h:5000")[0], "h:5000").verify, Verify::Nothing);
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("mirror: {}", "mirror"),
            ("mirrors: {a: {endpoint: ['ftp://x']}}", "mirrors.a: endpoint \"ftp://x\""),
            ("mirrors: {a: {endpoint: ['https://x/path']}}", "without a path"),
            ("configs: {a: {auth: {username: x}}}", "configs.a: auth needs username and password"),
            ("configs: {a: {tls: {ca_file: /nonexistent/ca}}}", "configs.a: ca_file /nonexistent/ca"),
            ("mirrors: {a: {rewrite: {}}}", "rewrite"),
        ] {
            let error = RegistryConfig::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
