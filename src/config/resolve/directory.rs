//! `[[domain]]` and `[[directory_service]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::account::{self, Account, host};
use super::{KnownDomains, Unique};
use crate::config::defaults;
use crate::config::file::{Spot, Table, Value};
use crate::config::{Auth, ChannelBinding, Directory, DirectorySource, Ldap, LdapTls};
use crate::identity::name::Name;
use crate::identity::policy::DomainPolicy;

/// Keys that speak of a server, so not beside `ldif_file`.
const SERVER_KEYS: [&str; 16] = [
    "hosts",
    "port",
    "tls",
    "ca_file",
    "auth",
    "user",
    "password",
    "password_file",
    "password_env",
    "password_credential",
    "keytab_file",
    "keytab_credential",
    "kdc",
    "channel_binding",
    "page_size",
    "allow_password_in_clear_text",
];

/// How a directory service may be signed on to.
const AUTHS: [(&str, Auth); 3] = [
    ("simple", Auth::Simple),
    ("kerberos", Auth::Kerberos),
    ("negotiate", Auth::Negotiate),
];

/// The domains, and under which names they are known.
pub(super) fn domains(root: &Table<'_>) -> (Vec<DomainPolicy>, KnownDomains) {
    let mut domains = Vec::new();
    let mut known = KnownDomains::new();
    let mut names = Unique::new("a name of one domain cannot mean another one too");
    for table in root.tables("domain") {
        let name = table.required("name", "\"corp.example.com\"", |value| {
            Some((value.domain()?, value.spot.clone()))
        });
        let netbios = table.read("netbios", |value| {
            value.text_or_none()?;
            Some((netbios(value)?, value.spot.clone()))
        });
        let aliases = table.list("aliases", placed_name);
        table.finish();
        let Some((domain, spot)) = name else {
            continue;
        };
        // The same name twice in one entry says the same thing twice, which harms nobody.
        let mut own = Vec::new();
        let others = netbios.iter().chain(&aliases);
        for (name, spot) in std::iter::once(&(domain.clone(), spot)).chain(others) {
            if !own.contains(&name.key()) {
                names.take(name.as_str(), spot);
                own.push(name.key());
                known.insert(name.key(), domain.clone());
            }
        }
        domains.push(DomainPolicy {
            name: domain,
            netbios: netbios.map(|(name, _)| name),
            aliases: aliases.into_iter().map(|(name, _)| name).collect(),
        });
    }
    (domains, known)
}

fn placed_name<'a>(value: &Value<'a>) -> Option<(Name, Spot<'a>)> {
    Some((value.name()?, value.spot.clone()))
}

/// A NetBIOS name: up to 15 characters. Windows refuses a full stop in new ones, and one here is mostly the DNS name.
fn netbios(value: &Value<'_>) -> Option<Name> {
    let name = value.name()?;
    let text = name.as_str();
    if text.len() <= 15 && !text.contains(['.', '\\', '/', '@', ' ']) {
        return Some(name);
    }
    let first = text
        .split(['.', '\\', '/', '@', ' '])
        .next()
        .unwrap_or_default();
    value.spot.error(
        format!("\"{text}\" is not a NetBIOS name"),
        "it is the short name before the backslash, at most 15 characters",
        format!(
            "\"{}\"",
            first.chars().take(15).collect::<String>().to_uppercase()
        ),
    );
    None
}

/// The directory services, and all domains that are known with theirs.
pub(super) fn directories(
    root: &Table<'_>,
    names: &mut Unique,
    mut known: KnownDomains,
) -> (Vec<Directory>, KnownDomains) {
    let mut directories = Vec::new();
    for table in root.tables("directory_service") {
        let name = table.required("name", "\"corp\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            Name::new(&name).ok()
        });
        let domain = table.required("domain", "\"corp.example.com\"", Value::domain);
        if let Some(domain) = &domain {
            known.entry(domain.key()).or_insert_with(|| domain.clone());
        }
        let poll_interval = table
            .read("poll_interval", |value| {
                value.duration(Duration::from_secs(1)..=Duration::from_hours(24))
            })
            .unwrap_or(defaults::POLL_INTERVAL);
        let source = match table.value("ldif_file") {
            Some(file) => ldif(&table, &file),
            None => ldap(&table).map(DirectorySource::Ldap),
        };
        table.finish();
        if let (Some(name), Some(domain), Some(source)) = (name, domain, source) {
            directories.push(Directory {
                name,
                domain,
                source,
                poll_interval,
            });
        }
    }
    (directories, known)
}

