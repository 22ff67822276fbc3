//! How a session lives and ends, to the naive reference: logoff time, doubt, answers, and why it ended.

use std::net::IpAddr;

use jims::identity::event::Strength;

use crate::convert::PROBE;
use crate::reference::{Ended, Place, Reference, SPREAD, Ticket};
use crate::reference_directory::Key;
use crate::reference_said::{Change, Told, ignored, seen};
use crate::slot::{CLOCK, Fact, Hold, Slot, What};
use crate::step::{Answer, Answered, At};

impl Reference {
    /// Lets time pass up to now: sessions are doubted and end when they must, each at its own moment.
    pub(crate) fn live(&mut self) {
        for address in self.addresses() {
            self.live_user(address);
            self.live_device(address);
        }
        self.looked = self.now;
    }

    fn live_user(&mut self, address: IpAddr) {
        let can_be_asked = self.can_be_asked(address);
        loop {
            let place = &self.places[&address];
            let Some(hold) = place.user.hold() else {
                return;
            };
            let (doubt, unsettled) = (place.doubt, place.user.unsettled);
            let due = self.deadline(&hold, doubt);
            if due > self.now {
                return;
            }
            let moment = due.max(self.looked);
            if doubt.is_none() && can_be_asked && !unsettled {
                self.place_mut(address).doubt = Some(moment);
                continue;
            }
            if self.lingers(due) {
                return;
            }
            let who = Some(hold.who.clone());
            let fact = self.fact(CLOCK, hold.last, What::End { who });
            // Of what a jump made overdue only the time is known when it is over at the latest.
            let jump = self.jumped_to.filter(|to| due <= *to);
            let (from, until) = jump.map_or((moment, moment), |to| (due, moment.max(to + SPREAD)));
            let logoff_time = self.logoff_time();
            let place = self.place_mut(address);
            place.user.add(fact);
            drop_overdue(&mut place.user, &hold, moment - logoff_time);
            place.user.unsettled |= jump.is_some() && place.user.hold().is_some();
            place.doubt = None;
            place.ended = match (unsettled, doubt) {
                (true, _) => Ended::Unknown,
                (false, Some(_)) => Ended::So("unconfirmed", from, until),
                (false, None) => Ended::So("expired", from, until),
            };
        }
    }

    fn live_device(&mut self, address: IpAddr) {
        while let Some(hold) = self.places[&address].device.hold() {
            let due = self.deadline(&hold, None);
            if due > self.now || self.lingers(due) {
                return;
            }
            let who = Some(hold.who.clone());
            let fact = self.fact(CLOCK, hold.last, What::End { who });
            self.place_mut(address).device.add(fact);
        }
    }

    pub(crate) fn place_mut(&mut self, address: IpAddr) -> &mut Place {
        self.places.entry(address).or_default()
    }

    fn can_be_asked(&self, address: IpAddr) -> bool {
        self.policy.probe.iter().any(|net| net.contains(&address)) && !self.is_shared(address)
    }

    /// Whether a session of this deadline may be there or not, because a jump of the clock made it overdue.
    fn lingers(&self, due: At) -> bool {
        self.may_linger() && self.jumped_to.is_some_and(|to| due <= to)
    }

    /// Whether it is known who has the address.
    pub(crate) fn sure(&self, address: IpAddr) -> bool {
        let Some(place) = self.places.get(&address) else {
            return true;
        };
        let hold = place.user.hold();
        !place.user.unsettled
            && hold.is_none_or(|hold| !self.lingers(self.deadline(&hold, place.doubt)))
    }

    /// Something is said of a user wherever he is; where that is not sure, nobody knows what it did.
    pub(crate) fn lose_sight_of_the_unsure(&mut self, at: At) {
        for address in self.addresses() {
            if !self.sure(address) {
                self.place_mut(address).user.lose_sight(at);
            }
        }
    }

    /// Whether it is known which device has the address.
    pub(crate) fn device_sure(&self, address: IpAddr) -> bool {
        let Some(place) = self.places.get(&address) else {
            return true;
        };
        let hold = place.device.hold();
        !place.device.unsettled && hold.is_none_or(|h| !self.lingers(self.deadline(&h, None)))
    }

    /// What is overdue and not yet ended obeys a new configuration, or has ended before: nobody knows.
    pub(crate) fn unsettle_what_lingers(&mut self) {
        for address in self.addresses() {
            let sure = self.sure(address);
            let device = self.device_sure(address);
            let place = self.place_mut(address);
            place.user.unsettled |= !sure;
            place.device.unsettled |= !device;
        }
    }

    /// Doubts after a change of the configuration: gone where nobody can be asked or the session is not overdue.
    pub(crate) fn look_at_doubts_again(&mut self) {
        for address in self.addresses() {
            self.look_at_doubt(address);
        }
    }

