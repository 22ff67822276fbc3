//! Lines that come as datagrams: one each. When the table has no room for a while, the newest are dropped and counted; the
//! kernel keeps what comes meanwhile, as far as it has room, and counts the rest.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::service::Shared;
use super::source::{Harvest, Source, Sources, Transport};
use crate::identity::Batch;
use crate::identity::time::UtcMillis;
use crate::net::datagrams::Datagrams;
use crate::runtime::clock;
use crate::runtime::strangers::Tried;
use crate::writer::NotTaken;

/// Pause after the system refused to give datagrams.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the table may take to have room: about as long as the kernel's buffer lasts at 100,000 lines a second.
const ROOM_WITHIN: Duration = Duration::from_millis(100);

/// Receives until `stop`.
pub(super) async fn receive(socket: UdpSocket, shared: Arc<Shared>, stop: CancellationToken) {
    let mut datagrams = Datagrams::new();
    while !stop.is_cancelled() {
        let mut round = Round {
            shared: &shared,
            begun: None,
            heard: Vec::new(),
        };
        let received = datagrams.receive(&socket, |peer, line| round.hear(peer, line));
        match stop.run_until_cancelled(received).await {
            None => return,
            Some(Ok(kernel_drops)) => round.finish(kernel_drops).await,
            Some(Err(error)) => {
                tracing::warn!(%error, "receiving syslog datagrams failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
        // There is always a next datagram under load: the table is to be written meanwhile.
        tokio::task::yield_now().await;
    }
}

/// What one system call brought.
struct Round<'a> {
    shared: &'a Shared,
    /// When the first datagram came, and the sources of that moment: a reload may have happened while we waited.
    begun: Option<(UtcMillis, Arc<Sources>)>,
    heard: Vec<(IpAddr, Arc<Source>, Harvest)>,
}

impl Round<'_> {
    fn hear(&mut self, peer: IpAddr, line: &[u8]) {
        let shared = self.shared;
        let (now, sources) = self
            .begun
            .get_or_insert_with(|| (clock::utc_now(), shared.sources()));
        let at = match self.heard.iter().position(|(known, ..)| *known == peer) {
            Some(at) => at,
            None => match sources.of(peer, Transport::Udp, &[]) {
                Some(source) => {
                    let harvest = Harvest::of(shared.hearer());
                    self.heard.push((peer, Arc::clone(source), harvest));
                    self.heard.len() - 1
                }
                None => {
                    shared.strangers().note(Tried::Syslog, peer, *now);
                    return;
                }
            },
        };
        if let Some((_, source, harvest)) = self.heard.get_mut(at) {
            source.hear(line, peer, *now, harvest);
        }
    }

    /// Hands over what all sources said, in one piece.
    async fn finish(mut self, kernel_drops: u64) {
        if kernel_drops > 0 {
            metrics::counter!("jims_syslog_kernel_drops_total").increment(kernel_drops);
            // Which sender's they were the kernel does not say; most likely one whose datagrams just came.
            if let Some((_, source, _)) = self.heard.last() {
                source.report.count_dropped("kernel", kernel_drops);
            }
        }
        let Some((now, _)) = self.begun else { return };
        let (mut events, mut counts) = (Vec::new(), Vec::new());
        for (_, source, harvest) in &mut self.heard {
            let of_source = source.settle(harvest, now);
            counts.push(of_source.len() as u64);
            events.extend(of_source);
        }
        if events.is_empty() {
            return;
        }
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        let Err(why) = self.shared.intake().send_within(batch, ROOM_WITHIN).await else {
            return;
        };
        let why = match why {
            NotTaken::Full => "queue-full",
            NotTaken::Stopped => "stopping",
        };
        for ((_, source, _), count) in self.heard.iter().zip(counts) {
            if count > 0 {
                source.report.count_dropped(why, count);
            }
        }
    }
}
