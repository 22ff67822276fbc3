//! How each Collector is doing, for status.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::registry::{Collector, Invitation};
use super::scope::ScopeText;
use crate::identity::time::UtcMillis;
use crate::push::shape::{Push, Totals};

/// How a Collector stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorState {
    /// Heard of late.
    Connected,
    /// Heard of late, and telling everything from the beginning.
    Resynchronising,
    /// Not heard for long.
    Disconnected,
    /// Disabled by the operator.
    Disabled,
    /// Invited, and not onboarded yet.
    Invited,
}

impl CollectorState {
    /// The word for people and machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Resynchronising => "resynchronising",
            Self::Disconnected => "disconnected",
            Self::Disabled => "disabled",
            Self::Invited => "invited",
        }
    }
}

/// A Collector, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorReading {
    /// What it is called here.
    pub name: String,
    /// What it calls itself; empty before it is onboarded.
    pub introduced: String,
    /// Version of its `jims`; may be empty.
    pub version: String,
    /// How it stands.
    pub state: CollectorState,
    /// What the operator here says it is, else what its own says.
    pub description: String,
    /// Its last push that was taken.
    pub last_update: Option<UtcMillis>,
    /// Where it last called from.
    pub address: Option<IpAddr>,
    /// What it pushed since this process started.
    pub pushed: Totals,
    /// What it holds itself, as it last said.
    pub totals: Option<Totals>,
    /// Positions that lay behind its last push.
    pub behind: u64,
    /// For how long it has been behind.
    pub behind_for: Duration,
    /// How far its clock is ahead of ours, in milliseconds; a push's way included.
    pub clock_ahead_ms: Option<i64>,
    /// What it may speak for.
    pub scope: ScopeText,
    /// When it was onboarded.
    pub onboarded_at: Option<UtcMillis>,
    /// Since when it is disconnected.
    pub disconnected_since: Option<UtcMillis>,
    /// When its invitation expires, before it is onboarded.
    pub invitation_expires: Option<UtcMillis>,
    /// How many matters need their operator there.
    pub attention_there: u32,
    /// What needs an operator here beside its state: a sentence each.
    pub attention: Vec<String>,
}

/// A clock that differs by more makes evidence of two Collectors hard to compare.
const CLOCK_DIFFERS: Duration = Duration::from_secs(60);

/// What is known of a Collector while this process runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// When it was last heard.
    pub(super) heard: Option<(Instant, UtcMillis)>,
    /// Since when it is disconnected; `None`: it is not.
    pub(super) disconnected_since: Option<UtcMillis>,
    /// A pass from the beginning is under way, or wanted.
    pub(super) passing: bool,
    last_update: Option<UtcMillis>,
    address: Option<IpAddr>,
    pushed: Totals,
    last: Option<Said>,
    /// Since when it is behind.
    behind_since: Option<UtcMillis>,
    /// Why its last push was refused.
    refused: Option<String>,
}

/// What a Collector last said of itself.
#[derive(Clone, Copy, Debug)]
struct Said {
    totals: Totals,
    behind: u64,
    attention: u32,
    clock_ahead_ms: i64,
}

impl Live {
    /// Not heard since then.
    pub(super) fn disconnected(since: UtcMillis) -> Self {
        Self {
            disconnected_since: Some(since),
            ..Self::default()
        }
    }

    /// A push of the Collector was understood.
    pub(super) fn heard(&mut self, push: &Push, from: IpAddr, at: (Instant, UtcMillis)) {
        let (_, now) = at;
        self.heard = Some(at);
        self.address = Some(from);
        self.last = Some(Said {
            totals: push.totals,
            behind: push.behind,
            attention: push.attention,
            clock_ahead_ms: push.sent_at.saturating_sub(now.0),
        });
        self.behind_since = match push.behind {
            0 => None,
            _ => self.behind_since.or(Some(now)),
        };
    }

    /// A push was taken.
    pub(super) fn took(&mut self, counts: &Totals, now: UtcMillis) {
        self.pushed.add(counts);
        self.last_update = Some(now);
        self.refused = None;
    }

    /// A push was refused.
    pub(super) fn refused(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
    }

    /// How the Collector stands.
    pub(super) fn reading(&self, of: &Collector, now: UtcMillis) -> CollectorReading {
        let said = self.last.as_ref();
        let described = if of.description.is_empty() {
            &of.introduction.description
        } else {
            &of.description
        };
        CollectorReading {
            name: of.name.clone(),
            introduced: of.introduction.name.clone(),
            version: of.introduction.version.clone(),
            state: self.state(of),
            description: described.clone(),
            last_update: self.last_update,
            address: self.address.or(of.address),
            pushed: self.pushed,
            totals: said.map(|said| said.totals),
            behind: said.map_or(0, |said| said.behind),
            behind_for: self.behind_since.map_or(Duration::ZERO, |at| now.since(at)),
            clock_ahead_ms: said.map(|said| said.clock_ahead_ms),
            scope: of.scope.clone(),
            onboarded_at: Some(of.onboarded_at),
            disconnected_since: self.disconnected_since,
            invitation_expires: None,
            attention_there: said.map_or(0, |said| said.attention),
            attention: self.attention(),
        }
    }

    fn state(&self, of: &Collector) -> CollectorState {
        match self {
            _ if !of.enabled => CollectorState::Disabled,
            Self {
                disconnected_since: Some(_),
                ..
            } => CollectorState::Disconnected,
            Self { passing: true, .. } => CollectorState::Resynchronising,
            _ => CollectorState::Connected,
        }
    }

    fn attention(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(why) = &self.refused {
            all.push(format!("its last push was refused: {why}"));
        }
        let Some(said) = &self.last else { return all };
        let differs = Duration::from_millis(said.clock_ahead_ms.unsigned_abs());
        if differs > CLOCK_DIFFERS {
            let which = if said.clock_ahead_ms > 0 {
                "ahead of"
            } else {
                "behind"
            };
            let seconds = differs.as_secs();
            all.push(format!("its clock is {seconds} s {which} this Server's"));
        }
        if said.attention > 0 {
            let count = said.attention;
            all.push(format!(
                "{count} matters need attention there; see `jims status` there"
            ));
        }
        all
    }
}

/// An open invitation.
pub(super) fn invited(of: &Invitation) -> CollectorReading {
    CollectorReading {
        name: of.name.clone(),
        introduced: String::new(),
        version: String::new(),
        state: CollectorState::Invited,
        description: String::new(),
        last_update: None,
        address: None,
        pushed: Totals::default(),
        totals: None,
        behind: 0,
        behind_for: Duration::ZERO,
        clock_ahead_ms: None,
        scope: of.scope.clone(),
        onboarded_at: None,
        disconnected_since: None,
        invitation_expires: Some(of.expires),
        attention_there: 0,
        attention: Vec::new(),
    }
}
