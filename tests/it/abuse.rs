//! What a hostile network can do to the Server: every attack is refused as it should be and counted, and the firewall
//! that behaves never notices.
//!
//! Over real TLS on loopback. Waits of the Server are made short by [`Limits`], so that no test has to sit them out.

use std::net::IpAddr;
use std::time::Duration;

use jims::net::http::Limits;
use jims::runtime::clock;
use tokio::io::AsyncReadExt;

use crate::abuse_site::{Meter, Wire, dial, statuses};
use crate::server_site::{FIREWALL, GUARD, SECRET, Site, table};

const ENDPOINTS: &str = "/user_query/v2/users/endpoints";
/// An address of the configured firewall from which the good one does not call.
const OTHER: &str = "127.77.4.12";
/// A second firewall.
const SECOND: &str = "127.77.4.20";
const STRANGER: &str = "127.77.4.99";
/// How long the good firewall may have to wait while everything else goes on, on a busy machine.
const BOUND: Duration = Duration::from_secs(10);

/// Two firewalls and a session, with short waits.
async fn site() -> Site {
    let limits = Limits {
        handshake: Duration::from_millis(300),
        head: Duration::from_millis(300),
        request: Duration::from_millis(600),
        ..Limits::default()
    };
    within(limits).await
}

async fn within(limits: Limits) -> Site {
    let second = format!(
        "[[enforcement_point]]\nname = \"second\"\naddresses = [\"{SECOND}\", \"127.77.80.0/20\"]\nclient_id = \"srx-2\"\n\
         client_secret_file = \"secret\""
    );
    let site = Site::start_within(limits, &second, table(1, &[])).await;
    site.become_ready();
    site.log_on("alice", "10.1.0.1").await;
    site
}

/// The good firewall logs in and asks, soon enough.
async fn unharmed(site: &Site) -> Duration {
    let begun = clock::monotonic_now();
    let firewall = site.firewall().await;
    let (told, _) = firewall.batch("begintime=0").await;
    assert_eq!(told, ["login 10.1.0.1 alice"]);
    let took = begun.elapsed();
    assert!(took < BOUND, "{took:?}");
    took
}

