//! Who is connected: a Collector that was not heard for [`SILENT_AFTER`] is disconnected from when it was last heard.
//!
//! Silence is measured with the monotonic clock, so that a jump of the wall clock disconnects nobody.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::registry::Registry;
use super::{Entry, Ingest, Inner};
use crate::identity::time::UtcMillis;
use crate::push::shape::SILENT_AFTER;
use crate::runtime::clock;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

impl Ingest {
    /// Tells the table who is not heard, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        self.0.take_out_removed().await;
        for entry in self.0.all_entries() {
            // No push is handled meanwhile, which would connect it.
            let _quiet = entry.stream.lock().await;
            let since = entry.live.lock().disconnected_since;
            if let Some(since) = since {
                let _later = self.0.table.standing(&entry.name, Some(since)).await;
            }
        }
        while stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            self.0.look(clock::monotonic_now()).await;
        }
    }
}

impl Inner {
    /// Takes out what is left of Collectors that were removed: the process ended meanwhile, or its snapshot is older. A
    /// list of Collectors that was set aside removes nobody.
    async fn take_out_removed(&self) {
        if **self.registry.load() == Registry::default() {
            return;
        }
        for name in self.table.collectors() {
            if self.registry.load().collector(&name).is_some() {
                continue;
            }
            // Its directories went with the policy.
            match self.take_out(&name, &[]).await {
                Ok(()) => {
                    tracing::info!(collector = %name, "what a removed Collector brought is taken out")
                }
                Err(_) => {
                    tracing::warn!(collector = %name, "what a removed Collector brought is not taken out")
                }
            }
        }
    }

    async fn look(&self, now: Instant) {
        for entry in self.all_entries() {
            let heard = {
                let live = entry.live.lock();
                live.heard.filter(|_| live.disconnected_since.is_none())
            };
            if let Some((at, utc)) = heard
                && now.saturating_duration_since(at) > SILENT_AFTER
            {
                self.disconnected(&entry, utc).await;
            }
        }
    }