    fn look_at_doubt(&mut self, address: IpAddr) {
        let place = &self.places[&address];
        let hold = place.user.hold();
        let overdue = hold.is_some_and(|hold| self.deadline(&hold, None) <= self.now);
        if !overdue || place.user.unsettled || !self.can_be_asked(address) {
            self.place_mut(address).doubt = None;
        }
    }

    /// Something is said of the user at an address.
    pub(crate) fn add_user(&mut self, address: IpAddr, by: (&str, At), what: What) -> Change {
        self.change_user(address, by, what, None)
    }

    /// `why`: the word for a session that ends by this; without one it tells itself.
    fn change_user(
        &mut self,
        address: IpAddr,
        (producer, at): (&str, At),
        what: What,
        why: Option<&'static str>,
    ) -> Change {
        let evidence = matches!(
            what,
            What::Evidence { .. } | What::Renewal { .. } | What::Carried { .. }
        );
        let fact = self.fact(producer, at, what);
        let sure = self.sure(address);
        let (now, logoff_time) = (self.now, self.logoff_time());
        let place = self.place_mut(address);
        let lingered = !sure && !place.user.unsettled;
        let before = place.user.hold();
        let forgotten = fact.takes_back();
        // We end only who is there, so of our own end nothing is left if nobody was.
        let ours = matches!(fact.what, What::End { .. });
        let settled = place.user.add(fact) && !ours;
        place.user.unsettled |= forgotten || (lingered && !settled);
        match &before {
            Some(before) => drop_overdue(&mut place.user, before, now - logoff_time),
            None => drop_overdue_newcomers(&mut place.user, now - logoff_time),
        }
        let after = place.user.hold();
        let who = |hold: &Option<Hold>| hold.as_ref().map(|hold| hold.who.clone());
        if !sure || place.user.unsettled {
            place.ended = Ended::Unknown;
        } else if before.is_some() && who(&before) != who(&after) {
            let word = match (why, evidence && after.is_some()) {
                (Some(why), _) => why,
                (None, true) => "displaced",
                (None, false) => "logoff",
            };
            place.ended = Ended::So(word, now, now);
        }
        let compared = sure && !place.user.unsettled;
        self.look_at_doubt(address);
        compared.then_some((before, after))
    }

    pub(crate) fn add_device(
        &mut self,
        address: IpAddr,
        (producer, at): (&str, At),
        what: What,
    ) -> Change {
        let fact = self.fact(producer, at, what);
        let overdue = self.now - self.logoff_time();
        let before = self.places.get(&address).and_then(|p| p.device.hold());
        let sure = self.device_sure(address);
        let place = self.place_mut(address);
        let forgotten = fact.takes_back();
        let lingers = !sure && !place.device.unsettled;
        let ours = matches!(fact.what, What::End { .. });
        let settled = place.device.add(fact) && !ours;
        place.device.unsettled |= forgotten || (lingers && !settled);
        match &before {
            Some(before) => drop_overdue(&mut place.device, before, overdue),
            None => drop_overdue_newcomers(&mut place.device, overdue),
        }
        let compared = sure && !place.device.unsettled;
        compared.then(|| (before, place.device.hold()))
    }

    /// Ends the session of a user at an address. If it is another's, what was said of him there is taken back; the core
    /// then forgets also when exactly he came and went, so later news of that time may count or not.
    pub(crate) fn end_user(&mut self, address: IpAddr, who: Option<Key>, why: &'static str) {
        let hold = self.places.get(&address).and_then(|p| p.user.hold());
        let who = who.filter(|who| hold.is_none_or(|hold| hold.who != *who));
        self.change_user(address, ("jims", self.now), What::End { who }, Some(why));
    }

    pub(crate) fn end_device(&mut self, address: IpAddr, who: Option<Key>) {
        let hold = self.places.get(&address).and_then(|p| p.device.hold());
        let who = who.filter(|who| hold.is_none_or(|hold| hold.who != *who));
        self.add_device(address, ("jims", self.now), What::End { who });
    }

    pub(crate) fn fact(&mut self, producer: &str, at: At, what: What) -> Fact {
        self.arrivals += 1;
        Fact {
            at,
            producer: producer.into(),
            what,
            heard: self.now,
            arrival: self.arrivals,
        }
    }

    fn session(&self, address: IpAddr) -> Option<(Key, At, At)> {
        let hold = self.places.get(&address)?.user.hold()?;
        Some((hold.who, hold.last, hold.heard))
    }

    /// Somebody begins to ask a computer.
    pub(crate) fn ask(&mut self, address: IpAddr, name: &str) {
        let ticket = Ticket {
            address,
            asked: self.now,
            session: self.sure(address).then(|| self.session(address)),
        };
        self.tickets.insert(name.into(), ticket);
    }