fn ldif(table: &Table<'_>, file: &Value<'_>) -> Option<DirectorySource> {
    for key in SERVER_KEYS {
        if let Some(value) = table.value(key) {
            value.spot.error(
                format!("{key} has no meaning beside ldif_file"),
                "a directory is read from a server or from a file",
                format!("remove {key}, or remove ldif_file"),
            );
        }
    }
    file.some_text()?;
    file.readable_file().map(DirectorySource::Ldif)
}

fn ldap(table: &Table<'_>) -> Option<Ldap> {
    let hosts = table.list("hosts", host);
    let tls = table
        .read("tls", |value| {
            value.word(&[
                ("ldaps", LdapTls::Ldaps),
                ("starttls", LdapTls::StartTls),
                ("none", LdapTls::None),
            ])
        })
        .unwrap_or(LdapTls::Ldaps);
    clear_text(table, tls);
    let default_port = match tls {
        LdapTls::Ldaps => defaults::LDAPS_PORT,
        LdapTls::StartTls | LdapTls::None => defaults::LDAP_PORT,
    };
    let port = table.read("port", Value::port);
    port_fits(table, tls, port);
    let account = account::account(table, &AUTHS, Auth::Simple);
    let channel_binding = table
        .read("channel_binding", |value| {
            value.word(&[
                ("auto", ChannelBinding::Auto),
                ("on", ChannelBinding::On),
                ("off", ChannelBinding::Off),
            ])
        })
        .unwrap_or(ChannelBinding::Auto);
    if let Some(account) = &account {
        sign_on_fits(table, account, tls, &hosts);
    }
    let page_size = table
        .read("page_size", |value| value.number(10..=1000))
        .unwrap_or(defaults::PAGE_SIZE);
    let ca_file = table.read("ca_file", Value::certificate_file);
    let account = account?;
    Some(Ldap {
        hosts,
        port: port.unwrap_or(default_port),
        tls,
        ca_file,
        auth: account.auth,
        user: account.user,
        proof: account.proof,
        kdc: account.kdc,
        channel_binding,
        page_size,
    })
}

/// What auth, tls and hosts say of each other.
fn sign_on_fits(table: &Table<'_>, account: &Account, tls: LdapTls, hosts: &[String]) {
    let Some(value) = table.value("auth") else {
        return;
    };
    if account.auth != Auth::Simple && tls == LdapTls::None {
        value.spot.error(
            "without TLS the connection could be changed after the sign-on",
            "jims protects LDAP by TLS alone, whoever signs on",
            "tls = \"ldaps\" or \"starttls\"",
        );
    }
    let address = hosts.iter().find(|host| host.parse::<IpAddr>().is_ok());
    if account.auth == Auth::Kerberos
        && let Some(address) = address
    {
        account::kerberos_needs_a_name(&value, address);
    }
}

fn clear_text(table: &Table<'_>, tls: LdapTls) {
    let allowed = table.read("allow_password_in_clear_text", Value::boolean);
    let Some(value) = table.value("tls").filter(|_| tls == LdapTls::None) else {
        return;
    };
    if allowed == Some(true) {
        value.spot.warning(
            "the password crosses the network in clear text",
            "whoever listens on the way can sign on with it",
            "tls = \"ldaps\" as soon as the server has a certificate",
        );
        return;
    }
    value.spot.error(
        "the password would cross the network in clear text",
        "a simple bind sends it as it is; whoever listens on the way can sign on with it",
        "tls = \"ldaps\" or \"starttls\"; in a lab: allow_password_in_clear_text = true",
    );
}

fn port_fits(table: &Table<'_>, tls: LdapTls, port: Option<u16>) {
    let Some(value) = table.value("port") else {
        return;
    };
    let (what, hint) = match (tls, port) {
        (LdapTls::Ldaps, Some(389)) => (
            "389 is the port without TLS",
            "port = 636, or tls = \"starttls\"",
        ),
        (LdapTls::StartTls | LdapTls::None, Some(636)) => (
            "636 is the port of LDAP over TLS",
            "tls = \"ldaps\", or port = 389",
        ),
        _ => return,
    };
    value
        .spot
        .warning(what, "the connection will probably fail", hint);
}
