//! The conversation with one computer: activate the login object, log in to the namespace, ask four queries, let go.
//!
//! A straight line over two protected associations (MS-DCOM 3.2.4.1.1, MS-WMI 3.2). Always packet privacy: there is no
//! lesser way to fall back to. Each step is told to the caller's [`Steps`], with what to do if it fails. Who is signed on
//! is not decided here.

use std::net::IpAddr;
use std::time::Duration;

use super::interpret::{ACCOUNTS, COMPUTER, Found, LOGONS, PROCESSES};
use super::refusal::{Step, Trouble};
use super::steps::Steps;
use crate::config::Auth;
use crate::net::resolve::Resolver;
use crate::net::rpc::{Connection, Request, RpcClient, RpcError};
use crate::net::security::{Credentials, Kdcs, Negotiation, Purpose, Target};
use crate::runtime::supervisor::Tasks;
use crate::wire::dcerpc::{Guid, SyntaxId};
use crate::wire::dcom::{self, Created, Reference};
use crate::wire::wmi::{self, Object, reply::Progress};

/// Where everything that is asked for is.
const NAMESPACE: &str = "//./root/cimv2";
/// Most objects of one query; a terminal server has some thousand processes.
const MAX_OBJECTS: usize = 16_384;
/// Most bytes of one reply: 128 objects of some 2 KiB, and room for what surrounds them.
const MAX_REPLY_BYTES: usize = 2 << 20;
/// How long the computer may wait for its own answer before it says that there is none yet, in milliseconds.
const NEXT_WAIT_MS: i32 = 5_000;

/// The computer that is asked.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Where it is; never another address, whatever it names itself.
    pub(super) address: IpAddr,
    /// Its full name, for Kerberos.
    pub(super) name: Option<String>,
    /// Of its object activator.
    pub(super) port: u16,
}

impl Host {
    fn target(&self) -> Target {
        Target {
            service: "host",
            host: self
                .name
                .clone()
                .unwrap_or_else(|| self.address.to_string()),
        }
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) tasks: &'a Tasks,
    pub(super) auth: Auth,
    pub(super) kdcs: &'a Kdcs,
    pub(super) credentials: &'a Credentials,
}

/// Opens the connection to the object activator; no credential is shown yet.
pub(super) async fn connect(
    host: &Host,
    resolver: &Resolver,
    steps: &mut Steps,
) -> Result<Connection, Trouble> {
    steps.begin(Step::Port);
    let connection = open(resolver, host.address, host.port).await;
    let connection = connection.map_err(|error| Trouble::of_connection(Step::Port, error))?;
    steps.pass(format!("{} is open", host.port));
    Ok(connection)
}

/// Asks the computer over the connection.
pub(super) async fn ask(
    host: &Host,
    way: Way<'_>,
    connection: Connection,
    steps: &mut Steps,
) -> Result<Found, Trouble> {
    let causality = Guid::from_u128(rand::random());
    steps.begin(Step::SignOn);
    let activator = sign_on(host, way, connection, dcom::ACTIVATOR).await?;
    let mechanism = activator
        .negotiated()
        .map_or("", |negotiated| negotiated.mechanism);
    steps.pass(format!("by {mechanism}, encrypted and signed"));

    steps.begin(Step::Activate);
    let created = activate(&activator, causality).await?;
    let Some(port) = created.bindings.iter().map(|binding| binding.port).next() else {
        return Err(Trouble::odd(
            Step::Activate,
            "the computer names no TCP port for its objects",
        ));
    };
    steps.pass(format!("the login object is on port {port}"));

    steps.begin(Step::ObjectPort);
    // The bindings name hosts too; only the address that was asked for is trusted with a credential.
    let connection = open(way.resolver, host.address, port).await;
    let connection = connection.map_err(Trouble::of_object_port)?;
    let exporter = sign_on(host, way, connection, wmi::LEVEL1_LOGIN).await?;
    steps.pass(format!("{port} is open"));
    let mut conversation = Conversation {
        exporter: &exporter,
        causality,
        held: Held {
            exporter: exporter.clone(),
            tasks: way.tasks.clone(),
            causality,
            rem_unknown: created.rem_unknown,
            references: vec![created.object],
        },
    };
    conversation.talk(created.object, steps).await
}

async fn open(resolver: &Resolver, address: IpAddr, port: u16) -> Result<Connection, RpcError> {
    Connection::open(resolver, &address.to_string(), port).await
}

async fn sign_on(
    host: &Host,
    way: Way<'_>,
    connection: Connection,
    interface: SyntaxId,
) -> Result<RpcClient, Trouble> {
    let negotiation = Negotiation::new(
        way.auth.into(),
        way.credentials,
        &host.target(),
        &Purpose::Rpc,
        way.kdcs.clone(),
    )
    .map_err(Trouble::of_sign_on)?;
    let bound = connection.bind(way.tasks, interface, negotiation).await;
    bound.map_err(|error| Trouble::of_bind(error, way.auth))
}

async fn activate(activator: &RpcClient, causality: Guid) -> Result<Created, Trouble> {
    let interface = wmi::LEVEL1_LOGIN.id;
    let request = Request {
        context: 0,
        opnum: dcom::opnum::REMOTE_CREATE_INSTANCE,
        object: None,
        stub: dcom::create_instance(wmi::LEVEL1_LOGIN_CLASS, interface, causality),
        deadline: None,
        limit: MAX_REPLY_BYTES,
    };
    let stub = activator
        .call(request)
        .await
        .map_err(|error| Trouble::of_call(Step::Activate, error))?;
    dcom::created(&stub, interface).map_err(|error| Trouble::of_reply(Step::Activate, &error))
}

