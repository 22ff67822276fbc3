//! Habits that call for a filter: accounts seen at many addresses, addresses that see many users.
//!
//! A service account (a backup, a scanner) logs on at one machine after another and takes each from the person who sits
//! there. A shared host (a terminal server, a VPN gateway) has many users at one address. Both are *proposed* as lines of
//! the configuration and never applied.
//!
//! Told of every logon, so it is cheap and bounded: 4,096 accounts and as many addresses, 32 remembered others each
//! (a hash and a time). Where there is no room, the quarter that says least goes. What is found depends on what is told,
//! and on nothing else.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use compact_str::CompactString;
use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::time::UtcMillis;

/// Within this time different others are counted.
pub const WINDOW: Duration = Duration::from_secs(3600);
/// How long a proposal holds after what it says was last true: a nightly backup is still shown in the morning.
pub const HOLD: Duration = Duration::from_secs(24 * 3600);
/// Accounts, and addresses, that are remembered.
pub const MOST_KEYS: usize = 4096;
/// Others remembered of each; counts end here.
pub const MOST_OTHERS: usize = 32;

/// From how many on it is a habit; at most [`MOST_OTHERS`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Different addresses of one account within an hour.
    pub addresses: usize,
    /// Different users of one address within an hour.
    pub users: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            addresses: 10,
            users: 6,
        }
    }
}

/// What to write into the configuration, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal<W> {
    /// The account or the address.
    pub who: W,
    /// How many others there were within one hour, when it was last seen to be a habit; capped at [`MOST_OTHERS`].
    pub count: usize,
    /// When that was.
    pub last: UtcMillis,
}

/// What was seen of late.
#[derive(Clone, Debug)]
pub struct Habits {
    users: Table<CompactString>,
    addresses: Table<IpAddr>,
}

impl Default for Habits {
    fn default() -> Self {
        Self::new(Thresholds::default())
    }
}

impl Habits {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            users: Table::new(thresholds.addresses),
            addresses: Table::new(thresholds.users),
        }
    }

    /// A user (`domain\user`, always written alike) logged on at an address. Takes constant time but for one pass over
    /// the table in 512 new names; allocates nothing for a pair that is known, or the first of a short name.
    pub fn saw(&mut self, user: &str, address: IpAddr, at: UtcMillis) {
        let (user_hash, address_hash) = (hash(user), hash(&address));
        let seen = self.users.seen(user_hash, at, || user.into());
        if &*seen.who == user {
            seen.other(address_hash, at);
        }
        let seen = self.addresses.seen(address_hash, at, || address);
        if seen.who == address {
            seen.other(user_hash, at);
        }
    }

    /// A probe found this many users at an address at the same time; two are enough to call it shared.
    pub fn several(&mut self, address: IpAddr, users: usize, now: UtcMillis) {
        if users < 2 {
            return;
        }
        let seen = self.addresses.seen(hash(&address), now, || address);
        if seen.who == address {
            seen.found(users.min(MOST_OTHERS), now);
        }
    }

    /// Accounts that look like service accounts, those with the most addresses first.
    #[must_use]
    pub fn service_accounts(&self, now: UtcMillis) -> Vec<Proposal<String>> {
        self.users.proposals(now, |who| who.to_string())
    }

    /// Addresses that look shared, those with the most users first.
    #[must_use]
    pub fn shared_hosts(&self, now: UtcMillis) -> Vec<Proposal<IpAddr>> {
        self.addresses.proposals(now, |who| *who)
    }
}

/// Keys by their hashes. Two that hash alike are one place, which the first one keeps: the second is not looked at.
#[derive(Clone, Debug)]
struct Table<K> {
    threshold: usize,
    places: HashMap<u64, usize, BuildHasherDefault<AsIs>>,
    keys: Vec<Key<K>>,
}

/// One account or address.
#[derive(Clone, Debug)]
struct Key<K> {
    who: K,
    hash: u64,
    threshold: usize,
    /// When it was last seen.
    last: UtcMillis,
    /// Whom it was seen with, and when last.
    others: SmallVec<[(u64, UtcMillis); 1]>,
    /// How many there were when it was last a habit, and when.
    habit: Option<(usize, UtcMillis)>,
}

