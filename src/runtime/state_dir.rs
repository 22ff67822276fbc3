//! The folder that holds what outlives the process: locked, files replaced whole or not at all.
//!
//! What the bytes mean is known by their owners; here they are only kept safe.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Largest state file that is read back: 8 GiB.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// The locked state folder. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why state could not be read or kept.
#[derive(Debug, Error)]
pub enum StateError {
    /// The folder cannot be made or opened.
    #[error("cannot use the state folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("the state folder {path} is in use by another jims process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written; the one before it is unharmed.
    #[error("cannot write {path}: {source}; the file before it is kept")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StateError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Folder { path, .. } => format!(
                "create {} for the user that runs jims (systemd: StateDirectory=jims), or set collector.state_dir",
                path.display()
            ),
            Self::Locked { .. } => {
                "stop the other process, or give this one a state_dir of its own".into()
            }
            Self::Read { path, .. } => format!("check owner and mode of {}", path.display()),
            Self::Write { source, path } if source.kind() == io::ErrorKind::StorageFull => format!(
                "free space on the file system of {} (see df -h); jims goes on and tries again",
                path.display()
            ),
            Self::Write { path, .. } => {
                format!("check owner, mode and free space of {}", path.display())
            }
        }
    }
}

impl StateDir {
    /// Makes the folder (0700) if need be and locks it.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let folder = |source| StateError::Folder {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(folder)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked {
                path: path.to_owned(),
            }),
            Err(errno) => Err(folder(errno.into())),
        }
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// The file exists and cannot be read, or is over 8 GiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        let failed = |source| StateError::Read {
            path: path.clone(),
            source,
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let size = file.metadata().map_err(failed)?.size();
        if size > MAX_FILE_BYTES {
            return Err(failed(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the file is over 8 GiB",
            )));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Replaces a file (0600): written beside it, flushed to the disk, renamed. A folder in its name (0700) is made if need
    /// be.
    ///
    /// # Errors
    /// Nothing changed; the file before is unharmed.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.new"));
        let folder = path.parent().unwrap_or(&self.path);
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| write_flushed(&temporary, bytes))
            .and_then(|()| std::fs::rename(&temporary, &path))
            .and_then(|()| File::open(folder)?.sync_all());
        written.map_err(|source| {
            drop(std::fs::remove_file(&temporary));
            StateError::Write { path, source }
        })
    }

    /// Moves a file aside as `NAME.REASON-N`, so that it can be looked at; returns where it is now.
    ///
    /// # Errors
    /// The file could not be renamed.
    pub fn set_aside(&self, name: &str, reason: &str) -> Result<PathBuf, StateError> {
        let from = self.path.join(name);
        let free = (1..)
            .map(|n| self.path.join(format!("{name}.{reason}-{n}")))
            .find(|path| !path.exists());
        let to = free.unwrap_or_else(|| self.path.join(format!("{name}.{reason}")));
        std::fs::rename(&from, &to).map_err(|source| StateError::Write { path: from, source })?;
        Ok(to)
    }
}

fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_while_the_first_holds_the_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let first = StateDir::open(folder.path()).expect("first");
        assert!(matches!(
            StateDir::open(folder.path()),
            Err(StateError::Locked { .. })
        ));
        drop(first);
        StateDir::open(folder.path()).expect("free again");
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(folder.path()).expect("state");
        assert!(state.read("a").expect("read").is_none());
        state.replace("a", b"one").expect("write");
        state.replace("a", b"two").expect("write");
        assert_eq!(state.read("a").expect("read").as_deref(), Some(&b"two"[..]));
        let mode = std::fs::metadata(folder.path().join("a"))
            .expect("file")
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let aside = state.set_aside("a", "damaged").expect("set aside");
        assert!(aside.ends_with("a.damaged-1"));
        assert!(state.read("a").expect("read").is_none());
    }

    #[test]
    fn a_folder_within_is_written_while_the_state_folder_is_locked() {
        let folder = tempfile::tempdir().expect("folder");
        let _service = StateDir::open(folder.path()).expect("state");
        let within = StateDir::open(&folder.path().join("push")).expect("within");
        within.replace("a.toml", b"one").expect("write");
        assert!(matches!(
            StateDir::open(&folder.path().join("push")),
            Err(StateError::Locked { .. })
        ));
    }

    #[test]
    fn a_failed_write_keeps_the_file_before() {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(folder.path()).expect("state");
        state.replace("a", b"one").expect("write");
        std::fs::create_dir(folder.path().join("a.new")).expect("a folder in the way");
        assert!(matches!(
            state.replace("a", b"two"),
            Err(StateError::Write { .. })
        ));
        assert_eq!(state.read("a").expect("read").as_deref(), Some(&b"one"[..]));
    }
}
