//! Who may ask the Server, and what it does with everything else: tokens, refusals, abuse.

use std::io::Read as _;
use std::time::Duration;

use jims::runtime::clock;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server_site::{FIREWALL, GUARD, SECRET, Site, login, table, told};

const ENDPOINTS: &str = "/user_query/v2/users/endpoints";

#[tokio::test]
async fn a_token_is_given_for_form_json_and_basic() {
    let site = Site::start().await;
    let client = site.client_from(FIREWALL);
    let form = login(&site, &client, SECRET).await;
    assert_eq!(form.status(), 200);
    assert_eq!(form.headers()["cache-control"], "no-store");
    let given: Value = form.json().await.unwrap();
    assert_eq!(
        (&given["token_type"], &given["expires_in"]),
        (&"Bearer".into(), &28_800.into())
    );
    let token = given["access_token"].as_str().unwrap();
    assert_eq!(token.len(), 36, "a GUID");

    let body = serde_json::json!({
        "grant_type": "client_credentials", "client_id": "srx-1", "client_secret": SECRET
    });
    let json = client
        .post(site.url("/oauth_token/oauth"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(json.status(), 200);
    let basic = client
        .post(site.url("/oauth_token/oauth"))
        .basic_auth("srx-1", Some(SECRET))
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    assert_eq!(basic.status(), 200);
    let second: Value = basic.json().await.unwrap();
    for token in [token, second["access_token"].as_str().unwrap()] {
        let answer = client
            .get(site.url(ENDPOINTS))
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "tokens are good together");
    }
    assert_eq!(site.server.points()[0].tokens, 3);
}

#[tokio::test]
async fn without_a_good_token_it_is_401_and_every_path_has_a_twin() {
    let site = Site::start().await;
    let client = site.client_from(FIREWALL);
    let guess = uuid::Uuid::new_v4().to_string();
    for path in [
        ENDPOINTS,
        "/user_query/v2/ip/10.1.1.1",
        "/user_query/v2/user?id=alice",
    ] {
        for prefix in ["", "/api"] {
            let url = site.url(&format!("{prefix}{path}"));
            let none = client.get(&url).send().await.unwrap();
            assert_eq!(none.status(), 401);
            assert_eq!(none.headers()["www-authenticate"], "Bearer");
            let wrong = client.get(&url).bearer_auth(&guess).send().await.unwrap();
            assert_eq!(wrong.status(), 401);
            let firewall = site.firewall().await;
            let right = client
                .get(&url)
                .bearer_auth(&firewall.token)
                .send()
                .await
                .unwrap();
            assert_eq!(right.status(), 200);
        }
    }
}

#[tokio::test]
async fn rule_31_strangers_get_403_without_body_and_are_listed() {
    let site = Site::start().await;
    let token = site.firewall().await.token;
    let stranger = site.client_from("127.77.4.99");
    for path in [ENDPOINTS, "/nonsense", "/api/oauth_token/oauth"] {
        let answer = stranger
            .get(site.url(path))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.text().await.unwrap(), "");
    }
    assert_eq!(login(&site, &stranger, SECRET).await.status(), 403);
    let listed = site.strangers.read();
    assert_eq!((listed.len(), listed[0].count), (1, 4));
    assert_eq!(listed[0].address.to_string(), "127.77.4.99");
    for path in ["/healthz", "/readyz"] {
        let answer = stranger.get(site.url(path)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.text().await.unwrap()),
            (200, String::new())
        );
    }
    assert!(
        site.server.unknown_requests().is_empty(),
        "strangers fill no list"
    );
}

#[tokio::test]
async fn rule_31_failed_logins_delay_one_address_and_lock_nobody_else_out() {
    let site = Site::start().await;
    let guesser = site.client_from("127.77.4.12");
    let mut last = 0;
    for _ in 0..8 {
        let answer = login(&site, &guesser, "guess").await;
        last = answer.status().as_u16();
        if last == 429 {
            let wait: u64 = answer.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((1..=60).contains(&wait));
            break;
        }
        assert_eq!(last, 401);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, serde_json::json!({"error": "invalid_client"}));
    }
    assert_eq!(last, 429);
    assert_eq!(
        login(&site, &guesser, SECRET).await.status(),
        429,
        "even the right one waits"
    );
    let firewall = site.client_from(FIREWALL);
    assert_eq!(login(&site, &firewall, SECRET).await.status(), 200);
}

