//! What 2,000 enforcement points cost: the real binary, every point with an address, a client id, a secret and a
//! kept-alive TLS connection of its own, a batch query every 5 s, while 50 sessions a second change in a table of 200,000.
//!
//! Run by `cargo bench --bench enforcement [-- --seconds 60 --points 2000 --sessions 200000 --full 16]`. Then the same
//! points ask a handler that answers by heart with as many bytes (`enforcement/baseline.rs`): what is more than that is
//! ours. The clients share the machine's cores with what they measure, and the load is told. One error ends the run with
//! status 1. On loopback only; needs a file descriptor for each point on each side.

#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]
#![expect(
    clippy::disallowed_methods,
    reason = "the simulated points are tasks, and the baseline listens by itself"
)]

#[path = "enforcement/baseline.rs"]
mod baseline;
#[path = "enforcement/point.rs"]
mod point;
#[path = "enforcement/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use baseline::Baseline;
use jims::runtime::clock::{monotonic_now, utc_now};
use point::{Batch, Point, Target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use site::{Site, Syslog};
use tokio::task::JoinSet;

/// How often a point asks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Sessions that change in a second.
const CHANGES_PER_SECOND: u32 = 50;
/// File descriptors besides those of the points.
const OTHER_FILES: u64 = 500;
/// The goal for the 99th percentile of steady polls.
const GOAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
struct Options {
    seconds: u64,
    points: u32,
    sessions: u32,
    /// Points that begin from 0; the others begin now, as after a clean restart.
    full: u32,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == baseline::ROLE)
    {
        baseline::serve(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    let options = options(&arguments);
    if let Err(why) = raise_file_limit(u64::from(options.points) + OTHER_FILES) {
        println!("cannot measure: {why}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if runtime.block_on(measure(options)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn options(arguments: &[String]) -> Options {
    let number = |name: &str, otherwise: u32| {
        let given = arguments.iter().position(|a| a == name);
        let given = given.and_then(|at| arguments.get(at + 1));
        given.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    Options {
        seconds: u64::from(number("--seconds", 60)),
        points: number("--points", 2_000),
        sessions: number("--sessions", 200_000),
        full: number("--full", 16),
    }
}

/// Both sides inherit it.
fn raise_file_limit(needed: u64) -> Result<(), String> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, raised).map_err(|e| format!("the limit of open files: {e}"))?;
    if hard.is_some_and(|hard| hard < needed) {
        return Err(format!(
            "needs {needed} open files; the hard limit is {hard:?}"
        ));
    }
    Ok(())
}

/// Whether all went well.
async fn measure(options: Options) -> bool {
    println!(
        "{} points every {INTERVAL:?}, {} sessions, {CHANGES_PER_SECOND} changes/s, {} s; {} cores, load {}",
        options.points,
        options.sessions,
        options.seconds,
        std::thread::available_parallelism().map_or(0, usize::from),
        load()
    );
    let site = tokio::task::spawn_blocking(move || {
        let mut site = Site::start(options.points);
        let begun = monotonic_now();
        site.fill(options.sessions);
        println!("table filled by syslog over TCP in {:?}", begun.elapsed());
        site
    });
    let site = site.await.expect("the Server runs");
    let target = target(&site, SocketAddr::from((site::ADDRESS, site::PORT)));
    let stop = Arc::new(AtomicBool::new(false));
    let changing = Arc::clone(&stop);
    let changes = tokio::task::spawn_blocking(move || keep_changing(options.sessions, &changing));

    let ours = poll(&target, site.pid(), options, true).await;
    ours.print("jims");
    stop.store(true, Ordering::Relaxed);
    let changed = changes.await.expect("the feed runs");
    println!("  {changed} sessions changed meanwhile; load {}", load());

    let size = ours.median_bytes();
    let baseline = Baseline::start(&site.certificate(), size);
    let target = Target {
        address: baseline.address,
        ..target
    };
    let shorter = Options {
        seconds: options.seconds.div_ceil(2),
        full: 0,
        ..options
    };
    let theirs = poll(&target, baseline.pid(), shorter, false).await;
    theirs.print(&format!(
        "baseline (axum and rustls, {size} bytes by heart)"
    ));
    println!(
        "jims / baseline: p50 {:.2}, p99 {:.2}, processor time for a request {:.2}",
        ratio(ours.steady_quantile(50), theirs.steady_quantile(50)),
        ratio(ours.steady_quantile(99), theirs.steady_quantile(99)),
        ours.processor_per_request() / theirs.processor_per_request()
    );
    let verdict = if ours.steady_quantile(99) <= GOAL {
        "reached"
    } else {
        "missed"
    };
    println!("goal p99 of steady polls {GOAL:?}: {verdict}");
    ours.errors.is_empty() && theirs.errors.is_empty()
}

fn target(site: &Site, address: SocketAddr) -> Target {
    Target {
        address,
        tls: Arc::new(trusting(&site.authority())),
    }
}

fn trusting(certificate: &Path) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificate).expect("a certificate") {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Sessions change evenly over the table; how many did.
fn keep_changing(sessions: u32, stop: &AtomicBool) -> u32 {
    const STEP: Duration = Duration::from_millis(100);
    let mut syslog = Syslog::open();
    let begun = monotonic_now();
    let (mut changed, mut steps) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let until = changed + CHANGES_PER_SECOND / 10;
        // A prime step visits every address once before any again; another user is another session.
        let session = |number: u32| (number + 1, (number * 7919) % sessions);
        syslog.send((changed..until).map(session));
        (changed, steps) = (until, steps + 1);
        std::thread::sleep((STEP * steps).saturating_sub(begun.elapsed()));
    }
    changed
}

/// What one server did with all points.
#[derive(Default)]
struct Figures {
    logins: Vec<Duration>,
    full: Vec<Duration>,
    /// How long a whole pass from 0 took each point.
    passes: Vec<Duration>,
    steady: Vec<Batch>,
    full_entries: usize,
    took: Duration,
    errors: BTreeMap<String, usize>,
    /// Processor time in percent of one core, and resident memory in KiB, over the steady time.
    samples: Vec<(f64, u64)>,
    processor: Duration,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.logins.extend(other.logins);
        self.full.extend(other.full);
        self.passes.extend(other.passes);
        self.steady.extend(other.steady);
        self.full_entries += other.full_entries;
        for (error, times) in other.errors {
            *self.errors.entry(error).or_default() += times;
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }

    fn steady_quantile(&self, of_hundred: usize) -> Duration {
        quantile(
            self.steady.iter().map(|batch| batch.took).collect(),
            of_hundred,
        )
    }

    fn median_bytes(&self) -> usize {
        let mut sizes: Vec<_> = self.steady.iter().map(|batch| batch.bytes).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied().unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of a minute")]
    fn processor_per_request(&self) -> f64 {
        self.processor.as_secs_f64() / self.steady.len().max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of a minute")]
    fn print(&self, name: &str) {
        let seconds = self.took.as_secs_f64();
        let entries: usize = self.steady.iter().map(|batch| batch.entries).sum();
        let times = |list: &[Duration]| {
            let at = |of_hundred| quantile(list.to_vec(), of_hundred);
            format!(
                "p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
                at(50),
                at(99),
                at(100)
            )
        };
        println!("{name}:");
        println!(
            "  errors: {} {:?}",
            self.errors.values().sum::<usize>(),
            self.errors
        );
        println!("  handshake and token: {}", times(&self.logins));
        if !self.passes.is_empty() {
            println!(
                "  first full pass: {} points, {} entries; an answer {}; the whole pass {}",
                self.passes.len(),
                self.full_entries,
                times(&self.full),
                times(&self.passes)
            );
        }
        let steady: Vec<_> = self.steady.iter().map(|batch| batch.took).collect();
        println!("  steady polls: {}", times(&steady));
        println!(
            "  {:.0} requests/s, {:.0} entries/s, {} bytes in the median",
            steady.len() as f64 / seconds,
            entries as f64 / seconds,
            self.median_bytes()
        );
        let tenth = self.samples.len().div_ceil(10);
        let series: Vec<_> = self.samples.iter().step_by(tenth.max(1)).collect();
        let processor: Vec<_> = series
            .iter()
            .map(|(percent, _)| format!("{percent:.0}"))
            .collect();
        let memory: Vec<_> = series
            .iter()
            .map(|(_, kib)| (kib / 1024).to_string())
            .collect();
        println!(
            "  processor, % of a core, over time: {}",
            processor.join(" ")
        );
        println!("  resident memory, MiB, over time: {}", memory.join(" "));
    }
}

/// All points ask for a while.
async fn poll(target: &Target, pid: u32, options: Options, counts_full: bool) -> Figures {
    let mut logging_in = JoinSet::new();
    let mut figures = Figures::default();
    let mut points = Vec::new();
    // Evenly over one interval, which is how they poll later on.
    for number in 0..options.points {
        let target = target.clone();
        let full = counts_full && number < options.full;
        logging_in.spawn(async move {
            tokio::time::sleep(share(INTERVAL, number, options.points)).await;
            begin(&target, number, full).await
        });
    }
    while let Some(begun) = logging_in.join_next().await {
        let (point, of_point) = begun.expect("a point does not panic");
        figures.add(of_point);
        points.extend(point);
    }
    points.sort_by_key(|(number, _)| *number);

    let deadline = monotonic_now() + Duration::from_secs(options.seconds);
    let (begun, before) = (monotonic_now(), processor_time(pid));
    let mut polling = JoinSet::new();
    for (number, point) in points {
        polling.spawn(async move {
            let offset = share(INTERVAL, number, options.points);
            keep_polling(point, offset, deadline).await
        });
    }
    while monotonic_now() < deadline {
        let (at, used) = (monotonic_now(), processor_time(pid));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let percent = ratio(processor_time(pid).saturating_sub(used), at.elapsed()) * 100.0;
        figures.samples.push((percent, memory_kib(pid)));
    }
    figures.took = begun.elapsed();
    figures.processor = processor_time(pid).saturating_sub(before);
    while let Some(done) = polling.join_next().await {
        figures.add(done.expect("a point does not panic"));
    }
    figures
}

/// A point connects, gets its token, and makes its first pass.
async fn begin(target: &Target, number: u32, full: bool) -> (Option<(u32, Point)>, Figures) {
    let mut figures = Figures::default();
    let from = IpAddr::from(site::address_of_point(number));
    let begun = monotonic_now();
    let ready = async {
        let mut point = Point::connect(target, from).await?;
        let secret = site::secret_of_point(number);
        point.log_in(&format!("fw-{number}"), &secret).await?;
        Ok::<_, std::io::Error>(point)
    };
    let mut point = match ready.await {
        Ok(point) => point,
        Err(error) => {
            figures.failed(&error);
            return (None, figures);
        }
    };
    figures.logins.push(begun.elapsed());
    let since = if full { 0 } else { utc_now().unix_seconds() };
    let begun = monotonic_now();
    loop {
        match point.batch(since).await {
            Ok(batch) => {
                if full {
                    figures.full.push(batch.took);
                    figures.full_entries += batch.entries;
                }
                if !batch.more {
                    break;
                }
            }
            Err(error) => {
                figures.failed(&error);
                return (None, figures);
            }
        }
    }
    if full {
        figures.passes.push(begun.elapsed());
    }
    (Some((number, point)), figures)
}

async fn keep_polling(mut point: Point, offset: Duration, deadline: std::time::Instant) -> Figures {
    let mut figures = Figures::default();
    tokio::time::sleep(offset).await;
    let mut next = tokio::time::interval(INTERVAL);
    loop {
        next.tick().await;
        if monotonic_now() >= deadline {
            return figures;
        }
        match point.batch(0).await {
            Ok(batch) => figures.steady.push(batch),
            Err(error) => {
                figures.failed(&error);
                return figures;
            }
        }
    }
}

/// The place of one among many in a time.
fn share(whole: Duration, number: u32, of: u32) -> Duration {
    whole * number / of.max(1)
}

fn quantile(mut list: Vec<Duration>, of_hundred: usize) -> Duration {
    list.sort_unstable();
    let at = (list.len() * of_hundred / 100).min(list.len().saturating_sub(1));
    list.get(at).copied().unwrap_or_default()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

/// What all threads of a process have used, to a hundredth of a second.
fn processor_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // proc_pid_stat(5): user time is field 14, system time 15; the first after the name is 3.
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks = ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>();
    Duration::from_millis(10 * ticks)
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// What else runs: the system's load of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
