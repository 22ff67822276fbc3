//! A server that has event records and sends them as fast as it is asked: RPC over TCP, NTLM, packet privacy, EVEN6.
//!
//! Only what a measurement needs: replies are encoded before it begins, so that what remains is what every server has
//! to do, the sealing. It names the security library itself, because jims' own room for it is a client. Threads and
//! blocking sockets, so that it shares no runtime with what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jims::wire::dcerpc::bind::{Bind, BindAck, ContextResult};
use jims::wire::dcerpc::call::{RequestHead, ResponseHead};
use jims::wire::dcerpc::pdu::{
    HEADER_BYTES, Header, Kind, Parts, TRAILER_BYTES, Trailer, encode_plain, flag,
};
use jims::wire::dcerpc::{DEFAULT_FRAGMENT, NDR20};
use jims::wire::even6::opnum;
use jims::wire::ndr::{ContextHandle, Writer};
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, CredentialUse, DataRepresentation,
    EncryptionFlags, Ntlm, SecurityBuffer, SecurityBufferFlags, SecurityBufferRef, SecurityStatus,
    ServerRequestFlags, Sspi, SspiImpl, Username,
};

/// Where it listens; the port is free choice.
const ADDRESS: &str = "127.77.3.1";
/// Most connections in its life.
const MAX_CONNECTIONS: usize = 64;
/// A client that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Written to the socket at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes of an NTLM token.
const TOKEN_BYTES: usize = 16;
/// Bytes before a response's data.
const RESPONSE_BYTES: usize = HEADER_BYTES + 8;
/// Sealed data is padded to a multiple of this.
const SEAL_ALIGNMENT: usize = 16;

/// Whoever may sign on.
pub(crate) const USER: &str = "bench";
/// Its domain.
pub(crate) const DOMAIN: &str = "CORP";
/// Its password.
pub(crate) const PASSWORD: &str = "measured, not secret";

/// Starts it; `replies` are what calls for records are answered with, in turn.
#[expect(
    clippy::disallowed_methods,
    reason = "a listener of the measurement's own, on loopback"
)]
pub(crate) fn start(replies: Arc<Vec<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind((ADDRESS, 0)).expect("a port on loopback");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().take(MAX_CONNECTIONS) {
            let replies = Arc::clone(&replies);
            let stream = stream.expect("a connection");
            thread::spawn(move || {
                if let Err(said) = Connection::new(stream, replies).serve() {
                    eprint(&said);
                }
            });
        }
    });
    address
}

#[expect(clippy::print_stderr, reason = "a measurement speaks to a terminal")]
fn eprint(said: &str) {
    eprintln!("the peer: {said}");
}

