//! What a member does once its table is the stream's: it speaks, takes leases, compares, and stores tables for others.

use std::sync::Arc;

use super::super::check::Checking;
use super::super::clock as ticking;
use super::super::lease::Leases;
use super::super::order::Order;
use super::super::publish::Session;
use super::super::roster::{self, MemberValue};
use super::super::shape::{self, PolicyShape};
use super::super::tables::Storing;
use super::{Heard, Member, Stores, subject};
use crate::runtime::clock;

impl Member {
    /// Begins to speak, as a new life; the first time also everything else.
    pub(super) fn begin(&mut self, stores: &Stores) {
        let known = self.follower.order.life(&self.parts.member);
        let now = u64::try_from(clock::utc_now().0).unwrap_or(0);
        let life = now.max(known.life + 1);
        // In this table: the one before may have been told of more.
        let is_ours = [self.follower.life, self.follower.life_before].contains(&known.life);
        let before = if is_ours { known.number } else { 0 };
        self.follower.life_before = std::mem::replace(&mut self.follower.life, life);
        self.shared.state.lock().life = life;
        self.follower.heard.send_replace(Heard {
            life,
            before,
            ..Heard::default()
        });
        let own = || PolicyShape::clone(&self.shared.own_policy.load());
        let has_policy = self.follower.order.policy().is_some();
        self.session.send_replace(Some(Session {
            stream: stores.stream.clone(),
            subject: format!(
                "{}.{}",
                subject(&self.parts.config.stream),
                roster::token(&self.parts.member)
            ),
            member: Arc::clone(&self.parts.member),
            life,
            policy: (!has_policy).then(own),
            doubted: self.doubted.take(),
        }));
        if !std::mem::replace(&mut self.begun, true) {
            self.take_leases(stores);
        }
    }

    fn take_leases(&self, stores: &Stores) {
        let (shared, parts) = (&self.shared, &self.parts);
        let leases = Leases {
            bucket: stores.bucket.clone(),
            roster: Arc::clone(&shared.roster),
            wanted: shared.wanted.subscribe(),
            held: shared.held.clone(),
            says: self.says.clone(),
            own: self.own_value(),
            trouble: shared.leasing.clone(),
        };
        let published = self.published.clone();
        self.tasks
            .spawn("cluster leases", async move { leases.run(published).await });
        let ticking = ticking::run(
            parts.reader.clone(),
            shared.held.subscribe(),
            self.says.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn("cluster clock", ticking);
        let checking = Checking {
            stream: stores.stream.clone(),
            objects: stores.objects.clone(),
            trail: Arc::clone(&self.follower.trail),
            wrong: shared.wrong.clone(),
        };
        let (own, roster) = (Arc::clone(&parts.member), Arc::clone(&shared.roster));
        let comparing = (checking.clone()).run(own, roster, self.says.clone(), self.stop.clone());
        self.tasks.spawn("cluster check", comparing);
        let storing = Storing {
            checking,
            reader: parts.reader.clone(),
            keeper: parts.keeper.clone(),
            state_dir: parts.state_dir.clone(),
            held: shared.held.subscribe(),
            replicas: parts.config.replicas,
            every: parts.store_every,
            stored: shared.stored.clone(),
        };
        let stop = self.stop.clone();
        self.tasks
            .spawn("cluster tables", async move { storing.run(stop).await });
    }

    fn own_value(&self) -> Box<dyn Fn() -> MemberValue + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        let (roles, started) = (self.parts.roles.clone(), self.parts.started);
        let reader = self.parts.reader.clone();
        Box::new(move || {
            // Both of one instant: another member compares them with its own.
            let ((stream, mark), journal) = {
                let core = reader.read();
                (Order::place_of(&core), core.last_seq().0)
            };
            let place = *shared.place.borrow();
            let (life, state) = {
                let state = shared.state.lock();
                (state.life, state.word().to_owned())
            };
            MemberValue {
                name: shared.member.to_string(),
                life,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                format: shape::VERSION,
                roles: roles.clone(),
                applied: mark.seq,
                digest: mark.digest.0,
                stream,
                applied_at: place.at.map_or(0, |at| at.0),
                behind: place.behind,
                journal,
                state,
                started: started.0,
                stopped: false,
                said: clock::utc_now().0,
            }
        })
    }
}