/// A request as bytes; the connection ends after it.
fn request(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n").into_bytes()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_token_is_good_for_nobody_but_its_client_at_its_address() {
    let meter = Meter::start();
    let site = site().await;
    let token = site.firewall().await.token;
    let own = bearer(&token);
    let guess = bearer(&uuid::Uuid::new_v4().to_string());
    let twice = format!("{own}{guess}");
    let as_basic = format!("Authorization: Basic {token}\r\n");
    for (from, headers, status) in [
        (FIREWALL, own.as_str(), 200),
        // Another address of the same client: it may call from there.
        (OTHER, &own, 200),
        (FIREWALL, "", 401),
        (FIREWALL, &guess, 401),
        (FIREWALL, "Authorization: Bearer\r\n", 401),
        (FIREWALL, "Authorization: Bearer \r\n", 401),
        (FIREWALL, &as_basic, 401),
        (FIREWALL, &format!("X-Auth: {token}\r\n"), 401),
        (FIREWALL, &format!("Cookie: access_token={token}\r\n"), 401),
        (FIREWALL, &bearer(&token.to_uppercase()), 401),
        (FIREWALL, &bearer(&format!("{token}x")), 401),
        (FIREWALL, &bearer(&"a".repeat(20_000)), 401),
        // Stolen: shown by another firewall, and by a stranger.
        (SECOND, &own, 401),
        (STRANGER, &own, 403),
        (STRANGER, &twice, 403),
    ] {
        let answer = Wire::ask(&site, from, &request(ENDPOINTS, headers)).await;
        assert_eq!(statuses(&answer), [status], "{from} {headers}: {answer}");
        assert_eq!(answer.contains("alice"), status == 200, "{answer}");
    }
    assert_eq!(meter.queries("stranger"), 2);
    assert_eq!(meter.queries("unauthorized"), 11);
    // A client id with the right secret, from the address of another.
    let form = format!(
        "grant_type=client_credentials&client_id=srx-2&client_secret={}",
        SECRET.replace(' ', "+")
    );
    let login = format!(
        "POST /oauth_token/oauth HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    for (from, status) in [(SECOND, 200), (FIREWALL, 401), (STRANGER, 403)] {
        let answer = Wire::ask(&site, from, login.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{from}: {answer}");
    }
    unharmed(&site).await;
}

#[tokio::test]
async fn bodies_without_end_are_cut_off() {
    let meter = Meter::start();
    let site = site().await;
    let head = |more: &str| {
        format!("POST /oauth_token/oauth HTTP/1.1\r\nHost: x\r\n{more}\r\n\r\n").into_bytes()
    };
    // Announced: refused before it is sent.
    for length in ["65537", "1000000000000", "18446744073709551615"] {
        let mut wire = Wire::open(&site, FIREWALL).await;
        wire.write(&head(&format!("Content-Length: {length}")))
            .await;
        let status = statuses(&wire.answer().await);
        assert!(matches!(status[..], [413 | 431]), "{length}: {status:?}");
    }
    for length in ["18446744073709551616", "-1", "1,1", "0x10", "+5", "ten"] {
        let answer = Wire::ask(&site, FIREWALL, &head(&format!("Content-Length: {length}"))).await;
        assert_eq!(statuses(&answer), [400], "{length}: {answer}");
    }
    // Not announced: cut off when it is too much, wherever it goes.
    for target in ["/oauth_token/oauth", "/nowhere", ENDPOINTS] {
        let mut wire = Wire::open(&site, FIREWALL).await;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.write(head.as_bytes()).await;
        let chunk = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
        let mut sent = 0_usize;
        while sent < 64 << 20 && wire.write(&chunk).await {
            sent += chunk.len();
        }
        assert!(sent < 64 << 20, "{target} took {sent} bytes");
        let answer = wire.rest().await;
        assert!(!answer.contains(" 200 "), "{target}: {answer}");
    }
    assert!(meter.queries("invalid") >= 1);
    unharmed(&site).await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let _meter = Meter::start();
    let site = site().await;
    let many = (0..1000).fold(String::new(), |all, n| format!("{all}X-{n}: y\r\n"));
    let huge = format!("X-Huge: {}\r\n", "y".repeat(1 << 20));
    let long = format!("{ENDPOINTS}?cookie={}", "A".repeat(1 << 20));
    for bytes in [
        request(ENDPOINTS, &many),
        request(ENDPOINTS, &huge),
        request(&long, ""),
    ] {
        let answer = Wire::ask(&site, FIREWALL, &bytes).await;
        let statuses = statuses(&answer);
        let refused = matches!(statuses[..], [] | [414 | 431]);
        assert!(refused, "{statuses:?}: {answer}");
    }
    // Just within the bounds it is an ordinary request.
    let allowed = (0..80).fold(String::new(), |all, n| format!("{all}X-{n}: y\r\n"));
    let answer = Wire::ask(&site, FIREWALL, &request(ENDPOINTS, &allowed)).await;
    assert_eq!(statuses(&answer), [401]);
    unharmed(&site).await;
}

#[tokio::test]
async fn whoever_is_slow_is_left() {
    let meter = Meter::start();
    let site = site().await;
    // A handshake that never begins, and one that never ends.
    for hello in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut plain = dial(FIREWALL, site.address).await.expect("connected");
        tokio::io::AsyncWriteExt::write_all(&mut plain, hello)
            .await
            .expect("sent");
        let mut nothing = Vec::new();
        let closed = tokio::time::timeout(GUARD, plain.read_to_end(&mut nothing)).await;
        let _closed_or_reset = closed.expect("the Server closes");
        assert!(nothing.is_empty(), "{nothing:?}");
    }
    assert_eq!(meter.refused("handshake-late"), 2);
    // A head that drips: the time of the whole counts, not of each byte.
    let mut wire = Wire::open(&site, FIREWALL).await;
    let begun = clock::monotonic_now();
    let drip = async {
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
            .iter()
            .cycle()
        {
            if !wire.write(&[*byte]).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(GUARD, drip)
        .await
        .expect("the Server closes");
    assert!(begun.elapsed() < GUARD);
    // A body that drips is answered with a timeout.
    let mut wire = Wire::open(&site, FIREWALL).await;
    wire.write(b"POST /oauth_token/oauth HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\ng")
        .await;
    let answer = wire.rest().await;
    assert_eq!(statuses(&answer), [408], "{answer}");
    // Nothing after the handshake; half of what HTTP/2 begins with; all of it, and then nothing.
    for begun in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut wire = Wire::open(&site, FIREWALL).await;
        wire.write(begun).await;
        let answer = wire.rest().await;
        assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
    }
    assert!(meter.refused("silent") >= 1);
    unharmed(&site).await;
}

/// Requests that hide another one, or are none.
fn malformed(token: &str) -> Vec<String> {
    let hidden = format!(
        "GET {ENDPOINTS} HTTP/1.1\r\nHost: x\r\n{}\r\n",
        bearer(token)
    );
    let post = "POST /oauth_token/oauth HTTP/1.1\r\nHost: x\r\n";
    vec![
        format!(
            "{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ),
        format!(
            "{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            hidden.len() + 5
        ),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post}Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post}Content-Length: 5\r\n 0\r\n\r\n{hidden}"),
        format!(
            "GET {ENDPOINTS}\0 HTTP/1.1\r\nHost: x\r\n{}\r\n",
            bearer(token)
        ),
        format!(
            "GET {ENDPOINTS} HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n{}\r\n",
            bearer(token)
        ),
        format!(
            "GET {ENDPOINTS} HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n{}\r\n",
            bearer(token)
        ),
        format!(
            "GET {ENDPOINTS} HTTP/9.9\r\nHost: x\r\n{}\r\n",
            bearer(token)
        ),
        format!(
            "GET  {ENDPOINTS}  HTTP/1.1\r\nHost: x\r\n{}\r\n",
            bearer(token)
        ),
        format!(
            "GET\t{ENDPOINTS}\tHTTP/1.1\r\nHost: x\r\n{}\r\n",
            bearer(token)
        ),
        format!("GET {ENDPOINTS}\r\n{}\r\n", bearer(token)),
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "\r\n".repeat(40_000),
    ]
}

