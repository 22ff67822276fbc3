//! Computers that are asked, a process that dies, producers that fall silent, and people who move.

use std::time::Duration;

use super::{PRODUCERS, TICK, World};
use crate::step::{Action, Answer, Answered, Claimed, HOUR, MINUTE, SECOND, Said};

impl World {
    pub(super) fn choose_probing(&mut self) {
        let network = *self
            .dice
            .pick(&["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "::/0"]);
        self.policy.probe = vec![network.parse().expect("a network")];
        self.policy.grace = match self.dice.below(4) {
            0 => Duration::from_mins(1),
            1 => Duration::from_mins(10),
            _ => Duration::from_hours(1),
        };
    }

    pub(super) fn ask(&mut self) {
        let address = *self.dice.pick(&self.addresses);
        self.drawn += 1;
        let ticket = format!("t{}", self.drawn);
        self.tickets.push((ticket.clone(), address));
        self.push(Action::Ask(address, ticket));
        if self.dice.percent(50) {
            self.now += self.dice.between(0, 4) * TICK;
            self.answer();
        }
    }

    /// An answer, of the last question or of an older one, once or twice.
    pub(super) fn answer(&mut self) {
        if self.tickets.is_empty() {
            return self.ask();
        }
        let newest = self.tickets.len() - 1;
        let place = if self.dice.percent(70) {
            newest
        } else {
            self.dice.below(newest + 1)
        };
        let ticket = if self.dice.percent(90) {
            self.tickets.remove(place).0
        } else {
            self.tickets[place].0.clone()
        };
        let answer = match self.dice.below(10) {
            0 => Answer::Nobody,
            1 => Answer::Refused,
            2 => Answer::Unreachable,
            3 => Answer::NotProbed,
            4 => Answer::Users(vec!["ws1$".into()]),
            5..7 => Answer::Users((0..2 + self.dice.below(2)).map(|_| self.user()).collect()),
            _ => Answer::Users(vec![self.user()]),
        };
        let answered = Answered {
            ticket,
            healthy: self.dice.percent(70),
            answer,
            device: (self.habits.devices && self.dice.percent(25)).then(|| self.device()),
        };
        self.push(Action::Answer(answered));
    }

    pub(super) fn push_snapshot(&mut self) {
        let name = format!("s{}", self.snapshots.len() + 1);
        self.snapshots.push((name.clone(), self.steps.len()));
        self.push(Action::Snapshot(name));
    }

    /// The process dies and starts from one of its snapshots; producers say again what they said since, each in its
    /// order, and computers are asked again.
    pub(super) fn die(&mut self) {
        if self.snapshots.is_empty() {
            return self.push_snapshot();
        }
        let (name, since) = self.dice.pick(&self.snapshots).clone();
        self.lonely_now();
        self.now += *self.dice.pick(&[0, SECOND, 59 * SECOND, 2 * MINUTE, HOUR]) / TICK * TICK;
        let mut again: Vec<Vec<Action>> = vec![Vec::new(); PRODUCERS.len()];
        let mut read = Vec::new();
        for step in &self.steps[since..] {
            match &step.action {
                Action::Said(said) => {
                    let place = PRODUCERS.iter().position(|name| *name == said.producer);
                    again[place.expect("a producer of ours")].push(step.action.clone());
                }
                Action::Read(_) => read.push(step.action.clone()),
                _ => {}
            }
        }
        self.push(Action::Restore(name));
        self.now += TICK - 7;
        for action in read {
            self.lonely_now();
            self.push(action);
        }
        self.now += TICK;
        self.now -= self.now % TICK;
        // Names that changed meanwhile would mean somebody else.
        let mut queues: Vec<_> = again.into_iter().map(Vec::into_iter).collect();
        while self.renames == 0 && !queues.is_empty() {
            let place = self.dice.below(queues.len());
            match queues[place].next() {
                Some(action) => self.push(action),
                None => drop(queues.remove(place)),
            }
        }
        self.tickets.clear();
        if self.habits.probing {
            self.ask();
        }
    }

    /// A producer is not heard for a while; what happens meanwhile it delivers later.
    pub(super) fn fall_silent(&mut self) {
        let producer = self.dice.below(PRODUCERS.len());
        let until = self.now + self.dice.between(1, 180) * MINUTE;
        self.silent[producer].get_or_insert((until, Vec::new()));
    }

    pub(super) fn deliver_backlogs(&mut self) {
        for place in 0..self.silent.len() {
            if self.silent[place].as_ref().is_some_and(|s| s.0 <= self.now)
                && let Some((_, backlog)) = self.silent[place].take()
            {
                for said in backlog {
                    self.push(Action::Said(said));
                }
            }
        }
    }

    /// Somebody leaves one address for another, and somebody else takes the first; nobody says so.
    pub(super) fn walk(&mut self) {
        let (from, to) = (
            *self.dice.pick(&self.addresses),
            *self.dice.pick(&self.addresses),
        );
        let (first, second) = (self.user(), self.user());
        for (user, address) in [(&first, from), (&first, to), (&second, from)] {
            let said = Said {
                producer: PRODUCERS[self.dice.below(2)].into(),
                at: self.now,
                address: Some(address),
                claim: Claimed::Logon {
                    user: user.clone(),
                    strength: self.strength(),
                    device: None,
                    groups: Vec::new(),
                    id: None,
                },
            };
            self.say(said);
            self.now += self.dice.between(0, 20) * TICK;
        }
    }

    /// Somebody leaves an address where nobody was for nearly a day, and when the day is over it is said that he came
    /// before he left.
    pub(super) fn come_late(&mut self) {
        let address = Some(*self.dice.pick(&self.addresses));
        let user = self.user();
        let left = |user| Claimed::Logoff { user, id: None };
        let said = |producer: &str, at, claim| Said {
            producer: producer.into(),
            at,
            address,
            claim,
        };
        self.say(said("nac", self.now, left(None)));
        self.now += 24 * HOUR - 30 * MINUTE;
        self.say(said("nac", self.now, left(Some(user.clone()))));
        self.now += HOUR;
        let logon = Claimed::Logon {
            user,
            strength: self.strength(),
            device: None,
            groups: Vec::new(),
            id: None,
        };
        self.say(said("dc2", self.now - 90 * MINUTE, logon));
    }
}
