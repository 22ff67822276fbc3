//! The local (Unix) socket of the operator: made with its rights, replaced only when nobody answers, removed at the end.
//!
//! Who can open the socket is an operator, so the rights of the file are the whole access control. What is said over
//! it is `control/`'s business.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// How long a connection attempt may take; the peer is on the same machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest path that fits a socket address on Linux, less the ending of the name it is made under.
const MAX_PATH_BYTES: usize = 107 - NEW_ENDING.len();

/// The socket is made under this ending and renamed when its rights are set.
const NEW_ENDING: &str = ".new";

/// A bound socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

/// Who may open the socket beside the user that runs `jims`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Members of the group.
    Group(String),
    /// Nobody else, because the group does not exist or cannot be given the file.
    OwnerOnly {
        /// Why.
        reason: String,
    },
}

/// Why the socket cannot be bound or reached.
#[derive(Debug, Error)]
pub enum LocalSocketError {
    /// The path does not fit a socket address.
    #[error("cannot use the control socket {path}: the path is longer than {MAX_PATH_BYTES} bytes")]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Another process answers there.
    #[error("cannot make the control socket {path}: another jims answers there")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("cannot make the control socket {path}: a file that is no socket is in the way")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses a step of making it.
    #[error("cannot make the control socket {path}: {step}: {source}")]
    Make {
        /// The path.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Nobody answers.
    #[error("the service does not answer at {path}: {source}")]
    NoAnswer {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The socket is there and we may not open it.
    #[error("cannot open the control socket {path}: permission denied")]
    Denied {
        /// The path.
        path: PathBuf,
    },
}

impl LocalSocketError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::PathTooLong { .. } => "set a shorter `socket` in [control]",
            Self::InUse { .. } => {
                "stop the other `jims run`, or give this one its own `socket` in [control]"
            }
            Self::NotASocket { .. } => "move the file away, or set another `socket` in [control]",
            Self::Make { .. } => {
                "make the folder writable for the user that runs jims, or set another `socket` in [control]"
            }
            Self::NoAnswer { .. } => {
                "start it with `jims run`, or name the configuration of the running one with --config"
            }
            Self::Denied { .. } => {
                "add yourself to the group named in [control] (default `jims`) and log in again, or use sudo"
            }
        }
    }
}

impl LocalListener {
    /// Makes the socket with mode 0660 for the group, or 0600 if there is no such group; makes its folder. A socket file
    /// that nobody answers at is replaced. Needs a Tokio runtime.
    ///
    /// # Errors
    /// Another process answers at the path, or the system refuses.
    pub fn bind(path: &Path, group: &str) -> Result<(Self, Access), LocalSocketError> {
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(LocalSocketError::PathTooLong { path: path.into() });
        }
        let failed = |step| {
            move |source| LocalSocketError::Make {
                path: path.into(),
                step,
                source,
            }
        };
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(failed("making its folder"))?;
        }
        refuse_occupied(path)?;
        // Rights are set under another name, so nobody can open the socket before it has them.
        let mut new = path.as_os_str().to_owned();
        new.push(NEW_ENDING);
        let new = PathBuf::from(new);
        remove_if_there(&new).map_err(failed("removing an unfinished one"))?;
        let listener = UnixListener::bind(&new).map_err(failed("binding"))?;
        let access = give_to_group(&new, group).map_err(failed("setting its rights"))?;
        let inode = inode(&new).map_err(failed("looking at it"))?;
        fs::rename(&new, path).map_err(failed("putting it in place"))?;
        let path = path.to_owned();
        Ok((
            Self {
                listener,
                path,
                inode,
            },
            access,
        ))
    }

    /// The next connection and the user id of its peer.
    ///
    /// # Errors
    /// What the system says; the listener stays usable.
    pub async fn accept(&self) -> io::Result<(UnixStream, u32)> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, uid))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // A successor may have put its own socket there meanwhile.
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _already_gone = fs::remove_file(&self.path);
        }
    }
}

/// Opens the socket of a running service.
///
/// # Errors
/// Nobody answers within five seconds, or the rights of the file forbid it.
pub async fn connect(path: &Path) -> Result<UnixStream, LocalSocketError> {
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await;
    let result = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    result.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => LocalSocketError::Denied { path: path.into() },
        _ => LocalSocketError::NoAnswer {
            path: path.into(),
            source,
        },
    })
}

/// Fails if something lives at the path: a process that answers, or a file that is no socket.
fn refuse_occupied(path: &Path) -> Result<(), LocalSocketError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(LocalSocketError::NotASocket { path: path.into() });
    }
    match knock(path) {
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(LocalSocketError::InUse { path: path.into() }),
    }
}

/// Connects without waiting: a process whose queue is full is alive too.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn give_to_group(path: &Path, group: &str) -> io::Result<Access> {
    let owner_only = |reason: String| -> io::Result<Access> {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Access::OwnerOnly { reason })
    };
    let found = match Group::from_name(group) {
        Ok(Some(found)) => found,
        Ok(None) => return owner_only(format!("there is no group `{group}`")),
        Err(error) => {
            return owner_only(format!("the group `{group}` cannot be looked up: {error}"));
        }
    };
    if let Err(error) = chown(path, None, Some(found.gid.as_raw())) {
        return owner_only(format!(
            "the file cannot be given to the group `{group}`: {error}"
        ));
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(Access::Group(group.to_owned()))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("socket").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn without_its_group_the_socket_is_the_owners_only_and_says_so() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("made/control.sock");
        let (listener, access) = LocalListener::bind(&path, "no-such-group-here").expect("bound");
        assert_eq!(mode(&path), 0o600);
        let Access::OwnerOnly { reason } = access else {
            panic!("{access:?}")
        };
        assert_eq!(reason, "there is no group `no-such-group-here`");
        drop(listener);
        assert!(!path.exists(), "the file goes with the listener");
    }

    #[tokio::test]
    async fn the_group_of_the_process_may_open_the_socket() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("control.sock");
        let group = Group::from_gid(nix::unistd::getgid())
            .expect("lookup")
            .expect("own group");
        let (_listener, access) = LocalListener::bind(&path, &group.name).expect("bound");
        assert_eq!(access, Access::Group(group.name));
        assert_eq!(mode(&path), 0o660);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("stale"));
        assert!(path.exists());
        let (listener, _) = LocalListener::bind(&path, "no-such-group-here").expect("replaced");
        let error = LocalListener::bind(&path, "no-such-group-here").expect_err("alive");
        assert!(matches!(error, LocalSocketError::InUse { .. }), "{error}");
        let (client, accepted) = tokio::join!(connect(&path), listener.accept());
        client.expect("connected");
        assert_eq!(
            accepted.expect("accepted").1,
            nix::unistd::getuid().as_raw()
        );
    }

    #[tokio::test]
    async fn other_files_are_never_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("control.sock");
        fs::write(&path, "precious").expect("file");
        let error = LocalListener::bind(&path, "jims").expect_err("in the way");
        assert!(
            matches!(error, LocalSocketError::NotASocket { .. }),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).expect("file"), "precious");
    }

    #[tokio::test]
    async fn nobody_there_says_what_to_do() {
        let error = connect(Path::new("/nonexistent/control.sock"))
            .await
            .expect_err("nobody");
        assert!(
            error
                .to_string()
                .starts_with("the service does not answer at /nonexistent/control.sock: "),
            "{error}"
        );
        assert!(error.remedy().contains("jims run"));
    }
}
