//! A preflight of a directory server: name, port, certificate, clock, sign-on, what the account sees, and what the server
//! demands of a sign-on.
//!
//! Takes the same steps as [`super::server`] and changes nothing. Every configured host is tried, the first four at most.

use super::server::{self, Opened};
use crate::config::{Auth, Ldap, LdapTls};
use crate::identity::name::Name;
use crate::net::ldap::{Connection, Protection, Search};
use crate::net::ldap_error::{LdapError, code};
use crate::net::resolve::Resolver;
use crate::runtime::clock::utc_now;
use crate::runtime::preflight::Preflight;

/// Hosts that are tried.
const MAX_HOSTS: usize = 4;
/// Clocks that differ by more want an operator: Kerberos allows five minutes.
const SKEW_TOO_MUCH: i64 = 300_000;

/// Tries every host of a directory.
pub async fn preflight(config: &Ldap, domain: &Name, resolver: &Resolver, steps: &mut Preflight) {
    let hosts = match server::hosts(resolver, config, domain.as_str()).await {
        Ok(hosts) => hosts,
        Err(error) => return steps.fail("hosts", error.to_string(), error.remedy()),
    };
    if config.hosts.is_empty() {
        steps.pass("hosts", format!("found by DNS: {}", hosts.join(", ")));
    }
    for host in hosts.iter().take(MAX_HOSTS) {
        one_host(config, domain, (resolver, host), steps).await;
    }
}

async fn one_host(
    config: &Ldap,
    domain: &Name,
    (resolver, host): (&Resolver, &str),
    steps: &mut Preflight,
) {
    match resolver.addresses(host).await {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            steps.pass("name", format!("{host} is {}", shown.join(", ")));
        }
        Err(error) => return steps.fail("name", error.to_string(), error.remedy()),
    }
    let protection = match server::protection(config) {
        Ok(protection) => protection,
        Err(error) => return steps.fail("certificates", error.to_string(), error.remedy()),
    };
    let step = format!("port {}", config.port);
    match Connection::open(resolver, host, config.port, &protection).await {
        Ok(mut connection) => {
            let how = match config.tls {
                LdapTls::Ldaps | LdapTls::StartTls => "open, and its certificate is trusted",
                LdapTls::None => "open, in clear text",
            };
            steps.pass(step, how);
            clock(&mut connection, steps).await;
        }
        Err(error) => return steps.fail(step, error.to_string(), error.remedy()),
    }
    let step = format!("sign-on {}", config.auth.as_str());
    let opened = server::open(config, domain.as_str(), (resolver, host), &protection).await;
    let mut opened = match opened {
        Ok(opened) => {
            steps.pass(step, format!("{} by {}", config.user, opened.mechanism));
            opened
        }
        Err(error) => return steps.fail(step, error.to_string(), error.remedy()),
    };
    sight(&mut opened, steps).await;
    demands(config, (resolver, host), steps).await;
}

/// The server's own time, which everybody may ask for.
async fn clock(connection: &mut Connection, steps: &mut Preflight) {
    let search = Search {
        base: "",
        base_only: true,
        filter: "(objectClass=*)",
        attributes: &["currentTime", "dnsHostName"],
        page: None,
        show_deleted: false,
        extended_dn: false,
    };
    let page = match connection.search(&search).await {
        Ok(page) => page,
        Err(error) => return steps.advise("clock", error.to_string(), error.remedy()),
    };
    let entry = page.entries.first();
    let time = entry.and_then(|entry| generalized(entry.text("currentTime")?));
    let Some(time) = time else {
        return steps.pass("clock", "the server does not tell its time");
    };
    let offset = time - utc_now().0;
    let detail = format!(
        "the server's clock, which it tells in whole seconds, is {} s ahead of ours",
        offset.div_euclid(1000)
    );
    if offset.abs() > SKEW_TOO_MUCH {
        steps.fail(
            "clock",
            detail,
            "let both keep time by the same source (w32tm /resync, chronyc tracking)",
        );
    } else {
        steps.pass("clock", detail);
    }
}

