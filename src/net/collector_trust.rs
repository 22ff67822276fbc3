//! Whether a Server is the one that a Collector wants (rule 26): roots verify its certificate, or its key is the known one.
//!
//! Either is enough, so that a code works without any CA, and a certificate of a CA may be renewed with another key. What
//! was seen is kept, for people who compare fingerprints and for messages that help.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::CertificateError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;

use super::https_client::refusal_of;
use super::tls::{CertificateFacts, TlsError, facts, fingerprint, trusted_roots};
use super::verifier::{Judge, Shown, provider};
use crate::identity::time::UtcMillis;

/// Whom a Collector takes for the Server; what is named is alternative to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTrust {
    /// Issuers of this file, instead of this machine's roots.
    pub ca_file: Option<PathBuf>,
    /// A certificate with this key: SHA-256 over its SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). Its names and its life do
    /// not matter then.
    pub key_sha256: Option<[u8; 32]>,
}

/// What made a certificate good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedBy {
    /// This machine's roots.
    Roots,
    /// An issuer of the CA file.
    CaFile,
    /// Its key.
    Key,
}

impl TrustedBy {
    /// The word for files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Roots => "roots",
            Self::CaFile => "ca-file",
            Self::Key => "key",
        }
    }
}

/// A certificate that a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCertificate {
    /// SHA-256 over the certificate: `AB:CD:…`.
    pub fingerprint: String,
    /// SHA-256 over its public key; all zero if it cannot be read.
    pub key_sha256: [u8; 32],
    /// First moment of its life.
    pub not_before: UtcMillis,
    /// Last moment of its life.
    pub not_after: UtcMillis,
    /// DNS names and addresses it is for.
    pub names: Vec<String>,
    /// Why it was taken, or in words why not.
    pub verdict: Result<TrustedBy, String>,
    /// Whether its key is the one named; `None`: none was.
    pub key_matches: Option<bool>,
}

impl SeenCertificate {
    /// The key's hash as people compare it.
    #[must_use]
    pub fn key_text(&self) -> String {
        hex(&self.key_sha256)
    }
}

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the judge saw last.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) accepted: Option<SeenCertificate>,
    pub(super) refused: Option<SeenCertificate>,
}

/// Takes a server whose certificate roots verify, or whose key is known.
#[derive(Debug)]
pub(super) struct RootsOrKey {
    issuers: Option<(TrustedBy, Arc<WebPkiServerVerifier>)>,
    key: Option<[u8; 32]>,
    memory: Arc<Mutex<Memory>>,
}

impl RootsOrKey {
    /// Reads the roots now. A machine without roots of its own goes by the key, if there is one.
    pub(super) fn new(trust: &ServerTrust, memory: Arc<Mutex<Memory>>) -> Result<Self, TlsError> {
        let by = match trust.ca_file {
            Some(_) => TrustedBy::CaFile,
            None => TrustedBy::Roots,
        };
        let roots = match trusted_roots(trust.ca_file.as_deref()) {
            Ok(roots) => Some(roots),
            Err(TlsError::NoSystemRoots) if trust.key_sha256.is_some() => None,
            Err(error) => return Err(error),
        };
        let issuers = roots.map(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| TlsError::Refused {
                    what: "CA file",
                    path: trust.ca_file.clone().unwrap_or_default(),
                    reason: error.to_string(),
                })
        });
        Ok(Self {
            issuers: issuers.transpose()?.map(|issuers| (by, issuers)),
            key: trust.key_sha256,
            memory,
        })
    }

    fn decide(&self, shown: &Shown<'_>, key: [u8; 32]) -> Result<TrustedBy, rustls::Error> {
        let mut failure = CertificateError::ApplicationVerificationFailure.into();
        if let Some((by, issuers)) = &self.issuers {
            let verified = issuers.verify_server_cert(
                shown.end_entity,
                shown.intermediates,
                shown.server_name,
                shown.ocsp_response,
                shown.now,
            );
            match verified {
                Ok(_) => return Ok(*by),
                Err(error) => failure = error,
            }
        }
        // A key that could not be read is nobody's.
        if self.key == Some(key) && key != [0; 32] {
            return Ok(TrustedBy::Key);
        }
        Err(failure)
    }
}

impl Judge for RootsOrKey {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), rustls::Error> {
        let said = facts(Path::new(""), shown.end_entity);
        let said = said.unwrap_or_else(|_| CertificateFacts {
            path: PathBuf::new(),
            fingerprint: fingerprint(shown.end_entity),
            key_sha256: [0; 32],
            not_before: UtcMillis(i64::MIN),
            not_after: UtcMillis(i64::MAX),
            names: Vec::new(),
        });
        let key = said.key_sha256;
        let verdict = self.decide(shown, key);
        let seen = SeenCertificate {
            fingerprint: said.fingerprint,
            key_sha256: key,
            not_before: said.not_before,
            not_after: said.not_after,
            names: said.names,
            verdict: verdict.as_ref().copied().map_err(refusal_of),
            key_matches: self.key.map(|wanted| wanted == key),
        };
        let mut memory = self.memory.lock();
        if verdict.is_ok() {
            memory.accepted = Some(seen);
        } else {
            memory.refused = Some(seen);
        }
        verdict.map(|_| ())
    }
}
