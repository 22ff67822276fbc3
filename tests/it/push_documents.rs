//! Documents with what is peculiar to the products that push, and exactly what is made of each entry.
//!
//! The files in `tests/fixtures/firewall_push` are ours. What products do, by their public code and documentation: stamps
//! with an offset, a small `z` or microseconds; no encoding; empty elements; words for nothing; elements of their own;
//! logoffs that name nobody; computers that sign on for themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jims::identity::event::{Claim, DeviceRef, IdentityEvent, Qualifier, Strength};
use jims::identity::name::Name;
use jims::identity::time::UtcMillis;
use jims::producer::firewall_push::document::{MAX_ENTRIES, read};
use jims::producer::firewall_push::interpret::{Settings, interpret};
use proptest::prelude::*;
use proptest::sample::Index;

/// 2026-01-17T15:29:40Z, when all of them arrive.
const RECEIVED: UtcMillis = UtcMillis(1_768_663_780_000);

/// An entry: milliseconds before the arrival, address, and what is said.
type Said = (i64, &'static str, &'static str);

/// For each file its entries.
const EXPECTED: &[(&str, &[Said])] = &[
    (
        "clearpass.xml",
        &[
            (
                2001,
                "10.8.1.50",
                "logon CORP\\zoë at CORP\\ws-0042 in [User Authenticated], VPN-Users",
            ),
            (
                1001,
                "2001:db8:8::51",
                "device-logon corp.example.com\\ws-0043.corp.example.com",
            ),
            (1, "10.8.1.52", "logoff CORP\\bob"),
        ],
    ),
    (
        "packetfence-start.xml",
        &[(2001, "10.8.1.60", "logon source.example\\alice in staff")],
    ),
    ("packetfence-stop.xml", &[(1, "10.8.1.60", "logoff")]),
    (
        "script.xml",
        &[(
            2877,
            "10.8.1.70",
            "logon corp.example.com\\carol at corp.example.com\\phone-7 in guests",
        )],
    ),
    (
        "portal-with-timeout.xml",
        &[(3000, "10.8.1.80", "logon global\\dave in staff, guests")],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/firewall_push")
}

#[test]
fn what_products_do_is_understood() {
    let settings = Settings {
        producer: "portal".into(),
        domain: Some(Name::new("source.example").unwrap()),
    };
    for (file, expected) in EXPECTED {
        let entries = read(&std::fs::read(folder().join(file)).unwrap()).unwrap();
        let made = (1..).zip(&entries).map(|(number, entry)| {
            let made = interpret(&settings, entry, number, RECEIVED).unwrap();
            assert_eq!(made.replaced, None, "{file}: its time is believed");
            let before = RECEIVED.0 - made.event.occurred_at.0;
            (
                before,
                made.event.address.unwrap().to_string(),
                told(&made.event),
            )
        });
        let expected = expected
            .iter()
            .map(|&(before, address, said)| (before, address.to_owned(), said.to_owned()));
        assert_eq!(
            made.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{file}"
        );
    }
}

#[test]
fn no_document_is_without_an_expectation() {
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<_> = EXPECTED
        .iter()
        .map(|(file, _)| (*file).to_owned())
        .collect();
    assert_eq!(files, expected);
}

/// What the fuzz target says of any bytes, said of documents that are nearly good.
fn holds(bytes: &[u8]) -> usize {
    let Ok(entries) = read(bytes) else { return 0 };
    assert!(entries.len() <= MAX_ENTRIES);
    let settings = Settings {
        producer: "portal".into(),
        domain: None,
    };
    let made = (1..).zip(&entries).filter_map(|(number, entry)| {
        let made = interpret(&settings, entry, number, RECEIVED).ok()?;
        assert!(made.event.occurred_at <= RECEIVED);
        assert!(made.event.address.is_some());
        Some(made)
    });
    made.count()
}

proptest! {
    #[test]
    fn a_damaged_document_is_refused_or_read(
        file in 0..EXPECTED.len(),
        damage in prop::collection::vec((any::<Index>(), 0_usize..12, "[<>/&;a-z0-9:.\\\\@$!-]{0,8}"), 1..4),
    ) {
        let mut bytes = std::fs::read(folder().join(EXPECTED[file].0)).unwrap();
        for (at, cut, text) in damage {
            let from = at.index(bytes.len());
            let to = (from + cut).min(bytes.len());
            bytes.splice(from..to, text.into_bytes());
            if bytes.is_empty() {
                break;
            }
        }
        holds(&bytes);
    }
}

/// What an event says, in a line.
fn told(event: &IdentityEvent) -> String {
    match &event.claim {
        Claim::Logon(logon) => {
            assert_eq!(logon.strength, Strength::Strong);
            let mut said = format!(
                "logon {}\\{}",
                domain(&logon.user.qualifier),
                logon.user.name
            );
            if let Some(at) = &logon.device {
                said += &format!(" at {}", device(at));
            }
            let groups: Vec<_> = logon.groups.iter().map(Name::as_str).collect();
            said + " in " + &groups.join(", ")
        }
        Claim::Logoff { user: None, .. } => "logoff".to_owned(),
        Claim::Logoff {
            user: Some(user), ..
        } => format!("logoff {}\\{}", domain(&user.qualifier), user.name),
        Claim::DeviceLogon {
            device: seen,
            strength: Strength::Strong,
            own_kerberos: false,
        } => format!("device-logon {}", device(seen)),
        other => panic!("no push says {other:?}"),
    }
}

fn device(device: &DeviceRef) -> String {
    format!("{}\\{}", domain(&device.qualifier), device.name)
}

fn domain(qualifier: &Qualifier) -> &str {
    match qualifier {
        Qualifier::Domain(name) => name.as_str(),
        other => panic!("no domain: {other:?}"),
    }
}
