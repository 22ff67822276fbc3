//! The rules of onboarding, one by one.

use super::*;

const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
const HOUR: Duration = DEFAULT_EXPIRY;

fn address() -> IpAddr {
    "192.0.2.7".parse().expect("address")
}

/// The secret half of a code, as it is sent.
fn code(number: u8) -> String {
    data_encoding::HEXLOWER.encode(&[number; 16])
}

fn asked(number: u8, who: &str) -> Onboard {
    Onboard {
        protocol: 1,
        invitation: code(number),
        client_id: format!("collector-{who}"),
        client_secret: format!("{who:-<64}"),
        collector: Introduction {
            name: "branch".into(),
            version: "1.0.0".into(),
            description: String::new(),
        },
        sent_at: NOW.0,
    }
}

fn invited() -> Registry {
    let mut registry = Registry::default();
    let scope = ScopeText::default();
    let expires = registry.invite("berlin", hash(&code(1)), HOUR, scope, NOW);
    assert_eq!(expires, Ok(NOW.after(HOUR)));
    registry
}

fn onboard(registry: &mut Registry, asked: &Onboard, now: UtcMillis) -> Result<String, Reason> {
    let taken = |id: &str| id == "collector-firewall";
    let onboarded = registry.onboard(asked, address(), taken, now);
    onboarded.map_err(|(reason, _)| reason)
}

#[test]
fn rule_26_the_same_registration_is_answered_alike_until_the_invitation_expires() {
    let mut registry = invited();
    let later = NOW.after(HOUR / 2);
    for _ in 0..3 {
        assert_eq!(
            onboard(&mut registry, &asked(1, "a"), later),
            Ok("berlin".into())
        );
    }
    assert_eq!(registry.collectors().len(), 1);
    let over = NOW.after(HOUR);
    assert_eq!(
        onboard(&mut registry, &asked(1, "a"), over),
        Err(Reason::ExpiredInvitation)
    );
    assert_eq!(registry.collectors().len(), 1, "it stays onboarded");
}

#[test]
fn rule_26_the_same_code_with_another_secret_or_id_is_refused() {
    let mut registry = invited();
    assert!(onboard(&mut registry, &asked(1, "a"), NOW).is_ok());
    let used = Err(Reason::UsedInvitation);
    assert_eq!(onboard(&mut registry, &asked(1, "b"), NOW), used);
    let mut other = asked(1, "a");
    other.client_secret = "x".repeat(64);
    assert_eq!(onboard(&mut registry, &other, NOW), used);
    let mut other = asked(1, "b");
    other.client_secret = asked(1, "a").client_secret;
    assert_eq!(onboard(&mut registry, &other, NOW), used);
}

#[test]
fn unknown_expired_and_revoked_invitations_are_told_apart() {
    let mut registry = invited();
    let unknown = onboard(&mut registry, &asked(9, "a"), NOW);
    assert_eq!(unknown, Err(Reason::UnknownInvitation));
    let late = onboard(&mut registry, &asked(1, "a"), NOW.after(HOUR));
    assert_eq!(late, Err(Reason::ExpiredInvitation));
    registry.revoke("berlin", NOW).expect("it is open");
    let back = onboard(&mut registry, &asked(1, "a"), NOW);
    assert_eq!(back, Err(Reason::RevokedInvitation));
    let again = registry.revoke("berlin", NOW);
    assert_eq!(again, Err(RegistryError::NoInvitation("berlin".into())));
}

#[test]
fn rule_23_client_ids_are_unique_over_all_roles() {
    let mut registry = invited();
    let taken = Err(Reason::ClientIdTaken);
    assert_eq!(onboard(&mut registry, &asked(1, "firewall"), NOW), taken);
    assert!(onboard(&mut registry, &asked(1, "a"), NOW).is_ok());
    let scope = ScopeText::default();
    let second = registry.invite("paris", hash(&code(2)), HOUR, scope, NOW);
    assert!(second.is_ok());
    assert_eq!(onboard(&mut registry, &asked(2, "a"), NOW), taken);
    assert!(
        onboard(&mut registry, &asked(2, "b"), NOW).is_ok(),
        "refusing left the invitation open"
    );
}

