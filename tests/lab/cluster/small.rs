//! Two members on one NATS server: the same table, and leases that go from one to the other.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::feeder::logon;
use super::member::{Member, Role, SERVERS, cluster};
use super::nats::Nats;
use super::{assert_alike, syslog_to, wait_alike, wait_user};
use crate::support::wait_for;

/// A directory of 20 users in two groups.
fn ldif() -> String {
    let mut text = String::new();
    let root = "DC=corp,DC=example,DC=com";
    for n in 0..20 {
        text += &format!(
            "dn: CN=u{n:06},CN=Users,{root}\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: user\n\
             cn: u{n:06}\nsAMAccountName: u{n:06}\nuserPrincipalName: u{n:06}@corp.example.com\nuserAccountControl: 512\n\
             objectSid: S-1-5-21-1-2-3-{sid}\nobjectGUID: 00000000-0000-0000-0000-{n:012}\nprimaryGroupID: 513\n\n",
            sid = 2000 + n,
        );
    }
    for (name, sid, members) in [("G-ALL", 3000, 0..20), ("G-FEW", 3001, 0..3)] {
        text += &format!(
            "dn: CN={name},CN=Users,{root}\nobjectClass: top\nobjectClass: group\ncn: {name}\nsAMAccountName: {name}\n\
             objectSid: S-1-5-21-1-2-3-{sid}\nobjectGUID: 00000000-0000-0000-0001-{sid:012}\ngroupType: -2147483646\n"
        );
        for n in members {
            text += &format!("member: CN=u{n:06},CN=Users,{root}\n");
        }
        text.push('\n');
    }
    text
}

fn directory(file: &str) -> String {
    format!(
        "[[directory_service]]\nname = \"corp\"\ndomain = \"corp.example.com\"\nldif_file = \"{file}\"\npoll_interval = \"1s\"\n"
    )
}

#[test]
fn what_one_hears_both_know_and_a_clean_stop_hands_leases_over_at_once() {
    let nats = Nats::start(1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), ldif()).expect("written");
    let extra = cluster(&nats) + &directory(file.path().to_str().expect("a path"));
    let mut first = Member::start(SERVERS[0], Role::Both, &extra);
    first.wait_ready();
    let mut second = Member::start(SERVERS[1], Role::Both, &extra);
    second.wait_ready();
    let mut vpn = syslog_to(&first);
    vpn.write_all(logon(1, "u000001", "10.1.0.1").as_bytes())
        .expect("sent");
    wait_user(&first, "10.1.0.1", "u000001");
    let took = wait_user(&second, "10.1.0.1", "u000001");
    println!("known to the other {took:?} later");
    // And the other way round.
    let mut vpn = syslog_to(&second);
    vpn.write_all(logon(2, "u000005", "10.1.0.2").as_bytes())
        .expect("sent");
    wait_user(&first, "10.1.0.2", "u000005");
    wait_alike(&[&first, &second]);
    // One has read the directory, for both.
    let readers = [&first, &second].map(|member| {
        let status = member.try_status().expect("status");
        status["directories"][0]["detail"].to_string()
    });
    let standing_by = readers
        .iter()
        .filter(|detail| detail.contains("standing by"));
    assert_eq!(standing_by.count(), 1, "{readers:?}");
    let told = super::everything(second.http()).0;
    assert!(told["10.1.0.1"].2.contains("G-FEW"), "{told:?}");
    assert!(
        told["10.1.0.2"].2.contains("G-ALL") && !told["10.1.0.2"].2.contains("G-FEW"),
        "{told:?}"
    );

    // Whoever reads stops: the other reads, and hears of a change.
    let (mut reader, other) = if readers[0].contains("standing by") {
        (second, first)
    } else {
        (first, second)
    };
    let log = other.site.log();
    let begun = Instant::now();
    reader.site.stop();
    let stopped = begun.elapsed();
    wait_for("the lease", || {
        let since = other.site.log()[log.len()..].to_owned();
        since
            .lines()
            .any(|line| line.contains("the lease is ours") && line.contains("directory/corp"))
            .then_some(())
    });
    let took = begun.elapsed();
    println!(
        "a clean stop took {stopped:?}; the lease was the other's {took:?} after its beginning"
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    let changed = ldif().replace("G-FEW", "G-RENAMED");
    fs::write(file.path(), changed).expect("written");
    wait_for("the change of the directory", || {
        super::everything(other.http()).0["10.1.0.1"]
            .2
            .contains("G-RENAMED")
            .then_some(())
    });
    // Who comes back has all of it.
    reader.site.start();
    reader.wait_ready();
    assert_alike(&[&reader, &other]);
}
