//! One stream: made if it is not there, published to, and followed in order.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Nats, NatsError};
use crate::identity::time::UtcMillis;

/// Most messages that are looked for one by one where the stream has a hole.
const MAX_HOLE: u64 = 64;

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    stream: stream::Stream,
    nats: Nats,
}

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// When it was made, in nanoseconds since 1970: what tells it from another of the same name.
    pub created: i128,
    /// The oldest sequence that is kept; one more than the last if there is none.
    pub first: u64,
    /// The last sequence; 0 before the first message.
    pub last: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Copies.
    pub replicas: usize,
}

/// A message of the stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its place in the order.
    pub seq: u64,
    /// When the stream took it.
    pub at: UtcMillis,
    /// The same in nanoseconds since 1970: no other message that ever has this sequence has this time as well.
    pub stamp: u64,
    /// What it says; empty where only stamps are read.
    pub payload: Bytes,
    /// How many are behind it.
    pub behind: u64,
}

/// Messages in order.
pub struct Following {
    messages: Ordered,
    /// Who delivers: the library makes another when it lost one, and nobody has compared what came before then.
    consumer: Option<String>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Following")
    }
}

impl Nats {
    /// The stream of a name with all subjects below `subject`; made if it is not there. What is older than `max_age` goes.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn stream(
        &self,
        name: &str,
        subject: &str,
        (replicas, max_age): (u8, Duration),
    ) -> Result<Stream, NatsError> {
        let doing = "opening the stream";
        let config = stream::Config {
            name: name.to_owned(),
            subjects: vec![format!("{subject}.>")],
            description: Some("identity events of jims, in the order that counts".to_owned()),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: usize::from(replicas),
            max_age,
            duplicate_window: Duration::from_secs(1).min(max_age),
            ..stream::Config::default()
        };
        let stream = match self.context.get_stream(name).await {
            Ok(stream) => stream,
            Err(_absent) => self
                .context
                .get_or_create_stream(config)
                .await
                .map_err(|error| NatsError::refused(doing, error))?,
        };
        Ok(Stream {
            stream,
            nats: self.clone(),
        })
    }
}

impl Stream {
    /// Changes how much is kept, if it is something else.
    ///
    /// # Errors
    /// NATS does not answer, or cannot.
    pub async fn keep(&self, (replicas, max_age): (u8, Duration)) -> Result<(), NatsError> {
        let doing = "changing the stream";
        let info = self.stream.get_info().await;
        let config = info
            .map_err(|error| NatsError::refused(doing, error))?
            .config;
        let num_replicas = usize::from(replicas);
        if (config.max_age, config.num_replicas) == (max_age, num_replicas) {
            return Ok(());
        }
        let changed = stream::Config {
            max_age,
            num_replicas,
            ..config
        };
        let updated = self.nats.context.update_stream(changed).await;
        updated
            .map(|_| ())
            .map_err(|error| NatsError::refused(doing, error))
    }

