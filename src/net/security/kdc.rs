//! Key distribution centres: who is asked in which order, over TCP, and what their clocks say.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::resolve::Resolver;
use crate::runtime::clock::utc_now;
use crate::wire::kerberos::{self, KrbError, code};

/// What the library believes it asks for the account's realm; we decide who it is.
pub(super) const PLACEHOLDER: &str = "tcp://kdc.invalid:88";
const PLACEHOLDER_HOST: &str = "kdc.invalid";

pub(super) const PORT: u16 = 88;
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer: a ticket with a large list of groups has some 64 KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Most that are tried.
const MAX_KDCS: usize = 8;

/// Who is asked for tickets of a realm.
#[derive(Clone, Debug)]
pub struct Kdcs {
    resolver: Resolver,
    realm: String,
    configured: Vec<String>,
    /// Asked if nothing is configured and DNS knows none.
    fallback: String,
    /// The one that answered last, shared by all who ask for this realm.
    good: Arc<Mutex<Option<(String, u16)>>>,
    found: Vec<(String, u16)>,
    tried: Vec<String>,
    told: Option<Told>,
    wanted_proof: bool,
    clock_offset: Option<i64>,
}

/// The last refusal of one that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// An error; the flag says whether a ticket for the service was asked for, not the first one for the account.
    Error(KrbError, bool),
    /// A first ticket for everybody who asks, without a proof of the account.
    TicketWithoutProof,
}

impl Kdcs {
    /// Those configured (`host` or `host:port`), else those that DNS names for the domain, else the fallback.
    #[must_use]
    pub fn new(
        resolver: &Resolver,
        domain: &str,
        configured: &[String],
        fallback: impl Into<String>,
    ) -> Self {
        Self {
            resolver: resolver.clone(),
            realm: domain.to_uppercase(),
            configured: configured.to_vec(),
            fallback: fallback.into(),
            good: Arc::default(),
            found: Vec::new(),
            tried: Vec::new(),
            told: None,
            wanted_proof: false,
            clock_offset: None,
        }
    }

    /// The same, to begin a sign-on with.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            tried: Vec::new(),
            told: None,
            wanted_proof: false,
            clock_offset: None,
            ..self.clone()
        }
    }

    /// The realm.
    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// Each one that did not answer, with what happened.
    pub(super) fn tried(&self) -> &[String] {
        &self.tried
    }

    /// What the one that answered last refused.
    pub(super) fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// How far the clock of the one that answered is ahead of ours, in milliseconds, where it told its time.
    pub(super) fn clock_offset(&self) -> Option<i64> {
        self.clock_offset
    }

    /// Sends a request (with its length before it) to the first that answers. The library names who it means: the
    /// account's realm, or, where that refers to another realm, the host that `krb5.conf` has for it.
    pub(super) async fn ask(
        &mut self,
        (host, port): (&str, u16),
        request: &[u8],
    ) -> sspi::Result<Vec<u8>> {
        let order = if host == PLACEHOLDER_HOST {
            self.order().await
        } else {
            vec![(host.to_owned(), port)]
        };
        for (host, port) in order {
            let failed = match self.ask_one(&host, port, request).await {
                Ok(answer) if is_unavailable(&answer) => {
                    "it says that it is unavailable".to_owned()
                }
                Ok(answer) => {
                    self.heard(request, &answer);
                    if self.found.iter().any(|kdc| *kdc == (host.clone(), port)) {
                        *self.good.lock() = Some((host, port));
                    }
                    return Ok(answer);
                }
                Err(error) => error.to_string(),
            };
            self.tried.push(format!("{host}:{port}: {failed}"));
        }
        *self.good.lock() = None;
        Err(sspi::Error::new(
            sspi::ErrorKind::NoAuthenticatingAuthority,
            self.tried.join("; "),
        ))
    }

    /// Those of the account's realm, the one that answered last first.
    async fn order(&mut self) -> Vec<(String, u16)> {
        self.find().await;
        let good = self.good.lock().clone();
        let rest = self.found.iter().filter(|kdc| Some(*kdc) != good.as_ref());
        good.iter().chain(rest).take(MAX_KDCS).cloned().collect()
    }

    async fn find(&mut self) {
        if !self.found.is_empty() {
            return;
        }
        self.found = self.configured.iter().map(|kdc| place(kdc)).collect();
        if self.found.is_empty() {
            let service = format!("_kerberos._tcp.{}", self.realm.to_lowercase());
            // Without an answer there is still the server itself.
            self.found = self.resolver.services(&service).await.unwrap_or_default();
        }
        if self.found.is_empty() {
            self.found = vec![place(&self.fallback)];
        }
    }

    async fn ask_one(&self, host: &str, port: u16, request: &[u8]) -> io::Result<Vec<u8>> {
        let addresses = self.resolver.addresses(host).await;
        let addresses = addresses.map_err(|error| io::Error::other(error.to_string()))?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
        for address in addresses.into_iter().take(4) {
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match timeout(CONNECT_DEADLINE, connecting).await {
                Ok(Ok(stream)) => return exchange(stream, request).await,
                Ok(Err(error)) => last = error,
                Err(_) => last = no_answer(CONNECT_DEADLINE),
            }
        }
        Err(last)
    }

    fn heard(&mut self, request: &[u8], answer: &[u8]) {
        let message = answer.get(4..).unwrap_or_default();
        let Some(error) = KrbError::parse(message) else {
            let without_proof = kerberos::is_first_ticket(message) && !self.wanted_proof;
            self.told = without_proof.then_some(Told::TicketWithoutProof);
            return;
        };
        if let Some(time) = error.server_time_ms {
            self.clock_offset = Some(time - utc_now().0);
        }
        // Everybody is first asked for proof.
        let refuses = error.code != code::PREAUTHENTICATION_REQUIRED;
        self.wanted_proof |= !refuses;
        let for_service = kerberos::asks_for_service(request.get(4..).unwrap_or_default());
        self.told = refuses.then_some(Told::Error(error, for_service));
    }
}

