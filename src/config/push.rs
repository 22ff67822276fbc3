//! Collectors and Servers apart: whether this Server receives, and where this Collector pushes to.
//!
//! Part of [`super::Config`]. What `jims onboard` stored is no configuration: it is read by [`crate::push`], together
//! with what is here.

use std::path::PathBuf;

/// `[ingest]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingest {
    /// The Server takes pushes from Collectors; only with `[server]`.
    pub enabled: bool,
}

/// `[[push]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Unique name.
    pub name: String,
    /// `https`, host, port and perhaps a folder, without a slash at the end.
    pub url: String,
    /// What the Server knows us by, as `jims onboard` writes it in `state_dir/push/NAME.toml`; nobody else can read it.
    pub credential_file: PathBuf,
}
