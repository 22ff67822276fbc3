//! Pushing to a firewall that is not our code and takes nothing that is not documented (`peers/webapi_srx.py`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::support::{
    JIMS, SECOND, Site, ca_file, directory, lab, tunnel_down, tunnel_up, wait_for,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/peers/webapi_srx.py");
const PASSWORD: &str = "push: s3cret";
const PORT: u16 = 18443;

/// A running firewall; ends with the test.
struct WebApi {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl WebApi {
    fn start() -> Self {
        let tls = lab().join("ad/tls");
        let mut child = Command::new("/usr/bin/python3")
            .arg(SCRIPT)
            .args(["--address", SECOND, "--port", &PORT.to_string()])
            .args(["--credentials", &format!("jims:{PASSWORD}")])
            .arg("--certificate")
            .arg(tls.join("cert.pem"))
            .arg("--key")
            .arg(tls.join("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let orders = child.stdin.take().expect("its input");
        let mut answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("a line");
        assert!(line.starts_with("ready "), "{line:?}");
        Self {
            child,
            orders,
            answers,
        }
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("it takes orders");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Who is where.
    fn table(&mut self) -> BTreeMap<String, String> {
        let answer = self.order(&json!({"cmd": "table"}));
        let held = answer["table"].as_object().expect("a table").iter();
        held.map(|(address, entry)| (address.clone(), entry["user"].to_string()))
            .collect()
    }

    #[track_caller]
    fn wait_for(&mut self, facts: &BTreeMap<String, String>) {
        wait_for("the firewall's table to be ours", || {
            (self.table() == *facts).then_some(())
        });
    }
}

impl Drop for WebApi {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn send(lines: &[String]) {
    let mut stream = TcpStream::connect((JIMS, 5514)).expect("syslog listens");
    for line in lines {
        stream
            .write_all(format!("<134>iked[7]: {line}\n").as_bytes())
            .expect("sent");
    }
}

fn user(number: u32) -> String {
    format!("u{number:06}")
}

fn address(number: u32) -> String {
    format!("10.30.{}.{}", number / 250, number % 250 + 1)
}

fn come(facts: &mut BTreeMap<String, String>, numbers: std::ops::Range<u32>) {
    let lines: Vec<_> = numbers
        .clone()
        .map(|n| tunnel_up(&user(n), &address(n)))
        .collect();
    send(&lines);
    facts.extend(numbers.map(|n| (address(n), format!("\"{}\"", user(n)))));
}

fn go(facts: &mut BTreeMap<String, String>, number: u32) {
    send(&[tunnel_down(&user(number), &address(number))]);
    facts.remove(&address(number));
}

#[test]
fn the_strict_firewall_is_strict() {
    super::support::succeed(
        Command::new("/usr/bin/python3")
            .arg(SCRIPT)
            .arg("--self-test"),
    );
}

#[test]
fn a_firewall_that_is_pushed_to_holds_our_table_through_all_its_failures() {
    let mut firewall = WebApi::start();
    let point = format!(
        "[[enforcement_point]]\nname = \"srx-push\"\n[enforcement_point.web_api]\nurl = \"https://{SECOND}:{PORT}\"\n\
         user = \"jims\"\npassword_file = \"web-api.secret\"\nca_file = \"{}\"\n",
        ca_file().display()
    );
    let mut site = Site::new(&format!("{}{point}", directory("")));
    site.secret("web-api.secret", PASSWORD);
    site.start_ready();
    let mut facts = BTreeMap::new();
    let begun = Instant::now();
    come(&mut facts, 0..500);
    firewall.wait_for(&facts);
    println!(
        "500 sessions pushed to a strict firewall in {:?}",
        begun.elapsed()
    );
    let roles = firewall.order(&json!({"cmd": "table"}))["table"]["10.30.0.1"]["roles"].to_string();
    assert!(roles.contains("G-ALL"), "{roles}");

    let mut next = 500;
    for (how, times) in [("500", 3), ("reset", 3), ("503", 1), ("hang", 1)] {
        firewall.order(&json!({"cmd": "fail", "how": how, "times": times}));
        let begun = Instant::now();
        come(&mut facts, next..next + 10);
        go(&mut facts, next - 1);
        next += 10;
        firewall.wait_for(&facts);
        println!(
            "whole again {:?} after {times} times {how}",
            begun.elapsed()
        );
    }
    let counters = firewall.order(&json!({"cmd": "counters"}));
    assert_eq!(counters["failed"], 8, "all of it really failed: {counters}");
    assert_eq!(counters["refusals"], json!([]), "{counters}");
    println!("the firewall's counters: {counters}");

    // It restarts and has forgotten everything; while it is away somebody goes.
    drop(firewall);
    go(&mut facts, 0);
    // Nobody answers there: only then is it known that it may have forgotten what it was told.
    wait_for("the failure to be seen", || {
        let page = site.json(&["status", "--json"]);
        let mut points = page["enforcement_points"].as_array()?.iter();
        let point = points.find(|point| point["name"] == "srx-push")?;
        let fault = point["web_api"]["fault"]["message"].as_str()?;
        fault.contains("cannot connect").then_some(())
    });
    let begun = Instant::now();
    let mut firewall = WebApi::start();
    firewall.wait_for(&facts);
    println!(
        "{} sessions told again {:?} after the firewall's restart",
        facts.len(),
        begun.elapsed()
    );
    let counters = firewall.order(&json!({"cmd": "counters"}));
    assert_eq!(counters["refusals"], json!([]), "{counters}");
    site.stop();
}