#[tokio::test]
async fn http_that_is_none_is_refused_and_smuggles_nothing() {
    let meter = Meter::start();
    let site = site().await;
    let token = site.firewall().await.token;
    let before = meter.queries("ok");
    for attack in malformed(&token) {
        let answer = Wire::ask(&site, FIREWALL, attack.as_bytes()).await;
        let statuses = statuses(&answer);
        let shown = &attack[..attack.len().min(120)];
        assert!(statuses.len() <= 1, "{shown:?}: {answer}");
        assert!(
            !answer.contains("alice") && !statuses.contains(&200),
            "{shown:?}: {answer}"
        );
    }
    assert_eq!(meter.queries("ok"), before, "nothing got through");
    unharmed(&site).await;
}

#[tokio::test]
async fn what_the_standard_has_a_server_take_is_an_ordinary_request() {
    let site = site().await;
    let token = site.firewall().await.token;
    // RFC 9112, sections 2.2 and 3.2.2.
    let token = bearer(&token);
    for (usual, status) in [
        (
            format!(
                "GET https://elsewhere.example{ENDPOINTS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n"
            ),
            200,
        ),
        (
            format!(
                "GET {ENDPOINTS} HTTP/1.1\nHost: x\nConnection: close\n{}\n\n",
                token.trim_end()
            ),
            200,
        ),
        (format!("GET {ENDPOINTS} HTTP/1.0\r\n{token}\r\n"), 200),
    ] {
        let answer = Wire::ask(&site, FIREWALL, usual.as_bytes()).await;
        let got = statuses(&answer);
        assert_eq!(got, [status], "{usual:?}: {answer}");
    }
    unharmed(&site).await;
}

