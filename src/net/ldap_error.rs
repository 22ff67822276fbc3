//! What goes wrong with an LDAP server, in words, with what the operator can try.
//!
//! Active Directory hides the reason of a refused bind in its diagnostic text (`data 52e`, a Windows error number in
//! hexadecimal); it is turned into words here. No sockets, no decisions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::CertificateError;
use thiserror::Error;

use super::resolve::ResolveError;
use super::security::AuthError;
use crate::wire::ldap::BadMessage;

/// Longest diagnostic text of a server that is shown, in characters.
const MAX_TEXT: usize = 200;

/// Why a directory server could not be used.
#[derive(Debug, Error)]
pub enum LdapError {
    /// The host's name does not resolve.
    #[error(transparent)]
    Name(#[from] ResolveError),
    /// Kerberos or NTLM failed before the server judged.
    #[error("signing on to {host}: {source}")]
    Auth {
        /// The host.
        host: String,
        /// Why.
        source: AuthError,
    },
    /// The connection was refused or the host cannot be reached.
    #[error("could not connect to {host} ({address}): {source}")]
    Connect {
        /// The host.
        host: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A step took too long.
    #[error("{host} did not answer {doing} within {} s", after.as_secs())]
    TimedOut {
        /// The host.
        host: String,
        /// The step.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server's certificate was not accepted.
    #[error("the certificate of {host} {}", certificate_words(problem))]
    Certificate {
        /// The host.
        host: String,
        /// Why not.
        problem: CertificateError,
    },
    /// The handshake failed otherwise.
    #[error("the TLS handshake with {host} failed: {source}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {source}")]
    Io {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server closed the connection.
    #[error("{host} closed the connection during {doing}")]
    Closed {
        /// The host.
        host: String,
        /// The step.
        doing: &'static str,
    },
    /// The server does not speak LDAP as it should.
    #[error("{host}: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What is wrong.
        reason: BadMessage,
    },
    /// One page held more than is taken.
    #[error("{host} sent more in one page than jims takes")]
    TooMuch {
        /// The host.
        host: String,
    },
    /// The client library could not do what was asked.
    #[error("asking {host} failed: {reason}")]
    Client {
        /// The host.
        host: String,
        /// What the library said.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{host} refused {doing}: {}", result_words(*code, text))]
    Result {
        /// The host.
        host: String,
        /// The step.
        doing: &'static str,
        /// LDAP result code.
        code: u32,
        /// The server's diagnostic text.
        text: String,
    },
}

/// Result codes (RFC 4511 appendix A) that jims acts upon.
pub mod code {
    /// The bookmark or cookie is of no use, or the search was stopped.
    pub const OPERATIONS_ERROR: u32 = 1;
    /// More entries than the server hands out at once.
    pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
    /// A SASL bind goes on.
    pub const SASL_BIND_IN_PROGRESS: u32 = 14;
    /// Simple bind over clear text.
    pub const STRONGER_AUTH_REQUIRED: u32 = 8;
    /// A critical control that the server does not know.
    pub const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
    /// Clear text refused.
    pub const CONFIDENTIALITY_REQUIRED: u32 = 13;
    /// No such base.
    pub const NO_SUCH_OBJECT: u32 = 32;
    /// Anonymous access refused.
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    /// Wrong name or password, or the account may not sign on.
    pub const INVALID_CREDENTIALS: u32 = 49;
    /// The account may not do it.
    pub const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
    /// Try later.
    pub const BUSY: u32 = 51;
    /// Shutting down or starting.
    pub const UNAVAILABLE: u32 = 52;
    /// Policy forbids it.
    pub const UNWILLING_TO_PERFORM: u32 = 53;
}

/// Words and remedy for the sub-codes of a refused bind (Windows error numbers).
const SUB_CODES: &[(&str, &str, &str)] = &[
    (
        "57",
        "the channel binding is not accepted",
        "set `channel_binding = \"off\"`",
    ),
    (
        "80090346",
        "the server demands channel binding",
        "set `channel_binding = \"on\"`",
    ),
    (
        "51f",
        "it found nobody who knows the account's domain",
        "write `user` as account@domain with the domain of the directory, or as DOMAIN\\account; else look whether its trusted domains can be reached",
    ),
    (
        "525",
        "there is no such account",
        "check `user` of the directory service; a UPN, DOMAIN\\user or a distinguished name is accepted",
    ),
    (
        "52e",
        "the user name or the password is wrong",
        "check `user` and the password's file; jims reads the file again at each attempt",
    ),
    (
        "530",
        "the account may not sign on at this time",
        "widen the account's logon hours",
    ),
    (
        "531",
        "the account may not sign on from this machine",
        "clear the account's list of workstations",
    ),
    (
        "532",
        "the account's password has expired",
        "set a new password, and let service accounts' passwords not expire",
    ),
    ("533", "the account is disabled", "enable the account"),
    (
        "568",
        "the account is in too many groups to sign on",
        "take the account out of groups",
    ),
    (
        "701",
        "the account has expired",
        "set the account to never expire",
    ),
    (
        "773",
        "the account must change its password first",
        "clear `user must change password at next logon`",
    ),
    (
        "775",
        "the account is locked out",
        "unlock the account, and look for whoever tries wrong passwords with it",
    ),
];

/// Sub-codes that say nothing about the account.
const NOT_THE_ACCOUNT: [&str; 3] = ["51f", "57", "80090346"];

impl LdapError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Name(error) => error.remedy(),
            Self::Auth { source, .. } => source.remedy(),
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "check `port` and `tls`: LDAPS is 636, StartTLS 389; is the directory service running there?".into()
            }
            Self::Connect { .. } => "check the route and the firewalls to it".into(),
            Self::TimedOut { doing: "connecting", .. } => {
                "check that firewalls let this machine reach the port".into()
            }
            Self::TimedOut { doing: "the TLS handshake", .. } => {
                "does the port speak LDAPS? for 389 set `tls = \"starttls\"`".into()
            }
            Self::TimedOut { doing: "StartTLS", .. } | Self::Closed { doing: "StartTLS", .. } => {
                "does the port speak LDAP? 389 does, 636 needs `tls = \"ldaps\"`".into()
            }
            Self::TimedOut { .. } => "check the load of the server".into(),
            Self::Certificate { problem, host } => certificate_remedy(problem, host),
            Self::Tls { .. } => {
                "does the port speak LDAPS? 636 does, 389 needs `tls = \"starttls\"`; a domain controller without a certificate closes 636 at once".into()
            }
            Self::Io { .. } | Self::Closed { .. } => "look into the server's log; jims tries again".into(),
            Self::Protocol { .. } => "check `port` and `tls`: is this an LDAP server?".into(),
            Self::TooMuch { .. } => "lower `page_size`".into(),
            Self::Client { .. } => "this is a defect of jims: please report it".into(),
            Self::Result { code, text, .. } => result_remedy(*code, text),
        }
    }