fn is_unavailable(answer: &[u8]) -> bool {
    let error = answer.get(4..).and_then(KrbError::parse);
    error.is_some_and(|error| error.code == code::UNAVAILABLE)
}

async fn exchange(mut stream: TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    let work = async {
        stream.write_all(request).await?;
        // RFC 4120 7.2.2: the length before each message.
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > MAX_ANSWER_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("announced an answer of {length} bytes"),
            ));
        }
        let mut answer = vec![0; 4 + length];
        let (head, body) = answer.split_at_mut(4);
        head.copy_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
        stream.read_exact(body).await?;
        Ok(answer)
    };
    timeout(ANSWER_DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(no_answer(ANSWER_DEADLINE)))
}

fn no_answer(after: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", after.as_secs()),
    )
}

/// `host` or `host:port`; an IPv6 address stands alone.
fn place(text: &str) -> (String, u16) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => {
            (host.to_owned(), port.parse().unwrap_or(PORT))
        }
        _ => (text.to_owned(), PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::fake::{framed, krb_error};
    use super::*;

    #[test]
    fn a_kdc_is_a_host_or_a_host_and_a_port() {
        assert_eq!(place("dc1"), ("dc1".to_owned(), 88));
        assert_eq!(place("dc1:1088"), ("dc1".to_owned(), 1088));
        assert_eq!(place("2001:db8::1"), ("2001:db8::1".to_owned(), 88));
    }

    #[test]
    fn only_a_refusal_that_nothing_better_followed_counts() {
        let mut kdcs = Kdcs::new(&Resolver::default(), "corp.example.com", &[], "dc1");
        let (first, service) = (framed(&[0x6a, 0]), framed(&[0x6c, 0]));
        let ticket = framed(&[0x6b, 0]);
        kdcs.heard(&first, &krb_error(code::PREAUTHENTICATION_REQUIRED));
        assert_eq!(kdcs.told(), None);
        let offset = kdcs.clock_offset().expect("it told its time");
        assert!((offset - 3_600_000).abs() < 60_000, "{offset}");
        kdcs.heard(&first, &krb_error(code::SKEW));
        assert!(matches!(kdcs.told(), Some(Told::Error(error, false)) if error.code == code::SKEW));
        kdcs.heard(&first, &ticket);
        assert_eq!(kdcs.told(), None, "the library made up for the skew");
        kdcs.heard(&service, &krb_error(code::SERVICE_UNKNOWN));
        assert!(matches!(kdcs.told(), Some(Told::Error(_, true))));
        let mut kdcs = kdcs.afresh();
        assert_eq!((kdcs.told(), kdcs.clock_offset()), (None, None));
        kdcs.heard(&first, &ticket);
        assert_eq!(kdcs.told(), Some(&Told::TicketWithoutProof));
    }
}

/// Key distribution centres that only refuse.
#[cfg(test)]
pub(super) mod fake {
    use super::*;

    /// A message with its length before it.
    pub(in crate::net::security) fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("short");
        [&length.to_be_bytes(), message].concat()
    }

    /// KRB-ERROR (RFC 4120 5.9.1) of a realm whose clock is an hour ahead.
    pub(in crate::net::security) fn krb_error(code: u32) -> Vec<u8> {
        let der = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).expect("short");
            [&[tag, length], content].concat()
        };
        let now = jiff::Timestamp::from_millisecond(utc_now().0 + 3_600_000).expect("a time");
        let time = now.strftime("%Y%m%d%H%M%SZ").to_string();
        let name = [der(0x1b, b"krbtgt"), der(0x1b, b"CORP.EXAMPLE.COM")].concat();
        let service = [der(0xa0, &der(2, &[2])), der(0xa1, &der(0x30, &name))].concat();
        let fields = [
            der(0xa0, &der(2, &[5])),
            der(0xa1, &der(2, &[30])),
            der(0xa4, &der(0x18, time.as_bytes())),
            der(0xa5, &der(2, &[1])),
            der(0xa6, &der(2, &[u8::try_from(code).expect("small")])),
            der(0xa9, &der(0x1b, b"CORP.EXAMPLE.COM")),
            der(0xaa, &der(0x30, &service)),
        ]
        .concat();
        let sequence = [
            &[0x30, 0x81, u8::try_from(fields.len()).expect("short")],
            &fields[..],
        ];
        let sequence = sequence.concat();
        let length = u8::try_from(sequence.len()).expect("short");
        framed(&[&[0x7e, 0x81, length], &sequence[..]].concat())
    }

    /// Answers every connection so, without end; its address as it is configured.
    pub(in crate::net::security) async fn answering(answer: Vec<u8>) -> String {
        #[expect(clippy::disallowed_methods, reason = "a listener of a test")]
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let serve = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u32().await.unwrap_or(0);
                let mut request = vec![0; usize::try_from(length).unwrap_or(0)];
                drop(stream.read_exact(&mut request).await);
                drop(stream.write_all(&answer).await);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        drop(tokio::spawn(serve));
        address
    }
}
