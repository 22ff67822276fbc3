//! What a Collector keeps of a Server that it pushes to: `state_dir/push/NAME.toml`, readable by its owner alone.
//!
//! The file is written before the secret is sent for the first time, so that an onboarding that is cut off in the middle
//! goes on with the same secret (rule 26). Each file stands for itself: a damaged one does not stop the others.

use std::fmt;
use std::mem::take;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::target::{Target, is_name};
use crate::config::secret::{Secret, SecretError, read_file};
use crate::identity::time::UtcMillis;
use crate::net::collector_client::{ServerTrust, TrustedBy, hex};
use crate::runtime::state_dir::{StateDir, StateError};

/// The folder in the state folder.
pub const FOLDER: &str = "push";
const SUFFIX: &str = ".toml";
/// Most targets of a Collector; further files are not looked at.
pub const MAX_TARGETS: usize = 64;
const HEADING: &str =
    "# Written by `jims onboard`: how this Collector signs on at a Server. Keep it secret.\n";

/// How far an onboarding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The Server may or may not have heard of the secret.
    Pending,
    /// The Server took it.
    Onboarded,
}

/// How a Collector signs on at one Server.
#[derive(Clone)]
pub struct Credential {
    /// The target's name: that of the file.
    pub name: String,
    /// Where the Server is.
    pub target: Target,
    /// What the Server calls this Collector; empty while pending.
    pub collector: String,
    /// What the Server calls itself; empty while pending.
    pub server: String,
    /// The client id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// SHA-256 of the Server's public key.
    pub key_sha256: [u8; 32],
    /// What made the Server's certificate good when it was onboarded.
    pub trust: Option<TrustedBy>,
    /// Issuers that verify the Server's certificate, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// How far the onboarding is.
    pub stage: Stage,
    /// When the Server took it.
    pub onboarded_at: Option<UtcMillis>,
}

/// Why a credential cannot be read or kept.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The file cannot be read, or others can.
    #[error("could not take the credential of a Server: {0}")]
    Secret(#[from] SecretError),
    /// It is not what `jims onboard` writes.
    #[error("the credential {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong; never a part of the secret.
        reason: String,
    },
    /// The folder cannot be listed.
    #[error("cannot list {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl CredentialError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Secret(error) => error.remedy(),
            Self::Damaged { path, .. } => format!(
                "remove {}, and onboard this Collector again with a new code",
                path.display()
            ),
            Self::Folder { path, .. } => format!("check owner and mode of {}", path.display()),
            Self::State(error) => error.remedy(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .field("url", &self.target.url())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// The file's layout.
#[derive(Deserialize, Serialize)]
struct Stored {
    name: String,
    url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    collector: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    server: String,
    client_id: String,
    client_secret: String,
    key_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    state: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    onboarded_at: Option<jiff::Timestamp>,
}

impl Credential {
    /// Reads one file; a relative `ca_file` in it is beside it.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it is damaged.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let bytes = read_file(path)?;
        let damaged = |reason: &str| CredentialError::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
        // The parser's own words would quote the line, secret and all.
        let stored: Stored = toml::from_str(text)
            .map_err(|error: toml::de::Error| damaged(&wrong_line(text, &error)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        stored.checked(folder).map_err(damaged)
    }

    /// Writes it into the folder, whole or not at all.
    ///
    /// # Errors
    /// Nothing changed then.
    pub fn write(&self, folder: &StateDir) -> Result<PathBuf, CredentialError> {
        let stored = Stored {
            name: self.name.clone(),
            url: self.target.url().to_owned(),
            collector: self.collector.clone(),
            server: self.server.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.expose_secret().to_owned(),
            key_sha256: hex(&self.key_sha256),
            trust: self.trust.map(|trust| trust.as_str().to_owned()),
            ca_file: self.ca_file.as_ref().map(|file| {
                // Beside it, so that the state folder may be moved.
                let beside = file.strip_prefix(folder.path());
                beside.unwrap_or(file).to_owned()
            }),
            state: self.stage,
            onboarded_at: (self.onboarded_at)
                .and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok()),
        };
        let file = file_name(&self.name);
        let path = folder.path().join(&file);
        let text = toml::to_string(&stored).map_err(|_| CredentialError::Damaged {
            path: path.clone(),
            reason: "it cannot be written as TOML".to_owned(),
        })?;
        let text = Zeroizing::new(format!("{HEADING}{}", Zeroizing::new(text).as_str()));
        folder.replace(&file, text.as_bytes())?;
        Ok(path)
    }

    /// Whom to take for the Server.
    #[must_use]
    pub fn server_trust(&self) -> ServerTrust {
        ServerTrust {
            ca_file: self.ca_file.clone(),
            key_sha256: Some(self.key_sha256),
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.client_secret.zeroize();
    }
}

impl Stored {
    fn checked(mut self, folder: &Path) -> Result<Credential, &'static str> {
        let target = Target::parse(&self.url).map_err(|_| "url is no URL of a Server")?;
        let key = HEX.decode(self.key_sha256.as_bytes()).ok();
        let key = key.and_then(|key| key.try_into().ok());
        let trust = match self.trust.as_deref() {
            None => None,
            Some("roots") => Some(TrustedBy::Roots),
            Some("ca-file") => Some(TrustedBy::CaFile),
            Some("key") => Some(TrustedBy::Key),
            Some(_) => return Err("trust is none of roots, ca-file, key"),
        };
        if !is_name(&self.name) {
            return Err("name is no name of a target");
        }
        if self.client_id.is_empty() || self.client_secret.is_empty() {
            return Err("client_id or client_secret is empty");
        }
        Ok(Credential {
            name: take(&mut self.name),
            target,
            collector: take(&mut self.collector),
            server: take(&mut self.server),
            client_id: take(&mut self.client_id),
            client_secret: Secret::from(self.client_secret.as_str()),
            key_sha256: key.ok_or("key_sha256 is not 64 digits in hexadecimal")?,
            trust,
            ca_file: self.ca_file.take().map(|file| folder.join(file)),
            stage: self.state,
            onboarded_at: self.onboarded_at.map(|at| UtcMillis(at.as_millisecond())),
        })
    }
}

/// Where in the text the parser stumbled, without what stands there.
fn wrong_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}", before.matches('\n').count() + 1),
        None => "something is missing".to_owned(),
    }
}

