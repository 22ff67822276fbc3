//! The syslog service over real sockets.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jims::config::{
    CertificateFiles, Syslog, SyslogSource, SyslogTemplate, SyslogTime, Transports,
};
use jims::identity::Batch;
use jims::identity::event::{Claim, IdentityEvent};
use jims::identity::heard::{Heard, Hearer};
use jims::identity::name::Name;
use jims::identity::worth::Conflict;
use jims::net::datagrams;
use jims::producer::syslog::{Surroundings, SyslogService, Transport};
use jims::runtime::report::{Reading, Reports};
use jims::runtime::strangers::Strangers;
use jims::runtime::supervisor::Tasks;
use jims::writer::{Delivery, Durability, Intake, QUEUE_BATCHES};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

const GUARD: Duration = Duration::from_secs(30);
const JUNIPER: &str = "<30>Nov 23 13:39:27 vsrx-p4 iked[17437]: IKE_VPN_UP_ALARM_USER: VPN ipsec-vpn-ipv4-psk from 81.93.249.121 is up. Local-ip: 89.187.136.172, gateway name: ikev2-gw-ipv4-psk, vpn name: ipsec-vpn-ipv4-psk, tunnel-id: 500027, local tunnel-if: st0.0, remote tunnel-ip: 80.92.248.120, Local IKE-ID: p4.jnpr.cz, Remote IKE-ID: user1@psk.auth, AAA username: Not-applicable, VR id: root, Traffic-selector: ts1, Traffic-selector local ID: ipv4(0,0-65535,0.0.0.0-255.255.255.255) , Traffic-selector remote ID: ipv4(0,0-65535,10.1.11.18-10.1.11.18) , SA Type: dynamic";

