//! Signing on to a real Active Directory by Kerberos and NTLM, over LDAPS and StartTLS, and what is said when it fails.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use jims::net::ldap::{Connection, Protection, Search};
use jims::net::ldap_error::LdapError;
use jims::net::resolve::Resolver;
use jims::net::security::{
    AuthError, Binding, Credentials, Kdcs, Method, Negotiated, Negotiation, Proof, Purpose, Target,
};
use jims::net::tls;

use serde_json::Value;

use super::support::{DC, Site, ca_file, lab, samba_tool, text, wait_for};

const DOMAIN: &str = "corp.example.com";
const DC_NAME: &str = "dc1.corp.example.com";
const PASSWORD: &str = "Svc-Jims!1";
const BASE: &str = "DC=corp,DC=example,DC=com";

/// A sign-on to be tried; what most tests want is the default.
#[derive(Clone)]
struct Attempt {
    method: Method,
    user: String,
    proof: Proof,
    host: &'static str,
    port: u16,
    binding: Binding,
    kdc: Vec<String>,
}

impl Attempt {
    fn new(method: Method, user: &str, password: &str) -> Self {
        Self {
            method,
            user: user.to_owned(),
            proof: Proof::Password(password.to_owned().into()),
            host: DC_NAME,
            port: 636,
            binding: Binding::WithNtlm,
            kdc: Vec::new(),
        }
    }

    async fn connect(&self) -> Result<(Connection, Negotiated), LdapError> {
        let server: IpAddr = DC.parse().expect("an address");
        let resolver = Resolver::with(&[SocketAddr::new(server, 53)]);
        let roots = tls::client_config(Some(&ca_file())).expect("the lab's authority");
        let protection = match self.port {
            636 => Protection::Ldaps(roots),
            _ => Protection::StartTls(roots),
        };
        let kdcs = Kdcs::new(&resolver, DOMAIN, &self.kdc, self.host);
        let credentials = Credentials {
            user: self.user.clone(),
            domain: DOMAIN.to_owned(),
            proof: self.proof.clone(),
        };
        let target = Target {
            service: "ldap",
            host: self.host.to_owned(),
        };
        let negotiate = |certificate: &[u8]| {
            let purpose = Purpose::InsideTls {
                certificate: certificate.to_vec(),
                binding: self.binding,
            };
            Negotiation::new(self.method, &credentials, &target, &purpose, kdcs)
        };
        Connection::open_signed_on(&resolver, (self.host, self.port), &protection, negotiate).await
    }

    /// Signs on and reads something that strangers may not; tells by what mechanism.
    async fn mechanism(&self) -> Result<&'static str, LdapError> {
        let (mut connection, negotiated) = self.connect().await?;
        let search = Search {
            base: BASE,
            base_only: false,
            filter: "(sAMAccountName=u000007)",
            attributes: &["objectGUID"],
            page: None,
            show_deleted: false,
            extended_dn: false,
        };
        let page = connection.search(&search).await?;
        assert_eq!(page.entries.len(), 1);
        let offset = negotiated.clock_offset.expect("the server told its time");
        assert!(offset.abs() < 5_000, "one clock: {offset} ms");
        Ok(negotiated.mechanism)
    }

    /// Why it fails before the server judges.
    async fn auth_error(&self) -> AuthError {
        match self.connect().await {
            Err(LdapError::Auth { source, .. }) => {
                println!("{}: {source}; {}", self.user, source.remedy());
                source
            }
            other => panic!("{}: {other:?}", self.user),
        }
    }
}

/// An account that is gone with the test.
struct Account {
    name: &'static str,
    /// Refusals in the audit log when it was made.
    before: usize,
}

impl Account {
    fn new(name: &'static str, password: &str) -> Self {
        samba_tool(&["user", "create", name, password]);
        let before = refusals(name);
        Self { name, before }
    }

