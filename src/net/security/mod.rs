//! Signing on to Windows services: NTLM, Kerberos and SPNEGO, and what protects messages afterwards.
//!
//! The one room that names the security library. A [`Negotiation`] hands out tokens and takes the other side's until it
//! is done; whatever carries them (RPC, LDAP) is not known here. Key distribution centres are asked in `kdc`, over TCP,
//! so that their order, deadlines and errors are ours. The library's own logs hold keys: `runtime::telemetry` mutes it.

mod context;
mod error;
mod kdc;

use std::net::IpAddr;

use picky_krb::crypto::CipherSuite;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, ClientRequestFlags, KerberosConfig, KeytabIdentity, NegotiateConfig, Ntlm,
    Username,
};

use self::context::Mechanism;
pub use self::error::AuthError;
pub use self::kdc::Kdcs;
use crate::config::secret::SecretError;
use crate::config::{self, Auth};
use crate::runtime::clock::utc_now;
use crate::wire::kerberos::{self, KeyType, KrbError};
use crate::wire::security::SecurityContext;

const NTLM: &str = "ntlm";

/// How to sign on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Kerberos and nothing else.
    Kerberos,
    /// SPNEGO: Kerberos, else NTLM (RFC 4178).
    Negotiate,
    /// NTLM version 2 and nothing else.
    Ntlm,
}

impl From<Auth> for Method {
    /// Simple binds know no method; what asks for one means Kerberos.
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::Kerberos | Auth::Simple => Self::Kerberos,
            Auth::Negotiate => Self::Negotiate,
            Auth::Ntlm => Self::Ntlm,
        }
    }
}

/// An account and what proves it.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `user@domain`, `DOMAIN\user`, or a bare name.
    pub user: String,
    /// The DNS domain: the realm, and the domain of a bare name.
    pub domain: String,
    /// What proves it.
    pub proof: Proof,
}

/// What proves an account. Never printed.
#[derive(Clone)]
pub enum Proof {
    /// Its password.
    Password(SecretString),
    /// A keytab's bytes.
    Keytab(SecretSlice<u8>),
}

impl Proof {
    /// Reads the configured proof as it is now.
    ///
    /// # Errors
    /// [`SecretError`]: the secret cannot be read.
    pub fn read(configured: &config::Proof) -> Result<Self, SecretError> {
        Ok(match configured {
            config::Proof::Password(secret) => Self::Password(secret.read()?),
            config::Proof::Keytab(secret) => {
                Self::Keytab(SecretSlice::from(secret.read_bytes()?.to_vec()))
            }
        })
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "a password",
            Self::Keytab(_) => "a keytab",
        })
    }
}

/// What the context is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// RPC: three legs (DCE style) and encryption.
    Rpc,
    /// SASL inside TLS: nothing is protected by the context itself (MS-ADTS 5.1.1.1.2).
    InsideTls {
        /// The server's certificate (DER), to which the sign-on is bound (RFC 5929, `tls-server-end-point`).
        certificate: Vec<u8>,
        /// When.
        binding: Binding,
    },
}

/// When a sign-on is bound to the TLS channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Never.
    Never,
    /// With NTLM; also where SPNEGO comes to it.
    WithNtlm,
    /// Always.
    Always,
}

/// Who is signed on to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Kind of service: `host`, `ldap`.
    pub service: &'static str,
    /// Full host name; an address can be reached by NTLM only.
    pub host: String,
}

/// What one step gave.
#[derive(Clone, Debug)]
pub struct Step {
    /// For the other side; may be empty at the end.
    pub token: Vec<u8>,
    /// Nothing more is expected from the other side.
    pub done: bool,
}

/// What came of a negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// `kerberos` or `ntlm`.
    pub mechanism: &'static str,
    /// How far the server's clock (with Kerberos: the key distribution centre's) is ahead of ours, in milliseconds.
    pub clock_offset: Option<i64>,
}

/// A sign-on in progress.
pub struct Negotiation {
    mechanism: Mechanism,
    auth_type: u8,
    target: String,
    flags: ClientRequestFlags,
    bindings: Option<Vec<u8>>,
    /// The bindings are for NTLM only.
    bind_ntlm_only: bool,
    kdcs: Kdcs,
    account: String,
    clock_offset: Option<i64>,
    done: bool,
}

impl std::fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiation")
            .field("target", &self.target)
            .field("auth_type", &self.auth_type)
            .finish_non_exhaustive()
    }
}