/// What happens on the connection to the computer's objects.
struct Conversation<'a> {
    exporter: &'a RpcClient,
    causality: Guid,
    /// What has to be let go of.
    held: Held,
}

impl Conversation<'_> {
    async fn talk(&mut self, login: Reference, steps: &mut Steps) -> Result<Found, Trouble> {
        steps.begin(Step::LogIn);
        let stub = wmi::request::ntlm_login(self.causality, NAMESPACE);
        let reply = self.call(Step::LogIn, 0, wmi::opnum::NTLM_LOGIN, &login, stub);
        let reply = reply.await?;
        let services = wmi::reply::logged_in(&reply)
            .map_err(|error| Trouble::of_reply(Step::LogIn, &error))?;
        self.held.references.push(services);
        steps.pass(r"may read root\cimv2");

        steps.begin(Step::Query);
        let interfaces = Interfaces {
            services: self.add(wmi::SERVICES).await?,
            enumeration: self.add(wmi::ENUM_CLASS_OBJECT).await?,
        };
        let query = |wql| (interfaces, services, wql);
        let mut found = Found {
            computer: self.query(query(COMPUTER)).await?.into_iter().next(),
            logons: self.query(query(LOGONS)).await?,
            accounts: self.query(query(ACCOUNTS)).await?,
            processes: None,
        };
        if found.needs_processes() {
            found.processes = Some(self.query(query(PROCESSES)).await?);
        }
        if !found.sees_everybody() {
            return Err(Trouble::blind());
        }
        steps.pass(format!(
            "{} interactive logons listed, {} accounts",
            found.logons.len(),
            found.accounts.len()
        ));
        Ok(found)
    }

    async fn query(
        &mut self,
        (interfaces, services, wql): (Interfaces, Reference, &str),
    ) -> Result<Vec<Object>, Trouble> {
        let flags = wmi::FORWARD_ONLY_AND_AT_ONCE;
        let stub = wmi::request::exec_query(self.causality, wql, flags);
        let opnum = wmi::opnum::EXEC_QUERY;
        let reply = self.call(Step::Query, interfaces.services, opnum, &services, stub);
        let reply = reply.await?;
        let started = wmi::reply::query_started(&reply);
        let enumeration = started.map_err(|error| Trouble::of_reply(Step::Query, &error))?;
        self.held.references.push(enumeration);
        let mut objects = Vec::new();
        loop {
            let stub = wmi::request::next(self.causality, NEXT_WAIT_MS, wmi::MAX_OBJECTS);
            let opnum = wmi::opnum::NEXT;
            let context = interfaces.enumeration;
            let reply = self.call(Step::Query, context, opnum, &enumeration, stub);
            let batch = wmi::reply::next(&reply.await?)
                .map_err(|error| Trouble::of_reply(Step::Query, &error))?;
            objects.extend(batch.objects);
            if objects.len() > MAX_OBJECTS {
                return Err(Trouble::odd(Step::Query, "the answer has no end"));
            }
            match batch.progress {
                Progress::End => return Ok(objects),
                // Whoever waits for the whole probe gives up first.
                Progress::More | Progress::TimedOut => {}
            }
        }
    }

    async fn add(&self, interface: SyntaxId) -> Result<u16, Trouble> {
        let added = self.exporter.add_interface(interface).await;
        added.map_err(|error| Trouble::of_call(Step::Query, error))
    }

    async fn call(
        &self,
        step: Step,
        context: u16,
        opnum: u16,
        object: &Reference,
        stub: Vec<u8>,
    ) -> Result<Vec<u8>, Trouble> {
        let request = Request {
            context,
            opnum,
            object: Some(object.ipid),
            stub,
            deadline: None,
            limit: MAX_REPLY_BYTES,
        };
        let reply = self.exporter.call(request).await;
        reply.map_err(|error| Trouble::of_call(step, error))
    }
}

/// The computer's objects that we have. However the conversation ends, they are let go of, and nobody waits for it: an
/// answer that is there must not be lost to a computer that is slow to forget. What is not let go of, it forgets by
/// itself minutes later.
struct Held {
    exporter: RpcClient,
    tasks: Tasks,
    causality: Guid,
    rem_unknown: Guid,
    references: Vec<Reference>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (exporter, causality) = (self.exporter.clone(), self.causality);
        let (rem_unknown, references) = (self.rem_unknown, std::mem::take(&mut self.references));
        self.tasks
            .spawn("letting go of a computer's objects", async move {
                let letting_go = let_go(&exporter, causality, rem_unknown, &references);
                match tokio::time::timeout(LET_GO, letting_go).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "objects were not let go of"),
                    Err(_) => tracing::debug!("objects were not let go of in time"),
                }
            });
    }
}

async fn let_go(
    exporter: &RpcClient,
    causality: Guid,
    rem_unknown: Guid,
    references: &[Reference],
) -> Result<(), RpcError> {
    let context = exporter.add_interface(dcom::REM_UNKNOWN).await?;
    let held: Vec<(Guid, u32)> = references
        .iter()
        .map(|reference| (reference.ipid, reference.public_refs))
        .collect();
    let request = Request {
        context,
        opnum: dcom::opnum::REM_RELEASE,
        object: Some(rem_unknown),
        stub: dcom::release(causality, &held),
        deadline: None,
        limit: MAX_REPLY_BYTES,
    };
    exporter.call(request).await.map(drop)
}

/// Nobody waits long for a computer to forget.
const LET_GO: Duration = Duration::from_secs(1);

/// Presentation contexts.
#[derive(Clone, Copy, Debug)]
struct Interfaces {
    services: u16,
    enumeration: u16,
}
