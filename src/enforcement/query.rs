//! Batch, IP and user queries: from the table to an answer, rendered while the lock is held for short slices.
//!
//! Nothing here knows HTTP or who may ask; what is told of one address is decided in [`super::entries`], names and
//! forms are in [`super::shape`]. No table is copied: an answer is written entry by entry.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::cookie::{Cookie, Start};
use super::entries::{Entries, Question, shown_user};
use super::filter::{FilterInForce, OwnFilter, RequestFilter};
use super::pass::Pass;
use super::shape::{Answer, BatchRequest, Entry, Format, Login, Standing, UserRequest};
use crate::identity::Core;
use crate::identity::address::canonical;
use crate::identity::event::{Claim, IdentityEvent, Qualifier, UserRef};
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::identity::view::{self, Seq, UserView};
use crate::writer::Reader;

/// Addresses of one user that are told.
const MAX_ADDRESSES_OF_USER: usize = 1000;

/// What a batch query came to.
#[derive(Debug)]
pub struct BatchAnswer {
    /// The answer.
    pub body: Bytes,
    /// Its entries.
    pub entries: usize,
    /// Changes behind the cursor that the firewall has not heard of.
    pub behind: u64,
    /// First answer of a pass from 0.
    pub full: bool,
}

/// Answers a batch query.
#[must_use]
pub fn batch(
    reader: &Reader,
    own: &OwnFilter,
    request: &BatchRequest,
    format: Format,
    now: UtcMillis,
) -> BatchAnswer {
    let (mut pass, filter) = {
        let core = reader.read();
        let filter = FilterInForce::new(own, &request.filter, &core);
        let start = start(&core, request, filter.hash());
        let answer = Answer::new(format);
        (Pass::new(start, request.entries, answer), filter)
    };
    while pass.slice(&reader.read(), &filter, now) {}
    let (epoch, last) = {
        let core = reader.read();
        (core.epoch(), core.last_seq())
    };
    let cookie = Cookie {
        epoch,
        position: pass.position,
        filter: filter.hash(),
        // The pass is over once it has reached the end: whatever changed meanwhile was met there.
        clearing: pass.start.clearing && pass.more,
    };
    let standing = Standing {
        cookie: cookie.encode(),
        more: pass.more,
        full: pass.start.full,
    };
    BatchAnswer {
        entries: pass.sink.entries(),
        body: pass.sink.finish(Some(&standing)),
        behind: last.0.saturating_sub(pass.position.0),
        full: standing.full,
    }
}

fn start(core: &Core, request: &BatchRequest, filter: u64) -> Start {
    let (epoch, floor, last) = (core.epoch(), core.floor(), core.last_seq());
    match &request.cookie {
        Some(text) => Start::from_cookie(text, epoch, floor, last, filter),
        None if request.begin <= UtcMillis(0) => Start::from_cursor(Seq(0), floor),
        None => Start::from_cursor(core.cursor_at(request.begin), floor),
    }
}

/// What a query for an address or a user came to.
#[derive(Debug)]
pub struct SingleAnswer {
    /// The answer.
    pub body: Bytes,
    /// Its entries.
    pub entries: usize,
    /// The firewall sees the user at the address where he has his session: it goes on (rule 8).
    pub renewal: Option<(UserRef, IpAddr)>,
}

/// Answers an IP query.
#[must_use]
pub fn ip(
    reader: &Reader,
    own: &OwnFilter,
    address: IpAddr,
    format: Format,
    now: UtcMillis,
) -> SingleAnswer {
    let mut answer = Answer::new(format);
    {
        let core = reader.read();
        let filter = FilterInForce::new(own, &RequestFilter::default(), &core);
        let view = core.address(address);
        Entries::of(address, view.as_ref(), &filter, Question::Single, now)
            .iter()
            .for_each(|entry| answer.push(entry));
    }
    finished(answer, None)
}

