//! A firewall's view of the table: it reads the journal with a cursor, a few addresses at a time, over a bad line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jims::identity::Core;
use jims::identity::view::{Epoch, Seq};

use crate::random::Dice;

/// What a report says of an address; an address that is not there at all is told as an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) user: Option<(String, Vec<String>)>,
    pub(crate) device: Option<(String, Vec<String>)>,
}

#[derive(Debug)]
pub(crate) struct Follower {
    cursor: Seq,
    /// The journal's last sequence when this pass began at 0: what ended before then and is kept no more was never
    /// told in this pass, so a floor below it takes nothing from whoever has not come that far.
    begun: Seq,
    epoch: Epoch,
    known: BTreeMap<IpAddr, Told>,
}

/// What the core would report of an address now.
pub(crate) fn told(core: &Core, address: IpAddr) -> Told {
    let Some(view) = core.address(address) else {
        return Told::default();
    };
    let sorted = |names: &[&str]| {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    let user = view.user.filter(|_| !view.shared).map(|session| {
        let user = session.user;
        (
            format!("{}\\{}", user.domain, user.name),
            sorted(&user.roles.to_vec()),
        )
    });
    let device = view.device.map(|session| {
        let device = session.device;
        (
            format!("{}\\{}", device.domain, device.name),
            sorted(&device.groups.to_vec()),
        )
    });
    Told { user, device }
}

impl Follower {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            cursor: Seq(0),
            begun: Seq(0),
            epoch: core.epoch(),
            known: BTreeMap::new(),
        }
    }

    /// Asks once, for a few entries; the answer or the acknowledgement may be lost.
    pub(crate) fn poll(&mut self, core: &Core, dice: &mut Dice) {
        let limit = 1 + dice.below(3);
        let fate = dice.below(10);
        self.ask(core, limit, fate);
    }

    /// Reads to the end, and compares with the table.
    pub(crate) fn catch_up(&mut self, core: &Core) -> Result<(), String> {
        let mut answers = 0;
        while self.ask(core, 2, 9) {
            answers += 1;
            if answers > 1_000 {
                return Err("a cursor follower never comes to the end".into());
            }
        }
        let all: Vec<IpAddr> = core.addresses_since(Seq(0)).map(|(_, a)| a).collect();
        for address in self.known.keys().chain(&all) {
            let known = self.known.get(address).cloned().unwrap_or_default();
            let table = told(core, *address);
            if known != table {
                return Err(format!(
                    "a cursor follower does not converge at {address}: it knows {known:?}, the table says {table:?}"
                ));
            }
        }
        Ok(())
    }

    fn ask(&mut self, core: &Core, limit: usize, fate: usize) -> bool {
        if self.epoch != core.epoch() || self.cursor.max(self.begun) < core.floor() {
            self.epoch = core.epoch();
            self.cursor = Seq(0);
        }
        if self.cursor == Seq(0) {
            // The first answer of a full report is marked, so a follower forgets what it had.
            self.known.clear();
            self.begun = core.last_seq();
        }
        let answer: Vec<(Seq, IpAddr)> = core.addresses_since(self.cursor).take(limit).collect();
        let Some((last, _)) = answer.last().copied() else {
            return false;
        };
        if fate != 0 {
            for (_, address) in &answer {
                self.known.insert(*address, told(core, *address));
            }
        }
        // Lost, or written down without remembering the cursor: asked again.
        if fate > 1 {
            self.cursor = last;
        }
        true
    }
}
