//! Portals, NACs and scripts that push logons, in the XML that the Web API of Junos takes.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a document may look like | `document` |
//! | what an entry means | `interpret` |
//! | who may push, and which status answers what | `http` |
//! | what a sender is told of its entries | `answer` |
//!
//! The HTTPS listeners are the Server's; it is handed the router. Who a sender is and what it shows is in
//! [`crate::access`]; what it may speak for is the table's policy.

mod answer;
pub mod document;
mod http;
pub mod interpret;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use tokio::sync::Semaphore;

pub use self::http::MAX_BODY_BYTES;

use self::interpret::Settings;
use crate::access::Access;
use crate::config;
use crate::runtime::clock;
use crate::runtime::report::{Kind, Report, Reports};
use crate::runtime::strangers::Strangers;
use crate::writer::Intake;

/// Documents of one sender that are read or judged at once; the next waits.
pub const MAX_AT_ONCE: usize = 32;

/// What senders need of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where events go.
    pub intake: Intake,
    /// Where senders report.
    pub reports: Reports,
    /// Where addresses are noted that are no sender.
    pub strangers: Strangers,
}

/// The configured senders; a handle to share.
#[derive(Clone, Debug)]
pub struct FirewallPushes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    surroundings: Surroundings,
    senders: ArcSwap<BTreeMap<Arc<str>, Arc<Sender>>>,
}

/// One sender.
#[derive(Debug)]
struct Sender {
    name: Arc<str>,
    settings: Settings,
    report: Arc<Report>,
    /// Whether it ever pushed.
    has_pushed: AtomicBool,
    /// Room for [`MAX_AT_ONCE`] documents, so that a sender gone mad cannot fill the memory.
    room: Arc<Semaphore>,
}

impl FirewallPushes {
    /// Nobody yet.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        Self(Arc::new(Inner {
            surroundings,
            senders: ArcSwap::default(),
        }))
    }

    /// What answers on the listeners of the Server.
    pub fn router(&self, access: Access) -> Router {
        http::router(self.clone(), access)
    }

    /// Takes over the senders of a configuration.
    pub fn replace(&self, configured: &[config::FirewallPush]) {
        let before = self.0.senders.load();
        let reports = &self.0.surroundings.reports;
        let senders: BTreeMap<_, _> = configured
            .iter()
            .map(|push| Sender::new(push, before.get(push.name.as_str()).map(|s| &**s)))
            .map(|sender| (Arc::clone(&sender.name), Arc::new(sender)))
            .collect();
        for name in before.keys().filter(|name| !senders.contains_key(*name)) {
            reports.remove(Kind::FirewallPush, name);
        }
        for sender in senders.values() {
            reports.add(&sender.report);
        }
        self.0.senders.store(Arc::new(senders));
    }

    fn named(&self, name: &str) -> Option<Arc<Sender>> {
        self.0.senders.load().get(name).map(Arc::clone)
    }
}

impl Sender {
    /// A sender as configured, with the report that it had before, if it had.
    fn new(push: &config::FirewallPush, before: Option<&Self>) -> Self {
        let name: Arc<str> = push.name.as_str().into();
        let report = before.map_or_else(
            || Report::new(Kind::FirewallPush, &*name),
            |before| Arc::clone(&before.report),
        );
        Self {
            settings: Settings {
                producer: name.as_ref().into(),
                domain: push.domain.clone(),
            },
            report,
            has_pushed: AtomicBool::new(
                before.is_some_and(|b| b.has_pushed.load(Ordering::Relaxed)),
            ),
            room: before.map_or_else(
                || Arc::new(Semaphore::new(MAX_AT_ONCE)),
                |before| Arc::clone(&before.room),
            ),
            name,
        }
    }

    /// Counts what arrived.
    fn heard(&self, entries: usize) {
        self.report.count_received(entries as u64, clock::utc_now());
        if !self.has_pushed.swap(true, Ordering::Relaxed) {
            self.report.set_active("pushes");
        }
    }
}
