//! The test peer that stands in for Windows computers which are asked over WMI (`tests/lab/peers/wmi_peer.py`), proven by
//! impacket's WMI client.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::lab;

/// Running computers; they end with the test.
pub(crate) struct WmiPeer {
    child: Child,
    control: SocketAddr,
}

impl WmiPeer {
    /// Any number of computers; each takes Kerberos for its name and NTLM.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(lab().join("venv/bin/python"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/lab/peers/wmi_peer.py"
            ))
            .args(["--user", "svc-jims:Svc-Jims!1"])
            .arg("--keytab")
            .arg(lab().join("wmi.keytab"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("the peer said {line:?}"));
        let ready: Value = serde_json::from_str(ready).expect("JSON");
        let host = ready["control"][0].as_str().expect("a host");
        let port = &ready["control"][1];
        let control = format!("{host}:{port}").parse().expect("an address");
        Self { child, control }
    }

    /// A command and its answer.
    #[track_caller]
    pub(crate) fn tell(&self, command: &Value) -> Value {
        let mut stream = TcpStream::connect(self.control).expect("the peer listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a timeout");
        writeln!(stream, "{command}").expect("sent");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("an answer");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(answer["ok"], true, "{command}: {answer}");
        answer
    }

    /// Changes one computer.
    #[track_caller]
    pub(crate) fn set(&self, address: &str, state: &Value) {
        self.tell(&json!({"cmd": "set", "address": address, "state": state}));
    }

    /// What one computer has seen.
    #[track_caller]
    pub(crate) fn stats(&self, address: &str) -> Value {
        self.tell(&json!({"cmd": "stats"}))["stats"][address].clone()
    }
}

impl Drop for WmiPeer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
