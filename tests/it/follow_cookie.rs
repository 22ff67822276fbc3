//! Firewalls that follow the cookie over a bad line hold in the end exactly what the table says, whatever happened.
//!
//! Requests and answers are lost, answers come late, cookies are used again, filters change in the request and in the
//! configuration, firewalls start anew; the table is restarted and crashes, and forgets what ended long ago. At check
//! points every firewall may follow undisturbed: it must come to the end within as many answers as the journal needs,
//! and hold what a naive reading of the table says.
//!
//! `JIMS_FOLLOW_SEED` chooses the dice, `JIMS_FOLLOW_CHANGES` how many changes happen; a normal run has 30,000 without
//! and 1,000,000 with optimisation.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use jims::config::PointFilter;
use jims::enforcement::filter::{OwnFilter, RequestFilter};
use jims::enforcement::query;
use jims::enforcement::shape::{BatchRequest, Format};
use jims::identity::time::UtcMillis;
use jims::identity::view::{Epoch, Seq};
use serde_json::Value;

use crate::firewall_table::{Filters, FirewallTable};
use crate::follow_world::{Forgotten, World, name};
use crate::random::Dice;

const SEED: u64 = 20_261;
const CHANGES: usize = if cfg!(debug_assertions) {
    30_000
} else {
    1_000_000
};
/// Changes between two check points.
const CHECK_EVERY: usize = 2_000;
const CLIENTS: usize = 8;
/// Cookies of before that a firewall may show once more.
const OLD_COOKIES: usize = 6;

/// An answer on its way.
struct Answer {
    body: Value,
    /// Which filters it was made under.
    filters: u64,
    /// The journal then.
    epoch: Epoch,
    last: Seq,
    /// How many changes later it arrives.
    arrives: usize,
}

/// What became of requests, counted over all firewalls.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    answers: u64,
    entries: u64,
    full: u64,
    lost: u64,
    late: u64,
    again: u64,
    excused: u64,
}

/// A firewall on a bad line.
struct Client {
    number: usize,
    table: FirewallTable,
    filters: Filters,
    own: OwnFilter,
    /// Counts changes of the filters.
    generation: u64,
    cookie: Option<String>,
    cookie_generation: u64,
    old: VecDeque<String>,
    on_its_way: Option<Answer>,
    /// Where it last came to the end.
    complete: Option<(Epoch, Seq)>,
    /// Held here, ended, and forgotten by the table before this firewall could hear of the end.
    excused: BTreeSet<IpAddr>,
}

impl Client {
    fn new(number: usize) -> Self {
        Self {
            number,
            table: FirewallTable {
                obeys_full: number.is_multiple_of(2),
                ..FirewallTable::default()
            },
            filters: Filters::default(),
            own: OwnFilter::default(),
            generation: 0,
            cookie: None,
            cookie_generation: 0,
            old: VecDeque::new(),
            on_its_way: None,
            complete: None,
            excused: BTreeSet::new(),
        }
    }

    fn request(&self, cookie: Option<String>, entries: usize) -> BatchRequest {
        BatchRequest {
            cookie,
            begin: UtcMillis(0),
            entries,
            capped: false,
            filter: self.filters.request.clone(),
        }
    }

    fn ask(
        &self,
        world: &World,
        cookie: Option<String>,
        entries: usize,
        asked: &mut Asked,
    ) -> Answer {
        let request = self.request(cookie, entries);
        let (reader, now) = (&world.reader, world.now);
        let answer = query::batch(reader, &self.own, &request, Format::Json, now);
        let core = reader.read();
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        asked.answers += 1;
        asked.entries += answer.entries as u64;
        asked.full += u64::from(answer.full);
        assert_eq!(body["full"], answer.full);
        assert!(answer.entries <= entries.max(2), "more than asked for");
        Answer {
            body,
            filters: self.generation,
            epoch: core.epoch(),
            last: core.last_seq(),
            arrives: 0,
        }
    }

