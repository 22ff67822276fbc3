//! What a crash and a clean stop leave behind.

use std::io::Write;
use std::net::TcpStream;

use super::support::{JIMS, Site, directory, tunnel_up, wait_for};

/// Sends lines over one plain TCP connection, as fast as they are taken.
fn send(lines: impl Iterator<Item = String>) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect((JIMS, 5514))?;
    let mut sent = 0;
    for line in lines {
        stream.write_all(format!("<134>iked[7]: {line}\n").as_bytes())?;
        sent += 1;
    }
    Ok(sent)
}

fn address(n: u32) -> String {
    format!("10.{}.{}.{}", 64 + n / 62_500, n / 250 % 250, n % 250 + 1)
}

#[test]
fn after_kill_9_under_load_the_snapshot_is_whole_and_old_cookies_get_a_full_report() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    send((0..5_000).map(|n| tunnel_up(&format!("u{:06}", n % 2000), &address(n)))).expect("sent");
    site.wait_user(&token, &address(4_999), "u000999");
    let old_cookie = site.query(&token, "users/endpoints?entry_count=10")["cookie"]
        .as_str()
        .expect("cookie")
        .to_owned();
    wait_for("all sessions", || {
        (site.json(&["status", "--json"])["totals"]["sessions"] == 5_000).then_some(())
    });
    // What was applied is safe some hundredths of a second later.
    wait_for("the log on the disk", || {
        let bytes = snapshot_bytes(&site);
        std::thread::sleep(std::time::Duration::from_millis(200));
        (bytes > 0 && snapshot_bytes(&site) == bytes).then_some(())
    });

    let load = std::thread::spawn(|| {
        send((5_000..200_000).map(|n| tunnel_up(&format!("u{:06}", n % 2000), &address(n))))
    });
    site.wait_user(&token, &address(6_000), "u000000");
    site.kill();
    drop(load.join().expect("the sender ends"));

    site.start_ready();
    let status = site.json(&["status", "--json"]);
    let sessions = status["totals"]["sessions"].as_u64().expect("sessions");
    assert!(sessions >= 5_000, "{sessions} sessions after the crash");
    println!("{sessions} sessions came back");
    // The token is in the snapshot; the cookie is of another epoch.
    let answer = site.query(
        &site.token(),
        &format!("users/endpoints?cookie={old_cookie}&entry_count=10"),
    );
    assert_eq!(answer["full"], true);
    let entry = site
        .entry(&site.token(), &address(17))
        .expect("the session is back");
    assert_eq!(entry["user-name"], "u000017");
    assert_whole(&site, answer, sessions);
}

fn snapshot_files(site: &Site) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(site.path("state/snapshot"));
    let files = folder.into_iter().flatten().flatten();
    files.map(|file| file.path()).collect()
}

fn snapshot_bytes(site: &Site) -> u64 {
    let files = snapshot_files(site).into_iter();
    files
        .filter_map(|path| Some(path.metadata().ok()?.len()))
        .sum()
}

/// Follows the report to its end: each address once, every entry whole.
fn assert_whole(site: &Site, first: serde_json::Value, sessions: u64) {
    let token = site.token();
    let mut answer = first;
    let mut seen = std::collections::BTreeSet::new();
    loop {
        for entry in answer["report_entries"].as_array().expect("entries") {
            assert!(
                seen.insert(entry["ip-address"].to_string()),
                "{entry} twice"
            );
            assert!(
                entry["user-name"]
                    .as_str()
                    .is_some_and(|user| user.starts_with('u')),
                "{entry}"
            );
            assert_eq!(entry["domain-name"], "corp.example.com");
            assert!(entry["roles"].to_string().contains("G-ALL"), "{entry}");
        }
        if answer["more"] != true {
            break;
        }
        let cookie = answer["cookie"].as_str().expect("cookie").to_owned();
        answer = site.query(
            &token,
            &format!("users/endpoints?cookie={cookie}&entry_count=1000"),
        );
    }
    assert_eq!(seen.len() as u64, sessions);
}

#[test]
fn a_clean_stop_keeps_cookies_and_tokens() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    send((0..20).map(|n| tunnel_up(&format!("u{n:06}"), &address(n)))).expect("sent");
    site.wait_user(&token, &address(19), "u000019");
    let cookie = site.query(&token, "users/endpoints")["cookie"]
        .as_str()
        .expect("cookie")
        .to_owned();
    site.stop();
    site.start_ready();
    let answer = site.query(&token, &format!("users/endpoints?cookie={cookie}"));
    assert_eq!(answer["full"], false, "{answer}");
    assert_eq!(
        answer["report_entries"].as_array().map(Vec::len),
        Some(0),
        "{answer}"
    );
    assert!(site.entry(&token, &address(7)).is_some());
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_said_so() {
    let mut site = Site::new(&directory(""));
    site.start_ready();
    let token = site.token();
    send((0..20).map(|n| tunnel_up(&format!("u{n:06}"), &address(n)))).expect("sent");
    site.wait_user(&token, &address(19), "u000019");
    site.stop();
    // The table's first rows: behind what is damaged nothing counts.
    let file = snapshot_files(&site).into_iter().min().expect("a segment");
    let mut bytes = std::fs::read(&file).expect("bytes");
    bytes[0] ^= 0x40;
    std::fs::write(&file, &bytes).expect("damaged");
    site.start_ready();
    assert_eq!(site.json(&["status", "--json"])["totals"]["sessions"], 0);
    let aside = std::fs::read_dir(site.path("state"))
        .expect("state")
        .flatten()
        .any(|file| file.file_name().to_string_lossy().contains("damaged"));
    assert!(aside, "the damaged file is kept");
    assert!(site.log().contains("set aside"), "{}", site.log());
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let mut site = Site::new("");
    site.start_ready();
    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(2));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("in use"), "{message}");
}