/// The file of a target in the folder.
#[must_use]
pub fn file_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// The file of a target's issuers in the folder.
#[must_use]
pub fn ca_file_name(name: &str) -> String {
    format!("{name}.ca.pem")
}

/// A file, and what it holds.
pub type Listed = (PathBuf, Result<Credential, CredentialError>);

/// Every credential of a state folder, by file, in order; each read for itself.
///
/// # Errors
/// The folder is there and cannot be listed.
pub fn list(state_dir: &Path) -> Result<Vec<Listed>, CredentialError> {
    let folder = state_dir.join(FOLDER);
    let failed = |source| CredentialError::Folder {
        path: folder.clone(),
        source,
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let is_ours = name
            .and_then(|name| name.strip_suffix(SUFFIX))
            .is_some_and(is_name);
        if is_ours && paths.len() < MAX_TARGETS {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths
        .into_iter()
        .map(|path| {
            let read = Credential::read(&path).and_then(|read| named_as_its_file(read, &path));
            (path, read)
        })
        .collect())
}

/// Two files of one name would be one target.
fn named_as_its_file(read: Credential, path: &Path) -> Result<Credential, CredentialError> {
    if path
        .file_name()
        .is_some_and(|file| file == file_name(&read.name).as_str())
    {
        return Ok(read);
    }
    Err(CredentialError::Damaged {
        path: path.to_owned(),
        reason: "name is not that of the file".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn credential(name: &str) -> Credential {
        Credential {
            name: name.into(),
            target: Target::parse("https://hub.example.com:8443").expect("a URL"),
            collector: "branch-1".into(),
            server: "hub".into(),
            client_id: "collector-00".into(),
            client_secret: Secret::from("s3cret"),
            key_sha256: [7; 32],
            trust: Some(TrustedBy::Key),
            ca_file: Some("hub.ca.pem".into()),
            stage: Stage::Onboarded,
            onboarded_at: Some(UtcMillis(1_800_000_000_000)),
        }
    }

    #[test]
    fn a_credential_is_read_as_it_was_written_by_its_owner_alone() {
        let state = tempfile::tempdir().expect("folder");
        let folder = StateDir::open(&state.path().join(FOLDER)).expect("folder");
        let path = credential("hub").write(&folder).expect("write");
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let listed = list(state.path()).expect("list");
        let [(_, Ok(read))] = listed.as_slice() else {
            panic!("{listed:?}");
        };
        assert_eq!(read.target.url(), "https://hub.example.com:8443");
        assert_eq!(read.client_secret.expose_secret(), "s3cret");
        assert_eq!(
            (read.stage, read.trust),
            (Stage::Onboarded, Some(TrustedBy::Key))
        );
        assert_eq!(read.ca_file, Some(folder.path().join("hub.ca.pem")));
        assert_eq!(read.onboarded_at, Some(UtcMillis(1_800_000_000_000)));
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn a_damaged_file_names_itself_without_its_secret_and_stops_no_other() {
        let state = tempfile::tempdir().expect("folder");
        assert!(list(state.path()).expect("nothing yet").is_empty());
        let folder = StateDir::open(&state.path().join(FOLDER)).expect("folder");
        credential("good").write(&folder).expect("write");
        let text = "name = \"bad\"\nclient_secret = \"s3cret\nurl = 1\n";
        folder.replace("bad.toml", text.as_bytes()).expect("write");
        let good = std::fs::read(folder.path().join("good.toml")).expect("file");
        folder.replace("copy.toml", &good).expect("write");
        folder.replace("open.toml", &good).expect("write");
        let all = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(folder.path().join("open.toml"), all).expect("mode");
        let listed = list(state.path()).expect("list");
        let said: Vec<String> = listed
            .iter()
            .map(|(_, read)| match read {
                Ok(read) => read.name.clone(),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(said.len(), 4);
        assert!(said[0].contains("bad.toml is damaged: line 2"), "{said:?}");
        assert!(!said[0].contains("s3cret"), "{said:?}");
        assert!(said[1].contains("copy.toml is damaged: name"), "{said:?}");
        assert_eq!(said[2], "good");
        assert!(said[3].contains("everybody"), "{said:?}");
    }
}
