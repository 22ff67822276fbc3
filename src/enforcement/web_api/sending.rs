//! Sends documents to one firewall, at a bounded rate, and parts those that are refused.
//!
//! A refused document (400) is halved until the piece is found that the firewall does not take. That piece is left out,
//! so that one wrong entry does not keep everybody else from being told; but what the firewall holds at its address
//! from before is ended, because a stale user must not stay there. If the firewall takes nothing at all, no entry is
//! blamed for it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior};

use super::answer::Verdict;
use super::document::{Document, Piece};
use crate::config::secret::Secret;
use crate::config::{POST_ENTRY, WebApi};
use crate::net::https_client::{HttpsClient, HttpsError, Post, Trust};
use crate::net::resolve::Resolver;

/// So many pieces refused one after the other, endings among them, mean that nothing is taken.
const MAX_REFUSED_IN_A_ROW: u32 = 16;

/// Why a document could not be told.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no answer.
    Https(HttpsError),
    /// User, password or our address is not accepted.
    Unauthorized,
    /// The firewall cannot do it, or is none; what it says.
    Failed(String),
    /// It takes nothing at all; what it says.
    TakesNothing(String),
}

impl Trouble {
    /// What went wrong: one sentence, no full stop.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Https(error) => error.to_string(),
            Self::Unauthorized => "refused: the firewall does not accept us".to_owned(),
            Self::Failed(said) => format!("the firewall does not take documents: {said}"),
            Self::TakesNothing(said) => format!("the firewall refuses every entry: {said}"),
        }
    }

    /// What to try.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Https(error) => error.remedy(),
            Self::Unauthorized => "check user and password here, and on the SRX `show configuration system services webapi`: user, and this machine's address as `client`".to_owned(),
            Self::Failed(_) => "check url, and on the SRX that `system services webapi` is configured and the log of its Web API".to_owned(),
            Self::TakesNothing(_) => "on the SRX: set services user-identification authentication-source aruba-clearpass; then look at the log of its Web API".to_owned(),
        }
    }

    /// Whether the firewall may have forgotten what it was told, so that everything is to be told again.
    pub(super) fn may_have_restarted(&self) -> bool {
        match self {
            Self::Https(HttpsError::Lost(_) | HttpsError::Late) | Self::Failed(_) => false,
            Self::Https(_) | Self::Unauthorized | Self::TakesNothing(_) => true,
        }
    }
}

/// What became of a document.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Entries that the firewall took.
    pub(super) entries: usize,
    /// Addresses whose entries it did not take, and what it said.
    pub(super) skipped: Vec<(IpAddr, String)>,
}

/// The way to one firewall; made anew after every failure, so that changed files count.
#[derive(Debug)]
pub(super) struct Sending {
    client: HttpsClient,
    url: String,
    user: String,
    password: Arc<ArcSwap<Secret>>,
    name: String,
    pace: Interval,
    /// Most entries of a document: as configured, or fewer since one was too large.
    limit: usize,
    refused_in_a_row: u32,
}

impl Sending {
    /// Reads whom to trust; connects at the first document.
    pub(super) fn new(
        name: &str,
        config: &WebApi,
        password: Arc<ArcSwap<Secret>>,
        resolver: Resolver,
    ) -> Result<Self, HttpsError> {
        let trust = Trust {
            ca_file: config.ca_file.as_deref(),
            certificate_sha256: config.certificate_sha256,
        };
        let rate = config.documents_per_second.max(1);
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            client: HttpsClient::new(trust, resolver)?,
            url: format!("{}{POST_ENTRY}", config.url),
            user: config.user.clone(),
            password,
            name: name.to_owned(),
            pace,
            limit: config.entries_per_document,
            refused_in_a_row: 0,
        })
    }

    /// Most entries of the next document.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Sends a document, in parts if need be. After an error some of it may be in the firewall, which does no harm:
    /// whoever sends again sends the latest state.
    pub(super) async fn deliver(&mut self, document: &Document) -> Result<Delivered, Trouble> {
        let mut delivered = Delivered::default();
        // Parts not sent yet, the next one last: what comes first in the journal is told first.
        let mut waiting: Vec<_> = std::iter::once(0..document.pieces().len()).collect();
        while let Some(part) = waiting.pop() {
            let (body, entries) = document.part(part.clone());
            let verdict = self.send(body).await?;
            let said = match verdict {
                Verdict::Taken => {
                    self.refused_in_a_row = 0;
                    delivered.entries += entries;
                    continue;
                }
                Verdict::TooLarge => {
                    self.limit = (entries / 2).clamp(1, self.limit);
                    "status 413".to_owned()
                }
                Verdict::Refused(said) => said,
                Verdict::Unauthorized => return Err(Trouble::Unauthorized),
                Verdict::Failed(said) => return Err(Trouble::Failed(said)),
            };
            match document.pieces().get(part.clone()) {
                Some([piece]) => self.skip(document, piece, said, &mut delivered).await?,
                _ => waiting.extend(halves(part)),
            }
        }
        Ok(delivered)
    }

    /// Leaves a piece out, and ends what the firewall may hold at its address.
    async fn skip(
        &mut self,
        document: &Document,
        piece: &Piece,
        said: String,
        delivered: &mut Delivered,
    ) -> Result<(), Trouble> {
        let ended = piece.logon && self.send(document.ending(piece)).await? == Verdict::Taken;
        self.refused_in_a_row = if ended { 0 } else { self.refused_in_a_row + 1 };
        if self.refused_in_a_row >= MAX_REFUSED_IN_A_ROW {
            return Err(Trouble::TakesNothing(said));
        }
        delivered.entries += usize::from(ended);
        delivered.skipped.push((piece.address, said));
        Ok(())
    }

    /// Whether the firewall is there, without telling it anything.
    pub(super) async fn look(&self) -> Result<(), Trouble> {
        self.client.look(&self.url).await.map_err(Trouble::Https)
    }

    async fn send(&mut self, body: Bytes) -> Result<Verdict, Trouble> {
        self.pace.tick().await;
        let password = self.password.load_full();
        let post = Post {
            url: &self.url,
            user: &self.user,
            password: &password,
            content_type: "application/xml",
            body,
        };
        let answer = self.client.post(post).await;
        let verdict = answer.map(|answer| Verdict::of(answer.status, &answer.body));
        let outcome = verdict.as_ref().map_or("no-answer", Verdict::as_str);
        metrics::counter!(
            "jims_web_api_documents_total",
            "point" => self.name.clone(),
            "outcome" => outcome
        )
        .increment(1);
        verdict.map_err(Trouble::Https)
    }
}

/// Both halves, the first one last.
fn halves(part: Range<usize>) -> [Range<usize>; 2] {
    let middle = part.start + part.len() / 2;
    [middle..part.end, part.start..middle]
}
