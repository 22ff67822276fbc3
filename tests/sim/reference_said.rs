//! What one event says, to the naive reference, and what should come of it.

use std::cmp::Reverse;
use std::net::IpAddr;

use jims::identity::event::Strength;

use crate::reference::{Reference, may_have_session};
use crate::reference_directory::Key;
use crate::slot::{Hold, What};
use crate::step::{At, Claimed, Said};

/// A verdict that is sure, or none.
pub(crate) type Told = Option<String>;

pub(crate) fn ignored(why: &str) -> Told {
    Some(format!("ignored {why}"))
}

/// A slot before and after something was said, if both are sure.
pub(crate) type Change = Option<(Option<Hold>, Option<Hold>)>;

impl Reference {
    pub(crate) fn say(&mut self, said: &Said) -> Told {
        let at = said.at.min(self.now);
        let overdue = at + self.logoff_time() <= self.now;
        let place = self.spoken_of(&said.producer, said.address);
        match &said.claim {
            Claimed::Logon {
                user,
                strength,
                device,
                id,
                ..
            } => {
                let address = match place {
                    Err(why) => return ignored(why),
                    Ok(_) if overdue => return ignored("past-deadline"),
                    Ok(address) => address,
                };
                if let Some(device) = device {
                    self.device_logon(address, said, at, (device, *strength));
                }
                let who = match self.believable_user(user) {
                    Ok(who) => who,
                    Err(why) => return ignored(why),
                };
                let evidence = What::Evidence {
                    who: who.clone(),
                    strength: *strength,
                    id: id.clone(),
                };
                let change = self.add_user(address, (&said.producer, at), evidence);
                seen(change, &who, at)
            }
            Claimed::Logoff { user, id } => self.logoff(said, at, (user.as_deref(), id)),
            Claimed::DeviceLogon {
                device,
                strength,
                own_kerberos,
            } => {
                let address = match place {
                    Err(why) => return ignored(why),
                    Ok(_) if overdue => return ignored("past-deadline"),
                    Ok(address) => address,
                };
                if *own_kerberos && self.policy.follow_device {
                    self.follow(address, said, at, device);
                }
                self.device_logon(address, said, at, (device, *strength))
            }
            Claimed::DeviceLogoff { device } => {
                let who = device.as_deref().map(|device| self.device_key(device));
                let address = match place {
                    Err(why) => return ignored(why),
                    Ok(address) => address,
                };
                if who.as_ref().is_some_and(|who| self.device_excluded(who)) {
                    return ignored("filtered-device");
                }
                let what = What::Logoff { who: who.clone() };
                left(self.add_device(address, (&said.producer, at), what), who)
            }
            Claimed::Renewal { user, device } => {
                if overdue {
                    return ignored("past-deadline");
                }
                self.renew(said, at, (user, device.as_deref()))
            }
        }
    }

