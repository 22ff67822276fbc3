//! How a push gets into the table: does it fit, directories first, then addresses with the position; mark and sweep.
//!
//! A Collector's pushes are handled one after the other. The position moves in memory only after the table has taken all
//! of a push. What is said again after a failure replaces itself, so a push that was applied in part does no harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::holder;
use super::interpret::{DirectoryKey, DirectoryPart, Told};
use super::registry::{Collector, Served};
use super::stream::{Fit, Grounds, Pass, Stream};
use super::table::Busy;
use super::{Entry, Inner};
use crate::identity::collector::{AddressReport, CollectorName};
use crate::identity::directory::{DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId};
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::push::shape::{MAX_DIRECTORIES, Position, Push};
use crate::runtime::clock;

/// Objects in one batch of a directory: a short hold of the table's lock.
const SLICE_OBJECTS: usize = 500;
/// Places of the table that are looked at in one hold of its lock.
const SLICE_PLACES: usize = 4096;

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The table holds it.
    Taken(Option<Position>),
    /// It does not follow what the table holds.
    DoesNotFit(Option<Position>),
    /// It is not what the protocol says; what is wrong.
    Invalid(String),
    /// The Collector is not onboarded any more.
    Gone,
    /// The table did not take it in time.
    Busy,
}

impl From<Busy> for Outcome {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

/// One push on its way.
struct Receiving<'a> {
    inner: &'a Arc<Inner>,
    entry: &'a Entry,
    stream: &'a mut Stream,
    grounds: Grounds,
}

