//! Every default, each with its reason; `config.example.toml` shows the same values and reasons, held equal by a test.
//!
//! Defaults that depend on where the process runs (folders, host name) are functions of an [`Environment`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A working day and its night: somebody who unlocked his desk yesterday morning is doubted today. Also the longest
/// time that Juniper's own service allows.
pub const LOGOFF_TIME: Duration = Duration::from_hours(24);

/// Long enough to repair a password or a firewall rule, short enough that nobody keeps an address overnight by accident.
pub const GRACE: Duration = Duration::from_hours(1);

/// Following a device gives a user an address without evidence of his own: to be asked for.
pub const FOLLOW_DEVICE: bool = false;

/// What is lost in a crash is at most this much of syslog; every other source is read again from its bookmark.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);

/// "Who was that last night?" is asked when it is too late to switch this on.
pub const HISTORY_ENABLED: bool = true;

/// A month: as long as most firewalls' logs are looked at; who was where is personal data, and no longer of use then.
pub const HISTORY_MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// Some ten million sessions.
pub const HISTORY_MAX_SIZE: u64 = 1 << 30;

/// Whoever looks at NATS finds it by this name.
pub const CLUSTER_STREAM: &str = "JIMS";

/// What a single NATS server can keep; three survive the loss of one.
pub const CLUSTER_REPLICAS: u8 = 1;

/// A group change reaches firewalls within half a minute, at the cost of one small search.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Name servers.
pub const DNS_PORT: u16 = 53;

/// The most that Active Directory gives in one page (`MaxPageSize`).
pub const PAGE_SIZE: u32 = 1000;

/// LDAP over TLS.
pub const LDAPS_PORT: u16 = 636;

/// LDAP in clear text and with StartTLS.
pub const LDAP_PORT: u16 = 389;

/// The endpoint mapper of every Windows machine.
pub const ENDPOINT_MAPPER_PORT: u16 = 135;

/// Who logged on in the last hour is known at once after the first start; older logons are renewed by the next ticket.
pub const CATCH_UP: Duration = Duration::from_hours(1);

/// Some hundred computers answer within seconds; each probe costs two connections and a ticket.
pub const PROBE_PARALLEL: u32 = 256;

/// A branch office's line carries this many sign-ons at once without being felt.
pub const PROBE_PER_SUBNET: u32 = 8;

/// A sleeping or filtered computer does not answer at all; one that does has answered long before.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A computer that could not be asked is asked again after this.
pub const PROBE_RETRY: Duration = Duration::from_mins(1);

/// The port to which senders send unless told otherwise, over UDP and TCP.
pub const SYSLOG_PORT: u16 = 514;

/// HTTPS: what SRX firewalls use unless told otherwise.
pub const SERVER_PORT: u16 = 443;

/// What Juniper's own service gives: firewalls ask for a token some three times a day.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(8);

/// Whom the Server takes identities from is a decision; only few Servers have Collectors elsewhere.
pub const INGEST: bool = false;

/// What is told is from us.
pub const WEB_API_SOURCE: &str = "jims";

/// What Junos asks for in one batch unless told otherwise: some 100 KB.
pub const WEB_API_ENTRIES: u32 = 200;

/// A hundred thousand entries in a minute; the firewall's control plane has other work, too.
pub const WEB_API_DOCUMENTS: u32 = 10;

/// An SRX that restarted has forgotten everything and does not say so; half its own timeout of an entry.
pub const WEB_API_REFRESH: Duration = Duration::from_mins(30);

/// The group that the packages make.
pub const CONTROL_GROUP: &str = "jims";

/// Life-cycle and what wants an operator; no user names.
pub const LOG_LEVEL: &str = "info";

/// Longest path of a local socket on Linux, in bytes (`sun_path`, without its final zero).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// All addresses of this machine, of both families.
#[must_use]
pub fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// What defaults depend on beside the file.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The process runs as root.
    pub root: bool,
    /// Name of this machine.
    pub host_name: String,
    /// `$STATE_DIRECTORY`, set by systemd.
    pub state_directory: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY`, set by systemd.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, else `$HOME/.local/state`.
    pub xdg_state: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        // systemd joins several folders by colons; ours is the first.
        let folder = |name: &str| {
            let value = std::env::var(name).ok()?;
            let first = value.split(':').next().unwrap_or_default();
            (!first.is_empty()).then(|| PathBuf::from(first))
        };
        let host_name = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            root: rustix::process::geteuid().is_root(),
            host_name,
            state_directory: folder("STATE_DIRECTORY"),
            runtime_directory: folder("RUNTIME_DIRECTORY"),
            xdg_state: folder("XDG_STATE_HOME")
                .or_else(|| folder("HOME").map(|home| home.join(".local/state"))),
            xdg_runtime: folder("XDG_RUNTIME_DIR"),
        }
    }

    /// `collector.name`: the name under which people know this machine.
    #[must_use]
    pub fn collector_name(&self) -> String {
        let known: String = self
            .host_name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .take(64)
            .collect();
        if known.is_empty() {
            "jims".to_owned()
        } else {
            known
        }
    }

    /// `collector.state_dir`: where systemd says, else where the system or the user keeps state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        if let Some(folder) = &self.state_directory {
            return folder.clone();
        }
        match &self.xdg_state {
            Some(folder) if !self.root => folder.join("jims"),
            _ => PathBuf::from("/var/lib/jims"),
        }
    }

    /// `control.socket`: where systemd says, else where the system or the user keeps sockets; without either in
    /// `state_dir`.
    #[must_use]
    pub fn control_socket(&self, state_dir: &std::path::Path) -> PathBuf {
        if let Some(folder) = &self.runtime_directory {
            return folder.join("control.sock");
        }
        if self.root {
            return PathBuf::from("/run/jims/control.sock");
        }
        match &self.xdg_runtime {
            Some(folder) => folder.join("jims/control.sock"),
            None => state_dir.join("control.sock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn folders_follow_systemd_then_root_then_the_user() {
        let systemd = Environment {
            state_directory: Some("/var/lib/private/jims".into()),
            runtime_directory: Some("/run/jims".into()),
            ..Environment::default()
        };
        let state = Path::new("/s");
        assert_eq!(systemd.state_dir(), Path::new("/var/lib/private/jims"));
        assert_eq!(
            systemd.control_socket(state),
            Path::new("/run/jims/control.sock")
        );

        let user = Environment {
            xdg_state: Some("/home/u/.local/state".into()),
            xdg_runtime: Some("/run/user/1000".into()),
            ..Environment::default()
        };
        assert_eq!(user.state_dir(), Path::new("/home/u/.local/state/jims"));
        assert_eq!(
            user.control_socket(state),
            Path::new("/run/user/1000/jims/control.sock")
        );

        let root = Environment { root: true, ..user };
        assert_eq!(root.state_dir(), Path::new("/var/lib/jims"));
        assert_eq!(
            root.control_socket(state),
            Path::new("/run/jims/control.sock")
        );

        let bare = Environment::default();
        assert_eq!(bare.control_socket(state), Path::new("/s/control.sock"));
        assert_eq!(bare.collector_name(), "jims");
    }
}
