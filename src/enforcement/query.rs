//! Batch, IP and user queries: from the table to an answer, rendered while the lock is held for short slices.
//!
//! Nothing here knows HTTP or who may ask; what is told of one address is decided in [`super::entries`], names and
//! forms are in [`super::shape`]. No table is copied: an answer is written entry by entry.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::cookie::{Journal, Start};
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
    /// Everything up to here is told with it.
    pub position: Seq,
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
    let (epoch, mut pass, filter, hash) = {
        let core = reader.read();
        let filter = FilterInForce::new(own, &request.filter, &core);
        let hash = filter.hash();
        let start = start(&core, request, hash);
        let answer = Answer::new(format).with_room(request.entries.min(behind(&core, start)));
        let pass = Pass::new(start, request.entries, answer);
        (core.epoch(), pass, filter, hash)
    };
    while pass.slice(&reader.read(), &filter, now) {}
    let last = reader.read().last_seq();
    let cookie = pass.cookie(epoch, hash);
    let standing = Standing {
        cookie: cookie.encode(),
        more: pass.more,
        full: pass.start.full,
        capped: request.capped.then_some(request.entries),
    };
    BatchAnswer {
        entries: pass.sink.entries(),
        body: pass.sink.finish(Some(&standing)),
        behind: last.0.saturating_sub(pass.position.0),
        position: pass.position,
        full: standing.full,
    }
}

/// At most so many addresses are behind a start.
fn behind(core: &Core, start: Start) -> usize {
    let changes = core.last_seq().0.saturating_sub(start.position.0);
    usize::try_from(changes).unwrap_or(usize::MAX)
}