#[test]
fn names_are_unique_and_free_again_when_nobody_has_them() {
    let mut registry = invited();
    let again = |registry: &mut Registry, now| {
        registry.invite("Berlin", hash(&code(3)), HOUR, ScopeText::default(), now)
    };
    let taken = Err(RegistryError::NameTaken("Berlin".into()));
    assert_eq!(again(&mut registry, NOW), taken);
    assert!(onboard(&mut registry, &asked(1, "a"), NOW).is_ok());
    assert_eq!(
        again(&mut registry, NOW.after(2 * HOUR)),
        taken,
        "onboarded"
    );
    registry.remove("berlin").expect("it is there");
    assert!(again(&mut registry, NOW).is_ok());
}

#[test]
fn who_was_removed_does_not_come_back_with_the_old_code() {
    let mut registry = invited();
    assert!(onboard(&mut registry, &asked(1, "a"), NOW).is_ok());
    registry.remove("berlin").expect("it is there");
    let back = onboard(&mut registry, &asked(1, "a"), NOW);
    assert_eq!(back, Err(Reason::RevokedInvitation));
}

#[test]
fn bounds_are_kept() {
    let mut registry = Registry::default();
    let mut invite =
        |name: &str, life| registry.invite(name, hash(&code(1)), life, ScopeText::default(), NOW);
    for bad in ["", "a/b", "a b", "é", &"a".repeat(65)] {
        let refused = invite(bad, HOUR);
        assert_eq!(refused, Err(RegistryError::BadName(bad.into())));
    }
    assert_eq!(
        invite("a", Duration::from_secs(59)),
        Err(RegistryError::BadExpiry(59))
    );
    assert!(invite("a", LONGEST_EXPIRY + Duration::from_secs(1)).is_err());
    assert!(invite("a", SHORTEST_EXPIRY).is_ok());
    assert!(invite(&"a".repeat(64), LONGEST_EXPIRY).is_ok());
}

#[test]
fn a_registration_that_is_none_is_refused_before_its_code_is_looked_at() {
    let mut registry = invited();
    let spoil: [fn(&mut Onboard); 4] = [
        |asked| asked.invitation = "A".repeat(32),
        |asked| asked.invitation.push('0'),
        |asked| asked.client_id = "with space".into(),
        |asked| asked.client_secret = "short".into(),
    ];
    for spoil in spoil {
        let mut asked = asked(1, "a");
        spoil(&mut asked);
        let refused = onboard(&mut registry, &asked, NOW);
        assert_eq!(refused, Err(Reason::InvalidRequest), "{asked:?}");
    }
}

#[test]
fn the_oldest_that_are_over_make_room_and_open_ones_do_not() {
    let mut registry = Registry::default();
    let mut invite = |number: usize, now| {
        let name = format!("c{number}");
        let secret = hash(&name);
        registry.invite(&name, secret, HOUR, ScopeText::default(), now)
    };
    for number in 0..MAX_INVITATIONS {
        assert!(invite(number, NOW).is_ok());
    }
    assert_eq!(invite(5000, NOW), Err(RegistryError::TooMany));
    let later = NOW.after(2 * HOUR);
    assert!(invite(5001, later).is_ok());
    assert!(invite(5002, later.after(2 * REMEMBERED)).is_ok());
    assert_eq!(registry.invitations().len(), 1, "the rest is long over");
}

#[test]
fn an_operator_disables_and_describes() {
    let mut registry = invited();
    assert!(onboard(&mut registry, &asked(1, "a"), NOW).is_ok());
    registry.enable("berlin", false).expect("it is there");
    registry.describe("berlin", " the lab ").expect("a text");
    let one = registry.collector("berlin").expect("it is there");
    assert!(!one.enabled);
    assert_eq!(one.description, "the lab");
    let forged = registry.describe("berlin", "two\nlines");
    assert_eq!(forged, Err(RegistryError::BadDescription));
    let none = registry.enable("paris", true);
    assert_eq!(none, Err(RegistryError::NoCollector("paris".into())));
}

#[test]
fn rule_3_what_a_collector_says_of_itself_is_cut_and_cannot_forge_a_line() {
    let mut registry = invited();
    let mut asked = asked(1, "a");
    asked.collector.name = "two\nlines\u{202e} ".into();
    asked.collector.description = "é".repeat(200);
    assert!(onboard(&mut registry, &asked, NOW).is_ok());
    let introduction = &registry.collectors()[0].introduction;
    assert_eq!(introduction.name, "two lines");
    assert_eq!(introduction.description.len(), MAX_TEXT);
}