    /// One request, whatever becomes of it.
    fn try_once(&mut self, world: &mut World, asked: &mut Asked) -> Result<(), String> {
        if self.on_its_way.is_some() {
            return Ok(());
        }
        let entries = *world.dice.pick(&[1, 2, 3, 10, 20, 50, 200]);
        let fate = world.dice.below(1000);
        let again = world.dice.below(OLD_COOKIES);
        let mut cookie = self.cookie.clone();
        match fate {
            0..80 => {
                asked.lost += 1;
                return Ok(());
            }
            80..140 if again < self.old.len() => {
                asked.again += 1;
                cookie = self.old.get(again).cloned();
            }
            140..145 => cookie = Some("spoilt".to_owned()),
            145..148 => self.start_anew(),
            _ => {}
        }
        if (145..148).contains(&fate) {
            cookie = None;
        }
        let answer = self.ask(world, cookie, entries, asked);
        match fate {
            200..280 => asked.lost += 1,
            280..380 => {
                asked.late += 1;
                let arrives = 1 + world.dice.below(40);
                self.on_its_way = Some(Answer { arrives, ..answer });
            }
            // Done as told, and the cookie is forgotten. Without any cookie a firewall asks for everything, and then it
            // holds nothing.
            380..450 if self.cookie.is_some() => {
                asked.again += 1;
                let before = (self.cookie.clone(), self.cookie_generation);
                self.take(&answer, world)?;
                if answer.filters == before.1 && !self.drops_all(&answer) {
                    (self.cookie, self.cookie_generation) = before;
                }
            }
            _ => self.take(&answer, world)?,
        }
        Ok(())
    }

    /// An empty table, as after a start of the firewall.
    fn start_anew(&mut self) {
        self.table.entries.clear();
        self.excused.clear();
        self.old.clear();
        self.cookie = None;
        self.complete = None;
    }

