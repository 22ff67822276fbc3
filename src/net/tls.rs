//! TLS: certificates from files with reload, the configuration of servers and of clients, errors with a remedy.
//!
//! Everything that speaks TLS takes its rustls configuration from here, so that provider, versions and trust are decided
//! once. Listening and connecting happen elsewhere; certificates of our own making are in [`super::self_signed`].

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::config::CertificateFiles;
use crate::config::secret::{SecretError, read_file};
use crate::identity::time::UtcMillis;

/// Longest PEM file that is read, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// What an HTTPS server offers, in order of preference.
pub const ALPN_HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// What a server offers that speaks no HTTP.
pub const ALPN_NONE: &[&[u8]] = &[];

/// Why a certificate, a key or a list of roots cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("could not read the {what} {}: {source}", path.display())]
    Read {
        /// `certificate` or `CA file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds no PEM section of the kind wanted.
    #[error("the {what} {} holds no {} in PEM form", path.display(), if *what == "key" { "key" } else { "certificate" })]
    NotPem {
        /// `certificate`, `key` or `CA file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The key is protected by a passphrase.
    #[error("the key {} is encrypted with a passphrase", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be read, or everybody on the machine can.
    #[error("could not take the private key of the certificate: {0}")]
    Key(#[from] SecretError),
    /// Certificate and key are of two pairs.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate is not valid any more.
    #[error("the certificate {} expired on {on}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The day, as in `2026-01-17`.
        on: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate {} is not valid before {on}", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The day.
        on: String,
    },
    /// The TLS library does not take it.
    #[error("the {what} {} cannot be used: {reason}", path.display())]
    Refused {
        /// `certificate`, `key` or `CA file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// This machine has no root certificates.
    #[error("this machine has no root certificates")]
    NoSystemRoots,
    /// A certificate of our own could not be made or stored.
    #[error("could not make a self-signed certificate in {}: {reason}", folder.display())]
    SelfSigned {
        /// Where it was to be stored.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl TlsError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path".to_owned(),
                std::io::ErrorKind::PermissionDenied => {
                    "let the account that jims runs as read the file".to_owned()
                }
                _ => "check the file and its disk".to_owned(),
            },
            Self::NotPem { what: "key", path } => format!(
                "the file must hold a section `-----BEGIN PRIVATE KEY-----`; a DER key becomes one with `openssl pkey -inform DER -in {}`",
                path.display()
            ),
            Self::NotPem { path, .. } => format!(
                "the file must hold a section `-----BEGIN CERTIFICATE-----`; a DER certificate becomes one with `openssl x509 -inform DER -in {}`",
                path.display()
            ),
            Self::EncryptedKey { path } => format!(
                "store it without passphrase, readable by jims only: `openssl pkey -in {} -out NEW`",
                path.display()
            ),
            Self::Key(SecretError::Unreadable { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                "check the path of the key".to_owned()
            }
            Self::Key(error) => error.remedy(),
            Self::KeyMismatch { .. } => {
                "put the certificate that was issued for this key, leaf first, before the certificates of its issuers"
                    .to_owned()
            }
            Self::Expired { .. } => "renew the certificate".to_owned(),
            Self::NotYetValid { .. } => "check the clock of this machine".to_owned(),
            Self::Refused { .. } => {
                "RSA of 2048 bits or more, ECDSA P-256 or P-384, and Ed25519 are supported".to_owned()
            }
            Self::NoSystemRoots => {
                "install the package `ca-certificates`, or name the issuer's certificate in `ca_file`".to_owned()
            }
            Self::SelfSigned { folder, .. } => format!(
                "make {} writable for the account that jims runs as, or configure a certificate",
                folder.display()
            ),
        }
    }
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Where it came from.
    pub path: PathBuf,
    /// SHA-256 over the certificate, as in `AB:CD:…`.
    pub fingerprint: String,
    /// SHA-256 over its public key (SubjectPublicKeyInfo, RFC 5280, section 4.1), which a renewal may keep.
    pub key_sha256: [u8; 32],
    /// First moment of its life.
    pub not_before: UtcMillis,
    /// Last moment of its life.
    pub not_after: UtcMillis,
    /// DNS names and addresses it is for.
    pub names: Vec<String>,
}

impl CertificateFacts {
    /// The error if the certificate is not valid at the instant.
    ///
    /// # Errors
    /// [`TlsError::Expired`] or [`TlsError::NotYetValid`].
    pub fn check_validity(&self, now: UtcMillis) -> Result<(), TlsError> {
        let path = self.path.clone();
        if now > self.not_after {
            let on = day(self.not_after);
            return Err(TlsError::Expired { path, on });
        }
        if now < self.not_before {
            let on = day(self.not_before);
            return Err(TlsError::NotYetValid { path, on });
        }
        Ok(())
    }
}

/// Which certificates of clients are asked for. One that is shown must always be good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None.
    #[default]
    None,
    /// One that a CA of this file issued, if the client has one.
    Optional(PathBuf),
    /// One that a CA of this file issued.
    Required(PathBuf),
}