/// A running service, and the table's end of the queue.
struct Site {
    service: SyslogService,
    events: Receiver<Delivery>,
    reports: Reports,
    strangers: Strangers,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Site {
    fn start(config: &Syslog) -> Self {
        Self::start_as(config, None)
    }

    fn start_as(config: &Syslog, hearer: Option<Hearer>) -> Self {
        let (intake, events) = Intake::channel(Durability::never());
        let (reports, strangers, tasks) = (Reports::default(), Strangers::default(), Tasks::new());
        let surroundings = Surroundings {
            intake,
            tasks: tasks.clone(),
            reports: reports.clone(),
            strangers: strangers.clone(),
            hearer,
        };
        let service = SyslogService::bind(config, surroundings).expect("bound");
        let stop = CancellationToken::new();
        tasks.spawn("syslog", service.clone().run(stop.clone()));
        Self {
            service,
            events,
            reports,
            strangers,
            tasks,
            stop,
        }
    }

    fn at(&self, transport: Transport) -> SocketAddr {
        let all = self.service.addresses();
        all.iter()
            .find(|(t, _)| *t == transport)
            .expect("a listener")
            .1
    }

    async fn event(&mut self) -> IdentityEvent {
        let mut events = self.batch().await;
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    async fn batch(&mut self) -> Vec<IdentityEvent> {
        let delivery = tokio::time::timeout(GUARD, self.events.recv()).await;
        match delivery.expect("in time").expect("a batch").batch {
            Batch::Events { events, .. } => events,
            other => panic!("{other:?}"),
        }
    }

    /// Users of the next events, in order.
    async fn users(&mut self, count: usize) -> Vec<String> {
        let mut users = Vec::new();
        while users.len() < count {
            users.extend(self.batch().await.iter().map(user));
        }
        users
    }

    fn reading(&self) -> Reading {
        self.reports.read().remove(0)
    }

    /// Waits until the source's report says so.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(GUARD, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.reading());
    }

    async fn end(self) {
        self.stop.cancel();
        assert_eq!(self.tasks.finish(GUARD).await, Vec::<String>::new());
    }
}

fn user(event: &IdentityEvent) -> String {
    match &event.claim {
        Claim::Logon(logon) => logon.user.name.to_string(),
        other => panic!("{other:?}"),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn source(name: &str, sender: &str) -> SyslogSource {
    SyslogSource {
        name: name.to_owned(),
        senders: vec![sender.parse().expect("network")],
        templates: vec!["test".to_owned(), "juniper-secure-connect".to_owned()],
        domain: Some(Name::new("corp.example.com").expect("name")),
        networks: Vec::new(),
        domains: Vec::new(),
        transports: Transports {
            udp: true,
            tcp: true,
            tls: true,
        },
        client_names: Vec::new(),
        time: SyslogTime::Message,
        timezone: "UTC".to_owned(),
        roles: Vec::new(),
        conflict: Conflict::default(),
    }
}

fn config(sources: Vec<SyslogSource>) -> Syslog {
    let template: SyslogTemplate = toml::from_str(
        r#"
name = "test"
[[rule]]
event = "logon"
pattern = 'user=(?<user>\S+) ip=(?<address>\S+)'
"#,
    )
    .expect("template");
    Syslog {
        udp: vec![at("127.77.3.1:0")],
        tcp: vec![at("127.77.3.1:0")],
        tls: Vec::new(),
        certificate: None,
        client_ca_file: None,
        sources,
        templates: vec![template],
    }
}

/// A connection from a chosen address.
async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket
        .bind(SocketAddr::new(from.parse().expect("address"), 0))
        .expect("bound");
    socket.connect(to).await.expect("connected")
}

async fn send_udp(from: &str, to: SocketAddr, lines: &[&[u8]]) {
    let socket =
        datagrams::sender(SocketAddr::new(from.parse().expect("address"), 0)).expect("bound");
    for line in lines {
        socket.send_to(line, to).await.expect("sent");
    }
}

#[tokio::test]
async fn a_vpn_logon_over_udp_becomes_an_event() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    send_udp(
        "127.77.3.10",
        site.at(Transport::Udp),
        &[JUNIPER.as_bytes()],
    )
    .await;
    let event = site.event().await;
    assert_eq!(&*event.producer, "vpn");
    assert_eq!(event.record, "juniper-secure-connect/up-ike-id");
    assert_eq!(
        event.address,
        Some("10.1.11.18".parse::<IpAddr>().expect("address"))
    );
    assert_eq!(user(&event), "user1");
    assert!(event.occurred_at <= event.received_at);
    let reading = site.reading();
    assert_eq!((reading.received, reading.interpreted), (1, 1));
    assert_eq!(reading.health.as_str(), "active");
    site.end().await;
}

/// The line that an event was made of, and who heard it.
fn heard(event: &IdentityEvent) -> Heard {
    **event.heard.as_ref().expect("a line")
}

#[tokio::test]
async fn two_collectors_that_hear_a_line_call_it_the_same_whichever_way_it_comes() {
    let config = config(vec![source("vpn", "127.77.3.0/24")]);
    let hearers = ["paris", "prague"].map(Hearer::of);
    let [mut paris, mut prague] = hearers.map(|by| Site::start_as(&config, Some(by)));
    let lines: [&[u8]; 3] = [
        b"<13>Nov 23 13:39:27 h app: user=one ip=10.0.0.1",
        b"<13>Nov 23 13:39:28 h app: user=one ip=10.0.0.1",
        b"<13>Nov 23 13:39:28 h app: user=one ip=10.0.0.1",
    ];
    let mut told: [Vec<Heard>; 2] = [Vec::new(), Vec::new()];
    send_udp("127.77.3.10", paris.at(Transport::Udp), &lines).await;
    let mut stream = connect("127.77.3.10", prague.at(Transport::Tcp)).await;
    let framed = [lines.join(&b"\r\n"[..]), b"\n".to_vec()].concat();
    stream.write_all(&framed).await.expect("sent");
    for (site, told) in [&mut paris, &mut prague].into_iter().zip(&mut told) {
        while told.len() < lines.len() {
            told.extend(site.batch().await.iter().map(heard));
        }
    }
    let [in_paris, in_prague] = told.each_ref().map(|told| told.as_slice());
    let ids = |told: &[Heard]| told.iter().map(|heard| heard.line).collect::<Vec<_>>();
    assert_eq!(ids(in_paris), ids(in_prague));
    assert_ne!(in_paris[0].line, in_paris[1].line, "another stamp");
    assert_eq!(in_paris[1].line, in_paris[2].line, "the same again");
    for (told, by) in [in_paris, in_prague].into_iter().zip(hearers) {
        assert!(told.iter().all(|heard| heard.by == by), "{told:?}");
    }
    // Another sender's line is another one.
    send_udp("127.77.3.11", paris.at(Transport::Udp), &lines[..1]).await;
    assert_ne!(heard(&paris.event().await).line, in_prague[0].line);
    paris.end().await;
    prague.end().await;
}

#[tokio::test]
async fn who_is_alone_does_not_say_which_line_it_was() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let line: &[u8] = b"<13>user=one ip=10.0.0.1";
    send_udp("127.77.3.10", site.at(Transport::Udp), &[line]).await;
    assert_eq!(site.event().await.heard, None);
    site.end().await;
}

