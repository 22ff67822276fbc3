//! What is said to an LDAP server before the client library takes over: StartTLS, and signing on by SASL.
//!
//! One request, one answer, read exactly. The library keeps its SASL steps to itself, so these are ours.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ldap_error::{LdapError, code};
use super::security::{Negotiated, Negotiation};
use crate::wire::ldap::{self, BadMessage};

/// An answer to StartTLS is a few dozen bytes, one to a bind holds a token.
const MAX_ANSWER: usize = 128 << 10;
/// Rounds of tokens; SPNEGO takes two or three.
const MAX_ROUNDS: u8 = 8;

/// Sends a request and reads its answer, checked.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    doing: &'static str,
    request: &[u8],
) -> Result<Vec<u8>, LdapError> {
    // Whatever breaks it here: a port that speaks TLS at once does not answer in plain LDAP.
    let broken = |_: std::io::Error| LdapError::Closed {
        host: host.to_owned(),
        doing,
    };
    let protocol = |reason| LdapError::Protocol {
        host: host.to_owned(),
        reason,
    };
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    let whole = loop {
        match ldap::message_length(&answer).map_err(protocol)? {
            Some(length) if length > MAX_ANSWER => return Err(protocol(BadMessage::TooLong)),
            Some(length) => break length,
            None => answer.push(stream.read_u8().await.map_err(broken)?),
        }
    };
    let begun = answer.len();
    answer.resize(whole, 0);
    let rest = answer.get_mut(begun..).unwrap_or_default();
    stream.read_exact(rest).await.map_err(broken)?;
    ldap::check(&answer).map_err(protocol)?;
    Ok(answer)
}

/// Signs on with GSS-SPNEGO; what protects the connection is TLS.
pub(super) async fn sign_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    mut negotiation: Negotiation,
) -> Result<Negotiated, LdapError> {
    const DOING: &str = "the bind";
    let auth = |source| LdapError::Auth {
        host: host.to_owned(),
        source,
    };
    let protocol = |reason| LdapError::Protocol {
        host: host.to_owned(),
        reason,
    };
    let mut token = None;
    for round in 1..=MAX_ROUNDS {
        let step = negotiation.step(token.as_deref()).await.map_err(auth)?;
        if step.done && step.token.is_empty() {
            return Ok(negotiation.outcome());
        }
        let request = ldap::sasl_bind_request(round, &step.token);
        let answer = exchange(stream, host, DOING, &request).await?;
        let (result, text) = ldap::result(&answer).map_err(protocol)?;
        match result {
            0 => {
                // The server's last word proves who it is, unless that was said before; TLS proves it anyway.
                if let Some(last) = ldap::sasl_token(&answer).map_err(protocol)?
                    && !step.done
                {
                    negotiation.step(Some(&last)).await.map_err(auth)?;
                }
                return Ok(negotiation.outcome());
            }
            code::SASL_BIND_IN_PROGRESS => {
                token = ldap::sasl_token(&answer).map_err(protocol)?;
            }
            refused => {
                return Err(LdapError::Result {
                    host: host.to_owned(),
                    doing: DOING,
                    code: refused,
                    text,
                });
            }
        }
    }
    Err(protocol(BadMessage::BadElement("a bind without end")))
}
