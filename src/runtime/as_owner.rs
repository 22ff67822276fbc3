//! A command that root calls acts as the owner of a folder while it writes there.
//!
//! The service has to read what the command writes. And a folder of somebody else may hold links of his making, which
//! root must not follow with root's rights: so no rights are taken along, instead of giving files away afterwards.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid, setegid, seteuid};

/// While it lives, the process acts as the folder's owner. For commands only: it concerns all threads of the process.
#[derive(Debug)]
pub struct AsOwner {
    before: Option<(Uid, Gid)>,
}

impl AsOwner {
    /// Acts as the owner of the folder, if root calls and it is another's; a folder that is not there is root's to make.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let whose = match std::fs::metadata(folder) {
            Ok(whose) => whose,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { before: None });
            }
            Err(error) => return Err(error),
        };
        let (user, group) = (geteuid(), getegid());
        if !user.is_root() || whose.uid() == user.as_raw() {
            return Ok(Self { before: None });
        }
        // The group first: without root's rights it could not be changed any more.
        setegid(Gid::from_raw(whose.gid()))?;
        let acting = Self {
            before: Some((user, group)),
        };
        seteuid(Uid::from_raw(whose.uid()))?;
        Ok(acting)
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        if let Some((user, group)) = self.before {
            let back = seteuid(user).and_then(|()| setegid(group));
            if let Err(error) = back {
                tracing::error!(%error, "cannot act as root again");
            }
        }
    }
}
