//! A VPN gateway that sends every line to several Collectors over TCP, each over a connection of its own.
//!
//! A connection that breaks is made again, and the lines after it go there. What a killed Collector had in its socket is lost
//! for it, as with any sender of syslog. A mark is a line for one Collector alone, at an address that nothing else uses: once
//! it is in the table, everything that this Collector read before it has been applied.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::member::SYSLOG_PORT;

/// Marks are at 10.250 to 10.253, by target.
const MARKS: u64 = 250;

/// How the lines are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Lines each second.
    pub(crate) rate: u64,
    /// Addresses that logons and log-offs are of, in turn.
    pub(crate) addresses: u64,
    /// Bytes that each is longer than it need be.
    pub(crate) padding: usize,
}

/// A receiver of lines.
struct Target {
    address: &'static str,
    queue: Mutex<VecDeque<String>>,
    filled: Condvar,
    stop: AtomicBool,
    stream: Mutex<Option<TcpStream>>,
}

/// The gateway.
pub(crate) struct Feeder {
    targets: Vec<Arc<Target>>,
    /// Lines made, without marks.
    made: Arc<AtomicU64>,
    /// Lines that were said beside the load.
    said: AtomicU64,
    stop: Arc<AtomicBool>,
    maker: Option<JoinHandle<()>>,
    senders: Vec<JoinHandle<()>>,
}

/// The address of a target's mark.
pub(crate) fn mark_address(target: usize, mark: u64) -> String {
    format!(
        "10.{}.{}.{}",
        MARKS + target as u64,
        mark / 250,
        mark % 250 + 1
    )
}

/// Whether an address is that of a mark.
pub(crate) fn is_mark(address: &str) -> bool {
    let second = address
        .split('.')
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    second.is_some_and(|second| (MARKS..MARKS + 4).contains(&second))
}

/// The line of a number, whose stamp is now.
pub(crate) fn line(number: u64, text: &str) -> String {
    let now = jiff::Timestamp::now();
    format!("<134>1 {now:.6} gw vpnd {number} - - {text}\n")
}

/// A logon of a user at an address.
pub(crate) fn logon(number: u64, user: &str, address: &str) -> String {
    line(number, &format!("login user={user} ip={address}"))
}

/// Line `number` of a load: logons, and now and then a log-off, at each address in turn.
fn text(number: u64, addresses: u64) -> String {
    let (place, round) = (number % addresses, number / addresses);
    let address = format!(
        "10.{}.{}.{}",
        64 + place / 62_500,
        place / 250 % 250,
        place % 250 + 1
    );
    let user = |round: u64| format!("u{:06}", (place * 7 + round * 13) % 5000);
    if round > 0 && (place + round).is_multiple_of(4) {
        return format!("logout user={} ip={address}", user(round - 1));
    }
    format!("login user={} ip={address}", user(round))
}

impl Target {
    fn push(&self, line: String) {
        self.queue.lock().push_back(line);
        self.filled.notify_one();
    }

    fn run(&self) {
        let mut stream: Option<TcpStream> = None;
        while let Some(line) = self.next() {
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if stream.is_none() {
                    stream = TcpStream::connect((self.address, SYSLOG_PORT)).ok();
                    *self.stream.lock() = stream.as_ref().and_then(|s| s.try_clone().ok());
                }
                match stream.as_mut().map(|s| s.write_all(line.as_bytes())) {
                    Some(Ok(())) => break,
                    Some(Err(_)) => stream = None,
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
    }

    fn next(&self) -> Option<String> {
        let mut queue = self.queue.lock();
        while queue.is_empty() {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            self.filled.wait_for(&mut queue, Duration::from_millis(100));
        }
        queue.pop_front()
    }
}

impl Feeder {
    /// Sends to these addresses from now on.
    pub(crate) fn start(addresses: &[&'static str], load: Load) -> Self {
        let targets: Vec<_> = (addresses.iter())
            .map(|address| {
                Arc::new(Target {
                    address,
                    queue: Mutex::default(),
                    filled: Condvar::new(),
                    stop: AtomicBool::new(false),
                    stream: Mutex::default(),
                })
            })
            .collect();
        let senders = (targets.iter().cloned())
            .map(|target| std::thread::spawn(move || target.run()))
            .collect();
        let (made, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let maker = {
            let (targets, made, stop) = (targets.clone(), Arc::clone(&made), Arc::clone(&stop));
            std::thread::spawn(move || make(&targets, load, &made, &stop))
        };
        Self {
            targets,
            made,
            said: AtomicU64::new(0),
            stop,
            maker: Some(maker),
            senders,
        }
    }

    /// Lines made so far.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed) + self.said.load(Ordering::Relaxed)
    }

    /// Lines that wait for a target.
    pub(crate) fn waiting(&self, target: usize) -> usize {
        self.targets[target].queue.lock().len()
    }

    /// Sends a line to everybody, among those of the load.
    pub(crate) fn say(&self, line: &str) {
        for target in &self.targets {
            target.push(line.to_owned());
        }
        self.said.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a mark to one target, after all that waits for it.
    pub(crate) fn mark(&self, target: usize, mark: u64) {
        let address = mark_address(target, mark);
        self.targets[target].push(logon(mark, &format!("mark{mark}"), &address));
    }

    /// Makes no more lines; what waits is still sent. Returns how many were made.
    pub(crate) fn finish(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(maker) = self.maker.take() {
            maker.join().expect("the maker ends well");
        }
        self.made()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for target in &self.targets {
            target.stop.store(true, Ordering::Relaxed);
            target.filled.notify_one();
            if let Some(stream) = target.stream.lock().take() {
                drop(stream.shutdown(std::net::Shutdown::Both));
            }
        }
        for thread in self.maker.take().into_iter().chain(self.senders.drain(..)) {
            drop(thread.join());
        }
    }
}

fn make(targets: &[Arc<Target>], load: Load, made: &AtomicU64, stop: &AtomicBool) {
    let begun = Instant::now();
    let padding = " ".repeat(load.padding.min(1)) + &"x".repeat(load.padding);
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let elapsed = begun.elapsed();
        let due = u64::try_from(elapsed.as_millis()).expect("64 bits") * load.rate / 1000;
        while next < due {
            let line = line(next, &format!("{}{padding}", text(next, load.addresses)));
            for target in targets {
                target.push(line.clone());
            }
            next += 1;
        }
        made.store(next, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
    }
}
