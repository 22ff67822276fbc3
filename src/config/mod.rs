//! The configuration: what the operator wrote, checked whole, as types that cannot be wrong any more.
//!
//! `file` reads the TOML as a tree that knows its lines, `value` how each kind of value is written, `resolve` turns it
//! into [`Config`] one table at a time and collects every problem, `defaults` holds each default with its reason,
//! `difference` says what a reload has to do, `secret` is the only code that reads secrets. Nothing here opens a socket
//! or knows how a room uses its part.

mod clients;
mod cluster;
pub mod defaults;
pub mod difference;
mod file;
mod history;
pub mod problem;
mod push;
mod resolve;
pub mod secret;
mod size;
mod suggest;
mod value;
mod web_api;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use self::clients::{Caller, FirewallPush};
pub use self::cluster::{Cluster, NatsAccount};
pub use self::difference::{Difference, difference};
pub use self::history::History;
pub use self::problem::{Problem, Problems};
pub use self::push::{Ingest, Push};
use self::secret::SecretRef;
pub use self::value::{parse_duration, show_network};
pub use self::web_api::{POST_ENTRY, WebApi};
use crate::identity::name::Name;
use crate::identity::policy::{DomainPolicy, Filter};
use crate::identity::worth::Conflict;

/// A configuration that can be run, and what may be a mistake in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What may be a mistake.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration file, and the files that it names.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    resolve::load(path)
}

/// The whole configuration, resolved and valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[collector]`
    pub collector: Collector,
    /// `[session]`
    pub session: Session,
    /// `[[domain]]`
    pub domains: Vec<DomainPolicy>,
    /// `[[directory_service]]`
    pub directories: Vec<Directory>,
    /// `[[event_source]]`
    pub event_sources: Vec<EventSource>,
    /// `[syslog]`, present if a `[[syslog_source]]` is
    pub syslog: Option<Syslog>,
    /// `[pc_probe]`, present if `networks` names any
    pub pc_probe: Option<PcProbe>,
    /// `[server]`, present if the table is
    pub server: Option<Server>,
    /// `[[enforcement_point]]`
    pub enforcement_points: Vec<EnforcementPoint>,
    /// `[[firewall_push]]`
    pub firewall_pushes: Vec<FirewallPush>,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[[push]]`
    pub pushes: Vec<Push>,
    /// `[filter]`
    pub filter: Filter,
    /// `[dns]`
    pub dns: Dns,
    /// `[cluster]`, present if `nats` names any
    pub cluster: Option<Cluster>,
    /// `[control]`
    pub control: Control,
    /// `[history]`
    pub history: History,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// Checks a configuration given as text. `path` is named in problems, and its folder is where relative paths start;
    /// the file need not exist.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn from_toml(text: &str, path: &Path) -> Result<Loaded, Problems> {
        resolve::from_toml(text, path)
    }

    /// What the table obeys.
    #[must_use]
    pub fn policy(&self) -> crate::identity::policy::Policy {
        resolve::policy(self)
    }
}

/// `[collector]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Identifier of this Collector.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where state is kept.
    pub state_dir: PathBuf,
}

/// `[session]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// 1 min to 24 h.
    pub logoff_time: Duration,
    /// Rules 10.
    pub grace: Duration,
    /// Rules 9.
    pub follow_device: bool,
    /// How often the table is saved.
    pub snapshot_interval: Duration,
    /// Networks where several users share an address.
    pub shared_addresses: Vec<IpNet>,
}

/// `[[directory_service]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Unique name.
    pub name: Name,
    /// DNS domain.
    pub domain: Name,
    /// Where it is read from.
    pub source: DirectorySource,
    /// How often changes are read.
    pub poll_interval: Duration,
}

/// Where a directory is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectorySource {
    /// A file in LDIF; read again when it changes.
    Ldif(PathBuf),
    /// A server.
    Ldap(Ldap),
}

/// How a directory server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// In order of preference; empty: DNS SRV.
    pub hosts: Vec<String>,
    /// 636 or 389 unless configured.
    pub port: u16,
    /// How the connection is protected.
    pub tls: LdapTls,
    /// Root certificates; default: the system's.
    pub ca_file: Option<PathBuf>,
    /// How it signs on.
    pub auth: Auth,
    /// Account: UPN or `DOMAIN\user`; for a simple bind also a distinguished name.
    pub user: String,
    /// What proves the account.
    pub proof: Proof,
    /// Key distribution centres, `host` or `host:port`; empty: DNS SRV, then the server itself.
    pub kdc: Vec<String>,
    /// Whether the sign-on is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Entries a page, 10 to 1000.
    pub page_size: u32,
}

