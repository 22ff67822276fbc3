//! How many event records a second: decoded and interpreted on one core, read through a sealed connection from a server
//! on the same machine, and read by impacket's client from the same server.
//!
//! Run by `cargo bench --bench event_log`; on a machine with more cores, `taskset -c 0,1` before it makes it the two
//! that the goals are about. `JIMS_BENCH_PYTHON` names a Python that has impacket (`tests/lab/peers/requirements.txt`);
//! without it there is no comparison. Everything is bounded, and on loopback only.
//!
//! Of the source (`producer::event_log`) the public pieces are used in its way: subscribe, ask for a batch, decode and
//! interpret it, ask for the next. Left out are the endpoint mapper, the position and the table.

#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]

#[path = "../tests/common/evtx.rs"]
#[expect(dead_code, reason = "only its stories are told here, not the file")]
mod log;
#[path = "event_log/peer.rs"]
mod peer;
#[path = "../tests/common/records.rs"]
mod records;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jims::config::EventSourceKind;
use jims::identity::event::IdentityEvent;
use jims::identity::name::Name;
use jims::identity::worth::Conflict;
use jims::net::resolve::Resolver;
use jims::net::rpc::{Connection, Request, RpcClient};
use jims::net::security::{Credentials, Kdcs, Method, Negotiation, Proof, Purpose, Target};
use jims::producer::event_log::interpret::{Settings, interpret};
use jims::runtime::clock::{monotonic_now, utc_now};
use jims::runtime::supervisor::Tasks;
use jims::wire::binxml::Decoder;
use jims::wire::even6::{self, MAX_BATCH_BYTES, MAX_RECORDS, MAX_REPLY_BYTES, flag, opnum};
use jims::wire::even6::{reply, request};
use jims::wire::ndr::Writer;
use tokio::sync::oneshot;

/// Records that differ.
const RECORDS: u32 = 4_000;
/// Records in a batch, if they fit.
const BATCH: usize = 800;
/// How often everything is measured; the best counts, because others use the machine too.
const TIMES: usize = 5;
/// How often all records are decoded for one measurement.
const ROUNDS: usize = 100;
/// Batches read for one measurement.
const BATCHES: usize = 100;
/// For a whole measurement through a connection.
const DEADLINE: Duration = Duration::from_secs(60);
/// What impacket reads at most, and for how many seconds.
const THEIR_RECORDS: usize = 40_000;
const THEIR_SECONDS: u32 = 10;
/// How often; the best counts here too.
const THEIR_TIMES: usize = 2;

/// Goals: events a second, and how many times as many as impacket's.
const DECODE_GOAL: f64 = 300_000.0;
const SEALED_GOAL: f64 = 30_000.0;
const RATIO_GOAL: f64 = 20.0;

fn main() {
    let records: Vec<Vec<u8>> = (0..RECORDS).map(record).collect();
    let bytes: usize = records.iter().map(Vec::len).sum();
    println!(
        "{} records of 4768, 4769, 4624 (type 3) and 4776, {} bytes each; {} cores, load {}",
        records.len(),
        bytes / records.len(),
        std::thread::available_parallelism().map_or(0, usize::from),
        load(),
    );
    decoding(&records);
    let replies = replies(&records);
    let address = peer::start(Arc::new(replies));
    let pushed = reading(address, Delivery::Push);
    let queried = reading(address, Delivery::Query);
    println!("  goal {SEALED_GOAL:.0}: {}", verdict(pushed, SEALED_GOAL));
    comparing(address, queried);
    println!("load at the end {}", load());
}

/// What was done in some time.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    events: f64,
    megabytes: f64,
    /// Microseconds of processor time for one event, all threads together; tells what the machine's other work hides.
    cost: f64,
}

impl Rate {
    fn new(events: usize, bytes: usize, took: Duration, used: Duration) -> Self {
        let float = |number: usize| {
            f64::from(u32::try_from(number).expect("less than four thousand million"))
        };
        Self {
            events: float(events) / took.as_secs_f64(),
            megabytes: float(bytes) / took.as_secs_f64() / 1e6,
            cost: used.as_secs_f64() * 1e6 / float(events),
        }
    }

    fn best(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |best, one| {
            if one.events > best.events { one } else { best }
        })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            events,
            megabytes,
            cost,
        } = self;
        write!(
            f,
            "{events:.0} events/s, {megabytes:.1} MB/s, {cost:.1} µs of CPU an event"
        )
    }
}

fn verdict(rate: Rate, goal: f64) -> &'static str {
    if rate.events >= goal {
        "reached"
    } else {
        "missed"
    }
}

