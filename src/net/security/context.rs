//! The library's contexts behind one face: stepping a negotiation, then sealing and unsealing fragments.

use sspi::generator::GeneratorState;
use sspi::{
    BufferType, ClientRequestFlags, Credentials, CredentialsBuffers, DataRepresentation,
    EncryptionFlags, Kerberos, KerberosConfig, Negotiate, NegotiateConfig, NegotiatedProtocol,
    Ntlm, SecurityBuffer, SecurityBufferFlags, SecurityBufferRef, SecurityStatus, Sspi, SspiImpl,
};

use super::error::AuthError;
use super::kdc::{self, Kdcs};
use super::{NTLM, Step};
use crate::runtime::clock::utc_now;
use crate::wire::security::{SecurityContext, SecurityError};
use crate::wire::windows::FileTime;

/// What every step says again.
pub(super) struct Exchange<'a> {
    pub(super) target: &'a str,
    pub(super) flags: ClientRequestFlags,
    pub(super) bindings: Option<&'a [u8]>,
}

/// One of the library's contexts, with the account that it signs on.
pub(super) enum Mechanism {
    Kerberos(Box<Kerberos>, Option<CredentialsBuffers>),
    Negotiate(Box<Negotiate>, Option<CredentialsBuffers>),
    Ntlm(Box<Ntlm>, Option<sspi::AuthIdentityBuffers>),
}

impl Mechanism {
    pub(super) fn kerberos(
        config: KerberosConfig,
        identity: Credentials,
    ) -> Result<Self, AuthError> {
        let mut context = Kerberos::new_client_from_config(config)?;
        let handle = acquire(&mut context, &identity)?;
        Ok(Self::Kerberos(Box::new(context), handle))
    }

    pub(super) fn negotiate(
        config: NegotiateConfig,
        identity: Credentials,
    ) -> Result<Self, AuthError> {
        let mut context = Negotiate::new_client(config)?;
        let handle = acquire(&mut context, &identity)?;
        Ok(Self::Negotiate(Box::new(context), handle))
    }

    pub(super) fn ntlm(mut context: Ntlm, identity: Credentials) -> Result<Self, AuthError> {
        let Some(identity) = identity.auth_identity() else {
            return Err(AuthError::Keytab {
                said: "NTLM needs the password".to_owned(),
            });
        };
        let handle = acquire(&mut context, &identity)?;
        Ok(Self::Ntlm(Box::new(context), handle))
    }

    /// The mechanism in use.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Kerberos(..) => "kerberos",
            Self::Ntlm(..) => NTLM,
            Self::Negotiate(context, _) => match context.negotiated_protocol() {
                NegotiatedProtocol::Ntlm(_) => NTLM,
                NegotiatedProtocol::Kerberos(_) | NegotiatedProtocol::Pku2u(_) => "kerberos",
            },
        }
    }

    pub(super) async fn step(
        &mut self,
        exchange: &Exchange<'_>,
        input: Option<&[u8]>,
        kdcs: &mut Kdcs,
    ) -> sspi::Result<Step> {
        match self {
            Self::Kerberos(context, handle) => {
                step(context.as_mut(), handle, exchange, input, kdcs).await
            }
            Self::Negotiate(context, handle) => {
                step(context.as_mut(), handle, exchange, input, kdcs).await
            }
            Self::Ntlm(context, handle) => {
                step(context.as_mut(), handle, exchange, input, kdcs).await
            }
        }
    }

    /// The context for fragments.
    pub(super) fn protect(mut self, auth_type: u8) -> Result<Protection, AuthError> {
        let sizes = match &mut self {
            Self::Kerberos(context, _) => context.query_context_sizes(),
            Self::Negotiate(context, _) => context.query_context_sizes(),
            Self::Ntlm(context, _) => context.query_context_sizes(),
        }?;
        let token_length = usize::try_from(sizes.security_trailer).unwrap_or(usize::MAX);
        Ok(Protection {
            mechanism: self,
            auth_type,
            token_length,
        })
    }
}

fn acquire<S: Sspi + SspiImpl>(
    context: &mut S,
    identity: &S::AuthenticationData,
) -> Result<S::CredentialsHandle, AuthError> {
    let acquired = context
        .acquire_credentials_handle()
        .with_credential_use(sspi::CredentialUse::Outbound)
        .with_auth_data(identity)
        .execute(context)?;
    Ok(acquired.credentials_handle)
}

