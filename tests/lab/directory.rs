//! Changes in a real Active Directory reach the firewall within a poll interval.

use std::process::Command;
use std::time::{Duration, Instant};

use super::support::rsyslog::{Forward, Rsyslog};
use super::support::{DC, Site, ca_file, directory, samba_tool, succeed, tunnel_up, wait_for};

#[test]
fn a_nested_membership_changes_roles_in_query_and_batch() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("u000049", "10.2.1.1"));
    let before = site.wait_user(&token, "10.2.1.1", "u000049");
    assert!(!before["roles"].to_string().contains("G-EMPTY"));
    let cookie = site.query(&token, "users/endpoints")["cookie"]
        .as_str()
        .expect("cookie")
        .to_owned();

    // u000049 is in G-009, which everything down from G-000 holds: G-EMPTY gets G-000, he is nine steps below.
    samba_tool(&["group", "addmembers", "G-EMPTY", "G-000"]);
    let changed = Instant::now();
    wait_for("the new role in an IP query", || {
        site.entry(&token, "10.2.1.1")
            .filter(|entry| entry["roles"].to_string().contains("G-EMPTY"))
    });
    println!(
        "roles changed {:?} after samba-tool (poll interval 1 s)",
        changed.elapsed()
    );
    let batch = site.query(&token, &format!("users/endpoints?cookie={cookie}"));
    assert_eq!(batch["report_entries"][0]["ip-address"], "10.2.1.1");
    assert!(
        batch["report_entries"][0]["roles"]
            .to_string()
            .contains("G-EMPTY")
    );
    samba_tool(&["group", "removemembers", "G-EMPTY", "G-000"]);
    wait_for("the role to go", || {
        site.entry(&token, "10.2.1.1")
            .filter(|entry| !entry["roles"].to_string().contains("G-EMPTY"))
    });
}

#[test]
fn a_deleted_or_disabled_user_loses_his_session_and_the_next_batch_says_so() {
    samba_tool(&["user", "create", "leaver", "Leaver-Pass!1"]);
    samba_tool(&["user", "create", "suspended", "Leaver-Pass!1"]);
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    for (user, address) in [("leaver", "10.2.2.1"), ("suspended", "10.2.2.2")] {
        sender.log(&tunnel_up(user, address));
        site.wait_user(&token, address, user);
    }
    let cookie = site.query(&token, "users/endpoints")["cookie"]
        .as_str()
        .expect("cookie")
        .to_owned();
    samba_tool(&["user", "delete", "leaver"]);
    samba_tool(&["user", "disable", "suspended"]);
    let start = Instant::now();
    wait_for("both sessions to end", || {
        (site.entry(&token, "10.2.2.1").is_none() && site.entry(&token, "10.2.2.2").is_none())
            .then_some(())
    });
    println!(
        "sessions ended {:?} after the directory changed (poll interval 1 s)",
        start.elapsed()
    );
    let batch = site.query(&token, &format!("users/endpoints?cookie={cookie}"));
    let ended = batch["report_entries"].as_array().expect("entries");
    assert_eq!(ended.len(), 2, "{batch}");
    assert!(
        ended.iter().all(|entry| entry["activity"] == "logout"),
        "{batch}"
    );
    // Evidence for a user that is gone is ignored until he is back.
    sender.log(&tunnel_up("leaver", "10.2.2.1"));
    sender.log(&tunnel_up("u000001", "10.2.2.3"));
    site.wait_user(&token, "10.2.2.3", "u000001");
    assert_eq!(site.entry(&token, "10.2.2.1"), None);
    samba_tool(&["user", "delete", "suspended"]);
}

#[test]
fn an_account_that_cannot_see_deleted_objects_still_notices() {
    samba_tool(&["user", "create", "leaver2", "Leaver-Pass!1"]);
    let mut site = Site::new(&directory("").replace("svc-jims@", "svc-plain@"));
    site.secret("directory.secret", "Svc-Plain!1");
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("leaver2", "10.2.3.1"));
    site.wait_user(&token, "10.2.3.1", "leaver2");
    samba_tool(&["user", "delete", "leaver2"]);
    wait_for("the session to end", || {
        site.entry(&token, "10.2.3.1").is_none().then_some(())
    });
}

#[test]
fn start_tls_serves_as_well() {
    let mut site = Site::new(&directory("tls = \"starttls\""));
    site.start_ready();
    let status = site.json(&["status", "--json"]);
    assert!(
        status["directory"]["users"].as_u64() >= Some(2000),
        "{status}"
    );
    assert_eq!(status["directories"][0]["state"], "active", "{status}");
}

#[test]
fn a_full_read_takes_about_as_long_as_ldapsearch() {
    let start = Instant::now();
    succeed(
        Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", ca_file())
            .args([
                "-x",
                "-LLL",
                "-H",
                &format!("ldaps://{DC}"),
                "-D",
                "svc-jims@corp.example.com",
                "-w",
                "Svc-Jims!1",
            ])
            .args(["-b", "dc=corp,dc=example,dc=com", "-E", "pr=1000/noprompt"])
            .args([
                "(|(objectClass=user)(objectClass=group))",
                "sAMAccountName",
                "objectGUID",
                "member",
            ]),
    );
    let peer = start.elapsed();
    let mut site = Site::new(&directory(""));
    let start = Instant::now();
    site.start_ready();
    let ours = start.elapsed();
    println!(
        "first full read, from exec to ready: {ours:?}; ldapsearch of the same objects: {peer:?}"
    );
    assert!(ours < Duration::from_secs(60));
}

#[test]
fn a_removed_directory_takes_its_users_along_at_reload() {
    let ldif = "dn: dc=lab,dc=example,dc=net\nobjectClass: domain\n\n\
        dn: CN=Zoe,DC=lab,DC=example,DC=net\nobjectClass: user\nsAMAccountName: zoe\nuserAccountControl: 512\n";
    let second = |site: &Site| {
        std::fs::write(site.path("lab.ldif"), ldif).expect("ldif");
        let table = "[[directory_service]]\nname = \"labnet\"\ndomain = \"lab.example.net\"\nldif_file = \"lab.ldif\"\npoll_interval = \"1s\"\n";
        directory("") + table
    };
    let mut site = Site::new("");
    let both = second(&site);
    site.configure(&both);
    site.start_ready();
    let token = site.token();
    let sender = Rsyslog::start(Forward::Tcp);
    sender.log(&tunnel_up("zoe@lab.example.net", "10.2.5.1"));
    sender.log(&tunnel_up("u000002", "10.2.5.2"));
    site.wait_user(&token, "10.2.5.1", "zoe");
    site.wait_user(&token, "10.2.5.2", "u000002");
    site.configure(&directory(""));
    site.signal("HUP");
    wait_for("zoe to leave", || {
        site.entry(&token, "10.2.5.1").is_none().then_some(())
    });
    assert!(site.entry(&token, "10.2.5.2").is_some());
}
