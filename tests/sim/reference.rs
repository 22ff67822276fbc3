//! The naive reference: what the table should say, worked out from everything that ever arrived.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jims::identity::event::Strength;

use crate::reference_directory::{Directories, Key, key};
use crate::slot::{Fact, Hold, Slot, What};
use crate::step::{Action, At, Claimed, PolicyText, Said, Step, Whom};

/// How long overdue sessions may take to end after the clock jumped.
const SPREAD: At = 10 * crate::step::MINUTE + crate::step::SECOND;

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) policy: PolicyText,
    pub(crate) directories: Directories,
    places: BTreeMap<IpAddr, Place>,
    now: At,
    /// Until when overdue sessions may linger, after a jump of the clock.
    lingering_until: At,
    arrivals: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) user: Slot,
    pub(crate) device: Slot,
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
    pub(crate) fn apply(&mut self, step: &Step) {
        let jumped = matches!(step.action, Action::Resume);
        self.now = self.now.max(step.now);
        if jumped {
            self.lingering_until = self.now + SPREAD;
        }
        self.expire();
        match &step.action {
            Action::Said(said) => self.say(said),
            Action::Read(read) => {
                let changes = self.directories.read(read);
                for place in self.places.values_mut() {
                    for (old, new) in &changes.renamed_users {
                        place.user.rename(old, new);
                    }
                    for (old, new) in &changes.renamed_devices {
                        place.device.rename(old, new);
                    }
                }
                self.end_gone_and_excluded();
            }
            Action::LogOff(whom) => self.log_off(whom),
            Action::Policy(policy) => self.set_policy(policy),
            Action::Restart
            | Action::Tick
            | Action::Resume
            | Action::Expect(..)
            | Action::Changes(_) => {}
        }
        self.expire();
    }

    /// Whether overdue sessions may still be there because the clock jumped.
    pub(crate) fn may_linger(&self) -> bool {
        self.now < self.lingering_until
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
        self.places
            .get(&address)
            .map_or(Should::Be(None), |place| self.should(&place.user))
    }

    pub(crate) fn device(&self, address: IpAddr) -> Should {
        self.places
            .get(&address)
            .map_or(Should::Be(None), |place| self.should(&place.device))
    }

    fn should(&self, slot: &Slot) -> Should {
        if slot.unsettled {
            return Should::BeAnything;
        }
        let hold = slot.hold().map(|hold| {
            let deadline = self.deadline(&hold);
            (hold, deadline)
        });
        match hold {
            Some((_, deadline)) if deadline <= self.now => Should::BeAnything,
            hold => Should::Be(hold),
        }
    }

    fn deadline(&self, hold: &Hold) -> At {
        hold.last + self.logoff_time()
    }

    fn logoff_time(&self) -> At {
        At::try_from(self.policy.logoff_time.as_millis()).expect("at most a day")
    }

    /// Ends what is due. What is overdue because the clock jumped ends within the time of grace.
    fn expire(&mut self) {
        if self.now < self.lingering_until {
            return;
        }
        let (now, time) = (self.now, self.logoff_time());
        for place in self.places.values_mut() {
            for slot in [&mut place.user, &mut place.device] {
                while let Some(hold) = slot.hold().filter(|hold| hold.last + time <= now) {
                    self.arrivals += 1;
                    slot.add(Fact {
                        at: hold.last,
                        producer: "jims".into(),
                        what: What::End { who: None },
                        arrival: self.arrivals,
                    });
                }
            }
        }
    }

    fn say(&mut self, said: &Said) {
        let at = said.at.min(self.now);
        let address = match said.address.map(|address| address.to_canonical()) {
            Some(address) if !may_have_session(address) || !self.in_scope(said, address) => return,
            address => address,
        };
        let overdue = at + self.logoff_time() <= self.now;
        match &said.claim {
            Claimed::Logon {
                user,
                strength,
                device,
                id,
                ..
            } => {
                let Some(address) = address.filter(|_| !overdue) else {
                    return;
                };
                if let Some(who) = self.believable_user(user) {
                    self.add_user(
                        address,
                        said,
                        at,
                        What::Evidence {
                            who,
                            strength: *strength,
                            id: id.clone(),
                        },
                    );
                }
                if let Some(device) = device {
                    self.device_logon(address, said, at, (device, *strength));
                }
            }
            Claimed::Logoff { user, id } => self.logoff(said, at, address, (user.as_deref(), id)),
            Claimed::DeviceLogon {
                device,
                strength,
                own_kerberos,
            } => {
                let Some(address) = address.filter(|_| !overdue) else {
                    return;
                };
                if *own_kerberos && self.policy.follow_device {
                    self.follow(address, said, at, device);
                }
                self.device_logon(address, said, at, (device, *strength));
            }
            Claimed::DeviceLogoff { device } => {
                let who = device.as_deref().map(|device| self.device_key(device));
                let excluded = who.as_ref().is_some_and(|who| self.device_excluded(who));
                if let Some(address) = address.filter(|_| !excluded) {
                    self.add_device(address, said, at, What::Logoff { who });
                }
            }
            Claimed::Renewal { user, device } => {
                if !overdue {
                    self.renew(said, at, address, (user, device.as_deref()));
                }
            }
        }
    }

    fn in_scope(&self, said: &Said, address: IpAddr) -> bool {
        let mut scopes = self
            .policy
            .scopes
            .iter()
            .filter(|(producer, _)| *producer == said.producer)
            .peekable();
        let scoped = scopes.peek().is_none() || scopes.any(|(_, net)| net.contains(&address));
        scoped && !self.address_excluded(address)
    }

    fn address_excluded(&self, address: IpAddr) -> bool {
        self.policy
            .exclude_addresses
            .iter()
            .any(|net| net.contains(&address))
    }

    fn device_logon(&mut self, address: IpAddr, said: &Said, at: At, of: (&str, Strength)) {
        let who = self.device_key(of.0);
        if !self.device_excluded(&who) {
            let strength = of.1;
            self.add_device(
                address,
                said,
                at,
                What::Evidence {
                    who,
                    strength,
                    id: None,
                },
            );
        }
    }

    fn logoff(
        &mut self,
        said: &Said,
        at: At,
        address: Option<IpAddr>,
        whose: (Option<&str>, &Option<(String, u64)>),
    ) {
        let (user, id) = whose;
        let who = match user.map(|user| self.user_key(user)) {
            Some(None) => return,
            Some(Some(who)) if self.user_excluded(&who) => return,
            who => who.flatten(),
        };
        if let Some(address) = address {
            self.add_user(address, said, at, What::Logoff { who });
            return;
        }
        let ended: Vec<IpAddr> = self
            .places
            .iter()
            .filter(|(_, place)| {
                place.user.hold().is_some_and(|hold| {
                    let made_it = match id {
                        Some(_) => hold.last_id == *id,
                        None => hold.last_producer == said.producer,
                    };
                    Some(&hold.who) == who.as_ref() && made_it && hold.last < at
                })
            })
            .map(|(address, _)| *address)
            .collect();
        for address in ended {
            self.add_user(address, said, at, What::Logoff { who: who.clone() });
        }
    }

    /// A machine account's own evidence brings the user that the device has elsewhere.
    fn follow(&mut self, address: IpAddr, said: &Said, at: At, device: &str) {
        let device = self.device_key(device);
        if self.device_excluded(&device) {
            return;
        }
        let doubt = self.places.iter().any(|(other, place)| {
            *other != address && (place.device.unsettled || place.user.unsettled)
        });
        if doubt {
            self.places.entry(address).or_default().user.unsettled = true;
        }
        let elsewhere = self
            .places
            .iter()
            .filter(|(other, place)| {
                **other != address && place.device.hold().is_some_and(|hold| hold.who == device)
            })
            .filter_map(|(_, place)| place.user.hold())
            .max_by_key(|hold| hold.last);
        if let Some(hold) = elsewhere {
            self.add_user(
                address,
                said,
                at,
                What::Evidence {
                    who: hold.who,
                    strength: Strength::Weak,
                    id: None,
                },
            );
        }
    }

    fn renew(&mut self, said: &Said, at: At, address: Option<IpAddr>, of: (&str, Option<&str>)) {
        let Some(who) = self.believable_user(of.0) else {
            return;
        };
        let places: Vec<IpAddr> = match (address, of.1) {
            (Some(address), _) => vec![address],
            (None, None) => return,
            (None, Some(device)) => {
                let device = self.device_key(device);
                self.places
                    .iter()
                    .filter(|(_, place)| {
                        place.device.hold().is_some_and(|hold| hold.who == device)
                            && place.user.hold().is_some_and(|hold| hold.who == who)
                    })
                    .map(|(address, _)| *address)
                    .collect()
            }
        };
        for place in self.places.values_mut() {
            // Whether this is the device that was meant is not sure.
            place.user.unsettled |= of.1.is_some() && place.device.unsettled;
        }
        // A renewal counts for who is there when it is heard; it is not remembered for anybody else.
        let is_his = |place: &Place| {
            place
                .user
                .hold()
                .is_some_and(|hold| hold.who == who && hold.last < at)
        };
        let his: Vec<IpAddr> = places
            .into_iter()
            .filter(|address| self.places.get(address).is_some_and(is_his))
            .collect();
        for address in his {
            self.add_user(address, said, at, What::Renewal { who: who.clone() });
        }
    }

    fn log_off(&mut self, whom: &Whom) {
        match whom {
            Whom::Address(address) => self.end_all(address.to_canonical()),
            Whom::User(user) => {
                let Some(who) = self.user_key(user) else {
                    return;
                };
                for address in self.addresses() {
                    let hold = self.places[&address].user.hold();
                    if hold.is_some_and(|hold| hold.who == who) {
                        self.end_user(address, Some(who.clone()));
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
        self.policy = policy.clone();
        self.directories.configure(policy);
        let left = self.directories.names();
        for (name, users) in before {
            if !left.contains(&name) {
                for address in self.addresses() {
                    for user in &users {
                        if self.places[&address].user.subjects().contains(user) {
                            self.end_user(address, Some(user.clone()));
                        }
                    }
                }
            }
        }
        for address in self.addresses() {
            if self.address_excluded(address) {
                self.end_all(address);
            }
        }
        self.end_gone_and_excluded();
    }

    /// Ends whatever sessions are at an address.
    fn end_all(&mut self, address: IpAddr) {
        let Some(place) = self.places.get(&address) else {
            return;
        };
        let (user, device) = (place.user.hold(), place.device.hold());
        if user.is_some() {
            self.end_user(address, None);
        }
        if device.is_some() {
            self.end_device(address, None);
        }
    }

    /// Whom the directory lost and whom a filter excludes: here no more, and nothing said before brings him back.
    fn end_gone_and_excluded(&mut self) {
        for address in self.addresses() {
            for who in self.places[&address].user.subjects() {
                if self.directories.is_gone(&who) || self.user_excluded(&who) {
                    self.end_user(address, Some(who));
                }
            }
            for who in self.places[&address].device.subjects() {
                if self.device_excluded(&who) {
                    self.end_device(address, Some(who));
                }
            }
        }
    }

    /// The user of that text if evidence for him counts.
    fn believable_user(&self, text: &str) -> Option<Key> {
        self.user_key(text)
            .filter(|who| !self.directories.is_gone(who) && !self.user_excluded(who))
    }

    fn user_excluded(&self, who: &str) -> bool {
        self.excluded(who, &self.policy.exclude_users)
    }

    fn device_excluded(&self, who: &str) -> bool {
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

    fn add_user(&mut self, address: IpAddr, said: &Said, at: At, what: What) {
        let fact = self.fact(&said.producer, at, what);
        let overdue = self.now - self.logoff_time();
        let slot = &mut self.places.entry(address).or_default().user;
        let forgotten = matches!(fact.what, What::End { who: Some(_) });
        add_while_lingering(slot, fact, overdue);
        slot.unsettled |= forgotten;
    }

    fn add_device(&mut self, address: IpAddr, said: &Said, at: At, what: What) {
        let fact = self.fact(&said.producer, at, what);
        let overdue = self.now - self.logoff_time();
        let slot = &mut self.places.entry(address).or_default().device;
        add_while_lingering(slot, fact, overdue);
    }

    /// Ends the session of a user at an address. If it is another's, what was said of him there is taken back; the core
    /// then forgets also when exactly he came and went, so later news of that time may count or not.
    fn end_user(&mut self, address: IpAddr, who: Option<Key>) {
        let hold = self
            .places
            .get(&address)
            .and_then(|place| place.user.hold());
        let who = who.filter(|who| hold.is_none_or(|hold| hold.who != *who));
        let fact = self.fact("jims", self.now, What::End { who });
        let overdue = self.now - self.logoff_time();
        let slot = &mut self.places.entry(address).or_default().user;
        let forgotten = matches!(fact.what, What::End { who: Some(_) });
        add_while_lingering(slot, fact, overdue);
        slot.unsettled |= forgotten;
    }

    fn end_device(&mut self, address: IpAddr, who: Option<Key>) {
        let hold = self
            .places
            .get(&address)
            .and_then(|place| place.device.hold());
        let who = who.filter(|who| hold.is_none_or(|hold| hold.who != *who));
        let fact = self.fact("jims", self.now, What::End { who });
        let overdue = self.now - self.logoff_time();
        let slot = &mut self.places.entry(address).or_default().device;
        let forgotten = matches!(fact.what, What::End { who: Some(_) });
        add_while_lingering(slot, fact, overdue);
        slot.unsettled |= forgotten;
    }

    fn fact(&mut self, producer: &str, at: At, what: What) -> Fact {
        self.arrivals += 1;
        Fact {
            at,
            producer: producer.into(),
            what,
            arrival: self.arrivals,
        }
    }
}

/// What is said of a session that is overdue and not yet ended (the clock jumped) may count for or against it.
fn add_while_lingering(slot: &mut Slot, fact: Fact, overdue: At) {
    let lingers = slot.hold().is_some_and(|hold| hold.last <= overdue);
    slot.add(fact);
    slot.unsettled |= lingers;
}

fn may_have_session(address: IpAddr) -> bool {
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