/// Takes a push of an onboarded Collector, whose stream is locked meanwhile.
pub(super) async fn receive(
    inner: &Arc<Inner>,
    entry: &Entry,
    stream: &mut Option<Stream>,
    push: &Push,
    told: Told,
) -> Outcome {
    let stream = stream.get_or_insert_with(|| {
        let bookmark = inner.table.bookmark(&entry.name);
        Stream::from_bookmark(bookmark.as_deref())
    });
    match taken(inner, entry, stream, push, told).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn taken(
    inner: &Arc<Inner>,
    entry: &Entry,
    stream: &mut Stream,
    push: &Push,
    told: Told,
) -> Result<Outcome, Outcome> {
    inner.connected(entry).await?;
    let again = entry.again.load(Ordering::Acquire);
    if !push.begins && (again || stream.is_out_of_date(&inner.grounds(&entry.name))) {
        start_over(inner, entry, stream).await?;
    }
    if stream.fit(push) == Fit::Not {
        entry.live.lock().passing = stream.accepted().is_none() || stream.is_passing();
        return Ok(Outcome::DoesNotFit(stream.accepted()));
    }
    inner.note_directories(entry, &told).await?;
    let mut receiving = Receiving {
        grounds: inner.grounds(&entry.name),
        inner,
        entry,
        stream,
    };
    if push.begins {
        receiving.begin(push).await?;
    }
    receiving.take(push, told).await?;
    let passing = receiving.stream.is_passing();
    entry.live.lock().passing = passing;
    Ok(Outcome::Taken(stream.accepted()))
}

/// Forgets where a stream stands; the table first, so that a restart does not bring it back.
async fn start_over(inner: &Inner, entry: &Entry, stream: &mut Stream) -> Result<(), Busy> {
    let nowhere = Some(Vec::new());
    inner.table.told(&entry.name, Vec::new(), nowhere).await?;
    stream.start_over();
    entry.again.store(false, Ordering::Release);
    tracing::info!(collector = %entry.name, "a Collector is asked to start over");
    Ok(())
}

impl Receiving<'_> {
    async fn begin(&mut self, push: &Push) -> Result<(), Busy> {
        let (table, name) = (&self.inner.table, &self.entry.name);
        table.told(name, Vec::new(), Some(Vec::new())).await?;
        self.entry.again.store(false, Ordering::Release);
        self.stream.begin(&push.epoch, self.grounds.clone());
        tracing::info!(collector = %name, "a Collector tells everything from the beginning");
        Ok(())
    }

    async fn take(&mut self, push: &Push, told: Told) -> Result<(), Outcome> {
        for (key, part) in told.directories {
            if let Some(pass) = self.stream.pass() {
                pass.named.insert(key.clone());
            }
            if self.holds(&key) {
                self.directory(&key, part).await?;
            }
        }
        let reports = told.reports;
        if let Some(pass) = self.stream.pass() {
            pass.mark(&reports);
            self.addresses(reports, None).await?;
            self.stream.moved(push.position, self.grounds.clone());
            if !push.more {
                self.complete(push.position).await?;
            }
            return Ok(());
        }
        let bookmark = self.stream.bookmark_at(push.position, &self.grounds);
        let moves = bookmark.filter(|moved| *moved != self.stream.bookmark());
        self.addresses(reports, moves).await?;
        self.stream.moved(push.position, self.grounds.clone());
        Ok(())
    }

    /// Whether the table takes what this Collector tells of the directory.
    fn holds(&self, key: &DirectoryKey) -> bool {
        let registry = self.inner.registry.load();
        let one = registry.collector(&self.entry.name);
        let is_served = one.is_some_and(|one| one.directories.iter().any(|is| is_of(is, key)));
        let domain = holder::over_domain(key.domain.as_str());
        is_served && !self.grounds.denied.contains(&domain)
    }

    /// Reports, and with the last of them the position.
    async fn addresses(
        &self,
        reports: Vec<AddressReport>,
        bookmark: Option<Vec<u8>>,
    ) -> Result<(), Busy> {
        if reports.is_empty() && bookmark.is_none() {
            return Ok(());
        }
        let (table, name) = (&self.inner.table, &self.entry.name);
        table.told(name, reports, bookmark).await
    }

    async fn directory(
        &mut self,
        key: &DirectoryKey,
        mut part: DirectoryPart,
    ) -> Result<(), Outcome> {
        let begins = self
            .stream
            .pass()
            .map(|pass| pass.mark_directory(key, &mut part));
        let displaced = self.inner.displace_others(self.entry, key).await?;
        if displaced && begins.is_none() {
            // What others told and this Collector does not goes at the end of a pass only.
            self.entry.again.store(true, Ordering::Release);
        }
        let mut step = match begins {
            Some(true) => DirectoryStep::FullBegin,
            Some(false) => DirectoryStep::FullPart,
            None => DirectoryStep::Poll,
        };
        let (mut facts, mut removed) = (part.facts.take(), std::mem::take(&mut part.removed));
        let mut upserts = part.upserts.into_iter();
        loop {
            let slice: Vec<DirectoryObject> = upserts.by_ref().take(SLICE_OBJECTS).collect();
            let mut batch = batch(&self.entry.name, key, &part.domain, step)?;
            batch.facts = facts.take();
            batch.removed = std::mem::take(&mut removed);
            batch.upserts = slice;
            self.inner.table.directory(batch).await?;
            if upserts.len() == 0 {
                return Ok(());
            }
            if step == DirectoryStep::FullBegin {
                step = DirectoryStep::FullPart;
            }
        }
    }

    /// Ends a pass: what this Collector said before and did not repeat goes, then the position is kept.
    async fn complete(&mut self, position: u64) -> Result<(), Outcome> {
        let Some(pass) = self.stream.take_pass() else {
            return Ok(());
        };
        if let Err(busy) = self.sweep(&pass).await {
            // The Collector is told where it stands, and its next push ends the pass.
            self.stream.resume(pass);
            return Err(busy);
        }
        self.stream.completed(&pass, position, self.grounds.clone());
        let bookmark = Some(self.stream.bookmark());
        if let Err(busy) = self.addresses(Vec::new(), bookmark).await {
            self.stream.resume(pass);
            return Err(busy.into());
        }
        tracing::info!(
            collector = %self.entry.name,
            addresses = pass.addresses.len(),
            "a Collector has told everything"
        );
        Ok(())
    }

    async fn sweep(&self, pass: &Pass) -> Result<(), Outcome> {
        let (table, name) = (&self.inner.table, &self.entry.name);
        let mut from = Some(0);
        while let Some(place) = from {
            let (addresses, next) = table.addresses(name, place, SLICE_PLACES);
            let gone = addresses
                .into_iter()
                .filter(|a| !pass.addresses.contains(a));
            self.addresses(gone.map(nothing_of).collect(), None).await?;
            from = next;
        }
        for (key, reading) in &pass.directories {
            let end = batch(name, key, &reading.domain, DirectoryStep::FullEnd)?;
            table.directory(end).await?;
            if !reading.gone.is_empty() {
                let mut gone = batch(name, key, &reading.domain, DirectoryStep::Poll)?;
                gone.removed = reading.gone.iter().copied().collect::<Vec<ObjectId>>();
                table.directory(gone).await?;
            }
            // Not if another took the domain over meanwhile: this Collector has to start over then.
            if !self.entry.again.load(Ordering::Acquire) {
                self.inner.drop_others(self.entry, key).await?;
            }
        }
        self.inner.drop_unnamed(self.entry, pass).await
    }
}