impl<K: Ord> Table<K> {
    fn new(threshold: usize) -> Self {
        Self {
            threshold: threshold.clamp(1, MOST_OTHERS),
            places: HashMap::default(),
            keys: Vec::new(),
        }
    }

    fn seen(&mut self, hash: u64, at: UtcMillis, who: impl FnOnce() -> K) -> &mut Key<K> {
        if self.keys.len() >= MOST_KEYS && !self.places.contains_key(&hash) {
            self.make_room(at);
        }
        let place = match self.places.entry(hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.keys.push(Key {
                    who: who(),
                    hash,
                    threshold: self.threshold,
                    last: at,
                    others: SmallVec::new(),
                    habit: None,
                });
                *new.insert(self.keys.len() - 1)
            }
        };
        let key = &mut self.keys[place];
        key.last = key.last.max(at);
        key
    }

    /// Drops the quarter that says least: no habit of late, fewest others within the hour, longest not seen.
    fn make_room(&mut self, at: UtcMillis) {
        let now = self
            .keys
            .iter()
            .map(|key| key.last)
            .fold(at, UtcMillis::max);
        let worths: Vec<_> = self.keys.iter().map(|key| key.worth(now)).collect();
        let mut sorted = worths.clone();
        let (_, least, _) = sorted.select_nth_unstable(MOST_KEYS / 4);
        let mut worths = worths.iter();
        self.keys.retain(|_| worths.next() >= Some(&*least));
        self.places.clear();
        let hashes = self.keys.iter().map(|key| key.hash);
        self.places.extend(hashes.zip(0..));
    }

    fn proposals<W: Ord>(&self, now: UtcMillis, who: impl Fn(&K) -> W) -> Vec<Proposal<W>> {
        let proposal = |key: &Key<K>| {
            let (count, last) = key.habit_at(now)?;
            Some(Proposal {
                who: who(&key.who),
                count,
                last,
            })
        };
        let mut all: Vec<Proposal<W>> = self.keys.iter().filter_map(proposal).collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.who.cmp(&b.who)));
        all
    }
}

impl<K> Key<K> {
    /// Seen with another one.
    fn other(&mut self, other: u64, at: UtcMillis) {
        if let Some((_, last)) = self.others.iter_mut().find(|(hash, _)| *hash == other) {
            *last = at.max(*last);
        } else if self.others.len() < MOST_OTHERS {
            self.others.push((other, at));
        } else if let Some(oldest) = self.others.iter_mut().min_by_key(|(_, last)| *last)
            && oldest.1 <= at
        {
            *oldest = (other, at);
        }
        if self.others.len() >= self.threshold {
            let count = self.count(self.last);
            if count >= self.threshold {
                self.habit = Some((count, self.last));
            }
        }
    }

    /// Told to be with so many.
    fn found(&mut self, count: usize, at: UtcMillis) {
        if self.habit.is_none_or(|(_, last)| last <= at) {
            self.habit = Some((count.max(self.count(self.last)), at));
        }
    }

    /// Others within the hour before.
    fn count(&self, now: UtcMillis) -> usize {
        let recent = self.others.iter().filter(|(_, at)| now.since(*at) < WINDOW);
        recent.count()
    }

    /// How much it says; of no two the same.
    fn worth(&self, now: UtcMillis) -> impl Ord + Clone + use<K> {
        let habit = self.habit_at(now).map(|(_, last)| last);
        (habit, self.count(now), self.last, self.hash)
    }

    fn habit_at(&self, now: UtcMillis) -> Option<(usize, UtcMillis)> {
        self.habit.filter(|(_, last)| now.since(*last) < HOLD)
    }
}

/// The same in every process, so that the same events lead to the same proposals.
fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    FixedState::default().hash_one(value)
}