    /// Whether the account is refused: trying other hosts or soon again only locks it out.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        match self {
            Self::Result { code, text, .. } => {
                let about =
                    sub_code(text).is_none_or(|(number, _, _)| !NOT_THE_ACCOUNT.contains(number));
                *code == code::INVALID_CREDENTIALS && about
            }
            Self::Auth { source, .. } => source.is_credentials(),
            _ => false,
        }
    }

    /// The server's result code, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Result { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// An error of the client library.
    pub(super) fn client(host: &str, error: ldap3::LdapError) -> Self {
        let host = host.to_owned();
        match error {
            ldap3::LdapError::Io { source } => Self::Io { host, source },
            ldap3::LdapError::ResultRecv { .. }
            | ldap3::LdapError::OpSend { .. }
            | ldap3::LdapError::IdScrubSend { .. }
            | ldap3::LdapError::EndOfStream => Self::Closed {
                host,
                doing: "a conversation",
            },
            other => Self::Client {
                host,
                reason: other.to_string(),
            },
        }
    }

    /// An error of a TLS handshake.
    pub(super) fn handshake(host: &str, source: io::Error) -> Self {
        let host = host.to_owned();
        let certificate = source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .and_then(|error| match error {
                rustls::Error::InvalidCertificate(problem) => Some(problem.clone()),
                _ => None,
            });
        match certificate {
            Some(problem) => Self::Certificate { host, problem },
            None => Self::Tls { host, source },
        }
    }
}

fn certificate_words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is signed by nobody whom jims trusts".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet".into()
        }
        CertificateError::NotValidForName => "is for another name".into(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().take(5).map(String::as_str).collect();
            format!("is for another name ({})", names.join(", "))
        }
        CertificateError::Revoked => "is revoked".into(),
        other => format!("was not accepted: {other:?}"),
    }
}

fn certificate_remedy(problem: &CertificateError, host: &str) -> String {
    match problem {
        // A bad signature is that of an authority renewed under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "set `ca_file` to the certificate of the authority that signed it (PEM), or add it to the system's roots".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("write the name that the certificate carries in `hosts` in place of {host}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "check the clocks of this machine and of the server".into()
        }
        _ => "renew the server's certificate".into(),
    }
}

/// The sub-code in `…, data 52e, v2580`.
fn sub_code(text: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let (_, rest) = text.split_once("data ")?;
    let digits = rest
        .split(|c: char| !c.is_ascii_hexdigit())
        .next()
        .unwrap_or_default();
    SUB_CODES
        .iter()
        .find(|(number, _, _)| number.eq_ignore_ascii_case(digits))
}