    /// A Collector is not heard since then.
    pub(super) async fn disconnected(&self, entry: &Entry, since: UtcMillis) {
        // Not while a push is handled, which would connect it again.
        let Ok(_quiet) = entry.stream.try_lock() else {
            return;
        };
        if entry.live.lock().disconnected_since.is_some() {
            return;
        }
        if self.table.standing(&entry.name, Some(since)).await.is_err() {
            return;
        }
        entry.live.lock().disconnected_since = Some(since);
        let registry = self.registry.load();
        let known = registry.collector(&entry.name);
        if known.is_some_and(|one| one.enabled) {
            tracing::warn!(collector = %entry.name, "a Collector is disconnected");
        } else {
            tracing::info!(collector = %entry.name, "a Collector is disconnected: it is disabled");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::reading::CollectorState;
    use super::super::registry::DEFAULT_EXPIRY;
    use super::super::{Kept, ScopeText, Surroundings};
    use super::*;
    use crate::access::Access;
    use crate::identity::collector::{
        AddressReport, CollectorBatch, FactKind, ToldFact, ToldSubject,
    };
    use crate::identity::name::Name;
    use crate::identity::policy::{Policy, Scope};
    use crate::identity::view::Epoch;
    use crate::identity::{Batch, Core};
    use crate::push::shape::{Introduction, Onboard, Push};
    use crate::runtime::readiness::Readiness;
    use crate::runtime::report::Reports;
    use crate::runtime::state_dir::StateDir;
    use crate::runtime::supervisor::Tasks;
    use crate::writer::{Writer, WriterParts};

    fn introduction() -> Introduction {
        Introduction {
            name: "branch".into(),
            version: "1".into(),
            description: String::new(),
        }
    }

    fn heartbeat() -> Push {
        Push {
            protocol: 1,
            collector: introduction(),
            epoch: "e".into(),
            begins: false,
            after: 0,
            position: 0,
            more: false,
            behind: 0,
            sent_at: 0,
            started: 0,
            attention: 0,
            totals: crate::push::shape::Totals::default(),
            changes: Vec::new(),
        }
    }

    async fn onboard(ingest: &Ingest) {
        let scope = ScopeText::default();
        let invited = ingest.invite("berlin", Some(DEFAULT_EXPIRY), scope, [0; 32]);
        let (code, _) = invited.await.expect("invited");
        let asked = Onboard {
            protocol: 1,
            invitation: data_encoding::HEXLOWER.encode(&code.secret),
            client_id: "collector-1".into(),
            client_secret: "x".repeat(64),
            collector: introduction(),
            sent_at: 0,
        };
        let from = "192.0.2.1".parse().expect("address");
        let onboarded = ingest.0.onboard(&asked, from).await;
        assert_eq!(onboarded, Ok("berlin".to_owned()));
    }

    /// A Server's end with its table, to which `berlin` is onboarded.
    struct Running {
        ingest: Ingest,
        parts: WriterParts,
        tasks: Tasks,
        stop: CancellationToken,
        _folder: tempfile::TempDir,
    }

    async fn start(core: Core) -> Running {
        let folder = tempfile::tempdir().expect("folder");
        let state = Arc::new(StateDir::open(folder.path()).expect("state"));
        let (writer, parts) = Writer::new(core, Reports::default());
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let running = writer.run(stop.clone());
        tasks.spawn("writer", async move {
            running.await.expect("the core does not panic");
        });
        let surroundings = Surroundings {
            intake: parts.intake.clone(),
            reader: parts.reader.clone(),
            policy: parts.policy.clone(),
            readiness: Readiness::new(),
            access: Access::default(),
            tasks: tasks.clone(),
            server: "hq".into(),
        };
        let ingest = Ingest::new(Kept::read(state).expect("nothing kept"), surroundings);
        ingest.enable(true).await;
        onboard(&ingest).await;
        Running {
            ingest,
            parts,
            tasks,
            stop,
            _folder: folder,
        }
    }

    impl Running {
        async fn stop(self) {
            self.stop.cancel();
            let left = self.tasks.finish(Duration::from_secs(30)).await;
            assert!(left.is_empty());
        }
    }

    #[tokio::test]
    async fn silence_disconnects_from_when_it_was_last_heard_and_a_push_connects() {
        let core = Core::new(Epoch(1), Policy::default());
        let running = start(core).await;
        let (ingest, parts) = (&running.ingest, &running.parts);
        let inner = &ingest.0;
        let entry = inner.entry("berlin").expect("onboarded");
        let stands = || ingest.readings().first().map(|one| one.state);
        assert_eq!(
            stands(),
            Some(CollectorState::Disconnected),
            "not heard yet"
        );

        let (at, utc) = (clock::monotonic_now(), clock::utc_now());
        let from = "192.0.2.1".parse().expect("address");
        entry.live.lock().heard(&heartbeat(), from, (at, utc));
        inner.connected(&entry).await.expect("the table takes it");
        inner.look(at + SILENT_AFTER).await;
        assert_eq!(stands(), Some(CollectorState::Connected));
        inner
            .look(at + SILENT_AFTER + Duration::from_millis(1))
            .await;
        assert_eq!(stands(), Some(CollectorState::Disconnected));
        let told = parts.reader.read().collector_standing("berlin");
        assert_eq!(told, Some(Some(utc)), "since it was last heard");
        inner.connected(&entry).await.expect("the table takes it");
        let told = parts.reader.read().collector_standing("berlin");
        assert_eq!(told, Some(None));
        running.stop().await;
    }

    #[tokio::test]
    async fn what_a_removed_collector_left_behind_is_taken_out_at_the_start() {
        let mut policy = Policy::default();
        let collectors = ["gone", "berlin"].map(|name| (name.into(), Scope::default()));
        policy.collectors.extend(collectors);
        let mut core = Core::new(Epoch(1), policy);
        for collector in ["gone", "berlin"] {
            let fact = ToldFact {
                kind: FactKind::Strong,
                at: UtcMillis(1_770_000_000_000),
                received_at: UtcMillis(1_770_000_000_000),
                subject: Some(ToldSubject {
                    name: Name::new("alice").expect("name"),
                    domain: Name::new("corp.example.com").expect("name"),
                    by_upn: false,
                }),
                producer: "dc".into(),
                record: "".into(),
                groups: None,
            };
            let report = AddressReport {
                address: "10.0.0.1".parse().expect("address"),
                user: vec![fact],
                device: Vec::new(),
            };
            let batch = CollectorBatch {
                collector: collector.into(),
                reports: vec![report],
                bookmark: None,
            };
            core.apply(
                Batch::Collector(batch),
                UtcMillis(1_770_000_000_000),
                &mut Vec::new(),
            );
        }
        let running = start(core).await;
        running.ingest.0.take_out_removed().await;
        let left = |collector: &str| {
            let core = running.parts.reader.read();
            core.addresses_of_collector(collector, 0, 100).0.len()
        };
        assert_eq!((left("gone"), left("berlin")), (0, 1));
        running.stop().await;
    }
}
