//! Which credential to show to which host, and how a wrong one is kept from locking its account out.
//!
//! * A credential that three different hosts refuse in a row, without a success in between, is *suspended*: 30 minutes,
//!   then after one failed try an hour, and so on up to 8 hours. A success lifts it; so does a changed secret.
//! * While it is *unproven* (no success in the last five minutes, or a refusal since), those in flight and those that
//!   refused it are three together at most: hundreds of probes at once show a wrong password to three hosts, not to
//!   hundreds. The others wait until the first answer. Once proven there is no limit. A password that turns wrong while
//!   proven is refused to all that are in flight at that moment, and to nobody after.
//! * A host that refused a credential is not shown it again for half an hour.
//!
//! To sign on and then have no rights proves the credential; only that host is tried with another one before it.
//!
//! Secrets are not here: an account is its name, and a digest by which a changed secret is noticed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::identity::time::UtcMillis;

/// Credentials that are used; configuration refuses more.
pub const MOST: usize = 64;

/// Different hosts in a row that suspend a credential; also how many may be finding out at once.
const IN_A_ROW: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(30 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(8 * 3600);
/// How long a success proves a credential.
const PROVEN: Duration = Duration::from_secs(300);
/// How long a host is not shown again what it refused.
const HOST_PAUSE: Duration = Duration::from_secs(30 * 60);
/// A ticket that was not ended by then no longer holds a place.
const LOST: Duration = Duration::from_secs(300);
/// Hosts remembered; the one heard of longest ago makes room.
const MOST_HOSTS: usize = 65_536;

/// A credential without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name as configured.
    pub user: String,
    /// SHA-256 of the secret.
    pub proof: [u8; 32],
}

/// Why a host refused a credential as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The password is wrong.
    WrongPassword,
    /// There is no such account.
    UnknownAccount,
    /// The account is disabled.
    Disabled,
    /// The account is locked out.
    Locked,
    /// The account or its password has expired.
    Expired,
}

impl Reason {
    /// The word for metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::UnknownAccount => "unknown-account",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Expired => "expired",
        }
    }

    /// For people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::WrongPassword => "the password is wrong",
            Self::UnknownAccount => "there is no such account",
            Self::Disabled => "the account is disabled",
            Self::Locked => "the account is locked out",
            Self::Expired => "the account or its password has expired",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::WrongPassword => "write the right password to its password_file",
            Self::UnknownAccount => "correct its user, or create the account",
            Self::Disabled => "enable the account",
            Self::Locked => "find out what locks it, then unlock the account",
            Self::Expired => {
                "set a new password that does not expire, and write it to its password_file"
            }
        }
    }
}

/// A credential that is not shown to anybody for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Its place in the configuration.
    pub index: usize,
    /// Its name.
    pub user: String,
    /// When one host will be shown it again.
    pub until: UtcMillis,
    /// How long it is suspended.
    pub pause: Duration,
    /// What the last host said.
    pub reason: Reason,
    /// How many hosts refused it since it last worked.
    pub hosts: u32,
}

impl Suspension {
    /// One sentence for the operator.
    #[must_use]
    pub fn message(&self) -> String {
        let minutes = self.pause.as_secs() / 60;
        let (number, unit) = if minutes < 60 {
            (minutes, "min")
        } else {
            (minutes / 60, "h")
        };
        format!(
            "{} is not used for {number} {unit}: {}, say {} hosts in a row",
            self.user,
            self.reason.sentence(),
            self.hosts
        )
    }

    /// What to try.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.reason.remedy()
    }
}

/// The right to show one credential to one host once. Each is ended by one of [`Credentials::worked`],
/// [`Credentials::denied`], [`Credentials::refused`] and [`Credentials::unknown`].
#[must_use]
#[derive(Debug)]
pub struct Ticket {
    serial: u64,
    number: u64,
    address: IpAddr,
}

/// Whether a credential may be shown.
#[must_use]
#[derive(Debug)]
pub enum Begin {
    /// Yes, once.
    Go(Ticket),
    /// Not yet: it is unproven and others are finding out. Ask again when a ticket has ended.
    Wait,
    /// No: try the next one.
    No,
}