fn result_words(result: u32, text: &str) -> String {
    if result == code::INVALID_CREDENTIALS {
        if let Some((number, words, _)) = sub_code(text) {
            return format!("{words} (invalidCredentials, data {number})");
        }
        return format!(
            "the user name or the password is wrong (invalidCredentials{})",
            shown(text)
        );
    }
    let words = match result {
        code::OPERATIONS_ERROR => "operationsError",
        2 => "protocolError",
        3 => "it takes too long (timeLimitExceeded)",
        code::SIZE_LIMIT_EXCEEDED => "too many entries (sizeLimitExceeded)",
        7 => "simple bind is not supported (authMethodNotSupported)",
        code::STRONGER_AUTH_REQUIRED => {
            "this way of signing on needs more protection (strongerAuthRequired)"
        }
        10 => "it refers to another server (referral)",
        11 => "over its limits (adminLimitExceeded)",
        code::UNAVAILABLE_CRITICAL_EXTENSION => {
            "it does not know a control (unavailableCriticalExtension)"
        }
        code::CONFIDENTIALITY_REQUIRED => {
            "it wants an encrypted connection (confidentialityRequired)"
        }
        code::NO_SUCH_OBJECT => "there is no such object (noSuchObject)",
        34 => "the name is not well formed (invalidDNSyntax)",
        code::INAPPROPRIATE_AUTHENTICATION => {
            "it takes no sign-on without a password (inappropriateAuthentication)"
        }
        code::INSUFFICIENT_ACCESS_RIGHTS => "the account may not (insufficientAccessRights)",
        code::BUSY => "it is busy (busy)",
        code::UNAVAILABLE => "it is starting or stopping (unavailable)",
        code::UNWILLING_TO_PERFORM => "its policy forbids that (unwillingToPerform)",
        _ => return format!("LDAP result {result}{}", shown(text)),
    };
    format!("{words}{}", shown(text))
}

fn result_remedy(result: u32, text: &str) -> String {
    match result {
        code::INVALID_CREDENTIALS => sub_code(text).map_or(
            "check `user` and the password's file; jims reads the file again at each attempt",
            |(_, _, remedy)| remedy,
        ),
        // Samba words it so, even inside TLS.
        code::STRONGER_AUTH_REQUIRED if text.contains("SASL") => {
            "Samba: `ldap server require strong auth = allow_sasl_over_tls`; or sign on with `auth = \"simple\"`"
        }
        code::STRONGER_AUTH_REQUIRED | code::CONFIDENTIALITY_REQUIRED => {
            "set `tls = \"ldaps\"` or `tls = \"starttls\"`"
        }
        code::INAPPROPRIATE_AUTHENTICATION => "set a password for the account",
        code::INSUFFICIENT_ACCESS_RIGHTS | code::NO_SUCH_OBJECT => {
            "let the account read the domain; members of Domain Users normally can"
        }
        code::UNAVAILABLE_CRITICAL_EXTENSION => {
            "only Active Directory (Windows or Samba) can be read"
        }
        2 | 52 | 53 if text.contains("TLS") || text.contains("0000204F") => {
            "install a certificate on the domain controller"
        }
        code::BUSY | code::UNAVAILABLE | 3 | 11 => "jims tries again; look into the server's log",
        _ => "look into the server's log",
    }
    .to_owned()
}

/// A server's text, cut and made harmless for one line.
fn shown(text: &str) -> String {
    let text: String = text
        .chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let text = text.trim();
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u32, text: &str) -> LdapError {
        LdapError::Result {
            host: "dc1".into(),
            doing: "the bind",
            code,
            text: text.into(),
        }
    }

    #[test]
    fn every_reason_of_a_refused_bind_has_words_and_a_remedy() {
        let mut words = std::collections::BTreeSet::new();
        for (number, _, _) in SUB_CODES {
            let text = format!(
                "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {number}, v4563"
            );
            let error = refused(49, &text);
            assert_eq!(error.is_credentials(), !NOT_THE_ACCOUNT.contains(number));
            assert!(words.insert(error.to_string()), "{error}");
            assert!(!error.remedy().is_empty());
        }
        assert_eq!(
            refused(49, "…error, data 52e, v2580").to_string(),
            "dc1 refused the bind: the user name or the password is wrong (invalidCredentials, data 52e)"
        );
        assert!(
            refused(49, "Simple Bind Failed: NT_STATUS_LOGON_FAILURE")
                .to_string()
                .contains("password is wrong")
        );
    }

    #[test]
    fn clear_text_refused_names_the_key_to_set() {
        assert!(refused(8, "").remedy().contains("starttls"));
        assert!(refused(52, "").to_string().contains("unavailable"));
    }

    #[test]
    fn a_servers_text_cannot_forge_a_line() {
        let error = refused(80, "a\nERROR b\u{1b}[31m");
        assert_eq!(
            error.to_string(),
            "dc1 refused the bind: LDAP result 80: a ERROR b [31m"
        );
    }
}