impl Inner {
    /// The Collector is heard: it is not disconnected any more. Of one that was silent for longer than the logoff time,
    /// sessions have ended that it may still hold, and it does not say so again unless it starts over.
    pub(super) async fn connected(&self, entry: &Entry) -> Result<(), Busy> {
        let Some(since) = entry.live.lock().disconnected_since else {
            return Ok(());
        };
        let logoff_time = self.table.reader.read().policy().logoff_time;
        if clock::utc_now().since(since) >= logoff_time {
            entry.again.store(true, Ordering::Release);
        }
        self.table.standing(&entry.name, None).await?;
        entry.live.lock().disconnected_since = None;
        tracing::info!(collector = %entry.name, "a Collector is connected");
        Ok(())
    }

    fn grounds(&self, name: &str) -> Grounds {
        let registry = self.registry.load();
        let Some(one) = registry.collector(name) else {
            return Grounds::default();
        };
        // Asked before the table is held: whoever changes the entries may wait for the table.
        let all = registry.collectors().iter();
        let silent: HashMap<&str, UtcMillis> = all
            .filter_map(|one| Some((one.name.as_str(), self.silent_since(&one.name)?)))
            .collect();
        let since = |name: &str| silent.get(name).copied();
        let core = self.table.reader.read();
        holder::grounds(one, &registry, core.policy(), since, clock::utc_now())
    }

    /// Keeps which directories a Collector serves, so that it is known after a restart too.
    async fn note_directories(&self, entry: &Entry, told: &Told) -> Result<(), Outcome> {
        let registry = self.registry.load_full();
        let Some(one) = registry.collector(&entry.name) else {
            return Err(Outcome::Busy);
        };
        let is_known = |key: &&DirectoryKey| one.directories.iter().any(|is| is_of(is, key));
        let new: Vec<_> = told
            .directories
            .iter()
            .filter(|(_, part)| part.tells())
            .map(|(key, _)| key)
            .filter(|key| !is_known(key))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let names = one.directories.iter().map(|is| is.directory.as_str());
        let mut names: std::collections::BTreeSet<&str> = names.collect();
        names.extend(new.iter().map(|key| key.directory.as_str()));
        if names.len() > MAX_DIRECTORIES {
            let why = format!("directory: more than {MAX_DIRECTORIES} of one Collector");
            return Err(Outcome::Invalid(why));
        }
        for key in &new {
            let mut before = one.directories.iter();
            if before.any(|is| is.directory == key.directory && is.applied) {
                self.drop_directory(&entry.name, &key.directory).await?;
            }
        }
        let add = |one: &mut Collector| {
            for key in new {
                // A directory serves one domain.
                one.directories.retain(|is| is.directory != key.directory);
                one.directories.push(Served {
                    directory: key.directory.clone(),
                    domain: key.domain.as_str().to_owned(),
                    applied: false,
                });
            }
        };
        self.note(&entry.name, add).await.map_err(Outcome::from)
    }

    /// Whoever told this domain before has to start over, should it tell it again; its objects stay until they are told
    /// anew. Whether there was anybody.
    async fn displace_others(&self, entry: &Entry, key: &DirectoryKey) -> Result<bool, Busy> {
        let others = self.others_in(entry, key);
        for (name, _) in &others {
            let Some(other) = self.entry(name) else {
                continue;
            };
            if self.ask_again(&other).await? {
                tracing::info!(
                    collector = %entry.name,
                    before = %other.name,
                    "a domain's directory data come from another Collector now"
                );
            }
        }
        let registry = self.registry.load_full();
        let one = registry.collector(&entry.name);
        let mut all = one.iter().flat_map(|one| &one.directories);
        if !all.any(|is| is_of(is, key) && is.applied) {
            self.note(&entry.name, |one| {
                let all = one.directories.iter_mut();
                all.filter(|is| is_of(is, key))
                    .for_each(|is| is.applied = true);
            })
            .await?;
        }
        Ok(!others.is_empty())
    }

