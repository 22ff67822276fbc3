//! The authentication table of a firewall that does as it is told, and what it should hold, worked out naively.
//!
//! Nothing here uses what answers are made with: filters are read again from their text, and the truth from the table's
//! view.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jims::config::PointFilter;
use jims::enforcement::filter::RequestFilter;
use jims::identity::Core;
use serde_json::Value;

/// What is held of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `domain\user`.
    pub(crate) user: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) device: Option<String>,
}

/// What a firewall holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirewallTable {
    pub(crate) entries: BTreeMap<IpAddr, Seen>,
    /// It drops everything when a full report begins; an SRX does not know the field.
    pub(crate) obeys_full: bool,
}

impl FirewallTable {
    /// Does as an answer says. A login without a user keeps the user that is there (`preserve-valid-user`), so a logout
    /// that was left out shows.
    ///
    /// # Errors
    /// The answer breaks rule 17 by itself: an address twice, or not as a logout before a login without a user.
    pub(crate) fn obey(&mut self, answer: &Value) -> Result<(), String> {
        if self.obeys_full && answer["full"] == true {
            self.entries.clear();
        }
        let mut said: BTreeMap<IpAddr, &str> = BTreeMap::new();
        let entries = answer["report_entries"].as_array().unwrap();
        for (place, entry) in entries.iter().enumerate() {
            let address: IpAddr = entry["ip-address"].as_str().unwrap().parse().unwrap();
            let activity = entry["activity"].as_str().unwrap();
            let user = entry["user-name"].as_str();
            match said.insert(address, activity) {
                None => {}
                Some("logout") if activity == "login" && user.is_none() => {
                    let before = &entries[place - 1]["ip-address"];
                    if *before != entry["ip-address"] {
                        return Err(format!("{address}: a pair is torn apart"));
                    }
                }
                Some(_) => return Err(format!("{address} is told twice in one answer")),
            }
            match activity {
                "logout" => drop(self.entries.remove(&address)),
                "login" => self.log_in(address, entry),
                other => return Err(format!("{address}: {other}")),
            }
        }
        Ok(())
    }

    fn log_in(&mut self, address: IpAddr, entry: &Value) {
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let new = Seen {
            user: text("user-name").map(|user| format!("{}\\{user}", text("domain-name").unwrap())),
            roles: serde_json::from_value(entry["roles"].clone()).unwrap(),
            device: text("device-name"),
        };
        let valid_user = |seen: &Seen| seen.user.is_some();
        if new.user.is_none() && self.entries.get(&address).is_some_and(valid_user) {
            return;
        }
        self.entries.insert(address, new);
    }
}

/// Filters in force, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    pub(crate) own: PointFilter,
    pub(crate) request: RequestFilter,
}

/// Other names of the domains in these tests.
const NAMES: [(&str, &str); 3] = [
    ("corp", "corp.example.com"),
    ("old-corp", "corp.example.com"),
    ("lab", "lab.example.com"),
];

impl Filters {
    fn hold_address(&self, address: IpAddr) -> bool {
        let within = |list: &[IpNet]| list.iter().any(|network| network.contains(&address));
        let included = |list: &[IpNet]| list.is_empty() || within(list);
        included(&self.own.include_addresses)
            && included(&self.request.include)
            && !within(&self.own.exclude_addresses)
            && !within(&self.request.exclude)
    }

    fn hold_domain(&self, domain: &str) -> bool {
        let is_meant = |name: &str| {
            let name = name.to_lowercase();
            let other = NAMES.iter().find(|(other, _)| *other == name);
            other.map_or(name.as_str(), |(_, real)| real) == domain.to_lowercase()
        };
        let own = &self.own.domains;
        let request = &self.request.domains;
        (own.is_empty() || own.iter().any(|name| is_meant(name.as_str())))
            && (request.is_empty() || request.iter().any(|name| is_meant(name)))
    }

    fn show_role(&self, role: &str) -> bool {
        let matches = |glob: &String| {
            let (glob, role) = (glob.to_lowercase(), role.to_lowercase());
            match glob.strip_suffix('*') {
                Some(beginning) => role.starts_with(beginning),
                None => role == glob,
            }
        };
        self.own.groups.is_empty() || self.own.groups.iter().any(matches)
    }

    /// What a firewall should hold of an address.
    pub(crate) fn truth(&self, core: &Core, address: IpAddr) -> Option<Seen> {
        if !self.hold_address(address) {
            return None;
        }
        let view = core.address(address)?;
        let device = view
            .device
            .as_ref()
            .filter(|session| self.hold_domain(session.device.domain))
            .map(|session| session.device.name.to_owned());
        if let Some(session) = &view.user
            && !view.shared
            && self.hold_domain(session.user.domain)
        {
            let roles = session.user.roles.iter();
            return Some(Seen {
                user: Some(format!("{}\\{}", session.user.domain, session.user.name)),
                roles: roles
                    .filter(|role| self.show_role(role))
                    .map(|role| (*role).to_owned())
                    .collect(),
                device,
            });
        }
        device.map(|device| Seen {
            user: None,
            roles: Vec::new(),
            device: Some(device),
        })
    }
}
