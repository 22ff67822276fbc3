//! The naive reference: what the table should say, worked out from everything that ever arrived.
//!
//! Here: its doors, policy and names. What is said goes through `reference_said`, how a session lives and ends is in
//! `reference_life`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::reference_directory::{Directories, Key, key};
use crate::slot::{Hold, Slot};
use crate::step::{Action, At, MINUTE, PolicyText, Step, Whom};

/// Over how long the sessions end that a jump of the clock made overdue.
pub(crate) const SPREAD: At = 10 * MINUTE;

/// More than this between two looks at the clock is a jump.
const JUMP: At = MINUTE;

#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) policy: PolicyText,
    pub(crate) directories: Directories,
    pub(crate) places: BTreeMap<IpAddr, Place>,
    pub(crate) now: At,
    started: bool,
    /// When sessions were last looked at.
    pub(crate) looked: At,
    /// The last jump of the clock.
    pub(crate) jumped_to: Option<At>,
    pub(crate) arrivals: u64,
    pub(crate) tickets: BTreeMap<String, Ticket>,
}

/// Everything that is known of an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) user: Slot,
    pub(crate) device: Slot,
    /// Since when the user's session is in doubt.
    pub(crate) doubt: Option<At>,
    /// Why the last user session ended, and when.
    pub(crate) ended: Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Ended {
    #[default]
    Never,
    /// The word, and between which instants; a jump of the clock leaves some room.
    So(&'static str, At, At),
    Unknown,
}

/// The session as it was when somebody began to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) address: IpAddr,
    pub(crate) asked: At,
    /// Who, last evidence, and when that was heard; `None`: whether anybody was there is not sure.
    pub(crate) session: Option<Option<(Key, At, At)>>,
}

/// Whether a slot can be compared, and with what.
#[derive(Debug, PartialEq)]
pub(crate) enum Should {
    /// Nobody, or this hold until this deadline.
    Be(Option<(Hold, At)>),
    /// The core may rightly say one thing or another.
    BeAnything,
}

impl Reference {
    /// Applies a step. What should come of it, in the words of `compare::verdict`, if that is sure and the step is one
    /// that has a verdict.
    pub(crate) fn apply(&mut self, step: &Step) -> Option<String> {
        let before = if self.started { self.now } else { step.now };
        self.now = self.now.max(step.now);
        self.started = true;
        if matches!(step.action, Action::Resume) && self.now - before > JUMP {
            self.jump();
        }
        self.live();
        let verdict = match &step.action {
            Action::Said(said) => self.say(said),
            Action::Answer(answered) => self.answered(answered),
            Action::Ask(address, ticket) => {
                self.ask(address.to_canonical(), ticket);
                None
            }
            Action::Read(read) => {
                self.read(read);
                None
            }
            Action::LogOff(whom) => {
                self.log_off(whom);
                None
            }
            Action::Policy(policy) => {
                self.set_policy(policy);
                None
            }
            Action::Restart => {
                self.tickets.clear();
                None
            }
            Action::Tick
            | Action::Resume
            | Action::Expect(..)
            | Action::Changes(_)
            | Action::Snapshot(_)
            | Action::Restore(_) => None,
        };
        self.live();
        verdict
    }

    /// The clock jumped to now: nobody looked meanwhile.
    fn jump(&mut self) {
        self.jumped_to = Some(self.now);
        self.looked = self.now;
    }

    /// Goes back to what was known when a snapshot was written; the clock and the configuration do not go back.
    pub(crate) fn restore(&mut self, snapshot: &Self) {
        let (now, policy) = (self.now, self.policy.clone());
        let gap = now - snapshot.now;
        *self = snapshot.clone();
        self.now = now;
        self.looked = now;
        self.tickets.clear();
        if gap > JUMP {
            self.jump();
        }
        self.set_policy(&policy);
        self.live();
    }

