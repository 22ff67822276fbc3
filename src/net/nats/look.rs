//! What a server says of itself, of JetStream and of a stream, without changing anything.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{ErrorCode, stream};
use bytes::Bytes;
use serde::Deserialize;

use super::{Nats, NatsError};

/// Where a server tells of our account in JetStream.
const ACCOUNT: &str = "$JS.API.INFO";

/// JetStream, as our account has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JetStreamFacts {
    /// Bytes on the disk.
    pub stored: u64,
    /// How many there may be at most.
    pub limit: Option<u64>,
}

/// Who keeps copies of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How many it is to have.
    pub wanted: usize,
    /// Whether somebody leads; else nothing is taken.
    pub has_leader: bool,
    /// Those that are behind or away.
    pub ailing: Vec<String>,
    /// The last sequence.
    pub last: u64,
}

impl Nats {
    /// Name of the server that we are connected to.
    #[must_use]
    pub fn server_name(&self) -> String {
        self.context.client().server_info().server_name
    }

    /// Its version, as `2.9.25`.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.context.client().server_info().version
    }

    /// What JetStream has of our account.
    ///
    /// # Errors
    /// There is no JetStream, or none for us.
    pub async fn jetstream(&self) -> Result<JetStreamFacts, NatsError> {
        let doing = "asking for JetStream";
        let answer = self.context.client().request(ACCOUNT, Bytes::new()).await;
        let answer = answer.map_err(|error| NatsError::refused(doing, error))?;
        facts(&answer.payload).map_err(|reason| NatsError::refused(doing, reason))
    }

    /// Who keeps copies of a stream; `None`: there is no such stream yet.
    ///
    /// # Errors
    /// NATS does not answer, or refuses.
    pub async fn copies(&self, stream: &str) -> Result<Option<Copies>, NatsError> {
        let doing = "asking for the stream";
        let found = match self.context.get_stream(stream).await {
            Ok(found) => found,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(refused)
                        if refused.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        Ok(None)
                    }
                    _ => Err(NatsError::refused(doing, error)),
                };
            }
        };
        Ok(Some(copies(found.cached_info())))
    }
}

/// What an answer about our account says. Read by hand: the library knows only newer servers' answers.
fn facts(answer: &[u8]) -> Result<JetStreamFacts, String> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<Refused>,
        #[serde(default)]
        storage: u64,
        limits: Option<Limits>,
    }
    #[derive(Deserialize)]
    struct Refused {
        #[serde(default)]
        description: String,
    }
    #[derive(Deserialize)]
    struct Limits {
        /// Below zero: there is none.
        max_storage: i64,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if let Some(refused) = answer.error {
        return Err(refused.description);
    }
    let limit = answer.limits.map(|limits| limits.max_storage);
    Ok(JetStreamFacts {
        stored: answer.storage,
        limit: limit.and_then(|bytes| u64::try_from(bytes).ok()),
    })
}

fn copies(info: &stream::Info) -> Copies {
    let cluster = info.cluster.as_ref();
    let others = cluster.map(|cluster| cluster.replicas.as_slice());
    let ailing = others.unwrap_or_default().iter();
    Copies {
        wanted: info.config.num_replicas,
        // One server that is no cluster says nothing of leaders.
        has_leader: cluster.is_none_or(|cluster| cluster.leader.is_some()),
        ailing: ailing
            .filter(|peer| peer.offline || !peer.current)
            .map(|peer| peer.name.clone())
            .collect(),
        last: info.state.last_sequence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_old_and_new_servers_are_read() {
        // nats-server 2.9.10, shortened.
        let old = br#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":2000000,"streams":1,
            "limits":{"max_memory":-1,"max_storage":-1,"max_streams":-1},"api":{"total":4,"errors":0}}"#;
        let none = JetStreamFacts {
            stored: 2_000_000,
            limit: None,
        };
        assert_eq!(facts(old), Ok(none));
        let limited = br#"{"storage":1,"reserved_storage":0,"limits":{"max_storage":5}}"#;
        assert_eq!(facts(limited).map(|facts| facts.limit), Ok(Some(5)));
        let refused = br#"{"error":{"code":503,"err_code":10039,"description":"jetstream not enabled for account"}}"#;
        assert_eq!(
            facts(refused),
            Err("jetstream not enabled for account".to_owned())
        );
        assert!(facts(b"-").is_err());
    }
}
