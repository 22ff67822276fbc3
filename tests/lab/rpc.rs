//! RPC against a real server: Samba's endpoint mapper and services, with every way of signing on.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jims::net::resolve::Resolver;
use jims::net::rpc::{Connection, Request, RpcClient, RpcError, endpoint};
use jims::net::security::{
    AuthError, Credentials, Kdcs, Method, Negotiation, Proof, Purpose, Target,
};
use jims::runtime::supervisor::Tasks;
use jims::wire::dcerpc::association::CloseReason;
use jims::wire::dcerpc::{SyntaxId, status};
use jims::wire::epm;
use jims::wire::ndr::Writer;

use super::support::{DC, lab, samba_tool, succeed};

const DOMAIN: &str = "corp.example.com";
const DC_NAME: &str = "dc1.corp.example.com";
const USER: &str = "svc-jims@corp.example.com";
const PASSWORD: &str = "Svc-Jims!1";

const EVENT_LOG: SyntaxId = SyntaxId::new(0xf6be_aff7_1e19_4fbb_9f8f_b89e_2018_337c, 1, 0);
/// Directory replication: Samba refuses it without privacy.
const REPLICATION: SyntaxId = SyntaxId::new(0xe351_4235_4b06_11d1_ab04_00c0_4fc2_dcd2, 4, 0);
const NOBODY: SyntaxId = SyntaxId::new(0x1111_1111_2222_3333_4444_5555_5555_5555, 1, 0);

const DS_BIND: u16 = 0;
const REGISTER_LOG_QUERY: u16 = 5;
const EPT_LOOKUP: u16 = 2;

const METHODS: [Method; 3] = [Method::Ntlm, Method::Kerberos, Method::Negotiate];

/// Services whose ports the endpoint mapper has given.
struct Site {
    resolver: Resolver,
    kdc: &'static str,
    tasks: Tasks,
}

impl Site {
    fn new() -> Self {
        Self {
            resolver: Resolver::default(),
            kdc: DC,
            tasks: Tasks::new(),
        }
    }

    async fn port(&self, interface: SyntaxId) -> u16 {
        endpoint(&self.resolver, DC, epm::PORT, interface)
            .await
            .expect("a port")
    }

    async fn sign_on(
        &self,
        port: u16,
        interface: SyntaxId,
        method: Method,
        user: &str,
        proof: Proof,
    ) -> Result<RpcClient, RpcError> {
        let credentials = Credentials {
            user: user.to_owned(),
            domain: DOMAIN.to_owned(),
            proof,
        };
        let target = Target {
            service: "host",
            host: DC_NAME.to_owned(),
        };
        let kdcs = Kdcs::new(&self.resolver, DOMAIN, &[self.kdc.to_owned()], DC);
        let negotiation = Negotiation::new(method, &credentials, &target, &Purpose::Rpc, kdcs)
            .expect("a negotiation");
        Connection::open(&self.resolver, DC, port)
            .await?
            .bind(&self.tasks, interface, negotiation)
            .await
    }

    /// Signs on to a service as the ordinary account.
    async fn client(&self, interface: SyntaxId, method: Method) -> RpcClient {
        let port = match interface == epm::INTERFACE {
            true => epm::PORT,
            false => self.port(interface).await,
        };
        self.sign_on(port, interface, method, USER, password(PASSWORD))
            .await
            .unwrap_or_else(|error| panic!("{method:?}: {error}; {}", error.remedy()))
    }
}

fn password(text: &str) -> Proof {
    Proof::Password(text.to_owned().into())
}

fn request(opnum: u16, stub: Vec<u8>) -> Request {
    Request {
        context: 0,
        opnum,
        object: None,
        stub,
        deadline: Some(Duration::from_secs(20)),
        limit: 4 << 20,
    }
}

/// `DsBind` without anything; its results end with a status of 0.
async fn ds_bind(client: &RpcClient, context: u16) {
    let call = Request {
        context,
        ..request(DS_BIND, vec![0; 8])
    };
    let results = client.call(call).await.expect("DsBind");
    assert_eq!(results[results.len() - 4..], [0; 4], "{results:?}");
}

/// `ept_lookup` of everything: results of several fragments.
fn lookup_everything() -> Request {
    let mut stub = vec![0; 12];
    stub.extend(1_u32.to_le_bytes());
    stub.extend([0; 20]);
    stub.extend(500_u32.to_le_bytes());
    request(EPT_LOOKUP, stub)
}

/// `EvtRpcRegisterLogQuery` with a query of this many characters.
fn log_query(characters: usize) -> Request {
    let mut stub = Writer::default();
    stub.unique_wide_string(Some("Security"))
        .wide_string(&"q".repeat(characters))
        .u32(1);
    request(REGISTER_LOG_QUERY, stub.into_bytes())
}