/// A credential and what came of it.
#[derive(Debug)]
struct State {
    account: Account,
    /// Tickets bear it, so that those of a replaced account are told apart.
    serial: u64,
    /// The last success, if no refusal came after it; never while suspended.
    proven: Option<UtcMillis>,
    /// The hosts that refused it since then; at most [`IN_A_ROW`].
    refusers: Vec<(IpAddr, UtcMillis)>,
    /// How many there were in all since then.
    refusals: u32,
    /// Tickets not yet ended, and when each began.
    flying: BTreeMap<u64, UtcMillis>,
    suspended: Option<Suspended>,
}

#[derive(Clone, Copy, Debug)]
struct Suspended {
    until: UtcMillis,
    pause: Duration,
    reason: Reason,
}

impl State {
    fn is_suspended(&self, now: UtcMillis) -> bool {
        self.suspended.is_some_and(|s| now < s.until)
    }

    fn is_proven(&self, now: UtcMillis) -> bool {
        self.proven.is_some_and(|at| now.since(at) < PROVEN)
    }

    /// How many more may be in flight; `None` for no limit.
    fn room(&self, now: UtcMillis) -> Option<usize> {
        if self.is_proven(now) {
            return None;
        }
        let limit = match self.suspended {
            Some(_) => 1,
            None => IN_A_ROW - self.refusers.len().min(IN_A_ROW),
        };
        Some(limit.saturating_sub(self.flying.len()))
    }

    fn suspension(&self, index: usize, suspended: Suspended) -> Suspension {
        Suspension {
            index,
            user: self.account.user.clone(),
            until: suspended.until,
            pause: suspended.pause,
            reason: suspended.reason,
            hosts: self.refusals,
        }
    }
}

/// What is remembered of a host.
#[derive(Debug, Default)]
struct Host {
    /// Its place in the order of forgetting.
    heard: u64,
    /// The credential that worked.
    worked: Option<usize>,
    /// Credentials without rights there, a bit each.
    denied: u64,
    /// Credentials that it refused, and when; one entry for each.
    refused: Vec<(usize, UtcMillis)>,
}

/// The credentials in the order of the configuration. Memory is bounded by [`MOST`], 65,536 hosts and the tickets of
/// five minutes; every operation is O([`MOST`] + log n).
#[derive(Debug, Default)]
pub struct Credentials {
    states: Vec<State>,
    hosts: HashMap<IpAddr, Host>,
    /// Hosts by when they were last heard of, oldest first.
    forgetting: BTreeMap<u64, IpAddr>,
    /// Numbers that are never given twice.
    counter: u64,
    /// The latest time seen: a clock set back does not bring old tries into reach again.
    now: UtcMillis,
}

impl Credentials {
    /// Credentials of which nothing is known yet; those after the first [`MOST`] are left out.
    #[must_use]
    pub fn new(accounts: Vec<Account>) -> Self {
        let mut credentials = Self::default();
        credentials.set_accounts(accounts);
        credentials
    }

