//! What goes wrong on the way to a computer's answer: of which kind it is, in words, and what the operator can do.
//!
//! The kinds are those that decide what becomes of the session and of the credential. Windows says "access denied" at
//! five places for five reasons; which one it is follows from the step.

use std::net::IpAddr;

use super::credentials::Reason;
use crate::config::Auth;
use crate::net::rpc::RpcError;
use crate::net::security::AuthError;
use crate::wire::dcerpc::status;
use crate::wire::dcom::ReplyError;
use crate::wire::dcom::status as hresult;

/// A step of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Under which name it is known.
    Name,
    /// Its object activator is reached.
    Port,
    /// The bind, and who we are.
    SignOn,
    /// The login object is made.
    Activate,
    /// Its objects are reached.
    ObjectPort,
    /// The namespace is opened.
    LogIn,
    /// The queries.
    Query,
    /// What it all means.
    Answer,
}

impl Step {
    /// The word for screens and JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Port => "port",
            Self::SignOn => "sign-on",
            Self::Activate => "activate",
            Self::ObjectPort => "object port",
            Self::LogIn => "log in",
            Self::Query => "query",
            Self::Answer => "answer",
        }
    }
}

/// What a failure means for the session and the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody answers at the address.
    Unreachable,
    /// The computer answers, and does not tell.
    Refused,
    /// It would perhaps tell another account.
    NoRights,
    /// The credential itself is refused.
    Credential(Reason),
    /// The ticket does not fit: it is not the computer of that name, or of another domain than the account; another name
    /// or another credential may fit.
    OtherComputer,
    /// The fault is on our side: no ticket can be had, a secret cannot be read. Nothing follows for the computer.
    Ours,
}

/// Why a computer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) step: Step,
    pub(super) kind: Kind,
    /// One sentence without full stop.
    pub(super) message: String,
    /// What to try; may be empty.
    pub(super) remedy: String,
}

const FIREWALL: &str = "on the computer: Enable-NetFirewallRule -DisplayGroup \"Windows Management Instrumentation (WMI)\"; between here and there: TCP 135 and 49152 to 65535";
const DCOM: &str = "add the account to the group \"Distributed COM Users\" of the computer, or make it a local administrator; a local account is also cut down by remote UAC (LocalAccountTokenFilterPolicy)";
const NAMESPACE: &str = "give the account \"Enable Account\" and \"Remote Enable\" on root\\cimv2 (wmimgmt.msc, Properties, Security), or make it a local administrator";
const SIGHT: &str = "make the account a local administrator of the computer: Windows shows others their own logons only";
const HARDENING: &str = "the computer demands authenticated activation (KB5004442), which jims always offers: check what stands between, and that the account may activate (\"Distributed COM Users\")";
const REPOSITORY: &str = "check WMI itself on the computer: winmgmt /verifyrepository, Get-Service Winmgmt, Get-CimInstance Win32_ComputerSystem";

impl Trouble {
    pub(super) fn new(step: Step, kind: Kind, message: String, remedy: String) -> Self {
        Self {
            step,
            kind,
            message,
            remedy,
        }
    }

    /// The computer answers in a way that makes no sense.
    pub(super) fn odd(step: Step, message: &str) -> Self {
        Self::new(
            step,
            Kind::Refused,
            message.to_owned(),
            REPOSITORY.to_owned(),
        )
    }

    /// The account may ask, and is shown its own logons only.
    pub(super) fn blind() -> Self {
        let message = "the account is not shown who else is signed on";
        Self::new(
            Step::Query,
            Kind::NoRights,
            message.to_owned(),
            SIGHT.to_owned(),
        )
    }

    /// DNS did not say whether the computer has a name.
    pub(super) fn unnamed(address: IpAddr, said: &str) -> Self {
        let message = format!("the name of {address} could not be looked up: {said}");
        let remedy = "check the name servers, or name them in [dns]";
        Self::new(Step::Name, Kind::Ours, message, remedy.to_owned())
    }

    /// Kerberos needs a name, and there is none.
    pub(super) fn nameless(address: IpAddr) -> Self {
        let message =
            format!("{address} has no name: neither a session, the directory nor DNS knows one");
        let remedy = "add a PTR record, let DHCP or the computer's own logons tell its name, or set auth = \"ntlm\" in [pc_probe]";
        Self::new(Step::Name, Kind::Refused, message, remedy.to_owned())
    }

    /// No credential may be shown to this computer now.
    pub(super) fn no_credential() -> Self {
        let message = "no credential is left to try: each was refused here or is suspended";
        let remedy = "see jims status for what is suspended, and mend the accounts";
        Self::new(
            Step::SignOn,
            Kind::Ours,
            message.to_owned(),
            remedy.to_owned(),
        )
    }

    /// The credential is being tried elsewhere, and nobody has heard yet whether it is right.
    pub(super) fn no_turn() -> Self {
        let message =
            "no computer has accepted the credential yet, so it is not shown to more of them";
        let remedy = "see what the other probes say: jims status";
        Self::new(
            Step::SignOn,
            Kind::Ours,
            message.to_owned(),
            remedy.to_owned(),
        )
    }

    /// Time ran out at a step. At the sign-on it may be the key distribution centres that are silent; whether they
    /// answered of late is for the caller to say.
    pub(super) fn late(step: Step, seconds: u64, tickets_come: bool) -> Self {
        let kind = match step {
            Step::SignOn if !tickets_come => Kind::Ours,
            _ => Kind::Unreachable,
        };
        let message = format!("no answer within {seconds} s");
        let remedy = match step {
            Step::Name | Step::Port | Step::ObjectPort => FIREWALL,
            Step::SignOn => {
                "check that the computer and the key distribution centres answer; a longer timeout in [pc_probe] may help"
            }
            Step::Activate | Step::LogIn | Step::Query | Step::Answer => REPOSITORY,
        };
        Self::new(step, kind, message, remedy.to_owned())
    }

