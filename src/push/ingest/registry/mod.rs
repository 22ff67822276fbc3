//! Invitations and onboarded Collectors, and the rules by which one becomes the other (rule 26).
//!
//! Pure: time is handed in and nothing is written here; [`super::file`] keeps it. Secrets are here as hashes only, and
//! are compared in constant time. What became of an invitation is remembered for a while, so that a Collector that comes
//! with an old code is told what is wrong with it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::scope::ScopeText;
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::push::shape::{Introduction, Onboard, Reason};

/// How long an invitation is good if nothing is said.
pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(3600);
/// The shortest life of an invitation.
pub const SHORTEST_EXPIRY: Duration = Duration::from_secs(60);
/// The longest life of an invitation.
pub const LONGEST_EXPIRY: Duration = Duration::from_secs(30 * 86_400);
/// How long an invitation is remembered after its end.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// Most invitations, those that are over among them.
pub(super) const MAX_INVITATIONS: usize = 1000;
/// Most onboarded Collectors.
pub(super) const MAX_COLLECTORS: usize = 1000;
/// Longest name of a Collector, in bytes.
const MAX_NAME: usize = 64;
/// Longest description, version or own name of a Collector, in bytes.
pub(super) const MAX_TEXT: usize = 256;
/// Longest client id, in bytes.
const MAX_CLIENT_ID: usize = 128;
/// A Collector's secret, in bytes: not shorter than 128 bits in hexadecimal.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=256;

/// SHA-256 over a secret.
pub(super) type Hash = [u8; 32];

/// SHA-256 over the text of a secret.
#[must_use]
pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

fn same(one: &Hash, other: &Hash) -> bool {
    one.ct_eq(other).into()
}

/// Everything the Server knows of who may push to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    invitations: Vec<Invitation>,
    /// In the order of onboarding.
    collectors: Vec<Collector>,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// What the Collector will be called here.
    pub name: String,
    /// Over the secret half of its code, as it is sent.
    #[serde(with = "hexadecimal")]
    pub secret: Hash,
    /// When it was made.
    #[serde(with = "millis")]
    pub created: UtcMillis,
    /// From then on nobody is onboarded with it.
    #[serde(with = "millis")]
    pub expires: UtcMillis,
    /// What the Collector may speak for.
    #[serde(default)]
    pub scope: ScopeText,
    /// What became of it.
    pub state: InvitationState,
}

/// What became of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum InvitationState {
    /// Nothing yet; it may have expired.
    Open,
    /// A Collector was onboarded with it.
    Used {
        /// The Collector's client id.
        client_id: String,
        /// Over its secret.
        #[serde(with = "hexadecimal")]
        client_secret: Hash,
    },
    /// The operator took it back, or removed the Collector that used it.
    Revoked,
}

/// An onboarded Collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collector {
    /// What it is called here: the invitation's name.
    pub name: String,
    /// Its client id; unique over all roles.
    pub client_id: String,
    /// Over its secret.
    #[serde(with = "hexadecimal")]
    pub client_secret: Hash,
    /// When it was onboarded.
    #[serde(with = "millis")]
    pub onboarded_at: UtcMillis,
    /// What it may speak for.
    #[serde(default)]
    pub scope: ScopeText,
    /// Not disabled by the operator.
    pub enabled: bool,
    /// What the operator says it is.
    #[serde(default)]
    pub description: String,
    /// How it last introduced itself.
    pub introduction: Introduction,
    /// Where it last called from.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The directories that it pushed.
    #[serde(default)]
    pub directories: Vec<Served>,
}

/// A directory that a Collector pushed, and a domain that it serves; both folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Its name at the Collector.
    pub directory: String,
    /// DNS name.
    pub domain: String,
    /// Its objects are in the table; else the domain's come from somebody else (rule 27).
    pub applied: bool,
}

/// Why something that an operator asked for cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// The name cannot be used.
    #[error("{0:?} cannot be the name of a Collector")]
    BadName(String),
    /// There is one already.
    #[error("there is a Collector or an open invitation called {0}")]
    NameTaken(String),
    /// There is none.
    #[error("there is no Collector called {0}")]
    NoCollector(String),
    /// There is none.
    #[error("there is no open invitation called {0}")]
    NoInvitation(String),
    /// It would be good for too short or too long.
    #[error("an invitation cannot be good for {0} s")]
    BadExpiry(u64),
    /// A network, domain or glob is none.
    #[error("the scope cannot be used: {0}")]
    BadScope(String),
    /// The description is too long, or could forge a line.
    #[error("the description cannot be used")]
    BadDescription,
    /// There are too many.
    #[error("there are {MAX_INVITATIONS} open invitations or {MAX_COLLECTORS} Collectors")]
    TooMany,
}

impl RegistryError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::BadName(_) => {
                format!("use 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ -")
            }
            Self::NameTaken(_) => "use another name, or remove the one that has it".into(),
            Self::NoCollector(_) | Self::NoInvitation(_) => {
                "check the name with `jims onboard --list`".into()
            }
            Self::BadExpiry(_) => "use 1 minute to 30 days".into(),
            Self::BadScope(_) => "mend the network, domain or glob".into(),
            Self::BadDescription => {
                format!("use at most {MAX_TEXT} bytes without control characters")
            }
            Self::TooMany => "revoke invitations or remove Collectors that are not needed".into(),
        }
    }
}

