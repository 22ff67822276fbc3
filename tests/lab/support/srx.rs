//! The scripted firewall (`tests/lab/peers/srx.py`): takes orders, believes nothing, ends at the first violation.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{FIREWALL, Place, ca_file};

/// The name that the servers' certificate must have.
const CERTIFICATE_NAME: &str = "dc1.corp.example.com";

/// A running firewall; ends with the test.
pub(crate) struct Srx {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What one order came to.
#[derive(Debug)]
pub(crate) struct Done(pub(crate) Value);

impl Done {
    /// Which configured server answered: 0 is the first.
    pub(crate) fn server(&self) -> u64 {
        self.0["server"].as_u64().expect("a server")
    }

    /// Entries received.
    pub(crate) fn entries(&self) -> u64 {
        self.0["entries"].as_u64().expect("a number")
    }

    /// Whether the server began from 0.
    pub(crate) fn full(&self) -> bool {
        self.0["full"].as_bool().expect("a boolean")
    }

    /// From the first request to the end of the report, fail-over included.
    pub(crate) fn seconds(&self) -> f64 {
        self.0["seconds"].as_f64().expect("seconds")
    }

    /// `login ADDRESS` and `logout ADDRESS`, sorted.
    pub(crate) fn told(&self) -> Vec<String> {
        let entries = self.0["told"].as_array().or(self.0["entries"].as_array());
        let line = |entry: &Value| {
            let word = |name: &str| entry[name].as_str().expect("text").to_owned();
            format!("{} {}", word("activity"), word("ip-address"))
        };
        let mut told: Vec<_> = entries.expect("entries").iter().map(line).collect();
        told.sort();
        told
    }
}

impl Srx {
    /// One that knows the servers in this order and asks for so many items at once.
    pub(crate) fn start(servers: &[Place], items: u32, timeout_s: u32) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/lab/peers/srx.py"
            ))
            .args(["--source", FIREWALL, "--items", &items.to_string()])
            .args(["--timeout", &timeout_s.to_string(), "--ca"])
            .arg(ca_file());
        for place in servers {
            command.arg("--server").arg(format!(
                "{}:8443,{CERTIFICATE_NAME},{},{}",
                place.address, place.client_id, place.secret
            ));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            orders,
            answers,
        }
    }

    /// Gives an order; the firewall must be content.
    #[track_caller]
    pub(crate) fn order(&mut self, order: &Value) -> Done {
        let orders = self.orders.as_mut().expect("not ended");
        writeln!(orders, "{order}").expect("the firewall takes orders");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        assert!(
            !line.is_empty(),
            "{order}: the firewall gave up; its reason is above"
        );
        Done(serde_json::from_str(&line).expect("JSON"))
    }

    /// One interval of batch queries.
    #[track_caller]
    pub(crate) fn batch(&mut self) -> Done {
        self.order(&json!({"cmd": "batch"}))
    }

    /// The authentication table: address, and user or `--`.
    #[track_caller]
    pub(crate) fn table(&mut self) -> std::collections::BTreeMap<String, String> {
        let answer = self.order(&json!({"cmd": "table"})).0;
        let held = answer["table"].as_object().expect("a table").iter();
        held.map(|(address, entry)| {
            let user = entry["user"].as_str().unwrap_or("--");
            (address.clone(), user.to_owned())
        })
        .collect()
    }

    /// Its counters.
    #[track_caller]
    pub(crate) fn counters(&mut self) -> Value {
        self.order(&json!({"cmd": "counters"})).0
    }

    /// No more orders: it must end well.
    pub(crate) fn end(mut self) {
        drop(self.orders.take());
        let status = self.child.wait().expect("status");
        assert!(status.success(), "the firewall ended with {status}");
    }
}

impl Drop for Srx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