/// One client.
struct Connection {
    stream: TcpStream,
    replies: Arc<Vec<Vec<u8>>>,
    sent: usize,
    ntlm: Ntlm,
    handle: Option<AuthIdentityBuffers>,
    trailer: Trailer,
    /// Largest fragment that the client takes.
    fragment: usize,
    /// The arguments that have come so far.
    arguments: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream, replies: Arc<Vec<Vec<u8>>>) -> Self {
        let mut ntlm = Ntlm::new();
        let identity = AuthIdentity {
            username: Username::new(USER, Some(DOMAIN)).expect("a user"),
            password: PASSWORD.to_owned().into(),
        };
        let acquired = ntlm
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Inbound)
            .with_auth_data(&identity)
            .execute(&mut ntlm)
            .expect("credentials");
        Self {
            stream,
            replies,
            sent: 0,
            ntlm,
            handle: acquired.credentials_handle,
            trailer: Trailer {
                auth_type: 10,
                level: Trailer::PRIVACY,
                padding: 0,
                context_id: 0,
            },
            fragment: DEFAULT_FRAGMENT.into(),
            arguments: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Until the client goes.
    fn serve(mut self) -> Result<(), String> {
        self.stream.set_nodelay(true).map_err(said)?;
        let silence = Some(SILENCE);
        self.stream.set_read_timeout(silence).map_err(said)?;
        let mut packet = vec![0; HEADER_BYTES];
        loop {
            packet.resize(HEADER_BYTES, 0);
            if self.stream.read_exact(&mut packet).is_err() {
                return Ok(());
            }
            let header = Header::decode(&packet).map_err(said)?.ok_or("no header")?;
            packet.resize(header.fragment_length.into(), 0);
            let body = &mut packet[HEADER_BYTES..];
            self.stream.read_exact(body).map_err(said)?;
            match header.kind {
                Kind::Bind => self.bind(&header, &packet)?,
                Kind::Auth3 => {
                    let token = packet.len() - usize::from(header.auth_length);
                    self.accept(&packet[token..])?;
                }
                Kind::Request => self.request(&header, &mut packet)?,
                Kind::CoCancel | Kind::Orphaned => {}
                other => return Err(format!("unexpected {other}")),
            }
            self.write(0)?;
        }
    }

    fn bind(&mut self, header: &Header, packet: &[u8]) -> Result<(), String> {
        let parts = Parts::split(header, packet).map_err(said)?;
        let bind = Bind::decode(parts.body).map_err(said)?;
        let (trailer, token) = parts.auth.ok_or("a bind without a token")?;
        self.trailer = Trailer {
            padding: 0,
            ..trailer
        };
        self.fragment = usize::from(bind.max_receive).min(DEFAULT_FRAGMENT.into());
        let token = self.accept(token)?;
        let accepted = ContextResult {
            result: 0,
            reason: 0,
            transfer: NDR20,
        };
        let ack = BindAck {
            max_transmit: bind.max_receive.min(DEFAULT_FRAGMENT),
            max_receive: bind.max_transmit.min(DEFAULT_FRAGMENT),
            group: 1,
            secondary_address: b"49152\0".to_vec(),
            results: vec![accepted; bind.contexts.len()],
        };
        let mut body = Vec::new();
        ack.encode(&mut body);
        let flags = flag::FIRST | flag::LAST | flag::MULTIPLEXED | flag::SUPPORT_HEADER_SIGN;
        let auth = Some((self.trailer, &token[..]));
        let id = header.call_id;
        encode_plain(&mut self.out, Kind::BindAck, flags, id, &body, auth).map_err(said)
    }

    /// One step of NTLM; our token.
    fn accept(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let builder = self
            .ntlm
            .accept_security_context()
            .with_credentials_handle(&mut self.handle)
            .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_input(&mut input)
            .with_output(&mut output);
        let status = self
            .ntlm
            .accept_security_context_impl(builder)
            .and_then(|mut step| step.resolve_to_result())
            .map_err(said)?
            .status;
        if status == SecurityStatus::CompleteNeeded {
            self.ntlm.complete_auth_token(&mut output).map_err(said)?;
        }
        Ok(std::mem::take(&mut output[0].buffer))
    }

    fn request(&mut self, header: &Header, packet: &mut [u8]) -> Result<(), String> {
        let head = RequestHead::decode(header, &packet[HEADER_BYTES..]).map_err(said)?;
        let (start, end) = (head.data_offset(), header.trailer_offset());
        let (front, token) = packet.split_at_mut(end + TRAILER_BYTES);
        let (front, trailer) = front.split_at_mut(end);
        let (before, data) = front.split_at_mut(start);
        let padding = Trailer::decode(trailer).map_err(said)?.padding;
        // With NTLM, header and trailer are covered whether that was offered or not: impacket never says that it does.
        let mut buffers = [
            around(before),
            SecurityBufferRef::data_buf(data),
            around(trailer),
            SecurityBufferRef::token_buf(token),
        ];
        self.ntlm.decrypt_message(&mut buffers).map_err(said)?;
        let length = data.len().saturating_sub(padding.into());
        self.arguments.extend_from_slice(&data[..length]);
        if header.has(flag::LAST) {
            self.arguments.clear();
            let replies = Arc::clone(&self.replies);
            match head.opnum {
                opnum::REGISTER_SUBSCRIPTION | opnum::REGISTER_QUERY => {
                    self.answer(header.call_id, head.context_id, &registration())?;
                }
                opnum::SUBSCRIPTION_NEXT_ASYNC | opnum::SUBSCRIPTION_NEXT | opnum::QUERY_NEXT => {
                    let reply = &replies[self.sent % replies.len()];
                    self.sent += 1;
                    self.answer(header.call_id, head.context_id, reply)?;
                }
                opnum::CLOSE => {
                    let null = [0; 24];
                    self.answer(header.call_id, head.context_id, &null)?;
                }
                other => return Err(format!("function {other} is not offered")),
            }
        }
        Ok(())
    }

    /// Seals and sends results.
    fn answer(&mut self, call_id: u32, context_id: u16, stub: &[u8]) -> Result<(), String> {
        let around_data = RESPONSE_BYTES + TRAILER_BYTES + TOKEN_BYTES;
        let room = (self.fragment - around_data) / SEAL_ALIGNMENT * SEAL_ALIGNMENT;
        let count = stub.len().div_ceil(room);
        for (index, chunk) in stub.chunks(room).enumerate() {
            let first = if index == 0 { flag::FIRST } else { 0 };
            let last = if index + 1 == count { flag::LAST } else { 0 };
            let left = stub.len() - index * room;
            let head = ResponseHead {
                alloc_hint: u32::try_from(left).expect("a reply is short"),
                context_id,
                cancel_count: 0,
            };
            self.fragment(call_id, first | last, head, chunk)?;
            self.write(WRITE_BYTES)?;
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        call_id: u32,
        flags: u8,
        head: ResponseHead,
        chunk: &[u8],
    ) -> Result<(), String> {
        let padding = chunk.len().next_multiple_of(SEAL_ALIGNMENT) - chunk.len();
        let data = chunk.len() + padding;
        let length = RESPONSE_BYTES + data + TRAILER_BYTES + TOKEN_BYTES;
        let header = Header {
            kind: Kind::Response,
            flags,
            fragment_length: u16::try_from(length).map_err(said)?,
            auth_length: 16,
            call_id,
        };
        let trailer = Trailer {
            padding: u8::try_from(padding).map_err(said)?,
            ..self.trailer
        };
        let start = self.out.len();
        header.encode(&mut self.out);
        head.encode(&mut self.out);
        self.out.extend_from_slice(chunk);
        self.out.resize(self.out.len() + padding, 0);
        self.out.extend_from_slice(&trailer.encode());
        self.out.resize(self.out.len() + TOKEN_BYTES, 0);
        let (before, rest) = self.out[start..].split_at_mut(RESPONSE_BYTES);
        let (data, rest) = rest.split_at_mut(data);
        let (trailer, token) = rest.split_at_mut(TRAILER_BYTES);
        let mut buffers = [
            around(before),
            SecurityBufferRef::data_buf(data),
            around(trailer),
            SecurityBufferRef::token_buf(token),
        ];
        let flags = EncryptionFlags::empty();
        let sealed = self.ntlm.encrypt_message(flags, &mut buffers);
        sealed.map(drop).map_err(said)
    }

    /// Sends what has gathered, if it is more than `least`.
    fn write(&mut self, least: usize) -> Result<(), String> {
        if self.out.len() > least {
            self.stream.write_all(&self.out).map_err(said)?;
            self.out.clear();
        }
        Ok(())
    }
}

fn around(bytes: &mut [u8]) -> SecurityBufferRef<'_> {
    SecurityBufferRef::data_buf(bytes)
        .with_flags(SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM)
}

/// A subscription or a query, as Windows answers: two handles and one channel without an error.
fn registration() -> Vec<u8> {
    let mut stub = Writer::new();
    stub.handle(&ContextHandle([1; 20]))
        .handle(&ContextHandle([2; 20]))
        .u32(1)
        .pointer(true)
        .u32(1)
        .pointer(true)
        .u32(0)
        .wide_string("Security");
    for _ in 0..4 {
        stub.u32(0);
    }
    stub.into_bytes()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
