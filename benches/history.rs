//! The history on disk: bytes a session, sessions written a second, and how long `--at` and the last sessions of an address
//! take, beside what an operator has without it: `grep` over the same sessions as lines of JSON.
//!
//! `cargo bench --bench history` (2,000,000 sessions; another number as the first argument). Both sides read files that
//! were just written, so from memory.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark is run to be read on a terminal"
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jims::history::{History, Limits, Whom};
use jims::identity::ended::{Ended, Held};
use jims::identity::event::Strength;
use jims::identity::outcome::EndReason;
use jims::identity::state::SubjectKind;
use jims::identity::time::UtcMillis;
use jims::runtime::clock;
use jims::runtime::supervisor::Tasks;
use jims::writer::EndedQueue;
use tokio_util::sync::CancellationToken;

/// Sessions, unless the command line says otherwise.
const SESSIONS: u64 = 2_000_000;

/// Sessions handed over at once.
const PIECE: u64 = 50_000;

/// Users and addresses that they are at.
const USERS: u64 = 200_000;

/// Searches that are timed; the median counts.
const ROUNDS: usize = 5;

fn main() {
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let number = number.unwrap_or(SESSIONS);
    let folder = std::env::temp_dir().join(format!("jims-history-bench.{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(compare(&folder, number));
    fs::remove_dir_all(&folder).expect("the folder goes");
}

async fn compare(folder: &Path, number: u64) {
    let begin = UtcMillis(clock::utc_now().0 - 20 * 86_400_000);
    let lines = folder.join("sessions.jsonl");
    let history = folder.join("history");
    fs::create_dir_all(folder).expect("a folder");
    let kept = Kept::begin(&history);
    let written = kept.write(begin, number).await;
    let bytes = size(&history);
    write_lines(&lines, begin, number);
    let lines_bytes = fs::metadata(&lines).expect("lines").len();
    println!("{number} sessions that ended, {USERS} users");
    println!(
        "  history  {:>6.1} bytes a session, {:>9.0} sessions/s written",
        per(bytes, number),
        number as f64 / written.as_secs_f64()
    );
    println!(
        "  lines    {:>6.1} bytes a session (JSON)",
        per(lines_bytes, number)
    );
    let reader = &kept.history;
    let wanted = address(USERS / 3);
    let early = UtcMillis(begin.0 + 1);
    let mut at = Vec::new();
    let mut last = Vec::new();
    let mut grep = Vec::new();
    for _ in 0..ROUNDS {
        at.push(timed(async { reader.at(Whom::At(wanted), early).await.ended.len() }).await);
        last.push(timed(reader.ended_of(Whom::At(wanted), 10)).await);
        let begun = clock::monotonic_now();
        let pattern = format!("\"address\":\"{wanted}\"");
        let found = Command::new("grep")
            .args(["-c", "-F", &pattern])
            .arg(&lines)
            .output();
        assert!(found.expect("grep runs").status.success(), "grep finds it");
        grep.push(since(begun));
    }
    let (at, last, grep) = (median(at), median(last), median(grep));
    println!(
        "  --at over all of it {:>7.0} ms ({:.0} MB/s, {:.1} million sessions/s); 1 GiB would take {:.1} s",
        millis(at),
        bytes as f64 / 1e6 / at.as_secs_f64(),
        number as f64 / 1e6 / at.as_secs_f64(),
        at.as_secs_f64() * (1u64 << 30) as f64 / bytes as f64
    );
    println!("  last ten of an address {:>4.0} ms", millis(last));
    println!(
        "  grep over the lines  {:>6.0} ms ({:.0} MB/s): --at takes {:.2} times as long",
        millis(grep),
        lines_bytes as f64 / 1e6 / grep.as_secs_f64(),
        at.as_secs_f64() / grep.as_secs_f64()
    );
    kept.end().await;
}

/// A history that runs as in the service.
struct Kept {
    history: History,
    queue: EndedQueue,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Kept {
    fn begin(folder: &Path) -> Self {
        let limits = Limits {
            max_age: Duration::from_secs(86_400 * 365),
            max_size: u64::MAX,
        };
        let queue = EndedQueue::default();
        let kept = Self {
            history: History::new(folder.to_owned(), queue.clone(), Some(limits)),
            queue,
            tasks: Tasks::new(),
            stop: CancellationToken::new(),
        };
        let running = kept.history.clone().run(None, kept.stop.clone());
        kept.tasks.spawn("history", running);
        kept
    }

    /// Hands over the sessions; how long it took until they were written.
    async fn write(&self, begin: UtcMillis, number: u64) -> Duration {
        let begun = clock::monotonic_now();
        for piece in (0..number).step_by(usize::try_from(PIECE).expect("small")) {
            let end = (piece + PIECE).min(number);
            self.queue
                .push((piece..end).map(|n| session(begin, n)).collect());
            self.history.flush().await;
        }
        since(begun)
    }

    async fn end(self) {
        self.stop.cancel();
        assert!(self.tasks.finish(Duration::from_secs(60)).await.is_empty());
    }
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("segments");
    let sizes = files.map(|file| file.expect("a file").metadata().expect("its size").len());
    sizes.sum()
}

fn write_lines(path: &Path, begin: UtcMillis, number: u64) {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    for n in 0..number {
        let ended = session(begin, n);
        let line = serde_json::json!({
            "address": ended.address.to_string(),
            "user": format!("{}\\{}", ended.domain, ended.name),
            "since": ended.since.0,
            "ended": ended.ended.0,
            "reason": ended.word(),
            "by": ended.by.as_str(),
            "producer": &*ended.evidence.producer,
            "record": ended.evidence.record.as_str(),
            "occurred_at": ended.evidence.occurred_at.0,
        });
        writeln!(out, "{line}").expect("written");
    }
    out.flush().expect("written");
}

fn session(begin: UtcMillis, n: u64) -> Ended {
    let user = n.wrapping_mul(7919) % USERS;
    let at = |millis: u64| UtcMillis(begin.0 + i64::try_from(millis).expect("in range"));
    let since = n * 20;
    Ended {
        address: address(user),
        kind: SubjectKind::User,
        domain: "corp.example.com".into(),
        name: format!("user{user:06}").into(),
        device: Some(format!("corp.example.com\\WS-{user:06}$").into()),
        since: at(since),
        until: at(since + 3_600_000),
        ended: at(since + 3_600_500),
        reason: Some(EndReason::Logoff),
        by: "vpn".into(),
        by_record: "juniper-secure-connect/down".into(),
        next: None,
        evidence: Held {
            producer: "dc1".into(),
            record: format!("4768 #{n}").into(),
            occurred_at: at(since + 1_800_000),
            received_at: at(since + 1_800_084),
            strength: Strength::Strong,
        },
    }
}

fn address(user: u64) -> IpAddr {
    let number = u32::try_from(user).expect("small") + 0x0a00_0100;
    IpAddr::from(number.to_be_bytes())
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let begun = clock::monotonic_now();
    work.await;
    since(begun)
}

fn since(begun: Instant) -> Duration {
    clock::monotonic_now().saturating_duration_since(begun)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn per(bytes: u64, number: u64) -> f64 {
    bytes as f64 / number as f64
}
