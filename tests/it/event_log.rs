//! What each Windows record means: one row a record and story, from the bytes that a server sends.

use std::net::IpAddr;

use jims::config::EventSourceKind;
use jims::identity::event::{Claim, IdentityEvent, Qualifier, Strength};
use jims::identity::name::Name;
use jims::identity::time::UtcMillis;
use jims::identity::worth::{Conflict, EvidenceKind, Weight};
use jims::producer::event_log::interpret::{self, Reason, Settings, WORTH};
use jims::wire::binxml::Decoder;
use jims::wire::windows::FileTime;

use crate::evtx_log::{logoff, logon, service_ticket, ticket, validation};
use crate::records::{Head, Typed, even6, event};

/// 2026-03-02 08:00:00.250 UTC.
const WRITTEN: i64 = 1_772_438_400_250;
const RECEIVED: UtcMillis = UtcMillis(WRITTEN + 120);

type Data = Vec<(&'static str, Typed)>;

fn settings(kind: EventSourceKind) -> Settings {
    Settings {
        producer: "dc1".into(),
        kind,
        domain: Name::new("corp.example.com").expect("a name"),
        skew: 0,
        conflict: Conflict::default(),
    }
}

fn read(settings: &Settings, id: u16, data: &Data) -> Result<IdentityEvent, Reason> {
    let head = Head {
        event_id: id,
        record_id: 4711,
        time: FileTime::from_unix_millis(WRITTEN).expect("a time").0,
        computer: "DC1.corp.example.com",
        success: true,
    };
    let bytes = even6(&event(&head, data));
    let mut decoder = Decoder::default();
    let record = decoder.record(&bytes).expect("a record");
    interpret::interpret(settings, &record, RECEIVED)
}

fn dc(id: u16, data: &Data) -> Result<IdentityEvent, Reason> {
    read(&settings(EventSourceKind::DomainController), id, data)
}

fn exchange(id: u16, data: &Data) -> Result<IdentityEvent, Reason> {
    read(&settings(EventSourceKind::Exchange), id, data)
}

/// The data with one field set or added.
fn with(mut data: Data, name: &'static str, value: Typed) -> Data {
    match data.iter_mut().find(|(known, _)| *known == name) {
        Some(found) => found.1 = value,
        None => data.push((name, value)),
    }
    data
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// A user's logon: name, qualifier, strength.
#[track_caller]
fn user(event: &IdentityEvent) -> (&str, String, Strength) {
    let Claim::Logon(logon) = &event.claim else {
        panic!("{event:?}");
    };
    let qualifier = match &logon.user.qualifier {
        Qualifier::Domain(domain) => domain.to_string(),
        Qualifier::Upn(suffix) => format!("@{suffix}"),
        Qualifier::Missing => String::new(),
    };
    (logon.user.name.as_str(), qualifier, logon.strength)
}

#[test]
fn tickets_put_their_user_at_their_address() {
    let found = dc(4768, &ticket("alice", 0, "::ffff:10.1.2.50")).expect("an event");
    assert_eq!(
        found.address,
        address("10.1.2.50"),
        "mapped addresses are IPv4"
    );
    assert_eq!(
        user(&found),
        ("alice", "CORP.EXAMPLE.COM".into(), Strength::Strong)
    );
    assert_eq!(found.record, "4768 #4711");
    assert_eq!(found.occurred_at, UtcMillis(WRITTEN));
    let found = dc(
        4769,
        &service_ticket("alice@CORP.EXAMPLE.COM", "FS1$", "2001:db8::7"),
    )
    .expect("an event");
    assert_eq!(found.address, address("2001:db8::7"));
    assert_eq!(
        user(&found),
        ("alice", "CORP.EXAMPLE.COM".into(), Strength::Strong)
    );
    let found = dc(
        4770,
        &service_ticket("alice@CORP.EXAMPLE.COM", "krbtgt", "10.1.2.50"),
    )
    .expect("an event");
    assert_eq!(
        user(&found).2,
        Strength::Weak,
        "a renewal happens without the user"
    );
}

#[test]
fn rule_2_names_come_as_upn_netbios_or_dns_domain() {
    let upn = with(
        ticket("alice@partner.example", 0, "10.1.2.50"),
        "TargetDomainName",
        Typed::text("CORP"),
    );
    assert_eq!(
        user(&dc(4768, &upn).expect("an event")).1,
        "@partner.example"
    );
    let netbios = with(
        ticket("alice", 0, "10.1.2.50"),
        "TargetDomainName",
        Typed::text("CORP"),
    );
    assert_eq!(user(&dc(4768, &netbios).expect("an event")).1, "CORP");
    let bare = with(
        ticket("alice", 0, "10.1.2.50"),
        "TargetDomainName",
        Typed::text("-"),
    );
    assert_eq!(
        user(&dc(4768, &bare).expect("an event")).1,
        "corp.example.com"
    );
}

#[test]
fn failures_addresses_and_system_accounts_make_no_event() {
    let rows: [(u16, Data, Reason); 12] = [
        (4768, ticket("alice", 0x18, "10.1.2.50"), Reason::Failed),
        (
            4776,
            validation("alice", "WS-1", 0xc000_006a),
            Reason::Failed,
        ),
        (4768, ticket("alice", 0, "-"), Reason::NoAddress),
        (4768, ticket("alice", 0, ""), Reason::NoAddress),
        (4768, ticket("alice", 0, "nowhere"), Reason::BadAddress),
        (4768, ticket("al\u{1}ice", 0, "10.1.2.50"), Reason::BadName),
        (
            4624,
            with(
                logon("ANONYMOUS LOGON", 3, "10.1.2.50", ""),
                "TargetUserSid",
                Typed::Sid(vec![7]),
            ),
            Reason::SystemAccount,
        ),
        (
            4624,
            with(
                logon("UMFD-1", 2, "-", ""),
                "TargetDomainName",
                Typed::text("Font Driver Host"),
            ),
            Reason::SystemAccount,
        ),
        (
            4768,
            ticket("HealthMailbox0a1b2c3", 0, "10.1.2.9"),
            Reason::SystemAccount,
        ),
        (4624, logon("alice", 5, "10.1.2.50", ""), Reason::LogonType),
        (4634, logoff("alice", 3), Reason::NetworkLogoff),
        (1102, logoff("alice", 3), Reason::OtherRecord),
    ];
    for (id, data, reason) in rows {
        assert_eq!(dc(id, &data), Err(reason), "{id} {data:?}");
    }
}

#[test]
fn a_ticket_that_a_service_asked_for_says_nothing_of_the_user() {
    let delegated = with(
        service_ticket("alice@CORP.EXAMPLE.COM", "SQL1$", "10.1.9.9"),
        "TransmittedServices",
        Typed::text("HTTP/web1@CORP.EXAMPLE.COM"),
    );
    assert_eq!(dc(4769, &delegated), Err(Reason::Delegated));
}

#[test]
fn machines_are_devices_and_never_users() {
    for (id, data, kerberos) in [
        (4768, ticket("WS-1$", 0, "10.1.2.50"), true),
        (
            4769,
            service_ticket("WS-1$@CORP.EXAMPLE.COM", "krbtgt", "10.1.2.50"),
            true,
        ),
        (4624, logon("WS-1$", 3, "10.1.2.50", ""), false),
    ] {
        let found = dc(id, &data).expect("an event");
        let Claim::DeviceLogon {
            device,
            own_kerberos,
            ..
        } = &found.claim
        else {
            panic!("{found:?}");
        };
        assert_eq!(device.name.as_str(), "WS-1$");
        assert_eq!(*own_kerberos, kerberos, "{id}");
    }
    assert_eq!(
        dc(4776, &validation("WS-1$", "WS-1", 0)),
        Err(Reason::Machine)
    );
}

#[test]
fn rule_6_logon_types_have_different_worth() {
    for (logon_type, strength) in [
        (2, Strength::Strong),
        (3, Strength::Weak),
        (7, Strength::Strong),
        (10, Strength::Strong),
        (11, Strength::Strong),
    ] {
        let found = dc(4624, &logon("alice", logon_type, "10.1.2.50", "WS-1")).expect("an event");
        assert_eq!(user(&found).2, strength, "{logon_type}");
        let Claim::Logon(logon) = &found.claim else {
            panic!("{found:?}");
        };
        assert_eq!(logon.device.is_some(), logon_type == 3, "{logon_type}");
        assert_eq!(
            logon.logon_id.is_some(),
            matches!(logon_type, 2 | 10 | 11),
            "{logon_type}"
        );
    }
}

#[test]
fn rule_7_a_logoff_ends_the_logon_of_its_id_only() {
    for (id, data) in [
        (4634, logoff("alice", 2)),
        (4647, logoff("alice", 2)[..4].to_vec()),
    ] {
        let found = dc(id, &data).expect("an event");
        let Claim::Logoff {
            user: Some(user),
            logon_id: Some(logon),
        } = &found.claim
        else {
            panic!("{found:?}");
        };
        assert_eq!((user.name.as_str(), logon.id), ("alice", 0x1_2345));
        assert_eq!(logon.computer.as_str(), "DC1.corp.example.com");
        assert_eq!(found.address, None);
    }
}

#[test]
fn ntlm_validation_renews_at_a_device_known_by_name() {
    let found = dc(4776, &validation("alice", "\\\\WS-1", 0)).expect("an event");
    let Claim::Renewal {
        user,
        device: Some(device),
    } = &found.claim
    else {
        panic!("{found:?}");
    };
    assert_eq!(
        (user.name.as_str(), device.name.as_str()),
        ("alice", "WS-1")
    );
    assert_eq!(dc(4776, &validation("alice", "", 0)), Err(Reason::NoDevice));
}

#[test]
fn exchange_tells_of_mail_clients_and_of_no_tickets() {
    for logon_type in [3, 8] {
        let found = exchange(4624, &logon("alice", logon_type, "10.1.2.50", "")).expect("an event");
        assert_eq!(user(&found).2, Strength::Weak);
    }
    assert_eq!(
        exchange(4768, &ticket("alice", 0, "10.1.2.50")),
        Err(Reason::OtherRecord)
    );
    let local = with(
        logon("admin", 3, "10.1.2.50", ""),
        "TargetDomainName",
        Typed::text("DC1"),
    );
    assert_eq!(exchange(4624, &local), Err(Reason::LocalAccount));
    let mailbox = with(
        logon("SM_0123456789abcdef0", 3, "10.1.2.50", ""),
        "TargetDomainName",
        Typed::text("CORP"),
    );
    assert_eq!(exchange(4624, &mailbox), Err(Reason::SystemAccount));
}

#[test]
fn rule_5_the_clock_of_the_source_is_corrected_and_never_ahead_of_arrival() {
    let mut ahead = settings(EventSourceKind::DomainController);
    ahead.skew = 60_000;
    let found = read(&ahead, 4768, &ticket("alice", 0, "10.1.2.50")).expect("an event");
    assert_eq!(found.occurred_at, UtcMillis(WRITTEN - 60_000));
    ahead.skew = -60_000;
    let found = read(&ahead, 4768, &ticket("alice", 0, "10.1.2.50")).expect("an event");
    assert_eq!(found.occurred_at, RECEIVED);
}

#[test]
fn no_record_has_two_meanings() {
    for (place, row) in WORTH.iter().enumerate() {
        let again = WORTH[place + 1..].iter().any(|other| {
            (other.id, other.logon_type, other.kind) == (row.id, row.logon_type, row.kind)
        });
        assert!(!again, "{row:?}");
    }
}

#[test]
fn rule_6_the_configured_worth_of_a_record_counts() {
    let changed = |kind, weight| {
        let mut settings = settings(EventSourceKind::DomainController);
        settings.conflict = Conflict::default().with(kind, weight);
        settings
    };
    let user = ticket("alice", 0, "10.1.2.50");
    let found = read(
        &changed(EvidenceKind::KerberosTicket, Weight::Weak),
        4768,
        &user,
    );
    let claim = found.expect("an event").claim;
    assert!(matches!(claim, Claim::Logon(logon) if logon.strength == Strength::Weak));
    let renews = changed(EvidenceKind::KerberosTicket, Weight::Renews);
    let found = read(&renews, 4768, &user).expect("an event");
    assert!(matches!(found.claim, Claim::Renewal { device: None, .. }));
    assert!(found.address.is_some());
    let machine = ticket("WS-0042$", 0, "10.1.2.50");
    let claim = read(&renews, 4768, &machine).expect("an event").claim;
    assert!(matches!(
        claim,
        Claim::DeviceLogon {
            strength: Strength::Weak,
            ..
        }
    ));
    let ignored = changed(EvidenceKind::KerberosTicket, Weight::Ignored);
    assert_eq!(read(&ignored, 4768, &user), Err(Reason::NoWorth));
    assert_eq!(read(&ignored, 4768, &machine), Err(Reason::NoWorth));
    let other = changed(EvidenceKind::NtlmValidation, Weight::Ignored);
    assert!(read(&other, 4768, &user).is_ok());
}