#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let meter = Meter::start();
    let site = site().await;
    let token = bearer(&site.firewall().await.token);
    let before = meter.queries("ok");
    let long = format!("/user_query/v2/ip/{}", "1".repeat(20_000));
    let paths = [
        "//user_query/v2/users/endpoints",
        "/user_query//v2/users/endpoints",
        "/user_query/v2/users/endpoints/",
        "/user_query/v2/../v2/users/endpoints",
        "/./user_query/v2/users/endpoints",
        "/api/../user_query/v2/users/endpoints",
        "/user_query/v2/%2e%2e/v2/users/endpoints",
        "/user_query%2fv2%2fusers%2fendpoints",
        "/user_query/v2/users/endpoints%00",
        "/user_query/v2/users/endpoints;a=b",
        "/USER_QUERY/V2/USERS/ENDPOINTS",
        "/%75ser_query/v2/users/endpoints",
        "/user_query/v2/ip/10.1.0.1%00",
        "/user_query/v2/ip/..%2fuser?id=alice",
        "/user_query/v2/ip/010.1.0.1",
        "/user_query/v2/ip/10.1.1",
        "/user_query/v2/ip/0x0a010001",
        "/user_query/v2/ip/fe80::1%25eth0",
        "/user_query/v2/ip/%F0%9F%92%A9",
        "/user_query/v2/ip/",
        "/metrics",
        "/.git/config",
        &long,
    ];
    for path in paths {
        let answer = Wire::ask(&site, FIREWALL, &request(path, &token)).await;
        assert_eq!(statuses(&answer), [400], "{path}: {answer}");
        assert!(!answer.contains("alice"), "{path}: {answer}");
    }
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "HEAD",
    ] {
        let bytes =
            format!("{method} {ENDPOINTS} HTTP/1.1\r\nHost: x\r\n{token}Connection: close\r\n\r\n");
        let answer = Wire::ask(&site, FIREWALL, bytes.as_bytes()).await;
        // HEAD is GET without the body, as the standard has it.
        let expected = if method == "HEAD" { 200 } else { 400 };
        assert_eq!(statuses(&answer), [expected], "{method}: {answer}");
        assert!(!answer.contains("alice"), "{method}: {answer}");
        assert!(!answer.contains("Bearer"), "{method} echoes: {answer}");
    }
    assert_eq!(meter.queries("ok"), before + 1);
    // Some of them never reached us as a request.
    assert!(
        meter.queries("invalid") >= 25,
        "{}",
        meter.queries("invalid")
    );
    unharmed(&site).await;
}

