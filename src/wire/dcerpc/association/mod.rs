//! The client's side of an association as a state machine (C706 chapters 11 and 12, MS-RPCE 3.3).
//!
//! No sockets, no clocks: bytes, instants and tokens are handed in, bytes, events and the next wake-up are asked for.
//!
//! * [`Association::bind`] first; each [`Event::Bound`] that carries a token is answered by whoever negotiates:
//!   [`Association::continue_bind`], [`Association::auth3`], and at the end [`Association::protect`].
//! * Then calls: [`Association::call`], many at once; each ends with exactly one [`Event::Reply`] or
//!   [`Event::Failed`], unless it is cancelled or the association ends first.
//! * After anything has been handed in: [`Association::poll_transmit`] until it gives nothing,
//!   [`Association::poll_event`] until it gives nothing, then sleep until [`Association::poll_timeout`].
//! * [`Event::Closed`] is the last event; every call still in flight has failed with it.
//!
//! Protection is all or nothing: once a context is set, every request is sealed and every reply must be. A fault
//! without protection is handed on, marked as such, and ends the association, because anybody can have written it.

mod binding;
mod error;
mod receive;
mod transmit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub use error::{CallFailure, CloseReason, Fault, Refusal, UsageError};

use super::bind::{ContextResult, PresentationContext};
use super::pdu::{self, Kind, Trailer, flag};
use super::{DEFAULT_FRAGMENT, Guid, MIN_FRAGMENT};
use crate::wire::security::SecurityContext;

/// The number of the one security context of a connection; any will do.
const AUTH_CONTEXT: u32 = 1;
/// Calls given up whose replies may still come; the oldest is forgotten first.
const MAX_FORGOTTEN: usize = 256;

/// Limits of an association.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Largest fragment offered, both ways.
    pub fragment: u16,
    /// Most calls in flight, given-up ones included.
    pub max_calls: usize,
    /// How long the reply to a cancelled call is waited for before the call is given up.
    pub cancel_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fragment: DEFAULT_FRAGMENT,
            max_calls: 64,
            cancel_grace: Duration::from_secs(5),
        }
    }
}

/// The identifier of a call; never used twice in the life of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u32);

/// The first token of a negotiation.
#[derive(Clone, Debug)]
pub struct FirstToken {
    /// Kind of security: 9 SPNEGO, 10 NTLM, 16 Kerberos.
    pub auth_type: u8,
    /// The token.
    pub token: Vec<u8>,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number of the presentation context.
    pub context: u16,
    /// Number of the function.
    pub opnum: u16,
    /// The object, if the interface has any.
    pub object: Option<Guid>,
    /// The encoded arguments.
    pub stub: Vec<u8>,
    /// Most bytes of results that are taken.
    pub limit: usize,
    /// When it fails if no reply has come.
    pub deadline: Option<Instant>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The server answered a packet of the bind. Without protection the association is open.
    Bound {
        /// What became of each presentation context offered.
        results: Vec<ContextResult>,
        /// The server's token.
        token: Option<Vec<u8>>,
    },
    /// The server answered [`Association::alter_context`].
    Altered {
        /// Number of the new presentation context.
        context: u16,
        /// What became of it.
        result: ContextResult,
    },
    /// A call's results.
    Reply {
        /// The call.
        call: CallId,
        /// The encoded results.
        data: Vec<u8>,
    },
    /// A call failed.
    Failed {
        /// The call.
        call: CallId,
        /// Why.
        failure: CallFailure,
    },
    /// The association has ended, and with it all its calls.
    Closed(CloseReason),
}

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The answer to a bind or to [`Association::alter_context`] is due.
    Bind,
    /// A call's reply is due.
    Call(CallId),
    /// A cancelled call is given up.
    GiveUp(CallId),
}

/// Where an association is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has been sent.
    Fresh,
    /// The server's answer of this kind is awaited.
    Awaiting(Kind),
    /// Whoever negotiates has the next word.
    Negotiating,
    /// Calls can be made.
    Open,
    /// Over.
    Closed,
}

