//! `[[firewall_push]]`: portals, NACs and scripts that push logons.

use super::server::{CallerKeys, Callers, caller};
use super::{KnownDomains, Unique, known_domain};
use crate::config::FirewallPush;
use crate::config::file::{Table, Value};

const KEYS: CallerKeys = CallerKeys {
    addresses: "senders",
    client_id: "user",
    secret: [
        "password",
        "password_file",
        "password_env",
        "password_credential",
    ],
    next: [
        "next_password",
        "next_password_file",
        "next_password_env",
        "next_password_credential",
    ],
};

pub(super) fn firewall_pushes(
    root: &Table<'_>,
    known: &KnownDomains,
    (names, client_ids): (&mut Unique, &mut Unique),
) -> Vec<FirewallPush> {
    let mut pushes = Vec::new();
    let mut callers = Callers::default();
    for table in root.tables("firewall_push") {
        let name = table.required("name", "\"clearpass\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            Some(name)
        });
        let caller = caller(root, &table, &KEYS, &mut callers, client_ids);
        let known_domain = |value: &Value<'_>| known_domain(value, known);
        // All keys are read whatever is wrong with the caller, so that none of them is called unknown.
        let domain = table.read("domain", known_domain);
        let networks = table.list("networks", Value::network);
        let domains = table.list("domains", known_domain);
        let roles = table.list("roles", Value::glob);
        if networks.is_empty() {
            table.spot.warning(
                "nothing that it pushes counts",
                "it may speak for no address until some are named",
                "networks = [\"10.8.0.0/16\"] with the addresses of its users",
            );
        }
        table.finish();
        if let (Some(name), Some(caller)) = (name, caller) {
            pushes.push(FirewallPush {
                name,
                caller,
                domain,
                networks,
                domains,
                roles,
            });
        }
    }
    pushes
}