#[tokio::test]
async fn the_endpoint_mapper_gives_a_port_and_says_what_is_missing() {
    let site = Site::new();
    let start = Instant::now();
    let port = site.port(EVENT_LOG).await;
    println!("the endpoint mapper answered in {:?}", start.elapsed());
    assert!(port >= 1024);
    let missing = endpoint(&site.resolver, DC, epm::PORT, NOBODY).await;
    assert!(
        matches!(missing, Err(RpcError::NotRegistered { .. })),
        "{missing:?}"
    );
    let ldap = endpoint(&site.resolver, DC, 389, NOBODY).await.unwrap_err();
    assert!(
        matches!(
            ldap,
            RpcError::Closed { .. } | RpcError::Io { .. } | RpcError::Protocol { .. }
        ),
        "{ldap}"
    );
}

#[tokio::test]
async fn every_way_of_signing_on_seals_calls_that_need_it() {
    let site = Site::new();
    for method in METHODS {
        let start = Instant::now();
        let client = site.client(REPLICATION, method).await;
        ds_bind(&client, 0).await;
        println!(
            "{method:?}: port, sign-on and call in {:?}",
            start.elapsed()
        );
        let negotiated = client.negotiated().expect("protected");
        let expected = match method {
            Method::Ntlm => "ntlm",
            Method::Kerberos | Method::Negotiate => "kerberos",
        };
        assert_eq!(negotiated.mechanism, expected);
        let offset = negotiated.clock_offset.unwrap_or_default();
        assert!(offset.abs() < 5_000, "one clock: {offset} ms");
    }
    // Without protection the service does not want to be called.
    let port = site.port(REPLICATION).await;
    let connection = Connection::open(&site.resolver, DC, port)
        .await
        .expect("connects");
    let client = connection.bind_anonymously(&site.tasks, REPLICATION).await;
    let refused = match client {
        Ok(client) => client.call(request(DS_BIND, vec![0; 8])).await.err(),
        Err(error) => Some(error),
    };
    assert!(refused.is_some());
}

#[tokio::test]
async fn a_keytab_signs_on() {
    let keytab = lab().join("svc-jims.keytab");
    export_keytab(&keytab);
    let bytes = std::fs::read(&keytab).expect("keytab");
    let site = Site::new();
    let port = site.port(REPLICATION).await;
    let client = site
        .sign_on(
            port,
            REPLICATION,
            Method::Kerberos,
            USER,
            Proof::Keytab(bytes.into()),
        )
        .await
        .expect("signs on");
    ds_bind(&client, 0).await;
}

#[tokio::test]
async fn without_a_key_distribution_centre_negotiate_falls_back_and_kerberos_says_so() {
    let site = Site {
        kdc: "127.77.0.10:1",
        ..Site::new()
    };
    let client = site.client(epm::INTERFACE, Method::Negotiate).await;
    assert_eq!(client.negotiated().expect("protected").mechanism, "ntlm");
    // NTLM within SPNEGO begins its key stream anew: several fragments both ways would notice.
    let first = client.call(lookup_everything()).await.expect("results");
    let second = client.call(lookup_everything()).await.expect("results");
    assert!(first[20..] == second[20..], "all but the lookup handle");
    let client = site.client(EVENT_LOG, Method::Negotiate).await;
    client.call(log_query(20_000)).await.expect("results");
    let port = site.port(EVENT_LOG).await;
    let error = site
        .sign_on(port, EVENT_LOG, Method::Kerberos, USER, password(PASSWORD))
        .await
        .unwrap_err();
    let RpcError::Auth { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(source, AuthError::NoKdc { .. }), "{error}");
    assert!(!error.is_credentials());
}

fn export_keytab(path: &Path) {
    drop(std::fs::remove_file(path));
    let configuration = lab().join("ad/etc/smb.conf");
    succeed(
        Command::new("/usr/bin/samba-tool")
            .args(["domain", "exportkeytab"])
            .arg(path)
            .args(["--principal", "svc-jims"])
            .arg(format!("--configfile={}", configuration.display())),
    );
}

