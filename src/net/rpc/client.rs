//! The handle of an association, and the task that drives it.
//!
//! Calls go to the task through a bounded queue; each caller waits for its own answer. A caller that stops waiting
//! cancels its call. The task ends with the last handle, or with the association.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::RpcError;
use super::connection::{call_failed, interface_refused, usage};
use super::link::{Ended, Link};
use crate::net::security::Negotiated;
use crate::runtime::clock::monotonic_now;
use crate::runtime::supervisor::Tasks;
use crate::wire::dcerpc::association::{
    Call, CallFailure, CallId, CloseReason, Event, Fault, UsageError,
};
use crate::wire::dcerpc::bind::ContextResult;
use crate::wire::dcerpc::{Guid, SyntaxId, status};

/// Calls that wait for the task.
const QUEUE: usize = 32;
/// Calls in flight; more callers wait. The association's own limit leaves room for given-up ones.
const MAX_CALLS: usize = 32;
/// For the answer to another interface.
const ADD_DEADLINE: Duration = Duration::from_secs(15);

/// NTLM by itself, whose last token is not answered.
const NTLM: u8 = 10;
/// What the first call is answered with when the last token did not please: Windows says the first two, Samba the third.
const SIGN_ON_FAULTS: [u32; 3] = [
    status::ACCESS_DENIED,
    status::SEC_PKG_ERROR,
    status::PROTOCOL_ERROR,
];

/// A call to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of the presentation context: 0 for the interface of the bind.
    pub context: u16,
    /// Number of the function.
    pub opnum: u16,
    /// The object, if the interface has any.
    pub object: Option<Guid>,
    /// The encoded arguments.
    pub stub: Vec<u8>,
    /// How long its reply is waited for; `None` leaves that to the caller.
    pub deadline: Option<Duration>,
    /// Most bytes of results that are taken.
    pub limit: usize,
}

/// Whether the server has shown that it accepts the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By the bind itself, or there is nothing to prove.
    Given,
    /// Not before it answers a call.
    Due,
}

impl Proof {
    pub(super) fn of(auth_type: u8) -> Self {
        match auth_type {
            NTLM => Self::Due,
            _ => Self::Given,
        }
    }
}

/// A handle of an association; its clones share it.
#[derive(Clone)]
pub struct RpcClient {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    permits: Semaphore,
    /// An association takes one change at a time.
    adding: Semaphore,
    cancelled: Arc<Notify>,
    ended: Arc<OnceLock<Ended>>,
    host: String,
    address: SocketAddr,
    negotiated: Option<Negotiated>,
}

enum Command {
    Call(Call, Answer<Vec<u8>>),
    Add(SyntaxId, Answer<u16>),
}

/// Whoever waits for an outcome.
type Answer<T> = oneshot::Sender<Result<T, Outcome>>;

/// Why a caller got nothing.
#[derive(Debug)]
enum Outcome {
    Failed(CallFailure),
    SignOn(Fault),
    Refused(ContextResult),
    Usage(UsageError),
}

impl std::fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClient")
            .field("host", &self.shared.host)
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl RpcClient {
    pub(super) fn start(
        tasks: &Tasks,
        link: Link,
        (host, address): (String, SocketAddr),
        negotiated: Option<Negotiated>,
        proof: Proof,
    ) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let cancelled = Arc::new(Notify::new());
        let ended = Arc::new(OnceLock::new());
        let driver = Driver {
            link,
            queue,
            cancelled: Arc::clone(&cancelled),
            ended: Arc::clone(&ended),
            calls: BTreeMap::new(),
            adding: None,
            proof,
        };
        tasks.spawn(format!("rpc {host}"), driver.run());
        Self {
            shared: Arc::new(Shared {
                commands,
                permits: Semaphore::new(MAX_CALLS),
                adding: Semaphore::new(1),
                cancelled,
                ended,
                host,
                address,
                negotiated,
            }),
        }
    }

    /// Makes a call and waits for its results. Dropping the future cancels the call.
    ///
    /// # Errors
    /// [`RpcError`]: the server answered with a fault or not in time, or the association ended.
    pub async fn call(&self, request: Request) -> Result<Vec<u8>, RpcError> {
        let _permit = self.shared.permits.acquire().await;
        let call = Call {
            context: request.context,
            opnum: request.opnum,
            object: request.object,
            stub: request.stub,
            limit: request.limit,
            deadline: request.deadline.map(|after| monotonic_now() + after),
        };
        let outcome = self.ask(|answer| Command::Call(call, answer)).await?;
        outcome.map_err(|outcome| self.error(outcome))
    }

    /// Adds an interface to the association; the number it gets.
    ///
    /// # Errors
    /// [`RpcError::InterfaceRefused`], or the association ended.
    pub async fn add_interface(&self, interface: SyntaxId) -> Result<u16, RpcError> {
        let _permit = self.shared.adding.acquire().await;
        let outcome = self.ask(|answer| Command::Add(interface, answer)).await?;
        outcome.map_err(|outcome| match outcome {
            Outcome::Refused(result) => interface_refused(self.host(), interface, result),
            outcome => self.error(outcome),
        })
    }

    /// Waits until the association has ended; why it did.
    pub async fn closed(&self) -> RpcError {
        self.shared.commands.closed().await;
        self.ended()
    }

    /// The host as it was given to [`super::Connection::open`].
    #[must_use]
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// The address that answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What came of the negotiation, if the association is protected.
    #[must_use]
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.shared.negotiated.as_ref()
    }

    /// Asks the task and waits for its answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<Result<T, Outcome>, RpcError> {
        let (answer, waiting) = oneshot::channel();
        let sent = self.shared.commands.send(command(answer)).await;
        sent.map_err(|_| self.ended())?;
        let mut waiting = Waiting {
            answer: waiting,
            cancelled: &self.shared.cancelled,
        };
        (&mut waiting.answer).await.map_err(|_| self.ended())
    }

    fn ended(&self) -> RpcError {
        let reason = self.shared.ended.get().cloned();
        reason
            .unwrap_or(Ended::Association(CloseReason::PeerClosed))
            .error(self.host())
    }

    fn error(&self, outcome: Outcome) -> RpcError {
        let host = self.host();
        match outcome {
            Outcome::Failed(failure) => call_failed(host, failure),
            Outcome::SignOn(fault) => RpcError::SignOnRefused {
                host: host.to_owned(),
                fault,
            },
            Outcome::Usage(reason) => usage(host, reason),
            Outcome::Refused(_) => self.ended(),
        }
    }
}

