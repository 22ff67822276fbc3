//! How members sign on to NATS: password, nkey, and TLS with certificates on both sides; and what is said when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::member::{Member, Role, SERVERS};
use super::nats::{NODES, Nats};
use super::{syslog_to, wait_user};
use crate::support::{lab, succeed, wait_for};

/// A key that was made for this test, as NATS writes keys of users, and its public half.
const SEED: &str = "SUAHC6RS2KF3TYBSIINT6GKY7XP5VIR6OFVG4TJURCTM5UZACWOAQKIOFE";
const PUBLIC: &str = "UACZSNSKPA3FAK25RU34CKLVHYHRTGB5K3LLGOTMCOD2TKUIAAIL2AV7";

/// A member that takes part writes what it hears, and hears it.
#[track_caller]
fn works(mut member: Member) {
    use std::io::Write as _;

    member.wait_ready();
    assert_eq!(tried(&member), WELL);
    let mut vpn = syslog_to(&member);
    let line = super::feeder::logon(1, "u000001", "10.5.0.1");
    vpn.write_all(line.as_bytes()).expect("sent");
    wait_user(&member, "10.5.0.1", "u000001");
    member.site.stop();
}

/// What `jims probe` says of a server that does.
const WELL: &str = "connect: ok\njetstream: ok\nstream: ok\n";

/// What `jims probe` says of NATS, a step a line.
#[track_caller]
fn tried(member: &Member) -> String {
    let output = member.site.run(&["probe", "cluster", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let steps = said[0]["steps"].as_array().expect("steps");
    let all_well = steps.iter().all(|step| step["ok"] == true);
    assert_eq!(output.status.code(), Some(i32::from(!all_well)), "{said}");
    println!("{said}");
    let step = |step: &Value| {
        let ok = if step["ok"] == true { "ok" } else { "NO" };
        format!("{}: {ok}\n", step["name"].as_str().expect("a name"))
    };
    steps.iter().map(step).collect()
}

/// A member with `[cluster]` of these keys, running.
fn member(nats: &Nats, scheme: &str, more: &str, secret: &str) -> Member {
    let urls = nats.urls(scheme);
    let table = format!("[cluster]\nnats = {urls}\n{more}\n");
    let mut member = Member::new(SERVERS[0], Role::Both, &table);
    member.site.secret("nats.secret", secret);
    member.site.start();
    member
}

/// Waits until status says what hinders, and what can be tried.
#[track_caller]
fn wait_told(member: &Member, what: &str, remedy: &str) {
    let told = wait_for(&format!("status to say {what}"), || {
        let status = member.try_status()?;
        let mut told = status["attention"]
            .as_array()?
            .iter()
            .map(ToString::to_string);
        told.find(|told| told.contains(what) && told.contains(remedy))
    });
    println!("{told}");
    let log = member.site.log();
    assert!(log.contains(what), "{log}");
}

#[test]
fn with_a_password() {
    let nats = Nats::start_with(1, "authorization { user: jims, password: \"s3cret-nats\" }");
    let account = "user = \"jims\"\npassword_file = \"nats.secret\"";
    works(member(&nats, "nats", account, "s3cret-nats"));
    let mut wrong = member(&nats, "nats", account, "another");
    wait_told(
        &wrong,
        "authorization violation",
        "check user and password_file",
    );
    assert_eq!(tried(&wrong), "connect: NO\n");
    // It tries again, with what is in the file by then.
    wrong.site.secret("nats.secret", "s3cret-nats");
    wrong.wait_ready();
    wrong.site.stop();
    let nobody = member(&nats, "nats", "", "");
    wait_told(
        &nobody,
        "authorization violation",
        "check user and password_file",
    );
}

#[test]
fn with_an_nkey() {
    let users = format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}");
    let nats = Nats::start_with(1, &users);
    works(member(
        &nats,
        "nats",
        "nkey_seed_file = \"nats.secret\"",
        SEED,
    ));
    let broken = member(
        &nats,
        "nats",
        "nkey_seed_file = \"nats.secret\"",
        "SUAHC6RS",
    );
    wait_told(&broken, "NATS", "nkey_seed_file");
}

#[test]
fn a_server_without_jetstream_and_one_that_is_down_are_told_apart() {
    let mut nats = Nats::start_with(3, "");
    let mut member = member(&nats, "nats", "replicas = 3", "");
    member.wait_ready();
    wait_for("all three to be well", || {
        (tried(&member) == WELL.repeat(3)).then_some(())
    });
    nats.kill_node(1);
    let output = member.site.run(&["probe", "cluster"]);
    let shown = crate::support::text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("cluster (cluster): no"), "{shown}");
    assert!(shown.contains("NO  connect"), "{shown}");
    assert!(shown.contains(NODES[1]), "{shown}");
    assert!(
        shown.contains("check that the NATS servers run and can be reached"),
        "{shown}"
    );
    member.site.stop();
    drop(nats);
    let plain = Nats::start_without_jetstream();
    assert_eq!(
        tried(&member),
        "connect: ok\njetstream: NO\nconnect: NO\nconnect: NO\n"
    );
    drop(plain);
}

/// A certificate authority and two certificates, of a server and of a client.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(arguments.split(' '));
        succeed(&mut command);
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 30 -subj /CN=lab -keyout ca.key -out ca.pem"
    ));
    for (name, extensions) in [
        ("server", format!("subjectAltName=IP:{}\n", NODES[0])),
        ("client", "extendedKeyUsage=clientAuth\n".to_owned()),
    ] {
        fs::write(folder.join(format!("{name}.ext")), extensions).expect("written");
        openssl(&format!(
            "req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile {name}.ext -out {name}.pem"
        ));
    }
}

#[test]
fn with_certificates_on_both_sides() {
    let folder = tempfile::tempdir_in(lab()).expect("a folder");
    certificates(folder.path());
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let nats = Nats::start_with(
        1,
        &format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            file("server.pem").display(),
            file("server.key").display(),
            file("ca.pem").display()
        ),
    );
    let ca = format!("ca_file = \"{}\"\n", file("ca.pem").display());
    let own = format!(
        "certificate = \"{}\"\nkey = \"{}\"",
        file("client.pem").display(),
        file("client.key").display()
    );
    works(member(&nats, "tls", &format!("{ca}{own}"), ""));
    let without = member(&nats, "tls", &ca, "");
    wait_told(&without, "connecting to NATS", "certificate");
    drop(without);
    let strange = member(&nats, "tls", &own, "");
    wait_told(&strange, "connecting to NATS", "ca_file");
}
