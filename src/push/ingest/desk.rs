//! What an operator does with invitations and Collectors, and how the registry changes: kept first, then obeyed.
//!
//! At INFO this is told where it is asked for, together with who asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroize as _;
use thiserror::Error;

use super::reading::{self, CollectorReading};
use super::registry::{self, Collector, DEFAULT_EXPIRY, Registry, RegistryError};
use super::scope::ScopeText;
use super::table::Busy;
use super::{Entry, Ingest, Inner, Leaving};
use crate::identity::time::UtcMillis;
use crate::push::code::Code;
use crate::push::shape::{Introduction, Onboard, Reason};
use crate::runtime::clock;
use crate::runtime::state_dir::StateError;

/// Why something that an operator asked for was not done.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The configuration does not let Collectors call.
    #[error("this Server takes no Collectors")]
    NotEnabled,
    /// It contradicts what there is.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The table did not take it in time, or the process is stopping.
    #[error("the table is busy, or jims is stopping; what was asked is done in part")]
    Busy,
}

impl IngestError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotEnabled => "set `enabled = true` in [ingest] and reload".into(),
            Self::Registry(error) => error.remedy(),
            Self::State(error) => error.remedy(),
            Self::Busy => "try once more".into(),
        }
    }
}

impl From<Busy> for IngestError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl Ingest {
    /// Invites a Collector under a name; `key` is the SHA-256 of this Server's public key. The code is shown once: only a
    /// hash of its secret is kept.
    ///
    /// # Errors
    /// The name is taken or none, a bound is not kept, or it cannot be written.
    pub async fn invite(
        &self,
        name: &str,
        life: Option<Duration>,
        scope: ScopeText,
        key: [u8; 32],
    ) -> Result<(Code, UtcMillis), IngestError> {
        if !self.0.is_enabled() {
            return Err(IngestError::NotEnabled);
        }
        let code = Code {
            secret: rand::random(),
            key,
        };
        let mut sent = data_encoding::HEXLOWER.encode(&code.secret);
        let hash = registry::hash(&sent);
        sent.zeroize();
        let life = life.unwrap_or(DEFAULT_EXPIRY);
        let is_leaving = |leaving: &Leaving| leaving.keys().any(|k| k.eq_ignore_ascii_case(name));
        if is_leaving(&*self.0.changing.lock().await) {
            return Err(RegistryError::NameTaken(name.to_owned()).into());
        }
        let now = clock::utc_now();
        let invite = |registry: &mut Registry| Ok(registry.invite(name, hash, life, scope, now)?);
        let expires = self.0.change(invite).await?;
        tracing::debug!(collector = name, "a Collector is invited");
        Ok((code, expires))
    }

    /// Takes an open invitation back.
    ///
    /// # Errors
    /// There is none of the name, or it cannot be written.
    pub async fn revoke(&self, name: &str) -> Result<(), IngestError> {
        let now = clock::utc_now();
        let revoke = |registry: &mut Registry| Ok(registry.revoke(name, now)?);
        self.0.change(revoke).await?;
        tracing::debug!(collector = name, "an invitation is taken back");
        Ok(())
    }

    /// Removes a Collector: its credential at once, then everything that it brought.
    ///
    /// # Errors
    /// There is none of the name, it cannot be written, or the table is busy.
    pub async fn remove(&self, name: &str) -> Result<(), IngestError> {
        let registry = self.0.registry.load_full();
        let entry = self.0.entry(name);
        let was = registry.collector(name).zip(entry);
        let (was, entry) = was.ok_or_else(|| RegistryError::NoCollector(name.to_owned()))?;
        let scope = was.scope.to_scope().unwrap_or_default();
        {
            // The table hears it until it holds nothing of it.
            let mut leaving = self.0.changing.lock().await;
            leaving.insert(entry.name.clone(), scope);
        }
        let removed = self.0.change(|all| Ok(all.remove(name)?)).await;
        let removed = match removed {
            Ok(removed) => self.0.forget(&entry, &removed).await,
            Err(refused) => Err(refused),
        };
        let mut leaving = self.0.changing.lock().await;
        leaving.remove(&entry.name);
        self.0.obey(&leaving).await?;
        removed?;
        tracing::debug!(
            collector = name,
            "a Collector is removed with all that it brought"
        );
        Ok(())
    }

    /// Hears a Collector no more, until it is enabled; its sessions end when their time is over.
    ///
    /// # Errors
    /// There is none of the name, or it cannot be written.
    pub async fn disable(&self, name: &str) -> Result<(), IngestError> {
        self.0.change(|all| Ok(all.enable(name, false)?)).await?;
        if let Some(entry) = self.0.entry(name) {
            self.0.disconnected(&entry, clock::utc_now()).await;
        }
        tracing::debug!(collector = name, "a Collector is disabled");
        Ok(())
    }

    /// Hears a Collector again.
    ///
    /// # Errors
    /// There is none of the name, or it cannot be written.
    pub async fn enable_collector(&self, name: &str) -> Result<(), IngestError> {
        self.0.change(|all| Ok(all.enable(name, true)?)).await?;
        tracing::debug!(collector = name, "a Collector is enabled");
        Ok(())
    }

