//! The test peer that stands in for event logs of Windows servers (`tests/lab/peers`), proven by impacket's clients.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{lab, succeed};

/// Where one peer is.
pub(crate) const PEER: &str = "127.77.0.40";
/// Its name, which the lab's name server knows and its Kerberos account has.
pub(crate) const PEER_NAME: &str = "evt1.corp.example.com";
/// The lab's name server.
pub(crate) const NAME_SERVER: &str = "127.77.0.10";

/// A running peer; ends with the test.
pub(crate) struct Peer {
    child: Child,
    control: SocketAddr,
}

impl Peer {
    /// The one with a name, for Kerberos and NTLM.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let keytab = lab().join("evt1.keytab");
        let keytab = keytab.to_str().expect("a path").to_owned();
        let own = [
            "--addresses",
            PEER,
            "--computer",
            PEER_NAME,
            "--keytab",
            &keytab,
        ];
        Self::spawn(&[&own, arguments].concat())
    }

    /// Any number of them, for NTLM.
    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let mut child = Command::new(lab().join("venv/bin/python"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/lab/peers/even6_peer.py"
            ))
            .args(["--user", "svc-jims:Svc-Jims!1"])
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
        let port = ready["control"][1].as_u64().expect("a port");
        let host = ready["control"][0].as_str().expect("a host");
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
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    /// A user's ticket, as the record 4768 tells it.
    pub(crate) fn logon(&self, user: &str, address: &str) {
        let data = json!({"TargetUserName": user, "TargetDomainName": "CORP.EXAMPLE.COM",
            "IpAddress": format!("::ffff:{address}"), "Status": 0});
        self.tell(&json!({"cmd": "inject", "events": [{"id": 4768, "data": data}]}));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The table of the source that reads the peer.
pub(crate) fn event_source(more: &str) -> String {
    format!(
        r#"[dns]
servers = ["{NAME_SERVER}"]
[[event_source]]
name = "evt1"
kind = "domain-controller"
domain = "corp.example.com"
host = "{PEER_NAME}"
user = "svc-jims"
password_file = "directory.secret"
{more}
"#
    )
}

/// Has impacket's clients prove a peer, by Kerberos too; what the script printed.
#[track_caller]
pub(crate) fn proven_by_impacket(script: &str, service: &str, keytab: &str) -> String {
    let ccache = lab().join("peer.ccache");
    let kerberos = lab().join("krb5.conf");
    std::fs::write(
        &kerberos,
        format!(
            "[libdefaults]\n default_realm = CORP.EXAMPLE.COM\n dns_lookup_kdc = false\n rdns = false\n udp_preference_limit = 1\n\
             [realms]\n CORP.EXAMPLE.COM = {{\n  kdc = {NAME_SERVER}\n }}\n"
        ),
    )
    .expect("written");
    let cache = format!("FILE:{}", ccache.display());
    let with = |program: &str| {
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", &kerberos)
            .env("KRB5CCNAME", &cache);
        command
    };
    succeed(
        with("kinit")
            .args(["-k", "-t"])
            .arg(lab().join("svc-jims.keytab"))
            .arg("svc-jims@CORP.EXAMPLE.COM"),
    );
    succeed(with("kvno").arg(service));
    let python = lab().join("venv/bin/python");
    succeed(
        with(python.to_str().expect("a path"))
            .arg(format!(
                "{}/tests/lab/peers/{script}",
                env!("CARGO_MANIFEST_DIR")
            ))
            .arg("--keytab")
            .arg(lab().join(keytab))
            .arg("--ccache")
            .arg(&ccache),
    )
}