/// Takes a hash as it is.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn minutes(minutes: u64) -> UtcMillis {
        NOW.after(Duration::from_secs(minutes * 60))
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    fn names(proposals: &[Proposal<String>]) -> Vec<&str> {
        proposals.iter().map(|p| p.who.as_str()).collect()
    }

    #[test]
    fn an_account_at_ten_addresses_within_an_hour_is_proposed_and_three_machines_are_not() {
        let mut habits = Habits::default();
        for round in 0..60 {
            habits.saw("corp\\admin", host(round % 3), minutes(u64::from(round)));
        }
        for number in 0..9 {
            habits.saw(
                "corp\\svc-backup",
                host(100 + number),
                minutes(u64::from(number)),
            );
        }
        assert!(habits.service_accounts(minutes(60)).is_empty());
        habits.saw("corp\\svc-backup", host(109), minutes(59));
        let proposed = habits.service_accounts(minutes(60));
        assert_eq!(
            proposed,
            [Proposal {
                who: "corp\\svc-backup".to_owned(),
                count: 10,
                last: minutes(59)
            }]
        );
        assert!(habits.shared_hosts(minutes(60)).is_empty());
        let morning = minutes(59 + 24 * 60);
        assert!(!habits.service_accounts(UtcMillis(morning.0 - 1)).is_empty());
        assert!(habits.service_accounts(morning).is_empty());
    }

    #[test]
    fn ten_addresses_in_a_day_are_no_service_account() {
        let mut habits = Habits::default();
        for number in 0..40 {
            habits.saw("corp\\nurse", host(number), minutes(u64::from(number) * 7));
        }
        assert!(habits.service_accounts(minutes(280)).is_empty());
    }

    #[test]
    fn six_users_within_an_hour_or_a_probe_that_finds_two_make_a_shared_host() {
        let mut habits = Habits::default();
        for user in 0..40 {
            habits.saw(&format!("corp\\user{user}"), host(1), minutes(user));
        }
        for user in 0..5 {
            habits.saw(&format!("corp\\user{user}"), host(2), minutes(user));
        }
        habits.several(host(3), 2, minutes(40));
        habits.several(host(4), 1, minutes(40));
        let shared: Vec<(IpAddr, usize)> = habits
            .shared_hosts(minutes(41))
            .iter()
            .map(|p| (p.who, p.count))
            .collect();
        assert_eq!(shared, [(host(1), 32), (host(3), 2)]);
        habits.several(host(1), 50, minutes(50));
        assert_eq!(habits.shared_hosts(minutes(50))[0].last, minutes(50));
        assert!(habits.service_accounts(minutes(50)).is_empty());
    }

    #[test]
    fn a_service_account_is_found_among_more_users_than_are_remembered() {
        let mut habits = Habits::default();
        for number in 0..60_000_u32 {
            // 60,000 people in an hour, each at his own machine; a scanner that goes on every 20 seconds.
            let at = NOW.after(Duration::from_millis(u64::from(number) * 60));
            habits.saw(&format!("corp\\user{number}"), host(number), at);
            if number % 333 == 0 {
                habits.saw("corp\\scanner", host(number), at);
            }
            // One that is seen twice is kept although it is seen seldom: every 5 minutes.
            if number == 1000 || number % 5000 == 0 {
                habits.saw("corp\\backup", host(number), at);
            }
            assert!(habits.users.keys.len() <= MOST_KEYS);
        }
        assert_eq!(
            names(&habits.service_accounts(minutes(60))),
            ["corp\\scanner", "corp\\backup"]
        );
        assert!(habits.shared_hosts(minutes(60)).is_empty());
        for table in [&habits.users.places, &habits.addresses.places] {
            assert!(table.len() <= MOST_KEYS);
        }
        let most = habits.users.keys.iter().map(|key| key.others.len()).max();
        assert_eq!(most, Some(MOST_OTHERS));
    }

    #[test]
    fn a_late_event_takes_no_place_from_a_newer_one() {
        let mut habits = Habits::default();
        for number in 0..32 {
            habits.saw("corp\\scanner", host(number), minutes(10));
        }
        habits.saw("corp\\scanner", host(99), minutes(5));
        habits.saw("corp\\scanner", host(0), minutes(66));
        assert_eq!(habits.service_accounts(minutes(66))[0].count, 32);
        habits.saw("corp\\scanner", host(1), minutes(70));
        assert_eq!(habits.service_accounts(minutes(70))[0].last, minutes(66));
        habits.saw("corp\\scanner", host(99), minutes(70));
        assert_eq!(habits.users.keys[0].others.len(), MOST_OTHERS);
    }

    #[test]
    fn a_known_pair_allocates_nothing() {
        let mut habits = Habits::default();
        let capacity = |habits: &Habits| {
            let user = &habits.users.keys[0];
            (
                habits.users.keys.capacity(),
                user.others.capacity(),
                user.who.as_ptr(),
            )
        };
        habits.saw("corp\\alice", host(1), NOW);
        let before = capacity(&habits);
        for minute in 0..1000 {
            habits.saw("corp\\alice", host(1), minutes(minute));
        }
        assert_eq!(capacity(&habits), before);
        assert_eq!(habits.users.keys[0].others.len(), 1);
    }

    /// Everything kept, everything counted anew.
    struct Naive<K, O> {
        seen: BTreeMap<K, BTreeMap<O, UtcMillis>>,
        last: BTreeMap<K, UtcMillis>,
        habits: BTreeMap<K, (usize, UtcMillis)>,
    }

    impl<K: Ord + Clone, O: Ord> Naive<K, O> {
        fn new() -> Self {
            Self {
                seen: BTreeMap::new(),
                last: BTreeMap::new(),
                habits: BTreeMap::new(),
            }
        }

        fn saw(&mut self, key: &K, other: O, at: UtcMillis, threshold: usize) {
            let last = self.last.entry(key.clone()).or_insert(at);
            *last = at.max(*last);
            let others = self.seen.entry(key.clone()).or_default();
            let then = others.entry(other).or_insert(at);
            *then = at.max(*then);
            let count = others
                .values()
                .filter(|at| last.since(**at) < WINDOW)
                .count();
            if count >= threshold {
                self.habits
                    .insert(key.clone(), (count.min(MOST_OTHERS), *last));
            }
        }

        fn proposals(&self, now: UtcMillis) -> Vec<Proposal<K>> {
            let held = self
                .habits
                .iter()
                .filter(|(_, (_, last))| now.since(*last) < HOLD);
            let mut all: Vec<Proposal<K>> = held
                .map(|(who, (count, last))| Proposal {
                    who: who.clone(),
                    count: *count,
                    last: *last,
                })
                .collect();
            all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.who.cmp(&b.who)));
            all
        }
    }

    proptest! {
        #[test]
        fn it_proposes_what_a_naive_count_proposes(
            events in prop::collection::vec((0_u8..12, 0_u32..48, 0_u64..400, 0_u64..90), 0..700),
            addresses in 2_usize..14,
            users in 2_usize..8,
        ) {
            let mut habits = Habits::new(Thresholds { addresses, users });
            let (mut by_user, mut by_address) = (Naive::new(), Naive::new());
            let mut now = NOW;
            for (user, number, pause, late) in events {
                // Mostly close together, so that some have more others than are remembered.
                let pause = if pause < 300 { pause / 20 } else { pause };
                now = now.after(Duration::from_secs(pause));
                // Not all arrive in order.
                let at = now.before(Duration::from_secs(late));
                let user = format!("corp\\user{user}");
                habits.saw(&user, host(number), at);
                by_user.saw(&user, host(number), at, addresses);
                by_address.saw(&host(number), user, at, users);
                prop_assert_eq!(habits.shared_hosts(now), by_address.proposals(now));
            }
            let times = [now, now.after(HOLD / 2), now.after(HOLD)];
            // With over 32 others the oldest are gone, which late events can tell; counts are capped all the same.
            for time in times {
                prop_assert_eq!(habits.service_accounts(time), by_user.proposals(time));
            }
        }
    }
}
