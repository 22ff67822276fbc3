//! The conversation with a log, against a server in memory that answers as MS-EVEN6 says.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::log::{Calls, Log, Start};
use super::refusals::Refusals;
use super::service::{Shared, Surroundings};
use super::source::{CHANNEL, Source, SourceError};
use crate::config::{Auth, Delivery, EventSource, EventSourceKind, Proof, secret::SecretRef};
use crate::identity::Core;
use crate::identity::name::Name;
use crate::identity::policy::Policy;
use crate::identity::view::Epoch;
use crate::identity::worth::Conflict;
use crate::net::resolve::Resolver;
use crate::net::rpc::RpcError;
use crate::runtime::clock::utc_now;
use crate::runtime::report::{Kind, Report, Reports};
use crate::runtime::supervisor::Tasks;
use crate::wire::even6::opnum;
use crate::wire::ndr::{ContextHandle, Writer};
use crate::wire::windows::FileTime;
use crate::writer::{Writer as TableWriter, WriterParts};
use records::Typed;

#[path = "../../../tests/common/records.rs"]
mod records;

const HOST: &str = "dc1.corp.example.com";

/// A log in memory, and how its server behaves.
#[derive(Default)]
struct Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Result-set entries, by number from `oldest` on.
    entries: Vec<Vec<u8>>,
    oldest: u64,
    /// The next number that a subscription or query gives.
    next: u64,
    refuse: Vec<(u16, u32)>,
    /// The text of the last registration.
    last_query: String,
}

impl Server {
    fn with(records: u64) -> Arc<Self> {
        let server = Self::default();
        server.state.lock().oldest = 1;
        for number in 1..=records {
            server.write(number);
        }
        Arc::new(server)
    }

    fn write(&self, number: u64) {
        let time = FileTime::from_unix_millis(utc_now().0 - 1000)
            .expect("a time")
            .0;
        let text = |value: &str| Typed::Text(value.to_owned());
        let entry = records::record(
            4768,
            number,
            time,
            HOST,
            &[
                ("TargetUserName", text(&format!("user{number}"))),
                ("TargetDomainName", text("CORP.EXAMPLE.COM")),
                ("Status", Typed::Hex32(0)),
                (
                    "IpAddress",
                    text(&format!("10.1.{}.{}", number / 250, number % 250 + 1)),
                ),
            ],
        );
        self.state.lock().entries.push(entry);
    }

    fn wrap(&self, keep: usize) {
        let mut state = self.state.lock();
        let gone = state.entries.len() - keep;
        state.entries.drain(..gone);
        state.oldest += u64::try_from(gone).expect("small");
    }
}

impl State {
    fn register(&mut self, stub: &[u8], opnum: u16) -> Vec<u8> {
        let units: Vec<u16> = stub
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        let text = String::from_utf16_lossy(&units);
        let number = |key: &str| {
            let (_, rest) = text.split_once(key)?;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        };
        let after = number("RecordId='").or_else(|| number("EventRecordID>"));
        self.last_query.clone_from(&text);
        let strict = opnum == opnum::REGISTER_SUBSCRIPTION && after.is_some();
        let status = match after {
            Some(after) if strict && after + 1 < self.oldest => 0x3aa3,
            _ => 0,
        };
        self.next = after.map_or(self.oldest, |after| (after + 1).max(self.oldest));
        let mut reply = Writer::new();
        reply
            .handle(&ContextHandle([1; 20]))
            .handle(&ContextHandle([2; 20]));
        reply.u32(0).pointer(false).u32(0).u32(0).u32(0).u32(status);
        reply.into_bytes()
    }

    /// How many records there are, or the number of the oldest.
    fn info(&self, property: u8) -> Vec<u8> {
        let value = match property {
            5 => u64::try_from(self.entries.len()).expect("small"),
            _ => self.oldest,
        };
        let mut variant = value.to_le_bytes().to_vec();
        variant.extend([0; 8]);
        let mut reply = Writer::new();
        reply.conformant_bytes(&variant).u32(16).u32(0);
        reply.into_bytes()
    }

