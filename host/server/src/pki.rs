//! The cluster's own certificates: made at the first start, renewed before they expire.
//!
//! A directory holds the authority (`ca.crt`, `ca.key`), the key for service account tokens (`sa.key`) and the
//! administrator's certificate. The server's own certificate is made anew at each start and never written.

mod files;
mod kubeconfig;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_api::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::jwt::{TokenKey, TokenKeyError};

/// How long the authority is good: as long as anybody keeps a cluster.
const CA_DAYS: i64 = 3650;
/// How long the server's and the administrator's certificates are good: kubeadm's year.
const LEAF_DAYS: i64 = 365;
/// From how many days before the end on a certificate is renewed.
const RENEW_DAYS: i64 = 30;
const SECONDS_PER_DAY: i64 = 86_400;

/// What names the server goes by.
#[derive(Clone, Debug)]
pub struct Names {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The cluster IP of the Service `default/kubernetes`.
    pub service: IpAddr,
}

/// A certificate authority with what it has signed for this server.
pub struct Pki {
    directory: PathBuf,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
    tokens: TokenKey,
}

/// Why the certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error(
        "{path} cannot be used: {why}; restore it from a backup, or remove the directory to start a new authority",
        path = path.display()
    )]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key for service account tokens is none.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A certificate could not be made usable for TLS.
    #[error("the server's certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl Pki {
    /// Opens the authority in `directory`, making it (mode 0700) when it is not there.
    ///
    /// # Errors
    /// When files cannot be read, written or understood.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, PkiError> {
        files::make_directory(directory)?;
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        if !files::exists(&key)? {
            let (ca_pem, key_pem) = new_authority(now)?;
            files::write(&certificate, ca_pem.as_bytes(), files::PUBLIC)?;
            // The key comes last: with it, the authority is complete.
            files::write(&key, key_pem.as_bytes(), files::PRIVATE)?;
        }
        let ca_pem = files::read(&certificate)?;
        let unusable = |path: &Path, error: rcgen::Error| PkiError::Unusable {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let pair = KeyPair::from_pem(&files::read(&key)?).map_err(|error| unusable(&key, error))?;
        let issuer =
            Issuer::from_ca_cert_pem(&ca_pem, pair).map_err(|error| unusable(&certificate, error))?;
        let tokens = token_key(&directory.join("sa.key"))?;
        Ok(Self { directory: directory.to_owned(), ca_pem, issuer, tokens })
    }

    /// The authority's certificate in PEM: what clients and pods check the server with.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key that signs and checks service account tokens.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// A certificate for a server that goes by these names, ready for TLS.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn server_certificate(&self, names: &Names, now: Timestamp) -> Result<Arc<CertifiedKey>, PkiError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = leaf("berth", now)?;
        parameters.subject_alt_names = alternative_names(names)?;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&pair, &self.issuer)?;
        let key = PrivateKeyDer::try_from(pair.serialize_der())
            .map_err(|why| rustls::Error::General(why.to_owned()))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }

    /// A client certificate for `user` in `groups`: certificate and key in PEM.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client_certificate(
        &self,
        user: &str,
        groups: &[&str],
        now: Timestamp,
    ) -> Result<(String, String), PkiError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = leaf(user, now)?;
        for group in groups {
            parameters.distinguished_name.push(DnType::OrganizationName, *group);
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&pair, &self.issuer)?;
        Ok((certificate.pem(), pair.serialize_pem()))
    }

    /// The authority's certificate in DER.
    ///
    /// # Errors
    /// When the file holds no certificate.
    pub(crate) fn ca_der(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(|error| PkiError::Unusable {
            path: self.directory.join("ca.crt"),
            why: error.to_string(),
        })
    }
}

fn new_authority(now: Timestamp) -> Result<(String, String), PkiError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = valid_for(CA_DAYS, now)?;
    parameters.distinguished_name.push(DnType::CommonName, "berth-ca");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok((parameters.self_signed(&pair)?.pem(), pair.serialize_pem()))
}

