//! A log on a server, as the source uses it: subscribe, get records, query, ask how far back it reaches.
//!
//! Straight-line calls over [`Calls`], which a test can stand in for. Which records are wanted follows from
//! [`super::interpret::WORTH`], so that the server sends exactly what has a meaning here.

use std::future::Future;
use std::time::Duration;

use super::interpret::WORTH;
use crate::config::{Delivery, EventSourceKind};
use crate::net::rpc::{Request, RpcClient, RpcError};
use crate::wire::even6::reply::{self, ReplyError};
use crate::wire::even6::request::{self, LogProperty};
use crate::wire::even6::status::Win32;
use crate::wire::even6::text::{self, Since, Wanted};
use crate::wire::even6::{MAX_RECORDS, MAX_REPLY_BYTES, flag, opnum};

pub(super) use crate::wire::even6::reply::{Batch, Registered};

/// For calls that are answered at once. A subscription to a large log searches it first.
const ANSWER: Duration = Duration::from_secs(60);
/// Beyond the time that the server may hold a call.
const ANSWER_AFTER_WAIT: Duration = Duration::from_secs(30);
/// How long a server may look for the records of a query.
const QUERY_WAIT_MS: u32 = 5_000;
/// Status of a fault: the function does not exist there (MS-RPCE, C706 appendix E).
const NOT_THERE: [u32; 3] = [0x1c01_0002, 0x1c01_0003, 0x0000_06d1];

/// Where calls go.
pub(super) trait Calls: Sync {
    /// Makes a call and waits for its results, at most `deadline`.
    fn call(
        &self,
        opnum: u16,
        stub: Vec<u8>,
        deadline: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<u8>, RpcError>> + Send;
}

impl Calls for RpcClient {
    async fn call(
        &self,
        opnum: u16,
        stub: Vec<u8>,
        deadline: Option<Duration>,
    ) -> Result<Vec<u8>, RpcError> {
        let request = Request {
            context: 0,
            opnum,
            object: None,
            stub,
            deadline,
            limit: MAX_REPLY_BYTES,
        };
        RpcClient::call(self, request).await
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// After a record that was read.
    After(u64),
    /// With what was written within this time.
    Past(Duration),
    /// With what is written from now on.
    Now,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The server refused it, or answered nonsense.
    #[error("{doing} the log {channel} of {host}: {source}")]
    Reply {
        doing: &'static str,
        channel: String,
        host: String,
        source: ReplyError,
    },
    /// Records after the last one read are gone.
    #[error("the log {channel} of {host} no longer has what follows record {after}")]
    Wrapped {
        channel: String,
        host: String,
        after: u64,
    },
}

impl LogError {
    /// What the operator can try; one sentence without full stop.
    pub(super) fn remedy(&self) -> String {
        const NO_LOG: &str = "this server has no event log to read: a Samba domain controller sends its auth_json_audit log by syslog instead (template samba-auth-json-audit)";
        let status = match self {
            Self::Rpc(_) if self.refuses_delivery() => return NO_LOG.to_owned(),
            Self::Rpc(error) => return error.remedy(),
            Self::Wrapped { .. } => return String::new(),
            Self::Reply { source, .. } => source.status(),
        };
        match status {
            Some(Win32::ACCESS_DENIED) => {
                "add the account to the group \"Event Log Readers\" of the domain (net localgroup \"Event Log Readers\" DOMAIN\\account /add on a domain controller)"
            }
            Some(Win32::CHANNEL_NOT_FOUND) => NO_LOG,
            Some(_) => "look into the server's own event log",
            None => "please report this with the version of Windows",
        }
        .to_owned()
    }

    /// Whether another way of delivery may work where this one did not.
    pub(super) fn refuses_delivery(&self) -> bool {
        match self {
            Self::Rpc(error) => error
                .status()
                .is_some_and(|status| NOT_THERE.contains(&status)),
            Self::Reply { source, .. } => source.status().is_some_and(|status| {
                [
                    Win32::NOT_SUPPORTED,
                    Win32::INVALID_PARAMETER,
                    Win32::CALL_NOT_IMPLEMENTED,
                ]
                .contains(&status)
            }),
            Self::Wrapped { .. } => false,
        }
    }