/// How an account signs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The password itself, over TLS (LDAP only).
    Simple,
    /// Kerberos and nothing else.
    Kerberos,
    /// Kerberos, else NTLM (SPNEGO, RFC 4178).
    Negotiate,
    /// NTLM version 2 and nothing else.
    Ntlm,
}

impl Auth {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Kerberos => "kerberos",
            Self::Negotiate => "negotiate",
            Self::Ntlm => "ntlm",
        }
    }
}

/// What proves an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its password.
    Password(SecretRef),
    /// Its keys, in a keytab.
    Keytab(SecretRef),
}

/// Whether a sign-on is bound to the certificate of the TLS channel (RFC 5929).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// With NTLM, where servers may demand it; not with Kerberos, where some refuse it.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// `[[event_source]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSource {
    /// Unique name: the producer.
    pub name: String,
    /// What kind of server it is, which decides which records count.
    pub kind: EventSourceKind,
    /// Domain of names that carry none, and the account's realm.
    pub domain: Name,
    /// Host name or address.
    pub host: String,
    /// Endpoint mapper.
    pub port: u16,
    /// How it signs on; never [`Auth::Simple`].
    pub auth: Auth,
    /// Key distribution centres, `host` or `host:port`; empty: DNS SRV, then the host itself.
    pub kdc: Vec<String>,
    /// Account: UPN, `DOMAIN\user` or a bare name of `domain`.
    pub user: String,
    /// What proves the account.
    pub proof: Proof,
    /// How much of the past is read at the first start, 0 to 7 days.
    pub catch_up: Duration,
    /// How records are fetched.
    pub delivery: Delivery,
    /// Scope: addresses it may speak for; empty: all.
    pub networks: Vec<IpNet>,
    /// Scope: domains it may speak for; empty: all.
    pub domains: Vec<Name>,
    /// `[conflict]`
    pub conflict: Conflict,
}

/// What an event source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSourceKind {
    /// A domain controller: it sees every logon of its domain.
    DomainController,
    /// An Exchange server: it sees mail clients.
    Exchange,
}

/// How records are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The best that the server allows: push, else pull, else query.
    Auto,
    /// The server sends records as they are written.
    Push,
    /// We ask a subscription for what is new.
    Pull,
    /// We ask the log for what is new.
    Query,
}

/// `[pc_probe]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcProbe {
    /// Only addresses inside are probed; never empty.
    pub networks: Vec<IpNet>,
    /// Where a computer's object activator listens.
    pub port: u16,
    /// How it signs on; never [`Auth::Simple`].
    pub auth: Auth,
    /// Key distribution centres, `host` or `host:port`; empty: DNS SRV, then the name of the domain.
    pub kdc: Vec<String>,
    /// Probes at the same time, 1 to 4096.
    pub parallel: usize,
    /// Probes at the same time in one /24 or /64.
    pub per_subnet: usize,
    /// For one probe, 1 s to 60 s.
    pub timeout: Duration,
    /// Between two tries of the same computer, 1 s to 1 h.
    pub retry: Duration,
    /// When only those are probed that somebody asks for.
    pub quiet_hours: Option<QuietHours>,
    /// In the order in which they are tried; at most 8.
    pub credentials: Vec<ProbeCredential>,
}

/// `[[pc_probe.credential]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeCredential {
    /// Account: UPN, `DOMAIN\user` or a bare name of `domain`.
    pub user: String,
    /// What proves it.
    pub proof: Proof,
    /// DNS domain of the account: its realm.
    pub domain: Name,
}

/// Part of every day, in minutes after local midnight; `from` is in it, `to` is not, and it may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Begin, 0 to 1439.
    pub from: u16,
    /// End, 0 to 1439, another than `from`.
    pub to: u16,
}

impl QuietHours {
    /// How long they last.
    #[must_use]
    pub fn length(self) -> Duration {
        let day = 24 * 60;
        let minutes = (day + self.to - self.from) % day;
        Duration::from_mins(u64::from(minutes))
    }
}

/// `[dns]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; empty: the system's.
    pub servers: Vec<SocketAddr>,
}

/// How an LDAP connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapTls {
    /// TLS from the first byte.
    Ldaps,
    /// TLS after the StartTLS operation.
    StartTls,
    /// Clear text; only with `allow_password_in_clear_text`.
    None,
}

