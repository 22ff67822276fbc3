//! Stored files: each replaced whole, and checked by its hash when it is read.

use std::collections::HashMap;
use std::path::Path;

use async_nats::jetstream::object_store::{self, InfoErrorKind, ObjectMetadata, ObjectStore};
use tokio::io::AsyncWriteExt as _;

use super::{Nats, NatsError};

/// How much is read at once.
const PIECE: usize = 1 << 17;

/// Stored files.
#[derive(Clone)]
pub struct Objects(ObjectStore);

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

impl Nats {
    /// The store of a name; made if it is not there.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn objects(&self, name: &str, replicas: u8) -> Result<Objects, NatsError> {
        if let Ok(store) = self.context.get_object_store(name).await {
            return Ok(Objects(store));
        }
        let config = object_store::Config {
            bucket: name.to_owned(),
            description: Some("tables of jims, for Servers that start".to_owned()),
            num_replicas: usize::from(replicas),
            ..object_store::Config::default()
        };
        let made = self.context.create_object_store(config).await;
        made.map(Objects)
            .map_err(|error| NatsError::refused("opening the store of tables", error))
    }
}

impl Objects {
    /// Stores a file in place of the one that had its name; `labels` go with it.
    ///
    /// # Errors
    /// The file cannot be read, or NATS does not answer; the one that was there stays.
    pub async fn put(
        &self,
        name: &str,
        labels: HashMap<String, String>,
        path: &Path,
    ) -> Result<(), NatsError> {
        let file = tokio::fs::File::open(path).await;
        let file = file.map_err(|source| unusable(path, source))?;
        let mut file = tokio::io::BufReader::with_capacity(PIECE, file);
        let metadata = ObjectMetadata {
            name: name.to_owned(),
            metadata: labels,
            ..ObjectMetadata::default()
        };
        let put = self.0.put(metadata, &mut file).await;
        put.map(|_| ())
            .map_err(|error| NatsError::refused("storing the table", error))
    }

    /// The labels and the bytes of a file; `None`: there is none.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn find(
        &self,
        name: &str,
    ) -> Result<Option<(HashMap<String, String>, usize)>, NatsError> {
        match self.0.info(name).await {
            Ok(info) if info.deleted => Ok(None),
            Ok(info) => Ok(Some((info.metadata, info.size))),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(NatsError::refused("looking for a table", error)),
        }
    }

    /// Reads a file to a path, telling how many bytes came so far. What was read is checked by its hash.
    ///
    /// # Errors
    /// It is not there or damaged, NATS does not answer, or the path cannot be written.
    pub async fn get(
        &self,
        name: &str,
        path: &Path,
        progress: impl Fn(usize),
    ) -> Result<(), NatsError> {
        let doing = "reading the table";
        let object = self.0.get(name).await;
        let mut object = object.map_err(|error| NatsError::refused(doing, error))?;
        let file = tokio::fs::File::create(path).await;
        let mut file = file.map_err(|source| unusable(path, source))?;
        let mut piece = vec![0; PIECE];
        let mut so_far = 0;
        loop {
            let read = tokio::io::AsyncReadExt::read(&mut object, &mut piece).await;
            let read = read.map_err(|error| NatsError::refused(doing, error))?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            let written = file.write_all(bytes).await;
            written.map_err(|source| unusable(path, source))?;
            so_far += read;
            progress(so_far);
        }
        let synced = file.sync_all().await;
        synced.map_err(|source| unusable(path, source))
    }
}

fn unusable(path: &Path, source: std::io::Error) -> NatsError {
    NatsError::File {
        path: path.to_owned(),
        source,
    }
}
