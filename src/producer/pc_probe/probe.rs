//! One probe of one computer: under which names, with which credentials, until somebody answers or time is over.
//!
//! Kerberos needs the computer's name and fits only that computer, so a wrong name is harmless; whatever the name, the
//! connection goes to the address that was asked for, and nobody else sees a credential. What the answer does to the
//! session is the table's business.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::credentials::{Account, Begin, Credentials, Ticket};
use super::interpret::SignedOn;
use super::refusal::{Kind, Step, Trouble};
use super::steps::Steps;
use super::wmi::{self, Host, Way};
use crate::config::{Auth, PcProbe, ProbeCredential};
use crate::net::resolve::{ResolveError, Resolver};
use crate::net::security::{self, Kdcs, Proof};
use crate::runtime::clock::{monotonic_now, utc_now};
use crate::runtime::supervisor::Tasks;

/// Names that are tried: the known one, and what DNS says.
const MAX_NAMES: usize = 3;

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The computer told who is signed on.
    Answered(SignedOn),
    /// It is there, and does not tell.
    Refused,
    /// Nobody answers.
    Unreachable,
    /// It has no name, and Kerberos needs one.
    NotProbed,
    /// We could not ask: no ticket, no secret, every credential suspended.
    Unable,
}

/// What all probes of a configuration share.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    pub(super) config: Arc<PcProbe>,
    pub(super) resolver: Resolver,
    pub(super) tasks: Tasks,
    pub(super) credentials: Arc<Mutex<Credentials>>,
    /// Somebody's try of a credential has ended.
    pub(super) turn: Arc<Notify>,
    /// For each credential, so that all probes share who answered last.
    kdcs: Arc<[Kdcs]>,
}

impl Prober {
    pub(super) fn new(
        config: Arc<PcProbe>,
        resolver: &Resolver,
        tasks: &Tasks,
        credentials: Arc<Mutex<Credentials>>,
    ) -> Self {
        let kdcs = config
            .credentials
            .iter()
            .map(|credential| {
                let domain = credential.domain.as_str();
                Kdcs::new(resolver, domain, &config.kdc, domain)
            })
            .collect();
        Self {
            config,
            resolver: resolver.clone(),
            tasks: tasks.clone(),
            credentials,
            turn: Arc::new(Notify::new()),
            kdcs,
        }
    }