    fn take(&mut self, answer: &Answer, world: &World) -> Result<(), String> {
        self.table.obey(&answer.body)?;
        let core = world.reader.read();
        for entry in answer.body["report_entries"].as_array().expect("entries") {
            let address: IpAddr = entry["ip-address"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an address");
            self.excused.remove(&address);
            if core.address(address).is_none() && self.table.entries.contains_key(&address) {
                self.excused.insert(address);
            }
        }
        // A cookie from before another filter is not shown again once answers under the new one were obeyed: the
        // Server keeps nothing and could not know.
        if answer.filters != self.cookie_generation || self.drops_all(answer) {
            self.old.clear();
        } else if let Some(old) = self.cookie.take() {
            self.old.push_front(old);
            self.old.truncate(OLD_COOKIES);
        }
        self.cookie = answer.body["cookie"].as_str().map(str::to_owned);
        self.cookie_generation = answer.filters;
        if answer.body["more"] == false {
            self.complete = Some((answer.epoch, answer.last));
        }
        Ok(())
    }

    /// Whoever drops what it holds drops its older cookies with it: they stand for what it held.
    fn drops_all(&self, answer: &Answer) -> bool {
        self.table.obeys_full && answer.body["full"] == true
    }

    fn arrive(&mut self, world: &World) -> Result<(), String> {
        if let Some(answer) = &mut self.on_its_way {
            answer.arrives -= 1;
            if answer.arrives == 0
                && let Some(answer) = self.on_its_way.take()
            {
                return self.take(&answer, world);
            }
        }
        Ok(())
    }

    fn hear_of_forgotten(&mut self, forgotten: &Forgotten) {
        for (address, epoch, seq) in forgotten {
            let heard = self
                .complete
                .is_some_and(|(of, last)| of == *epoch && last >= *seq);
            if !heard && self.table.entries.contains_key(address) {
                self.excused.insert(*address);
            }
        }
    }

    fn change_filters(&mut self, dice: &mut Dice) {
        let before = self.filters.clone();
        if dice.percent(30) {
            self.filters.own = own_filter(dice);
            self.own = OwnFilter::new(&self.filters.own).expect("globs");
        } else {
            self.filters.request = request_filter(dice);
        }
        if self.filters != before {
            self.generation += 1;
        }
    }

    /// Follows undisturbed to the end, and holds then what the table says.
    fn check(&mut self, world: &mut World, asked: &mut Asked) -> Result<(), String> {
        if let Some(answer) = self.on_its_way.take()
            && world.dice.percent(50)
        {
            self.take(&answer, world)?;
        }
        let entries = *world.dice.pick(&[20, 100, 200, 1000]);
        let enough = 2 * world.keys() / entries + 3;
        for round in 0.. {
            if round > enough {
                return Err(format!("no end after {round} answers of {entries} entries"));
            }
            let answer = self.ask(world, self.cookie.clone(), entries, asked);
            self.take(&answer, world)?;
            if answer.body["more"] == false {
                break;
            }
        }
        self.compare(world, asked)?;
        let idle = self.ask(world, self.cookie.clone(), entries, asked);
        let told = idle.body["report_entries"].as_array().map_or(0, Vec::len);
        if told > 0 || idle.body["full"] == true {
            return Err(format!("whoever knows all is told {}", idle.body));
        }
        Ok(())
    }

    fn compare(&self, world: &World, asked: &mut Asked) -> Result<(), String> {
        let core = world.reader.read();
        let held: Vec<IpAddr> = self.table.entries.keys().copied().collect();
        for address in held.into_iter().chain(world.addresses()) {
            let holds = self.table.entries.get(&address);
            let truth = self.filters.truth(&core, address);
            if holds == truth.as_ref() {
                continue;
            }
            // Whatever is told of an address afterwards ends the excuse. Outside the filter nothing is.
            let forgotten = truth.is_none() && self.excused.contains(&address);
            if forgotten && !self.table.obeys_full {
                asked.excused += 1;
                continue;
            }
            return Err(format!(
                "at {address} it holds {holds:?}, the table says {truth:?} (known: {}, ended unheard: {}), \
                 complete {:?}, filters {:?}",
                core.address(address).is_some(),
                self.excused.contains(&address),
                self.complete,
                self.filters
            ));
        }
        Ok(())
    }
}

fn own_filter(dice: &mut Dice) -> PointFilter {
    let network = |text: &str| vec![text.parse().expect("a network")];
    match dice.below(6) {
        0 => PointFilter {
            include_addresses: network("10.0.0.0/8"),
            ..PointFilter::default()
        },
        1 => PointFilter {
            exclude_addresses: network("10.1.0.0/16"),
            ..PointFilter::default()
        },
        2 => PointFilter {
            domains: vec![name("CORP")],
            ..PointFilter::default()
        },
        3 => PointFilter {
            groups: vec!["vpn-*".to_owned()],
            ..PointFilter::default()
        },
        _ => PointFilter::default(),
    }
}

fn request_filter(dice: &mut Dice) -> RequestFilter {
    let networks = |texts: &[&str]| {
        let parse = |text: &&str| text.parse().expect("a network");
        texts.iter().map(parse).collect()
    };
    match dice.below(8) {
        0 => RequestFilter {
            include: networks(&["10.1.0.0/16", "2001:db8:1::/48"]),
            ..RequestFilter::default()
        },
        1 => RequestFilter {
            include: networks(&["10.2.0.0/24", "10.9.0.0/16"]),
            exclude: networks(&["10.9.1.0/24"]),
            ..RequestFilter::default()
        },
        2 => RequestFilter {
            exclude: networks(&["10.0.0.0/8"]),
            ..RequestFilter::default()
        },
        3 => RequestFilter {
            domains: vec!["old-corp".to_owned(), "NOBODY-knows".to_owned()],
            ..RequestFilter::default()
        },
        4 => RequestFilter {
            domains: vec!["lab.example.com".to_owned()],
            exclude: networks(&["10.5.0.0/16"]),
            ..RequestFilter::default()
        },
        _ => RequestFilter::default(),
    }
}

fn from_environment(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn step(world: &mut World, clients: &mut [Client], asked: &mut Asked) -> Result<(), String> {
    let forgotten = world.change();
    for client in clients {
        let by = client.number;
        let named = |what: String| format!("firewall {by}: {what}");
        client.hear_of_forgotten(&forgotten);
        client.arrive(world).map_err(named)?;
        if world.dice.below(1000) < 2 {
            client.change_filters(&mut world.dice);
        }
        if world.dice.percent(10) {
            client.try_once(world, asked).map_err(named)?;
        }
    }
    Ok(())
}

fn check(world: &mut World, clients: &mut [Client], asked: &mut Asked) -> Result<(), String> {
    for client in clients {
        let by = client.number;
        let checked = client.check(world, asked);
        checked.map_err(|what| format!("firewall {by}: {what}"))?;
    }
    Ok(())
}

#[test]
fn whoever_follows_the_cookie_holds_what_the_table_says_whatever_is_lost_on_the_way() {
    let seed = from_environment("JIMS_FOLLOW_SEED").unwrap_or(SEED);
    let changes = from_environment("JIMS_FOLLOW_CHANGES")
        .map_or(CHANGES, |number| usize::try_from(number).expect("a size"));
    let mut world = World::new(seed);
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let mut asked = Asked::default();
    for number in 1..=changes {
        let mut result = step(&mut world, &mut clients, &mut asked);
        if result.is_ok() && (number % CHECK_EVERY == 0 || number == changes) {
            result = check(&mut world, &mut clients, &mut asked);
        }
        if let Err(what) = result {
            panic!(
                "after change {number}: {what}\nreplay: JIMS_FOLLOW_SEED={seed} JIMS_FOLLOW_CHANGES={number} \
                 cargo test --test it -- follow_cookie"
            );
        }
    }
    println!(
        "seed {seed}, {changes} changes: {:?} {asked:?}",
        world.happened
    );
    if changes >= CHANGES.min(30_000) {
        assert!(world.happened.forgotten > 100, "the floor never rose");
        assert!(asked.full > 100 && asked.again > 100 && asked.late > 100);
        assert!(
            asked.excused * 1_000 < asked.entries,
            "too much was excused"
        );
    }
}