/// Answers a user query: where he is, or, if the firewall says where it sees him, his groups for there.
#[must_use]
pub fn user(
    reader: &Reader,
    own: &OwnFilter,
    request: &UserRequest,
    format: Format,
    now: UtcMillis,
) -> SingleAnswer {
    let mut answer = Answer::new(format);
    let mut renewal = None;
    {
        let core = reader.read();
        let filter = FilterInForce::new(own, &RequestFilter::default(), &core);
        let hears_of = |user: &UserView<'_>| {
            user.standing != view::Standing::Gone && filter.holds_domain(user.domain)
        };
        for user in users(&core, request).into_iter().filter(hears_of) {
            if let Some(address) = request.address {
                let seen = seen_at(&core, &user, canonical(address), &filter, now, &mut answer);
                renewal = renewal.or(seen);
            } else {
                wherever(&core, &user, &filter, now, &mut answer);
            }
        }
    }
    finished(answer, renewal)
}

/// The event that a firewall's sight of a user makes: it restarts the logoff time and begins nothing.
#[must_use]
pub fn renewal_event(
    point: &Arc<str>,
    user: UserRef,
    address: IpAddr,
    now: UtcMillis,
) -> IdentityEvent {
    IdentityEvent {
        producer: Arc::clone(point),
        record: "user-query".into(),
        occurred_at: now,
        received_at: now,
        address: Some(address),
        claim: Claim::Renewal { user, device: None },
    }
}

/// Users whom the request may mean: one, or without any domain every user of that name.
fn users<'a>(core: &'a Core, request: &UserRequest) -> Vec<UserView<'a>> {
    let id = request.id.as_str();
    let one = |user: Option<UserView<'a>>| user.into_iter().collect();
    if let Some(domain) = request.domain.as_deref() {
        let bare = id.rsplit_once('\\').map_or(id, |(_, name)| name);
        let local = bare.rsplit_once('@').map_or(bare, |(name, _)| name);
        let found = core.user(bare, Some(domain));
        return one(found.or_else(|| core.user(local, Some(domain))));
    }
    if let Some((domain, name)) = id.split_once('\\') {
        return one(core.user(name, Some(domain)));
    }
    if let Some((name, suffix)) = id.rsplit_once('@') {
        return one(core
            .user(id, None)
            .or_else(|| core.user(name, Some(suffix))));
    }
    core.users_named(id)
}

/// Tells every address where the user has a session.
fn wherever(
    core: &Core,
    user: &UserView<'_>,
    filter: &FilterInForce<'_>,
    now: UtcMillis,
    answer: &mut Answer,
) {
    let addresses = core.addresses_of_user(user.name, user.domain);
    for address in addresses.into_iter().take(MAX_ADDRESSES_OF_USER) {
        let view = core.address(address);
        let shown = view.as_ref().and_then(|v| shown_user(v, filter));
        if shown.is_some_and(|session| is_same(&session.user, user)) {
            Entries::of(address, view.as_ref(), filter, Question::Single, now)
                .iter()
                .for_each(|entry| answer.push(entry));
        }
    }
}

/// Tells the user's groups for the address where a firewall sees him, after its captive portal for one. Nothing if the
/// table has somebody else there, for the next batch would not correct it.
fn seen_at(
    core: &Core,
    user: &UserView<'_>,
    address: IpAddr,
    filter: &FilterInForce<'_>,
    now: UtcMillis,
    answer: &mut Answer,
) -> Option<(UserRef, IpAddr)> {
    if !filter.holds_address(address) {
        return None;
    }
    let view = core.address(address);
    if view.as_ref().is_some_and(|v| v.shared) {
        return None;
    }
    let Some(session) = view.as_ref().and_then(|v| v.user.as_ref()) else {
        let roles = user.roles.iter().copied();
        answer.push(Entry::Login(&Login {
            address,
            domain: user.domain,
            user: Some(user.name),
            roles: roles.filter(|role| filter.shows_role(role)).collect(),
            device: None,
            at: now,
        }));
        return None;
    };
    if !is_same(&session.user, user) {
        return None;
    }
    Entries::of(address, view.as_ref(), filter, Question::Single, now)
        .iter()
        .for_each(|entry| answer.push(entry));
    let name = Name::new(user.name).ok()?;
    let qualifier = Qualifier::Domain(Name::new(user.domain).ok()?);
    Some((UserRef { name, qualifier }, address))
}

fn is_same(one: &UserView<'_>, other: &UserView<'_>) -> bool {
    (one.name, one.domain) == (other.name, other.domain)
}

fn finished(answer: Answer, renewal: Option<(UserRef, IpAddr)>) -> SingleAnswer {
    SingleAnswer {
        entries: answer.entries(),
        body: answer.finish(None),
        renewal,
    }
}
