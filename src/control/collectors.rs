//! What crosses the control socket about Collectors that push to this Server; part of [`super::protocol`].

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Numbers of each kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kinds {
    /// Domains.
    pub domains: u64,
    /// Users.
    pub users: u64,
    /// Devices.
    pub devices: u64,
    /// Groups.
    pub groups: u64,
    /// Sessions.
    pub sessions: u64,
}

/// A Collector that pushes to this Server, or one that is invited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// What this Server calls it.
    pub name: String,
    /// What it calls itself: `collector.name` of its configuration; empty while it is invited.
    pub identifier: String,
    /// Version of its `jims`; empty while it is invited.
    pub version: String,
    /// For people: what [`super::protocol::Request::Describe`] said, else what it says itself.
    pub description: String,
    /// How it stands.
    pub state: CollectorState,
    /// Since when it is disconnected.
    pub since: Option<Timestamp>,
    /// When its last push arrived.
    pub last_update: Option<Timestamp>,
    /// Where it called from then.
    pub address: Option<IpAddr>,
    /// How many changes of each kind it pushed since this process started.
    pub pushes: Kinds,
    /// What it holds itself: users, devices and sessions that are active.
    pub totals: Kinds,
    /// How far what it pushed is behind what it holds; null while that is not known.
    pub lag: Option<Lag>,
    /// When it was onboarded; null while it is invited.
    pub onboarded_at: Option<Timestamp>,
    /// Until when its invitation can be used; null once it was.
    pub invitation_expires: Option<Timestamp>,
    /// Until when the certificate that it connects to is valid.
    pub certificate_expires: Option<Timestamp>,
    /// Its clock ahead of ours, in milliseconds.
    pub clock_difference_ms: Option<i64>,
    /// What needs an operator here beside its state: a sentence each.
    #[serde(default)]
    pub attention: Vec<String>,
    /// How many things on the Collector need its operator.
    #[serde(default)]
    pub attention_there: u32,
    /// Addresses it may speak for; empty: all.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Domains it may speak for; empty: all.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Groups that its sources may assert, as patterns.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// How a Collector stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CollectorState {
    /// It has an invitation, used by nobody yet.
    #[default]
    Invited,
    /// It pushes.
    Connected,
    /// It pushes everything that it holds.
    Resynchronising,
    /// It was not heard for three heartbeats; its sessions are unconfirmed.
    Disconnected,
    /// An operator disabled it.
    Disabled,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

impl CollectorState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Connected => "connected",
            Self::Resynchronising => "resynchronising",
            Self::Disconnected => "disconnected",
            Self::Disabled => "disabled",
            Self::Unknown => "unknown",
        }
    }
}

impl CollectorStatus {
    /// Whether an operator should look at it; never of one that he disabled, or of an invitation.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        let quiet = [CollectorState::Invited, CollectorState::Disabled];
        let wrong = self.state == CollectorState::Disconnected || !self.attention.is_empty();
        wrong && !quiet.contains(&self.state)
    }
}

/// How far something that follows is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Changes that have not arrived.
    pub behind: u64,
    /// How long the last change took to arrive, in seconds; null if that is not known.
    pub seconds: Option<u64>,
}

/// A Collector is to be invited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// What it will be called: ASCII letters, digits, `-`, `_` and `.`, at most 64.
    pub name: String,
    /// Life of the invitation in seconds: 1 minute to 30 days.
    pub expires_s: u64,
    /// Addresses and networks it may speak for; empty: all.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Domains it may speak for; empty: all.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Groups that its sources may assert, as patterns; empty: none (rule 13).
    #[serde(default)]
    pub roles: Vec<String>,
}

/// An invitation. The code is told once: the Server keeps a hash of its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// What the Collector will be called.
    pub name: String,
    /// What an operator carries to it.
    pub code: String,
    /// Where it connects to.
    pub url: String,
    /// The host in `url` is neither configured as a name of the certificate nor as an address to listen on.
    #[serde(default)]
    pub url_guessed: bool,
    /// SHA-256 of the Server's certificate, hexadecimal.
    pub fingerprint: String,
    /// Until when the code can be used.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The code is a secret.
        let shown = (&self.name, &self.url, &self.fingerprint, self.expires);
        f.debug_tuple("Invited").field(&shown).finish()
    }
}

/// What is to become of a Collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorChange {
    /// Its invitation is taken back.
    Revoke,
    /// It is forgotten, and what it brought leaves.
    Remove,
    /// It is not heard until it is enabled.
    Disable,
    /// It is heard again.
    Enable,
    /// It gets another description.
    Describe(String),
}

impl CollectorChange {
    /// What was done, in a log and in answers.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Revoke => "revoked",
            Self::Remove => "removed",
            Self::Disable => "disabled",
            Self::Enable => "enabled",
            Self::Describe(_) => "described",
        }
    }
}

/// What became of a wish to change a Collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorChanged {
    /// As it was asked for.
    pub name: String,
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why it was not; for people.
    pub detail: String,
    /// What left the table with it: domains, users, devices and groups of directories, and sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Kinds>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_does_not_reach_a_log() {
        let invited = Invited {
            name: "branch-1".into(),
            code: "JIMS1-SECRET".into(),
            url: "https://jims.example.com".into(),
            url_guessed: false,
            fingerprint: "ab".into(),
            expires: Timestamp::UNIX_EPOCH,
        };
        assert!(!format!("{invited:?}").contains("SECRET"));
    }

    #[test]
    fn what_an_operator_did_himself_is_no_problem() {
        let looked_at = |state, attention: &[&str]| {
            let attention = attention.iter().map(|&what| what.to_owned()).collect();
            let collector = CollectorStatus {
                state,
                attention,
                ..CollectorStatus::default()
            };
            collector.needs_attention()
        };
        assert!(looked_at(CollectorState::Disconnected, &[]));
        assert!(looked_at(
            CollectorState::Connected,
            &["its clock is wrong"]
        ));
        assert!(!looked_at(CollectorState::Connected, &[]));
        assert!(!looked_at(
            CollectorState::Disabled,
            &["its clock is wrong"]
        ));
        assert!(!looked_at(CollectorState::Invited, &[]));
    }

    #[test]
    fn a_state_of_a_later_version_is_read() {
        let read = |text| serde_json::from_str::<CollectorState>(text).expect("read");
        assert_eq!(read("\"disconnected\""), CollectorState::Disconnected);
        assert_eq!(read("\"enchanted\""), CollectorState::Unknown);
    }
}
