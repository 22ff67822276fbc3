//! Memory of a whole company: the core in a process of its own that holds nothing else, and Redis with the same as hashes;
//! and with what the core has beside: who is where, which groups hold whom, and the orders of deadlines and of changes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use jims::runtime::clock::utc_now;

use super::measure::{Options, Row, Used, processor_time_of, resident_of, say};
use super::redis::{Client, Redis};
use super::world::{self, DOMAIN, Size, address, guid, sid};

/// The part of the process that holds the table.
pub(crate) const ALONE: &str = "memory-alone";
/// Commands of one exchange.
const PIPELINE: u32 = 1_000;

const MEMORY: Row = Row::less("memory of a million sessions and their directory", "MB");

fn size(options: &Options) -> Size {
    if options.quick {
        return Size {
            sessions: 95_000,
            users: 20_000,
            devices: 5_000,
            top_groups: 134,
        };
    }
    Size {
        sessions: 950_000,
        users: 200_000,
        devices: 50_000,
        top_groups: 1_334,
    }
}

/// Fills a table, says what this process takes (resident bytes, then microseconds of processor time), and ends.
pub(crate) fn alone(options: &Options) {
    let core = world::fill(size(options), utc_now());
    let (own, totals) = (std::process::id(), core.totals());
    let roles = core.user(&world::user_name(7), Some(DOMAIN));
    assert_eq!(roles.map(|user| user.roles.iter().count()), Some(21));
    assert_eq!(totals.groups as u64, u64::from(size(options).groups()) + 1);
    let resident = resident_of(own).expect("a process has memory");
    let micros = processor_time_of(own).as_micros();
    writeln!(std::io::stdout(), "{resident} {micros}").expect("said");
}

pub(crate) fn run(options: &Options) {
    let size = size(options);
    for _ in 0..if options.quick { 1 } else { 2 } {
        jims(options);
        in_redis(options, size, false);
        in_redis(options, size, true);
    }
}

fn jims(options: &Options) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(ALONE).args(options.quick.then_some("--quick"));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let said = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let mut numbers = said.split_whitespace().map(|word| word.parse::<u64>());
    let mut next = || numbers.next().expect("two numbers").expect("a number");
    let (resident, micros) = (next(), next());
    let used = Used {
        cpu: Some(std::time::Duration::from_micros(micros)),
        rss_bytes: Some(resident),
    };
    let note = "a process with the core and nothing else, from directory and events";
    say(options, MEMORY, "jims", resident as f64 / 1e6, used, note);
}

fn in_redis(options: &Options, size: Size, indexed: bool) {
    let redis = Redis::start();
    let mut client = Filling {
        client: Client::connect(),
        sent: 0,
        indexed,
    };
    directory(&mut client, size);
    sessions(&mut client, size);
    client.client.exchange();
    let resident = resident_of(redis.pid()).expect("a process has memory");
    let used = Used {
        cpu: Some(processor_time_of(redis.pid())),
        rss_bytes: Some(resident),
    };
    let side = if indexed {
        "redis, hashes and indices"
    } else {
        "redis, hashes"
    };
    say(options, MEMORY, side, resident as f64 / 1e6, used, "");
}

/// Sends now and then.
struct Filling {
    client: Client,
    sent: u32,
    indexed: bool,
}

impl Filling {
    fn hash(&mut self, key: &[u8], fields: &[(&[u8], &[u8])]) {
        let mut words: Vec<&[u8]> = vec![b"HSET", key];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        self.send(&words);
    }

    /// A command that only belongs to indices.
    fn index(&mut self, words: &[&[u8]]) {
        if self.indexed {
            self.send(words);
        }
    }

    fn send(&mut self, words: &[&[u8]]) {
        self.client.command(words);
        self.sent += 1;
        if self.sent.is_multiple_of(PIPELINE) {
            self.client.exchange();
        }
    }
}

/// A key of a kind.
fn key(kind: &str, rest: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), rest].concat()
}

/// A user, computer or group is a hash under its name; a group's members, as in the core, are identities, in a hash that
/// has each as a field.
fn directory(client: &mut Filling, size: Size) {
    for user in 0..size.users {
        let named = world::user_name(user);
        let upn = format!("{named}@{DOMAIN}");
        client.hash(
            &key("u:", named.as_bytes()),
            &[
                (b"id", &guid(world::USER, user)),
                (b"sid", sid(1_000_000 + user).as_bytes()),
                (b"upn", upn.as_bytes()),
                (b"on", b"1"),
                (b"primary", b"513"),
            ],
        );
        client.index(&[b"HSET", b"upn", upn.as_bytes(), named.as_bytes()]);
    }
    for device in 0..size.devices {
        let named = world::device_name(device);
        let dns = format!("ws-{device:06}.{DOMAIN}");
        client.hash(
            &key("d:", named.as_bytes()),
            &[
                (b"id", &guid(world::DEVICE, device)),
                (b"sid", sid(3_000_000 + device).as_bytes()),
                (b"dns", dns.as_bytes()),
                (b"os", b"Windows 11 Enterprise"),
                (b"version", b"10.0 (22631)"),
            ],
        );
    }
    for (level, index) in world::groups(size) {
        let named = world::group_name(level, index);
        let id = world::group_guid(level, index);
        client.hash(
            &key("g:", named.as_bytes()),
            &[(b"id", &id), (b"sid", sid(100_000 + index).as_bytes())],
        );
        let members = world::members(size, level, index);
        let members: Vec<(&[u8], &[u8])> = members
            .iter()
            .map(|member| (&member[..], &b""[..]))
            .collect();
        client.hash(&key("m:", &id), &members);
        for (member, _) in &members {
            client.index(&[b"SADD", &key("p:", member), &id]);
        }
        let named = named.as_bytes();
        client.index(&[b"HSET", b"sid", sid(100_000 + index).as_bytes(), named]);
    }
}

/// A hash for each session.
fn sessions(client: &mut Filling, size: Size) {
    let now = utc_now().0.to_string();
    let until = (utc_now().0 + 86_400_000).to_string();
    let kinds = [
        ("s:", size.sessions, size.users),
        ("c:", size.devices, size.devices),
    ];
    for (kind, sessions, subjects) in kinds {
        for number in 0..sessions {
            let named = match kind {
                "s:" => world::user_name(number % subjects),
                _ => world::device_name(number % subjects),
            };
            let at = address(number).to_string();
            client.hash(
                &key(kind, at.as_bytes()),
                &[
                    (b"who", named.as_bytes()),
                    (b"by", b"dc1"),
                    (b"record", b"4768"),
                    (b"since", now.as_bytes()),
                    (b"at", now.as_bytes()),
                    (b"heard", now.as_bytes()),
                    (b"until", until.as_bytes()),
                    (b"strong", b"1"),
                ],
            );
            let session = key(kind, at.as_bytes());
            client.index(&[b"SADD", &key("w:", named.as_bytes()), at.as_bytes()]);
            client.index(&[b"ZADD", b"due", until.as_bytes(), &session]);
            let seq = number.to_string();
            client.index(&[b"ZADD", b"changed", seq.as_bytes(), &session]);
        }
    }
}