    fn read(&mut self, read: &crate::step::Read) {
        let changes = self.directories.read(read);
        for place in self.places.values_mut() {
            for (old, new) in &changes.renamed_users {
                place.user.rename(old, new);
            }
            for (old, new) in &changes.renamed_devices {
                place.device.rename(old, new);
            }
        }
        for ticket in self.tickets.values_mut() {
            if let Some(Some((who, ..))) = &mut ticket.session {
                for (old, new) in &changes.renamed_users {
                    if old == who {
                        new.clone_into(who);
                    }
                }
            }
        }
        self.end_gone_and_excluded();
    }

    /// Whether overdue sessions may still be there because the clock jumped.
    pub(crate) fn may_linger(&self) -> bool {
        self.jumped_to.is_some_and(|to| self.now < to + SPREAD)
    }

    pub(crate) fn now(&self) -> At {
        self.now
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.places.keys().copied().collect()
    }

    pub(crate) fn place(&self, address: IpAddr) -> Option<&Place> {
        self.places.get(&address)
    }

    pub(crate) fn is_shared(&self, address: IpAddr) -> bool {
        self.policy.shared.iter().any(|net| net.contains(&address))
    }

    pub(crate) fn user(&self, address: IpAddr) -> Should {
        self.places.get(&address).map_or(Should::Be(None), |place| {
            self.should(&place.user, place.doubt)
        })
    }

    pub(crate) fn device(&self, address: IpAddr) -> Should {
        self.places
            .get(&address)
            .map_or(Should::Be(None), |place| self.should(&place.device, None))
    }

    fn should(&self, slot: &Slot, doubt: Option<At>) -> Should {
        if slot.unsettled {
            return Should::BeAnything;
        }
        let hold = slot.hold().map(|hold| {
            let deadline = self.deadline(&hold, doubt);
            (hold, deadline)
        });
        match hold {
            Some((_, deadline)) if deadline <= self.now => Should::BeAnything,
            hold => Should::Be(hold),
        }
    }

    /// When a session ends without new evidence; one in doubt without an answer.
    pub(crate) fn deadline(&self, hold: &Hold, doubt: Option<At>) -> At {
        doubt.map_or(hold.last + self.logoff_time(), |since| since + self.grace())
    }

    pub(crate) fn logoff_time(&self) -> At {
        At::try_from(self.policy.logoff_time.as_millis()).expect("at most a day")
    }

    pub(crate) fn grace(&self) -> At {
        At::try_from(self.policy.grace.as_millis()).expect("at most a day")
    }

    /// Whether the producer may speak for the address at all.
    pub(crate) fn in_scope(&self, producer: &str, address: IpAddr) -> bool {
        let mut scopes = self
            .policy
            .scopes
            .iter()
            .filter(|(scoped, _)| scoped == producer)
            .peekable();
        scopes.peek().is_none() || scopes.any(|(_, net)| net.contains(&address))
    }

    pub(crate) fn address_excluded(&self, address: IpAddr) -> bool {
        self.policy
            .exclude_addresses
            .iter()
            .any(|net| net.contains(&address))
    }

    fn log_off(&mut self, whom: &Whom) {
        match whom {
            Whom::Address(address) => self.end_all(address.to_canonical(), "operator"),
            Whom::User(user) => {
                let Some(who) = self.user_key(user) else {
                    return;
                };
                self.lose_sight_of_the_unsure(self.now);
                for address in self.addresses() {
                    let hold = self.places[&address].user.hold();
                    if hold.is_some_and(|hold| hold.who == who) {
                        self.end_user(address, Some(who.clone()), "operator");
                    }
                }
            }
        }
    }

    fn set_policy(&mut self, policy: &PolicyText) {
        let before: Vec<(String, Vec<Key>)> = self
            .directories
            .names()
            .into_iter()
            .map(|name| (name.clone(), self.directories.users_of(&name)))
            .collect();
        self.unsettle_what_lingers();
        self.policy = policy.clone();
        self.directories.configure(policy);
        let left = self.directories.names();
        for (name, users) in before {
            if !left.contains(&name) {
                for address in self.addresses() {
                    for user in &users {
                        if self.places[&address].user.subjects().contains(user) {
                            self.end_user(address, Some(user.clone()), "directory");
                        }
                    }
                }
            }
        }
        for address in self.addresses() {
            if self.address_excluded(address) {
                self.end_all(address, "filter");
            }
        }
        self.end_gone_and_excluded();
        self.look_at_doubts_again();
    }

