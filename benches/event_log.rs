//! How many event records a second: decoded and interpreted on one core, beside the crate `evtx`; and read through a
//! sealed connection from a server on the same machine, beside impacket's client at the same server.
//!
//! Run by `cargo bench --bench event_log [-- --json] [--quick] [binxml] [even6]`; on a machine with more cores, `taskset -c
//! 0,1` before it makes it the two that the goals are about. `JIMS_BENCH_PYTHON` names a Python that has impacket
//! (`tests/lab/peers/requirements.txt`); without it there is no comparison, and `--json` fails. Everything is bounded, and
//! on loopback only. The server is this program as another process (`event_log serve`).
//!
//! Of the source (`producer::event_log`) the public pieces are used in its way: subscribe, ask for a batch, decode and
//! interpret it, ask for the next. Left out are the endpoint mapper, the position and the table.

#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]

#[path = "event_log/evtx_crate.rs"]
mod evtx_crate;
#[path = "../tests/common/evtx.rs"]
#[expect(dead_code, reason = "only some of its stories are told here")]
mod log;
#[path = "measure/mod.rs"]
mod measure;
#[path = "event_log/peer.rs"]
mod peer;
#[path = "../tests/common/records.rs"]
mod records;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
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
use measure::{Options, Row, Used, load, processor_time};
use tokio::sync::oneshot;

/// Records that differ.
const RECORDS: u32 = 4_000;
/// Records in a batch, if they fit.
const BATCH: usize = 800;
/// How often everything is measured; to somebody who reads, the best counts, because others use the machine too.
const TIMES: usize = 5;
/// How often all records are decoded for one measurement.
const ROUNDS: usize = 100;
/// Batches read for one measurement.
const BATCHES: usize = 100;
/// For a whole measurement through a connection.
const DEADLINE: Duration = Duration::from_secs(60);
/// What impacket reads at most, and for how many seconds.
const THEIR_RECORDS: usize = 40_000;
const THEIR_SECONDS: u32 = 4;

/// Goals: events a second, and how many times as many as evtx's and impacket's.
const DECODE_GOAL: f64 = 300_000.0;
const EVTX_GOAL: f64 = 3.0;
const SEALED_GOAL: f64 = 30_000.0;
const IMPACKET_GOAL: f64 = 20.0;

/// What is measured.
const DECODED: Row = Row::more("BinXML decoded and interpreted, one core", "events/s");
const TEXT: Row = Row::more("the same, beside evtx writing text", "events/s");
const SEALED: Row = Row::more("EVEN6 read, sealed by NTLM", "events/s");

fn main() {
    let options = Options::read(&["binxml", "even6", "serve"]);
    let records: Vec<Vec<u8>> = (0..RECORDS).map(record).collect();
    if options.parts == ["serve"] {
        return serve(&records);
    }
    let bytes: usize = records.iter().map(Vec::len).sum();
    println!(
        "{} records of 4768, 4769, 4624 (type 3) and 4776, {} bytes each; {} cores, load {}",
        records.len(),
        bytes / records.len(),
        std::thread::available_parallelism().map_or(0, usize::from),
        load(),
    );
    if options.wants("binxml") {
        decoding(&options, &records);
    }
    if options.wants("even6") {
        comparing(&options);
    }
    println!("load at the end {}", load());
}

/// What was done in some time.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    events: f64,
    megabytes: f64,
    /// Processor time, all threads together; tells what the machine's other work hides.
    used: Duration,
    /// The most memory that was resident.
    peak: Option<u64>,
}

impl Rate {
    fn new(events: usize, bytes: usize, took: Duration, used: Duration) -> Self {
        let float = |number: usize| {
            f64::from(u32::try_from(number).expect("less than four thousand million"))
        };
        Self {
            events: float(events) / took.as_secs_f64(),
            megabytes: float(bytes) / took.as_secs_f64() / 1e6,
            used,
            peak: measure::peak_of(std::process::id()),
        }
    }

    fn say(&self, options: &Options, row: Row, side: &str, note: &str) {
        let used = Used {
            cpu: Some(self.used),
            rss_bytes: self.peak,
        };
        let note = format!("{:.0} MB/s; {note}", self.megabytes);
        measure::say(options, row, side, self.events, used, &note);
    }
}