#[tokio::test]
async fn both_framings_over_tcp_in_pieces() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.0/24")]));
    let mut stream = connect("127.77.3.11", site.at(Transport::Tcp)).await;
    let one = "<13>1 - h app - - - user=one ip=10.0.0.1\n";
    let counted = format!("{} {one}", one.len());
    let (count, message) = counted.split_at(3);
    stream.set_nodelay(true).expect("nodelay");
    stream.write_all(count.as_bytes()).await.expect("sent");
    stream.write_all(message.as_bytes()).await.expect("sent");
    assert_eq!(site.users(1).await, ["one"]);
    for byte in b"<13>Nov 23 13:39:27 h app: user=two ip=10.0.0.2\r\n" {
        stream.write_all(&[*byte]).await.expect("sent");
    }
    assert_eq!(site.users(1).await, ["two"]);
    stream
        .write_all(b"<13>user=three ip=10.0.0.3\0<13>user=four ip=10.0.0.4")
        .await
        .expect("sent");
    drop(stream);
    assert_eq!(site.users(2).await, ["three", "four"]);
    site.end().await;
}

#[tokio::test]
async fn messages_over_the_limit_are_counted_and_the_next_is_heard() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.0/24")]));
    let mut stream = connect("127.77.3.11", site.at(Transport::Tcp)).await;
    let long = vec![b'x'; 200_000];
    stream.write_all(&long).await.expect("sent");
    stream
        .write_all(b"\n<13>user=next ip=10.0.0.1\n")
        .await
        .expect("sent");
    assert_eq!(site.users(1).await, ["next"]);
    assert_eq!(site.reading().dropped.get("too-long"), Some(&1));
    site.end().await;
}

#[tokio::test]
async fn strangers_are_not_heard_but_remembered() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let line: &[u8] = b"<13>user=mallory ip=10.0.0.1";
    send_udp("127.77.3.66", site.at(Transport::Udp), &[line, line]).await;
    let mut stream = connect("127.77.3.67", site.at(Transport::Tcp)).await;
    // May fail: the service closes the connection.
    let _ = stream.write_all(line).await;
    site.until("strangers", |site| {
        let all = site.strangers.read();
        all.iter().map(|s| s.count).sum::<u64>() == 3
    })
    .await;
    send_udp(
        "127.77.3.10",
        site.at(Transport::Udp),
        &[b"<13>user=alice ip=10.0.0.1"],
    )
    .await;
    assert_eq!(site.users(1).await, ["alice"]);
    assert_eq!(site.reading().received, 1);
    site.end().await;
}

