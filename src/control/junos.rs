//! What to type on a firewall, as the control socket shows it.
//!
//! Which commands these are is decided by the Server's room; here they only cross a process boundary.

use serde::{Deserialize, Serialize};

/// How to set up one enforcement point on its side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Junos {
    /// The enforcement point.
    pub name: String,
    /// Configuration mode: `set` commands. `<…>` is to be filled in.
    pub configuration: Vec<String>,
    /// What to fill in, and where it is.
    pub fill_in: Vec<String>,
    /// The CA certificate that the firewall checks us by.
    pub certificate: Option<JunosCertificate>,
    /// Operational mode: how to see that it works.
    pub check: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// A CA certificate to install on the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JunosCertificate {
    /// The file that holds it here.
    pub file: String,
    /// Its content.
    pub pem: String,
    /// Where the commands expect it on the firewall.
    pub on_firewall: String,
    /// Operational mode, after the commit.
    pub load: String,
}
