//! A real rsyslog that forwards what `logger` gives it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{JIMS, ca_file, exists, succeed, wait_for};

/// How rsyslog forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// RFC 3164 over UDP.
    Udp,
    /// Octet-counted RFC 5424 over TCP.
    Tcp,
    /// Octet-counted RFC 5424 over TLS.
    Tls,
}

/// A running rsyslog.
pub(crate) struct Rsyslog {
    folder: tempfile::TempDir,
    child: Child,
}

impl Rsyslog {
    /// Starts one that forwards everything to `jims`.
    pub(crate) fn start(forward: Forward) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("rsyslog.")
            .tempdir_in(super::lab())
            .expect("folder");
        let path = |name: &str| folder.path().join(name);
        let action = match forward {
            Forward::Udp => format!(
                r#"action(type="omfwd" target="{JIMS}" port="5514" protocol="udp" template="RSYSLOG_TraditionalForwardFormat")"#
            ),
            Forward::Tcp => format!(
                r#"action(type="omfwd" target="{JIMS}" port="5514" protocol="tcp" tcp_framing="octet-counted"
                   template="RSYSLOG_SyslogProtocol23Format" action.resumeInterval="1" action.resumeRetryCount="-1")"#
            ),
            Forward::Tls => format!(
                r#"action(type="omfwd" target="{JIMS}" port="6514" protocol="tcp" tcp_framing="octet-counted"
                   template="RSYSLOG_SyslogProtocol23Format" StreamDriver="gtls" StreamDriverMode="1"
                   StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="dc1.corp.example.com"
                   action.resumeInterval="1" action.resumeRetryCount="-1")"#
            ),
        };
        let configuration = format!(
            r#"global(workDirectory="{work}" DefaultNetstreamDriverCAFile="{ca}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" CreatePath="on" RateLimit.Interval="0")
{action}
"#,
            work = folder.path().display(),
            ca = ca_file().display(),
            socket = path("log").display(),
        );
        fs::write(path("rsyslog.conf"), configuration).expect("configuration");
        let child = Command::new("rsyslogd")
            .args(["-n", "-f"])
            .arg(path("rsyslog.conf"))
            .arg("-i")
            .arg(path("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rsyslogd starts");
        wait_for("rsyslog's socket", || exists(&path("log")));
        Self { folder, child }
    }

    /// Gives rsyslog one line as program `iked`, by `logger`.
    pub(crate) fn log(&self, line: &str) {
        succeed(Command::new("logger").arg("-u").arg(self.socket()).args([
            "-t",
            "iked",
            "-p",
            "local0.info",
            "--",
            line,
        ]));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
