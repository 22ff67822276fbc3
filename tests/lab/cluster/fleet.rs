//! Firewalls that follow by batch queries, at whichever Server answers, with one cookie.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::member::http;
use super::random::Random;
use crate::support::Place;

/// A firewall's patience.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Entries asked for at once.
const ITEMS: u32 = 500;

/// What a firewall holds for an address: user, domain, roles.
pub(crate) type Held = (String, String, String);

/// One that asks.
pub(crate) struct Srx {
    servers: Vec<SocketAddr>,
    tokens: Vec<Option<String>>,
    at: usize,
    pub(crate) cookie: Option<String>,
    pub(crate) table: BTreeMap<String, Held>,
    /// Answers that began from 0 though it had been told something: which server gave it, when, and to which cookie.
    pub(crate) full: Vec<String>,
    pub(crate) fail_overs: u32,
    pub(crate) answers: u32,
    /// Changes of addresses that it was told of.
    pub(crate) entries: u64,
}

/// Why a server was left.
#[derive(Debug)]
pub(crate) struct Unreachable(
    #[expect(dead_code, reason = "for people who read a failure")] String,
);

impl From<std::io::Error> for Unreachable {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Srx {
    /// One that knows these servers and nothing else.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            tokens: servers.iter().map(|_| None).collect(),
            servers,
            at: 0,
            cookie: None,
            table: BTreeMap::new(),
            full: Vec::new(),
            fail_overs: 0,
            answers: 0,
            entries: 0,
        }
    }

    /// Asks another server from now on.
    pub(crate) fn go_to(&mut self, server: usize) {
        if server != self.at {
            self.fail_overs += 1;
        }
        self.at = server;
    }

    fn token(&mut self) -> Result<String, Unreachable> {
        if let Some(token) = &self.tokens[self.at] {
            return Ok(token.clone());
        }
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            Place::FIRST.client_id,
            Place::FIRST.secret
        );
        let head = "POST /api/oauth_token/oauth HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let (status, body) = http(self.servers[self.at], head, &form, ANSWER_WITHIN)?;
        if status != 200 {
            return Err(Unreachable(format!("{status} to a login")));
        }
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        self.tokens[self.at] = Some(token.clone());
        Ok(token)
    }

    fn ask(&mut self) -> Result<Value, Unreachable> {
        let start = match &self.cookie {
            Some(cookie) => format!("cookie={cookie}"),
            None => "begintime=0".to_owned(),
        };
        loop {
            let token = self.token()?;
            let head = format!(
                "GET /api/user_query/v2/users/endpoints?{start}&entry_count={ITEMS} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"
            );
            let (status, body) = http(self.servers[self.at], &head, "", ANSWER_WITHIN)?;
            match status {
                200 => return Ok(serde_json::from_str(&body).expect("JSON")),
                401 => self.tokens[self.at] = None,
                // Whoever compares tables asks more often than a firewall.
                429 => std::thread::sleep(Duration::from_secs(1)),
                other => return Err(Unreachable(format!("{other} to a query"))),
            }
        }
    }

    /// One interval: to the end of the report.
    ///
    /// # Errors
    /// The server does not serve now.
    pub(crate) fn batch(&mut self) -> Result<(), Unreachable> {
        loop {
            let answer = self.ask()?;
            if answer["full"] == true {
                // The cookie of an empty table is where everything begins.
                if self.entries > 0 {
                    let cookie = self.cookie.as_deref().unwrap_or_default();
                    let server = self.servers[self.at];
                    let now = jiff::Timestamp::now();
                    self.full.push(format!("{server} at {now} to {cookie}"));
                }
                self.table.clear();
            }
            for entry in answer["report_entries"].as_array().expect("entries") {
                self.obey(entry);
            }
            self.cookie = Some(answer["cookie"].as_str().expect("a cookie").to_owned());
            self.answers += 1;
            if answer["more"] != true {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, entry: &Value) {
        self.entries += 1;
        let text = |key: &str| entry[key].as_str().unwrap_or("--").to_owned();
        let address = text("ip-address");
        if entry["activity"] == "logout" {
            self.table.remove(&address);
            return;
        }
        let mut roles: Vec<_> = (entry["roles"].as_array().into_iter().flatten())
            .map(ToString::to_string)
            .collect();
        roles.sort();
        let held = (text("user-name"), text("domain-name"), roles.join(" "));
        self.table.insert(address, held);
    }
}

/// Whoever asks a Server for everything: its table, and the cookie at the end.
#[track_caller]
pub(crate) fn everything(server: SocketAddr) -> (BTreeMap<String, Held>, String) {
    let mut srx = Srx::new(vec![server]);
    srx.batch()
        .unwrap_or_else(|error| panic!("{server}: {error:?}"));
    let cookie = srx.cookie.expect("a cookie");
    (srx.table, cookie)
}

/// Firewalls that ask again and again, each in a thread, and change servers at random.
pub(crate) struct Fleet {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Srx>>,
}

impl Fleet {
    /// So many of them.
    pub(crate) fn start(count: u64, servers: &[SocketAddr], seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|number| {
                let (srx, stop) = (Srx::new(servers.to_vec()), Arc::clone(&stop));
                let random = Random::new(seed ^ (number + 1));
                std::thread::spawn(move || follow(srx, random, &stop))
            })
            .collect();
        Self { stop, threads }
    }

    /// They ask once more, each at the server where it is or at the next that answers; returns what they have.
    pub(crate) fn end(mut self) -> Vec<Srx> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads).into_iter();
        threads
            .map(|thread| thread.join().expect("the firewall ends well"))
            .collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn follow(mut srx: Srx, mut random: Random, stop: &AtomicBool) -> Srx {
    loop {
        let ends = stop.load(Ordering::Relaxed);
        if random.below(4) == 0 {
            let server = random.below(srx.servers.len());
            srx.go_to(server);
        }
        match srx.batch() {
            Ok(()) if ends => return srx,
            Ok(()) => {}
            Err(_) => {
                let next = (srx.at + 1) % srx.servers.len();
                srx.go_to(next);
            }
        }
        std::thread::sleep(Duration::from_millis(50 + random.below(200) as u64));
    }
}
