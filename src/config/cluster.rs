//! `[cluster]`: several processes on one order.
//!
//! Part of [`super::Config`]; what it means is in `cluster/`.

use std::path::PathBuf;

use super::secret::SecretRef;

/// `[cluster]`, present if `nats` names any server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// NATS servers, `nats://` or `tls://`, host and port; those of one NATS cluster.
    pub nats: Vec<String>,
    /// Name of the JetStream stream that gives the order; what else is stored there is named after it.
    pub stream: String,
    /// Copies that NATS keeps of everything: 1, 3 or 5.
    pub replicas: u8,
    /// How this process signs on; `None`: the servers let anybody in.
    pub account: Option<NatsAccount>,
    /// Whose certificates the servers have; `None`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show to the servers.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How a process signs on to NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsAccount {
    /// User and password.
    Password(String, SecretRef),
    /// The seed of an nkey.
    Nkey(SecretRef),
}
