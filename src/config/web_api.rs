//! `[enforcement_point.web_api]`: how jims pushes to a firewall that does not ask.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::SecretRef;

/// What follows `url`: documented by Juniper.
pub const POST_ENTRY: &str = "/api/userfw/v1/post-entry";

/// `[enforcement_point.web_api]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebApi {
    /// Scheme, host, port and perhaps a folder, without a slash at the end; plain `http` only on loopback.
    pub url: String,
    /// Account of the Web API (HTTP Basic); without a colon.
    pub user: String,
    /// Its password; read again every 30 s.
    pub password: SecretRef,
    /// Root certificates; default: the system's, or none if the certificate is pinned.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 over the firewall's own certificate. Together with `ca_file` both must hold.
    pub certificate_sha256: Option<[u8; 32]>,
    /// Who the firewall is told that entries are from.
    pub source: String,
    /// Globs of the groups that come first where a user has more than an entry can hold.
    pub preferred_groups: Vec<String>,
    /// Entries of a document, 1 to 1000.
    pub entries_per_document: usize,
    /// Documents a second, 1 to 100.
    pub documents_per_second: u32,
    /// How often everything is told again; `None`: never.
    pub refresh_interval: Option<Duration>,
}