    /// Whether the connection is up at this moment; what is published while it is not waits in memory.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.nats.is_connected()
    }

    /// What the stream says of itself now.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn facts(&self) -> Result<StreamFacts, NatsError> {
        let info = self.stream.get_info().await;
        let info = info.map_err(|error| NatsError::refused("asking for the stream", error))?;
        let state = &info.state;
        Ok(StreamFacts {
            created: info.created.unix_timestamp_nanos(),
            first: state.first_sequence.max(1),
            last: state.last_sequence,
            bytes: state.bytes,
            replicas: info.config.num_replicas,
        })
    }

    /// Publishes without waiting for an answer: whoever follows sees whether it came, and where.
    ///
    /// # Errors
    /// It is not even sent.
    pub async fn send(&self, subject: String, payload: Bytes) -> Result<(), NatsError> {
        let sent = self.nats.context.client().publish(subject, payload).await;
        sent.map_err(|error| NatsError::refused("publishing", error))
    }

    /// Publishes; the answer comes with [`Publishing::answered`], and does not say where the message is in the order: after
    /// the loss of a leader acknowledgements were seen to name another sequence than the stored one.
    ///
    /// # Errors
    /// It is not even sent.
    pub async fn publish(&self, subject: String, payload: Bytes) -> Result<Publishing, NatsError> {
        let sent = self.nats.context.publish(subject, payload).await;
        let sent = sent.map_err(|error| NatsError::refused("publishing", error))?;
        Ok(Publishing(sent))
    }

    /// Follows from a sequence on.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn follow(&self, from: u64) -> Result<Following, NatsError> {
        self.deliver(from, false).await
    }

    /// Follows from a sequence on, without what messages say.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn stamps(&self, from: u64) -> Result<Following, NatsError> {
        self.deliver(from, true).await
    }

    async fn deliver(&self, from: u64, headers_only: bool) -> Result<Following, NatsError> {
        let doing = "following the stream";
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: from,
            },
            headers_only,
            ..OrderedConfig::default()
        };
        let consumer = self.stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| NatsError::refused(doing, error))?;
        let messages = consumer.messages().await;
        let messages = messages.map_err(|error| NatsError::refused(doing, error))?;
        Ok(Following {
            messages,
            consumer: None,
        })
    }

    /// Makes sure that the stream has none of the messages from `from` up to, and without, `to`, which were not delivered.
    ///
    /// # Errors
    /// It has one, or they are more than 64: they are to be delivered again. Or NATS does not answer.
    pub async fn lacks(&self, from: u64, to: u64) -> Result<(), NatsError> {
        let doing = "following the stream";
        if to.saturating_sub(from) > MAX_HOLE {
            let skipped = format!("messages {from} to {to} were skipped");
            return Err(NatsError::refused(doing, skipped));
        }
        for seq in from..to {
            if self.has(seq).await? {
                return Err(NatsError::refused(
                    doing,
                    format!("message {seq} was skipped"),
                ));
            }
        }
        Ok(())
    }

    /// Whether the stream has a message of this sequence.
    async fn has(&self, seq: u64) -> Result<bool, NatsError> {
        use async_nats::jetstream::stream::RawMessageErrorKind;
        match self.stream.get_raw_message(seq).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                // Any other refusal (no leader at this moment) says nothing of the message.
                RawMessageErrorKind::NoMessageFound => Ok(false),
                _ => Err(NatsError::refused("asking for a message", error)),
            },
        }
    }
}

/// A message on its way.
#[derive(Debug)]
pub struct Publishing(PublishAckFuture);

impl Publishing {
    /// Returns when the stream has it.
    ///
    /// # Errors
    /// It was refused, or the answer did not come: it may be stored or not.
    pub async fn answered(self) -> Result<(), NatsError> {
        match self.0.await {
            Ok(_) => Ok(()),
            Err(error) => Err(NatsError::refused("publishing", error)),
        }
    }
}

impl Following {
    /// The next message; what lies between two of them is not there.
    ///
    /// # Errors
    /// The following has ended and is to be begun anew.
    pub async fn next(&mut self) -> Result<Message, NatsError> {
        let doing = "following the stream";
        let next = self.messages.next().await;
        let next = next.ok_or_else(|| NatsError::refused(doing, "it ended"))?;
        let message = next.map_err(|error| NatsError::refused(doing, error))?;
        let info = message.info();
        let info = info.map_err(|error| NatsError::refused(doing, error))?;
        let known = self
            .consumer
            .get_or_insert_with(|| info.consumer.to_owned());
        if *known != info.consumer {
            return Err(NatsError::refused(doing, "it was begun anew"));
        }
        let stamp = u64::try_from(info.published.unix_timestamp_nanos()).unwrap_or_default();
        let millis = i64::try_from(stamp / 1_000_000).unwrap_or(i64::MAX);
        Ok(Message {
            seq: info.stream_sequence,
            at: UtcMillis(millis),
            stamp,
            behind: info.pending,
            payload: message.message.payload,
        })
    }
}
