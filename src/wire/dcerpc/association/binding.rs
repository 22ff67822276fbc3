//! Opening an association and changing it: binds, tokens, more interfaces.

use std::time::Instant;

use super::{AUTH_CONTEXT, Association, FirstToken, Pending, Phase, UsageError};
use crate::wire::dcerpc::bind::{Bind, PresentationContext};
use crate::wire::dcerpc::pdu::{self, Kind, Trailer, flag};
use crate::wire::dcerpc::{NDR20, SyntaxId};
use crate::wire::security::SecurityContext;

impl Association {
    /// Asks the server for an association; the interfaces get the numbers 0, 1, and so on.
    ///
    /// With a token, privacy is asked for and the negotiation goes on from [`super::Event::Bound`]; without, the association
    /// is open, and unprotected, once bound.
    ///
    /// # Errors
    /// [`UsageError`]: not the first thing done, or the token is too long for a packet.
    pub fn bind(
        &mut self,
        interfaces: &[SyntaxId],
        first: Option<FirstToken>,
        deadline: Option<Instant>,
    ) -> Result<(), UsageError> {
        if self.phase != Phase::Fresh {
            return Err(UsageError::WrongPhase);
        }
        self.contexts = (0..)
            .zip(interfaces)
            .map(|(id, interface)| offered(id, *interface))
            .collect();
        self.bind_call = self.next_id();
        self.auth = first.as_ref().map(|first| Trailer {
            auth_type: first.auth_type,
            level: Trailer::PRIVACY,
            padding: 0,
            context_id: AUTH_CONTEXT,
        });
        let contexts = self.contexts.clone();
        let token = first.map(|first| first.token);
        self.send_bind(Kind::Bind, self.bind_call, contexts, token.as_deref())?;
        self.await_answer(Kind::BindAck, self.bind_call, deadline, None);
        Ok(())
    }

    /// Answers the server's token with one that it answers in turn, in an `alter_context`.
    ///
    /// # Errors
    /// [`UsageError`]: no token is due, or it is too long.
    pub fn continue_bind(
        &mut self,
        token: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), UsageError> {
        if self.phase != Phase::Negotiating {
            return Err(UsageError::WrongPhase);
        }
        let first = self
            .contexts
            .iter()
            .find(|context| self.accepted.contains(&context.id))
            .cloned();
        let contexts = first.into_iter().collect();
        self.send_bind(Kind::AlterContext, self.bind_call, contexts, Some(token))?;
        self.await_answer(Kind::AlterContextResponse, self.bind_call, deadline, None);
        Ok(())
    }

    /// Answers the server's token with the last one of the negotiation, which is not answered (MS-RPCE 2.2.2.10).
    ///
    /// # Errors
    /// [`UsageError`]: no token is due, or it is too long.
    pub fn auth3(&mut self, token: &[u8]) -> Result<(), UsageError> {
        let (Phase::Negotiating, Some(trailer)) = (self.phase, self.auth) else {
            return Err(UsageError::WrongPhase);
        };
        let mut packet = Vec::new();
        let flags = flag::FIRST | flag::LAST | flag::SUPPORT_HEADER_SIGN;
        // The body is four bytes without meaning.
        let auth = Some((trailer, token));
        pdu::encode_plain(
            &mut packet,
            Kind::Auth3,
            flags,
            self.bind_call,
            &[0; 4],
            auth,
        )
        .map_err(|_| UsageError::TokenTooLong)?;
        self.control.push_back(packet);
        Ok(())
    }

    /// Ends the negotiation: from now on everything is sealed.
    ///
    /// # Errors
    /// [`UsageError`]: no negotiation is going on, or the context is of another kind than its tokens.
    pub fn protect(&mut self, security: Box<dyn SecurityContext>) -> Result<(), UsageError> {
        if self.phase != Phase::Negotiating {
            return Err(UsageError::WrongPhase);
        }
        if self.auth.map(|auth| auth.auth_type) != Some(security.auth_type()) {
            return Err(UsageError::OtherSecurity);
        }
        self.security = Some(security);
        self.phase = Phase::Open;
        Ok(())
    }

    /// Offers another interface on the open association; its answer is [`super::Event::Altered`].
    ///
    /// # Errors
    /// [`UsageError`]: not open, or another change has not been answered yet.
    pub fn alter_context(
        &mut self,
        interface: SyntaxId,
        deadline: Option<Instant>,
    ) -> Result<u16, UsageError> {
        self.usable()?;
        if self.pending.is_some() {
            return Err(UsageError::WrongPhase);
        }
        let id = u16::try_from(self.contexts.len()).map_err(|_| UsageError::TooManyContexts)?;
        let context = offered(id, interface);
        let call_id = self.next_id();
        self.send_bind(Kind::AlterContext, call_id, vec![context.clone()], None)?;
        self.contexts.push(context);
        self.pending = Some(Pending {
            call_id,
            deadline,
            context: Some(id),
        });
        Ok(id)
    }

    fn send_bind(
        &mut self,
        kind: Kind,
        call_id: u32,
        contexts: Vec<PresentationContext>,
        token: Option<&[u8]>,
    ) -> Result<(), UsageError> {
        let mut body = Vec::new();
        let bind = Bind {
            max_transmit: self.config.fragment,
            max_receive: self.config.fragment,
            group: self.group,
            contexts,
        };
        bind.encode(&mut body);
        let mut flags = flag::FIRST | flag::LAST | flag::MULTIPLEXED;
        if self.auth.is_some() {
            flags |= flag::SUPPORT_HEADER_SIGN;
        }
        let mut packet = Vec::new();
        let auth = self.auth.zip(token);
        pdu::encode_plain(&mut packet, kind, flags, call_id, &body, auth)
            .map_err(|_| UsageError::TokenTooLong)?;
        self.control.push_back(packet);
        Ok(())
    }

    fn await_answer(
        &mut self,
        kind: Kind,
        call_id: u32,
        deadline: Option<Instant>,
        context: Option<u16>,
    ) {
        self.phase = Phase::Awaiting(kind);
        self.pending = Some(Pending {
            call_id,
            deadline,
            context,
        });
    }
}

fn offered(id: u16, interface: SyntaxId) -> PresentationContext {
    PresentationContext {
        id,
        interface,
        transfer: vec![NDR20],
    }
}
