//! The templates that come with jims, embedded.
//!
//! One TOML file for each, in `templates/`, with the keys of a `[[syslog_template]]`; the file's name is the template's.

use std::sync::LazyLock;

use crate::config::SyslogTemplate;

/// Name and text of each. A new file needs one line here.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "aruba-clearpass",
        include_str!("../templates/aruba-clearpass.toml"),
    ),
    ("cisco-asa", include_str!("../templates/cisco-asa.toml")),
    ("cisco-ise", include_str!("../templates/cisco-ise.toml")),
    (
        "fortigate-vpn",
        include_str!("../templates/fortigate-vpn.toml"),
    ),
    ("freeradius", include_str!("../templates/freeradius.toml")),
    ("isc-dhcpd", include_str!("../templates/isc-dhcpd.toml")),
    (
        "ivanti-connect-secure",
        include_str!("../templates/ivanti-connect-secure.toml"),
    ),
    (
        "juniper-secure-connect",
        include_str!("../templates/juniper-secure-connect.toml"),
    ),
    ("kea-dhcp", include_str!("../templates/kea-dhcp.toml")),
    (
        "nxlog-windows",
        include_str!("../templates/nxlog-windows.toml"),
    ),
    ("openvpn", include_str!("../templates/openvpn.toml")),
    (
        "paloalto-globalprotect",
        include_str!("../templates/paloalto-globalprotect.toml"),
    ),
    (
        "samba-auth-json-audit",
        include_str!("../templates/samba-auth-json-audit.toml"),
    ),
    (
        "snare-windows",
        include_str!("../templates/snare-windows.toml"),
    ),
    ("strongswan", include_str!("../templates/strongswan.toml")),
    ("winlogbeat", include_str!("../templates/winlogbeat.toml")),
];

static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| BUILT_IN.iter().map(|(name, _)| *name).collect());

/// The names of the built-in templates.
#[must_use]
pub fn built_in_names() -> &'static [&'static str] {
    &NAMES
}

/// A built-in template.
#[must_use]
pub fn built_in(name: &str) -> Option<SyslogTemplate> {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
    // A test reads and compiles every one of them.
    toml::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;

    #[test]
    fn every_built_in_template_compiles_under_its_own_name() {
        for (name, text) in BUILT_IN {
            let template: SyslogTemplate =
                toml::from_str(text).unwrap_or_else(|error| panic!("template {name}: {error}"));
            assert_eq!(template.name, *name);
            assert!(
                !template.description.is_empty(),
                "{name} has no description"
            );
            Template::compile(&template).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn built_in_names_are_sorted_and_unique() {
        assert!(built_in_names().is_sorted_by(|a, b| a < b));
    }
}
