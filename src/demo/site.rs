//! The demo's site on disk: a configuration, a directory in LDIF, secrets; all in one temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The site's domain.
pub(super) const DOMAIN: &str = "demo.example";

/// Where the simulated VPN gateway, Wi-Fi controller, switch and DHCP server send from, and the simulated firewall asks
/// from.
pub(super) const VPN: &str = "127.0.0.11";
/// See [`VPN`].
pub(super) const WIFI: &str = "127.0.0.12";
/// See [`VPN`].
pub(super) const SWITCH: &str = "127.0.0.15";
/// See [`VPN`].
pub(super) const DHCP: &str = "127.0.0.13";
/// See [`VPN`].
pub(super) const FIREWALL: &str = "127.0.0.14";

/// The firewall's credential.
pub(super) const CLIENT: (&str, &str) = ("srx-demo", "only-for-the-demo");

const PEOPLE: [(&str, &str, &str); 24] = [
    ("ada", "Ada Lovelace", "Engineering"),
    ("grace", "Grace Hopper", "Engineering"),
    ("alan", "Alan Turing", "Research"),
    ("linus", "Linus Ångström", "Engineering"),
    ("margaret", "Margaret Hamilton", "Engineering"),
    ("radia", "Radia Perlman", "Network"),
    ("vint", "Vint Cerf", "Network"),
    ("barbara", "Barbara Liskov", "Research"),
    ("edsger", "Edsger Dijkstra", "Research"),
    ("jurgen", "Jürgen Müller", "Sales"),
    ("zoe", "Zoë García", "Sales"),
    ("lukasz", "Łukasz Nowak", "Sales"),
    ("mei", "Mei Tanaka", "Finance"),
    ("priya", "Priya Sharma", "Finance"),
    ("omar", "Omar Haddad", "Legal"),
    ("noor", "Noor Škoda", "Legal"),
    ("hedy", "Hedy Lamarr", "Research"),
    ("ken", "Ken Thompson", "Engineering"),
    ("dennis", "Dennis Ritchie", "Engineering"),
    ("karen", "Karen Smith", "Support"),
    ("ivan", "Ivan Petrov", "Support"),
    ("fatima", "Fatima Brown", "Support"),
    ("hiro", "Hiro Sato", "Network"),
    ("chloe", "Chloë Nguyễn", "Sales"),
];

const DEPARTMENTS: [&str; 7] = [
    "Engineering",
    "Research",
    "Network",
    "Sales",
    "Finance",
    "Legal",
    "Support",
];

/// Logon names of everybody in the site's directory.
pub(super) fn people() -> impl ExactSizeIterator<Item = &'static str> {
    PEOPLE.iter().map(|(name, _, _)| *name)
}

/// Ports that were free a moment ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Syslog over TCP.
    pub(super) syslog: u16,
    /// HTTPS.
    pub(super) https: u16,
}

/// The directory's file, within the folder.
pub(super) const DIRECTORY: &str = "directory.ldif";

/// Writes the site; the path of its configuration.
pub(super) fn write(folder: &Path, ports: Ports) -> io::Result<PathBuf> {
    fs::write(folder.join(DIRECTORY), directory())?;
    let secret = folder.join("firewall.secret");
    fs::write(&secret, CLIENT.1)?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let configuration = folder.join("jims.toml");
    fs::write(&configuration, text(ports))?;
    Ok(configuration)
}

fn text(Ports { syslog, https }: Ports) -> String {
    format!(
        r#"# The demo's configuration: a real one, with a directory from a file and everything on loopback.
schema = 1

[collector]
name = "demo"
description = "self-contained demo"
state_dir = "state"

[control]
socket = "control.sock"
group = "{group}"

[log]
level = "warn"

[[directory_service]]
name = "demo"
domain = "{DOMAIN}"
ldif_file = "{DIRECTORY}"
poll_interval = "2s"

[syslog]
udp = []
tcp = ["127.0.0.1:{syslog}"]

[[syslog_source]]
name = "vpn"
senders = ["{VPN}"]
templates = ["juniper-secure-connect"]
domain = "{DOMAIN}"
networks = ["10.8.0.0/16"]

[[syslog_source]]
name = "wifi"
senders = ["{WIFI}"]
templates = ["freeradius"]
domain = "{DOMAIN}"
networks = ["10.20.0.0/16"]

[[syslog_source]]
name = "switch"
senders = ["{SWITCH}"]
templates = ["freeradius"]
domain = "{DOMAIN}"
networks = ["10.30.0.0/16"]

[[syslog_source]]
name = "dhcp"
senders = ["{DHCP}"]
templates = ["isc-dhcpd"]
domain = "{DOMAIN}"
networks = ["10.20.0.0/16", "10.30.0.0/16"]

[filter]
exclude_users = ["svc-*"]

[server]
listen = ["127.0.0.1:{https}"]

[[enforcement_point]]
name = "srx-demo"
addresses = ["{FIREWALL}"]
client_id = "{id}"
client_secret_file = "firewall.secret"
"#,
        id = CLIENT.0,
        group = own_group()
    )
}

/// The group of whoever runs the demo; a service of its own has a group `jims`.
fn own_group() -> String {
    let group = nix::unistd::Group::from_gid(nix::unistd::getegid());
    group
        .ok()
        .flatten()
        .map_or_else(|| "jims".into(), |group| group.name)
}

/// The directory: everybody, one device each, departments inside `Staff`.
fn directory() -> String {
    let base = "DC=demo,DC=example";
    let mut ldif = format!("version: 1\n\ndn: {base}\nobjectClass: domainDNS\n");
    for (name, full, _) in PEOPLE {
        // Writing to a String cannot fail.
        let _ = write!(
            ldif,
            "\ndn: CN={name},OU=People,{base}\nobjectClass: user\nsAMAccountName: {name}\nuserPrincipalName: {name}@{DOMAIN}\n\
             displayName:: {full}\nuserAccountControl: 512\n",
            full = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, full),
        );
        let _ = write!(
            ldif,
            "\ndn: CN=NB-{upper},OU=Computers,{base}\nobjectClass: computer\nsAMAccountName: NB-{upper}$\n\
             dNSHostName: nb-{name}.{DOMAIN}\noperatingSystem: Windows 11 Enterprise\noperatingSystemVersion: 10.0 (22631)\n",
            upper = name.to_uppercase(),
        );
    }
    for department in DEPARTMENTS {
        let _ = write!(
            ldif,
            "\ndn: CN={department},OU=Groups,{base}\nobjectClass: group\nsAMAccountName: {department}\n"
        );
        for (name, _, _) in PEOPLE.iter().filter(|(_, _, theirs)| *theirs == department) {
            let _ = writeln!(ldif, "member: CN={name},OU=People,{base}");
        }
    }
    let _ = write!(
        ldif,
        "\ndn: CN=Staff,OU=Groups,{base}\nobjectClass: group\nsAMAccountName: Staff\n"
    );
    for department in DEPARTMENTS {
        let _ = writeln!(ldif, "member: CN={department},OU=Groups,{base}");
    }
    ldif
}