    /// Takes other accounts. One with the same name and secret keeps its standing; another one, or one with a changed
    /// secret, begins anew. What is remembered of hosts goes unless nothing changed.
    pub fn set_accounts(&mut self, accounts: Vec<Account>) {
        let same = self.states.len() == accounts.len()
            && self
                .states
                .iter()
                .zip(&accounts)
                .all(|(s, a)| s.account == *a);
        if same {
            return;
        }
        let mut before = std::mem::take(&mut self.states);
        for account in accounts.into_iter().take(MOST) {
            let kept = before.iter().position(|state| state.account == account);
            let state = match kept {
                Some(place) => before.swap_remove(place),
                None => State {
                    account,
                    serial: self.number(),
                    proven: None,
                    refusers: Vec::new(),
                    refusals: 0,
                    flying: BTreeMap::new(),
                    suspended: None,
                },
            };
            self.states.push(state);
        }
        self.hosts.clear();
        self.forgetting.clear();
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Whether a credential has worked within the last five minutes.
    #[must_use]
    pub fn is_proven(&self, index: usize, now: UtcMillis) -> bool {
        let now = now.max(self.now);
        self.states
            .get(index)
            .is_some_and(|state| state.is_proven(now))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// The name of a credential.
    #[must_use]
    pub fn user(&self, index: usize) -> Option<&str> {
        Some(self.states.get(index)?.account.user.as_str())
    }

    /// What to try at a host, best first: what worked there, then as configured, then what has no rights there. Left
    /// out is what is suspended and what the host refused in the last half hour.
    #[must_use]
    pub fn order(&self, address: IpAddr, now: UtcMillis) -> Vec<usize> {
        let now = now.max(self.now);
        let mut order: Vec<usize> = (0..self.states.len())
            .filter(|index| !self.states[*index].is_suspended(now))
            .filter(|index| !self.refused_here(*index, address, now))
            .collect();
        if let Some(host) = self.hosts.get(&address) {
            order.sort_by_key(|index| match host.worked {
                Some(worked) if worked == *index => 0,
                Some(_) | None if host.denied & bit(*index) != 0 => 2,
                Some(_) | None => 1,
            });
        }
        order
    }

    /// Asks to show a credential to a host. To be asked when the connection stands, before anything of the credential
    /// is sent: a host that does not answer then holds no place.
    pub fn begin(&mut self, index: usize, address: IpAddr, now: UtcMillis) -> Begin {
        let now = self.pass(now);
        if self.refused_here(index, address, now) {
            return Begin::No;
        }
        let number = self.number();
        let Some(state) = self.states.get_mut(index) else {
            return Begin::No;
        };
        if state.is_suspended(now) {
            return Begin::No;
        }
        while let Some(oldest) = state.flying.first_entry() {
            if now.since(*oldest.get()) < LOST {
                break;
            }
            oldest.remove();
        }
        if state.room(now) == Some(0) {
            return Begin::Wait;
        }
        state.flying.insert(number, now);
        Begin::Go(Ticket {
            serial: state.serial,
            number,
            address,
        })
    }

    /// The host was signed on to and answered: proves the credential, which is tried first there.
    pub fn worked(&mut self, ticket: Ticket, now: UtcMillis) {
        let now = self.pass(now);
        if let Some(index) = self.end(&ticket) {
            self.prove(index, now);
            let host = self.host(ticket.address);
            host.worked = Some(index);
            host.denied &= !bit(index);
            host.refused.retain(|(refused, _)| *refused != index);
        }
    }

    /// The host was signed on to and refused the question for want of rights: proves the credential, which is tried
    /// last there.
    pub fn denied(&mut self, ticket: Ticket, now: UtcMillis) {
        let now = self.pass(now);
        if let Some(index) = self.end(&ticket) {
            self.prove(index, now);
            let host = self.host(ticket.address);
            host.worked = host.worked.filter(|worked| *worked != index);
            host.denied |= bit(index);
        }
    }

    /// The host refused the credential itself. Tells if this suspended it just now.
    pub fn refused(
        &mut self,
        ticket: Ticket,
        reason: Reason,
        now: UtcMillis,
    ) -> Option<Suspension> {
        let now = self.pass(now);
        let index = self.end(&ticket)?;
        let host = self.host(ticket.address);
        host.worked = host.worked.filter(|worked| *worked != index);
        host.refused.retain(|(refused, _)| *refused != index);
        host.refused.push((index, now));
        let state = self.states.get_mut(index)?;
        if state.is_suspended(now) {
            // One of those that were in flight when it was suspended.
            return None;
        }
        state.proven = None;
        state.refusers.retain(|(host, _)| *host != ticket.address);
        state.refusers.push((ticket.address, now));
        state.refusals = state.refusals.saturating_add(1);
        let pause = match state.suspended {
            Some(before) => before.pause.saturating_mul(2).min(LONGEST_PAUSE),
            None if state.refusers.len() >= IN_A_ROW => FIRST_PAUSE,
            None => return None,
        };
        state.refusers.clear();
        let suspended = Suspended {
            until: now.after(pause),
            pause,
            reason,
        };
        state.suspended = Some(suspended);
        Some(state.suspension(index, suspended))
    }

    /// Nothing came of it: no answer, no time, cancelled.
    pub fn unknown(&mut self, ticket: Ticket, now: UtcMillis) {
        self.pass(now);
        self.end(&ticket);
    }

    /// Those that are suspended.
    #[must_use]
    pub fn suspended(&self, now: UtcMillis) -> Vec<Suspension> {
        let now = now.max(self.now);
        let suspension = |(index, state): (usize, &State)| {
            let suspended = state.suspended.filter(|_| state.is_suspended(now))?;
            Some(state.suspension(index, suspended))
        };
        let states = self.states.iter().enumerate();
        states.filter_map(suspension).collect()
    }

    /// Whether there are some and every one is suspended.
    #[must_use]
    pub fn all_suspended(&self, now: UtcMillis) -> bool {
        let now = now.max(self.now);
        !self.is_empty() && self.states.iter().all(|state| state.is_suspended(now))
    }

    fn pass(&mut self, now: UtcMillis) -> UtcMillis {
        self.now = self.now.max(now);
        self.now
    }

    fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Frees the place of a ticket and finds its credential; `None` if that was replaced.
    fn end(&mut self, ticket: &Ticket) -> Option<usize> {
        let index = self.states.iter().position(|s| s.serial == ticket.serial)?;
        self.states[index].flying.remove(&ticket.number);
        Some(index)
    }

    fn prove(&mut self, index: usize, now: UtcMillis) {
        let state = &mut self.states[index];
        state.proven = Some(now);
        state.refusers.clear();
        state.refusals = 0;
        state.suspended = None;
    }

    fn refused_here(&self, index: usize, address: IpAddr, now: UtcMillis) -> bool {
        let lately = |at: UtcMillis| now.since(at) < HOST_PAUSE;
        let by_host = self.hosts.get(&address).is_some_and(|host| {
            host.refused
                .iter()
                .any(|(refused, at)| *refused == index && lately(*at))
        });
        // Hosts are forgotten when there are too many; those that count in a row are not.
        by_host
            || self.states.get(index).is_some_and(|state| {
                state
                    .refusers
                    .iter()
                    .any(|(host, at)| *host == address && lately(*at))
            })
    }

    /// What is remembered of a host, now the last to be forgotten.
    fn host(&mut self, address: IpAddr) -> &mut Host {
        let heard = self.number();
        if !self.hosts.contains_key(&address)
            && self.hosts.len() >= MOST_HOSTS
            && let Some((_, oldest)) = self.forgetting.pop_first()
        {
            self.hosts.remove(&oldest);
        }
        let host = self.hosts.entry(address).or_default();
        self.forgetting.remove(&host.heard);
        self.forgetting.insert(heard, address);
        host.heard = heard;
        host
    }
}

fn bit(index: usize) -> u64 {
    1 << (index % MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashSet, VecDeque};

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn after(seconds: u64) -> UtcMillis {
        NOW.after(Duration::from_secs(seconds))
    }

    fn accounts(number: u8) -> Vec<Account> {
        let account = |index: u8| Account {
            user: format!("CORP\\svc-{index}"),
            proof: [index; 32],
        };
        (0..number).map(account).collect()
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    fn go(begin: Begin) -> Ticket {
        match begin {
            Begin::Go(ticket) => ticket,
            Begin::Wait | Begin::No => panic!("{begin:?}"),
        }
    }

    /// Has a host refuse a credential.
    fn refuse(
        all: &mut Credentials,
        index: usize,
        number: u32,
        now: UtcMillis,
    ) -> Option<Suspension> {
        let ticket = go(all.begin(index, host(number), now));
        all.refused(ticket, Reason::WrongPassword, now)
    }

    #[test]
    fn three_hosts_in_a_row_suspend_and_the_pause_doubles_to_8_hours() {
        let mut all = Credentials::new(accounts(1));
        assert_eq!(refuse(&mut all, 0, 1, NOW), None);
        assert_eq!(refuse(&mut all, 0, 2, NOW), None);
        let suspension = refuse(&mut all, 0, 3, NOW).unwrap();
        assert_eq!(
            suspension.message(),
            "CORP\\svc-0 is not used for 30 min: the password is wrong, say 3 hosts in a row"
        );
        assert_eq!(all.suspended(NOW), [suspension]);
        assert!(all.all_suspended(NOW) && all.order(host(9), NOW).is_empty());
        assert!(matches!(all.begin(0, host(9), NOW), Begin::No));
        let (mut now, mut pauses, mut number) = (NOW, Vec::new(), 10);
        for _ in 0..6 {
            now = all.suspended(now)[0].until;
            assert!(!all.all_suspended(now), "one try");
            number += 1;
            let ticket = go(all.begin(0, host(number), now));
            assert!(matches!(all.begin(0, host(99), now), Begin::Wait));
            let again = all.refused(ticket, Reason::Locked, now).unwrap();
            pauses.push(again.pause.as_secs() / 60);
        }
        assert_eq!(pauses, [60, 120, 240, 480, 480, 480]);
        assert!(all.suspended(now)[0].message().contains("for 8 h"));
        now = all.suspended(now)[0].until;
        let ticket = go(all.begin(0, host(70), now));
        all.worked(ticket, now);
        assert!(all.suspended(now).is_empty());
        let tickets: Vec<Ticket> = (100..356).map(|n| go(all.begin(0, host(n), now))).collect();
        assert_eq!(tickets.len(), 256, "proven: no limit");
    }

    #[test]
    fn a_success_in_between_or_missing_rights_begin_the_count_anew() {
        let mut all = Credentials::new(accounts(2));
        for round in 0..10 {
            assert_eq!(refuse(&mut all, 0, round * 10, NOW), None);
            assert_eq!(refuse(&mut all, 0, round * 10 + 1, NOW), None);
            let ticket = go(all.begin(0, host(round * 10 + 2), NOW));
            if round % 2 == 0 {
                all.worked(ticket, NOW);
            } else {
                all.denied(ticket, NOW);
            }
        }
        assert!(all.suspended(NOW).is_empty());
    }

    #[test]
    fn what_worked_comes_first_what_has_no_rights_last_and_what_was_refused_not_at_all() {
        let mut all = Credentials::new(accounts(4));
        assert_eq!(all.order(host(1), NOW), [0, 1, 2, 3]);
        let ticket = go(all.begin(2, host(1), NOW));
        all.worked(ticket, NOW);
        let ticket = go(all.begin(0, host(1), NOW));
        all.denied(ticket, NOW);
        refuse(&mut all, 1, 1, NOW);
        assert_eq!(all.order(host(1), NOW), [2, 3, 0]);
        assert!(matches!(all.begin(1, host(1), NOW), Begin::No));
        assert_eq!(all.order(host(2), NOW), [0, 1, 2, 3]);
        assert_eq!(all.order(host(1), after(1800)), [2, 1, 3, 0]);
        // A clock that steps back gives no second try.
        refuse(&mut all, 1, 1, after(1800));
        assert_eq!(all.order(host(1), NOW), [2, 3, 0]);
    }

    #[test]
    fn a_changed_secret_begins_anew_and_others_keep_their_standing() {
        let mut all = Credentials::new(accounts(2));
        for index in 0..2 {
            for number in 0..3 {
                refuse(&mut all, index, number, NOW);
            }
        }
        let old = {
            let mut other = Credentials::new(accounts(1));
            go(other.begin(0, host(1), NOW))
        };
        assert!(all.all_suspended(NOW));
        all.set_accounts(accounts(2));
        assert!(all.all_suspended(NOW), "nothing changed");
        let mut changed = accounts(2);
        changed[0].proof = [9; 32];
        changed.reverse();
        all.set_accounts(changed);
        let suspended: Vec<usize> = all.suspended(NOW).iter().map(|s| s.index).collect();
        assert_eq!(suspended, [0], "svc-1, which is first now");
        assert_eq!(all.order(host(1), NOW), [1]);
        assert_eq!(all.user(1), Some("CORP\\svc-0"));
        let ticket = Ticket { serial: 0, ..old };
        assert_eq!(all.refused(ticket, Reason::Disabled, NOW), None);
        assert!(!Credentials::default().all_suspended(NOW));
    }

    #[test]
    fn a_lost_ticket_frees_its_place() {
        let mut all = Credentials::new(accounts(1));
        for number in 0..3 {
            let _lost = go(all.begin(0, host(number), NOW));
        }
        assert!(matches!(all.begin(0, host(9), after(299)), Begin::Wait));
        assert!(matches!(all.begin(0, host(9), after(300)), Begin::Go(_)));
    }

    #[test]
    fn hosts_are_bounded() {
        let mut all = Credentials::new(accounts(2));
        for number in 0..70_000 {
            let ticket = go(all.begin(1, host(number), NOW));
            all.worked(ticket, NOW);
        }
        assert_eq!(
            (all.hosts.len(), all.forgetting.len()),
            (MOST_HOSTS, MOST_HOSTS)
        );
        assert_eq!(all.order(host(0), NOW), [0, 1], "forgotten");
        assert_eq!(all.order(host(69_999), NOW), [1, 0]);
        assert_eq!(Credentials::new(accounts(200)).states.len(), MOST);
    }

    /// What a simulated probe does next.
    struct Flight {
        ticket: Ticket,
        ends: u64,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// 256 probes at once, each answer after a random while, some connections dying: a wrong password is shown to
        /// at most three hosts before it is suspended, and to one for each pause after.
        #[test]
        fn a_wrong_password_is_shown_to_three_hosts_and_then_to_one_a_pause(
            delays in prop::collection::vec(1_u64..3000, 50..200),
            died in prop::collection::vec(prop::bool::weighted(0.2), 50..200),
        ) {
            let mut all = Credentials::new(accounts(1));
            let mut hosts: VecDeque<u32> = (0..4000).collect();
            let mut flights: Vec<Flight> = Vec::new();
            let (mut shown, mut suspensions, mut turn) = (0_usize, 0_usize, 0_usize);
            // Ten hours in steps of a minute; while probes fly, of 50 milliseconds.
            let mut millis = 0_u64;
            while millis < 36_000_000 && !hosts.is_empty() {
                let now = NOW.after(Duration::from_millis(millis));
                let (done, rest) = flights.into_iter().partition(|f| f.ends <= millis);
                flights = rest;
                for flight in done {
                    turn += 1;
                    if died[turn % died.len()] {
                        all.unknown(flight.ticket, now);
                    } else {
                        shown += 1;
                        suspensions += usize::from(all.refused(flight.ticket, Reason::WrongPassword, now).is_some());
                    }
                }
                for _ in 0..256 {
                    let Some(number) = hosts.pop_front() else { break };
                    match all.begin(0, host(number), now) {
                        Begin::Go(ticket) => {
                            turn += 1;
                            flights.push(Flight { ticket, ends: millis + delays[turn % delays.len()] });
                        }
                        Begin::Wait => { hosts.push_front(number); break; }
                        Begin::No => hosts.push_back(number),
                    }
                }
                prop_assert!(flights.len() <= IN_A_ROW);
                prop_assert!(shown <= IN_A_ROW + suspensions.saturating_sub(1));
                millis += if flights.is_empty() { 60_000 } else { 50 };
            }
            // 30 min, 1 h, 2 h, 4 h are over, 8 h are not.
            prop_assert_eq!((shown, suspensions), (7, 5));
        }

        #[test]
        fn it_never_breaks_its_bounds(steps in prop::collection::vec((0_u8..8, 0_usize..4, 0_u32..12, 0_u64..900), 1..400)) {
            let mut all = Credentials::new(accounts(3));
            let mut open: Vec<(usize, Ticket)> = Vec::new();
            let mut now = NOW;
            for (what, index, number, pause) in steps {
                let last = open.pop();
                match (what, last) {
                    (0..4, last) => {
                        open.extend(last);
                        now = now.after(Duration::from_secs(pause * u64::from(what == 0)));
                        let order = all.order(host(number), now);
                        let distinct: HashSet<usize> = order.iter().copied().collect();
                        prop_assert_eq!(distinct.len(), order.len());
                        match all.begin(index, host(number), now) {
                            Begin::Go(ticket) => {
                                prop_assert!(order.contains(&index));
                                open.push((index, ticket));
                            }
                            Begin::Wait => prop_assert!(order.contains(&index)),
                            Begin::No => prop_assert!(!order.contains(&index)),
                        }
                    }
                    (4, Some((_, ticket))) => all.worked(ticket, now),
                    (5, Some((_, ticket))) => all.denied(ticket, now),
                    (6, Some((_, ticket))) => all.unknown(ticket, now),
                    (_, Some((index, ticket))) => {
                        if let Some(suspension) = all.refused(ticket, Reason::Expired, now) {
                            prop_assert_eq!(suspension.index, index);
                            prop_assert!(suspension.pause >= FIRST_PAUSE && suspension.pause <= LONGEST_PAUSE);
                        }
                    }
                    (_, None) => {}
                }
                prop_assert_eq!(all.all_suspended(now), all.suspended(now).len() == 3);
                for state in &all.states {
                    prop_assert!(state.refusers.len() < IN_A_ROW);
                }
            }
        }
    }
}
