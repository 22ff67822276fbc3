//! Redis without persistence as a process of its own, and a client that sends many commands before it reads the answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jims::runtime::clock::monotonic_now;

const ADDRESS: &str = "127.77.62.9";
const PORT: u16 = 6399;
/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Redis {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            TcpStream::connect((ADDRESS, PORT)).is_err(),
            "somebody else listens on {ADDRESS}:{PORT}"
        );
        let child = Command::new("redis-server")
            .args(["--bind", ADDRESS, "--port", &PORT.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts: is it installed?");
        let begun = monotonic_now();
        while TcpStream::connect((ADDRESS, PORT)).is_err() {
            assert!(begun.elapsed() < GUARD, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            _folder: folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection; commands gather until [`Client::exchange`].
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    commands: Vec<u8>,
    waiting: usize,
    answers: Vec<u8>,
}

impl Client {
    pub(crate) fn connect() -> Self {
        let stream = TcpStream::connect((ADDRESS, PORT)).expect("redis listens");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(GUARD)).expect("a timeout");
        Self {
            stream,
            commands: Vec::new(),
            waiting: 0,
            answers: Vec::new(),
        }
    }

    pub(crate) fn command(&mut self, words: &[&[u8]]) {
        self.waiting += 1;
        let out = &mut self.commands;
        write!(out, "*{}\r\n", words.len()).expect("memory");
        for word in words {
            write!(out, "${}\r\n", word.len()).expect("memory");
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what gathered and reads all answers; how many of them were values.
    pub(crate) fn exchange(&mut self) -> usize {
        self.stream.write_all(&self.commands).expect("sent");
        self.commands.clear();
        self.answers.clear();
        let (mut at, mut values) = (0, 0);
        while self.waiting > 0 {
            match answer(&self.answers[at..]) {
                Some((length, is_value)) => {
                    at += length;
                    values += usize::from(is_value);
                    self.waiting -= 1;
                }
                None => self.more(),
            }
        }
        values
    }

    fn more(&mut self) {
        let before = self.answers.len();
        self.answers.resize(before + (64 << 10), 0);
        let read = self.stream.read(&mut self.answers[before..]);
        let read = read.expect("an answer");
        assert!(read > 0, "redis closed the connection");
        self.answers.truncate(before + read);
    }
}

/// The length of the first answer, if it is there as a whole, and whether it is a value.
fn answer(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let line = std::str::from_utf8(&bytes[1..end - 2]).expect("a line of text");
    match bytes[0] {
        b'+' | b':' => Some((end, false)),
        b'$' => {
            let Ok(length) = line.parse::<usize>() else {
                return Some((end, false));
            };
            let whole = end + length + 2;
            (bytes.len() >= whole).then_some((whole, true))
        }
        _ => panic!("redis said {line}"),
    }
}