impl Registry {
    /// Everybody onboarded, in that order.
    #[must_use]
    pub fn collectors(&self) -> &[Collector] {
        &self.collectors
    }

    /// Invitations, the oldest first.
    #[must_use]
    pub fn invitations(&self) -> &[Invitation] {
        &self.invitations
    }

    /// The Collector of the name.
    #[must_use]
    pub fn collector(&self, name: &str) -> Option<&Collector> {
        self.collectors.iter().find(|one| one.name == name)
    }

    /// Invites a Collector; `secret` is the hash of the secret half of its code.
    ///
    /// # Errors
    /// The name is taken or none, or a bound is not kept.
    pub fn invite(
        &mut self,
        name: &str,
        secret: Hash,
        life: Duration,
        scope: ScopeText,
        now: UtcMillis,
    ) -> Result<UtcMillis, RegistryError> {
        if !is_name(name) {
            return Err(RegistryError::BadName(name.to_owned()));
        }
        if !(SHORTEST_EXPIRY..=LONGEST_EXPIRY).contains(&life) {
            return Err(RegistryError::BadExpiry(life.as_secs()));
        }
        let scope = scope.checked().map_err(RegistryError::BadScope)?;
        let is_other = |other: &str| other.eq_ignore_ascii_case(name);
        let mut invited = self.invitations.iter();
        if self.collectors.iter().any(|one| is_other(&one.name))
            || invited.any(|one| one.is_open(now) && is_other(&one.name))
        {
            return Err(RegistryError::NameTaken(name.to_owned()));
        }
        self.forget(now);
        if self.invitations.len() >= MAX_INVITATIONS || self.collectors.len() >= MAX_COLLECTORS {
            return Err(RegistryError::TooMany);
        }
        let expires = now.after(life);
        self.invitations.push(Invitation {
            name: name.to_owned(),
            secret,
            created: now,
            expires,
            scope,
            state: InvitationState::Open,
        });
        Ok(expires)
    }

    /// Forgets invitations that are over for long, and the oldest that are over when there are too many.
    fn forget(&mut self, now: UtcMillis) {
        let kept = |one: &Invitation| now.since(one.expires) <= REMEMBERED;
        self.invitations.retain(kept);
        let mut over = (self.invitations.len() + 1).saturating_sub(MAX_INVITATIONS);
        self.invitations.retain(|one| {
            let goes = over > 0 && !one.is_open(now);
            over -= usize::from(goes);
            !goes
        });
    }

