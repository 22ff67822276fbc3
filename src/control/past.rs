//! Who was where at an earlier time, as it crosses the control socket, and how it is put together: of what the history has
//! and of who is there still.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::found::{Evidence, PastSession, Query};
use super::protocol::{MAX_LISTED, timestamp};
use super::query::evidence;
use crate::identity::Core;
use crate::identity::address::canonical;
use crate::identity::ended::Ended;
use crate::identity::event::Strength;
use crate::identity::state::SubjectKind;
use crate::identity::time::UtcMillis;
use crate::identity::view::EvidenceView;

/// Who was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// What was asked.
    pub who: String,
    /// The instant that was asked for.
    pub at: Timestamp,
    /// When this was written.
    pub now: Timestamp,
    /// Sessions of that instant by address, users before devices.
    pub sessions: Vec<SessionThen>,
    /// Whether a history is kept now.
    pub kept: bool,
    /// Since when there is a history: of what ended before, nothing is known. Null without one.
    pub begins: Option<Timestamp>,
    /// What the history does not know that may have been then.
    pub holes: Vec<Hole>,
    /// Files of the history that could not be read to their end, with the reason.
    pub damaged: Vec<String>,
    /// Whether there is more than one answer holds.
    pub truncated: bool,
    /// Whether the time of the search was used up: not all of the history was read.
    #[serde(default)]
    pub unfinished: bool,
}

impl Past {
    /// Whether who is not in the answer was not there; else that is not known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_read = self.damaged.is_empty() && !self.truncated && !self.unfinished;
        is_read && self.holes.is_empty() && self.begins.is_some_and(|begins| begins <= self.at)
    }
}

/// A session of an earlier time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionThen {
    /// Where.
    pub address: IpAddr,
    /// `user` or `device`.
    pub kind: String,
    /// Name of the user or device.
    pub name: String,
    /// DNS domain.
    pub domain: String,
    /// The device that was last seen at the user's address, with the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// When it began, by its evidence.
    pub since: Timestamp,
    /// When it was over, by the evidence; null: it is still there.
    pub until: Option<Timestamp>,
    /// When it was ended here: until then firewalls had it.
    pub ended: Option<Timestamp>,
    /// It was over by the evidence, but that was not known yet: firewalls still had it.
    pub stale: bool,
    /// Why it ended: a word as of [`PastSession::reason`].
    pub reason: Option<String>,
    /// Who or what said so.
    pub by: Option<String>,
    /// Who had the address after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last evidence that held it.
    pub evidence: Evidence,
}

/// A time of which not everything is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// From when; null: from the beginning.
    pub from: Option<Timestamp>,
    /// To when; null: until now.
    pub until: Option<Timestamp>,
    /// `stopped`: jims did not run. `crashed`: it ended without order, or its last table was not saved; some sessions that
    /// began or ended then are not known. `off`: no history was kept; sessions that ended then are not known. `lost`: the
    /// disk could not follow; some that ended then are not known.
    pub why: String,
    /// How many were lost, if that is known.
    pub lost: Option<u64>,
}

/// Whose past is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastWhom {
    /// Of an address.
    At(IpAddr),
    /// Of users and devices: names and, where they are given, domains.
    Named(Vec<(String, Option<String>)>),
}

/// What a history has of an instant.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Whether it is kept now.
    pub on: bool,
    /// Sessions that had begun and ended later.
    pub ended: Vec<Ended>,
    /// What it does not know.
    pub holes: Vec<Hole>,
    /// Since when there is one.
    pub begins: Option<UtcMillis>,
    /// What could not be read.
    pub damaged: Vec<String>,
    /// Whether there are more sessions.
    pub truncated: bool,
    /// Whether the search ran out of time.
    pub unfinished: bool,
}