/// A bind, or a change of an open association, that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    call_id: u32,
    deadline: Option<Instant>,
    /// For [`Association::alter_context`]: the new context.
    context: Option<u16>,
}

/// One call in flight.
#[derive(Debug)]
struct InFlight {
    context: u16,
    opnum: u16,
    object: Option<Guid>,
    stub: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    /// Its first fragment has come.
    begun: bool,
    limit: usize,
    deadline: Option<Instant>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it has been sent.
    Queued,
    /// Some fragments have been sent.
    Sending,
    /// The reply is awaited.
    Waiting,
    /// Nobody wants the reply any more; it is awaited until then.
    Unwanted(Instant),
}

/// The client's side of one association over one connection.
pub struct Association {
    config: Config,
    phase: Phase,
    closing: bool,
    pending: Option<Pending>,
    bind_call: u32,
    contexts: Vec<PresentationContext>,
    accepted: BTreeSet<u16>,
    group: u32,
    auth: Option<Trailer>,
    security: Option<Box<dyn SecurityContext>>,
    header_signing: bool,
    multiplexed: bool,
    send_limit: usize,
    receive_limit: usize,
    next_call: u32,
    calls: BTreeMap<u32, InFlight>,
    /// Calls of which something has still to be sent; the first is in progress.
    queue: VecDeque<u32>,
    /// Calls given up whose replies may still come.
    forgotten: VecDeque<u32>,
    /// Whole packets that need no seal.
    control: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Association")
            .field("phase", &self.phase)
            .field("calls", &self.calls.len())
            .field("protected", &self.security.is_some())
            .finish_non_exhaustive()
    }
}

impl Association {
    /// Over a fresh connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let fragment = config.fragment.max(MIN_FRAGMENT);
        Self {
            config: Config { fragment, ..config },
            phase: Phase::Fresh,
            closing: false,
            pending: None,
            bind_call: 0,
            contexts: Vec::new(),
            accepted: BTreeSet::new(),
            group: 0,
            auth: None,
            security: None,
            header_signing: false,
            multiplexed: false,
            send_limit: MIN_FRAGMENT.into(),
            receive_limit: u16::MAX.into(),
            next_call: 1,
            calls: BTreeMap::new(),
            queue: VecDeque::new(),
            forgotten: VecDeque::new(),
            control: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins a call.
    ///
    /// # Errors
    /// [`UsageError`]: not open, too many calls in flight, or the presentation context was not accepted.
    pub fn call(&mut self, call: Call) -> Result<CallId, UsageError> {
        self.usable()?;
        if self.calls.len() >= self.config.max_calls {
            return Err(UsageError::TooManyCalls);
        }
        if !self.accepted.contains(&call.context) {
            return Err(UsageError::NoSuchContext);
        }
        let id = self.next_id();
        let call = InFlight {
            context: call.context,
            opnum: call.opnum,
            object: call.object,
            stub: call.stub,
            sent: 0,
            received: Vec::new(),
            begun: false,
            limit: call.limit,
            deadline: call.deadline,
            stage: Stage::Queued,
        };
        self.calls.insert(id, call);
        self.queue.push_back(id);
        Ok(CallId(id))
    }

    /// Gives up waiting for a call: no event follows for it. The server is told, but often does not care.
    pub fn cancel(&mut self, now: Instant, call: CallId) {
        let CallId(id) = call;
        let Some(stage) = self.calls.get(&id).map(|call| call.stage) else {
            return;
        };
        match stage {
            Stage::Queued => self.remove(id),
            Stage::Sending => {
                // The rest of the request will never come.
                self.send_control(Kind::Orphaned, id);
                self.forget(id);
            }
            Stage::Waiting => {
                self.send_control(Kind::CoCancel, id);
                let until = now + self.config.cancel_grace;
                if let Some(call) = self.calls.get_mut(&id) {
                    call.stage = Stage::Unwanted(until);
                    call.deadline = None;
                    call.received = Vec::new();
                }
            }
            Stage::Unwanted(_) => {}
        }
        self.close_if_idle();
    }

    /// The connection has ended.
    pub fn handle_closed(&mut self) {
        self.close(CloseReason::PeerClosed);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.pending.is_some_and(|pending| due(pending.deadline)) {
            self.close(CloseReason::BindTimedOut);
            return;
        }
        let late: Vec<u32> = self
            .calls
            .iter()
            .filter(|(_, call)| due(call.deadline))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.fail(id, CallFailure::TimedOut);
            self.cancel(now, CallId(id));
        }
        let given_up: Vec<u32> = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call.stage, Stage::Unwanted(until) if until <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in given_up {
            self.send_control(Kind::Orphaned, id);
            self.forget(id);
        }
        self.close_if_idle();
    }