/// One of a busy domain controller's records: mostly service tickets, every fifth about a machine.
fn record(number: u32) -> Vec<u8> {
    let user = match number % 5 {
        4 => format!("PC-{:04}$", number % 1_931),
        _ => format!("first{}.last{}", number % 97, number % 1_931),
    };
    let workstation = format!("PC-{:04}", number % 1_931);
    let address = format!("10.{}.{}.7", number % 31, number % 251);
    let mapped = format!("::ffff:{address}");
    let principal = format!("{user}@CORP.EXAMPLE.COM");
    let (event_id, data) = match number % 19 {
        0..4 => (4768, log::ticket(&user, 0, &mapped)),
        4..12 => (
            4769,
            log::service_ticket(&principal, "cifs/files.corp.example.com", &mapped),
        ),
        12..17 => (4624, log::logon(&user, 3, &address, &workstation)),
        _ => (4776, log::validation(&user, &workstation, 0)),
    };
    let head = records::Head {
        event_id,
        record_id: 1_000_000 + u64::from(number),
        time: 134_169_120_000_000_000 + 10_000_000 * u64::from(number),
        computer: "dc1.corp.example.com",
        success: true,
    };
    records::even6(&records::event(&head, &data))
}

/// The results of calls for records, as the server sends them.
fn replies(all: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    let (mut indices, mut sizes, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
    let number = |length: usize| u32::try_from(length).expect("a batch is short");
    for (index, record) in all.iter().enumerate() {
        let entry = records::entry(record);
        indices.push(number(buffer.len()));
        sizes.push(number(entry.len()));
        buffer.extend(&entry);
        let is_last = index + 1 == all.len();
        if is_last || indices.len() == BATCH || buffer.len() + 2 * entry.len() > MAX_BATCH_BYTES {
            let mut stub = Writer::new();
            stub.length(indices.len())
                .pointer(true)
                .conformant_u32s(&indices)
                .pointer(true)
                .conformant_u32s(&sizes)
                .length(buffer.len())
                .pointer(true)
                .conformant_bytes(&buffer)
                .u32(0);
            replies.push(stub.into_bytes());
            indices.clear();
            sizes.clear();
            buffer.clear();
        }
    }
    replies
}

/// Decodes and interprets as a source does.
struct Reader {
    decoder: Decoder,
    settings: Settings,
    bytes: usize,
}

impl Reader {
    fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            settings: Settings {
                producer: "dc1".into(),
                kind: EventSourceKind::DomainController,
                domain: Name::new("corp.example.com").expect("a name"),
                skew: 0,
                conflict: Conflict::default(),
            },
            bytes: 0,
        }
    }

    /// The events of a batch; how many there are.
    fn take<'r>(&mut self, records: impl ExactSizeIterator<Item = &'r [u8]>) -> usize {
        let received_at = utc_now();
        let mut events: Vec<IdentityEvent> = Vec::with_capacity(records.len());
        for bytes in records {
            self.bytes += bytes.len();
            let record = self.decoder.record(bytes).expect("a record");
            // A machine's 4776 names nobody.
            events.extend(interpret(&self.settings, &record, received_at));
        }
        std::hint::black_box(&events).len()
    }
}

fn decoding(records: &[Vec<u8>]) {
    let mut events = 0;
    let best = Rate::best((0..TIMES).map(|_| {
        let mut reader = Reader::new();
        events = 0;
        let (begun, before) = (monotonic_now(), processor_time());
        for _ in 0..ROUNDS {
            for batch in records.chunks(BATCH) {
                events += reader.take(batch.iter().map(Vec::as_slice));
            }
        }
        let took = monotonic_now() - begun;
        let used = processor_time() - before;
        Rate::new(ROUNDS * records.len(), reader.bytes, took, used)
    }));
    assert!(events * 10 > ROUNDS * records.len() * 9, "{events}");
    println!("decoded and interpreted on one core: {best}");
    println!("  goal {DECODE_GOAL:.0}: {}", verdict(best, DECODE_GOAL));
}

/// How records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Push,
    Query,
}

/// Reads through a sealed connection, decodes and interprets.
fn reading(address: SocketAddr, delivery: Delivery) -> Rate {
    // As the service has it: the association and the source are tasks of one runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let best = Rate::best((0..TIMES).map(|_| {
        let measured = runtime.block_on(async {
            let (tasks, (answer, waiting)) = (Tasks::new(), oneshot::channel());
            tasks.spawn("source", async move {
                let rate = read(address, delivery).await;
                answer.send(rate).expect("somebody waits");
            });
            tokio::time::timeout(DEADLINE, waiting).await
        });
        measured
            .expect("the measurement ends in time")
            .expect("it succeeds")
    }));
    println!(
        "sealed by NTLM, {delivery:?}, decoded and interpreted, server on the same cores: {best}"
    );
    best
}

