//! Why a sign-on failed, told apart by what an operator has to do.

use thiserror::Error;

use super::kdc::{Kdcs, Told};
use crate::wire::kerberos::{KrbError, code};

/// Why a sign-on failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The password or key is wrong.
    #[error("the password of {account} is wrong")]
    WrongPassword {
        /// The account.
        account: String,
    },
    /// There is no such account.
    #[error("there is no account {account}")]
    UnknownAccount {
        /// The account.
        account: String,
    },
    /// The account may not sign on.
    #[error("the account {account} is disabled, locked or expired, or may not sign on now")]
    Revoked {
        /// The account.
        account: String,
    },
    /// The password is too old.
    #[error("the password of {account} has expired")]
    PasswordExpired {
        /// The account.
        account: String,
    },
    /// The clocks differ too much.
    #[error("the clock of the other side is {} s {} ours", ahead_ms.abs() / 1000, if *ahead_ms < 0 { "behind" } else { "ahead of" })]
    ClockSkew {
        /// How far it is ahead of ours, in milliseconds.
        ahead_ms: i64,
    },
    /// Nobody gives tickets.
    #[error("no key distribution centre of {realm} answered: {}", tried.join("; "))]
    NoKdc {
        /// The realm.
        realm: String,
        /// Each one, with what happened.
        tried: Vec<String>,
    },
    /// The service has no account of that name.
    #[error("the realm {realm} knows no service {service}")]
    UnknownService {
        /// The service principal name.
        service: String,
        /// The realm.
        realm: String,
    },
    /// The account or service has no AES keys.
    #[error(
        "{account} has no AES keys: the key distribution centre offers no encryption that jims takes"
    )]
    NoAesKeys {
        /// The account, or the name of the service.
        account: String,
    },
    /// The key distribution centre does not want a proof of this account, and the library insists on one.
    #[error("the account {account} is set not to require Kerberos pre-authentication")]
    NoPreauthentication {
        /// The account.
        account: String,
    },
    /// The service belongs to another realm than the account.
    #[error(
        "{service} is of another realm than the account's, {realm}, and nobody is known who gives tickets there"
    )]
    OtherRealm {
        /// The service principal name.
        service: String,
        /// The account's realm.
        realm: String,
    },
    /// The ticket was made out to another account's key.
    #[error(
        "{service} could not decrypt its ticket: its name belongs to another account, or its password has just changed"
    )]
    WrongTicket {
        /// The service principal name.
        service: String,
    },
    /// Kerberos was asked for an address.
    #[error("Kerberos needs a host name, and {host} is an address")]
    NeedsName {
        /// The host.
        host: String,
    },
    /// The account cannot be used so.
    #[error("{account} is not the name of an account")]
    Account {
        /// As configured.
        account: String,
    },
    /// The keytab cannot be used.
    #[error("the keytab cannot be used: {said}")]
    Keytab {
        /// Why.
        said: String,
    },
    /// Whatever else the library or the server says.
    #[error("the sign-on failed: {said}")]
    Protocol {
        /// What.
        said: String,
    },
}

