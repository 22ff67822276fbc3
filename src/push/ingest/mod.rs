//! The Server's end: it invites Collectors, onboards them, and receives what they push.
//!
//! | to find | look in |
//! | --- | --- |
//! | who was invited and onboarded, and by which rules | `registry`, `scope`, `file` |
//! | routes, order of checks, bodies | `http`, `body` |
//! | what a change means | `interpret` |
//! | where a Collector's stream stands | `stream` |
//! | from whom a domain's directory data come | `holder` |
//! | how a push gets into the table, mark and sweep | `receiving` |
//! | who is connected | `standing` |
//! | what an operator does | `desk` |
//!
//! One push of a Collector is handled at a time. Nothing is acknowledged that the table does not hold.

mod body;
mod desk;
mod file;
mod holder;
mod http;
mod interpret;
mod reading;
mod receiving;
mod registry;
mod scope;
mod standing;
mod stream;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::{Mutex, RwLock};

pub use self::desk::IngestError;
pub use self::file::SetAside;
pub use self::reading::{CollectorReading, CollectorState};
pub use self::registry::{
    Collector, DEFAULT_EXPIRY, Invitation, InvitationState, LONGEST_EXPIRY, Registry,
    RegistryError, SHORTEST_EXPIRY,
};
pub use self::scope::ScopeText;

use self::file::RegistryFile;
use self::reading::Live;
use self::stream::Stream;
use self::table::Table;
use crate::access::{Access, Client};
use crate::identity::collector::CollectorName;
use crate::identity::policy::{Policy, Scope};
use crate::identity::time::UtcMillis;
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::state_dir::{StateDir, StateError};
use crate::runtime::supervisor::Tasks;
use crate::writer::{Intake, PolicyGate, Reader, Stopped};

/// What the state folder holds of Collectors; read before there is a table.
#[derive(Debug)]
pub struct Kept {
    registry: Registry,
    file: RegistryFile,
    /// The file that could not be used, if there was one.
    pub aside: Option<SetAside>,
}

impl Kept {
    /// Reads it.
    ///
    /// # Errors
    /// The file is there and can neither be read nor set aside.
    pub fn read(state: Arc<StateDir>) -> Result<Self, StateError> {
        let file = RegistryFile::new(state);
        let (registry, aside) = file.read()?;
        Ok(Self {
            registry,
            file,
            aside,
        })
    }

    /// Adds to a policy whom the table hears.
    pub fn fill(&self, policy: &mut Policy) {
        policy.collectors = scopes(&self.registry);
    }
}

/// What ingest needs of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where batches go.
    pub intake: Intake,
    /// How the table is read.
    pub reader: Reader,
    /// How its policy is replaced.
    pub policy: PolicyGate,
    /// Whether answers can be trusted yet.
    pub readiness: Readiness,
    /// Who may call over HTTPS.
    pub access: Access,
    /// Who owns its tasks.
    pub tasks: Tasks,
    /// `collector.name` of the configuration: what Collectors call this Server.
    pub server: String,
}

/// The Server's end; a handle to share.
#[derive(Clone, Debug)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Table,
    readiness: Readiness,
    access: Access,
    tasks: Tasks,
    server: String,
    enabled: AtomicBool,
    started: UtcMillis,
    file: RegistryFile,
    registry: ArcSwap<Registry>,
    /// Held while registry or policy change, so that they change in one order.
    changing: tokio::sync::Mutex<Leaving>,
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    parsing: body::Parsing,
}

/// Scopes of Collectors that are removed, until the table holds nothing of theirs.
type Leaving = BTreeMap<CollectorName, Scope>;

/// A Collector while this process runs.
#[derive(Debug)]
struct Entry {
    name: CollectorName,
    client_id: String,
    /// Locked while a push is handled; `None`: not heard yet.
    stream: Arc<tokio::sync::Mutex<Option<Stream>>>,
    /// Somebody took a domain of its over: it has to start over.
    again: AtomicBool,
    live: Mutex<Live>,
}

impl Entry {
    fn new(of: &Collector, disconnected_since: UtcMillis) -> Arc<Self> {
        Arc::new(Self {
            name: of.name.as_str().into(),
            client_id: of.client_id.clone(),
            stream: Arc::default(),
            again: AtomicBool::new(false),
            live: Mutex::new(Live::disconnected(disconnected_since)),
        })
    }
}