#[tokio::test]
async fn sealed_results_in_fragments_are_those_that_come_unsealed() {
    let site = Site::new();
    let plain = Connection::open(&site.resolver, DC, epm::PORT)
        .await
        .expect("connects")
        .bind_anonymously(&site.tasks, epm::INTERFACE)
        .await
        .expect("binds");
    let expected = plain.call(lookup_everything()).await.expect("results");
    assert!(
        expected.len() > 5840,
        "several fragments: {}",
        expected.len()
    );
    for method in METHODS {
        let client = site.client(epm::INTERFACE, method).await;
        let found = client.call(lookup_everything()).await.expect("results");
        // The lookup handle comes first.
        assert!(found[20..] == expected[20..], "{method:?}");
        // Many at once, some of them dropped.
        let calls = (0..20).map(|_| client.call(lookup_everything()));
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        for call in calls.iter_mut().take(10) {
            drop(tokio::time::timeout(Duration::from_micros(200), call).await);
        }
        for call in calls.drain(10..) {
            assert_eq!(call.await.expect("results").len(), expected.len());
        }
        drop(calls);
        let again = client.call(lookup_everything()).await;
        assert_eq!(again.expect("after dropped calls").len(), expected.len());
    }
}

#[tokio::test]
async fn a_sealed_request_in_fragments_is_understood() {
    let site = Site::new();
    for method in METHODS {
        let client = site.client(EVENT_LOG, method).await;
        let results = client.call(log_query(20_000)).await.expect("results");
        assert_eq!(results[results.len() - 4..], [0; 4], "{results:?}");
        // Samba sends its faults without protection: they are told, and end the association.
        let mut cut = log_query(20_000);
        cut.stub.truncate(39_000);
        let error = client.call(cut).await.unwrap_err();
        assert_eq!(error.status(), Some(status::BAD_STUB_DATA), "{error}");
        let reason = client.closed().await;
        assert!(
            matches!(
                reason,
                RpcError::Protocol {
                    reason: CloseReason::UnprotectedFault(_),
                    ..
                }
            ),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn another_interface_is_called_on_the_same_association() {
    let site = Site::new();
    for method in METHODS {
        let client = site.client(EVENT_LOG, method).await;
        let context = client.add_interface(REPLICATION).await.expect("accepted");
        ds_bind(&client, context).await;
        let refused = client.add_interface(NOBODY).await;
        assert!(
            matches!(refused, Err(RpcError::InterfaceRefused { .. })),
            "{refused:?}"
        );
        ds_bind(&client, context).await;
    }
}

/// What comes of signing on and calling.
async fn outcome(site: &Site, method: Method, user: &str, secret: &str) -> Result<(), RpcError> {
    let port = site.port(REPLICATION).await;
    let client = site
        .sign_on(port, REPLICATION, method, user, password(secret))
        .await?;
    client.call(request(DS_BIND, vec![0; 8])).await.map(drop)
}

#[tokio::test]
async fn an_account_that_may_not_sign_on_is_told_apart_from_everything_else() {
    const SECRET: &str = "Rpc-Secret!1";
    for name in ["rpc-disabled", "rpc-expired", "rpc-good"] {
        samba_tool(&["user", "create", name, SECRET]);
    }
    samba_tool(&["user", "disable", "rpc-disabled"]);
    let newpassword = format!("--newpassword={SECRET}2");
    samba_tool(&[
        "user",
        "setpassword",
        "rpc-expired",
        &newpassword,
        "--must-change-at-next-login",
    ]);
    let site = Site::new();
    let cases = [
        ("rpc-good", "wrong"),
        ("rpc-nobody", SECRET),
        ("rpc-disabled", SECRET),
        ("rpc-expired", "Rpc-Secret!12"),
    ];
    for method in METHODS {
        let user = |name: &str| format!("{name}@{DOMAIN}");
        let good = outcome(&site, method, &user("rpc-good"), SECRET).await;
        assert!(good.is_ok(), "{method:?}: {good:?}");
        for (name, secret) in cases {
            let error = outcome(&site, method, &user(name), secret)
                .await
                .unwrap_err();
            println!("{method:?} {name}: {error}; {}", error.remedy());
            assert!(error.is_credentials(), "{method:?} {name}: {error:?}");
            let RpcError::Auth { source, .. } = error else {
                continue;
            };
            // Kerberos says more.
            let told = match name {
                "rpc-good" => matches!(source, AuthError::WrongPassword { .. }),
                "rpc-nobody" => matches!(source, AuthError::UnknownAccount { .. }),
                "rpc-disabled" => matches!(source, AuthError::Revoked { .. }),
                _ => matches!(source, AuthError::PasswordExpired { .. }),
            };
            assert!(told, "{method:?} {name}: {source}");
        }
    }
    for name in ["rpc-disabled", "rpc-expired", "rpc-good"] {
        samba_tool(&["user", "delete", name]);
    }
}

#[tokio::test]
async fn handles_that_are_dropped_leave_no_task_behind() {
    let site = Site::new();
    for method in METHODS {
        drop(site.client(REPLICATION, method).await);
    }
    let left = site.tasks.finish(Duration::from_secs(5)).await;
    assert!(left.is_empty(), "{left:?}");
}