    /// Takes an open invitation back.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn revoke(&mut self, name: &str, now: UtcMillis) -> Result<(), RegistryError> {
        let mut all = self.invitations.iter_mut();
        let open = all.find(|one| one.name == name && one.is_open(now));
        let open = open.ok_or_else(|| RegistryError::NoInvitation(name.to_owned()))?;
        open.state = InvitationState::Revoked;
        Ok(())
    }

    /// Removes a Collector; its registration is not answered alike any more.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn remove(&mut self, name: &str) -> Result<Collector, RegistryError> {
        let place = self.collectors.iter().position(|one| one.name == name);
        let place = place.ok_or_else(|| RegistryError::NoCollector(name.to_owned()))?;
        let removed = self.collectors.remove(place);
        for invitation in &mut self.invitations {
            if invitation.was_used_by(&removed.client_id) {
                invitation.state = InvitationState::Revoked;
            }
        }
        Ok(removed)
    }

    /// Hears a Collector from now on, or does not.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn enable(&mut self, name: &str, enabled: bool) -> Result<(), RegistryError> {
        self.change(name, |one| one.enabled = enabled)
    }

    /// Sets what the operator says a Collector is; empty: nothing.
    ///
    /// # Errors
    /// There is none of the name, or the text cannot be used.
    pub fn describe(&mut self, name: &str, description: &str) -> Result<(), RegistryError> {
        let description = description.trim();
        if !is_text(description) {
            return Err(RegistryError::BadDescription);
        }
        self.change(name, |one| one.description = description.to_owned())
    }

    /// Changes what is known of a Collector.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn change(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Collector),
    ) -> Result<(), RegistryError> {
        let mut all = self.collectors.iter_mut();
        let found = all.find(|one| one.name == name);
        change(found.ok_or_else(|| RegistryError::NoCollector(name.to_owned()))?);
        Ok(())
    }

    /// Onboards who comes with an invitation; the same registration gives the same until the invitation expires.
    /// `is_taken` tells whether a client id is that of a configured client.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn onboard(
        &mut self,
        asked: &Onboard,
        address: IpAddr,
        is_taken: impl FnOnce(&str) -> bool,
        now: UtcMillis,
    ) -> Result<String, (Reason, String)> {
        check(asked).map_err(|why| (Reason::InvalidRequest, why))?;
        let refused = |reason, why: &str| Err((reason, why.to_owned()));
        let Some((place, invitation)) = self.invited(&hash(&asked.invitation)) else {
            return refused(Reason::UnknownInvitation, "no invitation has this code");
        };
        let secret = hash(&asked.client_secret);
        let before = match &invitation.state {
            InvitationState::Revoked => {
                return refused(Reason::RevokedInvitation, "the invitation was taken back");
            }
            InvitationState::Used {
                client_id,
                client_secret,
            } => {
                if *client_id != asked.client_id || !same(client_secret, &secret) {
                    let why = "another Collector was onboarded with this invitation";
                    return refused(Reason::UsedInvitation, why);
                }
                true
            }
            InvitationState::Open => false,
        };
        if now >= invitation.expires {
            return refused(Reason::ExpiredInvitation, "the invitation has expired");
        }
        let name = invitation.name.clone();
        if before {
            return Ok(name);
        }
        let mut all = self.collectors.iter();
        if all.any(|one| one.client_id == asked.client_id) || is_taken(&asked.client_id) {
            return refused(Reason::ClientIdTaken, "the client id is somebody else's");
        }
        self.take(place, asked, secret, address, now);
        Ok(name)
    }

    /// Whether there is an invitation with the code, used or over as it may be: so that guesses cost little.
    #[must_use]
    pub fn knows(&self, invitation: &str) -> bool {
        self.invited(&hash(invitation)).is_some()
    }

    /// The invitation of the secret, and where it is; takes the same time whichever it is.
    fn invited(&self, secret: &Hash) -> Option<(usize, &Invitation)> {
        let all = self.invitations.iter().enumerate();
        all.fold(None, |found, one| {
            let is_it = same(&one.1.secret, secret);
            is_it.then_some(one).or(found)
        })
    }

    fn take(
        &mut self,
        place: usize,
        asked: &Onboard,
        secret: Hash,
        address: IpAddr,
        now: UtcMillis,
    ) {
        let Some(invitation) = self.invitations.get_mut(place) else {
            return;
        };
        invitation.state = InvitationState::Used {
            client_id: asked.client_id.clone(),
            client_secret: secret,
        };
        self.collectors.push(Collector {
            name: invitation.name.clone(),
            client_id: asked.client_id.clone(),
            client_secret: secret,
            onboarded_at: now,
            scope: invitation.scope.clone(),
            enabled: true,
            description: String::new(),
            introduction: shown(&asked.collector),
            address: Some(address),
            directories: Vec::new(),
        });
    }
}

impl Invitation {
    /// Whether a Collector can still be onboarded with it.
    #[must_use]
    pub fn is_open(&self, now: UtcMillis) -> bool {
        self.state == InvitationState::Open && now < self.expires
    }

    fn was_used_by(&self, id: &str) -> bool {
        matches!(&self.state, InvitationState::Used { client_id, .. } if client_id == id)
    }
}

/// Whether a Collector can be called so.
fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && is_token(text)
}

fn is_token(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.chars().all(is_fine)
}

/// Whether a text may be empty or is fine to be shown.
fn is_text(text: &str) -> bool {
    text.is_empty() || (text.len() <= MAX_TEXT && Name::new(text).is_ok())
}

/// What is wrong with a registration, as far as it tells itself.
fn check(asked: &Onboard) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what} is not what it should be"));
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if asked.invitation.len() != 32 || !is_hex(&asked.invitation) {
        return wrong("invitation");
    }
    if !(1..=MAX_CLIENT_ID).contains(&asked.client_id.len()) || !is_token(&asked.client_id) {
        return wrong("client_id");
    }
    if !SECRET_BYTES.contains(&asked.client_secret.len()) || !asked.client_secret.is_ascii() {
        return wrong("client_secret");
    }
    Ok(())
}

/// How a Collector introduces itself, fit to be shown.
#[must_use]
pub(super) fn shown(introduction: &Introduction) -> Introduction {
    Introduction {
        name: cleaned(&introduction.name, MAX_TEXT),
        version: cleaned(&introduction.version, MAX_TEXT),
        description: cleaned(&introduction.description, MAX_TEXT),
    }
}

/// A text for people: cut, and without what could forge a line (rule 3).
#[must_use]
pub(super) fn cleaned(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for character in text.trim().chars() {
        if clean.len() + character.len_utf8() > most {
            break;
        }
        let is_fine = Name::new(character.encode_utf8(&mut [0; 4])).is_ok();
        clean.push(if is_fine { character } else { ' ' });
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Hashes as text.
mod hexadecimal {
    use data_encoding::HEXLOWER;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let hash = bytes.try_into();
        hash.map_err(|_| D::Error::custom("a hash has 32 bytes"))
    }
}

/// Times as numbers.
mod millis {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::identity::time::UtcMillis;

    pub(super) fn serialize<S: Serializer>(time: &UtcMillis, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UtcMillis, D::Error> {
        i64::deserialize(from).map(UtcMillis)
    }
}

#[cfg(test)]
mod tests;
