//! One probe without a service: for `jims probe` where none runs.
//!
//! There is no table, so nobody's session is known and none changes.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::credentials::Credentials;
use super::probe::{Prober, Verdict, shown};
use super::steps::Steps;
use crate::config::PcProbe;
use crate::identity::address::{Networks, session_address};
use crate::net::resolve::Resolver;
use crate::runtime::preflight::Preflight;
use crate::runtime::probing::{Answer, NotAsked, Probed};
use crate::runtime::supervisor::Tasks;

/// Asks the computer at the address.
///
/// # Errors
/// [`NotAsked::Outside`]: it may not be asked.
pub async fn preflight(
    configured: &PcProbe,
    address: IpAddr,
    name: Option<String>,
    resolver: &Resolver,
) -> Result<Probed, NotAsked> {
    let networks = Networks::new(configured.networks.iter().copied());
    if session_address(address).is_none() || !networks.contains(address) {
        return Err(NotAsked::Outside);
    }
    let credentials = Arc::new(Mutex::new(Credentials::default()));
    let tasks = Tasks::new();
    let configured = Arc::new(configured.clone());
    let prober = Prober::new(configured, resolver, &tasks, credentials);
    let mut steps = Steps::new(Preflight::default());
    let verdict = prober.probe(address, name, &mut steps).await;
    let (answer, users) = match &verdict {
        Verdict::Answered(signed_on) => {
            let users: Vec<String> = signed_on.users.iter().map(shown).collect();
            // Without a table nobody knows whether it is the right one.
            let answer = users.is_empty().then_some(Answer::Nobody);
            (answer, [users, signed_on.local.clone()].concat())
        }
        Verdict::Refused | Verdict::NotProbed | Verdict::Unable => {
            (Some(Answer::Refused), Vec::new())
        }
        Verdict::Unreachable => (Some(Answer::Unreachable), Vec::new()),
    };
    Ok(Probed {
        answer,
        users,
        steps: steps.into_preflight().into_steps(),
    })
}