    /// The address, if a session may be there and the producer may say so.
    pub(crate) fn spoken_of(
        &self,
        producer: &str,
        address: Option<IpAddr>,
    ) -> Result<IpAddr, &'static str> {
        let address = address.ok_or("no-address")?.to_canonical();
        if !may_have_session(address) {
            Err("address-refused")
        } else if !self.in_scope(producer, address) {
            Err("out-of-scope")
        } else if self.address_excluded(address) {
            Err("filtered-address")
        } else {
            Ok(address)
        }
    }

    /// The user of that text if evidence for him counts.
    pub(crate) fn believable_user(&self, text: &str) -> Result<Key, &'static str> {
        let who = self.user_key(text).ok_or("not-a-user")?;
        if self.user_excluded(&who) {
            Err("filtered-user")
        } else if self.directories.is_gone(&who) {
            Err("not-in-directory")
        } else {
            Ok(who)
        }
    }

    fn device_logon(
        &mut self,
        address: IpAddr,
        said: &Said,
        at: At,
        (device, strength): (&str, Strength),
    ) -> Told {
        self.device_there(address, (&said.producer, at), (device, strength))
    }

    pub(crate) fn device_there(
        &mut self,
        address: IpAddr,
        by: (&str, At),
        (device, strength): (&str, Strength),
    ) -> Told {
        let who = self.device_key(device);
        if self.device_excluded(&who) {
            return ignored("filtered-device");
        }
        let evidence = What::Evidence {
            who: who.clone(),
            strength,
            id: None,
        };
        seen(self.add_device(address, by, evidence), &who, by.1)
    }

    fn logoff(
        &mut self,
        said: &Said,
        at: At,
        (user, id): (Option<&str>, &Option<(String, u64)>),
    ) -> Told {
        let who = match user.map(|user| self.user_key(user)) {
            Some(None) => return ignored("not-a-user"),
            who => who.flatten(),
        };
        let excluded = who.as_ref().is_some_and(|who| self.user_excluded(who));
        match self.spoken_of(&said.producer, said.address) {
            Err("no-address") if who.is_some() && excluded => ignored("filtered-user"),
            Err("no-address") if who.is_some() => self.left_anywhere(said, at, (who, id)),
            Err(why) => ignored(why),
            Ok(_) if excluded => ignored("filtered-user"),
            Ok(address) => {
                let what = What::Logoff { who: who.clone() };
                left(self.add_user(address, (&said.producer, at), what), who)
            }
        }
    }

    fn left_anywhere(
        &mut self,
        said: &Said,
        at: At,
        (who, id): (Option<Key>, &Option<(String, u64)>),
    ) -> Told {
        let sure = self.addresses().iter().all(|address| self.sure(*address));
        let meant: Vec<(IpAddr, At)> = self
            .places
            .iter()
            .filter_map(|(address, place)| Some((*address, place.user.hold()?)))
            .filter(|(_, hold)| {
                let made_it = match id {
                    Some(_) => hold.last_id == *id,
                    None => hold.last_producer == said.producer,
                };
                Some(&hold.who) == who.as_ref() && made_it
            })
            .map(|(address, hold)| (address, hold.last))
            .collect();
        self.lose_sight_of_the_unsure(at);
        let ends = meant.iter().filter(|(_, last)| *last < at);
        let ends: Vec<IpAddr> = ends.map(|(address, _)| *address).collect();
        for address in &ends {
            if !self.sure(*address) {
                continue;
            }
            let what = What::Logoff { who: who.clone() };
            self.add_user(*address, (&said.producer, at), what);
        }
        let told = match (ends.is_empty(), meant.is_empty(), id) {
            (false, ..) => Some("logged-off logoff".into()),
            (true, false, _) => ignored("older"),
            (true, true, Some(_)) => ignored("no-address"),
            (true, true, None) => ignored("no-session"),
        };
        told.filter(|_| sure)
    }

    /// A machine account's own evidence brings the user that the device has elsewhere.
    fn follow(&mut self, address: IpAddr, said: &Said, at: At, device: &str) {
        let device = self.device_key(device);
        if self.device_excluded(&device) {
            return;
        }
        let mut others = self.addresses().into_iter();
        if others.any(|other| other != address && !(self.sure(other) && self.device_sure(other))) {
            self.place_mut(address).user.lose_sight(at);
        }
        let elsewhere = self
            .places
            .iter()
            .filter(|(other, place)| {
                **other != address && place.device.hold().is_some_and(|hold| hold.who == device)
            })
            .filter_map(|(other, place)| Some((other, place.user.hold()?)))
            .filter(|(_, hold)| !hold.carried)
            .max_by_key(|(other, hold)| (hold.last, Reverse(**other)));
        let Some((_, hold)) = elsewhere else { return };
        let here = self
            .places
            .get(&address)
            .and_then(|place| place.user.hold());
        if here.is_none_or(|here| here.who != hold.who) {
            let carried = What::Carried { who: hold.who };
            self.add_user(address, (&said.producer, at), carried);
        }
    }

    fn renew(&mut self, said: &Said, at: At, (user, device): (&str, Option<&str>)) -> Told {
        let Some(key) = self.user_key(user) else {
            return ignored("not-a-user");
        };
        let sure = self.addresses().iter().all(|address| self.sure(*address));
        let places: Vec<IpAddr> = match (said.address, device) {
            (Some(_), _) => match self.spoken_of(&said.producer, said.address) {
                Err(why) => return ignored(why),
                Ok(address) => vec![address],
            },
            (None, None) => return ignored("no-address"),
            (None, Some(device)) => {
                let device = self.device_key(device);
                self.places
                    .iter()
                    .filter(|(_, place)| {
                        place.device.hold().is_some_and(|hold| hold.who == device)
                            && place.user.hold().is_some_and(|hold| hold.who == key)
                    })
                    .map(|(address, _)| *address)
                    .collect()
            }
        };
        let who = match self.believable_user(user) {
            Ok(who) => who,
            Err(why) => return ignored(why),
        };
        let mut sure = sure;
        for address in self.addresses() {
            // Whether this is the device that was meant is not sure.
            if device.is_some() && !self.device_sure(address) {
                self.place_mut(address).user.lose_sight(at);
                sure = false;
            }
        }
        // A renewal counts for who is there when it is heard; it is not remembered for anybody else.
        let his = |address: &IpAddr| {
            let hold = self.places.get(address)?.user.hold()?;
            (hold.who == who).then_some(hold.last)
        };
        let his: Vec<(IpAddr, At)> = places
            .iter()
            .filter_map(|address| Some((*address, his(address)?)))
            .collect();
        self.lose_sight_of_the_unsure(at);
        let mut told = ignored(if his.is_empty() {
            "no-session"
        } else {
            "older"
        });
        for (address, _) in his.into_iter().filter(|(_, last)| *last < at) {
            if !self.sure(address) {
                continue;
            }
            let what = What::Renewal { who: who.clone() };
            self.add_user(address, (&said.producer, at), what);
            told = Some("renewed".into());
        }
        told.filter(|_| sure)
    }
}

/// What should come of evidence that somebody is there.
pub(crate) fn seen(change: Change, who: &str, at: At) -> Told {
    let (before, after) = change?;
    let is = |hold: &Option<Hold>| hold.as_ref().map(|hold| hold.who.clone());
    let same = is(&before) == is(&after);
    Some(match (&before, &after) {
        (Some(before), Some(after)) if same && after.who == who => {
            if after.last > before.last || after.last == at {
                "renewed".into()
            } else {
                "ignored older".into()
            }
        }
        (Some(before), Some(after)) if after.who == who => format!("logged-on for {}", before.who),
        (None, Some(after)) if after.who == who => "logged-on".into(),
        _ if same => "ignored older".into(),
        // It displaced who was there, and is not there himself.
        _ => "logged-off logoff".into(),
    })
}

/// What should come of a logoff at an address.
fn left(change: Change, whose: Option<Key>) -> Told {
    let (before, after) = change?;
    let Some(before) = before else {
        return ignored("no-session");
    };
    if after.is_none_or(|after| after.who != before.who) {
        return Some("logged-off logoff".into());
    }
    ignored(match whose {
        Some(whose) if whose != before.who => "other-user",
        _ => "older",
    })
}