/// How a TLS server is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsOptions {
    /// Chain and key.
    pub files: CertificateFiles,
    /// What clients show.
    pub clients: ClientCertificates,
    /// Protocols offered by ALPN.
    pub alpn: &'static [&'static [u8]],
}

/// The TLS side of a listener: the certificate in use, replaced without a restart.
#[derive(Debug)]
pub struct ServerTls {
    /// Held while files are read: reloads happen one after the other.
    options: Mutex<ServerTlsOptions>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    facts: CertificateFacts,
    /// SHA-256 over the files, to see whether they changed.
    content: [u8; 32],
}

impl ServerTls {
    /// Reads the files. A certificate out of its time is accepted, for most firewalls do not look: ask
    /// [`CertificateFacts::check_validity`] and tell the operator.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn load(options: ServerTlsOptions) -> Result<Arc<Self>, TlsError> {
        install_provider();
        let loaded = load(&options)?;
        Ok(Arc::new(Self {
            options: Mutex::new(options),
            current: ArcSwap::from_pointee(loaded),
        }))
    }

    /// Looks at the files again; `true` if another certificate is in use now. Connections keep theirs.
    ///
    /// # Errors
    /// What is wrong with the new files, expiry among it; the old certificate stays in use.
    pub fn reload(&self, now: UtcMillis) -> Result<bool, TlsError> {
        let options = self.options.lock();
        self.load_again(&options, now)
    }

    /// Takes other files from now on; `true` if another certificate is in use now.
    ///
    /// # Errors
    /// What is wrong with them; the old files stay in use.
    pub fn replace(&self, new: ServerTlsOptions, now: UtcMillis) -> Result<bool, TlsError> {
        let mut options = self.options.lock();
        let changed = self.load_again(&new, now)?;
        *options = new;
        Ok(changed)
    }

    /// What accepts one connection, with the certificate in use now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }

    /// What is known of the certificate in use.
    #[must_use]
    pub fn certificate(&self) -> CertificateFacts {
        self.current.load().facts.clone()
    }

    fn load_again(&self, options: &ServerTlsOptions, now: UtcMillis) -> Result<bool, TlsError> {
        let loaded = load(options)?;
        if loaded.content == self.current.load().content {
            return Ok(false);
        }
        loaded.facts.check_validity(now)?;
        self.current.store(Arc::new(loaded));
        Ok(true)
    }
}

/// The configuration of a TLS client that trusts the certificates of a file, or the system's.
///
/// # Errors
/// The file cannot be used, or the system has no roots.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    install_provider();
    Ok(Arc::new(
        ClientConfig::builder()
            .with_root_certificates(trusted_roots(ca_file)?)
            .with_no_client_auth(),
    ))
}

/// The certificates of a file, or the system's roots.
///
/// # Errors
/// The file cannot be used, or the system has no roots.
pub(super) fn trusted_roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    match ca_file {
        Some(path) => roots_from_file(path),
        None => system_roots(),
    }
}

/// Makes ring the process's cryptography; any further call does nothing.
pub fn install_provider() {
    // Fails only if a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The names of a certificate: DNS names and addresses of its SAN, else its common name.
#[must_use]
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| names(&parsed))
        .unwrap_or_default()
}

/// SHA-256 over a certificate, as people compare it: `AB:CD:…`.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(95);
    for (index, byte) in Sha256::digest(certificate).iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// Reads certificate files and says what they hold, as [`ServerTls::load`] does, for a check of the configuration.
///
/// # Errors
/// What is wrong with the files.
pub fn check_files(options: &ServerTlsOptions) -> Result<CertificateFacts, TlsError> {
    install_provider();
    load(options).map(|loaded| loaded.facts)
}

