//! Where a server is and who asks: read from a kubeconfig.

use std::path::Path;

use base64::Engine;
use serde_json::Value;

use crate::ConfigError;

/// A server and the credentials for it.
#[derive(Clone)]
pub struct Config {
    /// `https://host:port`.
    pub server: http::Uri,
    /// PEM certificates of the authorities that the server's certificate may come from.
    pub authorities_pem: Vec<u8>,
    /// Who asks.
    pub credentials: Credentials,
    /// The context's namespace; `default` when it has none.
    pub namespace: String,
}

/// Who asks.
#[derive(Clone)]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// A bearer token.
    Token(String),
    /// A client certificate with its key, both PEM.
    Certificate {
        /// The chain.
        certificate_pem: Vec<u8>,
        /// The private key.
        key_pem: Vec<u8>,
    },
}

impl Config {
    /// Reads the current context of a kubeconfig file; paths in it are relative to the file.
    ///
    /// # Errors
    /// When a file cannot be read or says something else than a kubeconfig does.
    pub fn from_kubeconfig(path: &Path) -> Result<Self, ConfigError> {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        let file: Value = serde_saphyr::from_str(&text)
            .map_err(|e| ConfigError::Malformed { path: path.to_owned(), why: e.to_string() })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let context = named(&file, "contexts", "context", file["current-context"].as_str(), path)?;
        let cluster = named(&file, "clusters", "cluster", context["cluster"].as_str(), path)?;
        let user = named(&file, "users", "user", context["user"].as_str(), path)?;
        let server = cluster["server"].as_str().unwrap_or_default();
        Ok(Self {
            server: server.parse().map_err(|e| unusable("server", format!("{server:?}: {e}")))?,
            authorities_pem: data(cluster, "certificate-authority", directory)?.unwrap_or_default(),
            credentials: credentials(user, directory)?,
            namespace: context["namespace"].as_str().unwrap_or("default").to_owned(),
        })
    }
}

fn credentials(user: &Value, directory: &Path) -> Result<Credentials, ConfigError> {
    if let Some(token) = user["token"].as_str() {
        return Ok(Credentials::Token(token.to_owned()));
    }
    let certificate = data(user, "client-certificate", directory)?;
    match (certificate, data(user, "client-key", directory)?) {
        (Some(certificate_pem), Some(key_pem)) => Ok(Credentials::Certificate { certificate_pem, key_pem }),
        (None, None) => Ok(Credentials::Anonymous),
        (Some(_), None) => Err(unusable("client-key", "it is missing".to_owned())),
        (None, Some(_)) => Err(unusable("client-certificate", "it is missing".to_owned())),
    }
}

/// What `key-data` holds in base64, or else the file that `key` names.
fn data(from: &Value, key: &'static str, directory: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    if let Some(encoded) = from[format!("{key}-data")].as_str() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
        return decoded.map(Some).map_err(|e| unusable(key, e.to_string()));
    }
    from[key].as_str().map(|file| read(&directory.join(file))).transpose()
}

fn named<'a>(
    file: &'a Value,
    list: &str,
    inner: &str,
    name: Option<&str>,
    path: &Path,
) -> Result<&'a Value, ConfigError> {
    let entries = file[list].as_array().map_or(&[][..], Vec::as_slice);
    let found = entries.iter().find(|entry| name.is_some() && entry["name"].as_str() == name);
    found.map(|entry| &entry[inner]).ok_or_else(|| ConfigError::Malformed {
        path: path.to_owned(),
        why: format!("{list} has no entry called {:?}", name.unwrap_or_default()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

pub(crate) fn unusable(what: &'static str, why: String) -> ConfigError {
    ConfigError::Unusable { what, why }
}
