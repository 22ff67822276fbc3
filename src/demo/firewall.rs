//! The demo's firewall: takes a token and polls by cookie over TLS, as an SRX does, and keeps what it was told.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

use super::DemoError;
use super::site::{CLIENT, FIREWALL};

/// How many changes the screen can show.
const RECENT: usize = 10;

/// Pause between two polls; an SRX takes 5 s.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// What the firewall holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Its authentication table.
    pub(super) entries: BTreeMap<IpAddr, Entry>,
    /// The latest changes, newest first.
    pub(super) recent: VecDeque<Entry>,
    /// Changes taken so far.
    pub(super) changes: u64,
    /// Batches asked for.
    pub(super) polls: u64,
    /// What went wrong at the last poll.
    pub(super) trouble: Option<String>,
}

/// One entry of an answer, as far as the demo shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    /// The address.
    pub(super) ip_address: IpAddr,
    /// The user, if one is there.
    #[serde(default)]
    pub(super) user_name: String,
    /// His groups.
    #[serde(default)]
    pub(super) roles: Vec<String>,
    /// The device, if one is known.
    #[serde(default)]
    pub(super) device_name: String,
    /// `login` or `logout`.
    pub(super) activity: String,
}

#[derive(Deserialize)]
struct Batch {
    report_entries: Vec<Entry>,
    cookie: String,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    full: bool,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// The simulated SRX.
pub(super) struct Firewall {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
    cookie: Option<String>,
    held: Arc<Mutex<Held>>,
}

impl Firewall {
    /// A firewall that trusts the Server's own certificate and asks from an address of its own.
    pub(super) fn new(
        certificate: &Path,
        port: u16,
        held: Arc<Mutex<Held>>,
    ) -> Result<Self, DemoError> {
        let pem = std::fs::read(certificate)?;
        let address: IpAddr = FIREWALL
            .parse()
            .map_err(|_| DemoError::Setup("the firewall's address".into()))?;
        let client = reqwest::Certificate::from_pem(&pem)
            .and_then(|root| {
                reqwest::Client::builder()
                    .tls_certs_only([root])
                    .local_address(address)
                    .timeout(Duration::from_secs(10))
                    .build()
            })
            .map_err(|error| DemoError::Setup(error.to_string()))?;
        Ok(Self {
            client,
            base: format!("https://127.0.0.1:{port}/api"),
            token: None,
            cookie: None,
            held,
        })
    }

    /// Polls for ever.
    pub(super) async fn run(mut self) {
        loop {
            let trouble = self.poll().await.err();
            if trouble.is_some() {
                self.token = None;
            }
            {
                let mut held = self.held.lock();
                held.polls += 1;
                held.trouble = trouble.map(|error| error.to_string());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn poll(&mut self) -> Result<(), reqwest::Error> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.token.insert(self.authenticate().await?).clone(),
        };
        loop {
            let position = self
                .cookie
                .as_ref()
                .map_or("begintime=0".to_owned(), |cookie| {
                    format!("cookie={cookie}")
                });
            let url = format!(
                "{}/user_query/v2/users/endpoints?{position}&entry_count=200",
                self.base
            );
            let answer = self
                .client
                .get(url)
                .bearer_auth(&token)
                .send()
                .await?
                .error_for_status()?;
            let batch: Batch = answer.json().await?;
            let more = batch.more;
            self.cookie = Some(batch.cookie.clone());
            self.take(batch);
            if !more {
                return Ok(());
            }
        }
    }

    async fn authenticate(&self) -> Result<String, reqwest::Error> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT.0),
            ("client_secret", CLIENT.1),
        ];
        let answer = self
            .client
            .post(format!("{}/oauth_token/oauth", self.base))
            .json(&BTreeMap::from(form))
            .send();
        let token: Token = answer.await?.error_for_status()?.json().await?;
        Ok(token.access_token)
    }

    fn take(&self, batch: Batch) {
        let mut held = self.held.lock();
        if batch.full {
            held.entries.clear();
        }
        for entry in batch.report_entries {
            if entry.activity == "logout" {
                held.entries.remove(&entry.ip_address);
            } else {
                held.entries.insert(entry.ip_address, entry.clone());
            }
            held.changes += 1;
            held.recent.push_front(entry);
            held.recent.truncate(RECENT);
        }
    }
}
