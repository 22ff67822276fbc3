//! Secrets by reference: the only code that reads them.
//!
//! A configuration holds a [`SecretRef`]; whoever needs the secret reads it at the moment of use, so that a rotated
//! file counts without a restart. A [`Secret`] is never printed, and no error here holds a byte of one.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;
use zeroize::Zeroizing;

/// A secret in memory: zeroed when dropped, never printed.
pub type Secret = SecretString;

/// Longest secret file in bytes. A private key with a long chain beside it fits; an archive given by mistake does not.
pub const MAX_SECRET_FILE_BYTES: u64 = 256 * 1024;

/// The bit of a file's mode that lets everybody read it.
const OTHERS_CAN_READ: u32 = 0o004;

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

/// Why a secret could not be read.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file is not there, or may not be read.
    #[error("cannot read the secret file {path}: {}", reason(.source))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("the secret file {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Everybody on this machine may read it.
    #[error("everybody on this machine can read the secret file {path} (mode {mode:04o})")]
    OthersCanRead {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Over [`MAX_SECRET_FILE_BYTES`].
    #[error("the secret file {0} is larger than {MAX_SECRET_FILE_BYTES} bytes")]
    TooLarge(PathBuf),
    /// The bytes are no text.
    #[error("the secret in {0} is not UTF-8 text")]
    NotText(String),
    /// The first line holds nothing.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// Not started by systemd with credentials.
    #[error("there is no systemd credential {0}: $CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(String),
}

impl SecretRef {
    /// Reads the secret as it is now: the first line, without its line end.
    ///
    /// # Errors
    /// [`SecretError`], with [`SecretError::remedy`] for the operator.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => first_line(&read_file(path)?, &path.display().to_string()),
            Self::Env(name) => match std::env::var(name) {
                Ok(value) => first_line(
                    Zeroizing::new(value.into_bytes()).as_slice(),
                    &format!("${name}"),
                ),
                Err(std::env::VarError::NotPresent) => Err(SecretError::NoVariable(name.clone())),
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(SecretError::NotText(format!("${name}")))
                }
            },
            Self::Credential(name) => first_line(
                &read_file(&credential(name)?)?,
                &format!("the credential {name}"),
            ),
        }
    }
}

impl SecretRef {
    /// Reads a secret that is no text, such as a keytab: the whole file, not only its first line.
    ///
    /// # Errors
    /// [`SecretError`], with [`SecretError::remedy`] for the operator.
    pub fn read_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => credential(name)?,
            // An environment variable cannot hold zero bytes, which every keytab has.
            Self::Env(name) => {
                return Err(SecretError::NotAFile(PathBuf::from(format!("${name}"))));
            }
        };
        let bytes = read_file(&path)?;
        if bytes.is_empty() {
            return Err(SecretError::Empty(path.display().to_string()));
        }
        Ok(bytes)
    }
}

impl fmt::Display for SecretRef {
    /// Where the secret is; never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

impl SecretError {
    /// What to try, one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreadable { path, source } => match source.kind() {
                std::io::ErrorKind::NotFound => {
                    format!(
                        "put the secret alone on the first line of {}",
                        path.display()
                    )
                }
                std::io::ErrorKind::PermissionDenied => format!(
                    "let the account that runs jims read it: chgrp jims {0} && chmod 0640 {0}",
                    path.display()
                ),
                _ => format!("look at the file with: ls -l {}", path.display()),
            },
            Self::NotAFile(path) => format!("look at it with: ls -l {}", path.display()),
            Self::OthersCanRead { path, .. } => format!("chmod o= {}", path.display()),
            Self::TooLarge(_) => "name the file that holds the secret alone".to_owned(),
            Self::NotText(_) => "write the secret as UTF-8 text on the first line".to_owned(),
            Self::Empty(_) => "write the secret on the first line".to_owned(),
            Self::NoVariable(name) => {
                format!("set {name} where jims is started, or use a file or a systemd credential")
            }
            Self::NoCredentials(name) => format!(
                "add LoadCredential={name}:/path/to/file to the systemd unit, or use a file"
            ),
        }
    }
}

/// Reads a file that holds a secret, such as a private key, whole and bounded.
///
/// # Errors
/// [`SecretError`] if it is not there, not a regular file, too large, or readable by everybody on this machine.
pub fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened, because opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let facts = file.metadata().map_err(unreadable)?;
    let mode = facts.permissions().mode() & 0o7777;
    if mode & OTHERS_CAN_READ != 0 {
        return Err(SecretError::OthersCanRead {
            path: path.to_owned(),
            mode,
        });
    }
    if facts.size() > MAX_SECRET_FILE_BYTES {
        return Err(SecretError::TooLarge(path.to_owned()));
    }
    // One allocation for the whole, so that growing leaves no copies of the secret behind.
    let capacity = usize::try_from(facts.size()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_SECRET_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// Where systemd put a credential.
fn credential(name: &str) -> Result<PathBuf, SecretError> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
        .ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
    Ok(Path::new(&folder).join(name))
}

/// The first line of the bytes as a secret; `place` is for the error.
fn first_line(bytes: &[u8], place: &str) -> Result<Secret, SecretError> {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| SecretError::NotText(place.to_owned()))?;
    if text.is_empty() {
        return Err(SecretError::Empty(place.to_owned()));
    }
    Ok(Secret::from(text))
}

/// The system's reason in words that need no error number.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, SecretRef::File(path))
    }

    #[test]
    fn the_first_line_without_its_end_is_the_secret() {
        for content in ["s3cret pass\nnotes\n", "s3cret pass\r\n", "s3cret pass"] {
            let (_folder, secret) = file(content.as_bytes(), 0o600);
            assert_eq!(secret.read().unwrap().expose_secret(), "s3cret pass");
        }
    }

    #[test]
    fn rule_30_others_may_not_read_but_the_group_may() {
        let (_folder, secret) = file(b"s3cret\n", 0o640);
        assert!(secret.read().is_ok());
        let (_folder, secret) = file(b"s3cret\n", 0o644);
        let error = secret.read().unwrap_err();
        assert!(error.to_string().contains("mode 0644"), "{error}");
        assert!(error.remedy().starts_with("chmod o= "), "{error}");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let (_folder, empty) = file(b"\n", 0o600);
        assert!(matches!(empty.read(), Err(SecretError::Empty(_))));
        let (_folder, binary) = file(b"\xff\xfe\n", 0o600);
        assert!(matches!(binary.read(), Err(SecretError::NotText(_))));
        let (folder, gone) = file(b"s3cret", 0o600);
        drop(folder);
        assert!(matches!(gone.read(), Err(SecretError::Unreadable { .. })));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            SecretRef::File(folder.path().to_owned()).read(),
            Err(SecretError::NotAFile(_))
        ));
        assert!(matches!(
            SecretRef::Env("JIMS_THIS_IS_NOT_SET".to_owned()).read(),
            Err(SecretError::NoVariable(_))
        ));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let (_folder, secret) = file(b"hunter2\n", 0o600);
        let value = secret.read().unwrap();
        assert!(!format!("{value:?} {secret:?} {secret}").contains("hunter2"));
        let (_folder, binary) = file(b"hunter2\xff\n", 0o600);
        let error = binary.read().unwrap_err();
        assert!(!format!("{error} {error:?} {}", error.remedy()).contains("hunter2"));
    }
}