    /// Has a Collector start over with its next push, or after a restart; whether that is new.
    pub(super) async fn ask_again(&self, entry: &Entry) -> Result<bool, Busy> {
        let is_new = !entry.again.swap(true, Ordering::AcqRel);
        let nowhere = Some(Vec::new());
        self.table.told(&entry.name, Vec::new(), nowhere).await?;
        Ok(is_new)
    }

    /// What others told of a domain, and was not told anew, goes.
    async fn drop_others(&self, entry: &Entry, key: &DirectoryKey) -> Result<(), Outcome> {
        for (name, directory) in self.others_in(entry, key) {
            self.drop_directory(&name, &directory).await?;
            self.note(&name, |one| {
                let all = one.directories.iter_mut();
                let dropped = all.filter(|is| is.directory == directory);
                dropped.for_each(|is| is.applied = false);
            })
            .await?;
        }
        Ok(())
    }

    /// Directories that a whole pass did not name are no more, and the Server reads some itself now.
    async fn drop_unnamed(&self, entry: &Entry, pass: &Pass) -> Result<(), Outcome> {
        let registry = self.registry.load_full();
        let Some(one) = registry.collector(&entry.name) else {
            return Ok(());
        };
        let policy = self.table.policy();
        let stays = |is: &Served| {
            let own = holder::is_own(&is.domain, &policy);
            let named = pass.named.iter().any(|key| is_of(is, key));
            named && !(own && is.applied)
        };
        for gone in one.directories.iter().filter(|is| !stays(is)) {
            if gone.applied {
                self.drop_directory(&entry.name, &gone.directory).await?;
            }
        }
        if one.directories.iter().all(stays) {
            return Ok(());
        }
        let forget = |one: &mut Collector| one.directories.retain(stays);
        self.note(&entry.name, forget).await.map_err(Outcome::from)
    }

    /// Directories of other Collectors in the same domain whose objects are in the table.
    fn others_in(&self, entry: &Entry, key: &DirectoryKey) -> Vec<(String, String)> {
        let registry = self.registry.load();
        let others = registry.collectors().iter();
        let others = others.filter(|one| one.name != *entry.name);
        let held = others.flat_map(|one| one.directories.iter().map(move |is| (one, is)));
        held.filter(|(_, is)| is.applied && is.domain == key.domain.as_str())
            .map(|(one, is)| (one.name.clone(), is.directory.clone()))
            .collect()
    }

    async fn drop_directory(&self, collector: &str, directory: &str) -> Result<(), Outcome> {
        let name = directory_name(collector, directory)?;
        Ok(self.table.drop_directory(name, true).await?)
    }

    /// Takes everything that a Collector brought out of the table. Nothing of it is handled meanwhile.
    pub(super) async fn take_out(
        &self,
        name: &CollectorName,
        directories: &[Served],
    ) -> Result<(), Outcome> {
        let mut from = Some(0);
        while let Some(place) = from {
            let (addresses, next) = self.table.addresses(name, place, SLICE_PLACES);
            if !addresses.is_empty() {
                let reports = addresses.into_iter().map(nothing_of).collect();
                self.table.told(name, reports, None).await?;
            }
            from = next;
        }
        for served in directories {
            let directory = directory_name(name, &served.directory)?;
            self.table.drop_directory(directory, false).await?;
        }
        let nowhere = Some(Vec::new());
        Ok(self.table.told(name, Vec::new(), nowhere).await?)
    }
}

fn is_of(served: &Served, key: &DirectoryKey) -> bool {
    served.directory == key.directory && served.domain == key.domain.as_str()
}

fn nothing_of(address: std::net::IpAddr) -> AddressReport {
    AddressReport {
        address,
        user: Vec::new(),
        device: Vec::new(),
    }
}

/// What a directory of a Collector is called in the table.
fn directory_name(collector: &str, directory: &str) -> Result<Name, Outcome> {
    let name = Name::new(&format!("{collector}/{directory}"));
    name.map_err(|why| Outcome::Invalid(format!("directory: {why}")))
}

fn batch(
    collector: &str,
    key: &DirectoryKey,
    domain: &Name,
    step: DirectoryStep,
) -> Result<DirectoryBatch, Outcome> {
    Ok(DirectoryBatch {
        directory: directory_name(collector, &key.directory)?,
        domain: domain.clone(),
        facts: None,
        step,
        upserts: Vec::new(),
        removed: Vec::new(),
        bookmark: None,
    })
}