    /// Sets one attribute.
    fn set(&self, attribute: &str, value: &str) {
        let change = format!(
            "dn: CN={},CN=Users,{BASE}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n",
            self.name
        );
        let mut child = Command::new("ldbmodify")
            .arg("-H")
            .arg(lab().join("ad/private/sam.ldb"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ldbmodify starts");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(change.as_bytes()).expect("written");
        drop(input);
        assert!(child.wait().expect("status").success(), "{change}");
    }

    /// How often the server refused it for its password.
    fn refusals(&self) -> usize {
        refusals(self.name) - self.before
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        samba_tool(&["user", "delete", self.name]);
    }
}

/// How often the server has refused an account for its password, by its audit log.
fn refusals(name: &str) -> usize {
    let log = std::fs::read_to_string(lab().join("ad/log/auth.json")).expect("audit log");
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| {
            let event = &line["Authentication"];
            let account = event["clientAccount"].as_str().unwrap_or_default();
            account.contains(name) && event["status"] == "NT_STATUS_WRONG_PASSWORD"
        })
        .count()
}

#[tokio::test]
async fn every_way_of_signing_on_reads_the_directory() {
    let keytab = std::fs::read(lab().join("svc-jims.keytab")).expect("keytab");
    let with_keytab = Attempt {
        proof: Proof::Keytab(keytab.into()),
        ..Attempt::new(Method::Kerberos, "svc-jims", "")
    };
    let user = "svc-jims@corp.example.com";
    let password = |method| Attempt::new(method, user, PASSWORD);
    let by_address = Attempt {
        host: DC,
        ..password(Method::Negotiate)
    };
    let cases = [
        (password(Method::Kerberos), "kerberos"),
        (with_keytab, "kerberos"),
        (password(Method::Negotiate), "kerberos"),
        (password(Method::Ntlm), "ntlm"),
        (by_address, "ntlm"),
    ];
    for (attempt, expected) in cases {
        for port in [636, 389] {
            for binding in [Binding::WithNtlm, Binding::Never] {
                let attempt = Attempt {
                    port,
                    binding,
                    ..attempt.clone()
                };
                let found = attempt.mechanism().await.unwrap_or_else(|error| {
                    panic!(
                        "{:?} {port} {binding:?}: {error}; {}",
                        attempt.method,
                        error.remedy()
                    )
                });
                assert_eq!(found, expected, "{:?} {port} {binding:?}", attempt.method);
            }
        }
    }
    let bound = Attempt {
        binding: Binding::Always,
        ..password(Method::Ntlm)
    };
    assert_eq!(bound.mechanism().await.expect("bound"), "ntlm");
}

#[tokio::test]
async fn an_account_is_named_in_every_usual_form() {
    let alias = Account::new("auth-alias", PASSWORD);
    alias.set("userPrincipalName", "jims.alias@example.org");
    let users = [
        "svc-jims",
        "CORP\\svc-jims",
        "SVC-JIMS@CORP.EXAMPLE.COM",
        "jims.alias@example.org",
    ];
    for method in [Method::Kerberos, Method::Negotiate, Method::Ntlm] {
        for user in users {
            // Samba asks for a trusted domain of that name.
            if method == Method::Ntlm && user.ends_with("example.org") {
                continue;
            }
            let outcome = Attempt::new(method, user, PASSWORD).mechanism().await;
            let found =
                outcome.unwrap_or_else(|error| panic!("{method:?} {user}: {error}: {error:?}"));
            let expected = match method {
                Method::Ntlm => "ntlm",
                Method::Kerberos | Method::Negotiate => "kerberos",
            };
            assert_eq!(found, expected, "{user}");
        }
    }
}

#[tokio::test]
async fn kerberos_says_what_is_wrong_with_an_account() {
    let account = Account::new("auth-account", PASSWORD);
    let attempt = Attempt::new(Method::Kerberos, "auth-account", PASSWORD);
    assert_eq!(attempt.mechanism().await.expect("good"), "kerberos");
    let wrong = Attempt::new(Method::Kerberos, "auth-account", "wrong");
    let told = wrong.auth_error().await;
    assert!(matches!(told, AuthError::WrongPassword { .. }), "{told}");
    assert!(told.is_credentials());
    let nobody = Attempt::new(Method::Kerberos, "auth-nobody", PASSWORD);
    let told = nobody.auth_error().await;
    assert!(matches!(told, AuthError::UnknownAccount { .. }), "{told}");
    account.set("userAccountControl", "514");
    let told = attempt.auth_error().await;
    assert!(matches!(told, AuthError::Revoked { .. }), "{told}");
    account.set("userAccountControl", "512");
    account.set("pwdLastSet", "0");
    let told = attempt.auth_error().await;
    assert!(matches!(told, AuthError::PasswordExpired { .. }), "{told}");
}

#[tokio::test]
async fn kerberos_says_what_is_wrong_with_the_way() {
    let attempt = Attempt::new(Method::Kerberos, "svc-jims", PASSWORD);
    let address = Attempt {
        host: DC,
        ..attempt.clone()
    };
    let told = address.auth_error().await;
    assert!(matches!(told, AuthError::NeedsName { .. }), "{told}");
    // Nobody listens on the first, the second is found.
    let second = Attempt {
        kdc: vec!["127.77.0.99".to_owned(), DC_NAME.to_owned()],
        ..attempt.clone()
    };
    assert_eq!(second.mechanism().await.expect("the second"), "kerberos");
    let none = Attempt {
        kdc: vec!["127.77.0.99".to_owned(), format!("{DC}:636")],
        ..attempt.clone()
    };
    let told = none.auth_error().await;
    assert!(
        matches!(&told, AuthError::NoKdc { tried, .. } if tried.len() == 2),
        "{told}"
    );
    // Nobody has that service name.
    let server: IpAddr = DC.parse().expect("an address");
    let resolver = Resolver::with(&[SocketAddr::new(server, 53)]);
    let target = Target {
        service: "ldap",
        host: "nowhere.corp.example.com".to_owned(),
    };
    let credentials = Credentials {
        user: attempt.user.clone(),
        domain: DOMAIN.to_owned(),
        proof: attempt.proof.clone(),
    };
    let kdcs = Kdcs::new(&resolver, DOMAIN, &[], DC_NAME);
    let unknown = Negotiation::new(Method::Kerberos, &credentials, &target, &Purpose::Rpc, kdcs);
    let told = unknown
        .expect("a negotiation")
        .step(None)
        .await
        .expect_err("no ticket");
    assert!(
        matches!(&told, AuthError::UnknownService { service, .. } if service == "ldap/nowhere.corp.example.com"),
        "{told}"
    );
    // SPNEGO comes to NTLM then.
    let negotiate = Attempt {
        method: Method::Negotiate,
        ..none
    };
    assert_eq!(negotiate.mechanism().await.expect("NTLM"), "ntlm");
}

#[tokio::test]
async fn a_wrong_password_by_ntlm_is_the_servers_to_tell() {
    let account = Account::new("auth-ntlm", PASSWORD);
    let wrong = Attempt::new(Method::Ntlm, "CORP\\auth-ntlm", "wrong");
    let error = wrong.connect().await.expect_err("a wrong password");
    println!("{error}; {}", error.remedy());
    assert!(error.is_credentials(), "{error:?}");
    assert_eq!(account.refusals(), 1, "one attempt, not two");
}

/// The table of a directory whose servers are found by DNS.
fn directory(more: &str) -> String {
    format!(
        r#"[dns]
servers = ["{DC}"]
[[directory_service]]
name = "corp"
domain = "{DOMAIN}"
ca_file = "{ca}"
poll_interval = "1s"
{more}
"#,
        ca = ca_file().display()
    )
}

fn wait_log(site: &Site, what: &str) {
    wait_for(what, || site.log().contains(what).then_some(()));
}

#[test]
fn a_directory_is_found_by_dns_and_read_by_kerberos_with_a_keytab() {
    let keytab = lab().join("svc-jims.keytab");
    let more = format!(
        "auth = \"kerberos\"\nuser = \"svc-jims\"\nkeytab_file = \"{}\"",
        keytab.display()
    );
    let mut site = Site::new(&directory(&more));
    site.start_ready();
    wait_log(&site, "authentication=\"kerberos\"");
    wait_log(&site, "directory is followed");
    let status = site.json(&["status", "--json"]);
    assert_eq!(status["directories"][0]["state"], "active", "{status}");
    assert!(
        status["directory"]["users"].as_u64() > Some(1_000),
        "{status}"
    );
    site.stop();
}

#[test]
fn a_password_that_kerberos_refuses_is_not_tried_again_until_it_changes() {
    let account = Account::new("auth-refused", PASSWORD);
    let more = "auth = \"kerberos\"\nuser = \"auth-refused\"\npassword_file = \"refused.secret\"";
    let mut site = Site::new("");
    site.secret("refused.secret", "wrong");
    site.configure(&directory(more));
    site.start();
    wait_log(&site, "not tried again until it changes");
    // Three polls long.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(account.refusals(), 1, "{}", site.log());
    site.secret("refused.secret", PASSWORD);
    site.wait_ready();
    site.stop();
    let shown = site.run(&["probe", "corp"]);
    let shown = text(&shown.stdout);
    assert!(shown.contains("kerberos"), "{shown}");
}

#[test]
fn no_level_of_logging_shows_a_secret() {
    let more = "auth = \"negotiate\"\nuser = \"svc-jims\"\npassword_file = \"directory.secret\"";
    let mut site = Site::new(&format!(
        "{}[log]\nlevel = \"trace,sspi=trace,picky=trace,picky_krb=trace,sspi::kerberos=trace\"\n",
        directory(more)
    ));
    site.start_ready();
    wait_log(&site, "authentication=\"kerberos\"");
    site.stop();
    let log = site.log();
    assert!(!log.contains(PASSWORD));
    assert!(!log.contains("sspi"), "{log}");
    // The password's UTF-16 as bytes in hexadecimal or decimal.
    assert!(!log.contains("530076006300") && !log.contains("83, 118, 99"));
}
