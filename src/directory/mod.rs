//! Directory services: LDAP or LDIF in, directory batches out.
//!
//! `sync` decides what to read, `reading` reads it page by page, `server` keeps one domain controller connected,
//! `file` follows an LDIF file, `ldif` is its format, `interpret` gives entries their meaning, `feed` hands batches to
//! the table and waits for it, so that a slow table slows the reading. Sockets are in `net/ldap.rs`; memberships are
//! closed and sessions ended in `identity/`.

mod feed;
mod file;
pub mod interpret;
pub mod ldif;
mod preflight;
mod reading;
mod server;
pub mod sync;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use crate::config::{self, DirectorySource};
use crate::net::ldap::{Connection, Page, Search};
use crate::net::ldap_error::LdapError;
use crate::net::resolve::Resolver;
use crate::runtime::readiness::Latch;
use crate::runtime::report::Report;
use crate::wire::ldap::Entry;
use crate::writer::{Intake, Reader};

pub use self::file::preflight_file;
pub use self::preflight::preflight;
pub use self::server::ServerError;

/// How long a directory may fail before the others are not kept waiting for it (rule 15).
const READY_WITHOUT: Duration = Duration::from_secs(30);

/// One directory service, ready to run.
#[derive(Debug)]
pub struct Directory {
    /// Its configuration.
    pub config: config::Directory,
    /// Where batches go.
    pub intake: Intake,
    /// Where the bookmark of an earlier run is.
    pub reader: Reader,
    /// Who finds addresses.
    pub resolver: Resolver,
    /// What it says about itself.
    pub report: Arc<Report>,
    /// Opens when the directory is served from the snapshot, has been read once, or has failed for 30 s.
    pub latch: Latch,
}

/// The seam between reading and the network.
pub trait LdapSearch: Send {
    /// Searches; one page if the search asks for pages.
    fn search(
        &mut self,
        search: &Search<'_>,
    ) -> impl Future<Output = Result<Page, LdapError>> + Send;

    /// The server's facts about itself (rootDSE); `None` if it hands out none.
    fn root(&mut self) -> impl Future<Output = Result<Option<Entry>, LdapError>> + Send {
        async {
            let search = Search {
                base: "",
                base_only: true,
                filter: "(objectClass=*)",
                attributes: &[
                    "dnsHostName",
                    "dsServiceName",
                    "defaultNamingContext",
                    "configurationNamingContext",
                    "highestCommittedUSN",
                ],
                page: None,
                show_deleted: false,
                extended_dn: false,
            };
            Ok(self.search(&search).await?.entries.pop())
        }
    }
}

impl LdapSearch for Connection {
    async fn search(&mut self, search: &Search<'_>) -> Result<Page, LdapError> {
        Self::search(self, search).await
    }
}

impl Directory {
    /// Reads and follows the directory until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let key = bookmark_key(self.config.name.as_str());
        let stored = self.reader.read().bookmark(&key).map(Box::from);
        if stored.is_some() {
            self.latch.open();
        }
        let (silent, watched) = watch::channel(true);
        let feed = Feed {
            directory: self.config.name.clone(),
            domain: self.config.domain.clone(),
            key: key.into(),
            intake: self.intake,
            report: self.report,
            latch: self.latch.clone(),
            silent,
        };
        let interval = self.config.poll_interval;
        let work = async {
            match self.config.source {
                DirectorySource::Ldap(ldap) => {
                    server::Server::new(feed, self.resolver, ldap, interval, stored)
                        .run()
                        .await;
                }
                DirectorySource::Ldif(path) => {
                    file::File::new(feed, path, interval, stored).run().await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
            () = open_when_silent(watched, &self.latch) => {}
        }
    }
}

/// Where the table keeps how far a directory is read; there as soon as it was read once.
#[must_use]
pub fn bookmark_key(directory: &str) -> String {
    format!("directory/{directory}")
}

/// Opens the latch after 30 s in which the directory gave nothing; never returns.
async fn open_when_silent(mut silent: watch::Receiver<bool>, latch: &Latch) {
    loop {
        // The sender lives as long as the work beside this.
        if silent.wait_for(|silent| *silent).await.is_err() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(READY_WITHOUT) => {
                latch.open();
                break;
            }
            spoken = silent.wait_for(|silent| !*silent) => if spoken.is_err() { break },
        }
    }
    std::future::pending().await
}