    /// Whether what follows our position is gone.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Wrapped { .. } => true,
            Self::Reply { source, .. } => source.status().is_some_and(|status| {
                [
                    Win32::RESULT_STALE,
                    Win32::RESULT_INVALID_POSITION,
                    Win32::NOT_FOUND,
                ]
                .contains(&status)
            }),
            Self::Rpc(_) => false,
        }
    }
}

/// One channel's log on one host.
pub(super) struct Log<'a, C> {
    calls: &'a C,
    host: &'a str,
    channel: &'a str,
}

impl<'a, C: Calls> Log<'a, C> {
    pub(super) fn new(calls: &'a C, host: &'a str, channel: &'a str) -> Self {
        Self {
            calls,
            host,
            channel,
        }
    }

    /// Subscribes to what has a meaning, by push or by pull.
    pub(super) async fn subscribe(
        &self,
        kind: EventSourceKind,
        start: Start,
        delivery: Delivery,
    ) -> Result<Registered, LogError> {
        let (begin, since, bookmark) = match start {
            Start::After(record_id) => (
                flag::AFTER_BOOKMARK | flag::STRICT,
                Since::Anywhere,
                Some(text::bookmark(self.channel, record_id)),
            ),
            Start::Past(length) => (flag::OLDEST, Since::Within(length), None),
            Start::Now => (flag::FUTURE, Since::Anywhere, None),
        };
        let pull = if delivery == Delivery::Pull {
            flag::PULL
        } else {
            0
        };
        let query = text::query(&wanted(kind), since);
        let stub =
            request::register_subscription(self.channel, &query, bookmark.as_deref(), begin | pull);
        let answer = self
            .calls
            .call(opnum::REGISTER_SUBSCRIPTION, stub, Some(ANSWER))
            .await?;
        self.read("subscribing to", reply::registered(&answer))
    }

    /// Waits until the server sends records, however long that takes.
    pub(super) async fn pushed(&self, subscription: &Registered) -> Result<Batch, LogError> {
        let stub = request::subscription_next_async(&subscription.handle, most());
        let answer = self
            .calls
            .call(opnum::SUBSCRIPTION_NEXT_ASYNC, stub, None)
            .await?;
        self.read("reading", reply::batch(answer))
    }

    /// Asks for records; `None` if there were none within `wait`.
    pub(super) async fn pulled(
        &self,
        subscription: &Registered,
        wait: Duration,
    ) -> Result<Option<Batch>, LogError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let stub = request::subscription_next(&subscription.handle, most(), wait_ms);
        let deadline = Some(wait + ANSWER_AFTER_WAIT);
        let answer = self
            .calls
            .call(opnum::SUBSCRIPTION_NEXT, stub, deadline)
            .await?;
        let batch = self.read("reading", reply::batch(answer))?;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Queries what the log has now of what has a meaning.
    pub(super) async fn query(
        &self,
        kind: EventSourceKind,
        start: Start,
    ) -> Result<Registered, LogError> {
        let since = match start {
            Start::After(record_id) => Since::Record(record_id),
            Start::Past(length) => Since::Within(length),
            Start::Now => Since::Within(Duration::ZERO),
        };
        self.select(&text::query(&wanted(kind), since), flag::FORWARD)
            .await
    }

    /// Queries by an expression of one's own.
    pub(super) async fn select(
        &self,
        expression: &str,
        direction: u32,
    ) -> Result<Registered, LogError> {
        let stub = request::register_query(self.channel, expression, flag::CHANNEL | direction);
        let answer = self
            .calls
            .call(opnum::REGISTER_QUERY, stub, Some(ANSWER))
            .await?;
        self.read("querying", reply::registered(&answer))
    }

    /// The next records of a query; `None` at its end.
    pub(super) async fn queried(&self, query: &Registered) -> Result<Option<Batch>, LogError> {
        self.some_queried(query, most()).await
    }