fn load(options: &ServerTlsOptions) -> Result<Loaded, TlsError> {
    let (certificate_path, key_path) = (&options.files.certificate, &options.files.key);
    let certificate_pem = read_pem("certificate", certificate_path)?;
    let key_pem = read_file(key_path)?;
    let chain = certificates("certificate", certificate_path, &certificate_pem)?;
    let key = private_key(key_path, &key_pem)?;
    let facts = facts(certificate_path, &chain[0])?;
    let mut hash = Sha256::new();
    hash.update(&certificate_pem);
    hash.update(key_pem.as_slice());

    let builder = ServerConfig::builder();
    let (ca_file, optional) = match &options.clients {
        ClientCertificates::None => (None, true),
        ClientCertificates::Optional(path) => (Some(path), true),
        ClientCertificates::Required(path) => (Some(path), false),
    };
    let builder = match ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            hash.update(read_pem("CA file", path)?);
            builder.with_client_cert_verifier(client_verifier(path, optional)?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|refused| match refused {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch {
                certificate: certificate_path.clone(),
                key: key_path.clone(),
            },
            rustls::Error::InvalidCertificate(reason) => TlsError::Refused {
                what: "certificate",
                path: certificate_path.clone(),
                reason: reason.to_string(),
            },
            other => TlsError::Refused {
                what: "key",
                path: key_path.clone(),
                reason: other.to_string(),
            },
        })?;
    config.alpn_protocols = options.alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Loaded {
        config: Arc::new(config),
        facts,
        content: hash.finalize().into(),
    })
}

fn client_verifier(
    ca_file: &Path,
    optional: bool,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots_from_file(ca_file)?));
    let verifier = if optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    verifier.build().map_err(|refused| TlsError::Refused {
        what: "CA file",
        path: ca_file.to_owned(),
        reason: refused.to_string(),
    })
}

pub(super) fn read_pem(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut content = Vec::new();
        fs::File::open(path)?
            .take(MAX_PEM_BYTES)
            .read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

pub(super) fn certificates(
    what: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = || TlsError::NotPem {
        what,
        path: path.to_owned(),
    };
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem())?;
    if list.is_empty() {
        return Err(not_pem());
    }
    Ok(list)
}

pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| pem.windows(mark.len()).any(|window| window == *mark));
        let path = path.to_owned();
        if encrypted {
            TlsError::EncryptedKey { path }
        } else {
            TlsError::NotPem { what: "key", path }
        }
    })
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, TlsError> {
    const WHAT: &str = "CA file";
    let pem = read_pem(WHAT, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path, &pem)? {
        roots
            .add(certificate)
            .map_err(|refused| TlsError::Refused {
                what: WHAT,
                path: path.to_owned(),
                reason: refused.to_string(),
            })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry single roots that no library takes; only having none at all is a fault.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(roots)
}

/// What a certificate says; `path` is where it came from.
///
/// # Errors
/// It cannot be read.
pub(super) fn facts(
    path: &Path,
    certificate: &CertificateDer<'_>,
) -> Result<CertificateFacts, TlsError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|wrong| TlsError::Refused {
            what: "certificate",
            path: path.to_owned(),
            reason: wrong.to_string(),
        })?;
    let millis = |seconds: i64| UtcMillis(seconds.saturating_mul(1000));
    Ok(CertificateFacts {
        path: path.to_owned(),
        fingerprint: fingerprint(certificate),
        key_sha256: Sha256::digest(parsed.public_key().raw).into(),
        not_before: millis(parsed.validity().not_before.timestamp()),
        not_after: millis(parsed.validity().not_after.timestamp()),
        names: names(&parsed),
    })
}

/// Who issued a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The CA's certificate, in PEM form.
    Certificate(String),
    /// Only its name is known.
    Named(String),
}

/// Looks at the end of a chain, where the CA stands if its certificate is there at all.
///
/// # Errors
/// The file holds no certificate.
pub fn issuer_of(chain: &Path) -> Result<Issuer, TlsError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let pem = read_pem("certificate", chain)?;
    let refused = |reason: String| TlsError::Refused {
        what: "certificate",
        path: chain.to_owned(),
        reason,
    };
    let last = certificates("certificate", chain, &pem)?.pop();
    let last = last.ok_or_else(|| refused("it is empty".to_owned()))?;
    let (_, parsed) = X509Certificate::from_der(&last).map_err(|e| refused(e.to_string()))?;
    let text = String::from_utf8_lossy(&pem);
    match text.rfind(BEGIN).and_then(|at| text.get(at..)) {
        Some(own) if parsed.is_ca() => Ok(Issuer::Certificate(own.to_owned())),
        _ => Ok(Issuer::Named(parsed.issuer().to_string())),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut list: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    if list.is_empty() {
        let common = certificate.subject().iter_common_name();
        list.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    }
    list
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)
    };
    Some(address.to_string())
}

