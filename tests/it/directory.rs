//! Directory services against a server that behaves like Windows, and against files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jims::config::secret::SecretRef;
use jims::config::{self, Auth, ChannelBinding, DirectorySource, Ldap, LdapTls, Proof};
use jims::directory::Directory;
use jims::identity::directory::{
    DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use jims::identity::name::Name;
use jims::identity::policy::Policy;
use jims::identity::view::Epoch;
use jims::identity::{Applied, Batch, Core};
use jims::net::resolve::Resolver;
use jims::runtime::readiness::Readiness;
use jims::runtime::report::{Fault, Health, Kind, Reading, Report};
use jims::writer::{Done, Durability, Intake, Reader};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::directory_server::{Mode, Server, guid};

use crate::server_site::reads;

const GUARD: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What a directory told the table, as a table would hold it.
#[derive(Clone, Debug, Default)]
struct Table {
    objects: BTreeMap<ObjectId, DirectoryObject>,
    marked: Option<Vec<ObjectId>>,
    facts: Option<DomainFacts>,
    full_reads: usize,
    /// Poll batches that removed something.
    removals: usize,
    largest_batch: usize,
    bookmark: Option<Vec<u8>>,
}

/// A directory service that runs.
struct Site {
    table: watch::Receiver<Table>,
    report: Arc<Report>,
    readiness: Readiness,
    stop: CancellationToken,
    folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    /// Runs a directory; the table refuses the first `doubts` removals as too many.
    fn run(source: impl FnOnce(&Path) -> DirectorySource, doubts: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let password = folder.path().join("password");
        write_secret(&password, "right\n");
        let config = config::Directory {
            name: Name::new("corp").expect("name"),
            domain: Name::new("corp.example.com").expect("name"),
            source: source(folder.path()),
            poll_interval: POLL,
        };
        let (intake, mut deliveries) = Intake::channel(Durability::never());
        let core = Core::new(Epoch(1), Policy::default());
        let report = Report::new(Kind::Directory, "corp");
        let readiness = Readiness::new();
        let directory = Directory {
            config,
            intake,
            resolver: Resolver::default(),
            reader: Reader::new(Arc::new(parking_lot::RwLock::new(core))),
            report: Arc::clone(&report),
            latch: readiness.latch("directory corp"),
        };
        readiness.arm();
        let stop = CancellationToken::new();
        let (held, table) = watch::channel(Table::default());
        let stopped = stop.clone();
        let mut doubts = doubts;
        spawn(async move {
            let take = async {
                while let Some(delivery) = deliveries.recv().await {
                    let Batch::Directory(batch) = delivery.batch else {
                        panic!("only directory batches come from a directory");
                    };
                    let mut applied = Applied::default();
                    held.send_modify(|table| {
                        applied.full_read_wanted = table.take(batch, &mut doubts)
                    });
                    if let Some(Done::Counts(done)) = delivery.done {
                        let _ = done.send((applied, 0));
                    }
                }
            };
            tokio::join!(take, directory.run(stopped));
        });
        Self {
            table,
            report,
            readiness,
            stop,
            folder,
        }
    }

    /// Against a server on an address, in clear text.
    fn against(hosts: &[&str], port: u16) -> Self {
        Self::with_tls(hosts, port, LdapTls::None, None)
    }

    fn with_tls(hosts: &[&str], port: u16, tls: LdapTls, ca_file: Option<PathBuf>) -> Self {
        Self::run(|folder| ldap(folder, hosts, port, tls, ca_file), 0)
    }

    async fn until(&mut self, what: &str, condition: impl FnMut(&Table) -> bool) -> Table {
        let found = tokio::time::timeout(GUARD, self.table.wait_for(condition)).await;
        match found {
            Ok(table) => table.expect("the directory runs").clone(),
            Err(_) => panic!("not seen: {what}; {:?}", self.report.read()),
        }
    }

    async fn until_report(&self, what: &str, condition: impl Fn(&Reading) -> bool) -> Reading {
        reads(what, || self.report.read(), condition).await
    }

    async fn fault(&self) -> (String, String) {
        let reading = self.until_report("a fault", |r| r.fault.is_some()).await;
        let fault = reading.fault.expect("a fault");
        (fault.message, fault.remedy)
    }
}

impl Table {
    /// Takes a batch; whether a full read is wanted first.
    fn take(
        &mut self,
        batch: jims::identity::directory::DirectoryBatch,
        doubts: &mut usize,
    ) -> bool {
        self.largest_batch = self.largest_batch.max(batch.upserts.len());
        if let Some(facts) = batch.facts {
            self.facts = Some(facts);
        }
        if batch.step == DirectoryStep::FullBegin {
            self.marked = Some(Vec::new());
        }
        if let Some(marked) = self.marked.as_mut() {
            marked.extend(batch.upserts.iter().map(|o| o.id));
        }
        if let Some(bookmark) = batch.bookmark {
            self.bookmark = Some(bookmark.value.into_vec());
        }
        self.objects
            .extend(batch.upserts.into_iter().map(|o| (o.id, o)));
        if !batch.removed.is_empty() {
            if *doubts > 0 {
                *doubts -= 1;
                return true;
            }
            self.removals += 1;
            for id in batch.removed {
                self.objects.remove(&id);
            }
        }
        if batch.step == DirectoryStep::FullEnd {
            let marked = self.marked.take().expect("a mark");
            self.objects.retain(|id, _| marked.contains(id));
            self.full_reads += 1;
        }
        false
    }

    fn named(&self, name: &str) -> Option<&DirectoryObject> {
        self.objects.values().find(|o| o.name.as_str() == name)
    }

    fn members(&self, group: &str) -> Vec<ObjectId> {
        match self.named(group).map(|o| &o.kind) {
            Some(ObjectKind::Group { members }) => members.clone(),
            _ => Vec::new(),
        }
    }

    fn enabled(&self, user: &str) -> Option<bool> {
        match self.named(user).map(|o| &o.kind) {
            Some(ObjectKind::User { enabled, .. }) => Some(*enabled),
            _ => None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("rights");
}

fn ldap(
    folder: &Path,
    hosts: &[&str],
    port: u16,
    tls: LdapTls,
    ca_file: Option<PathBuf>,
) -> DirectorySource {
    DirectorySource::Ldap(Ldap {
        hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        port,
        tls,
        ca_file,
        user: "svc-jims@corp.example.com".into(),
        auth: Auth::Simple,
        proof: Proof::Password(SecretRef::File(folder.join("password"))),
        kdc: Vec::new(),
        channel_binding: ChannelBinding::Auto,
        page_size: 1000,
    })
}

/// Two users, a computer and a group of one of them.
fn small(host: &'static str) -> Server {
    let server = Server::new(host);
    let ann = server.add(1, "user", "ann");
    server.add(2, "user", "bob");
    server.add(3, "computer", "WS-1$");
    let group = server.add(4, "group", "staff");
    server.change(group, |g| g.members = vec![ann]);
    server
}

#[tokio::test]
async fn everything_is_read_in_pages_and_long_groups_in_ranges() {
    let server = Server::new("dc1.corp.example.com");
    let users: Vec<_> = (0..4100)
        .map(|n| server.add(n, "user", &format!("u{n}")))
        .collect();
    server.add(5000, "computer", "WS-1$");
    let group = server.add(5001, "group", "everybody");
    server.change(group, |g| g.members = users.clone());
    let listening = server.listen("127.77.5.1", 0, None).await;
    let mut site = Site::against(&["127.77.5.1"], listening.address.port());
    let table = site.until("a full read", |t| t.full_reads == 1).await;
    assert_eq!(table.objects.len(), 4102);
    assert!(table.largest_batch <= 1000, "a page at a time");
    let members = table.members("everybody");
    assert_eq!(
        members,
        users.iter().map(|&id| ObjectId(id)).collect::<Vec<_>>()
    );
    assert_eq!(
        table.named("WS-1").map(|o| o.id),
        Some(ObjectId(guid(5000)))
    );
    let facts = table.facts.expect("facts");
    assert_eq!(facts.netbios, Name::new("CORP").ok());
    assert_eq!(
        facts.upn_suffixes,
        [Name::new("example.org").expect("name")]
    );
    let reading = site
        .until_report("active", |r| r.health == Health::Active)
        .await;
    assert!(
        reading.detail.contains("4,100 users, 1 devices, 1 groups"),
        "{}",
        reading.detail
    );
    assert!(site.readiness.is_ready());
}

#[tokio::test]
async fn changes_and_removals_arrive_by_poll_without_another_full_read() {
    let server = small("dc1.corp.example.com");
    let listening = server.listen("127.77.5.2", 0, None).await;
    let mut site = Site::against(&["127.77.5.2"], listening.address.port());
    site.until("a full read", |t| t.full_reads == 1).await;
    server.change(guid(2), |o| o.disabled = true);
    server.change(guid(4), |g| g.members.push(guid(2)));
    server.change(guid(3), |o| o.name = "WS-2$".into());
    site.until("bob disabled", |t| t.enabled("bob") == Some(false))
        .await;
    site.until("bob in staff", |t| t.members("staff").len() == 2)
        .await;
    site.until("a computer renamed", |t| t.named("WS-2").is_some())
        .await;
    server.add(9, "user", "carol");
    site.until("a new user", |t| t.enabled("carol") == Some(true))
        .await;
    server.change(guid(1), |o| o.deleted = true);
    let table = site.until("ann gone", |t| t.named("ann").is_none()).await;
    assert_eq!((table.full_reads, table.removals), (1, 1));
}

#[tokio::test]
async fn a_restored_domain_controller_is_read_whole_again() {
    let server = small("dc1.corp.example.com");
    let listening = server.listen("127.77.5.3", 0, None).await;
    let mut site = Site::against(&["127.77.5.3"], listening.address.port());
    site.until("a full read", |t| t.full_reads == 1).await;
    {
        // Restored from a backup: an object never came to be, and numbers begin anew.
        let mut world = server.0.lock();
        world.invocation = 2;
        world.objects.retain(|o| o.guid != guid(2));
    }
    let table = site.until("another full read", |t| t.full_reads == 2).await;
    assert!(table.named("bob").is_none());
}

#[tokio::test]
async fn rule_14_a_removal_in_doubt_is_followed_by_a_full_read() {
    let server = small("dc1.corp.example.com");
    let listening = server.listen("127.77.5.4", 0, None).await;
    let port = listening.address.port();
    let mut site = Site::run(|f| ldap(f, &["127.77.5.4"], port, LdapTls::None, None), 1);
    let before = site
        .until("a full read", |t| t.full_reads == 1)
        .await
        .bookmark;
    server.change(guid(1), |o| o.deleted = true);
    let table = site
        .until("the confirming read", |t| t.full_reads == 2)
        .await;
    assert!(table.named("ann").is_none());
    assert_ne!(table.bookmark, before);
    site.until_report("active again", |r| r.health == Health::Active)
        .await;
}

#[tokio::test]
async fn an_account_that_sees_no_deleted_objects_is_said_so() {
    let server = small("dc1.corp.example.com");
    server.0.lock().sees_deleted = false;
    let listening = server.listen("127.77.5.5", 0, None).await;
    let mut site = Site::against(&["127.77.5.5"], listening.address.port());
    site.until("a full read", |t| t.full_reads == 1).await;
    let reading = site
        .until_report("active", |r| r.health == Health::Active)
        .await;
    assert!(
        reading.detail.contains("may not see deleted objects"),
        "{}",
        reading.detail
    );
}

#[tokio::test]
async fn a_refused_password_is_not_tried_again_until_it_changes() {
    let server = small("dc1.corp.example.com");
    server.0.lock().mode = Mode::Refuse(49, "80090308: LdapErr: DSID-0C0903A9, data 52e, v1db1");
    let listening = server.listen("127.77.5.6", 0, None).await;
    let mut site = Site::against(&["127.77.5.6"], listening.address.port());
    let reading = site
        .until_report("not tried again", |r| {
            r.fault
                .as_ref()
                .is_some_and(|f| f.message.contains("not tried again"))
        })
        .await;
    assert_eq!(reading.health, Health::Down);
    let fault = reading.fault.expect("a fault");
    assert!(
        fault
            .message
            .contains("the user name or the password is wrong"),
        "{fault:?}"
    );
    assert_eq!(server.0.lock().binds, 1);
    server.0.lock().mode = Mode::Good;
    write_secret(&site.folder.path().join("password"), "changed\n");
    site.until("a full read", |t| t.full_reads == 1).await;
    assert_eq!(server.0.lock().binds, 2);
}

#[tokio::test]
async fn clear_text_refused_by_the_server_names_the_key_to_set() {
    let server = small("dc1.corp.example.com");
    server.0.lock().mode = Mode::Refuse(8, "BindSimple: Transport encryption required.");
    let listening = server.listen("127.77.5.7", 0, None).await;
    let site = Site::against(&["127.77.5.7"], listening.address.port());
    let (message, remedy) = site.fault().await;
    assert!(message.contains("strongerAuthRequired"), "{message}");
    assert!(remedy.contains("starttls"), "{remedy}");
}

#[tokio::test]
async fn the_next_host_serves_and_the_first_takes_over_again() {
    let second = small("dc2.corp.example.com");
    let backup = second.listen("127.77.5.12", 0, None).await;
    let port = backup.address.port();
    let mut site = Site::against(&["127.77.5.11", "127.77.5.12"], port);
    site.until("a full read of the second", |t| t.full_reads == 1)
        .await;
    let reading = site
        .until_report("degraded", |r| r.health == Health::Degraded)
        .await;
    let fault = reading.fault.expect("a fault");
    assert!(fault.message.contains("127.77.5.11"), "{fault:?}");
    let first = small("dc1.corp.example.com");
    first.add(20, "user", "only-here");
    let listening = first.listen("127.77.5.11", port, None).await;
    site.until("a full read of the first", |t| {
        t.named("only-here").is_some()
    })
    .await;
    site.until_report("active", |r| {
        r.health == Health::Active && r.detail.contains("127.77.5.11")
    })
    .await;
    listening.stop().await;
    let table = site
        .until("the second again", |t| t.named("only-here").is_none())
        .await;
    assert_eq!(table.full_reads, 3);
}

#[tokio::test]
async fn a_server_that_closes_or_sends_garbage_takes_no_data_away() {
    let server = small("dc1.corp.example.com");
    let listening = server.listen("127.77.5.8", 0, None).await;
    let mut site = Site::against(&["127.77.5.8"], listening.address.port());
    site.until("a full read", |t| t.full_reads == 1).await;
    let modes = [
        (Mode::Close, "closed the connection"),
        (
            Mode::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "not LDAP",
        ),
        (
            Mode::Garbage(b"\x30\x84\x7f\xff\xff\xff".to_vec()),
            "announced a message",
        ),
        (
            Mode::Garbage(b"\x30\x05\x02\x01\x01\x7e\x00".to_vec()),
            "wrong element",
        ),
    ];
    for (mode, words) in modes {
        server.0.lock().mode = mode;
        let said = |r: &Reading| r.fault.as_ref().is_some_and(|f| f.message.contains(words));
        let reading = site.until_report(words, said).await;
        assert_eq!(reading.health, Health::Down);
    }
    server.0.lock().mode = Mode::Good;
    site.until_report("active again", |r| r.health == Health::Active)
        .await;
    let table = site.table.borrow().clone();
    assert_eq!((table.full_reads, table.objects.len()), (1, 4));
}

#[tokio::test]
async fn a_full_read_that_breaks_off_sweeps_nothing_and_begins_anew() {
    let server = Server::new("dc1.corp.example.com");
    for number in 0..2500 {
        server.add(number, "user", &format!("u{number}"));
    }
    server.0.lock().mode = Mode::CloseAfterPage;
    let listening = server.listen("127.77.5.16", 0, None).await;
    let mut site = Site::against(&["127.77.5.16"], listening.address.port());
    let said = |r: &Reading| {
        let closed = |f: &Fault| f.message.contains("closed the connection");
        r.fault.as_ref().is_some_and(closed)
    };
    site.until_report("closed", said).await;
    let table = site.table.borrow().clone();
    assert_eq!((table.full_reads, table.objects.len()), (0, 1000));
    let begun = table.bookmark.expect("a bookmark taken back");
    assert!(begun.is_empty(), "a restart must read everything again");
    assert!(!site.readiness.is_ready());
    server.0.lock().mode = Mode::Good;
    let table = site.until("a full read", |t| t.full_reads == 1).await;
    assert_eq!(table.objects.len(), 2500);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up_and_others_are_not_kept_waiting() {
    let server = small("dc1.corp.example.com");
    server.0.lock().mode = Mode::Hang;
    let listening = server.listen("127.77.5.9", 0, None).await;
    let site = Site::against(&["127.77.5.9"], listening.address.port());
    let (message, _) = site.fault().await;
    assert!(message.contains("did not answer"), "{message}");
    let waiting = async {
        while !site.readiness.is_ready() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting)
        .await
        .expect("rule 15: ready after 30 s");
}

#[tokio::test]
async fn names_and_refused_connections_have_words() {
    let site = Site::against(&["127.77.5.10"], 9);
    let (message, remedy) = site.fault().await;
    assert!(
        message.contains("could not connect to 127.77.5.10"),
        "{message}"
    );
    assert!(remedy.contains("LDAPS is 636"), "{remedy}");
    let site = Site::against(&["no-such-host.invalid"], 9);
    let (message, _) = site.fault().await;
    assert!(
        message.contains("could not look up no-such-host.invalid"),
        "{message}"
    );
}

/// A CA's certificate in a file, and a server of it for an address.
fn certificates(folder: &Path, name: &str) -> (PathBuf, tokio_rustls::TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    jims::net::tls::install_provider();
    let ca_key = KeyPair::generate().expect("key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, ca.self_signed(&ca_key).expect("CA").pem()).expect("written");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("key");
    let leaf = CertificateParams::new(vec![name.to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("configuration");
    (ca_file, tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn ldaps_and_starttls_are_protected_by_the_ca_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    for (tls, address) in [
        (LdapTls::Ldaps, "127.77.5.13"),
        (LdapTls::StartTls, "127.77.5.14"),
    ] {
        let (ca, acceptor) = certificates(folder.path(), address);
        let server = small("dc1.corp.example.com");
        let listening = server
            .listen(address, 0, Some((acceptor, tls == LdapTls::StartTls)))
            .await;
        let mut site = Site::with_tls(&[address], listening.address.port(), tls, Some(ca));
        site.until("a full read", |t| t.full_reads == 1).await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let (ca, acceptor) = certificates(folder.path(), "dc1.corp.example.com");
    let (other_ca, _) = certificates(other.path(), "x");
    let server = small("dc1.corp.example.com");
    let listening = server
        .listen("127.77.5.15", 0, Some((acceptor, false)))
        .await;
    let port = listening.address.port();
    for (ca, words, remedy) in [
        (other_ca, "signed by nobody", "`ca_file`"),
        (ca, "is for another name", "`hosts`"),
    ] {
        let site = Site::with_tls(&["127.77.5.15"], port, LdapTls::Ldaps, Some(ca));
        let said = site.fault().await;
        assert!(said.0.contains(words), "{said:?}");
        assert!(said.1.contains(remedy), "{said:?}");
    }
    assert_eq!(server.0.lock().binds, 0, "no password is sent");
}

const LDIF: &str = "version: 1\n\ndn: CN=Ann,DC=corp,DC=example,DC=com\nobjectClass: user\nsAMAccountName: ann\n\n\
    dn: CN=Staff,DC=corp,DC=example,DC=com\nobjectClass: group\nsAMAccountName: staff\n\
    member: cn=ann,dc=corp,dc=example,dc=com\n";

#[tokio::test]
async fn a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
    let mut site = Site::run(
        |folder| {
            std::fs::write(folder.join("d.ldif"), LDIF).expect("written");
            DirectorySource::Ldif(folder.join("d.ldif"))
        },
        0,
    );
    let file = site.folder.path().join("d.ldif");
    let table = site.until("a full read", |t| t.full_reads == 1).await;
    let ann = table.named("ann").expect("ann").id;
    assert_eq!(table.members("staff"), [ann]);
    assert!(site.readiness.is_ready());
    std::fs::write(&file, format!("{LDIF}\ndn: CN=Bob\nobjectClass user\n")).expect("written");
    let (message, _) = site.fault().await;
    assert!(message.contains("line 13: not `name: value`"), "{message}");
    assert_eq!(site.table.borrow().objects.len(), 2);
    let bob = "\ndn: CN=Bob,DC=x\nobjectClass: user\nsAMAccountName: bob\n";
    std::fs::write(&file, format!("{LDIF}{bob}")).expect("written");
    site.until("bob", |t| t.named("bob").is_some() && t.full_reads == 2)
        .await;
    std::fs::write(&file, bob).expect("written");
    site.until("only bob", |t| t.objects.len() == 1).await;
    std::fs::remove_file(&file).expect("removed");
    let (message, _) = site.fault().await;
    assert!(
        message.contains("could not read the directory file"),
        "{message}"
    );
    assert_eq!(site.table.borrow().objects.len(), 1);
}
