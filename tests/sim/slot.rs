//! One subject's place at one address, kept the slow way: all evidence there ever was, folded in order.
//!
//! Written from the rules of conflict alone, with nothing of the core's: where the core keeps a bounded summary, this
//! keeps everything and starts again each time.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jims::identity::event::Strength;

use crate::step::At;

/// How many facts the core promises to remember of a slot since one that settled all before it.
const REMEMBERED: usize = 16;

/// Who ends sessions whose time is over.
pub(crate) const CLOCK: &str = "clock";

/// Something that was said of the slot.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) at: At,
    pub(crate) producer: String,
    pub(crate) what: What,
    /// When we heard of it.
    pub(crate) heard: At,
    /// Position among all arrivals.
    pub(crate) arrival: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The subject is there.
    Evidence {
        who: String,
        strength: Strength,
        id: Option<(String, u64)>,
    },
    /// The subject's machine is there, and it may be with it.
    Carried { who: String },
    /// The subject was seen again, if it is there at all.
    Renewal { who: String },
    /// The subject, or whoever it is, left.
    Logoff { who: Option<String> },
    /// Ended by us (logoff time, operator, directory, filter): also what happened at that very instant.
    End { who: Option<String> },
}

/// Who has the slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hold {
    pub(crate) who: String,
    /// The strongest evidence since this subject took the slot.
    pub(crate) strength: Strength,
    pub(crate) last: At,
    pub(crate) last_producer: String,
    /// When we heard the last evidence.
    pub(crate) heard: At,
    /// The logon of the last evidence.
    pub(crate) last_id: Option<(String, u64)>,
    /// Its last evidence is that its machine came.
    pub(crate) carried: bool,
}

/// All facts of a slot, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    facts: Vec<Fact>,
    /// The core's summary may rightly know less than all facts: do not compare until something settles it.
    pub(crate) unsettled: bool,
    /// Until when something may have happened that is not among the facts.
    unseen: At,
}

impl Fact {
    fn order(&self) -> (At, u8, Strength, Reverse<&str>, u64) {
        let (rank, strength) = match &self.what {
            What::Logoff { .. } => (0, Strength::Weak),
            What::Renewal { .. } | What::Carried { .. } => (1, Strength::Weak),
            What::Evidence { strength, .. } => (1, *strength),
            What::End { .. } => (2, Strength::Weak),
        };
        (
            self.at,
            rank,
            strength,
            Reverse(&self.producer),
            self.arrival,
        )
    }

    /// Whether all that was said of somebody is taken back, by the operator, a filter or the directory.
    pub(crate) fn takes_back(&self) -> bool {
        matches!(self.what, What::End { who: Some(_) }) && self.producer != CLOCK
    }

    /// Whether nothing before this can matter any more, if nothing later was there first.
    fn settles(&self) -> bool {
        match &self.what {
            What::Evidence { strength, .. } => *strength == Strength::Strong,
            What::Renewal { .. } | What::Carried { .. } => false,
            What::Logoff { who } | What::End { who } => who.is_none(),
        }
    }
}

impl Slot {
    /// Puts a fact in its place; whether it leaves no doubt about what is true from now on.
    pub(crate) fn add(&mut self, fact: Fact) -> bool {
        let newest = self.facts.iter().all(|other| other.at < fact.at)
            && (self.unseen < fact.at || !self.unsettled);
        let ours = matches!(fact.what, What::End { .. });
        let settled = newest && fact.settles() && !(ours && self.unsettled);
        if settled {
            self.facts.clear();
            self.unsettled = false;
        }
        // A logoff time that was over and has grown since: what happened at the very instant of the last evidence may
        // count or not.
        let tied = |other: &Fact| {
            other.at == fact.at
                && matches!(fact.what, What::Evidence { .. } | What::Carried { .. })
                && matches!(other.what, What::End { .. })
        };
        self.unsettled |= self.facts.iter().any(tied);
        let place = self
            .facts
            .partition_point(|other| other.order() <= fact.order());
        self.facts.insert(place, fact);
        // Until then, for good: what the core forgot does not come back.
        self.unsettled |= self.facts.len() > REMEMBERED;
        settled
    }

    /// Something may have happened, up to that instant, and nobody knows what.
    pub(crate) fn lose_sight(&mut self, until: At) {
        self.unsettled = true;
        self.unseen = self.unseen.max(until);
    }

    /// Everybody who was ever spoken of.
    pub(crate) fn subjects(&self) -> BTreeSet<String> {
        self.facts
            .iter()
            .filter_map(|fact| match &fact.what {
                What::Evidence { who, .. } | What::Renewal { who } | What::Carried { who } => {
                    Some(who.clone())
                }
                What::Logoff { .. } | What::End { .. } => None,
            })
            .collect()
    }

    /// Somebody has another name from now on, and always had.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        for fact in &mut self.facts {
            match &mut fact.what {
                What::Evidence { who, .. } | What::Renewal { who } | What::Carried { who }
                    if who == old =>
                {
                    *who = new.into()
                }
                What::Logoff { who: Some(who) } | What::End { who: Some(who) } if who == old => {
                    *who = new.into();
                }
                _ => {}
            }
        }
    }

    /// Who has the slot after all that was said.
    pub(crate) fn hold(&self) -> Option<Hold> {
        self.facts.iter().fold(None, after)
    }

    /// A logoff that whoever has the slot cannot have survived: it happened after his last evidence. Only as far as
    /// the core promises to remember.
    pub(crate) fn logoff_after(&self, who: &str, last: At) -> Option<&Fact> {
        if self.facts.len() > REMEMBERED || self.facts.iter().any(Fact::takes_back) {
            return None;
        }
        self.facts.iter().find(|fact| match &fact.what {
            What::Logoff { who: whose } => {
                fact.at > last && whose.as_ref().is_none_or(|whose| whose == who)
            }
            _ => false,
        })
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }
}

/// The rules of conflict.
fn after(hold: Option<Hold>, fact: &Fact) -> Option<Hold> {
    let same = |who: &str| hold.as_ref().is_some_and(|hold| hold.who == who);
    match &fact.what {
        What::Evidence { who, strength, id } => {
            let before = hold.as_ref().map(|hold| hold.strength);
            if !same(who) && before == Some(Strength::Strong) && *strength == Strength::Weak {
                return hold;
            }
            let renewed = if same(who) { before } else { None };
            Some(Hold {
                who: who.clone(),
                strength: renewed.map_or(*strength, |before| before.max(*strength)),
                last: fact.at,
                last_producer: fact.producer.clone(),
                heard: fact.heard,
                last_id: id.clone(),
                carried: false,
            })
        }
        What::Carried { who } if same(who) => hold,
        What::Carried { who } => match hold {
            Some(hold) if hold.strength == Strength::Strong => Some(hold),
            _ => Some(Hold {
                who: who.clone(),
                strength: Strength::Weak,
                last: fact.at,
                last_producer: fact.producer.clone(),
                heard: fact.heard,
                last_id: None,
                carried: true,
            }),
        },
        What::Renewal { who } if same(who) => hold.map(|hold| Hold {
            last: fact.at,
            last_producer: fact.producer.clone(),
            heard: fact.heard,
            last_id: None,
            carried: false,
            ..hold
        }),
        What::Renewal { .. } => hold,
        What::Logoff { who } | What::End { who } => match who {
            Some(who) if !same(who) => hold,
            _ => None,
        },
    }
}