#[tokio::test]
async fn lines_without_meaning_are_counted_and_kept_escaped() {
    let site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let lines: [&[u8]; 3] = [
        b"<13>\x1b[31mnothing known",
        b"<13>user=alice ip=here",
        b"<13>user=al\xffice ip=10.0.0.1",
    ];
    send_udp("127.77.3.10", site.at(Transport::Udp), &lines).await;
    site.until("three lines", |site| site.reading().received == 3)
        .await;
    let ignored: Vec<_> = site.reading().ignored.into_iter().collect();
    assert_eq!(
        ignored,
        [("bad-address", 1), ("bad-name", 1), ("no-rule", 1)]
    );
    let tail = site.service.tail("vpn").expect("source");
    let shown: Vec<_> = tail
        .iter()
        .map(|l| (l.reason.as_str(), l.line.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("no-rule", "<13>\\u{1b}[31mnothing known"),
            ("bad-address", "<13>user=alice ip=here"),
            ("bad-name", "<13>user=al\\xffice ip=10.0.0.1"),
        ]
    );
    site.end().await;
}

#[tokio::test]
async fn a_full_queue_drops_datagrams_and_says_so() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let to = site.at(Transport::Udp);
    let line: &[u8] = b"<13>user=alice ip=10.0.0.1";
    let dropped = |site: &Site| site.reading().dropped.get("queue-full").copied();
    let mut sent = 0;
    while dropped(&site).is_none() {
        send_udp("127.77.3.10", to, &[line; 32]).await;
        sent += 32;
        site.until("all heard", |site| site.reading().received == sent)
            .await;
        assert!(sent < 1_000_000);
    }
    let lost = dropped(&site).expect("some");
    let mut heard = 0;
    while heard + lost < sent {
        heard += site.batch().await.len() as u64;
    }
    assert_eq!(heard + lost, sent);
    site.end().await;
}

#[tokio::test]
async fn a_full_queue_stops_reading_streams_and_loses_nothing() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let mut stream = connect("127.77.3.10", site.at(Transport::Tcp)).await;
    // More than the queue holds: long lines make small batches, at most 32 KiB each.
    let total = (QUEUE_BATCHES + 200) * 16;
    let rest = "x".repeat(2000);
    let writer = async move {
        for chunk in (0..total).collect::<Vec<_>>().chunks(256) {
            let lines: String = chunk
                .iter()
                .map(|n| format!("<13>user=u{n} ip=10.0.0.1 {rest}\n"))
                .collect();
            stream.write_all(lines.as_bytes()).await.expect("sent");
        }
    };
    let reader = async {
        site.until("the queue is full", |site| {
            site.events.len() == QUEUE_BATCHES
        })
        .await;
        site.users(total).await
    };
    let ((), users) = tokio::join!(writer, reader);
    assert!(
        users
            .iter()
            .enumerate()
            .all(|(n, user)| *user == format!("u{n}"))
    );
    assert!(site.reading().dropped.is_empty());
    site.end().await;
}

#[tokio::test]
async fn reload_changes_sources_and_listeners_and_keeps_connections() {
    let mut site = Site::start(&config(vec![source("vpn", "127.77.3.10/32")]));
    let (udp, tcp) = (site.at(Transport::Udp), site.at(Transport::Tcp));
    let mut kept = connect("127.77.3.10", tcp).await;
    kept.write_all(b"<13>user=one ip=10.0.0.1\n")
        .await
        .expect("sent");
    assert_eq!(site.users(1).await, ["one"]);

    let mut next = config(vec![
        source("vpn", "127.77.3.10/32"),
        source("nac", "127.77.3.20/32"),
    ]);
    next.udp.push(at("127.77.3.2:0"));
    next.tcp.clear();
    site.service.reload(&next).expect("reloaded");
    kept.write_all(b"<13>user=two ip=10.0.0.1\n")
        .await
        .expect("sent");
    assert_eq!(site.users(1).await, ["two"]);
    assert_eq!(site.reading().received, 2, "counts survive");
    let addresses = site.service.addresses();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.contains(&(Transport::Udp, udp)));
    send_udp("127.77.3.20", udp, &[b"<13>user=three ip=10.0.0.1"]).await;
    assert_eq!(&*site.event().await.producer, "nac");
    site.until("the TCP listener is closed", |_| {
        std::net::TcpStream::connect(tcp).is_err()
    })
    .await;

    let mut broken = next.clone();
    broken.sources[0].templates = vec!["nowhere".to_owned()];
    let error = site.service.reload(&broken).expect_err("no such template");
    assert_eq!(
        error.to_string(),
        "syslog source vpn: there is no template nowhere"
    );
    send_udp("127.77.3.20", udp, &[b"<13>user=four ip=10.0.0.1"]).await;
    assert_eq!(site.users(1).await, ["four"]);
    site.end().await;
}