/// Tells the task when a caller stops waiting.
struct Waiting<'a, T> {
    answer: oneshot::Receiver<Result<T, Outcome>>,
    cancelled: &'a Notify,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        // Closed before the task looks.
        self.answer.close();
        self.cancelled.notify_one();
    }
}

/// The task of an association.
struct Driver {
    link: Link,
    queue: mpsc::Receiver<Command>,
    cancelled: Arc<Notify>,
    ended: Arc<OnceLock<Ended>>,
    calls: BTreeMap<CallId, Answer<Vec<u8>>>,
    adding: Option<Answer<u16>>,
    proof: Proof,
}

impl Driver {
    async fn run(mut self) {
        let ended = loop {
            if let Some(ended) = self.hand_out() {
                break ended;
            }
            tokio::select! {
                command = self.queue.recv() => match command {
                    Some(command) => self.take(command),
                    // Nobody can ask any more.
                    None => return,
                },
                () = self.cancelled.notified() => self.cancel(monotonic_now()),
                moved = self.link.progress() => if let Err(ended) = moved {
                    break ended;
                },
            }
        };
        tracing::debug!(reason = ?ended, "an association ended");
        // Before the answers are dropped, so that every caller finds it.
        let _ = self.ended.set(ended);
    }

    /// Gives every event to whoever waits for it; why it is over, if it is.
    fn hand_out(&mut self) -> Option<Ended> {
        while let Some(event) = self.link.association.poll_event() {
            match event {
                Event::Reply { call, data } => {
                    self.proof = Proof::Given;
                    self.answer(call, Ok(data));
                }
                Event::Failed { call, failure } => {
                    let outcome = self.outcome(failure);
                    self.answer(call, Err(outcome));
                }
                Event::Altered { context, result } => {
                    if let Some(answer) = self.adding.take() {
                        let outcome = match result.is_accepted() {
                            true => Ok(context),
                            false => Err(Outcome::Refused(result)),
                        };
                        let _ = answer.send(outcome);
                    }
                }
                Event::Bound { .. } => {}
                Event::Closed(reason) => return Some(Ended::Association(reason)),
            }
        }
        None
    }

    fn answer(&mut self, call: CallId, outcome: Result<Vec<u8>, Outcome>) {
        if let Some(answer) = self.calls.remove(&call) {
            // Who stopped waiting does not want it.
            let _ = answer.send(outcome);
        }
    }

    fn outcome(&mut self, failure: CallFailure) -> Outcome {
        match failure {
            CallFailure::Fault(fault)
                if self.proof == Proof::Due
                    && !fault.protected
                    && SIGN_ON_FAULTS.contains(&fault.status) =>
            {
                Outcome::SignOn(fault)
            }
            CallFailure::Fault(fault) if fault.protected => {
                self.proof = Proof::Given;
                Outcome::Failed(failure)
            }
            _ => Outcome::Failed(failure),
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Call(_, answer) if answer.is_closed() => {}
            Command::Call(call, answer) => match self.link.association.call(call) {
                Ok(id) => {
                    self.calls.insert(id, answer);
                }
                Err(reason) => drop(answer.send(Err(Outcome::Usage(reason)))),
            },
            Command::Add(interface, answer) => {
                let deadline = Some(monotonic_now() + ADD_DEADLINE);
                match self.link.association.alter_context(interface, deadline) {
                    Ok(_) => self.adding = Some(answer),
                    Err(reason) => drop(answer.send(Err(Outcome::Usage(reason)))),
                }
            }
        }
    }

    /// Cancels the calls that nobody waits for.
    fn cancel(&mut self, now: Instant) {
        let association = &mut self.link.association;
        self.calls.retain(|call, answer| {
            let wanted = !answer.is_closed();
            if !wanted {
                association.cancel(now, *call);
            }
            wanted
        });
    }
}