impl Ingest {
    /// With what was kept; nobody is heard before [`Ingest::enable`].
    #[must_use]
    pub fn new(kept: Kept, surroundings: Surroundings) -> Self {
        let now = clock::utc_now();
        let ingest = Self(Arc::new(Inner {
            table: Table {
                intake: surroundings.intake,
                reader: surroundings.reader,
                policy: surroundings.policy,
            },
            readiness: surroundings.readiness,
            access: surroundings.access,
            tasks: surroundings.tasks,
            server: surroundings.server,
            enabled: AtomicBool::new(false),
            started: now,
            file: kept.file,
            registry: ArcSwap::from_pointee(kept.registry),
            changing: tokio::sync::Mutex::default(),
            entries: RwLock::default(),
            parsing: body::Parsing::default(),
        }));
        ingest.0.follow_entries();
        ingest
    }

    /// Lets Collectors call, once the table hears them, or nobody; then the policy in force does not change. What was told
    /// by those who may not call leaves the table with the next policy, so they have to start over when they may again.
    pub async fn enable(&self, enabled: bool) {
        {
            let leaving = self.0.changing.lock().await;
            self.0.enabled.store(enabled, Ordering::Relaxed);
            let heard = self.0.heard(&leaving);
            if enabled && self.0.table.policy().collectors != heard {
                let _stopping = self.0.obey(&leaving).await;
            }
            self.0.follow_clients();
        }
        let silenced = self.0.all_entries().into_iter().filter(|_| !enabled);
        for entry in silenced {
            let _stopping = self.0.ask_again(&entry).await;
        }
    }

    /// What answers on the listeners of the Server.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// Replaces the table's policy, with the onboarded Collectors in it.
    ///
    /// # Errors
    /// [`Stopped`] when the process is stopping.
    pub async fn obey(&self, mut policy: Policy) -> Result<(), Stopped> {
        let leaving = self.0.changing.lock().await;
        policy.collectors = self.0.heard(&leaving);
        self.0.table.policy.replace(policy).await
    }
}

impl Inner {
    fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Whom the table hears.
    fn heard(&self, leaving: &Leaving) -> BTreeMap<CollectorName, Scope> {
        let mut all = leaving.clone();
        if self.is_enabled() {
            all.extend(scopes(&self.registry.load()));
        }
        all
    }

    /// Hands the Collectors of the registry to the gate of HTTPS.
    fn follow_clients(&self) {
        let registry = self.registry.load();
        let enabled = self.is_enabled();
        let onboarded = registry.collectors().iter().filter(|_| enabled);
        let client =
            |one: &Collector| Client::collector(&one.name, &one.client_id, one.client_secret);
        self.access
            .replace_collectors(onboarded.map(client).collect());
    }

    /// Keeps an entry for each Collector of the registry; a name that somebody else has now has a new one.
    fn follow_entries(&self) {
        let registry = self.registry.load();
        let mut entries = self.entries.write();
        entries.retain(|name, entry| {
            let one = registry.collector(name);
            one.is_some_and(|one| one.client_id == entry.client_id)
        });
        for one in registry.collectors() {
            entries.entry(one.name.clone()).or_insert_with(|| {
                let told = self.table.disconnected_since(&one.name);
                let since = self.started.max(one.onboarded_at);
                Entry::new(one, told.map_or(since, |told| told.min(since)))
            });
        }
    }

    fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries.read().get(name).map(Arc::clone)
    }

    fn all_entries(&self) -> Vec<Arc<Entry>> {
        self.entries.read().values().map(Arc::clone).collect()
    }

    fn silent_since(&self, name: &str) -> Option<UtcMillis> {
        self.entry(name)?.live.lock().disconnected_since
    }
}

fn scopes(registry: &Registry) -> BTreeMap<CollectorName, Scope> {
    let all = registry.collectors().iter();
    // What was accepted once is a scope; a file that says otherwise speaks for nothing.
    let scope = |one: &Collector| one.scope.to_scope().unwrap_or_else(|_| nothing());
    all.map(|one| (one.name.as_str().into(), scope(one)))
        .collect()
}

fn nothing() -> Scope {
    Scope {
        networks: Some(crate::identity::address::Networks::default()),
        domains: Some(Vec::new()),
        ..Scope::default()
    }
}