    /// Asks the computer at the address, known under `name`; fills in the steps.
    pub(super) async fn probe(
        &self,
        address: IpAddr,
        name: Option<String>,
        steps: &mut Steps,
    ) -> Verdict {
        // What is known of a credential is known of the secret that is shown now.
        self.refresh();
        let deadline = monotonic_now() + self.config.timeout;
        let mut names: Vec<String> = name.into_iter().collect();
        let mut asked_dns = false;
        if names.is_empty() && self.config.auth != Auth::Ntlm {
            asked_dns = true;
            names = match self.names(address, deadline).await {
                Ok(names) => names,
                Err(said) if self.config.auth == Auth::Kerberos => {
                    steps.fail(&Trouble::unnamed(address, &said));
                    return Verdict::Unable;
                }
                // What is left of Negotiate needs no name.
                Err(_) => Vec::new(),
            };
        }
        if names.is_empty() && self.config.auth == Auth::Kerberos {
            steps.fail(&Trouble::nameless(address));
            return Verdict::NotProbed;
        }
        let mut tried = 0;
        loop {
            let name = names.get(tried).cloned();
            steps.begin(Step::Name);
            steps.pass(name.as_ref().map_or_else(
                || format!("{address}, by its address"),
                |name| format!("{address} is {name}"),
            ));
            let host = Host {
                address,
                name,
                port: self.config.port,
            };
            let attempt = Attempt {
                prober: self,
                host: &host,
                deadline,
            };
            let trouble = match attempt.run(steps).await {
                Ok(signed_on) => return Verdict::Answered(signed_on),
                Err(trouble) => trouble,
            };
            tried += 1;
            if trouble.kind == Kind::OtherComputer && !asked_dns {
                asked_dns = true;
                for name in self.names(address, deadline).await.unwrap_or_default() {
                    if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                        names.push(name);
                    }
                }
            }
            let another = trouble.kind == Kind::OtherComputer && tried < names.len().min(MAX_NAMES);
            if another {
                steps.advise_after(&trouble);
                continue;
            }
            steps.fail(&trouble);
            return verdict(trouble.kind);
        }
    }

    /// What DNS says; that there is nothing is an answer too.
    async fn names(&self, address: IpAddr, deadline: Instant) -> Result<Vec<String>, String> {
        match timeout_at(deadline.into(), self.resolver.names(address)).await {
            // A single label (localhost) is nobody's name in a domain.
            Ok(Ok(names)) => Ok(names
                .into_iter()
                .filter(|name| name.contains('.'))
                .collect()),
            Ok(Err(ResolveError::None { .. })) => Ok(Vec::new()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Takes note of the secrets as their files have them now. While one cannot be read, all stays as it is: what was
    /// refused must not be forgotten because a file is being written.
    pub(super) fn refresh(&self) {
        let mut complete = true;
        let account = |credential: &ProbeCredential| {
            let proof = Proof::read(&credential.proof);
            complete &= proof.is_ok();
            Account {
                user: credential.user.clone(),
                proof: proof.map_or([0; 32], |proof| digest(&proof)),
            }
        };
        let accounts: Vec<Account> = self.config.credentials.iter().map(account).collect();
        let mut credentials = self.credentials.lock();
        if complete || credentials.len() != accounts.len() {
            credentials.set_accounts(accounts);
        }
    }
}

fn digest(proof: &Proof) -> [u8; 32] {
    match proof {
        Proof::Password(password) => Sha256::digest(password.expose_secret()).into(),
        Proof::Keytab(bytes) => Sha256::digest(bytes.expose_secret()).into(),
    }
}

fn verdict(kind: Kind) -> Verdict {
    match kind {
        Kind::Unreachable => Verdict::Unreachable,
        Kind::Refused | Kind::NoRights | Kind::Credential(_) | Kind::OtherComputer => {
            Verdict::Refused
        }
        Kind::Ours => Verdict::Unable,
    }
}

/// Whether another credential may have more luck.
fn another_may_do(kind: Kind) -> bool {
    match kind {
        Kind::NoRights | Kind::Credential(_) | Kind::OtherComputer | Kind::Ours => true,
        Kind::Unreachable | Kind::Refused => false,
    }
}

/// Which of several failures counts: while one of them is ours, nothing follows for the computer.
fn weight(kind: Kind) -> u8 {
    match kind {
        Kind::OtherComputer => 0,
        Kind::Credential(_) => 1,
        Kind::NoRights => 2,
        Kind::Refused | Kind::Unreachable => 3,
        Kind::Ours => 4,
    }
}

/// One name of a computer, with one credential after the other.
struct Attempt<'a> {
    prober: &'a Prober,
    host: &'a Host,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn run(&self, steps: &mut Steps) -> Result<SignedOn, Trouble> {
        let order = self
            .prober
            .credentials
            .lock()
            .order(self.host.address, utc_now());
        let mut worst: Option<Trouble> = None;
        for index in order {
            match self.try_one(index, steps).await {
                Ok(Some(signed_on)) => return Ok(signed_on),
                Ok(None) => {}
                Err(trouble) if !another_may_do(trouble.kind) => return Err(trouble),
                Err(trouble) => {
                    let (kept, passed) = match worst.take() {
                        Some(before) if weight(before.kind) >= weight(trouble.kind) => {
                            (before, Some(trouble))
                        }
                        before => (trouble, before),
                    };
                    worst = Some(kept);
                    passed
                        .iter()
                        .for_each(|trouble| steps.advise_after(trouble));
                }
            }
        }
        Err(worst.unwrap_or_else(Trouble::no_credential))
    }

    /// `None`: the credential may not be shown to this computer now.
    async fn try_one(&self, index: usize, steps: &mut Steps) -> Result<Option<SignedOn>, Trouble> {
        let prober = self.prober;
        let Some(configured) = prober.config.credentials.get(index) else {
            return Ok(None);
        };
        let proof = Proof::read(&configured.proof).map_err(|error| {
            Trouble::new(Step::SignOn, Kind::Ours, error.to_string(), error.remedy())
        })?;
        let credentials = security::Credentials {
            user: configured.user.clone(),
            domain: configured.domain.as_str().to_owned(),
            proof,
        };
        let connecting = wmi::connect(self.host, &prober.resolver, steps);
        let connection = match timeout_at(self.deadline.into(), connecting).await {
            Ok(connection) => connection?,
            Err(_) => return Err(self.late(index, steps)),
        };
        let Some(ticket) = self.ticket(index).await? else {
            return Ok(None);
        };
        let shown = Shown {
            prober,
            ticket: Some(ticket),
        };
        let Some(kdcs) = prober.kdcs.get(index) else {
            return Ok(None);
        };
        let way = Way {
            resolver: &prober.resolver,
            tasks: &prober.tasks,
            auth: prober.config.auth,
            kdcs,
            credentials: &credentials,
        };
        let asking = wmi::ask(self.host, way, connection, steps);
        let asked = match timeout_at(self.deadline.into(), asking).await {
            Ok(asked) => asked,
            Err(_) => Err(self.late(index, steps)),
        };
        shown.end(&asked);
        let found = asked?;
        steps.begin(Step::Answer);
        let signed_on = found.signed_on();
        if signed_on.users.is_empty() && signed_on.unreadable > 0 {
            // Somebody is there, so it is not nobody.
            return Err(Trouble::odd(
                Step::Answer,
                "somebody is signed on whose name cannot be one",
            ));
        }
        steps.pass(describe(&signed_on));
        Ok(Some(signed_on))
    }

    /// Waits until the credential may be shown; `None` if it may not.
    async fn ticket(&self, index: usize) -> Result<Option<Ticket>, Trouble> {
        loop {
            let turn = self.prober.turn.notified();
            tokio::pin!(turn);
            // From now on no turn is missed.
            turn.as_mut().enable();
            let begun = self
                .prober
                .credentials
                .lock()
                .begin(index, self.host.address, utc_now());
            match begun {
                Begin::Go(ticket) => return Ok(Some(ticket)),
                Begin::No => return Ok(None),
                Begin::Wait => {}
            }
            if timeout_at(self.deadline.into(), turn).await.is_err() {
                return Err(Trouble::no_turn());
            }
        }
    }

    fn late(&self, index: usize, steps: &Steps) -> Trouble {
        let prober = self.prober;
        let tickets_come = prober.config.auth == Auth::Ntlm
            || prober.credentials.lock().is_proven(index, utc_now());
        Trouble::late(steps.doing(), prober.config.timeout.as_secs(), tickets_come)
    }
}