#[tokio::test]
async fn parameters_put_nothing_into_answers() {
    let _meter = Meter::start();
    let site = site().await;
    let token = bearer(&site.firewall().await.token);
    let evil = "x%0d%0aSet-Cookie:%20owned=1%0d%0a%0d%0a%3Cscript%3E%22%7D%5D%00%E2%80%AE%1b%5B31m";
    for target in [
        format!("/user_query/v2/user?id={evil}"),
        format!("/user_query/v2/user?id=alice&domain={evil}"),
        format!("/user_query/v2/user?id=alice&ip={evil}"),
        format!("/user_query/v2/ip/{evil}"),
        format!("{ENDPOINTS}?cookie={evil}"),
        format!("{ENDPOINTS}?begintime={evil}"),
        format!("{ENDPOINTS}?entry_count={evil}"),
        format!("{ENDPOINTS}?include-ip={evil}"),
        format!("{ENDPOINTS}?domain={evil}"),
        format!("{ENDPOINTS}?{evil}={evil}"),
        format!("/{evil}?{evil}"),
    ] {
        for accept in ["application/json", "application/xml"] {
            let bytes = request(&target, &format!("{token}Accept: {accept}\r\n"));
            let answer = Wire::ask(&site, FIREWALL, &bytes).await;
            assert_eq!(statuses(&answer).len(), 1, "{target}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(!head.to_lowercase().contains("owned"), "{target}: {answer}");
            let harmful = |c: char| c.is_control() && c != '\n';
            assert!(
                !body.contains(harmful) && !body.contains('\u{202e}'),
                "{target}: {body:?}"
            );
            let is_json = head.contains("application/json");
            assert!(is_json || !body.contains("<script>"), "{target}: {body}");
        }
    }
    unharmed(&site).await;
}

#[tokio::test]
async fn a_firewall_that_asks_without_pause_is_paced_and_the_other_is_not() {
    let meter = Meter::start();
    let site = site().await;
    let firewall = site.firewall().await;
    let mut wire = Wire::open(&site, OTHER).await;
    let one = format!(
        "GET {ENDPOINTS} HTTP/1.1\r\nHost: x\r\n{}\r\n",
        bearer(&firewall.token)
    );
    let mut refused = 0;
    for _ in 0..2000 {
        wire.write(one.as_bytes()).await;
        let answer = wire.answer().await;
        match statuses(&answer)[..] {
            [200] => {}
            [429] => {
                assert!(
                    answer.to_lowercase().contains("\r\nretry-after: 1\r\n"),
                    "{answer}"
                );
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "so fast, and never too fast");
    assert_eq!(meter.queries("rate-limited"), 5);
    unharmed(&site).await;
    let reading = site.server.points().remove(0);
    assert_eq!(reading.last_refused.expect("noted").1, "rate-limited");
}

#[tokio::test]
async fn a_hundred_thousand_wrong_logins_cost_the_others_nothing() {
    let meter = Meter::start();
    let site = site().await;
    unharmed(&site).await;
    // As fast as they come through, over the network, each with another client id.
    let mut wire = Wire::open(&site, OTHER).await;
    let mut seen = std::collections::BTreeMap::<u16, u32>::new();
    for round in 0..50 {
        let mut requests = String::new();
        for number in 0..40 {
            let body = format!(
                "grant_type=client_credentials&client_id=guess-{round}-{number}&client_secret=x"
            );
            requests += &format!(
                "POST /oauth_token/oauth HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
        wire.write(requests.as_bytes()).await;
        for _ in 0..40 {
            let status = statuses(&wire.answer().await)[0];
            *seen.entry(status).or_default() += 1;
        }
    }
    assert!(seen[&429] > 1000 && seen[&401] <= 20, "{seen:?}");
    assert!(
        seen.keys().all(|status| matches!(status, 401 | 429)),
        "{seen:?}"
    );
    assert!(meter.queries("delayed") > 0 && meter.queries("rate-limited") > 0);
    // And past the network: from as many addresses as the clients' networks have.
    let access = site.server.access();
    let now = clock::utc_now();
    for number in 0..100_000_u32 {
        let address = IpAddr::from((0x7f4d_5000 + number % 4096).to_be_bytes());
        let id = if number % 2 == 0 { "srx-2" } else { "nobody" };
        assert!(access.login(None, address, id, "guess", now).is_err());
    }
    unharmed(&site).await;
}

#[tokio::test]
async fn ten_thousand_connections_of_strangers_do_not_keep_the_firewall_out() {
    let meter = Meter::start();
    // The bounds of the product: nobody who hangs on is cut off while this goes on.
    let site = within(Limits::default()).await;
    let wanted = 10_000;
    // Both ends are in this process.
    let room = raise_file_limit().saturating_sub(1000) / 2;
    let held = usize::try_from(room).unwrap_or(wanted).min(wanted);
    let mut connections = std::collections::VecDeque::new();
    let mut worst = Duration::ZERO;
    for number in 0..wanted {
        let from = format!("127.77.64.{}", number % 250 + 1);
        let dialled = tokio::time::timeout(GUARD, dial(&from, site.address)).await;
        connections.extend(dialled.expect("the Server keeps on accepting"));
        if connections.len() > held {
            connections.pop_front();
        }
        if number % 1000 == 999 {
            worst = worst.max(unharmed(&site).await);
        }
    }
    let guests = Limits::default().guests as u64;
    let refused = meter.refused("guests") + meter.refused("per-address");
    println!(
        "{wanted} connections, {held} kept: {refused} refused, the firewall waited at most {worst:?}"
    );
    assert!(
        refused >= wanted as u64 - guests - (wanted - held) as u64,
        "{refused}"
    );
    assert!(refused <= wanted as u64);
    drop(connections);
    unharmed(&site).await;

    // Somebody who is configured has a larger share, and no more than that.
    let mut own = Vec::new();
    for _ in 0..500 {
        own.extend(dial(SECOND, site.address).await);
    }
    let share = Limits::default().connections_per_address as u64;
    let settled = async {
        while meter.refused("per-address") + meter.refused("guests") < refused + 500 - share {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GUARD, settled)
        .await
        .expect("refused and counted");
    unharmed(&site).await;
}

/// Files that this process may have open, as many as the system lets it.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What is not allowed leaves the limit as it is.
    let _refused = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
