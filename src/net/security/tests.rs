//! What can be known without a domain: tokens, names, keys, bindings, refusals. The lab signs on for real.

use super::kdc::fake::{answering, framed, krb_error};
use super::*;
use crate::net::resolve::Resolver;
use crate::wire::kerberos::code;
use proptest::prelude::*;

const DOMAIN: &str = "corp.example.com";

fn password(user: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        domain: DOMAIN.to_owned(),
        proof: Proof::Password("Passw0rd".to_owned().into()),
    }
}

fn negotiation(
    method: Method,
    credentials: &Credentials,
    host: &str,
    kdcs: &[String],
) -> Result<Negotiation, AuthError> {
    let target = Target {
        service: "host",
        host: host.to_owned(),
    };
    let kdcs = Kdcs::new(&Resolver::default(), DOMAIN, kdcs, host);
    Negotiation::new(method, credentials, &target, &Purpose::Rpc, kdcs)
}

/// What a sign-on by Kerberos comes to with these key distribution centres.
async fn refused(kdcs: &[String]) -> AuthError {
    let mut negotiation = negotiation(
        Method::Kerberos,
        &password("svc-jims"),
        "dc1.corp.example.com",
        kdcs,
    )
    .expect("a negotiation");
    negotiation.step(None).await.expect_err("refused")
}

#[test]
fn nothing_prints_a_password_or_a_key() {
    let mut credentials = password("svc-jims");
    assert!(!format!("{credentials:?}").contains("Passw0rd"));
    credentials.proof = Proof::Keytab(b"Passw0rd".to_vec().into());
    assert!(!format!("{credentials:?}").contains("80, 97"));
    let running = negotiation(Method::Ntlm, &password("CORP\\svc-jims"), "dc1", &[]);
    assert!(!format!("{running:?}").contains("Passw0rd"));
}

#[tokio::test]
async fn an_address_leaves_ntlm_only() {
    let credentials = password("svc-jims");
    for host in ["192.0.2.1", "2001:db8::1"] {
        let told = negotiation(Method::Kerberos, &credentials, host, &[]).expect_err("an address");
        assert!(matches!(told, AuthError::NeedsName { .. }), "{told}");
        let mut ntlm =
            negotiation(Method::Negotiate, &credentials, host, &[]).expect("a negotiation");
        assert_eq!(ntlm.auth_type(), 10);
        let step = ntlm.step(None).await.expect("a token");
        assert!(step.token.starts_with(b"NTLMSSP\0\x01"));
        assert!(!step.done);
        assert!(ntlm.finish().is_err(), "nothing is agreed yet");
    }
}

#[test]
fn an_account_is_told_to_the_library_in_its_own_form() {
    let upn = |name: &str, suffix: &str| Username::new_upn(name, suffix).expect("a name");
    let down = |domain: &str, name: &str| {
        Username::new_down_level_logon_name(name, domain).expect("a name")
    };
    let realm = "CORP.EXAMPLE.COM";
    let cases = [
        (Method::Kerberos, "svc", upn("svc", realm)),
        (Method::Kerberos, "CORP\\svc", upn("svc", realm)),
        (Method::Kerberos, "svc@corp.example.com", upn("svc", realm)),
        (Method::Negotiate, "svc@corp.Example.com", upn("svc", realm)),
        (Method::Kerberos, "svc@a.org", down(realm, "svc@a.org")),
        (Method::Ntlm, "CORP\\svc", down("CORP", "svc")),
        (Method::Ntlm, "svc@a.org", upn("svc", "a.org")),
        (Method::Ntlm, "svc", upn("svc", realm)),
    ];
    for (method, user, expected) in cases {
        match identity(method, &password(user)) {
            Ok(sspi::Credentials::AuthIdentity(found)) => {
                assert_eq!(found.username, expected, "{method:?} {user}");
            }
            other => panic!("{method:?} {user}: {other:?}"),
        }
    }
    let told = identity(Method::Ntlm, &password("CORP\\x\\y")).expect_err("no name");
    assert!(matches!(told, AuthError::Account { .. }), "{told}");
}