fn start(core: &Core, request: &BatchRequest, filter: u64) -> Start {
    let journal = Journal::from(core);
    match &request.cookie {
        Some(text) => journal.from_cookie(text, filter),
        // Whoever asks for everything holds nothing yet.
        None if request.begin <= UtcMillis(0) => journal.from_zero(false),
        None => journal.from_cursor(core.cursor_at(request.begin)),
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
    let mut answer = Answer::new(format).with_room(1);
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

/// The entries that IP queries would give, by the code that answers them, as JSON.
#[must_use]
pub fn told(
    reader: &Reader,
    own: &OwnFilter,
    addresses: &[IpAddr],
    now: UtcMillis,
) -> Vec<serde_json::Value> {
    let entries = addresses.iter().flat_map(|address| {
        let answer = ip(reader, own, *address, Format::Json, now);
        let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let entries =
            body.and_then(|mut body| body.get_mut("report_entries").map(serde_json::Value::take));
        entries
            .and_then(|entries| entries.as_array().cloned())
            .unwrap_or_default()
    });
    entries.collect()
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
        heard: None,
        address: Some(address),
        claim: Claim::Renewal { user, device: None },
    }
}

/// Users whom the request may mean: one, or without any domain every user of that name.
pub(super) fn users<'a>(core: &'a Core, request: &UserRequest) -> Vec<UserView<'a>> {
    let id = request.id.as_str();
    let one = |user: Option<UserView<'a>>| user.into_iter().collect();
    if let Some(domain) = request.domain.as_deref() {
        let bare = id.rsplit_once('\\').map_or(id, |(_, name)| name);
        let local = bare.rsplit_once('@').map_or(bare, |(name, _)| name);
        // A UPN may have nothing to do with the logon name, nor its suffix with the domain.
        let meant = core.domain(domain).unwrap_or(domain);
        let by_upn = |upn: &str| {
            let found = upn.contains('@').then(|| core.user(upn, None)).flatten();
            found.filter(|user| user.domain.eq_ignore_ascii_case(meant))
        };
        let found = core.user(bare, Some(domain)).or_else(|| by_upn(bare));
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
        let roles = user.roles.iter();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use parking_lot::RwLock;
    use serde_json::Value;

    use super::*;
    use crate::enforcement::pass::SLICE;
    use crate::identity::Batch;
    use crate::identity::event::{Logon, Strength};
    use crate::identity::policy::Policy;
    use crate::identity::view::{Epoch, Seq};

    const START: UtcMillis = UtcMillis(1_800_000_000_000);
    /// A tombstone's life, and a second.
    const DAY: Duration = Duration::from_secs(24 * 3600 + 1);

    /// A table whose time the test makes.
    struct Site {
        core: Arc<RwLock<Core>>,
        reader: Reader,
        now: UtcMillis,
    }

    impl Site {
        fn new() -> Self {
            let policy = Policy {
                logoff_time: Duration::from_secs(30 * 24 * 3600),
                ..Policy::default()
            };
            let core = Arc::new(RwLock::new(Core::new(Epoch(1), policy)));
            let reader = Reader::new(Arc::clone(&core));
            Self {
                core,
                reader,
                now: START,
            }
        }

        fn claim(&mut self, address: &str, claim: Claim) {
            self.now = self.now.after(Duration::from_millis(1));
            let event = IdentityEvent {
                producer: "vpn".into(),
                record: "1".into(),
                occurred_at: self.now,
                received_at: self.now,
                heard: None,
                address: Some(address.parse().unwrap()),
                claim,
            };
            let batch = Batch::Events {
                events: vec![event],
                bookmark: None,
            };
            let applied = self.core.write().apply(batch, self.now, &mut Vec::new());
            assert_eq!(applied.applied, 1);
        }

        fn log_on(&mut self, user: &str, address: &str) {
            let logon = Logon {
                user: UserRef {
                    name: Name::new(user).unwrap(),
                    qualifier: Qualifier::Domain(Name::new("corp.example.com").unwrap()),
                },
                device: None,
                groups: Vec::new(),
                strength: Strength::Strong,
                logon_id: None,
            };
            self.claim(address, Claim::Logon(logon));
        }

        fn log_off(&mut self, address: &str) {
            let everyone = Claim::Logoff {
                user: None,
                logon_id: None,
            };
            self.claim(address, everyone);
        }

        fn wait(&mut self, time: Duration) {
            self.now = self.now.after(time);
            let mut core = self.core.write();
            while core.advance(self.now, 1000, &mut Vec::new()) {}
        }

        fn ask(&self, cookie: Option<&str>, entries: usize, include: &str) -> Value {
            let networks = include.split(',').filter(|text| !text.is_empty());
            let request = BatchRequest {
                cookie: cookie.map(str::to_owned),
                entries,
                filter: RequestFilter {
                    include: networks.map(|text| text.parse().unwrap()).collect(),
                    ..RequestFilter::default()
                },
                ..BatchRequest::default()
            };
            let own = OwnFilter::default();
            let answer = batch(&self.reader, &own, &request, Format::Json, self.now);
            serde_json::from_slice(&answer.body).unwrap()
        }

        /// Asks until there is no more, and returns the last answer.
        fn follow(
            &self,
            held: &mut BTreeMap<String, String>,
            mut cookie: Option<String>,
            include: &str,
        ) -> Value {
            for _ in 0..1000 {
                let answer = self.ask(cookie.as_deref(), 3, include);
                obey(held, &answer);
                if answer["more"] == false {
                    return answer;
                }
                cookie = Some(cookie_of(&answer).to_owned());
            }
            panic!("the pass never ends");
        }
    }

    fn cookie_of(answer: &Value) -> &str {
        answer["cookie"].as_str().unwrap()
    }

    /// What a firewall does that knows nothing of `full`; a login without a user keeps the user it has.
    fn obey(held: &mut BTreeMap<String, String>, answer: &Value) {
        for entry in answer["report_entries"].as_array().unwrap() {
            let address = entry["ip-address"].as_str().unwrap().to_owned();
            match (entry["activity"].as_str(), entry["user-name"].as_str()) {
                (Some("login"), Some(user)) => drop(held.insert(address, user.to_owned())),
                (Some("login"), None) => drop(held.entry(address).or_insert("--".to_owned())),
                _ => drop(held.remove(&address)),
            }
        }
    }

    fn held_at(held: &BTreeMap<String, String>) -> Vec<String> {
        held.iter().map(|(at, who)| format!("{at} {who}")).collect()
    }

    #[test]
    fn rule_16_a_pass_through_sessions_older_than_the_floor_comes_to_its_end() {
        let mut site = Site::new();
        for number in 1..=9 {
            site.log_on("alice", &format!("10.1.0.{number}"));
        }
        site.log_on("bob", "10.1.0.77");
        site.log_off("10.1.0.77");
        site.wait(DAY);
        assert!(site.reader.read().floor() > Seq(9), "it forgot the end");
        let mut held = BTreeMap::new();
        site.follow(&mut held, None, "");
        assert_eq!(held.len(), 9);
    }

    #[test]
    fn rule_16_whoever_has_heard_all_is_not_told_all_again_when_the_last_change_is_forgotten() {
        let mut site = Site::new();
        site.log_on("alice", "10.1.0.1");
        site.log_on("bob", "10.1.0.2");
        site.log_off("10.1.0.2");
        site.wait(DAY);
        let first = site.ask(None, 200, "");
        assert_eq!(
            (&first["full"], &first["more"]),
            (&true.into(), &false.into())
        );
        let again = site.ask(Some(cookie_of(&first)), 200, "");
        assert_eq!(again["full"], false, "{again}");
        assert_eq!(again["report_entries"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn rule_16_an_end_forgotten_within_a_pass_that_told_its_user_starts_the_pass_again() {
        let mut site = Site::new();
        for number in 1..=6 {
            site.log_on("alice", &format!("10.1.0.{number}"));
        }
        let part = site.ask(None, 3, "");
        // The pass has told 10.1.0.1; its end comes behind where the pass began, and is forgotten before it is heard.
        site.log_off("10.1.0.1");
        site.wait(DAY);
        let next = site.ask(Some(cookie_of(&part)), 3, "");
        assert_eq!(next["full"], true, "{next}");
    }

    #[test]
    fn rule_16_an_end_forgotten_between_two_holds_of_the_lock_is_not_stepped_over() {
        let mut site = Site::new();
        for number in 0..SLICE + 10 {
            site.log_on(
                "alice",
                &format!("10.1.{}.{}", number / 250, number % 250 + 1),
            );
        }
        let filter = RequestFilter::default();
        let own = OwnFilter::default();
        let (mut pass, filter) = {
            let core = site.reader.read();
            let filter = FilterInForce::new(&own, &filter, &core);
            let start = start(&core, &BatchRequest::default(), filter.hash());
            (Pass::new(start, 1000, Answer::new(Format::Json)), filter)
        };
        assert!(pass.slice(&site.reader.read(), &filter, site.now));
        // Told in the first hold of the lock, ended and forgotten before the second.
        site.log_off("10.1.0.1");
        site.wait(DAY);
        site.log_on("bob", "10.1.0.2");
        while pass.slice(&site.reader.read(), &filter, site.now) {}
        let cookie = pass.cookie(Epoch(1), filter.hash()).encode();
        let next = site.ask(Some(&cookie), 1000, "");
        assert_eq!(next["full"], true, "the end of 10.1.0.1 was missed");
    }

    #[test]
    fn rule_18_a_filter_that_changes_twice_within_a_pass_leaves_nobody_behind() {
        let mut site = Site::new();
        for number in 1..=6 {
            for network in [1, 2, 3] {
                site.log_on("alice", &format!("10.{network}.0.{number}"));
            }
        }
        let mut held = BTreeMap::new();
        let all = site.follow(&mut held, None, "");
        assert_eq!(held.len(), 18);
        let (one, two) = ("10.1.0.0/16", "10.2.0.0/16");
        let part = site.ask(Some(cookie_of(&all)), 3, one);
        obey(&mut held, &part);
        site.log_off("10.3.0.6");
        let part = site.ask(Some(cookie_of(&part)), 3, two);
        assert_eq!(part["full"], true);
        obey(&mut held, &part);
        site.log_on("bob", "10.1.0.1");
        site.log_on("carol", "10.2.0.1");
        let last = site.follow(&mut held, Some(cookie_of(&part).to_owned()), two);
        assert_eq!(held.len(), 6, "{held:?}");
        assert!(held_at(&held).contains(&"10.2.0.1 carol".to_owned()));
        // The same while the floor rises above everything the pass has told.
        site.log_off("10.2.0.1");
        site.wait(DAY);
        let part = site.ask(Some(cookie_of(&last)), 3, one);
        obey(&mut held, &part);
        site.follow(&mut held, Some(cookie_of(&part).to_owned()), two);
        held.remove("10.2.0.1");
        assert_eq!(held.len(), 5, "{held:?}");
    }

    #[test]
    fn an_instant_before_the_floor_clears_as_a_cookie_from_there_does() {
        let mut site = Site::new();
        site.log_on("alice", "10.1.0.1");
        site.log_on("bob", "10.9.0.1");
        let ask = |begin: UtcMillis| {
            let request = BatchRequest {
                begin,
                entries: 10,
                filter: RequestFilter {
                    include: vec!["10.1.0.0/16".parse().unwrap()],
                    ..RequestFilter::default()
                },
                ..BatchRequest::default()
            };
            let own = OwnFilter::default();
            batch(&site.reader, &own, &request, Format::Json, site.now).entries
        };
        assert_eq!(
            ask(UtcMillis(0)),
            1,
            "who asks for everything holds nothing"
        );
        assert_eq!(ask(UtcMillis(1_000)), 2, "who holds something is cleared");
    }
}
