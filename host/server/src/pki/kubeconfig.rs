//! The administrator's kubeconfig.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_api::Timestamp;

use super::{Pki, PkiError, RENEW_DAYS, SECONDS_PER_DAY, files};

/// The user of the kubeconfig, as kubeadm calls it.
const ADMINISTRATOR: &str = "kubernetes-admin";
/// The group that may do everything.
const ADMINISTRATORS: &str = "system:masters";

impl Pki {
    /// Writes a kubeconfig for the administrator (mode 0600, everything embedded) unless the one that is there still
    /// does: same server, same authority, not about to expire. So copies of it go on working.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, server: &str, now: Timestamp) -> Result<(), PkiError> {
        if files::exists(path)? && self.still_good(path, server, now) {
            return Ok(());
        }
        let (certificate, key) = self.client_certificate(ADMINISTRATOR, &[ADMINISTRATORS], now)?;
        let text = kubeconfig(server, self.ca_pem(), &certificate, &key);
        files::write(path, text.as_bytes(), files::PRIVATE)
    }

    fn still_good(&self, path: &Path, server: &str, now: Timestamp) -> bool {
        let Ok(config) = berth_client::Config::from_kubeconfig(path) else { return false };
        let berth_client::Credentials::Certificate { certificate_pem, .. } = &config.credentials else {
            return false;
        };
        let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(certificate_pem) else { return false };
        let Ok(certificate) = pem.parse_x509() else { return false };
        let expires = certificate.validity().not_after.timestamp();
        config.server.to_string().trim_end_matches('/') == server
            && config.authorities_pem == self.ca_pem().as_bytes()
            && expires - now.seconds() > RENEW_DAYS * SECONDS_PER_DAY
    }
}

fn kubeconfig(server: &str, ca_pem: &str, certificate_pem: &str, key_pem: &str) -> String {
    let [ca, certificate, key] = [ca_pem, certificate_pem, key_pem].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: berth
  cluster:
    certificate-authority-data: {ca}
    server: {server}
users:
- name: {ADMINISTRATOR}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: berth
  context:
    cluster: berth
    user: {ADMINISTRATOR}
current-context: berth
preferences: {{}}
"
    )
}