/// Whom an operator means: what he wrote, with the domain by its DNS name, and who that is now.
pub(super) fn whom(core: &Core, found: &Query) -> PastWhom {
    let who = found.who.as_str();
    if let Ok(address) = who.parse::<IpAddr>() {
        return PastWhom::At(canonical(address));
    }
    let plain = who.strip_suffix('$').unwrap_or(who);
    let mut names = Vec::new();
    let mut add = |name: &str, domain: Option<&str>| {
        let dns_name = domain.and_then(|domain| core.domain(domain));
        for domain in [Some(domain), dns_name.map(Some)].into_iter().flatten() {
            let name = (name.to_owned(), domain.map(str::to_owned));
            if !names.contains(&name) {
                names.push(name);
            }
        }
    };
    if let Some((domain, name)) = plain.split_once('\\') {
        add(name, Some(domain));
    } else if let Some((name, domain)) = plain.rsplit_once('@') {
        add(name, Some(domain));
    } else {
        add(plain, None);
        if let Some((name, domain)) = plain.split_once('.') {
            add(name, Some(domain));
        }
    }
    let users = found.users.iter();
    users.for_each(|user| add(&user.user, Some(&user.domain)));
    let devices = found.devices.iter();
    devices.for_each(|device| add(&device.device, Some(&device.domain)));
    PastWhom::Named(names)
}

/// Who was there then and is there still.
pub(super) fn still_there(core: &Core, found: &Query, at: UtcMillis, now: UtcMillis) -> Past {
    Past {
        who: found.who.clone(),
        at: timestamp(at),
        now: timestamp(now),
        sessions: still(core, found, at),
        kept: false,
        begins: None,
        holes: Vec::new(),
        damaged: Vec::new(),
        truncated: found.truncated,
        unfinished: false,
    }
}

/// The answer with what the history has.
pub(super) fn joined(mut past: Past, at: UtcMillis, kept: Kept) -> Past {
    for ended in &kept.ended {
        let then = then(ended, at);
        let same = |still: &SessionThen| {
            (still.address, still.since) == (then.address, then.since)
                && still.kind == then.kind
                && still.name.eq_ignore_ascii_case(&then.name)
        };
        let still = past.sessions.iter().position(same);
        match still {
            // It ended while it was looked for.
            Some(place) if then.ended.is_some_and(|ended| ended >= past.now) => {
                past.sessions.remove(place);
                past.sessions.push(then);
            }
            // It came back, because a crash lost its end.
            Some(_) => {}
            None => past.sessions.push(then),
        }
    }
    past.sessions
        .sort_by_key(|s| (s.address, s.kind == "device", s.stale, s.since));
    past.kept = kept.on;
    past.begins = kept.begins.map(timestamp);
    past.holes = kept.holes;
    past.damaged = kept.damaged;
    past.truncated |= kept.truncated;
    past.unfinished = kept.unfinished;
    past
}

/// Sessions of now that had begun by then.
fn still(core: &Core, found: &Query, at: UtcMillis) -> Vec<SessionThen> {
    let by_address = found.who.parse::<IpAddr>().is_ok();
    let mut sessions = Vec::new();
    for session in &found.sessions {
        let Some(view) = core.address(session.address) else {
            continue;
        };
        let address = view.address;
        let is_user = |name: &str, domain: &str| {
            let mut users = found.users.iter();
            by_address || users.any(|user| user.user == name && user.domain == domain)
        };
        let is_device = |name: &str, domain: &str| {
            let mut devices = found.devices.iter();
            by_address || devices.any(|device| device.device == name && device.domain == domain)
        };
        let shown = |evidence: &EvidenceView<'_>, since| SessionThen {
            address,
            kind: String::new(),
            name: String::new(),
            domain: String::new(),
            device: None,
            since: timestamp(since),
            until: None,
            ended: None,
            stale: false,
            reason: None,
            by: None,
            next: None,
            evidence: self::evidence(evidence),
        };
        let device = view.device.as_ref();
        if let Some(user) = &view.user
            && user.since <= at
            && is_user(user.user.name, user.user.domain)
        {
            let name =
                |d: &crate::identity::view::DeviceView<'_>| format!("{}\\{}$", d.domain, d.name);
            sessions.push(SessionThen {
                kind: "user".to_owned(),
                name: user.user.name.to_owned(),
                domain: user.user.domain.to_owned(),
                device: device.map(|device| name(&device.device)),
                ..shown(&user.evidence, user.since)
            });
        }
        if let Some(device) = device
            && device.since <= at
            && is_device(device.device.name, device.device.domain)
        {
            sessions.push(SessionThen {
                kind: "device".to_owned(),
                name: device.device.name.to_owned(),
                domain: device.device.domain.to_owned(),
                ..shown(&device.evidence, device.since)
            });
        }
    }
    sessions
}

