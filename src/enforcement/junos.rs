//! What to type on a firewall so that it asks us, or takes what we push: Junos `set` commands, pure text.
//!
//! Statements are those of Juniper's command reference and its published YANG models. Secrets are never written, only
//! where they are. Nothing here reads files or the table.

use std::fmt::Write as _;
use std::time::Duration;

use super::shape::MAX_ENTRIES;

/// A firewall that asks.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// Our name as the firewall reaches it.
    pub server: &'a str,
    /// Our port.
    pub port: u16,
    /// What the firewall calls itself.
    pub client_id: &'a str,
    /// Whether the firewall is to check our certificate by the CA profile [`CA_PROFILE`].
    pub checks_certificate: bool,
    /// Domains that this point may hear of; empty: all.
    pub domains: &'a [String],
}

/// Name of the CA profile on the firewall.
pub const CA_PROFILE: &str = "jims";
/// Where the commands expect the CA's certificate on the firewall.
pub const CA_FILE: &str = "/var/tmp/jims-ca.pem";

/// Configuration of a firewall that asks; `<…>` is to be filled in.
#[must_use]
pub fn pull(pull: &Pull<'_>) -> Vec<String> {
    let base = "set services user-identification identity-management";
    let mut lines = Vec::new();
    if pull.checks_certificate {
        let profile = format!("set security pki ca-profile {CA_PROFILE}");
        lines.push(format!("{profile} ca-identity {CA_PROFILE}"));
        lines.push(format!("{profile} revocation-check disable"));
    }
    let connection = format!("{base} connection");
    let primary = format!("{connection} primary");
    lines.push(format!("{connection} connect-method https"));
    lines.push(format!("{connection} port {}", pull.port));
    lines.push(format!("{primary} address {}", pull.server));
    lines.push(format!("{primary} client-id {}", quoted(pull.client_id)));
    lines.push(format!("{primary} client-secret \"<secret>\""));
    if pull.checks_certificate {
        lines.push(format!("{primary} ca-profile {CA_PROFILE}"));
    }
    lines.push(format!("{connection} token-api oauth_token/oauth"));
    lines.push(format!("{connection} query-api user_query/v2"));
    let batch = format!("{base} batch-query");
    lines.push(format!("{batch} items-per-batch {MAX_ENTRIES}"));
    lines.push(format!("{batch} query-interval 5"));
    let domains = pull.domains.iter();
    lines.extend(domains.map(|domain| format!("{base} filter domain {}", quoted(domain))));
    lines.push(
        "set services user-identification device-information authentication-source network-access-controller"
            .to_owned(),
    );
    lines
}

/// Loads the CA's certificate, once [`CA_FILE`] is on the firewall and the configuration is committed.
#[must_use]
pub fn load_ca() -> String {
    format!("request security pki ca-certificate load ca-profile {CA_PROFILE} filename {CA_FILE}")
}

/// How to see on the firewall that it works.
#[must_use]
pub fn pull_checks() -> Vec<String> {
    [
        "show services user-identification identity-management status",
        "show services user-identification identity-management counters",
        "show services user-identification authentication-table authentication-source identity-management",
    ]
    .map(str::to_owned)
    .into()
}

/// A firewall that takes what we push to its Web API.
#[derive(Clone, Copy, Debug)]
pub struct WebApi<'a> {
    /// The user that we sign on as there.
    pub user: &'a str,
    /// Its HTTPS port.
    pub port: u16,
    /// How often everything is told again; `None`: never.
    pub refresh: Option<Duration>,
}

/// How long an entry may live on the firewall, in minutes: two refreshes, so that nobody stays who is not told again
/// when this host is gone. Junos takes 10 to 1440, or 0 for ever.
fn entry_timeout(refresh: Option<Duration>) -> u64 {
    refresh.map_or(0, |interval| (interval.as_secs() / 30).clamp(10, 1440))
}

/// Configuration of a firewall whose Web API we push to; `<…>` is to be filled in.
#[must_use]
pub fn web_api(web_api: &WebApi<'_>) -> Vec<String> {
    let base = "set system services webapi";
    let source = "set services user-identification authentication-source aruba-clearpass";
    vec![
        format!(
            "{base} user {} password \"<password>\"",
            quoted(web_api.user)
        ),
        format!("{base} client <address of this host>"),
        format!("{base} https port {}", web_api.port),
        format!("{base} https default-certificate"),
        format!(
            "{source} authentication-entry-timeout {}",
            entry_timeout(web_api.refresh)
        ),
        "set security zones security-zone <zone> host-inbound-traffic system-services webapi-ssl"
            .to_owned(),
    ]
}

/// How to see on such a firewall that it works.
#[must_use]
pub fn web_api_checks() -> Vec<String> {
    vec![
        "show services user-identification authentication-table authentication-source aruba-clearpass"
            .to_owned(),
    ]
}

/// Text as one word of a Junos command.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                let _ = write!(word, "\\{c}");
            }
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firewall_that_asks_and_checks_our_certificate() {
        let lines = pull(&Pull {
            server: "jims1.example.com",
            port: 443,
            client_id: "srx branch",
            checks_certificate: true,
            domains: &["corp.example.com".to_owned()],
        });
        insta::assert_snapshot!(lines.join("\n"));
        assert!(lines.iter().all(|line| line.starts_with("set ")));
    }

    #[test]
    fn a_firewall_that_cannot_check_has_no_ca_profile() {
        let lines = pull(&Pull {
            server: "192.0.2.9",
            port: 8443,
            client_id: "srx",
            checks_certificate: false,
            domains: &[],
        });
        assert!(
            lines
                .iter()
                .all(|line| !line.contains("pki") && !line.contains("ca-profile"))
        );
        assert!(lines.iter().all(|line| !line.contains("filter")));
    }

    #[test]
    fn a_firewall_that_is_pushed_to_lets_go_of_entries_that_nobody_refreshes() {
        let told = |refresh: Option<u64>| {
            let refresh = refresh.map(Duration::from_secs);
            let lines = web_api(&WebApi {
                user: "jims",
                port: 8443,
                refresh,
            });
            assert!(lines.iter().all(|line| line.starts_with("set ")));
            lines.join("\n")
        };
        insta::assert_snapshot!(told(Some(1800)));
        for (refresh, timeout) in [(Some(60), 10), (Some(86_400), 1440), (None, 0)] {
            let ends = format!("authentication-entry-timeout {timeout}\n");
            assert!(told(refresh).contains(&ends), "{refresh:?}");
        }
    }

    #[test]
    fn foreign_text_stays_one_word() {
        assert_eq!(quoted("srx-1"), "srx-1");
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("a\" client-id \\x"), "\"a\\\" client-id \\\\x\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
