//! A log in a file, for a service whose terminal shows something else. Bounded: at its limit it begins anew, and the one
//! before is kept beside it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Where a log file begins anew.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A log file; clones write to the same one.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
}

impl LogFile {
    /// Opens `name` in a folder, which is made (0700) if need be; what is there is added to.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        Self::open_bounded(folder, name, MAX_BYTES)
    }

    fn open_bounded(folder: &Path, name: &str, limit: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let path = folder.join(name);
        let file = append_to(&path)?;
        let length = file.metadata()?.len();
        let open = Open {
            path,
            file,
            length,
            limit,
        };
        Ok(Self(Arc::new(Mutex::new(open))))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

impl Open {
    fn begin_anew(&mut self) -> io::Result<()> {
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        fs::rename(&self.path, before)?;
        self.file = append_to(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock();
        if open.length >= open.limit {
            open.begin_anew()?;
        }
        let written = open.file.write(line)?;
        open.length += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().file.flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_added_to_and_begins_anew_at_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a log");
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            let mut log = LogFile::open_bounded(folder.path(), "jims.log", 8).expect("a log file");
            log.write_all(line.as_bytes()).expect("written");
        }
        assert_eq!(read("jims.log.1"), "one\ntwo\n");
        assert_eq!(read("jims.log"), "three\nfour\n");
    }
}