/// A keytab entry with a key of that byte.
fn entry(name: &str, version: u8, key_type: u16, byte: u8) -> Vec<u8> {
    let length: u16 = if key_type == 18 { 32 } else { 16 };
    let mut entry = vec![0, 1];
    for part in ["CORP.EXAMPLE.COM", name] {
        entry.extend(u16::try_from(part.len()).expect("short").to_be_bytes());
        entry.extend(part.as_bytes());
    }
    entry.extend([0, 0, 0, 1, 0, 0, 0, 0, version]);
    entry.extend(key_type.to_be_bytes());
    entry.extend(length.to_be_bytes());
    entry.extend(vec![byte; usize::from(length)]);
    let size = i32::try_from(entry.len()).expect("short").to_be_bytes();
    [&size[..], &entry].concat()
}

#[test]
fn the_newest_and_strongest_key_of_the_account_is_taken() {
    let keytab = [
        vec![5, 2],
        entry("svc", 2, 18, 1),
        entry("svc", 3, 23, 2),
        entry("svc", 3, 18, 3),
        entry("svc", 3, 17, 4),
        entry("other", 9, 18, 5),
    ]
    .concat();
    let key = best_key(&keytab, "SVC@CORP.EXAMPLE.COM").expect("a key");
    assert_eq!((key.version, key.key_type), (3, KeyType::Aes256));
    assert_eq!(key.bytes.as_slice(), [3; 32]);
    for (bytes, account) in [
        (&keytab[..], "nobody@CORP.EXAMPLE.COM"),
        (b"Passw0rd\n", "svc@CORP.EXAMPLE.COM"),
    ] {
        let told = best_key(bytes, account).expect_err("no key");
        assert!(matches!(told, AuthError::Keytab { .. }), "{told}");
    }
}

#[test]
fn a_sign_on_is_bound_to_the_hash_that_the_certificate_is_signed_with() {
    use sha2::Digest;
    let certificate = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let parameters = rcgen::CertificateParams::new(vec!["dc1".to_owned()]).expect("names");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        certificate.der().to_vec()
    };
    let bound = |certificate: &[u8], binding| {
        let purpose = Purpose::InsideTls {
            certificate: certificate.to_vec(),
            binding,
        };
        bindings(&purpose)
    };
    let short = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
    let long = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
    let cases = [
        (&short, sha2::Sha256::digest(&short).to_vec()),
        (&long, sha2::Sha384::digest(&long).to_vec()),
    ];
    for (certificate, hash) in cases {
        let bytes = bound(certificate, Binding::WithNtlm)
            .expect("bindings")
            .expect("some");
        let data = [&b"tls-server-end-point:"[..], &hash].concat();
        let length = u8::try_from(data.len()).expect("short");
        assert_eq!(bytes[..24], [0; 24]);
        assert_eq!(bytes[24..32], [length, 0, 0, 0, 32, 0, 0, 0]);
        assert_eq!(bytes[32..], data);
    }
    assert_eq!(bound(&short, Binding::Never), Ok(None));
    assert!(bound(b"no certificate", Binding::Always).is_err());
}

#[tokio::test]
async fn what_a_kdc_refuses_is_told_in_the_operators_words() {
    type Expected = fn(&AuthError) -> bool;
    let cases: [(u32, Expected); 8] = [
        (code::PREAUTHENTICATION_FAILED, |e| {
            matches!(e, AuthError::WrongPassword { .. })
        }),
        (code::CLIENT_UNKNOWN, |e| {
            matches!(e, AuthError::UnknownAccount { .. })
        }),
        (code::WRONG_REALM, |e| {
            matches!(e, AuthError::UnknownAccount { .. })
        }),
        (code::REVOKED, |e| matches!(e, AuthError::Revoked { .. })),
        (code::PASSWORD_EXPIRED, |e| {
            matches!(e, AuthError::PasswordExpired { .. })
        }),
        (
            code::ENCRYPTION,
            |e| matches!(e, AuthError::NoAesKeys { account } if account == "svc-jims"),
        ),
        (
            code::SKEW,
            |e| matches!(e, AuthError::ClockSkew { ahead_ms } if (3_540_000..3_660_000).contains(ahead_ms)),
        ),
        (
            60,
            |e| matches!(e, AuthError::Protocol { said } if said.contains("60")),
        ),
    ];
    for (number, expected) in cases {
        let kdc = answering(krb_error(number)).await;
        let told = refused(&[kdc]).await;
        assert!(expected(&told), "{number}: {told}");
        assert!(!told.remedy().is_empty() && !told.remedy().ends_with('.'));
    }
    let kdc = answering(framed(&[0x6b, 2, 0x30, 0])).await;
    let told = refused(&[kdc]).await;
    assert!(
        matches!(told, AuthError::NoPreauthentication { .. }),
        "{told}"
    );
}