    /// The computer answered.
    pub(crate) fn answered(&mut self, answered: &Answered) -> Told {
        let ticket = self.tickets.get(&answered.ticket)?.clone();
        let address = match self.spoken_of(PROBE, Some(ticket.address)) {
            Ok(address) => address,
            Err(why) => return ignored(why),
        };
        let told = match ticket.session {
            Some(session) if self.sure(address) => {
                if session == self.session(address) {
                    self.counts(answered, address, ticket.asked)
                } else {
                    ignored("session-changed")
                }
            }
            _ => {
                let now = self.now;
                self.place_mut(address).user.lose_sight(now);
                self.look_at_doubt(address);
                None
            }
        };
        let late = ticket.asked + self.logoff_time() <= self.now;
        if let Some(device) = answered.device.as_deref().filter(|_| !late) {
            self.device_there(address, (PROBE, ticket.asked), (device, Strength::Strong));
        }
        told
    }

    /// An answer about the session that is there still.
    fn counts(&mut self, answered: &Answered, address: IpAddr, asked: At) -> Told {
        if self.is_shared(address) {
            return ignored("shared-address");
        }
        let holder = self.session(address);
        let doubted = self.place(address).is_some_and(|p| p.doubt.is_some());
        let silent = |why| match (doubted, answered.healthy) {
            (true, true) => Ok(why),
            (true, false) => Err("probing-unhealthy"),
            (false, _) => Err("no-answer"),
        };
        let over = match &answered.answer {
            Answer::Users(users) => return self.users_answered(users, holder, address, asked),
            Answer::Nobody => return self.gone(holder, address, asked, "probe-nobody"),
            Answer::Refused => silent("probe-refused"),
            Answer::Unreachable => silent("probe-unreachable"),
            Answer::NotProbed if doubted => Ok("expired"),
            Answer::NotProbed => Err("no-answer"),
        };
        match (over, holder) {
            (Ok(why), Some((who, last, _))) => {
                let end = What::End { who: Some(who) };
                self.change_user(address, (CLOCK, last), end, Some(why));
                Some(format!("logged-off {why}"))
            }
            (Err(why), _) => ignored(why),
            (Ok(_), None) => ignored("no-answer"),
        }
    }

    fn users_answered(
        &mut self,
        users: &[String],
        holder: Option<(Key, At, At)>,
        address: IpAddr,
        asked: At,
    ) -> Told {
        if asked + self.logoff_time() <= self.now {
            return ignored("past-deadline");
        }
        let mut there: Vec<Key> = Vec::new();
        let mut refused = None;
        for user in users {
            match self.believable_user(user) {
                Ok(who) => there.push(who),
                Err(why) => refused = Some(why),
            }
        }
        there.sort();
        there.dedup();
        let holds = |who: &Key| holder.as_ref().is_some_and(|(holder, ..)| holder == who);
        let believed = match (there.iter().find(|who| holds(who)), there.as_slice()) {
            (Some(same), _) => same.clone(),
            (None, [one]) => one.clone(),
            (None, _) if holder.is_some() => {
                return self.gone(holder, address, asked, "probe-other-user");
            }
            (None, []) => return ignored(refused.unwrap_or("no-session")),
            (None, _) => return ignored("several-users"),
        };
        let evidence = What::Evidence {
            who: believed.clone(),
            strength: Strength::Strong,
            id: None,
        };
        let change = self.add_user(address, (PROBE, asked), evidence);
        seen(change, &believed, asked)
    }

    fn gone(
        &mut self,
        holder: Option<(Key, At, At)>,
        address: IpAddr,
        asked: At,
        why: &'static str,
    ) -> Told {
        let Some((_, last, _)) = holder else {
            return ignored("no-session");
        };
        let end = What::End { who: None };
        self.change_user(address, (PROBE, asked.max(last)), end, Some(why));
        Some(format!("logged-off {why}"))
    }
}

/// Whoever comes up because somebody left may be overdue himself: then he is not there either.
fn drop_overdue(slot: &mut Slot, before: &Hold, overdue: At) {
    while let Some(hold) = slot.hold() {
        if hold.who == before.who || hold.last > overdue {
            return;
        }
        end_at_its_evidence(slot, &hold);
    }
}

fn drop_overdue_newcomers(slot: &mut Slot, overdue: At) {
    while let Some(hold) = slot.hold().filter(|hold| hold.last <= overdue) {
        end_at_its_evidence(slot, &hold);
    }
}

fn end_at_its_evidence(slot: &mut Slot, hold: &Hold) {
    slot.add(Fact {
        at: hold.last,
        producer: CLOCK.into(),
        what: What::End {
            who: Some(hold.who.clone()),
        },
        heard: hold.heard,
        arrival: u64::MAX,
    });
}