impl Negotiation {
    /// Prepares a sign-on; `kdcs` are asked where Kerberos is spoken.
    ///
    /// # Errors
    /// [`AuthError`]: the account, the keytab or the target does not fit the method.
    pub fn new(
        method: Method,
        credentials: &Credentials,
        target: &Target,
        purpose: &Purpose,
        kdcs: Kdcs,
    ) -> Result<Self, AuthError> {
        let is_address = target.host.parse::<IpAddr>().is_ok();
        let method = match method {
            Method::Kerberos if is_address => {
                return Err(AuthError::NeedsName {
                    host: target.host.clone(),
                });
            }
            // A ticket is made out to a name; what is left of Negotiate is NTLM.
            Method::Negotiate if is_address => Method::Ntlm,
            method => method,
        };
        let identity = identity(method, credentials)?;
        let workstation = workstation();
        let kerberos = KerberosConfig::new_with_kdc_url(kdc::PLACEHOLDER, workstation.clone());
        let ntlm = NtlmConfig::new(workstation.clone());
        let negotiate = |first: Box<dyn sspi::negotiate::ProtocolConfig>, packages: &str| {
            let config = NegotiateConfig::new(first, Some(packages.to_owned()), workstation);
            Mechanism::negotiate(config, identity.clone())
        };
        let (mechanism, auth_type) = match (method, purpose) {
            (Method::Negotiate, _) => (negotiate(Box::new(kerberos), "kerberos,ntlm")?, 9),
            (Method::Kerberos, Purpose::Rpc) => (Mechanism::kerberos(kerberos, identity)?, 16),
            (Method::Ntlm, Purpose::Rpc) => {
                (Mechanism::ntlm(Ntlm::with_config(ntlm), identity)?, 10)
            }
            // SASL's name for what LDAP servers take is GSS-SPNEGO; it may offer one mechanism only.
            (Method::Kerberos, Purpose::InsideTls { .. }) => {
                (negotiate(Box::new(kerberos), "kerberos")?, 9)
            }
            (Method::Ntlm, Purpose::InsideTls { .. }) => (negotiate(Box::new(ntlm), "ntlm")?, 9),
        };
        Ok(Self {
            mechanism,
            auth_type,
            target: format!("{}/{}", target.service, target.host),
            flags: flags(purpose),
            bindings: bindings(purpose)?,
            bind_ntlm_only: matches!(
                purpose,
                Purpose::InsideTls {
                    binding: Binding::WithNtlm,
                    ..
                }
            ),
            kdcs: kdcs.afresh(),
            account: credentials.user.clone(),
            clock_offset: None,
            done: false,
        })
    }

    /// The kind of security in RPC: 9 SPNEGO, 10 NTLM, 16 Kerberos (MS-RPCE 2.2.1.1.7).
    #[must_use]
    pub fn auth_type(&self) -> u8 {
        self.auth_type
    }

    /// Takes the server's token (none at first) and gives ours.
    ///
    /// # Errors
    /// [`AuthError`]: why the sign-on fails.
    pub async fn step(&mut self, input: Option<&[u8]>) -> Result<Step, AuthError> {
        if let Some(offset) = input.and_then(context::ntlm_clock) {
            self.clock_offset = Some(offset);
        }
        if let Some(told) = input.and_then(KrbError::in_token) {
            return Err(AuthError::of_service(&told, &self.target, utc_now().0));
        }
        let was = self.mechanism.name();
        let exchange = context::Exchange {
            target: &self.target,
            flags: self.flags,
            bindings: self
                .bindings
                .as_deref()
                .filter(|_| !self.bind_ntlm_only || was == NTLM),
        };
        let result = self.mechanism.step(&exchange, input, &mut self.kdcs).await;
        if let Some(offset) = self.kdcs.clock_offset() {
            self.clock_offset = Some(offset);
        }
        let step = result.map_err(|error| {
            AuthError::of_failure(&error, &self.account, &self.target, &self.kdcs)
        })?;
        if self.mechanism.name() != was {
            self.report_fallback();
        }
        self.done = step.done;
        Ok(step)
    }

    /// The context that protects messages, and what came of the negotiation.
    ///
    /// # Errors
    /// [`AuthError`]: it is not done.
    pub fn finish(self) -> Result<(Box<dyn SecurityContext>, Negotiated), AuthError> {
        if !self.done {
            return Err(AuthError::Protocol {
                said: "the sign-on ended too early".to_owned(),
            });
        }
        let negotiated = Negotiated {
            mechanism: self.mechanism.name(),
            clock_offset: self.clock_offset,
        };
        let context = self.mechanism.protect(self.auth_type)?;
        Ok((Box::new(context), negotiated))
    }

    /// What came of a negotiation whose context protects nothing.
    #[must_use]
    pub fn outcome(&self) -> Negotiated {
        Negotiated {
            mechanism: self.mechanism.name(),
            clock_offset: self.clock_offset,
        }
    }
}

impl Negotiation {
    /// SPNEGO came to NTLM although Kerberos was wanted.
    fn report_fallback(&self) {
        let refusal = AuthError::of_refusal(&self.account, &self.target, &self.kdcs);
        let told = match (refusal, self.kdcs.tried()) {
            (Some(refusal), _) => refusal.to_string(),
            (None, []) => "the server wants NTLM".to_owned(),
            (None, tried) => tried.join("; "),
        };
        tracing::warn!(
            service = self.target,
            reason = told,
            "Kerberos failed, NTLM is used"
        );
    }
}