    /// When to call [`Association::handle_timeout`], and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        if self.phase == Phase::Closed {
            return None;
        }
        let bind = self.pending.and_then(|pending| pending.deadline);
        let calls = self.calls.iter().filter_map(|(id, call)| match call.stage {
            Stage::Unwanted(until) => Some((until, Timer::GiveUp(CallId(*id)))),
            Stage::Queued | Stage::Sending | Stage::Waiting => {
                call.deadline.map(|at| (at, Timer::Call(CallId(*id))))
            }
        });
        bind.map(|at| (at, Timer::Bind))
            .into_iter()
            .chain(calls)
            .min()
    }

    /// What happened since the last time.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Calls in flight, given-up ones included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Whether calls can be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.usable().is_ok()
    }

    /// Whether header and trailer are covered by the checksum; known once bound.
    #[must_use]
    pub fn signs_headers(&self) -> bool {
        self.header_signing
    }

    /// Whether the server takes several calls at once; known once bound.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    fn usable(&self) -> Result<(), UsageError> {
        match self.phase {
            Phase::Open if !self.closing => Ok(()),
            Phase::Open | Phase::Closed => Err(UsageError::Closed),
            Phase::Fresh | Phase::Awaiting(_) | Phase::Negotiating => Err(UsageError::WrongPhase),
        }
    }

    fn next_id(&mut self) -> u32 {
        let id = self.next_call;
        // An association does not live for four thousand million calls; 0 is left out all the same.
        self.next_call = id.checked_add(1).unwrap_or(1);
        id
    }

    /// A packet of a header only.
    fn send_control(&mut self, kind: Kind, call_id: u32) {
        let mut packet = Vec::new();
        let flags = flag::FIRST | flag::LAST;
        if pdu::encode_plain(&mut packet, kind, flags, call_id, &[], None).is_ok() {
            self.control.push_back(packet);
        }
    }

    /// A call is over for whoever made it.
    fn fail(&mut self, id: u32, failure: CallFailure) {
        self.events.push_back(Event::Failed {
            call: CallId(id),
            failure,
        });
    }

    /// Nothing more comes of a call.
    fn remove(&mut self, id: u32) {
        self.calls.remove(&id);
        self.queue.retain(|queued| *queued != id);
    }

    /// Gives a call up; a late reply to it is passed over.
    fn forget(&mut self, id: u32) {
        self.remove(id);
        if self.forgotten.len() >= MAX_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
        // The server still works on it and takes nothing else meanwhile.
        if !self.multiplexed {
            self.close(CloseReason::Stuck);
        }
    }

    fn close_if_idle(&mut self) {
        if self.closing && self.calls.is_empty() {
            self.close(CloseReason::Shutdown);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.pending = None;
        self.security = None;
        self.calls.clear();
        self.queue.clear();
        self.control.clear();
        self.events.push_back(Event::Closed(reason));
    }
}

#[cfg(test)]
mod tests;
