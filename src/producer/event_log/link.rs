//! The way to a server's event log: its port by the endpoint mapper, then a protected association.
//!
//! The steps stand alone, because a preflight takes them one by one.

use secrecy::ExposeSecret;

use super::refusals::{Digested, Refused};
use super::service::Shared;
use crate::config::secret::SecretError;
use crate::config::{Auth, EventSource};
use crate::net::rpc::{Connection, RpcClient, RpcError};
use crate::net::security::{AuthError, Credentials, Kdcs, Negotiation, Proof, Purpose, Target};
use crate::runtime::clock::monotonic_now;
use crate::runtime::supervisor::Tasks;
use crate::wire::even6;

/// Why there is no way to the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The password or the keytab cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The account or the host does not fit the way of signing on.
    #[error("signing on to {host}: {source}")]
    Auth { host: String, source: AuthError },
    /// The network, the endpoint mapper, the service, or the sign-on.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The proof was refused before and has not changed since.
    #[error("{}; not tried again until it changes", .0.message)]
    Refused(Refused),
}

impl LinkError {
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Secret(error) => error.remedy(),
            Self::Auth { source, .. } => source.remedy(),
            Self::Rpc(error) => error.remedy(),
            Self::Refused(refused) => refused.remedy.clone(),
        }
    }
}

/// A protected association with the event log service.
#[derive(Debug)]
pub(super) struct Link {
    client: RpcClient,
    account: String,
    proof: Digested,
}

impl Link {
    /// Finds the service and signs on.
    pub(super) async fn open(
        source: &EventSource,
        shared: &Shared,
        tasks: &Tasks,
    ) -> Result<Self, LinkError> {
        let proof = Proof::read(&source.proof)?;
        let digested = digested(&proof);
        let refused = shared
            .refusals
            .find(&source.user, &digested, monotonic_now());
        if let Some(refused) = refused {
            return Err(LinkError::Refused(refused));
        }
        let resolver = &shared.surroundings.resolver;
        let mapper = Connection::open(resolver, &source.host, source.port).await?;
        let port = mapper.endpoint(even6::INTERFACE).await?;
        let connection = Connection::open(resolver, &source.host, port).await?;
        let kdcs = Kdcs::new(
            resolver,
            source.domain.as_str(),
            &source.kdc,
            source.host.clone(),
        );
        let negotiation = negotiation(source, source.auth, &proof, kdcs)?;
        let client = connection
            .bind(tasks, even6::INTERFACE, negotiation)
            .await
            .inspect_err(|error| heed(shared, &source.user, &digested, error))?;
        Ok(Self {
            client,
            account: source.user.clone(),
            proof: digested,
        })
    }

    /// Keeps a refusal of the account, which with NTLM only the first call shows.
    pub(super) fn heed(&self, shared: &Shared, error: &RpcError) {
        heed(shared, &self.account, &self.proof, error);
    }

    /// Where calls go.
    pub(super) fn calls(&self) -> &RpcClient {
        &self.client
    }

    /// How the account signed on: `kerberos` or `ntlm`.
    pub(super) fn authentication(&self) -> &'static str {
        self.client
            .negotiated()
            .map_or("none", |negotiated| negotiated.mechanism)
    }

    /// How far the server's clock is ahead of ours, in milliseconds.
    pub(super) fn clock_offset(&self) -> Option<i64> {
        self.client.negotiated()?.clock_offset
    }
}

fn digested(proof: &Proof) -> Digested {
    match proof {
        Proof::Password(password) => Digested::of(password.expose_secret().as_bytes()),
        Proof::Keytab(bytes) => Digested::of(bytes.expose_secret()),
    }
}

/// Keeps what an error says of the account, so that no source tries it again in vain.
fn heed(shared: &Shared, account: &str, proof: &Digested, error: &RpcError) {
    if error.is_credentials() {
        let said = (error.to_string(), error.remedy());
        shared.refusals.put(account, proof, monotonic_now(), said);
    }
}

/// Prepares signing on in one way.
pub(super) fn negotiation(
    source: &EventSource,
    auth: Auth,
    proof: &Proof,
    kdcs: Kdcs,
) -> Result<Negotiation, LinkError> {
    let credentials = Credentials {
        user: source.user.clone(),
        domain: source.domain.as_str().to_owned(),
        proof: proof.clone(),
    };
    let target = Target {
        service: "host",
        host: source.host.clone(),
    };
    Negotiation::new(auth.into(), &credentials, &target, &Purpose::Rpc, kdcs).map_err(
        |source_error| LinkError::Auth {
            host: source.host.clone(),
            source: source_error,
        },
    )
}