fn flags(purpose: &Purpose) -> ClientRequestFlags {
    match purpose {
        Purpose::Rpc => {
            ClientRequestFlags::INTEGRITY
                | ClientRequestFlags::CONFIDENTIALITY
                | ClientRequestFlags::MUTUAL_AUTH
                | ClientRequestFlags::USE_DCE_STYLE
                | ClientRequestFlags::SEQUENCE_DETECT
                | ClientRequestFlags::REPLAY_DETECT
        }
        Purpose::InsideTls { .. } => ClientRequestFlags::MUTUAL_AUTH,
    }
}

/// `SEC_CHANNEL_BINDINGS` with the hash of the server's certificate as application data (MS-NLMP 3.1.5.1.2).
fn bindings(purpose: &Purpose) -> Result<Option<Vec<u8>>, AuthError> {
    const HEADER_BYTES: u32 = 32;
    let certificate = match purpose {
        Purpose::Rpc
        | Purpose::InsideTls {
            binding: Binding::Never,
            ..
        } => return Ok(None),
        Purpose::InsideTls { certificate, .. } => certificate,
    };
    let hash = certificate_hash(certificate).ok_or_else(|| AuthError::Protocol {
        said: "the server's certificate cannot be read for channel binding".to_owned(),
    })?;
    let mut data = b"tls-server-end-point:".to_vec();
    data.extend(hash);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    // Initiator and acceptor: type, length, offset, all nothing; then the application data's length and offset.
    for number in [0, 0, 0, 0, 0, 0, length, HEADER_BYTES] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(data);
    Ok(Some(bytes))
}

/// The certificate's hash by the algorithm of its signature, where that is MD5 or SHA-1 by SHA-256 (RFC 5929 4.1).
fn certificate_hash(der: &[u8]) -> Option<Vec<u8>> {
    use sha2::Digest;
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    Some(match oid.as_str() {
        // sha384WithRSAEncryption, ecdsa-with-SHA384
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => sha2::Sha384::digest(der).to_vec(),
        // sha512WithRSAEncryption, ecdsa-with-SHA512
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => sha2::Sha512::digest(der).to_vec(),
        _ => sha2::Sha256::digest(der).to_vec(),
    })
}

/// What this machine calls itself; servers write it into their logs.
fn workstation() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    name.split('.').next().unwrap_or_default().to_uppercase()
}

/// The account as the library wants it: by its principal where Kerberos is spoken.
fn identity(method: Method, credentials: &Credentials) -> Result<sspi::Credentials, AuthError> {
    let realm = credentials.domain.to_uppercase();
    let (domain, name) = match credentials.user.split_once('\\') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, credentials.user.as_str()),
    };
    let malformed = |_| AuthError::Account {
        account: credentials.user.clone(),
    };
    let principal = match name.rsplit_once('@') {
        Some((user, suffix)) if suffix.eq_ignore_ascii_case(&realm) => format!("{user}@{realm}"),
        Some(_) => name.to_owned(),
        None => format!("{name}@{realm}"),
    };
    let of_realm = principal
        .rsplit_once('@')
        .is_some_and(|(_, suffix)| suffix == realm);
    let username = match (method, domain) {
        (Method::Ntlm, Some(domain)) => Username::new_down_level_logon_name(name, domain),
        // Another suffix is part of the name, and the realm is asked who that is (RFC 6806 section 5).
        (Method::Kerberos | Method::Negotiate, _) if !of_realm => {
            Username::new_down_level_logon_name(name, &realm)
        }
        _ => Username::parse(&principal),
    }
    .map_err(malformed)?;
    match &credentials.proof {
        Proof::Password(password) => Ok(sspi::Credentials::AuthIdentity(AuthIdentity {
            username,
            password: password.expose_secret().to_owned().into(),
        })),
        Proof::Keytab(bytes) => {
            let key = best_key(bytes.expose_secret(), &principal)?;
            let suite = match key.key_type {
                KeyType::Aes128 => CipherSuite::Aes128CtsHmacSha196,
                KeyType::Aes256 => CipherSuite::Aes256CtsHmacSha196,
            };
            Ok(sspi::Credentials::Keytab(KeytabIdentity {
                principal: username,
                key: key.bytes.to_vec().into(),
                key_enctype: suite,
            }))
        }
    }
}

/// The newest and strongest key of an account.
fn best_key(keytab: &[u8], principal: &str) -> Result<kerberos::Key, AuthError> {
    let keys = kerberos::keytab(keytab).map_err(|error| AuthError::Keytab {
        said: error.to_string(),
    })?;
    let of_account = |key: &&kerberos::Key| {
        format!("{}@{}", key.principal, key.realm).eq_ignore_ascii_case(principal)
    };
    let found = keys.iter().filter(of_account);
    let best = found.max_by_key(|key| (key.version, key.key_type));
    best.cloned().ok_or_else(|| AuthError::Keytab {
        said: format!("it has no AES key of {principal}"),
    })
}

#[cfg(test)]
mod tests;
