//! A bucket of keys, each changed only by whoever knows its latest revision.

use async_nats::jetstream::kv::{self, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Nats, NatsError};

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket(Store);

/// A key as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// What it holds; `None`: it is gone.
    pub value: Option<Bytes>,
    /// Rises with every change of any key.
    pub revision: u64,
}

/// The changes of all keys.
pub struct Watching(kv::Watch);

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watching")
    }
}

impl Nats {
    /// The bucket of a name; made if it is not there.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn bucket(&self, name: &str, replicas: u8) -> Result<Bucket, NatsError> {
        if let Ok(store) = self.context.get_key_value(name).await {
            return Ok(Bucket(store));
        }
        let doing = "opening the bucket";
        // The stream that a bucket is, as in NATS's ADR-8: the library's own way asks for the account first, in words that
        // servers of 2.9 do not know.
        let config = stream::Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            description: Some("members and leases of jims".to_owned()),
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: usize::from(replicas),
            allow_rollup: true,
            deny_delete: true,
            ..stream::Config::default()
        };
        let made = self.context.get_or_create_stream(config).await;
        made.map_err(|error| NatsError::refused(doing, error))?;
        let opened = self.context.get_key_value(name).await;
        opened
            .map(Bucket)
            .map_err(|error| NatsError::refused(doing, error))
    }
}

impl Bucket {
    /// Sets a key, whatever it held; its new revision.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn put(&self, key: &str, value: Vec<u8>) -> Result<u64, NatsError> {
        let put = self.0.put(key, value.into()).await;
        put.map_err(|error| NatsError::refused("writing a key", error))
    }

    /// Sets a key that has not been changed since a revision (0: that was never set); its new revision.
    ///
    /// # Errors
    /// [`NatsError::Changed`]; or NATS does not answer, and the key may have been set or not.
    pub async fn update(&self, key: &str, value: Vec<u8>, revision: u64) -> Result<u64, NatsError> {
        let set = self.0.update(key, value.into(), revision).await;
        set.map_err(|error| match error.kind() {
            UpdateErrorKind::WrongLastRevision => NatsError::Changed {
                key: key.to_owned(),
            },
            _ => NatsError::refused("writing a key", error),
        })
    }

    /// All keys as they are, then every change.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn watch(&self) -> Result<Watching, NatsError> {
        let watch = self.0.watch_with_history(">").await;
        watch
            .map(Watching)
            .map_err(|error| NatsError::refused("watching the keys", error))
    }
}

impl Watching {
    /// The next change.
    ///
    /// # Errors
    /// The watching has ended and is to be begun anew.
    pub async fn next(&mut self) -> Result<Entry, NatsError> {
        let doing = "watching the keys";
        let next = self.0.next().await;
        let next = next.ok_or_else(|| NatsError::refused(doing, "it ended"))?;
        let entry = next.map_err(|error| NatsError::refused(doing, error))?;
        Ok(Entry {
            key: entry.key,
            value: (entry.operation == Operation::Put).then_some(entry.value),
            revision: entry.revision,
        })
    }
}