fn day(instant: UtcMillis) -> String {
    jiff::Timestamp::from_millisecond(instant.0).map_or_else(
        |_| "an impossible day".to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::net::self_signed::{SelfSigned, self_signed};
    use crate::runtime::clock::utc_now;

    fn made(folder: &Path) -> CertificateFiles {
        let names = SelfSigned {
            names: vec!["jims.example.com".to_owned()],
            addresses: vec!["192.0.2.7".parse().unwrap()],
        };
        self_signed(folder, &names, utc_now()).unwrap()
    }

    fn options(files: CertificateFiles) -> ServerTlsOptions {
        ServerTlsOptions {
            files,
            clients: ClientCertificates::None,
            alpn: ALPN_HTTP,
        }
    }

    #[test]
    fn a_made_certificate_loads_and_tells_its_facts() {
        let folder = tempfile::tempdir().unwrap();
        let tls = ServerTls::load(options(made(folder.path()))).unwrap();
        let facts = tls.certificate();
        assert_eq!(facts.names, ["jims.example.com", "192.0.2.7"]);
        assert_eq!(facts.fingerprint.len(), 95);
        assert!(facts.check_validity(utc_now()).is_ok());
        assert!(matches!(
            facts.check_validity(UtcMillis(facts.not_after.0 + 1)),
            Err(TlsError::Expired { .. })
        ));
        assert!(matches!(
            facts.check_validity(UtcMillis(facts.not_before.0 - 1)),
            Err(TlsError::NotYetValid { .. })
        ));
    }

    #[test]
    fn every_broken_file_is_a_sentence_with_a_remedy() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mine, other) = (made(one.path()), made(two.path()));
        let says = |files: CertificateFiles| {
            let error = check_files(&options(files)).unwrap_err();
            assert!(!error.remedy().is_empty());
            error
                .to_string()
                .replace(&*one.path().to_string_lossy(), "D")
        };
        let with_key = |key: &Path| CertificateFiles {
            key: key.to_owned(),
            ..mine.clone()
        };
        let mixed = says(with_key(&other.key));
        assert!(
            mixed.contains("does not belong to the certificate"),
            "{mixed}"
        );

        let missing = says(with_key(&one.path().join("none.pem")));
        assert!(missing.contains("D/none.pem"), "{missing}");

        let text = one.path().join("text.pem");
        let write = |content: &str, mode| {
            fs::write(&text, content).unwrap();
            fs::set_permissions(&text, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("hello", 0o600);
        assert_eq!(
            says(with_key(&text)),
            "the key D/text.pem holds no key in PEM form"
        );
        let no_certificate = CertificateFiles {
            certificate: text.clone(),
            ..mine.clone()
        };
        assert_eq!(
            says(no_certificate),
            "the certificate D/text.pem holds no certificate in PEM form"
        );
        write(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            0o600,
        );
        assert_eq!(
            says(with_key(&text)),
            "the key D/text.pem is encrypted with a passphrase"
        );
        write(&fs::read_to_string(&mine.key).unwrap(), 0o644);
        let readable = says(with_key(&text));
        assert!(
            readable.contains("D/text.pem") && readable.contains("mode"),
            "{readable}"
        );
    }

    #[test]
    fn a_broken_new_certificate_keeps_the_old_one() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mine, other) = (made(one.path()), made(two.path()));
        let tls = ServerTls::load(options(mine.clone())).unwrap();
        let before = tls.certificate();
        assert!(!tls.reload(utc_now()).unwrap(), "nothing changed");

        fs::copy(&other.certificate, &mine.certificate).unwrap();
        assert!(matches!(
            tls.reload(utc_now()),
            Err(TlsError::KeyMismatch { .. })
        ));
        assert_eq!(tls.certificate(), before);

        fs::copy(&other.key, &mine.key).unwrap();
        let much_later = UtcMillis(before.not_after.0 + 86_400_000 * 365);
        assert!(matches!(
            tls.reload(much_later),
            Err(TlsError::Expired { .. })
        ));
        assert_eq!(tls.certificate(), before);
        assert!(tls.reload(utc_now()).unwrap());
        assert_ne!(tls.certificate().fingerprint, before.fingerprint);
    }

    #[test]
    fn a_client_trusts_a_file_of_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let files = made(folder.path());
        assert!(client_config(Some(&files.certificate)).is_ok());
        let wrong = client_config(Some(&files.key)).unwrap_err();
        assert!(
            wrong.to_string().contains("holds no certificate"),
            "{wrong}"
        );
    }
}