    /// The way to a port.
    pub(super) fn of_connection(step: Step, error: RpcError) -> Self {
        let kind = match error {
            // Something is there and says no: not this computer, or not a Windows.
            RpcError::Refused { .. } => Kind::Refused,
            _ => Kind::Unreachable,
        };
        Self::new(step, kind, error.to_string(), FIREWALL.to_owned())
    }

    /// The way to the port of the objects: the computer has answered on the other one already.
    pub(super) fn of_object_port(error: RpcError) -> Self {
        let message = format!("the port that the computer named is closed: {error}");
        Self::new(
            Step::ObjectPort,
            Kind::Refused,
            message,
            FIREWALL.to_owned(),
        )
    }

    /// Preparing to sign on.
    pub(super) fn of_sign_on(error: AuthError) -> Self {
        let (kind, remedy) = (auth_kind(&error), error.remedy());
        Self::new(Step::SignOn, kind, error.to_string(), remedy)
    }

    /// The bind. With Kerberos the domain has vouched for the account before, so a computer that refuses it does not
    /// refuse the password.
    pub(super) fn of_bind(error: RpcError, auth: Auth) -> Self {
        let by_computer = matches!(error, RpcError::BindRefused { .. });
        let trouble = Self::of_call(Step::SignOn, error);
        let kind = match trouble.kind {
            Kind::Credential(_) if by_computer && auth == Auth::Kerberos => Kind::Refused,
            kind => kind,
        };
        Self { kind, ..trouble }
    }

    /// A call, or the bind before it.
    pub(super) fn of_call(step: Step, error: RpcError) -> Self {
        let kind = call_kind(&error);
        // With NTLM the first call shows whether the account was believed.
        let step = match kind {
            Kind::Credential(_) => Step::SignOn,
            _ => step,
        };
        let remedy = match (step, error.status()) {
            (Step::Activate, Some(status::ACCESS_DENIED)) => HARDENING.to_owned(),
            (Step::LogIn | Step::Query, Some(status::ACCESS_DENIED)) => NAMESPACE.to_owned(),
            _ => error.remedy(),
        };
        Self::new(step, kind, error.to_string(), remedy)
    }

    /// A reply that refuses, or cannot be read.
    pub(super) fn of_reply(step: Step, error: &ReplyError) -> Self {
        let (kind, remedy) = match error {
            ReplyError::Refused(code) => refusal(step, *code),
            ReplyError::Decode(_) => (Kind::Refused, REPOSITORY),
        };
        Self::new(step, kind, error.to_string(), remedy.to_owned())
    }
}

/// What a HRESULT means at a step.
fn refusal(step: Step, code: u32) -> (Kind, &'static str) {
    match (step, code) {
        (Step::Activate, hresult::ACCESS_DENIED) => (Kind::NoRights, DCOM),
        (_, hresult::ACCESS_DENIED | hresult::WBEM_ACCESS_DENIED) => (Kind::NoRights, NAMESPACE),
        (_, hresult::WBEM_INVALID_NAMESPACE) => (
            Kind::Refused,
            "the computer has no root\\cimv2: mend WMI there with winmgmt /salvagerepository",
        ),
        (_, hresult::CLASS_NOT_REGISTERED) => (
            Kind::Refused,
            "the computer has no WMI: is it a Windows, and is the service Winmgmt enabled there",
        ),
        _ => (Kind::Refused, REPOSITORY),
    }
}

fn call_kind(error: &RpcError) -> Kind {
    match error {
        RpcError::Auth { source, .. } => auth_kind(source),
        // Only NTLM lets the computer judge the account: with Kerberos its ticket was given by the domain.
        RpcError::SignOnRefused { .. } => Kind::Credential(Reason::WrongPassword),
        RpcError::BindRefused { .. } if error.is_credentials() => {
            Kind::Credential(Reason::WrongPassword)
        }
        _ if error.status() == Some(status::ACCESS_DENIED) => Kind::NoRights,
        RpcError::Io { .. }
        | RpcError::TimedOut { .. }
        | RpcError::CallTimedOut { .. }
        | RpcError::Unreachable { .. } => Kind::Unreachable,
        _ => Kind::Refused,
    }
}

fn auth_kind(error: &AuthError) -> Kind {
    match error {
        AuthError::WrongPassword { .. } => Kind::Credential(Reason::WrongPassword),
        AuthError::UnknownAccount { .. } => Kind::Credential(Reason::UnknownAccount),
        AuthError::Revoked { .. } => Kind::Credential(Reason::Disabled),
        AuthError::PasswordExpired { .. } => Kind::Credential(Reason::Expired),
        AuthError::UnknownService { .. }
        | AuthError::WrongTicket { .. }
        | AuthError::OtherRealm { .. } => Kind::OtherComputer,
        // A service is named with a slash: then it is the computer's account that has no keys.
        AuthError::NoAesKeys { account } if account.contains('/') => Kind::Refused,
        AuthError::NoKdc { .. }
        | AuthError::ClockSkew { .. }
        | AuthError::NoAesKeys { .. }
        | AuthError::NoPreauthentication { .. }
        | AuthError::Account { .. }
        | AuthError::Keytab { .. } => Kind::Ours,
        AuthError::NeedsName { .. } | AuthError::Protocol { .. } => Kind::Refused,
    }
}
