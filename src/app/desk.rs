//! What only the composition knows, for the control socket: the Server's readings, notices, reload, log level.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::cluster_status;
use super::collectors;
use super::knows;
use super::points;
use super::proposals;
use super::pushes;
use super::serve::Inner;
use crate::control::Site;
use crate::control::cluster::ClusterStatus;
use crate::control::junos::Junos;
use crate::control::kept::KeptRequest;
use crate::control::past::{self, PastWhom};
use crate::control::protocol::{
    Attention, CollectorChange, CollectorChanged, CollectorStatus, Invite, Invited, PointStatus,
    Probed, PushStatus, Refreshed, Refusal, ServerStatus, Told, timestamp,
};
use crate::control::server::Unparsed;
use crate::enforcement::UnknownRequest;
use crate::identity::ended::Ended;
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

/// The control socket's view of the process.
#[derive(Clone, Debug)]
pub(super) struct Desk(pub(super) Arc<Inner>);

impl Site for Desk {
    fn server(&self) -> Option<ServerStatus> {
        let server = self.0.server()?;
        let texts = |addresses: Vec<std::net::SocketAddr>| {
            addresses.iter().map(ToString::to_string).collect()
        };
        let configured = self.0.config.load();
        Some(ServerStatus {
            listen: texts(server.addresses()),
            fingerprint: server.certificate().fingerprint,
            self_signed: configured
                .server
                .as_ref()
                .is_some_and(|server| server.certificate.is_none()),
            validator: texts(server.validator_addresses()),
            debug_http: texts(server.plain_addresses()),
            ingest: configured.ingest.enabled,
            url: collectors::found_at(&self.0, &server).0,
            not_understood: server.unknown_requests().len(),
        })
    }

    fn points(&self) -> Vec<PointStatus> {
        let asking = self.0.server().map(|server| server.points());
        points::points(asking.unwrap_or_default(), self.0.web_apis.read())
    }

    fn refresh(&self, point: &str) -> Refreshed {
        let configured = self.0.config.load();
        points::refreshed(point, self.0.web_apis.refresh(point), &configured)
    }

    fn told(&self, point: &str, addresses: &[IpAddr]) -> Option<Vec<Value>> {
        knows::told(&self.0, point, addresses)
    }

    fn document(&self, point: &str, addresses: &[IpAddr]) -> Option<String> {
        self.0.web_apis.document(point, addresses)
    }

    fn knows(&self, address: IpAddr) -> Vec<Told> {
        knows::knows(&self.0, address)
    }

    async fn past(&self, whom: PastWhom, at: UtcMillis) -> past::Kept {
        let found = self.0.history.at(super::past::whom(whom), at).await;
        super::past::kept(found, self.0.history.is_on())
    }

    async fn ended_of(&self, whom: PastWhom) -> Vec<Ended> {
        let limit = crate::control::protocol::MAX_LISTED;
        self.0
            .history
            .ended_of(super::past::whom(whom), limit)
            .await
    }

    fn attention(&self) -> Vec<Attention> {
        let mut all = self.0.notices.read();
        for held in self.0.parts.reader.read().held_removals() {
            all.push(Attention {
                what: format!(
                    "directory {}: {} of {} objects would go; they stay until a full read says the same",
                    held.directory, held.objects, held.of
                ),
                remedy: "if that many were removed on purpose, wait for the next full read; else check what the account may read".into(),
                since: None,
            });
        }
        all.extend(self.0.history.fault().map(|fault| Attention {
            what: fault.what,
            remedy: fault.remedy,
            since: Some(timestamp(fault.since)),
        }));
        if let Some(cluster) = self.0.cluster.get() {
            all.extend(cluster_status::attention(&cluster.read(), clock::utc_now()));
        }
        all.extend(points::attention(self.0.web_apis.read(), clock::utc_now()));
        let config = self.0.config.load();
        let habits = self.0.habits.lock();
        all.extend(proposals::attention(&habits, &config, clock::utc_now()));
        all
    }

    fn unparsed(&self) -> Vec<Unparsed> {
        let config = self.0.config.load();
        let (Some(syslog), Some(running)) = (&config.syslog, self.0.syslog()) else {
            return Vec::new();
        };
        let lines = syslog.sources.iter().flat_map(|source| {
            let name: Arc<str> = source.name.as_str().into();
            let kept = running.tail(&source.name).unwrap_or_default();
            kept.into_iter().map(move |line| Unparsed {
                received_at: line.received_at,
                source: Arc::clone(&name),
                line: line.line,
                reason: line.reason.as_str(),
            })
        });
        lines.collect()
    }

    fn requests(&self) -> Vec<KeptRequest> {
        let kept = self.0.server().map(|server| server.unknown_requests());
        kept.into_iter().flatten().map(kept_request).collect()
    }

    fn junos(&self, point: &str) -> Result<Junos, Refusal> {
        super::junos::commands(&self.0, point)
    }

    async fn probe(&self, target: &str) -> Result<Probed, Refusal> {
        super::probe::asked_of_service(&self.0, target).await
    }

    fn collectors(&self) -> Result<Vec<CollectorStatus>, Refusal> {
        collectors::statuses(&self.0)
    }

    fn cluster(&self) -> Option<ClusterStatus> {
        let reading = self.0.cluster.get()?.read();
        let epoch = self.0.parts.reader.read().epoch();
        Some(cluster_status::status(&reading, epoch, clock::utc_now()))
    }

    fn pushes(&self) -> Vec<PushStatus> {
        self.0.pushes.read().iter().map(pushes::status).collect()
    }

    async fn invite(&self, invite: Invite) -> Result<Invited, Refusal> {
        collectors::invite(&self.0, invite).await
    }

    async fn change_collector(
        &self,
        name: &str,
        change: CollectorChange,
    ) -> Result<CollectorChanged, Refusal> {
        collectors::change(&self.0, name, change).await
    }

    async fn onboarded(&self) -> Result<String, Refusal> {
        Ok(pushes::look(&self.0).await)
    }

    async fn reload(&self) -> Result<String, Refusal> {
        self.0.reload().await
    }

    fn set_log_level(&self, level: &str) -> Result<(), Refusal> {
        let refused =
            |error: crate::runtime::telemetry::TelemetryError| super::refusal(&error.into());
        self.0.telemetry.set_level(level).map_err(refused)
    }
}

fn kept_request(request: UnknownRequest) -> KeptRequest {
    KeptRequest {
        at: timestamp(request.at),
        count: request.count,
        address: request.address,
        point: request.point,
        method: request.method,
        target: request.target,
        headers: request.headers,
        body: request.body,
        reason: request.reason,
    }
}