/// `YYYYMMDDHHMMSS.0Z` in milliseconds since 1970.
fn generalized(text: &str) -> Option<i64> {
    let digits = text.get(..14)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", digits).ok()?;
    let stamp = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(stamp.as_millisecond())
}

/// What the account can read.
async fn sight(opened: &mut Opened, steps: &mut Preflight) {
    let base = match opened.connection.search(&root()).await {
        Ok(page) => page
            .entries
            .first()
            .and_then(|entry| entry.text("defaultNamingContext").map(str::to_owned)),
        Err(error) => return steps.fail("rights", error.to_string(), error.remedy()),
    };
    let Some(base) = base else {
        return steps.fail(
            "rights",
            "the server is no Active Directory domain controller",
            "name a domain controller in `hosts`",
        );
    };
    let users = opened
        .connection
        .search(&Search {
            base: &base,
            base_only: false,
            filter: "(sAMAccountType=805306368)",
            attributes: &["objectGUID"],
            page: Some((10, &[])),
            show_deleted: false,
            extended_dn: false,
        })
        .await;
    match users {
        Ok(page) if page.entries.is_empty() => steps.fail(
            "rights",
            format!("the account sees no users in {base}"),
            "let the account read the domain; members of Domain Users normally can",
        ),
        Ok(_) => steps.pass("rights", format!("the account sees the users of {base}")),
        Err(error) => return steps.fail("rights", error.to_string(), error.remedy()),
    }
    let deleted = format!("<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,{base}>");
    let seen = opened
        .connection
        .search(&Search {
            base: &deleted,
            base_only: true,
            filter: "(objectClass=*)",
            attributes: &["objectGUID"],
            page: None,
            show_deleted: true,
            extended_dn: false,
        })
        .await;
    let sees = seen.is_ok_and(|page| !page.entries.is_empty());
    if sees {
        steps.pass(
            "deleted objects",
            "the account sees them: removals are noticed at each poll",
        );
    } else {
        steps.advise(
            "deleted objects",
            "the account does not see them: removals are noticed by comparing everything, some minutes late",
            format!("dsacls \"CN=Deleted Objects,{base}\" /takeownership\ndsacls \"CN=Deleted Objects,{base}\" /g \"DOMAIN\\account:LCRP\""),
        );
    }
}

fn root() -> Search<'static> {
    Search {
        base: "",
        base_only: true,
        filter: "(objectClass=*)",
        attributes: &["defaultNamingContext"],
        page: None,
        show_deleted: false,
        extended_dn: false,
    }
}

/// What the server demands of others: signing in clear text. Asked with a name that no account has, so that nobody is
/// locked out.
async fn demands(config: &Ldap, (resolver, host): (&Resolver, &str), steps: &mut Preflight) {
    const NOBODY: &str = "CN=jims-preflight,CN=Nobody";
    let plain = Connection::open(
        resolver,
        host,
        crate::config::defaults::LDAP_PORT,
        &Protection::None,
    );
    let answer = match plain.await {
        Ok(mut connection) => connection.bind(NOBODY, "none").await,
        Err(_) => {
            return steps.pass(
                "signing",
                "port 389 is closed: nobody signs on in clear text",
            );
        }
    };
    match answer {
        Err(LdapError::Result { code: found, .. }) if found == code::STRONGER_AUTH_REQUIRED => {
            steps.pass("signing", "demanded: a password in clear text is refused on port 389");
        }
        _ => steps.advise(
            "signing",
            "not demanded: the server takes passwords in clear text on port 389",
            "set \"Domain controller: LDAP server signing requirements\" to \"Require signing\"; jims itself uses TLS",
        ),
    }
    if config.auth == Auth::Negotiate {
        let detail = match config.channel_binding {
            crate::config::ChannelBinding::Off => "off by configuration",
            _ => "sent where NTLM is used",
        };
        steps.pass("channel binding", detail);
    }
}