impl AuthError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::WrongPassword { .. } => "correct the password or the keytab; jims reads it again when the file changes".into(),
            Self::UnknownAccount { .. } => "correct `user`: account@domain as in the directory".into(),
            Self::Revoked { .. } => "look at the account: Get-ADUser -Properties LockedOut,Enabled,AccountExpirationDate; unlock it with Unlock-ADAccount".into(),
            Self::PasswordExpired { .. } => "set a new password, and let it never expire or use a group managed account's keytab".into(),
            Self::ClockSkew { .. } => "set the clocks: chronyc makestep here, w32tm /resync there; Kerberos allows 5 minutes".into(),
            Self::NoKdc { .. } => "open TCP port 88 towards the domain controllers, or name them in `kdc`".into(),
            Self::UnknownService { service, .. } => {
                let host = service.split_once('/').map_or("", |(_, host)| host);
                format!("write `host` as the server's full name in the directory; its account must have the name: setspn -S {service} {}$", host.split('.').next().unwrap_or_default())
            }
            Self::NoAesKeys { .. } => "let the account use AES (msDS-SupportedEncryptionTypes 24) and then set its password anew, which makes the keys".into(),
            Self::NoPreauthentication { .. } => "clear \"Do not require Kerberos preauthentication\" of the account".into(),
            Self::OtherRealm { .. } => "sign on with an account of the server's own domain, or name that realm's key distribution centre in /etc/krb5.conf".into(),
            Self::WrongTicket { service } => format!("find who has the name, and take it from the wrong one: setspn -Q {service}, setspn -X"),
            Self::NeedsName { .. } => "write the server's full host name".into(),
            Self::Account { .. } => "write account@domain or DOMAIN\\account".into(),
            Self::Keytab { .. } => "export it anew: ktpass -princ account@REALM -crypto AES256-SHA1 -pass * -out file, or samba-tool domain exportkeytab".into(),
            Self::Protocol { .. } => "look into the server's Security log for the failed sign-on".into(),
        }
    }

    /// Whether trying again with the same proof only locks the account.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        matches!(
            self,
            Self::WrongPassword { .. }
                | Self::UnknownAccount { .. }
                | Self::Revoked { .. }
                | Self::PasswordExpired { .. }
        )
    }

    /// What a failure of the library means, given what the key distribution centres said.
    pub(super) fn of_failure(
        error: &sspi::Error,
        account: &str,
        service: &str,
        kdcs: &Kdcs,
    ) -> Self {
        Self::of_refusal(account, service, kdcs)
            .unwrap_or_else(|| Self::of_silence(error, service, kdcs))
    }

    /// What a key distribution centre refused; `None`: nothing.
    pub(super) fn of_refusal(account: &str, service: &str, kdcs: &Kdcs) -> Option<Self> {
        let account = account.to_owned();
        let (told, for_service) = match kdcs.told()? {
            Told::Error(told, for_service) => (told, *for_service),
            Told::TicketWithoutProof => return Some(Self::NoPreauthentication { account }),
        };
        Some(match told.code {
            code::PREAUTHENTICATION_FAILED | code::INTEGRITY => Self::WrongPassword { account },
            code::CLIENT_UNKNOWN | code::WRONG_REALM => Self::UnknownAccount { account },
            code::REVOKED | code::POLICY => Self::Revoked { account },
            code::PASSWORD_EXPIRED => Self::PasswordExpired { account },
            code::SKEW => Self::ClockSkew {
                ahead_ms: kdcs.clock_offset().unwrap_or(0),
            },
            code::SERVICE_UNKNOWN => Self::UnknownService {
                service: service.to_owned(),
                realm: kdcs.realm().to_owned(),
            },
            code::ENCRYPTION if for_service => Self::NoAesKeys {
                account: service.to_owned(),
            },
            code::ENCRYPTION => Self::NoAesKeys { account },
            other => Self::Protocol {
                said: format!("the key distribution centre answered error {other}"),
            },
        })
    }

    /// A failure without a refusal by a key distribution centre.
    fn of_silence(error: &sspi::Error, service: &str, kdcs: &Kdcs) -> Self {
        if error.error_type != sspi::ErrorKind::NoAuthenticatingAuthority {
            return Self::Protocol {
                said: error.description.clone(),
            };
        }
        let realm = kdcs.realm().to_owned();
        if kdcs.tried().is_empty() {
            // The library found nobody to ask at all: that happens only after a referral.
            let service = service.to_owned();
            return Self::OtherRealm { service, realm };
        }
        Self::NoKdc {
            realm,
            tried: kdcs.tried().to_vec(),
        }
    }

    /// What a service means that answers with an error in place of its proof.
    pub(super) fn of_service(told: &KrbError, service: &str, now_ms: i64) -> Self {
        match (told.code, told.server_time_ms) {
            (code::SKEW, Some(time)) => Self::ClockSkew {
                ahead_ms: time - now_ms,
            },
            (code::MODIFIED, _) => Self::WrongTicket {
                service: service.to_owned(),
            },
            (other, _) => Self::Protocol {
                said: format!("{service} answered Kerberos error {other}"),
            },
        }
    }
}

impl From<sspi::Error> for AuthError {
    fn from(error: sspi::Error) -> Self {
        Self::Protocol {
            said: error.description,
        }
    }
}