    /// At most so many records of a query.
    pub(super) async fn some_queried(
        &self,
        query: &Registered,
        records: u32,
    ) -> Result<Option<Batch>, LogError> {
        let stub = request::query_next(&query.handle, records, QUERY_WAIT_MS);
        let answer = self
            .calls
            .call(opnum::QUERY_NEXT, stub, Some(ANSWER))
            .await?;
        let batch = self.read("reading", reply::batch(answer))?;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Lets the server forget a query.
    pub(super) async fn close(&self, query: Registered) -> Result<(), LogError> {
        for handle in [query.handle, query.control] {
            if handle.is_null() {
                continue;
            }
            let answer = self
                .calls
                .call(opnum::CLOSE, request::handle(&handle), Some(ANSWER))
                .await?;
            self.read("closing a query of", reply::closed(&answer))?;
        }
        Ok(())
    }

    /// The names of all logs; whoever may sign on may ask.
    pub(super) async fn channels(&self) -> Result<Vec<String>, LogError> {
        let answer = self
            .calls
            .call(opnum::CHANNEL_LIST, request::channel_list(), Some(ANSWER))
            .await?;
        self.read("listing beside", reply::channel_list(&answer))
    }

    /// Fails if the log no longer has the record after this one.
    pub(super) async fn still_has(&self, after: u64) -> Result<(), LogError> {
        let (records, oldest) = self.extent().await?;
        // A log that was cleared counts its records from the beginning again.
        let newest = oldest.saturating_add(records).saturating_sub(1);
        if oldest > after.saturating_add(1) || (records > 0 && newest < after) {
            return Err(LogError::Wrapped {
                channel: self.channel.to_owned(),
                host: self.host.to_owned(),
                after,
            });
        }
        Ok(())
    }

    /// How many records the log has, and the number of the oldest.
    pub(super) async fn extent(&self) -> Result<(u64, u64), LogError> {
        let answer = self
            .calls
            .call(
                opnum::OPEN_LOG,
                request::open_log(self.channel),
                Some(ANSWER),
            )
            .await?;
        let log = self.read("opening", reply::opened_log(&answer))?;
        let mut values = [0; 2];
        for (value, property) in values
            .iter_mut()
            .zip([LogProperty::Records, LogProperty::OldestRecord])
        {
            let answer = self
                .calls
                .call(
                    opnum::LOG_INFO,
                    request::log_info(&log, property),
                    Some(ANSWER),
                )
                .await?;
            *value = self.read("asking for the extent of", reply::log_info(&answer))?;
        }
        let answer = self
            .calls
            .call(opnum::CLOSE, request::handle(&log), Some(ANSWER))
            .await?;
        self.read("closing", reply::closed(&answer))?;
        Ok((values[0], values[1]))
    }

    fn read<T>(&self, doing: &'static str, result: Result<T, ReplyError>) -> Result<T, LogError> {
        result.map_err(|source| LogError::Reply {
            doing,
            channel: self.channel.to_owned(),
            host: self.host.to_owned(),
            source,
        })
    }
}

fn most() -> u32 {
    u32::try_from(MAX_RECORDS).unwrap_or(u32::MAX)
}

/// The records that have a meaning on such a server, each id once.
fn wanted(kind: EventSourceKind) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for row in WORTH.iter().filter(|row| row.kind == kind) {
        match all.iter_mut().find(|wanted| wanted.id == row.id) {
            Some(wanted) => wanted.logon_types.extend(row.logon_type),
            None => all.push(Wanted {
                id: row.id,
                logon_types: row.logon_type.into_iter().collect(),
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_asked_for_exactly_what_has_a_meaning() {
        let wanted = wanted(EventSourceKind::DomainController);
        let ids: Vec<u16> = wanted.iter().map(|wanted| wanted.id).collect();
        assert_eq!(ids, [4768, 4769, 4770, 4776, 4624, 4634, 4647]);
        let query = text::query(&wanted, Since::Within(Duration::from_secs(3600)));
        // Windows refuses an expression with more than about 22 comparisons.
        let comparisons = query.matches('=').count() - query.matches("@Name=").count()
            + query.matches("band(").count();
        assert!(comparisons <= 22, "{comparisons}: {query}");
        let exchange = super::wanted(EventSourceKind::Exchange);
        assert_eq!(exchange.len(), 1);
        assert_eq!(exchange[0].logon_types, [3, 8]);
    }
}