fn then(ended: &Ended, at: UtcMillis) -> SessionThen {
    let held = &ended.evidence;
    let strength = match held.strength {
        Strength::Strong => "strong",
        Strength::Weak => "weak",
    };
    SessionThen {
        address: ended.address,
        kind: match ended.kind {
            SubjectKind::User => "user",
            SubjectKind::Device => "device",
        }
        .to_owned(),
        name: ended.name.to_string(),
        domain: ended.domain.to_string(),
        device: ended.device.as_ref().map(ToString::to_string),
        since: timestamp(ended.since),
        until: Some(timestamp(ended.until)),
        ended: Some(timestamp(ended.ended)),
        stale: ended.until <= at,
        reason: Some(ended.word().to_owned()),
        by: Some(by(ended)),
        next: ended.next.as_ref().map(ToString::to_string),
        evidence: Evidence {
            producer: held.producer.to_string(),
            record: held.record.to_string(),
            strength: strength.to_owned(),
            occurred_at: timestamp(held.occurred_at),
            received_at: timestamp(held.received_at),
        },
    }
}

fn by(ended: &Ended) -> String {
    match ended.by_record.as_str() {
        "" => ended.by.to_string(),
        record => format!("{}: {record}", ended.by),
    }
}

/// Adds users' sessions that ended to those that the table remembers, the latest first.
pub(super) fn add_listed(past: &mut Vec<PastSession>, ended: &[Ended]) {
    let users = ended.iter().filter(|ended| ended.kind == SubjectKind::User);
    for ended in users {
        let listed = PastSession {
            address: ended.address,
            user: format!("{}\\{}", ended.domain, ended.name),
            at: timestamp(ended.ended),
            reason: ended.word().to_owned(),
            by: by(ended),
        };
        let is_same = |known: &PastSession| {
            (known.address, known.at) == (listed.address, listed.at) && known.user == listed.user
        };
        if !past.iter().any(is_same) {
            past.push(listed);
        }
    }
    past.sort_by_key(|past| std::cmp::Reverse(past.at));
    past.truncate(MAX_LISTED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::query;
    use crate::identity::name::Name;
    use crate::identity::policy::{DomainPolicy, Policy};
    use crate::identity::view::Epoch;

    #[test]
    fn whoever_is_forgotten_is_found_by_any_name_of_his_domain() {
        let name = |text: &str| Name::new(text).expect("name");
        let domain = DomainPolicy {
            name: name("corp.example.com"),
            netbios: Some(name("CORP")),
            aliases: vec![name("corp.example")],
        };
        let policy = Policy {
            domains: vec![domain],
            ..Policy::default()
        };
        let core = Core::new(Epoch(1), policy);
        for who in [
            "CORP\\ada",
            "ada@corp.example",
            "corp.example.com\\ada",
            "ada@corp.example.com",
        ] {
            let found = query::query(&core, who, &query::Down::new(), UtcMillis(1));
            let PastWhom::Named(names) = whom(&core, &found) else {
                panic!("{who} is a name");
            };
            let by_dns_name = ("ada".to_owned(), Some("corp.example.com".to_owned()));
            assert!(names.contains(&by_dns_name), "{who}: {names:?}");
        }
    }
}
