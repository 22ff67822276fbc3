//! Servers of NATS: one, or three in a cluster, each started, killed, restarted and paused for itself.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::hosts::{self, Host, Network, Wire};
use super::member::http;
use crate::support::{lab, program_at, send_signal, wait_for};

/// Where they listen.
pub(crate) const NODES: [&str; 3] = ["127.77.0.61", "127.77.0.62", "127.77.0.63"];

/// For clients.
const PORT: u16 = 4222;

/// For monitoring.
const MONITOR: u16 = 8222;

/// All nodes, and their folder.
pub(crate) struct Nats {
    folder: tempfile::TempDir,
    /// What every configuration holds beside the common part.
    more: String,
    has_jetstream: bool,
    addresses: [&'static str; 3],
    /// Where each runs, if apart from the tests.
    hosts: Vec<Host>,
    children: Vec<Option<Child>>,
}

impl Nats {
    /// One server that is no cluster, or three that are one; running.
    pub(crate) fn start(nodes: usize) -> Self {
        Self::start_with(nodes, "")
    }

    /// The same with more in their configuration.
    pub(crate) fn start_with(nodes: usize, more: &str) -> Self {
        Self::start_at(NODES, Vec::new(), nodes, more)
    }

    /// One server that stores nothing.
    pub(crate) fn start_without_jetstream() -> Self {
        let mut nats = Self::new(NODES, Vec::new(), 1, "");
        nats.has_jetstream = false;
        nats.start_all();
        nats
    }

    /// Three that are one, each on a host of its own.
    pub(crate) fn start_on(network: &Network) -> Self {
        let hosts = hosts::NODES.map(|address| network.host(address));
        Self::start_at(hosts::NODES, hosts.into(), 3, "")
    }

    fn start_at(addresses: [&'static str; 3], hosts: Vec<Host>, nodes: usize, more: &str) -> Self {
        let mut nats = Self::new(addresses, hosts, nodes, more);
        nats.start_all();
        nats
    }

    fn new(addresses: [&'static str; 3], hosts: Vec<Host>, nodes: usize, more: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nats.")
            .tempdir_in(lab())
            .expect("folder");
        Self {
            folder,
            more: more.to_owned(),
            has_jetstream: true,
            addresses,
            hosts,
            children: (0..nodes).map(|_| None).collect(),
        }
    }

    fn start_all(&mut self) {
        for node in 0..self.nodes() {
            self.start_node(node);
        }
        self.wait_until_it_listens();
    }

    /// A file in their folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `cluster.nats` holds.
    pub(crate) fn urls(&self, scheme: &str) -> String {
        let nodes = self.addresses.iter().take(self.nodes());
        let urls: Vec<_> = nodes
            .map(|node| format!("\"{scheme}://{node}:{PORT}\""))
            .collect();
        format!("[{}]", urls.join(", "))
    }

    /// How many there are.
    pub(crate) fn nodes(&self) -> usize {
        self.children.len()
    }

    /// Starts one.
    pub(crate) fn start_node(&mut self, node: usize) {
        let address = self.addresses[node];
        let store = self.path(&format!("store{node}"));
        let routes: Vec<_> = (self.addresses.iter().take(self.nodes()))
            .map(|node| format!("nats://{node}:6222"))
            .collect();
        let cluster = if self.nodes() == 1 {
            String::new()
        } else {
            let routes = routes.join(", ");
            format!("cluster {{ name: lab, listen: \"{address}:6222\", routes: [{routes}] }}\n")
        };
        let jetstream = if self.has_jetstream {
            format!(
                "jetstream {{ store_dir: \"{}\", max_memory_store: 64MB, max_file_store: 4GB }}\n",
                store.display()
            )
        } else {
            String::new()
        };
        let configuration = self.path(&format!("node{node}.conf"));
        let text = format!(
            "server_name: n{node}\nlisten: \"{address}:{PORT}\"\nhttp: \"{address}:{MONITOR}\"\n{jetstream}{cluster}{}\n",
            self.more
        );
        fs::write(&configuration, text).expect("configuration");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("node{node}.log")))
            .expect("log");
        let errors = log.try_clone().expect("log");
        let host = self.hosts.get(node).map(Host::pid);
        let child = program_at(host, "nats-server")
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("nats-server starts");
        self.children[node] = Some(child);
    }