fn best(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

/// Tells somebody who reads whether the goals are reached.
fn verdict(options: &Options, (ours, goal): (f64, f64), (theirs, times): (f64, f64)) {
    let word = |reached: bool| if reached { "reached" } else { "missed" };
    if !options.json {
        println!("  goal {goal:.0} events/s: {}", word(ours >= goal));
        let ratio = ours / theirs;
        println!(
            "  {ratio:.1} times as many; goal {times}: {}",
            word(ratio >= times)
        );
    }
}

/// One of a busy domain controller's records: mostly service tickets, every fifth about a machine.
fn record(number: u32) -> Vec<u8> {
    let (head, data) = story(number);
    records::even6(&records::event(&head, &data))
}

/// What stands in a record.
fn story(number: u32) -> (records::Head<'static>, Vec<(&'static str, records::Typed)>) {
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
    (head, data)
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

/// All records again and again on one core, in turn with the crate `evtx`.
fn decoding(options: &Options, records: &[Vec<u8>]) {
    let (times, rounds) = if options.quick {
        (2, 10)
    } else {
        (TIMES, ROUNDS)
    };
    let file = evtx_crate::file(0..RECORDS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..times {
        measure::forget_peak();
        let rate = decoded(records, rounds);
        for row in [DECODED, TEXT] {
            rate.say(options, row, "jims", "decoded and interpreted");
        }
        ours.push(rate.events);
        for (result, side, row) in [
            (evtx_crate::Result::JsonValue, "evtx, values", DECODED),
            (evtx_crate::Result::Json, "evtx, JSON", TEXT),
            (evtx_crate::Result::Xml, "evtx, XML", TEXT),
        ] {
            measure::forget_peak();
            let (begun, before) = (monotonic_now(), processor_time());
            // It is some times slower: a third of the work takes long enough.
            let rounds = rounds.div_ceil(3);
            for _ in 0..rounds {
                assert_eq!(evtx_crate::read(&file, result), records.len());
            }
            let (took, used) = (monotonic_now() - begun, processor_time() - before);
            let rate = Rate::new(rounds * records.len(), rounds * file.len(), took, used);
            rate.say(options, row, side, "not interpreted");
            if row.name == DECODED.name {
                theirs.push(rate.events);
            }
        }
    }
    verdict(
        options,
        (best(&ours), DECODE_GOAL),
        (best(&theirs), EVTX_GOAL),
    );
}

fn decoded(records: &[Vec<u8>], rounds: usize) -> Rate {
    let (mut reader, mut events) = (Reader::new(), 0);
    let (begun, before) = (monotonic_now(), processor_time());
    for _ in 0..rounds {
        for batch in records.chunks(BATCH) {
            events += reader.take(batch.iter().map(Vec::as_slice));
        }
    }
    let (took, used) = (monotonic_now() - begun, processor_time() - before);
    assert!(events * 10 > rounds * records.len() * 9, "{events}");
    Rate::new(rounds * records.len(), reader.bytes, took, used)
}

/// Serves until nobody needs it: its standard input is closed.
fn serve(records: &[Vec<u8>]) {
    println!("{}", peer::start(Arc::new(replies(records))));
    let mut rest = Vec::new();
    drop(std::io::stdin().read_to_end(&mut rest));
}

/// The server in a process of its own, so that what it uses is not ours; it ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let own = std::env::current_exe().expect("this program");
        let child = Command::new(own)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("a line");
        let address = line.trim().parse().expect("an address");
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Push,
    Query,
}

/// Reads through a sealed connection, decodes and interprets.
fn reading(address: SocketAddr, delivery: Delivery, batches: usize) -> Rate {
    // As the service has it: the association and the source are tasks of one runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    measure::forget_peak();
    let measured = runtime.block_on(async {
        let (tasks, (answer, waiting)) = (Tasks::new(), oneshot::channel());
        tasks.spawn("source", async move {
            let rate = read(address, delivery, batches).await;
            answer.send(rate).expect("somebody waits");
        });
        tokio::time::timeout(DEADLINE, waiting).await
    });
    measured
        .expect("the measurement ends in time")
        .expect("it succeeds")
}

async fn read(address: SocketAddr, delivery: Delivery, batches: usize) -> Rate {
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
    for _ in 0..batches {
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

/// Reads from the server, in turn with impacket's client.
fn comparing(options: &Options) {
    let python = std::env::var_os("JIMS_BENCH_PYTHON");
    assert!(
        python.is_some() || !options.json,
        "JIMS_BENCH_PYTHON names no Python that has impacket"
    );
    let (times, batches) = if options.quick {
        (2, 20)
    } else {
        (TIMES, BATCHES)
    };
    let server = Server::start();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let asked = reading(server.address, Delivery::Query, batches);
        asked.say(
            options,
            SEALED,
            "jims",
            "asked for (QueryNext), decoded and interpreted",
        );
        ours.push(asked.events);
        if let Some(python) = &python {
            let rate = impacket(python, server.address).expect("impacket's client");
            rate.say(
                options,
                SEALED,
                "impacket",
                "asked for (QueryNext), not decoded",
            );
            theirs.push(rate.events);
        }
        if !options.json {
            let pushed = reading(server.address, Delivery::Push, batches);
            pushed.say(
                options,
                SEALED,
                "jims",
                "as it subscribes: decoded and interpreted",
            );
        }
    }
    if python.is_some() {
        verdict(
            options,
            (best(&ours), SEALED_GOAL),
            (best(&theirs), IMPACKET_GOAL),
        );
    } else {
        println!("no comparison: JIMS_BENCH_PYTHON names no Python that has impacket");
    }
}

/// One run of impacket's client.
fn impacket(python: &OsStr, address: SocketAddr) -> Result<Rate, String> {
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

/// Records, bytes, seconds, seconds of processor time, and the most memory.
fn counted(said: &str) -> Option<Rate> {
    let mut fields = said.split_whitespace();
    let records = fields.next()?.parse().ok()?;
    let bytes = fields.next()?.parse().ok()?;
    let mut seconds = || Duration::try_from_secs_f64(fields.next()?.parse().ok()?).ok();
    let rate = Rate::new(records, bytes, seconds()?, seconds()?);
    let peak = Some(fields.next()?.parse().ok()?);
    Some(Rate { peak, ..rate })
}
