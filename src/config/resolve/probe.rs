//! `[pc_probe]`, its credentials, and `[conflict]`: how a session is doubted, and what evidence is worth.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::account;
use super::{KnownDomains, known_domain};
use crate::config::defaults;
use crate::config::file::{Table, Value};
use crate::config::{Auth, PcProbe, ProbeCredential, QuietHours};
use crate::identity::name::Name;
use crate::identity::worth::{Conflict, ROWS, Weight};

/// How a computer may be signed on to.
const AUTHS: [(&str, Auth); 3] = [
    ("kerberos", Auth::Kerberos),
    ("negotiate", Auth::Negotiate),
    ("ntlm", Auth::Ntlm),
];

/// One try of one computer, sign-on included.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// Between two tries of the same computer.
const RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// Most probes at once: each has two connections.
const MAX_PARALLEL: u32 = 4096;
/// Most credentials: each wrong one is shown to a computer that refuses the others.
const MAX_CREDENTIALS: usize = 8;

/// What evidence is worth.
pub(super) fn conflict(root: &Table<'_>) -> Conflict {
    let table = root.table("conflict");
    let mut conflict = Conflict::default();
    for row in ROWS {
        let words = [
            Weight::Strong,
            Weight::Weak,
            Weight::Renews,
            Weight::Ignored,
        ];
        let words = words
            .into_iter()
            .filter(|weight| row.has_address || weight.strength().is_none());
        let words: Vec<(&str, Weight)> = words.map(|weight| (weight.as_str(), weight)).collect();
        if let Some(weight) = table.read(row.key, |value| value.word(&words)) {
            conflict = conflict.with(row.kind, weight);
        }
    }
    table.finish();
    conflict
}

/// The PC probe; `None` if no network is named, which turns it off.
pub(super) fn pc_probe(root: &Table<'_>, known: &KnownDomains, grace: Duration) -> Option<PcProbe> {
    let table = root.table("pc_probe");
    let networks = table.list("networks", Value::network);
    let number = |key, range, default: u32| {
        let number = table.read(key, |value| value.number(range));
        usize::try_from(number.unwrap_or(default)).unwrap_or(usize::MAX)
    };
    let auth = table
        .read("auth", |value| value.word(&AUTHS))
        .unwrap_or(Auth::Kerberos);
    let parallel = number("parallel", 1..=MAX_PARALLEL, defaults::PROBE_PARALLEL);
    let per_subnet = number("per_subnet", 1..=MAX_PARALLEL, defaults::PROBE_PER_SUBNET);
    let duration = |key, range, default| {
        table
            .read(key, |value| value.duration(range))
            .unwrap_or(default)
    };
    let probe = PcProbe {
        port: table
            .read("port", Value::port)
            .unwrap_or(defaults::ENDPOINT_MAPPER_PORT),
        auth,
        kdc: table.list("kdc", account::kdc),
        parallel,
        per_subnet,
        timeout: duration("timeout", TIMEOUT, defaults::PROBE_TIMEOUT),
        retry: duration("retry", RETRY, defaults::PROBE_RETRY),
        quiet_hours: table.read("quiet_hours", quiet_hours).flatten(),
        credentials: credentials(&table, auth, known),
        networks,
    };
    if table.present() {
        advise(&table, &probe, grace);
    }
    table.finish();
    (!probe.networks.is_empty()).then_some(probe)
}

