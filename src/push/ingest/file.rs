//! The registry in the state folder: `ingest/collectors.json`, written whole, readable by its owner only.
//!
//! A file that is damaged, or of a newer version of jims, is set aside and said, never overwritten: no Collector is
//! onboarded then.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use crate::runtime::state_dir::{StateDir, StateError};
use crate::runtime::supervisor;

/// Its name in the state folder.
const FILE: &str = "ingest/collectors.json";
/// The layout that this version writes.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(flatten)]
    registry: Registry,
}

#[derive(Serialize)]
struct ToStore<'a> {
    version: u32,
    #[serde(flatten)]
    registry: &'a Registry,
}

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl SetAside {
    /// One sentence for people.
    #[must_use]
    pub fn what(&self) -> String {
        format!(
            "the list of Collectors cannot be used and was set aside as {}: {}",
            self.path.display(),
            self.why
        )
    }

    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        "put the file back under its old name with the version of jims that wrote it, or onboard the Collectors again"
            .into()
    }
}

/// Where the registry is kept.
#[derive(Clone, Debug)]
pub(super) struct RegistryFile(Arc<StateDir>);

impl RegistryFile {
    /// In the state folder.
    pub(super) fn new(state: Arc<StateDir>) -> Self {
        Self(state)
    }

    /// What was kept; nothing if there is no file, or if it had to be set aside.
    ///
    /// # Errors
    /// The file is there and can neither be read nor set aside.
    pub(super) fn read(&self) -> Result<(Registry, Option<SetAside>), StateError> {
        let Some(bytes) = self.0.read(FILE)? else {
            return Ok((Registry::default(), None));
        };
        let (reason, why) = match decode(&bytes) {
            Ok(registry) => return Ok((registry, None)),
            Err(refused) => refused,
        };
        let path = self.0.set_aside(FILE, reason)?;
        Ok((Registry::default(), Some(SetAside { path, why })))
    }

    /// Keeps the registry.
    ///
    /// # Errors
    /// It cannot be written; the file is as before.
    pub(super) async fn write(&self, registry: &Registry) -> Result<(), StateError> {
        let bytes = encode(registry);
        let state = Arc::clone(&self.0);
        let written = supervisor::blocking(move || state.replace(FILE, &bytes)).await;
        written.unwrap_or_else(|| {
            Err(StateError::Write {
                path: self.0.path().join(FILE),
                source: std::io::Error::other("writing panicked"),
            })
        })
    }
}

fn encode(registry: &Registry) -> Vec<u8> {
    let stored = ToStore {
        version: VERSION,
        registry,
    };
    // Text with string keys always becomes JSON.
    serde_json::to_vec_pretty(&stored).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Result<Registry, (&'static str, String)> {
    let damaged = |error: serde_json::Error| ("damaged", error.to_string());
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.version > VERSION {
        let why = format!("it is of version {}, newer than this jims", head.version);
        return Err(("newer", why));
    }
    let stored: Stored = serde_json::from_slice(bytes).map_err(damaged)?;
    Ok(stored.registry)
}

#[cfg(test)]
mod tests {
    use super::super::registry::{DEFAULT_EXPIRY, hash};
    use super::super::scope::ScopeText;
    use super::*;
    use crate::identity::time::UtcMillis;
    use std::os::unix::fs::MetadataExt as _;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let scope = ScopeText {
            roles: vec!["VPN-*".into()],
            ..ScopeText::default()
        };
        let expires = registry.invite("berlin", hash("x"), DEFAULT_EXPIRY, scope, UtcMillis(5));
        expires.expect("a good invitation");
        registry
    }

    fn folder() -> (tempfile::TempDir, RegistryFile) {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(folder.path()).expect("state");
        (folder, RegistryFile::new(Arc::new(state)))
    }

    #[tokio::test]
    async fn what_is_kept_is_read_again_and_private() {
        let (folder, file) = folder();
        assert_eq!(file.read().expect("read"), (Registry::default(), None));
        file.write(&registry()).await.expect("written");
        assert_eq!(file.read().expect("read"), (registry(), None));
        let path = folder.path().join(FILE);
        let mode = std::fs::metadata(&path).expect("file").mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(path).expect("text");
        assert!(text.contains("\"version\": 1") && text.contains("VPN-*"));
    }

    #[tokio::test]
    async fn what_is_damaged_or_newer_is_set_aside_and_said() {
        for (bytes, name) in [
            (&b"{\"version\": 1, \"coll"[..], "damaged-1"),
            (b"{\"version\": 2, \"collectors\": 7}", "newer-1"),
        ] {
            let (folder, file) = folder();
            file.write(&registry()).await.expect("written");
            std::fs::write(folder.path().join(FILE), bytes).expect("spoilt");
            let (empty, aside) = file.read().expect("read");
            assert_eq!(empty, Registry::default());
            let aside = aside.expect("it is said");
            assert!(aside.path.ends_with(format!("collectors.json.{name}")));
            assert_eq!(std::fs::read(&aside.path).expect("kept"), bytes);
            assert!(aside.what().contains(name));
        }
    }
}
