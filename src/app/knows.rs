//! What each firewall and Server has been told of one address: where each stands against where the address changed.

use std::net::IpAddr;

use serde_json::Value;

use super::serve::Inner;
use crate::control::protocol::{Told, timestamp};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;

/// Where somebody who is told of changes stands.
struct Stands {
    name: String,
    protocol: &'static str,
    position: Option<Seq>,
    behind: Option<u64>,
    last: Option<UtcMillis>,
}

/// What there is to be told of an address.
#[derive(Clone, Copy)]
struct Now {
    changed: Seq,
    has_session: bool,
}

/// Everybody, firewalls first.
pub(super) fn knows(inner: &Inner, address: IpAddr) -> Vec<Told> {
    let now = {
        let core = inner.parts.reader.read();
        core.address(address).map(|view| Now {
            changed: view.changed,
            has_session: view.user.is_some() || view.device.is_some(),
        })
    };
    let asking = inner.server().map(|server| server.points());
    let asking = asking.unwrap_or_default().into_iter();
    let asking = asking.filter(|point| !point.client_id.is_empty());
    let asking = asking.map(|point| Stands {
        name: point.name,
        protocol: "query",
        position: point.position,
        behind: point.behind,
        last: point.last_batch,
    });
    let pushed = inner.web_apis.read().into_iter().map(|point| Stands {
        name: point.name,
        protocol: "web-api",
        position: point.last_success.map(|_| point.position),
        behind: Some(point.behind),
        last: point.last_success,
    });
    let firewalls = asking.chain(pushed);
    let mut all: Vec<Told> = firewalls
        .map(|stands| firewall(inner, stands, address, now))
        .collect();
    all.extend(servers(inner, address));
    all
}

fn firewall(inner: &Inner, stands: Stands, address: IpAddr, now: Option<Now>) -> Told {
    let Some(now) = now else {
        return stands.told("nothing", "nobody was here of late".to_owned());
    };
    let entries = told(inner, &stands.name, &[address]).unwrap_or_default();
    match entries.last() {
        Some(entry) => {
            let state = state(stands.position, now.changed);
            stands.told(state, shown(entry))
        }
        None if now.has_session => {
            stands.told("nothing", "its filter leaves the address out".to_owned())
        }
        None => {
            let state = state(stands.position, now.changed);
            stands.told(state, "logout".to_owned())
        }
    }
}

/// What the entries of an enforcement point would be, whether it asks or is pushed to; `None`: there is no such point.
pub(super) fn told(inner: &Inner, point: &str, addresses: &[IpAddr]) -> Option<Vec<Value>> {
    let asking = inner
        .server()
        .and_then(|server| server.told(point, addresses));
    asking.or_else(|| inner.web_apis.told(point, addresses))
}

fn servers(inner: &Inner, address: IpAddr) -> Vec<Told> {
    let place = inner.parts.reader.read().feed_place(address);
    let server = |push: crate::push::sender::PushReading| {
        let stands = Stands {
            name: push.name,
            protocol: "push",
            position: push.last_push.map(|_| push.position),
            behind: Some(push.behind),
            last: push.last_push,
        };
        if place == Seq(0) {
            return stands.told("nothing", "nothing was heard here".to_owned());
        }
        let state = state(stands.position, place);
        stands.told(state, "all evidence".to_owned())
    };
    inner.pushes.read().into_iter().map(server).collect()
}

fn state(position: Option<Seq>, changed: Seq) -> &'static str {
    match position {
        None => "unknown",
        Some(position) if position >= changed => "told",
        Some(_) => "behind",
    }
}

/// An entry as the wire has it, in a few words.
fn shown(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let roles = entry.get("roles").and_then(Value::as_array);
    let roles = match roles.map_or(0, Vec::len) {
        1 => "1 role".to_owned(),
        roles => format!("{roles} roles"),
    };
    match (text("activity"), text("user-name"), text("device-name")) {
        ("logout", _, _) => "logout".to_owned(),
        (activity, "", device) => format!("{activity} of device {device} without a user"),
        (activity, user, _) => format!("{activity} {}\\{user} ({roles})", text("domain-name")),
    }
}

impl Stands {
    fn told(self, state: &str, entry: String) -> Told {
        Told {
            name: self.name,
            protocol: self.protocol.to_owned(),
            state: state.to_owned(),
            entry,
            behind: self.behind,
            last: self.last.map(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_a_few_words() {
        let entry = json!({
            "activity": "login", "domain-name": "corp.example.com", "user-name": "alice",
            "roles": ["Engineering"], "device-name": "ws1",
        });
        assert_eq!(shown(&entry), "login corp.example.com\\alice (1 role)");
        let entry = json!({ "activity": "login", "device-name": "ws1", "roles": [] });
        assert_eq!(shown(&entry), "login of device ws1 without a user");
        assert_eq!(shown(&json!({ "activity": "logout" })), "logout");
    }

    #[test]
    fn who_stands_behind_a_change_has_not_heard_of_it() {
        assert_eq!(state(None, Seq(5)), "unknown");
        assert_eq!(state(Some(Seq(4)), Seq(5)), "behind");
        assert_eq!(state(Some(Seq(5)), Seq(5)), "told");
    }
}