/// A credential that is being shown. Its place is given back however the probe ends.
struct Shown<'a> {
    prober: &'a Prober,
    ticket: Option<Ticket>,
}

impl Shown<'_> {
    fn end<T>(mut self, asked: &Result<T, Trouble>) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let now = utc_now();
        let mut credentials = self.prober.credentials.lock();
        match asked.as_ref().map_err(|trouble| trouble.kind) {
            Ok(_) => credentials.worked(ticket, now),
            Err(Kind::NoRights) => credentials.denied(ticket, now),
            Err(Kind::Credential(reason)) => {
                if let Some(suspended) = credentials.refused(ticket, reason, now) {
                    tracing::warn!(remedy = suspended.remedy(), "{}", suspended.message());
                }
            }
            Err(Kind::Unreachable | Kind::Refused | Kind::OtherComputer | Kind::Ours) => {
                credentials.unknown(ticket, now);
            }
        }
        drop(credentials);
        self.prober.turn.notify_waiters();
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.prober.credentials.lock().unknown(ticket, utc_now());
            self.prober.turn.notify_waiters();
        }
    }
}

/// Who is signed on, for people.
pub(super) fn describe(signed_on: &SignedOn) -> String {
    let mut all: Vec<String> = signed_on.users.iter().map(shown).collect();
    let local = signed_on.local.iter();
    all.extend(local.map(|account| format!("{account} (an account of the computer itself)")));
    match all.len() {
        0 => "nobody is signed on".to_owned(),
        1 => format!("{} is signed on", all[0]),
        _ => format!("{} are signed on", all.join(", ")),
    }
}

/// A user as the computer names him.
pub(super) fn shown(user: &crate::identity::event::UserRef) -> String {
    use crate::identity::event::Qualifier;
    match &user.qualifier {
        Qualifier::Domain(domain) => format!("{domain}\\{}", user.name),
        Qualifier::Upn(suffix) => format!("{}@{suffix}", user.name),
        Qualifier::Missing => user.name.to_string(),
    }
}