/// `[syslog]`, its sources and templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// UDP listeners.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<SocketAddr>,
    /// Certificate of the TLS listeners.
    pub certificate: Option<CertificateFiles>,
    /// Client certificates must be signed by one of these.
    pub client_ca_file: Option<PathBuf>,
    /// `[[syslog_source]]`
    pub sources: Vec<SyslogSource>,
    /// `[[syslog_template]]`
    pub templates: Vec<SyslogTemplate>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// `[[syslog_source]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSource {
    /// Unique name: the producer.
    pub name: String,
    /// Addresses and networks it sends from.
    pub senders: Vec<IpNet>,
    /// Templates, tried in order; built-in or configured.
    pub templates: Vec<String>,
    /// Domain of names that carry none.
    pub domain: Option<Name>,
    /// Scope: addresses it may speak for; empty: all.
    pub networks: Vec<IpNet>,
    /// Scope: domains it may speak for; empty: all.
    pub domains: Vec<Name>,
    /// Transports it may use.
    pub transports: Transports,
    /// Names that its TLS client certificate must carry one of; empty: any.
    pub client_names: Vec<String>,
    /// Which time counts.
    pub time: SyslogTime,
    /// Zone of stamps without one: an IANA name, `UTC`, or empty for the machine's.
    pub timezone: String,
    /// Globs of groups it may assert.
    pub roles: Vec<String>,
    /// `[conflict]`
    pub conflict: Conflict,
}

/// Transports of a syslog source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// UDP.
    pub udp: bool,
    /// TCP.
    pub tcp: bool,
    /// TLS.
    pub tls: bool,
}

/// Which time of a syslog message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogTime {
    /// The stamp of the message, within limits (rule 5).
    Message,
    /// The moment it arrived.
    Received,
}

/// `[[syslog_template]]`, as written; compiled by the syslog room.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogTemplate {
    /// Unique name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What its patterns see.
    #[serde(default)]
    pub input: SyslogInput,
    /// Rules, tried in order; the first that matches decides.
    #[serde(rename = "rule")]
    pub rules: Vec<SyslogRule>,
}

/// `[[syslog_template.rule]]`
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogRule {
    /// For people and evidence; default: `EVENT-N`.
    #[serde(default)]
    pub name: String,
    /// What a matching line means.
    pub event: SyslogEvent,
    /// Regular expression with captures `user domain address device group timestamp`.
    pub pattern: String,
    /// How the captures were escaped by the sender.
    #[serde(default)]
    pub unescape: Unescape,
}

/// What the patterns of a template see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogInput {
    /// The text of the message.
    #[default]
    Text,
    /// The JSON object in the message, flattened: one line `path=value` a scalar, sorted by path.
    Json,
}

/// How captures were escaped by the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unescape {
    /// Not at all.
    #[default]
    None,
    /// As in a JSON string.
    Json,
    /// As in a URL: `%5C`.
    Percent,
}

/// What a matching line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogEvent {
    /// A user logged on (strong).
    Logon,
    /// A user logged off.
    Logoff,
    /// A device took the address.
    DeviceLogon,
    /// A device gave the address back.
    DeviceLogoff,
    /// A user was seen (weak).
    Identity,
    /// The line matched and means nothing: stops the search, counted as `ignored`.
    Ignore,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// HTTPS listeners.
    pub listen: Vec<SocketAddr>,
    /// Default: self-signed, made in `state_dir`.
    pub certificate: Option<CertificateFiles>,
    /// CAs that issue the certificates of clients; `None`: clients are asked for none.
    pub client_ca_file: Option<PathBuf>,
    /// Host names and addresses in a certificate of our own; empty: the host's name and where it listens.
    pub certificate_names: Vec<String>,
    /// Life of an access token.
    pub token_lifetime: Duration,
    /// HTTPS listeners of the validator; none: there is no validator.
    pub validator_listen: Vec<SocketAddr>,
    /// Plain HTTP listeners, for debugging.
    pub debug_http_listen: Vec<SocketAddr>,
}

/// `[[enforcement_point]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementPoint {
    /// Unique name.
    pub name: String,
    /// Where it calls from and what it shows; `None` if it is only pushed to.
    pub caller: Option<Caller>,
    /// `[enforcement_point.web_api]`
    pub web_api: Option<WebApi>,
    /// What it is told.
    pub filter: PointFilter,
}

/// `[enforcement_point.filter]`; an empty include means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointFilter {
    /// Only these addresses.
    pub include_addresses: Vec<IpNet>,
    /// Never these addresses.
    pub exclude_addresses: Vec<IpNet>,
    /// Only users of these domains (any name of the domain).
    pub domains: Vec<Name>,
    /// Globs of the groups that may appear in `roles` (rule 19).
    pub groups: Vec<String>,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Group that may use the socket.
    pub group: String,
    /// The socket.
    pub socket: PathBuf,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Listeners of the Prometheus page.
    pub listen: Vec<SocketAddr>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives as in `info,jims::directory=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// For journald: priority prefix, no time.
    Journald,
}
