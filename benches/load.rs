//! Sends the lines of a file as syslog, as fast as they are taken or at a given rate: the load of `benches/run`.
//!
//! `load tcp|udp --to ADDRESS:PORT --from ADDRESS --senders N --file PATH [--rate LINES_A_SECOND]`
//!
//! Each sender has an address of its own (`--from`, the next, …), a connection or socket of its own, and its own stretch
//! of the file. The file is read before the clock starts, and a line is copied once, so that the sending side
//! costs next to nothing. Over UDP one thread sends for all, many datagrams in one system call. The last line of output is
//! one JSON object: lines, bytes, seconds, and seconds of processor time.

#![expect(clippy::print_stdout, reason = "benches/run reads it")]
#![expect(
    clippy::disallowed_methods,
    reason = "senders are sockets of their own, not those of the service"
)]

use std::io::{IoSlice, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use jims::runtime::clock::monotonic_now;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use socket2::{Domain, Socket, Type};

/// Datagrams of one system call.
const DATAGRAMS: usize = 50;
/// Bytes of one write over TCP.
const WRITE_BYTES: usize = 64 << 10;
/// How often a sender with a rate looks at the clock: what is due is sent at once.
const TICK: Duration = Duration::from_millis(1);
/// A receiver that takes nothing for so long has failed.
const GUARD: Duration = Duration::from_secs(60);

struct Options {
    to: SocketAddr,
    from: Ipv4Addr,
    senders: u32,
    file: String,
    /// Lines a second of all senders together.
    rate: Option<u32>,
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let options = options(&words);
    let text = std::fs::read(&options.file).expect("the file of lines");
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let before = processor_time();
    let begun = monotonic_now();
    match words.first().map(String::as_str) {
        Some("tcp") => tcp(&options, &lines),
        Some("udp") => udp(&options, &lines),
        _ => panic!("tcp or udp"),
    }
    let took = begun.elapsed();
    println!(
        "{{\"lines\": {}, \"bytes\": {}, \"seconds\": {:.6}, \"cpu_seconds\": {:.6}}}",
        lines.len(),
        text.len(),
        took.as_secs_f64(),
        (processor_time() - before).as_secs_f64()
    );
}

fn options(words: &[String]) -> Options {
    let find = |name: &str| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1))
    };
    let need = |name: &str| find(name).unwrap_or_else(|| panic!("{name} is missing"));
    Options {
        to: need("--to").parse().expect("ADDRESS:PORT"),
        from: need("--from").parse().expect("an address"),
        senders: need("--senders").parse().expect("a number"),
        file: need("--file").clone(),
        rate: find("--rate").map(|text| text.parse().expect("a number")),
    }
}

/// The address of a sender.
fn address(options: &Options, number: usize) -> SocketAddr {
    let number = u32::try_from(number).expect("few senders");
    SocketAddr::new(
        IpAddr::V4(Ipv4Addr::from(u32::from(options.from) + number)),
        0,
    )
}

/// How many of `all` are due after a time at a rate.
fn due(rate: Option<f64>, passed: Duration, all: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of lines"
    )]
    rate.map_or(all, |rate| {
        ((rate * passed.as_secs_f64()) as usize).min(all)
    })
}

/// A connection and a thread for each sender.
fn tcp(options: &Options, lines: &[&[u8]]) {
    let share = lines.len().div_ceil(options.senders as usize).max(1);
    let rate = options
        .rate
        .map(|rate| f64::from(rate) / f64::from(options.senders));
    std::thread::scope(|scope| {
        for (number, part) in lines.chunks(share).enumerate() {
            let from = address(options, number);
            scope.spawn(move || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.bind(&from.into()).expect("the sender's address");
                socket
                    .connect(&options.to.into())
                    .expect("somebody listens");
                let mut stream = TcpStream::from(socket);
                stream.set_write_timeout(Some(GUARD)).expect("a limit");
                paced(rate, part, |some| write_all(&mut stream, some));
            });
        }
    });
}

/// In pieces of about [`WRITE_BYTES`].
fn write_all(stream: &mut TcpStream, lines: &[&[u8]]) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES + 4096);
    for line in lines {
        buffer.extend_from_slice(line);
        if buffer.len() >= WRITE_BYTES {
            stream.write_all(&buffer).expect("taken");
            buffer.clear();
        }
    }
    stream.write_all(&buffer).expect("taken");
}

/// One thread for all, a socket for each sender.
fn udp(options: &Options, lines: &[&[u8]]) {
    let sockets: Vec<UdpSocket> = (0..options.senders as usize)
        .map(|number| {
            let socket = UdpSocket::bind(address(options, number)).expect("the sender's address");
            socket.connect(options.to).expect("an address");
            socket.set_write_timeout(Some(GUARD)).expect("a limit");
            socket
        })
        .collect();
    let mut turn = 0;
    paced(options.rate.map(f64::from), lines, |some| {
        for datagrams in some.chunks(DATAGRAMS) {
            send(&sockets[turn % sockets.len()], datagrams);
            turn += 1;
        }
    });
}

fn send(socket: &UdpSocket, datagrams: &[&[u8]]) {
    let mut rest = datagrams;
    while !rest.is_empty() {
        let slices: Vec<[IoSlice<'_>; 1]> = rest
            .iter()
            .map(|line| [IoSlice::new(line.strip_suffix(b"\n").unwrap_or(line))])
            .collect();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(rest.len(), None);
        let nobody = vec![None; rest.len()];
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter(),
            nobody,
            [],
            MsgFlags::empty(),
        );
        let sent = sent.expect("sent").count();
        rest = &rest[sent..];
    }
}

/// Hands out what is due, until everything was.
fn paced<'l>(rate: Option<f64>, lines: &[&'l [u8]], mut send: impl FnMut(&[&'l [u8]])) {
    let begun = monotonic_now();
    let mut sent = 0;
    while sent < lines.len() {
        let until = due(rate, begun.elapsed(), lines.len());
        if until > sent {
            send(&lines[sent..until]);
            sent = until;
        } else {
            std::thread::sleep(TICK);
        }
    }
}

/// What all threads of the process have used.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // proc_pid_stat(5): user time is field 14, system time 15, in hundredths; the first after the name is 3.
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