    /// Sets what the operator says a Collector is.
    ///
    /// # Errors
    /// There is none of the name, the text cannot be used, or it cannot be written.
    pub async fn describe(&self, name: &str, description: &str) -> Result<(), IngestError> {
        let describe = |all: &mut Registry| Ok(all.describe(name, description)?);
        self.0.change(describe).await
    }

    /// How every Collector is doing, in the order of onboarding; open invitations last.
    #[must_use]
    pub fn readings(&self) -> Vec<CollectorReading> {
        let now = clock::utc_now();
        let registry = self.0.registry.load();
        let reading = |one: &Collector| {
            let entry = self.0.entry(&one.name)?;
            let live = entry.live.lock();
            Some(live.reading(one, now))
        };
        let onboarded = registry.collectors().iter().filter_map(reading);
        let open = registry.invitations().iter().filter(|one| one.is_open(now));
        onboarded.chain(open.map(reading::invited)).collect()
    }
}

impl Inner {
    /// Onboards who comes with an invitation; the table hears it before it is told so.
    pub(super) async fn onboard(
        &self,
        asked: &Onboard,
        address: IpAddr,
    ) -> Result<String, (Reason, String)> {
        if !self.registry.load().knows(&asked.invitation) {
            let why = "no invitation has this code".to_owned();
            return Err((Reason::UnknownInvitation, why));
        }
        let now = clock::utc_now();
        let clients = self.access.clients();
        let is_taken = |id: &str| clients.identified(id).is_some();
        let mut refused = None;
        let done = self
            .change(
                |registry| match registry.onboard(asked, address, is_taken, now) {
                    Ok(name) => Ok(Some(name)),
                    Err(why) => {
                        refused = Some(why);
                        Ok(None)
                    }
                },
            )
            .await;
        match (done, refused) {
            (Ok(Some(name)), _) => Ok(name),
            (_, Some(why)) => Err(why),
            (Err(error), _) => {
                tracing::warn!(
                    remedy = error.remedy(),
                    "a Collector cannot be onboarded: {error}"
                );
                Err((Reason::Busy, "the Server cannot keep this now".to_owned()))
            }
            (Ok(None), None) => Err((Reason::Busy, String::new())),
        }
    }

    /// Changes the registry: written first; then clients, entries and the table's policy follow.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<T, IngestError>,
    ) -> Result<T, IngestError> {
        let leaving = self.changing.lock().await;
        let before = self.registry.load_full();
        let mut after = Registry::clone(&before);
        let done = change(&mut after)?;
        if after == *before {
            return Ok(done);
        }
        self.file.write(&after).await?;
        let follows = who(&before) != who(&after);
        self.registry.store(Arc::new(after));
        if follows {
            self.follow_entries();
            self.follow_clients();
            self.obey(&leaving).await?;
        }
        Ok(done)
    }

    /// Keeps what became known of a Collector. It is in force even if it cannot be written.
    pub(super) async fn note(
        &self,
        name: &str,
        change: impl FnOnce(&mut Collector),
    ) -> Result<(), Busy> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.registry.load_full();
        let mut after = Registry::clone(&before);
        if after.change(name, change).is_err() {
            return Err(Busy);
        }
        if after == *before {
            return Ok(());
        }
        if let Err(error) = self.file.write(&after).await {
            tracing::warn!(remedy = error.remedy(), "{error}");
        }
        self.registry.store(Arc::new(after));
        Ok(())
    }

    /// Keeps how a Collector introduces itself and where it calls from, when that is new.
    pub(super) async fn introduced(&self, name: &str, by: &Introduction, from: IpAddr) {
        let by = registry::shown(by);
        let registry = self.registry.load_full();
        let is_new = registry
            .collector(name)
            .is_some_and(|one| one.introduction != by || one.address != Some(from));
        if is_new {
            let noted = self.note(name, |one| {
                one.introduction = by;
                one.address = Some(from);
            });
            // Who was removed meanwhile is found out next.
            let _gone = noted.await;
        }
    }

    /// Has the table hear the Collectors of the registry, and those who are leaving.
    pub(super) async fn obey(&self, leaving: &Leaving) -> Result<(), Busy> {
        let mut policy = self.table.policy();
        policy.collectors = self.heard(leaving);
        self.table
            .policy
            .replace(policy)
            .await
            .map_err(|_stopped| Busy)
    }

    /// Takes out what a removed Collector brought, once its last push is through.
    async fn forget(&self, entry: &Entry, was: &Collector) -> Result<(), IngestError> {
        let mut stream = entry.stream.lock().await;
        let out = self.take_out(&entry.name, &was.directories).await;
        *stream = None;
        out.map_err(|_| IngestError::Busy)
    }
}

/// Who is there and what each may speak for.
fn who(registry: &Registry) -> Vec<(&str, &str, &ScopeText)> {
    let all = registry.collectors().iter();
    all.map(|one| (one.name.as_str(), one.client_id.as_str(), &one.scope))
        .collect()
}
