//! Who may call us over HTTPS: clients with addresses, secrets and a role; their tokens; limits of failed logins.
//!
//! Firewalls that query and portals that push show the same kind of credential, so it is judged in one place. What a
//! client is then told, or may say, is decided by the room that serves its role. No HTTP here beyond the one header
//! that carries credentials.

mod client;
mod guests;
mod login;
mod pace;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

pub use self::client::{Client, ClientError, Clients, Role};
pub use self::token::TokenRecord;

use self::guests::Guests;
use self::login::FailedLogins;
use self::pace::Pace;
use self::token::Tokens;
use crate::config::Config;
use crate::identity::time::UtcMillis;

/// The gate that every HTTPS client passes; a handle to share.
#[derive(Clone, Debug, Default)]
pub struct Access(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clients: ArcSwap<Clients>,
    /// Onboarded, not configured; held while clients are replaced.
    collectors: Mutex<Vec<Arc<Client>>>,
    tokens: Tokens,
    logins: FailedLogins,
    guests: Guests,
    pace: Pace,
    token_lifetime_ms: AtomicU64,
}

/// Why a client id and secret were not taken.
#[derive(Clone, Debug)]
pub enum LoginRefused {
    /// Too many failures: even the right secret must wait so long.
    Delayed(Duration),
    /// They are not of a client at that address; the client whose id it is, if there is one.
    Wrong(Option<Arc<Client>>),
}

impl Access {
    /// Takes over the clients of a changed configuration; tokens of secrets that are gone end (rule 23).
    pub fn replace(&self, new: Clients, config: &Config) {
        self.replace_configured(&new);
        if let Some(server) = &config.server {
            let millis = u64::try_from(server.token_lifetime.as_millis()).unwrap_or(u64::MAX);
            self.0.token_lifetime_ms.store(millis, Ordering::Relaxed);
        }
    }

    /// Takes over the onboarded Collectors, beside the configured clients; tokens of those who are gone end (rule 23).
    pub fn replace_collectors(&self, new: Vec<Client>) {
        let mut collectors = self.0.collectors.lock();
        *collectors = new.into_iter().map(Arc::new).collect();
        self.take(self.clients().with(Role::Collect, &collectors));
    }

    fn replace_configured(&self, new: &Clients) {
        let collectors = self.0.collectors.lock();
        self.take(new.with(Role::Collect, &collectors));
    }

    fn take(&self, new: Clients) {
        for (client, secret) in self.clients().secrets_gone(&new) {
            let tokens = self.0.tokens.revoke(&client.client_id, &secret);
            tracing::info!(client = %client.name, tokens, "tokens revoked: the client or its secret is gone");
        }
        self.0.guests.keep_only(&new);
        self.0.clients.store(Arc::new(new));
    }

    /// Whether somebody is expected to call from the address: a configured client's, or where an onboarded Collector
    /// last showed its credential.
    #[must_use]
    pub fn expects(&self, address: IpAddr) -> bool {
        self.0.guests.is_home(address) || !self.0.clients.load().everyone_at(address).is_empty()
    }

    /// How long who guesses codes of invitations from the address must wait; `None`: it may try.
    #[must_use]
    pub fn guess_delay(&self, address: IpAddr, now: UtcMillis) -> Option<Duration> {
        self.0.guests.guesses.delay(address, None, now)
    }

    /// Remembers that a code of no invitation came from the address.
    pub fn guessed_wrong(&self, address: IpAddr, now: UtcMillis) {
        self.0.guests.guesses.failed(address, None, now);
    }

    /// The clients in force.
    #[must_use]
    pub fn clients(&self) -> Arc<Clients> {
        self.0.clients.load_full()
    }

    /// The client of the role that calls from the address and whose token this is.
    #[must_use]
    pub fn by_token(
        &self,
        role: Role,
        address: IpAddr,
        token: &str,
        now: UtcMillis,
    ) -> Option<Arc<Client>> {
        let clients = self.0.clients.load();
        let mut candidates = clients.at(role, address).into_iter();
        let holder = candidates.find(|client| self.0.tokens.check(client, token, now))?;
        self.0.guests.came(holder, address);
        Some(Arc::clone(holder))
    }

    /// The client at the address that has this id and secret, of the role or of any; failures are limited by address
    /// and client id together (rule 31).
    ///
    /// # Errors
    /// They are wrong, or were wrong too often.
    pub fn login(
        &self,
        role: Option<Role>,
        address: IpAddr,
        client_id: &str,
        secret: &str,
        now: UtcMillis,
    ) -> Result<Arc<Client>, LoginRefused> {
        let clients = self.0.clients.load();
        let meant = clients
            .identified(client_id)
            .filter(|client| client.calls_from(address))
            .filter(|client| role.is_none_or(|role| role == client.role));
        // What strangers try is remembered apart, so that however many they are, they make no room among clients.
        let logins = if clients.everyone_at(address).is_empty() {
            &self.0.guests.logins
        } else {
            &self.0.logins
        };
        let id = meant.map(|client| &*client.client_id);
        if let Some(wait) = logins.delay(address, id, now) {
            return Err(LoginRefused::Delayed(wait));
        }
        match meant {
            Some(client) if client.has_secret(secret) => {
                logins.succeeded(address, &client.client_id);
                self.0.guests.came(client, address);
                Ok(Arc::clone(client))
            }
            meant => {
                logins.failed(address, id, now);
                Err(LoginRefused::Wrong(meant.map(Arc::clone)))
            }
        }
    }

    /// Takes one request of an address from which so many clients call, before anything of it is looked at.
    ///
    /// # Errors
    /// The address asks more than its clients can need; how long until it may ask again.
    pub fn admit(&self, address: IpAddr, clients: usize, now: Instant) -> Result<(), Duration> {
        self.0.pace.take(address, clients, now)
    }

    /// A new token for a client that has just shown its secret, and how long it is good.
    #[must_use]
    pub fn issue(&self, client: &Client, secret: &str, now: UtcMillis) -> (String, Duration) {
        let lifetime = Duration::from_millis(self.0.token_lifetime_ms.load(Ordering::Relaxed));
        let token = self.0.tokens.issue(client, secret, now, lifetime);
        (token, lifetime)
    }

    /// How many tokens of a client are good now.
    #[must_use]
    pub fn tokens_of(&self, client_id: &str, now: UtcMillis) -> usize {
        self.0.tokens.count(client_id, now)
    }

    /// Tokens in force, for the snapshot.
    #[must_use]
    pub fn export_tokens(&self, now: UtcMillis) -> Vec<TokenRecord> {
        self.0.tokens.export(now)
    }

    /// Takes back the tokens of a snapshot.
    pub fn import_tokens(&self, records: Vec<TokenRecord>, now: UtcMillis) {
        self.0.tokens.import(records, now);
    }
}

/// The token in `Authorization: Bearer` (RFC 6750, section 2.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// Client id and secret in `Authorization: Basic` (RFC 7617).
#[must_use]
pub fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case(wanted)
        .then_some(credentials.trim())
}