/// What may be a mistake.
fn advise(table: &Table<'_>, probe: &PcProbe, grace: Duration) {
    if probe.networks.is_empty() {
        if table.value("credential").is_some() {
            table.spot.warning(
                "no computer is probed",
                "a probe carries a credential, so only computers inside networks are asked",
                "name the networks of your computers: networks = [\"10.1.0.0/16\"]",
            );
        }
        return;
    }
    if table.value("credential").is_none() {
        table.spot.error(
            "there is no credential",
            "computers tell who is signed on only to an account that they trust",
            "add a [[pc_probe.credential]] with user and password_file",
        );
    }
    if probe.auth != Auth::Kerberos
        && let Some(value) = table.value("auth")
    {
        value.spot.warning(
            "every host inside networks can get a hash of the account's password",
            "with NTLM whoever answers at an address can try to guess the password from the exchange",
            "use auth = \"kerberos\" where computers have names in DNS or the directory",
        );
    }
    if let (Some(hours), Some(value)) = (probe.quiet_hours, table.value("quiet_hours"))
        && hours.length() > grace
    {
        value.spot.warning(
            "who is still there in these hours may be logged off",
            "an expired session waits at most [session] grace for its computer to be asked",
            "shorten them, or lengthen grace",
        );
    }
    let everything = probe
        .networks
        .iter()
        .find(|network| network.prefix_len() == 0);
    if let (Some(network), Some(value)) = (everything, table.value("networks")) {
        value.spot.warning(
            format!("{network} means every address there is"),
            "a probe offers a credential to whoever answers at the address",
            "name only the networks in which your own computers are",
        );
    }
}

fn credentials(table: &Table<'_>, auth: Auth, known: &KnownDomains) -> Vec<ProbeCredential> {
    let tables = table.tables("credential");
    if let Some(extra) = tables.get(MAX_CREDENTIALS) {
        extra.spot.error(
            format!("there are more than {MAX_CREDENTIALS} credentials"),
            "each is tried in turn on a computer that refuses the others",
            "keep one for each kind of computer",
        );
    }
    let credentials = tables.iter().filter_map(|entry| {
        let account = account::user_and_proof(entry, auth);
        let domain = entry.read("domain", |value| known_domain(value, known));
        let domain = domain.or_else(|| {
            let (user, _) = account.as_ref()?;
            let domain = domain_of(user, known);
            if domain.is_none() {
                entry.spot.error(
                    format!("it is not clear of which domain \"{user}\" is"),
                    "the key distribution centres of its domain are asked for tickets",
                    "add domain = \"corp.example.com\"",
                );
            }
            domain
        });
        entry.finish();
        let (user, proof) = account?;
        Some(ProbeCredential {
            user,
            proof,
            domain: domain?,
        })
    });
    credentials.collect()
}

/// The domain that a name carries, if the file knows it under that name; a suffix that looks like a DNS domain is one;
/// without a qualifier the only domain there is.
fn domain_of(user: &str, known: &KnownDomains) -> Option<Name> {
    let qualifier = user
        .split_once('\\')
        .map(|(domain, _)| domain)
        .or_else(|| user.rsplit_once('@').map(|(_, suffix)| suffix));
    match qualifier {
        Some(qualifier) => {
            let name = Name::new(qualifier).ok()?;
            let found = known.get(&name.key()).cloned();
            found.or_else(|| {
                let only = only_domain(known);
                if qualifier.contains('.') {
                    Some(name)
                } else {
                    only
                }
            })
        }
        None => only_domain(known),
    }
}

fn only_domain(known: &KnownDomains) -> Option<Name> {
    let mut domains: Vec<&Name> = known
        .values()
        .filter(|d| d.as_str().contains('.'))
        .collect();
    domains.sort_by_key(|domain| domain.key());
    domains.dedup_by_key(|domain| domain.key());
    match domains.as_slice() {
        [only] => Some((*only).clone()),
        _ => None,
    }
}

/// `HH:MM-HH:MM`, local time; may go over midnight. Empty: none.
fn quiet_hours(value: &Value<'_>) -> Option<Option<QuietHours>> {
    let Some(text) = value.text_or_none() else {
        return Some(None);
    };
    let minute = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    let parsed = text
        .split_once('-')
        .and_then(|(from, to)| Some((minute(from)?, minute(to)?)))
        .filter(|(from, to)| from != to);
    match parsed {
        Some((from, to)) => Some(Some(QuietHours { from, to })),
        None => {
            value.spot.error(
                format!("\"{text}\" is not a time of day from and to"),
                "",
                "write \"22:00-06:00\", in local time",
            );
            None
        }
    }
}