/// One step; the library stops where a key distribution centre must be asked.
async fn step<S: Sspi + SspiImpl>(
    context: &mut S,
    handle: &mut S::CredentialsHandle,
    exchange: &Exchange<'_>,
    input: Option<&[u8]>,
    kdcs: &mut Kdcs,
) -> sspi::Result<Step> {
    let mut given = vec![SecurityBuffer::new(
        input.unwrap_or_default().to_vec(),
        BufferType::Token,
    )];
    if let Some(bindings) = exchange.bindings {
        given.push(SecurityBuffer::new(
            bindings.to_vec(),
            BufferType::ChannelBindings,
        ));
    }
    let mut taken = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let status = {
        let mut builder = context
            .initialize_security_context()
            .with_credentials_handle(handle)
            .with_context_requirements(exchange.flags)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(exchange.target)
            .with_input(&mut given)
            .with_output(&mut taken);
        let mut generator = context.initialize_security_context_impl(&mut builder)?;
        let mut state = generator.start();
        loop {
            match state {
                GeneratorState::Suspended(request) => {
                    let host = request.url.host_str().unwrap_or_default();
                    let kdc = (host, request.url.port().unwrap_or(kdc::PORT));
                    let answer = kdcs.ask(kdc, &request.data).await;
                    state = generator.resume(answer);
                }
                GeneratorState::Completed(result) => break result?.status,
            }
        }
    };
    let done = match status {
        SecurityStatus::Ok => true,
        SecurityStatus::ContinueNeeded => false,
        SecurityStatus::CompleteNeeded | SecurityStatus::CompleteAndContinue => {
            context.complete_auth_token(&mut taken)?;
            status == SecurityStatus::CompleteNeeded
        }
        other => {
            return Err(sspi::Error::new(
                sspi::ErrorKind::InternalError,
                format!("unexpected status {other:?}"),
            ));
        }
    };
    let token = taken.into_iter().next().map(|buffer| buffer.buffer);
    Ok(Step {
        token: token.unwrap_or_default(),
        done,
    })
}

/// Seals and unseals fragments.
pub(super) struct Protection {
    mechanism: Mechanism,
    auth_type: u8,
    token_length: usize,
}

impl SecurityContext for Protection {
    fn auth_type(&self) -> u8 {
        self.auth_type
    }

    fn token_length(&self) -> usize {
        self.token_length
    }

    fn seal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &mut [u8],
    ) -> Result<(), SecurityError> {
        let (mut header, mut trailer) = (Around::new(header)?, Around::new(trailer)?);
        let mut buffers = buffers(&mut header, stub, &mut trailer, token);
        let flags = EncryptionFlags::empty();
        let result = match &mut self.mechanism {
            Mechanism::Kerberos(context, _) => context.encrypt_message(flags, &mut buffers),
            Mechanism::Negotiate(context, _) => context.encrypt_message(flags, &mut buffers),
            Mechanism::Ntlm(context, _) => context.encrypt_message(flags, &mut buffers),
        };
        result.map(drop).map_err(failed)
    }

    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError> {
        let (mut header, mut trailer) = (Around::new(header)?, Around::new(trailer)?);
        let mut token = token.to_vec();
        let mut buffers = buffers(&mut header, stub, &mut trailer, &mut token);
        let result = match &mut self.mechanism {
            Mechanism::Kerberos(context, _) => context.decrypt_message(&mut buffers),
            Mechanism::Negotiate(context, _) => context.decrypt_message(&mut buffers),
            Mechanism::Ntlm(context, _) => context.decrypt_message(&mut buffers),
        };
        result.map(drop).map_err(failed)
    }
}

/// Header or trailer of a fragment: the library wants even what it only reads to be writable.
struct Around {
    bytes: [u8; 40],
    length: usize,
}

impl Around {
    fn new(bytes: &[u8]) -> Result<Self, SecurityError> {
        let mut around = Self {
            bytes: [0; 40],
            length: bytes.len(),
        };
        around
            .bytes
            .get_mut(..bytes.len())
            .ok_or_else(|| SecurityError("a header is too long".to_owned()))?
            .copy_from_slice(bytes);
        Ok(around)
    }
}

/// The buffers in the order of MS-RPCE 3.3.1.5.2.2; without header signing only stub and token.
fn buffers<'a>(
    header: &'a mut Around,
    stub: &'a mut [u8],
    trailer: &'a mut Around,
    token: &'a mut [u8],
) -> Vec<SecurityBufferRef<'a>> {
    let around = |around: &'a mut Around| {
        let bytes = around.bytes.get_mut(..around.length).unwrap_or_default();
        (!bytes.is_empty()).then(|| {
            SecurityBufferRef::data_buf(bytes)
                .with_flags(SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM)
        })
    };
    let mut buffers = Vec::with_capacity(4);
    buffers.extend(around(header));
    buffers.push(SecurityBufferRef::data_buf(stub));
    buffers.extend(around(trailer));
    buffers.push(SecurityBufferRef::token_buf(token));
    buffers
}

fn failed(error: sspi::Error) -> SecurityError {
    SecurityError(error.description)
}

/// How far the clock in an NTLM challenge (MS-NLMP 2.2.1.2, `MsvAvTimestamp`) is ahead of ours, in milliseconds; the
/// challenge may be wrapped in SPNEGO.
pub(super) fn ntlm_clock(token: &[u8]) -> Option<i64> {
    const SIGNATURE: &[u8] = b"NTLMSSP\0\x02\0\0\0";
    const TIMESTAMP: u16 = 7;
    let start = token
        .windows(SIGNATURE.len())
        .position(|window| window == SIGNATURE)?;
    let challenge = token.get(start..)?;
    let number = |at: usize| {
        let bytes = challenge.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    };
    let (length, offset) = (number(40)?, number(44)?);
    let mut pairs = challenge.get(offset..offset.checked_add(length)?)?;
    while let Some((head, rest)) = pairs.split_first_chunk::<4>() {
        let id = u16::from_le_bytes([head[0], head[1]]);
        let (value, rest) =
            rest.split_at_checked(usize::from(u16::from_le_bytes([head[2], head[3]])))?;
        if id == TIMESTAMP {
            let time = FileTime(u64::from_le_bytes(value.try_into().ok()?));
            return Some(time.to_unix_millis() - utc_now().0);
        }
        pairs = rest;
    }
    None
}
