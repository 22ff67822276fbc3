//! What to say of a name that leads to nobody: that it is none, or why nothing is known of it.

use std::net::IpAddr;

use super::found::Query;
use super::protocol::Refusal;
use crate::identity::Core;

/// Domains that are listed.
const MAX_DOMAINS: usize = 8;

/// Refuses what can be neither an address nor a name.
pub(super) fn check(who: &str) -> Result<(), Refusal> {
    let who = who.trim();
    let refused = |message: String, remedy: &str| {
        Err(Refusal {
            message,
            remedy: remedy.to_owned(),
        })
    };
    if who.is_empty() {
        return refused(
            "nobody is asked for".to_owned(),
            "name a user (alice, CORP\\alice, alice@corp.example.com), a device or an address",
        );
    }
    if who.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let network = who.split_once('/');
    if network.is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
        return refused(
            format!("{who} is a network"),
            "ask for one address; the Sessions view of `jims status --watch` filters by a piece of it",
        );
    }
    let is_of_address = |c: char| c.is_ascii_digit() || c == '.';
    let is_like_v4 = who.split('.').count() == 4 && who.chars().all(is_of_address);
    if is_like_v4 || who.matches(':').count() > 1 {
        return refused(format!("{who} is no IP address"), "");
    }
    Ok(())
}

/// Why nothing is known of whom was asked for, where that can be said.
pub(super) fn remark(core: &Core, found: &Query) -> Option<String> {
    let who = found.who.as_str();
    if !found.sessions.is_empty() || who.parse::<IpAddr>().is_ok() {
        return None;
    }
    let written = spellings(core, found);
    let pattern = written.iter().find_map(|name| core.excluding_pattern(name));
    if let Some(pattern) = pattern {
        return Some(format!(
            "left out: `{pattern}` of [filter] exclude_users or exclude_devices"
        ));
    }
    if !found.users.is_empty() || !found.devices.is_empty() {
        return None;
    }
    let domain = qualifier(who).filter(|domain| core.domain(domain).is_none());
    Some(match domain {
        Some(domain) => {
            let known: Vec<&str> = core.known_domains().take(MAX_DOMAINS).collect();
            let known = match known.as_slice() {
                [] => "none is".to_owned(),
                names => names.join(", "),
            };
            format!("no domain {domain} is known; known: {known}")
        }
        None => "neither the table nor a directory has that name".to_owned(),
    })
}

fn qualifier(who: &str) -> Option<&str> {
    let before = who.split_once('\\').map(|(domain, _)| domain);
    before.or_else(|| who.rsplit_once('@').map(|(_, domain)| domain))
}

/// `domain\user` of everybody who may be meant.
fn spellings(core: &Core, found: &Query) -> Vec<String> {
    let users = found.users.iter();
    let users = users.map(|user| format!("{}\\{}", user.domain, user.user));
    let devices = found.devices.iter();
    let devices = devices.map(|device| format!("{}\\{}$", device.domain, device.device));
    let who = found.who.as_str();
    let qualified = match who.rsplit_once('@') {
        Some((name, domain)) => vec![format!("{domain}\\{name}")],
        None if who.contains('\\') => vec![who.to_owned()],
        None => (core.known_domains())
            .flat_map(|domain| [format!("{domain}\\{who}"), format!("{domain}\\{who}$")])
            .collect(),
    };
    users.chain(devices).chain(qualified).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::query;
    use crate::identity::name::Name;
    use crate::identity::policy::{DomainPolicy, Globs, Policy};
    use crate::identity::time::UtcMillis;
    use crate::identity::view::Epoch;

    #[test]
    fn what_can_be_nobody_is_refused() {
        for who in [
            "",
            "  ",
            "10.9.9.999",
            "10.20.0.0/24",
            "2001:db8::/32",
            "2001:db8:::1",
        ] {
            assert!(check(who).is_err(), "{who:?}");
        }
        for who in [
            "alice",
            "10.1.2.3",
            "::1",
            "CORP\\a.b",
            "a.b.c.d",
            "12345",
            "10.5",
            "a b",
        ] {
            assert!(check(who).is_ok(), "{who:?}");
        }
    }

    #[test]
    fn what_leads_to_nobody_says_why() {
        let name = |text: &str| Name::new(text).expect("name");
        let mut policy = Policy {
            domains: vec![DomainPolicy {
                name: name("corp.example.com"),
                netbios: Some(name("CORP")),
                aliases: Vec::new(),
            }],
            ..Policy::default()
        };
        policy.filter.exclude_users = Globs::new(["svc-*"]).expect("a glob");
        let core = Core::new(Epoch(1), policy);
        let remark = |who: &str| {
            let found = query::query(&core, who, &query::Down::new(), UtcMillis(1));
            super::remark(&core, &found)
        };
        let filtered = "left out: `svc-*` of [filter] exclude_users or exclude_devices";
        for who in ["svc-scan", "CORP\\svc-scan", "svc-scan@corp.example.com"] {
            assert_eq!(remark(who).as_deref(), Some(filtered), "{who}");
        }
        assert_eq!(
            remark("OTHER\\ada").as_deref(),
            Some("no domain OTHER is known; known: corp.example.com")
        );
        let unknown = "neither the table nor a directory has that name";
        assert_eq!(remark("ada").as_deref(), Some(unknown));
        assert_eq!(remark("CORP\\ada").as_deref(), Some(unknown));
        assert_eq!(remark("10.1.2.3"), None);
    }
}