#[tokio::test]
async fn the_next_kdc_is_asked_until_one_answers() {
    let unavailable = answering(krb_error(code::UNAVAILABLE)).await;
    let boasts = answering(vec![0x7f, 0xff, 0xff, 0xff]).await;
    let hangs_up = answering(Vec::new()).await;
    let answers = answering(krb_error(code::CLIENT_UNKNOWN)).await;
    let bad = [unavailable, boasts, hangs_up];
    let told = refused(&[&bad[..], &[answers]].concat()).await;
    assert!(matches!(told, AuthError::UnknownAccount { .. }), "{told}");
    let told = refused(&bad).await;
    let AuthError::NoKdc { realm, tried } = &told else {
        panic!("{told}");
    };
    assert_eq!((realm.as_str(), tried.len()), ("CORP.EXAMPLE.COM", 3));
    assert!(tried[0].contains("unavailable") && tried[1].contains("2147483647 bytes"));
}

#[tokio::test]
async fn negotiate_comes_to_ntlm_only_where_kerberos_has_nobody_to_ask() {
    let credentials = password("svc-jims");
    let host = "dc1.corp.example.com";
    let silent = answering(Vec::new()).await;
    let mut falls_back =
        negotiation(Method::Negotiate, &credentials, host, &[silent]).expect("a negotiation");
    let step = falls_back.step(None).await.expect("a token");
    assert!(step.token.windows(8).any(|window| window == b"NTLMSSP\0"));
    assert_eq!(falls_back.outcome().mechanism, "ntlm");
    // A wrong password would be wrong by NTLM too, and would count twice towards a lock-out.
    let refuses = answering(krb_error(code::PREAUTHENTICATION_FAILED)).await;
    let mut stays =
        negotiation(Method::Negotiate, &credentials, host, &[refuses]).expect("a negotiation");
    let told = stays.step(None).await.expect_err("refused");
    assert!(matches!(told, AuthError::WrongPassword { .. }), "{told}");
}

#[tokio::test]
async fn a_service_that_answers_with_an_error_is_understood() {
    let mut running = negotiation(
        Method::Kerberos,
        &password("svc-jims"),
        "dc1.corp.example.com",
        &[],
    )
    .expect("a negotiation");
    let answer = &krb_error(code::MODIFIED)[4..];
    let told = running.step(Some(answer)).await.expect_err("an error");
    assert!(
        matches!(&told, AuthError::WrongTicket { service } if service == "host/dc1.corp.example.com"),
        "{told}"
    );
    let answer = &krb_error(code::SKEW)[4..];
    let told = running.step(Some(answer)).await.expect_err("an error");
    assert!(matches!(told, AuthError::ClockSkew { ahead_ms } if ahead_ms > 3_500_000));
}

/// An NTLM challenge with a timestamp an hour ahead.
fn challenge() -> Vec<u8> {
    let filetime = u64::try_from(utc_now().0 + 3_600_000).expect("after 1970") * 10_000
        + 116_444_736_000_000_000;
    let pairs = [
        &[2, 0, 4, 0, b'C', 0, b'O', 0, 7, 0, 8, 0][..],
        &filetime.to_le_bytes(),
        &[0; 4],
    ]
    .concat();
    let length = u8::try_from(pairs.len()).expect("short");
    let mut message = b"NTLMSSP\0\x02\0\0\0".to_vec();
    message.resize(40, 0);
    message.extend([length, 0, length, 0, 48, 0, 0, 0]);
    message.extend(pairs);
    message
}

#[test]
fn the_clock_is_read_from_a_challenge() {
    let wrapped = [&b"\xa1\x40 spnego "[..], &challenge()].concat();
    let offset = context::ntlm_clock(&wrapped).expect("a clock");
    assert!((3_590_000..=3_600_000).contains(&offset), "{offset}");
    assert_eq!(context::ntlm_clock(b"NTLMSSP\0\x02\0\0\0"), None);
}

proptest! {
    #[test]
    fn no_challenge_breaks_the_clock(cut: usize, at: usize, to: u8) {
        let mut message = challenge();
        let length = message.len();
        message[at % length] = to;
        message.truncate(cut % (length + 1));
        let _ = context::ntlm_clock(&message);
    }
}