fn token_key(path: &Path) -> Result<TokenKey, PkiError> {
    if !files::exists(path)? {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        files::write(path, pair.serialize_pem().as_bytes(), files::PRIVATE)?;
    }
    let pair = KeyPair::from_pem(&files::read(path)?)
        .map_err(|error| PkiError::Unusable { path: path.to_owned(), why: error.to_string() })?;
    Ok(TokenKey::from_pkcs8(&pair.serialize_der())?)
}

fn leaf(common_name: &str, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut parameters = valid_for(LEAF_DAYS, now)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

fn valid_for(days: i64, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    // Clients whose clocks are a little late accept it too.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let after = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    parameters.not_before = epoch + after(now.seconds() - 3600);
    parameters.not_after = epoch + after(now.seconds() + days * SECONDS_PER_DAY);
    Ok(parameters)
}

fn alternative_names(names: &Names) -> Result<Vec<SanType>, PkiError> {
    let mut all = vec![];
    for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        all.push(SanType::DnsName(name.try_into()?));
    }
    all.push(SanType::DnsName("kubernetes.default.svc.cluster.local".try_into()?));
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in [names.listen.ip(), names.service] {
        if !address.is_unspecified() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    all.extend(addresses.into_iter().map(SanType::IpAddress));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::unix::fs::PermissionsExt;

    use berth_client::{Config, Credentials};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn names() -> Names {
        Names { listen: SocketAddr::from(([192, 0, 2, 7], 6443)), service: IpAddr::from([10, 96, 0, 1]) }
    }

    #[test]
    fn an_authority_is_made_once_and_only_its_owner_reads_the_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pki");
        let first = Pki::open(&path, NOW).unwrap();
        let again = Pki::open(&path, NOW).unwrap();
        assert_eq!(first.ca_pem(), again.ca_pem());
        for key in ["ca.key", "sa.key"] {
            assert_eq!(path.join(key).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{key}");
        }
        let claims = crate::jwt::tests::claims();
        let token = berth_pipeline::TokenIssuer::issue(first.tokens(), &claims).unwrap();
        assert!(again.tokens().check(&token, &[crate::jwt::ISSUER], claims.issued).is_ok());
        std::fs::write(path.join("ca.key"), "nonsense").unwrap();
        let error = Pki::open(&path, NOW).err().unwrap().to_string();
        assert!(error.contains("ca.key cannot be used"), "{error}");
    }

    #[test]
    fn the_server_certificate_names_what_the_server_is_reached_by() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open(directory.path(), NOW).unwrap();
        let certificate = pki.server_certificate(&names(), NOW).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.cert[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 5 + 4, "five DNS names; both loopbacks, the listener and the Service");
        assert_eq!(parsed.validity().not_after.timestamp(), NOW.seconds() + LEAF_DAYS * SECONDS_PER_DAY);
    }

    #[test]
    fn a_kubeconfig_is_kept_until_it_would_not_do_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open(&directory.path().join("pki"), NOW).unwrap();
        let path = directory.path().join("kubeconfig");
        let write = |server: &str, days: i64| {
            let now = Timestamp::from_seconds(NOW.seconds() + days * SECONDS_PER_DAY);
            pki.write_kubeconfig(&path, server, now).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        let first = write("https://127.0.0.1:6443", 0);
        assert_eq!(write("https://127.0.0.1:6443", LEAF_DAYS - RENEW_DAYS - 1), first);
        assert_ne!(write("https://127.0.0.1:6443", LEAF_DAYS - RENEW_DAYS + 1), first);
        assert_ne!(write("https://127.0.0.1:7443", 0), first);
        let config = Config::from_kubeconfig(&path).unwrap();
        assert_eq!(config.server.to_string(), "https://127.0.0.1:7443/");
        let Credentials::Certificate { certificate_pem, .. } = config.credentials else {
            panic!("no certificate")
        };
        let (_, pem) = x509_parser::pem::parse_x509_pem(&certificate_pem).unwrap();
        let identity = crate::authentication::of_certificate(&pem.contents.into()).unwrap();
        assert_eq!(identity.user, "kubernetes-admin");
        assert_eq!(identity.groups, ["system:masters", "system:authenticated"]);
    }
}