    fn wait_until_it_listens(&self) {
        for node in self.addresses.iter().take(self.nodes()) {
            wait_for(&format!("NATS at {node}"), || {
                TcpStream::connect((*node, PORT)).ok()
            });
        }
    }

    /// Ends one by SIGKILL, if it runs.
    pub(crate) fn kill_node(&mut self, node: usize) {
        if let Some(mut child) = self.children[node].take() {
            child.kill().expect("kill");
            child.wait().expect("status");
        }
    }

    /// Pauses one or lets it go on.
    pub(crate) fn signal_node(&self, node: usize, name: &str) {
        if let Some(child) = &self.children[node] {
            send_signal(child.id(), name);
        }
    }

    /// Nothing reaches one, and nothing comes from it.
    pub(crate) fn cut_node(&self, node: usize) {
        self.hosts[node].cut(&[Wire::Back]);
    }

    /// It is reached again.
    pub(crate) fn mend_node(&self, node: usize) {
        self.hosts[node].mend(&[Wire::Back]);
    }

    /// Why one has not caught up with the others, in its own words; none: it has.
    pub(crate) fn ailment(&self, node: usize) -> Option<String> {
        let to = format!("{}:{MONITOR}", self.addresses[node])
            .parse()
            .expect("an address");
        let answer = http(to, "GET /healthz HTTP/1.1\r\n", "", Duration::from_secs(2));
        match answer {
            Ok((200, _)) => None,
            Ok((_, said)) => Some(said),
            Err(error) => Some(error.to_string()),
        }
    }

    /// The nodes' logs.
    pub(crate) fn log(&self) -> String {
        let read = |node| fs::read_to_string(self.path(&format!("node{node}.log")));
        (0..self.nodes())
            .filter_map(|node| read(node).ok())
            .collect()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for mut child in self.children.drain(..).flatten() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            let mut error = std::io::stderr();
            for line in lines.iter().rev() {
                drop(writeln!(error, "NATS: {line}"));
            }
        }
    }
}

/// A client that speaks the text protocol, for what jims never does.
pub(crate) struct RawClient {
    stream: BufReader<TcpStream>,
}

impl RawClient {
    /// Connects to a node.
    pub(crate) fn connect(node: usize) -> Self {
        let stream = TcpStream::connect((NODES[node], PORT)).expect("NATS listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        client.write("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.lab 1\r\n");
        client
    }

    fn write(&mut self, text: &str) {
        self.stream
            .get_mut()
            .write_all(text.as_bytes())
            .expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// A request of the JetStream API, and its answer.
    #[track_caller]
    pub(crate) fn request(&mut self, subject: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.write(&format!(
            "PUB {subject} _INBOX.lab {}\r\n{body}\r\n",
            body.len()
        ));
        loop {
            let line = self.line();
            assert!(!line.starts_with("-ERR"), "{line}");
            if line == "PING" {
                self.write("PONG\r\n");
            }
            if line.starts_with("MSG") {
                let answer = self.line();
                return serde_json::from_str(&answer).expect("JSON");
            }
        }
    }

    /// First and last sequence of a stream, and how many messages it has.
    #[track_caller]
    pub(crate) fn stream(&mut self, name: &str) -> (u64, u64, u64) {
        let info = self.request(&format!("$JS.API.STREAM.INFO.{name}"), &json!({}));
        let number = |key: &str| {
            info["state"][key]
                .as_u64()
                .unwrap_or_else(|| panic!("{info}"))
        };
        (number("first_seq"), number("last_seq"), number("messages"))
    }

    /// Takes away every message before one.
    #[track_caller]
    pub(crate) fn purge_before(&mut self, name: &str, seq: u64) {
        let answer = self.request(
            &format!("$JS.API.STREAM.PURGE.{name}"),
            &json!({"seq": seq}),
        );
        assert_eq!(answer["success"], true, "{answer}");
    }

    /// Takes one message away.
    #[track_caller]
    pub(crate) fn delete(&mut self, name: &str, seq: u64) {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{name}");
        let answer = self.request(&subject, &json!({"seq": seq, "no_erase": true}));
        assert_eq!(answer["success"], true, "{answer}");
    }
}