    /// Ends whatever sessions are at an address.
    fn end_all(&mut self, address: IpAddr, why: &'static str) {
        let Some(place) = self.places.get(&address) else {
            return;
        };
        let (user, device) = (place.user.hold(), place.device.hold());
        let (sure, device_sure) = (self.sure(address), self.device_sure(address));
        if user.is_some() {
            self.end_user(address, None, why);
        }
        if device.is_some() {
            self.end_device(address, None);
        }
        let now = self.now;
        let place = self.place_mut(address);
        if !sure {
            place.user.lose_sight(now);
        }
        if !device_sure {
            place.device.lose_sight(now);
        }
    }

    /// Whom the directory lost and whom a filter excludes: here no more, and nothing said before brings him back.
    fn end_gone_and_excluded(&mut self) {
        for address in self.addresses() {
            for who in self.places[&address].user.subjects() {
                if self.directories.is_gone(&who) {
                    self.end_user(address, Some(who), "directory");
                } else if self.user_excluded(&who) {
                    self.end_user(address, Some(who), "filter");
                }
            }
            for who in self.places[&address].device.subjects() {
                if self.device_excluded(&who) {
                    self.end_device(address, Some(who));
                }
            }
        }
    }

    pub(crate) fn user_excluded(&self, who: &str) -> bool {
        self.excluded(who, &self.policy.exclude_users)
    }

    pub(crate) fn device_excluded(&self, who: &str) -> bool {
        self.excluded(who, &self.policy.exclude_devices)
    }

    fn excluded(&self, who: &str, globs: &[String]) -> bool {
        let name = who.split_once('\\').map_or(who, |(_, name)| name);
        globs.iter().any(|glob| match glob.strip_suffix('*') {
            Some(start) => name.starts_with(&start.to_lowercase()),
            None => name == glob.to_lowercase(),
        })
    }

    fn domain(&self, qualifier: &str) -> String {
        self.policy
            .domains
            .iter()
            .find(|(dns, netbios, _)| {
                dns.eq_ignore_ascii_case(qualifier) || netbios.eq_ignore_ascii_case(qualifier)
            })
            .map_or_else(|| qualifier.to_lowercase(), |(dns, _, _)| dns.clone())
    }

    /// `None`: not a user at all.
    pub(crate) fn user_key(&self, text: &str) -> Option<Key> {
        if text.ends_with('$') {
            return None;
        }
        if let Some((domain, name)) = text.split_once('\\') {
            return Some(key(&self.domain(domain), name));
        }
        if let Some((name, suffix)) = text.rsplit_once('@') {
            let resolved = self.directories.by_upn(text);
            return Some(resolved.unwrap_or_else(|| key(&self.domain(suffix), name)));
        }
        Some(key(&self.policy.domains[0].0, text))
    }

    pub(crate) fn device_key(&self, text: &str) -> Key {
        let (domain, name) = text.split_once('\\').unwrap_or(("", text));
        let domain = if domain.is_empty() {
            self.policy.domains[0].0.clone()
        } else {
            self.domain(domain)
        };
        let label = name.split('.').next().unwrap_or(name);
        key(&domain, label.trim_end_matches('$'))
    }
}

pub(crate) fn may_have_session(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            octets != [127, 0, 0, 1]
                && octets != [0; 4]
                && octets != [255; 4]
                && octets[..2] != [169, 254]
                && octets[0] & 0xf0 != 0xe0
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.to_bits() > 1 && first & 0xffc0 != 0xfe80 && first & 0xff00 != 0xff00
        }
    }
}