    /// At most ten records.
    fn batch(&mut self) -> Vec<u8> {
        let from = usize::try_from(self.next - self.oldest).expect("small");
        let entries: Vec<Vec<u8>> = self.entries.iter().skip(from).take(10).cloned().collect();
        self.next += u64::try_from(entries.len()).expect("small");
        let mut reply = Writer::new();
        if entries.is_empty() {
            reply
                .u32(0)
                .pointer(false)
                .pointer(false)
                .u32(0)
                .pointer(false)
                .u32(1460);
            return reply.into_bytes();
        }
        let sizes: Vec<u32> = entries
            .iter()
            .map(|e| u32::try_from(e.len()).expect("small"))
            .collect();
        let offsets: Vec<u32> = sizes
            .iter()
            .scan(0, |at, size| {
                let here = *at;
                *at += size;
                Some(here)
            })
            .collect();
        let buffer = entries.concat();
        reply.length(entries.len());
        reply.pointer(true).conformant_u32s(&offsets);
        reply.pointer(true).conformant_u32s(&sizes);
        reply
            .length(buffer.len())
            .pointer(true)
            .conformant_bytes(&buffer);
        reply.u32(0);
        reply.into_bytes()
    }
}

impl Calls for Arc<Server> {
    async fn call(
        &self,
        opnum: u16,
        stub: Vec<u8>,
        _deadline: Option<Duration>,
    ) -> Result<Vec<u8>, RpcError> {
        {
            let mut state = self.state.lock();
            let refused = state
                .refuse
                .iter()
                .find(|(number, _)| *number == opnum)
                .copied();
            if refused.is_some() && opnum == opnum::SUBSCRIPTION_NEXT {
                // Cut short, as by a connection that breaks.
                return Ok(Vec::new());
            }
            if let Some((_, status)) = refused {
                let mut reply = Writer::new();
                reply
                    .handle(&ContextHandle::default())
                    .handle(&ContextHandle::default());
                reply.u32(0).pointer(false).u32(0).u32(0).u32(0).u32(status);
                return Ok(reply.into_bytes());
            }
            match opnum {
                opnum::REGISTER_SUBSCRIPTION | opnum::REGISTER_QUERY => {
                    return Ok(state.register(&stub, opnum));
                }
                opnum::CLOSE => {
                    let mut reply = Writer::new();
                    reply.handle(&ContextHandle::default()).u32(0);
                    return Ok(reply.into_bytes());
                }
                opnum::OPEN_LOG => {
                    let mut reply = Writer::new();
                    reply.handle(&ContextHandle([3; 20]));
                    reply.u32(0).u32(0).u32(0).u32(0);
                    return Ok(reply.into_bytes());
                }
                opnum::LOG_INFO => return Ok(state.info(stub[20])),
                opnum::SUBSCRIPTION_NEXT | opnum::QUERY_NEXT => return Ok(state.batch()),
                _ => {}
            }
        }
        // A push is held until something is there.
        loop {
            {
                let mut state = self.state.lock();
                let end = state.oldest + u64::try_from(state.entries.len()).expect("small");
                if state.next < end {
                    return Ok(state.batch());
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A source over a table of its own.
struct Bench {
    source: Source,
    report: Arc<Report>,
    parts: WriterParts,
}

fn configured(delivery: Delivery) -> EventSource {
    EventSource {
        name: "dc1".into(),
        kind: EventSourceKind::DomainController,
        domain: Name::new("corp.example.com").expect("a name"),
        host: HOST.into(),
        port: 135,
        auth: Auth::Ntlm,
        kdc: Vec::new(),
        user: "svc".into(),
        proof: Proof::Password(SecretRef::Env("NOBODY".into())),
        catch_up: Duration::from_secs(3600),
        delivery,
        networks: Vec::new(),
        domains: Vec::new(),
        conflict: Conflict::default(),
    }
}

impl Bench {
    fn new(delivery: Delivery) -> Self {
        let policy = Policy {
            logoff_time: Duration::from_secs(3600),
            ..Policy::default()
        };
        let (writer, parts) = TableWriter::new(Core::new(Epoch(1), policy), Reports::default());
        let tasks = Tasks::new();
        tasks.spawn("writer", async move {
            writer
                .run(CancellationToken::new())
                .await
                .expect("no panic");
        });
        Self::again(delivery, parts)
    }

    /// As after a restart: a new source over the same table.
    fn again(delivery: Delivery, parts: WriterParts) -> Self {
        let report = Report::new(Kind::EventLog, "dc1");
        let shared = Shared {
            surroundings: Surroundings {
                intake: parts.intake.clone(),
                reader: parts.reader.clone(),
                reports: parts.reports.clone(),
                tasks: Tasks::new(),
                resolver: Resolver::default(),
            },
            connecting: Arc::new(Semaphore::new(1)),
            refusals: Refusals::default(),
        };
        let source = Source::new(
            configured(delivery),
            shared,
            Arc::clone(&report),
            Tasks::new(),
        );
        Self {
            source,
            report,
            parts,
        }
    }

    /// Reads until the table has so many sessions.
    async fn reads(&mut self, server: &Arc<Server>, delivery: Delivery, sessions: usize) {
        let log = Log::new(server, HOST, CHANNEL);
        let reader = self.parts.reader.clone();
        let enough = async {
            while reader.read().totals().sessions < sessions {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = self.source.deliver(&log, delivery) => panic!("{ended:?}"),
            () = enough => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => {
                panic!("{} sessions", reader.read().totals().sessions)
            }
        }
    }
}

#[tokio::test]
async fn every_way_of_delivery_reads_all_and_goes_on_from_its_position() {
    for delivery in [Delivery::Push, Delivery::Pull, Delivery::Query] {
        let server = Server::with(25);
        let mut bench = Bench::new(delivery);
        bench.reads(&server, delivery, 25).await;
        assert_eq!(bench.report.read().received, 25, "{delivery:?}");
        for number in 26..=30 {
            server.write(number);
        }
        let mut bench = Bench::again(delivery, bench.parts);
        bench.reads(&server, delivery, 30).await;
        assert_eq!(
            bench.report.read().received,
            5,
            "only what is new: {delivery:?}"
        );
        let state = server.state.lock();
        assert!(
            state.last_query.contains("RecordId='25'")
                || state.last_query.contains("EventRecordID>"),
            "{}",
            state.last_query
        );
    }
}

#[tokio::test]
async fn a_wrapped_log_is_read_from_what_is_left_and_the_gap_is_told() {
    let server = Server::with(20);
    let mut bench = Bench::new(Delivery::Push);
    bench.reads(&server, Delivery::Push, 20).await;
    for number in 21..=50 {
        server.write(number);
    }
    server.wrap(5);
    let mut bench = Bench::again(Delivery::Push, bench.parts);
    bench.reads(&server, Delivery::Push, 25).await;
    let reading = bench.report.read();
    let fault = reading.fault.expect("a fault").message;
    assert!(fault.starts_with("events were lost between"), "{fault}");
    assert!(
        fault.contains("(record 20)") && fault.contains("(record 46)"),
        "{fault}"
    );
    assert_eq!(reading.noted.get("gap"), Some(&1));
}

#[tokio::test]
async fn what_the_server_sends_again_is_not_applied_again() {
    let server = Server::with(10);
    let mut bench = Bench::new(Delivery::Pull);
    bench.reads(&server, Delivery::Pull, 10).await;
    {
        let mut state = server.state.lock();
        let copy = state.entries[3].clone();
        state.entries.push(copy);
    }
    server.write(11);
    bench.reads(&server, Delivery::Pull, 11).await;
    let reading = bench.report.read();
    assert_eq!(reading.noted.get("repeated"), Some(&1), "{reading:?}");
}

#[tokio::test]
async fn a_refused_delivery_and_a_refused_account_are_told_apart() {
    let server = Server::with(1);
    let log = Log::new(&server, HOST, CHANNEL);
    for (status, refuses, remedy) in [
        (50, true, "event log"),
        (5, false, "Event Log Readers"),
        (15_007, false, "syslog"),
    ] {
        server.state.lock().refuse = vec![(opnum::REGISTER_SUBSCRIPTION, status)];
        let refused = log
            .subscribe(
                EventSourceKind::DomainController,
                Start::Now,
                Delivery::Push,
            )
            .await
            .expect_err("refused");
        assert_eq!(refused.refuses_delivery(), refuses, "{status}");
        assert!(refused.remedy().contains(remedy), "{}", refused.remedy());
        assert!(refused.to_string().contains(HOST), "{refused}");
        let error = SourceError::from(refused);
        assert!(!error.to_string().is_empty());
    }
}

#[tokio::test]
async fn a_connection_lost_right_after_a_gap_does_not_shorten_what_is_read_back() {
    let server = Server::with(20);
    let mut bench = Bench::new(Delivery::Pull);
    bench.reads(&server, Delivery::Pull, 20).await;
    for number in 21..=50 {
        server.write(number);
    }
    server.wrap(5);
    server.state.lock().refuse = vec![(opnum::SUBSCRIPTION_NEXT, 1722)];
    let mut bench = Bench::again(Delivery::Pull, bench.parts);
    let log = Log::new(&server, HOST, CHANNEL);
    let ended = bench.source.deliver(&log, Delivery::Pull).await;
    assert!(ended.is_err(), "{ended:?}");
    server.state.lock().refuse.clear();
    bench.reads(&server, Delivery::Pull, 25).await;
    let query = server.state.lock().last_query.clone();
    assert!(
        !query.contains("<=3600000"),
        "not the first start's past: {query}"
    );
    assert!(query.contains("timediff"), "{query}");
}