async fn read(address: SocketAddr, delivery: Delivery) -> Rate {
    let tasks = Tasks::new();
    let client = sign_on(address, &tasks).await;
    let (register, next) = match delivery {
        Delivery::Push => (
            request::register_subscription("Security", "*", None, flag::FUTURE),
            opnum::SUBSCRIPTION_NEXT_ASYNC,
        ),
        Delivery::Query => (
            request::register_query("Security", "*", flag::CHANNEL | flag::FORWARD),
            opnum::QUERY_NEXT,
        ),
    };
    let register_opnum = match delivery {
        Delivery::Push => opnum::REGISTER_SUBSCRIPTION,
        Delivery::Query => opnum::REGISTER_QUERY,
    };
    let answer = call(&client, register_opnum, register).await;
    let registered = reply::registered(&answer).expect("registered");
    let most = u32::try_from(MAX_RECORDS).expect("it fits");
    let mut reader = Reader::new();
    let (mut records, mut events) = (0, 0);
    let (begun, before) = (monotonic_now(), processor_time());
    for _ in 0..BATCHES {
        let stub = match delivery {
            Delivery::Push => request::subscription_next_async(&registered.handle, most),
            Delivery::Query => request::query_next(&registered.handle, most, 5_000),
        };
        let batch = reply::batch(call(&client, next, stub).await).expect("a batch");
        records += batch.len();
        events += reader.take(batch.records());
    }
    let (took, used) = (monotonic_now() - begun, processor_time() - before);
    assert!(events * 10 > records * 9, "{events} of {records}");
    drop(client);
    tasks.finish(DEADLINE).await;
    Rate::new(records, reader.bytes, took, used)
}

async fn sign_on(address: SocketAddr, tasks: &Tasks) -> RpcClient {
    let resolver = Resolver::default();
    let host = address.ip().to_string();
    let connection = Connection::open(&resolver, &host, address.port())
        .await
        .expect("a connection");
    let credentials = Credentials {
        user: format!("{}\\{}", peer::DOMAIN, peer::USER),
        domain: "corp.example.com".to_owned(),
        proof: Proof::Password(peer::PASSWORD.to_owned().into()),
    };
    let kdcs = Kdcs::new(&resolver, "corp.example.com", &[], host.as_str());
    let target = Target {
        service: "host",
        host,
    };
    let negotiation = Negotiation::new(Method::Ntlm, &credentials, &target, &Purpose::Rpc, kdcs)
        .expect("a negotiation");
    connection
        .bind(tasks, even6::INTERFACE, negotiation)
        .await
        .expect("signed on")
}

async fn call(client: &RpcClient, opnum: u16, stub: Vec<u8>) -> Vec<u8> {
    let request = Request {
        context: 0,
        opnum,
        object: None,
        stub,
        deadline: Some(DEADLINE),
        limit: MAX_REPLY_BYTES,
    };
    client.call(request).await.expect("an answer")
}

/// Has impacket's client read from the same server.
fn comparing(address: SocketAddr, ours: Rate) {
    let Some(python) = std::env::var_os("JIMS_BENCH_PYTHON") else {
        println!("no comparison: JIMS_BENCH_PYTHON names no Python that has impacket");
        return;
    };
    let mut best = Rate::default();
    for _ in 0..THEIR_TIMES {
        match theirs(&python, address) {
            Ok(rate) => best = Rate::best([best, rate].into_iter()),
            Err(error) => return println!("no comparison: impacket's client failed: {error}"),
        }
    }
    let ratio = ours.events / best.events;
    println!("impacket, sealed by NTLM, Query, not decoded, same server: {best} (its own)");
    let verdict = if ratio >= RATIO_GOAL {
        "reached"
    } else {
        "missed"
    };
    println!(
        "  jims reads, decodes and interprets {ratio:.1} times as many; goal {RATIO_GOAL}: {verdict}"
    );
}

/// One run of impacket's client.
fn theirs(python: &OsStr, address: SocketAddr) -> Result<Rate, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/impacket_client.py");
    let output = Command::new(python)
        .arg(script)
        .args([address.ip().to_string(), address.port().to_string()])
        .args([peer::USER, peer::DOMAIN, peer::PASSWORD])
        .args([THEIR_RECORDS.to_string(), THEIR_SECONDS.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    counted(&said).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Records, bytes, seconds, and seconds of processor time.
fn counted(said: &str) -> Option<Rate> {
    let mut fields = said.split_whitespace();
    let records = fields.next()?.parse().ok()?;
    let bytes = fields.next()?.parse().ok()?;
    let mut seconds = || Duration::try_from_secs_f64(fields.next()?.parse().ok()?).ok();
    Some(Rate::new(records, bytes, seconds()?, seconds()?))
}

/// What all threads of the process have used, to a hundredth of a second.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // proc_pid_stat(5): user time is field 14, system time 15; the first after the name is 3.
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks = ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>();
    Duration::from_millis(10).saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// What else runs: the system's load of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