#[tokio::test]
async fn rule_15_before_ready_queries_are_503_and_tokens_are_given() {
    let site = Site::start_with("", table(1, &[])).await;
    let firewall = site.firewall().await;
    for path in [
        ENDPOINTS,
        "/user_query/v2/ip/10.1.1.1",
        "/user_query/v2/user?id=x",
        "/readyz",
    ] {
        let answer = firewall.ask(path).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
    }
    assert_eq!(firewall.ask("/healthz").await.status(), 200);
    site.become_ready();
    assert_eq!(firewall.ask(ENDPOINTS).await.status(), 200);
    assert_eq!(firewall.ask("/readyz").await.status(), 200);
}

#[tokio::test]
async fn what_is_not_understood_is_400_and_kept_for_the_operator() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    for path in [
        "/user_query/v2/users/endpoints?entry_count=none",
        "/user_query/v2/users/endpoints?begintime=yesterday",
        "/user_query/v2/users/endpoints?include-ip=10.0.0.0/99",
        "/user_query/v2/ip/not-an-address",
        "/user_query/v2/ip/10.0.0.1/more",
        "/user_query/v2/ip/..%2f..%2fetc",
        "/user_query/v2/ip/%ff%fe",
        "/user_query/v2/user?domain=only",
        "/user_query/v3/users",
        "//user_query/v2/user?id=x",
        "/api/api/user_query/v2/user?id=x",
    ] {
        let answer = firewall.ask(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"], "invalid_request", "{path}");
        assert!(body["error_description"].is_string());
    }
    let odd = firewall
        .client
        .put(site.url("/user_query/v2/user?access_token=hush"))
        .body(r#"{"want":"everything","client_secret":"hush"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(odd.status(), 400);
    let kept = site.server.unknown_requests();
    assert_eq!(kept.len(), 12);
    let put = kept.iter().find(|r| r.method == "PUT").unwrap();
    assert_eq!(
        (put.point.as_str(), put.address.to_string().as_str()),
        ("srx", FIREWALL)
    );
    assert!(put.body.contains("everything"), "{put:?}");
    assert!(!format!("{kept:?}").contains("hush"));

    assert_eq!(
        firewall
            .ask(&format!("{ENDPOINTS}?flavour=mint"))
            .await
            .status(),
        200
    );
    let kept = site.server.unknown_requests();
    assert!(
        kept.iter().any(|r| r.reason.contains("flavour")),
        "{kept:?}"
    );
}

#[tokio::test]
async fn a_token_request_that_is_none_says_so() {
    let site = Site::start().await;
    let client = site.client_from(FIREWALL);
    for (body, error) in [
        ("", "unsupported_grant_type"),
        (
            "grant_type=password&client_id=a&client_secret=b",
            "unsupported_grant_type",
        ),
        (
            "grant_type=client_credentials&client_id=a",
            "invalid_request",
        ),
        ("{\"grant_type\":", "invalid_request"),
    ] {
        let answer = client
            .post(site.url("/oauth_token/oauth"))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"], error, "{body}");
    }
}

#[tokio::test]
async fn rule_23_a_changed_secret_revokes_tokens_and_a_broken_one_changes_nothing() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.reload("").await;
    assert_eq!(
        firewall.ask(ENDPOINTS).await.status(),
        200,
        "nothing changed"
    );

    let path = site.folder.path().join("secret");
    let config = site.config("");
    std::fs::remove_file(&path).unwrap();
    let error = site.server.reload(&config).await.unwrap_err();
    assert!(
        error.to_string().contains("enforcement point srx"),
        "{error}"
    );
    assert!(!error.remedy().is_empty());
    assert_eq!(
        firewall.ask(ENDPOINTS).await.status(),
        200,
        "the old one stays"
    );

    site.write_secret("secret", "another secret");
    site.reload("").await;
    assert_eq!(firewall.ask(ENDPOINTS).await.status(), 401);
    assert_eq!(login(&site, &firewall.client, SECRET).await.status(), 401);
    assert_eq!(
        login(&site, &firewall.client, "another secret")
            .await
            .status(),
        200
    );
    assert_eq!(site.server.points()[0].tokens, 1);
}