/// A certificate authority with a server's and two clients' certificates.
struct Trust {
    folder: tempfile::TempDir,
}

impl Trust {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written")
        };
        let ca_key = rcgen::KeyPair::generate().expect("key");
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        write(
            "ca.pem",
            &ca.self_signed(&ca_key).expect("certificate").pem(),
        );
        let issuer = rcgen::Issuer::new(ca, ca_key);
        for name in ["server.example.com", "vpn.example.com", "other.example.com"] {
            let key = rcgen::KeyPair::generate().expect("key");
            let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
                .expect("parameters")
                .signed_by(&key, &issuer)
                .expect("certificate");
            write(&format!("{name}.pem"), &certificate.pem());
            let file = format!("{name}.key");
            write(&file, &key.serialize_pem());
            let owner_only = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(folder.path().join(file), owner_only).expect("permissions");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn client(
        &self,
        name: &str,
        stream: TcpStream,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca.pem")).expect("root"))
            .expect("root");
        let chain = vec![
            CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("certificate"),
        ];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("key");
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("client");
        let to = ServerName::try_from("server.example.com").expect("name");
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(to, stream)
            .await
    }
}

#[tokio::test]
async fn tls_hears_clients_whose_certificate_is_named() {
    let trust = Trust::new();
    let mut by_name = source("vpn", "127.77.3.0/24");
    by_name.client_names = vec!["vpn.example.com".to_owned()];
    let mut wanted = config(vec![by_name]);
    wanted.tls = vec![at("127.77.3.1:0")];
    assert!(
        SyslogService::bind(&wanted, Site::start(&config(Vec::new())).surroundings())
            .expect_err("no certificate")
            .remedy()
            .contains("certificate_file")
    );
    wanted.certificate = Some(CertificateFiles {
        certificate: trust.path("server.example.com.pem"),
        key: trust.path("server.example.com.key"),
    });
    wanted.client_ca_file = Some(trust.path("ca.pem"));
    let mut site = Site::start(&wanted);

    let stream = connect("127.77.3.12", site.at(Transport::Tls)).await;
    let mut tls = trust
        .client("vpn.example.com", stream)
        .await
        .expect("handshake");
    // The count and the message in records of their own, as syslog-ng sends them.
    let message = "<13>1 - h app - - - user=alice ip=10.0.0.1\n";
    tls.write_all(format!("{} ", message.len()).as_bytes())
        .await
        .expect("sent");
    tls.flush().await.expect("sent");
    tls.write_all(message.as_bytes()).await.expect("sent");
    tls.flush().await.expect("sent");
    assert_eq!(site.users(1).await, ["alice"]);

    let stream = connect("127.77.3.13", site.at(Transport::Tls)).await;
    let mut other = trust
        .client("other.example.com", stream)
        .await
        .expect("handshake");
    // May fail: the service closes the connection.
    let _ = other.write_all(b"<13>user=mallory ip=10.0.0.1\n").await;
    let _ = other.flush().await;
    site.until("a stranger", |site| site.strangers.read().len() == 1)
        .await;
    assert_eq!(site.reading().received, 1);
    site.end().await;
}

impl Site {
    fn surroundings(&self) -> Surroundings {
        Surroundings {
            intake: Intake::channel(Durability::never()).0,
            tasks: self.tasks.clone(),
            reports: Reports::default(),
            strangers: Strangers::default(),
            hearer: None,
        }
    }
}
