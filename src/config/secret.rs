//! Secrets by reference: the only code that reads them.
//!
//! A configuration holds a [`SecretRef`]; whoever needs the secret reads it at the moment of use, so that a rotated
//! file counts without a restart. A [`Secret`] is never printed.

use std::path::PathBuf;

use secrecy::SecretString;

/// A secret in memory: zeroed when dropped, never printed.
pub type Secret = SecretString;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// First line of a file that others cannot read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A systemd credential, in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}