#[tokio::test]
async fn rule_23_two_secrets_are_good_while_one_replaces_the_other() {
    const NEXT: &str = "the next secret";
    let next = |site: &Site| {
        let path = site.folder.path().join("secret.next");
        format!("next_client_secret_file = \"{}\"", path.display())
    };
    let site = Site::start().await;
    let firewall = site.firewall().await;
    site.write_secret("secret.next", NEXT);
    let client = &firewall.client;
    assert_eq!(login(&site, client, NEXT).await.status(), 401, "not yet");

    site.reload(&next(&site)).await;
    assert_eq!(login(&site, client, SECRET).await.status(), 200);
    let answer: Value = login(&site, client, NEXT).await.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let ask = async |token: &str| {
        let request = client.get(site.url(ENDPOINTS)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(token).await, 200);
    assert_eq!(ask(&firewall.token).await, 200, "the old one still");

    site.write_secret("secret", NEXT);
    site.reload("").await;
    assert_eq!(ask(token).await, 200, "nothing to do for the firewall");
    assert_eq!(ask(&firewall.token).await, 401, "its secret is gone");
    assert_eq!(login(&site, client, SECRET).await.status(), 401);
}

#[tokio::test]
async fn tokens_end_with_their_life_and_survive_in_a_snapshot() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let now = clock::utc_now();
    let mut records = site.server.access().export_tokens(now);
    assert_eq!(records.len(), 1);
    let again = Site::start().await;
    let ask = async || {
        let client = again.client_from(FIREWALL);
        let request = client
            .get(again.url(ENDPOINTS))
            .bearer_auth(&firewall.token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 401);
    records[0].expires = now.before(Duration::from_secs(1));
    again.server.access().import_tokens(records, now);
    assert_eq!(ask().await, 401, "over");
    let records = site.server.access().export_tokens(now);
    again.server.access().import_tokens(records, now);
    assert_eq!(ask().await, 200);
}

#[tokio::test]
async fn a_huge_body_a_huge_head_and_a_stream_without_end_are_refused() {
    let site = Site::start().await;
    let client = site.client_from(FIREWALL);
    let huge = client
        .post(site.url("/oauth_token/oauth"))
        .body(vec![b'x'; 1 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(huge.status(), 413);
    let long = client
        .get(site.url(&format!("{ENDPOINTS}?cookie={}", "A".repeat(100_000))))
        .send()
        .await;
    assert!(long.is_err() || long.unwrap().status().is_client_error());
    assert_eq!(
        login(&site, &client, SECRET).await.status(),
        200,
        "still there"
    );
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_closed_and_a_stop_ends_all() {
    let site = Site::start().await;
    let mut plain = tokio::net::TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(GUARD, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(!answer.starts_with(b"HTTP"));
    let idle = site.firewall().await;
    assert!(site.stop().await.is_empty());
    let refused = idle.client.get(site.url("/healthz")).send().await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn another_certificate_is_used_without_a_restart() {
    let site = Site::start().await;
    let before = site.server.certificate();
    let other = tempfile::tempdir().unwrap();
    let whom = jims::net::self_signed::SelfSigned {
        names: vec!["other.example.com".to_owned()],
        addresses: vec![site.address.ip()],
    };
    let now = clock::utc_now();
    let files = jims::net::self_signed::self_signed(other.path(), &whom, now).unwrap();
    let own = site.folder.path().join("state/tls");
    let key = own.join("server.key");
    std::fs::write(&key, "broken").unwrap();
    assert!(site.server.reload_certificate().is_err());
    assert_eq!(site.server.certificate(), before, "the old one stays");
    assert_eq!(
        site.client_from(FIREWALL)
            .get(site.url("/healthz"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    std::fs::copy(&files.key, &key).unwrap();
    std::fs::copy(&files.certificate, own.join("server.pem")).unwrap();
    let ca = jims::net::self_signed::ca_certificate(other.path());
    std::fs::copy(ca, own.join("self-signed.pem")).unwrap();
    assert!(site.server.reload_certificate().unwrap());
    let trusting_the_new = site.client_from(FIREWALL);
    let answer = trusting_the_new
        .get(site.url("/healthz"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

/// A CA of the clients, in a file, and what it issues.
pub(crate) struct ClientCa(rcgen::Issuer<'static, rcgen::KeyPair>);

impl ClientCa {
    pub(crate) fn new(file: &std::path::Path) -> Self {
        let key = rcgen::KeyPair::generate().expect("made");
        let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("made");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(file, ca.self_signed(&key).expect("made").pem()).expect("made");
        Self(rcgen::Issuer::new(ca, key))
    }

    /// Certificate and key in PEM form.
    pub(crate) fn identity(&self, name: &str) -> reqwest::Identity {
        let key = rcgen::KeyPair::generate().expect("made");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("made");
        let certificate = params.signed_by(&key, &self.0).expect("made");
        reqwest::Identity::from_pem((certificate.pem() + &key.serialize_pem()).as_bytes())
            .expect("made")
    }
}

#[tokio::test]
async fn a_point_with_a_client_certificate_must_show_it() {
    let site = Site::start().await;
    let firewall = site.firewall().await;
    let ca_file = site.folder.path().join("clients-ca.pem");
    let (ours, foreign) = (
        ClientCa::new(&ca_file),
        ClientCa::new(&site.folder.path().join("foreign-ca.pem")),
    );
    let server = format!("client_ca_file = \"{}\"", ca_file.display());
    site.reload_server(&server, "").await;
    let status = async |client: &reqwest::Client| {
        let request = client.get(site.url(ENDPOINTS)).bearer_auth(&firewall.token);
        request.send().await.map(|answer| answer.status().as_u16())
    };
    let none = site.client_from(FIREWALL);
    assert_eq!(
        status(&none).await.unwrap(),
        200,
        "who needs none is asked for none"
    );

    site.reload_server(&server, "client_certificate = \"SRX-1.example.com\"")
        .await;
    let with = |identity| site.client_with(FIREWALL, Some(identity));
    assert_eq!(
        status(&with(ours.identity("srx-1.example.com")))
            .await
            .unwrap(),
        200
    );
    let none = site.client_from(FIREWALL);
    assert_eq!(status(&none).await.unwrap(), 403);
    let other = with(ours.identity("srx-2.example.com"));
    assert_eq!(status(&other).await.unwrap(), 403, "another name");
    assert!(
        status(&with(foreign.identity("srx-1.example.com")))
            .await
            .is_err(),
        "no handshake"
    );
    let refused = login(&site, &none, SECRET).await;
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.bytes().await.unwrap().len()
        ),
        (403, 0)
    );
    let reading = &site.server.points()[0];
    assert_eq!(
        reading.last_refused.map(|(_, why)| why),
        Some("no-certificate")
    );
    assert!(site.strangers.read().is_empty(), "it is no stranger");
}

#[tokio::test]
async fn a_long_answer_comes_with_gzip_if_the_request_takes_it() {
    let site = Site::start().await;
    for number in 1..=40 {
        site.log_on("alice", &format!("10.1.2.{number}")).await;
    }
    let firewall = site.firewall().await;
    let ask = async |path: &str, codings: &str| {
        let request = firewall.client.get(site.url(path));
        let request = request.bearer_auth(&firewall.token);
        let answer = request.header("Accept-Encoding", codings).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let coding = answer.headers().get("content-encoding").cloned();
        (coding, answer.bytes().await.unwrap())
    };
    let all = "/user_query/v2/users/endpoints?entry_count=40";
    let (coding, plain) = ask(all, "identity").await;
    assert!(coding.is_none());
    let (coding, packed) = ask(all, "br, gzip;q=0.8").await;
    assert_eq!(coding.unwrap(), "gzip");
    assert!(packed.len() < plain.len() / 2);
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*packed);
    decoder.read_to_end(&mut unpacked).unwrap();
    let entries = |body: &[u8]| {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
        told(&answer)
    };
    assert_eq!(entries(&unpacked), entries(&plain));
    let (coding, _) = ask("/user_query/v2/ip/10.1.2.1", "gzip").await;
    assert!(coding.is_none(), "a short one comes as it is");
    site.stop().await;
}
