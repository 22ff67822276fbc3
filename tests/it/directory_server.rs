//! A directory server that behaves like Windows where Samba does not: at most 1000 entries without pages, long groups in
//! ranges of 1500, deleted objects only with control and right, referrals among results, reasons in the bind's text.
//!
//! It speaks just enough LDAP for jims: its own small BER, nothing of the client's library.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) const BASE: &str = "DC=corp,DC=example,DC=com";
const MAX_PAGE: usize = 1000;
const MAX_RANGE: usize = 1500;

pub(crate) type Guid = [u8; 16];

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub guid: Guid,
    pub class: &'static str,
    pub name: String,
    pub disabled: bool,
    pub members: Vec<Guid>,
    pub deleted: bool,
    pub usn: u64,
}

/// How connections are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Good,
    /// Reads and never answers.
    Hang,
    /// Closes at the first request.
    Close,
    /// Answers with these bytes.
    Garbage(Vec<u8>),
    /// Refuses binds.
    Refuse(u8, &'static str),
    /// Closes in the middle of a search, after the first page.
    CloseAfterPage,
}

#[derive(Debug)]
pub(crate) struct World {
    pub objects: Vec<Object>,
    pub usn: u64,
    pub invocation: u8,
    pub sees_deleted: bool,
    pub mode: Mode,
    pub binds: usize,
    pub host: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Server(pub Arc<Mutex<World>>);

pub(crate) fn guid(number: u32) -> Guid {
    let mut guid = [0xAA; 16];
    guid[..4].copy_from_slice(&number.to_le_bytes());
    guid
}

impl Server {
    pub(crate) fn new(host: &'static str) -> Self {
        Self(Arc::new(Mutex::new(World {
            objects: Vec::new(),
            usn: 100,
            invocation: 1,
            sees_deleted: true,
            mode: Mode::Good,
            binds: 0,
            host,
        })))
    }

    pub(crate) fn add(&self, number: u32, class: &'static str, name: &str) -> Guid {
        let mut world = self.0.lock();
        world.usn += 1;
        let (usn, guid) = (world.usn, guid(number));
        world.objects.push(Object {
            guid,
            class,
            name: name.to_owned(),
            disabled: false,
            members: Vec::new(),
            deleted: false,
            usn,
        });
        guid
    }

    pub(crate) fn change(&self, guid: Guid, change: impl FnOnce(&mut Object)) {
        let mut world = self.0.lock();
        world.usn += 1;
        let usn = world.usn;
        let object = world.objects.iter_mut().find(|o| o.guid == guid);
        let object = object.expect("an object of that id");
        object.usn = usn;
        change(object);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the server of a test binds for itself"
    )]
    pub(crate) async fn listen(
        &self,
        address: &str,
        port: u16,
        tls: Option<(TlsAcceptor, bool)>,
    ) -> Listening {
        let listener = TcpListener::bind((address, port))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = self.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (server, tls) = (server.clone(), tls.clone());
                open.spawn(async move { server.serve(stream, tls).await });
            }
        });
        Listening { address, task }
    }

    async fn serve(&self, mut stream: TcpStream, tls: Option<(TlsAcceptor, bool)>) {
        match tls {
            None => self.converse(stream).await,
            Some((acceptor, starttls)) => {
                if starttls {
                    let Some(request) = read_message(&mut stream).await else {
                        return;
                    };
                    assert!(request.windows(22).any(|w| w == b"1.3.6.1.4.1.1466.20037"));
                    let answer = message(1, &result(0x78, 0, ""));
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
                if let Ok(stream) = acceptor.accept(stream).await {
                    self.converse(stream).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut pages = 0;
        while let Some(request) = read_message(&mut stream).await {
            let mode = self.0.lock().mode.clone();
            match mode {
                Mode::Hang => continue,
                Mode::Close => return,
                Mode::CloseAfterPage if pages > 5 => return,
                Mode::Garbage(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    continue;
                }
                Mode::Good | Mode::Refuse(..) | Mode::CloseAfterPage => pages += 1,
            }
            let answer = self.answer(&request);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let (_, whole, _) = tlv(request);
        let (_, id, rest) = tlv(whole);
        let id = id.iter().fold(0, |n, &b| n << 8 | u32::from(b));
        let (operation, content, rest) = tlv(rest);
        match operation {
            0x60 => {
                let mut world = self.0.lock();
                world.binds += 1;
                let (code, text) = match world.mode {
                    Mode::Refuse(code, text) => (code, text),
                    _ => (0, ""),
                };
                message(id, &result(0x61, code, text))
            }
            0x63 => self.search(id, content, rest),
            _ => Vec::new(),
        }
    }

    fn search(&self, id: u32, content: &[u8], controls: &[u8]) -> Vec<u8> {
        let world = self.0.lock();
        let query = Query::read(content, controls);
        let found = world.find(&query);
        let mut answer = Vec::new();
        let (mut code, mut cookie, mut end) = (0, Vec::new(), found.len());
        let mut begin = 0;
        if let Some((size, from)) = &query.page {
            begin = std::str::from_utf8(from)
                .expect("our cookie")
                .parse()
                .unwrap_or(0);
            end = found.len().min(begin + (*size).min(MAX_PAGE));
            if end < found.len() {
                cookie = end.to_string().into_bytes();
            }
        } else if found.len() > MAX_PAGE {
            (code, end) = (4, MAX_PAGE);
        }
        for (dn, attributes) in &found[begin..end] {
            let list: Vec<u8> = attributes
                .iter()
                .flat_map(|(name, values)| {
                    let set: Vec<u8> = values.iter().flat_map(|v| ber(4, v)).collect();
                    ber(0x30, &[ber(4, name.as_bytes()), ber(0x31, &set)].concat())
                })
                .collect();
            let entry = ber(0x64, &[ber(4, dn.as_bytes()), ber(0x30, &list)].concat());
            answer.extend(message(id, &entry));
        }
        if !query.base_only {
            answer.extend(message(
                id,
                &ber(0x73, &ber(4, b"ldap://DomainDnsZones.corp.example.com/")),
            ));
        }
        let mut done = [ber(2, &id.to_be_bytes()), result(0x65, code, "")].concat();
        if query.page.is_some() {
            let value = ber(0x30, &[ber(2, &[0]), ber(4, &cookie)].concat());
            let control = [ber(4, b"1.2.840.113556.1.4.319"), ber(4, &value)].concat();
            done.extend(ber(0xa0, &ber(0x30, &control)));
        }
        answer.extend(ber(0x30, &done));
        answer
    }
}

pub(crate) struct Listening {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Stops listening and closes every connection.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

type Found = (String, Vec<(String, Vec<Vec<u8>>)>);

impl World {
    fn find(&self, query: &Query) -> Vec<Found> {
        let text = |name: &str, value: &str| (name.to_owned(), vec![value.as_bytes().to_vec()]);
        let service = format!("CN=NTDS Settings,CN={}", self.host);
        if query.base.is_empty() {
            return vec![(
                String::new(),
                vec![
                    text("dnsHostName", self.host),
                    text("dsServiceName", &service),
                    text("defaultNamingContext", BASE),
                    text("configurationNamingContext", "CN=Configuration"),
                    text("highestCommittedUSN", &self.usn.to_string()),
                ],
            )];
        }
        if query.base == service {
            let id = vec![vec![self.invocation; 16]];
            return vec![(service, vec![("invocationId".into(), id)])];
        }
        if query.base.starts_with("CN=Partitions") {
            return vec![
                (query.base.clone(), vec![text("uPNSuffixes", "example.org")]),
                (
                    "CN=CORP".into(),
                    vec![
                        text("dnsRoot", "corp.example.com"),
                        text("nETBIOSName", "CORP"),
                    ],
                ),
            ];
        }
        let deleted = query
            .base
            .starts_with("<WKGUID=18E2EA80684F11D2B9AA00C04F79F805");
        if deleted && !(self.sees_deleted && query.show_deleted) {
            return Vec::new();
        }
        if deleted && query.base_only {
            return vec![(
                "CN=Deleted Objects".into(),
                vec![("objectGUID".into(), vec![vec![9; 16]])],
            )];
        }
        self.objects
            .iter()
            .filter(|o| o.deleted == deleted)
            .filter(|o| !query.base_only || query.base == o.dn())
            .filter(|o| o.matches(&query.filter))
            .map(|o| self.entry(o, query))
            .collect()
    }

    fn entry(&self, object: &Object, query: &Query) -> Found {
        let text = |name: &str, value: String| (name.to_owned(), vec![value.into_bytes()]);
        let mut attributes = vec![("objectGUID".to_owned(), vec![object.guid.to_vec()])];
        if object.deleted {
            return (object.dn(), attributes);
        }
        attributes.push(text("objectClass", object.class.to_owned()));
        attributes.push(text("sAMAccountName", object.name.clone()));
        let flags = if object.disabled { 514 } else { 512 };
        attributes.push(text("userAccountControl", flags.to_string()));
        let values: Vec<Vec<u8>> = object
            .members
            .iter()
            .map(|guid| {
                let digits: String = guid.iter().map(|b| format!("{b:02x}")).collect();
                format!("<GUID={digits}>;<SID=0105>;CN=a\\, b,{BASE}").into_bytes()
            })
            .collect();
        let range = query.attributes.iter().find_map(|a| {
            a.strip_prefix("member;range=")?
                .strip_suffix("-*")?
                .parse::<usize>()
                .ok()
        });
        let begin = range.unwrap_or(0);
        if values.len() > MAX_RANGE {
            if range.is_none() {
                attributes.push(("member".into(), vec![]));
            }
            let end = values.len().min(begin + MAX_RANGE);
            let last = if end == values.len() {
                "*".to_owned()
            } else {
                (end - 1).to_string()
            };
            attributes.push((
                format!("member;range={begin}-{last}"),
                values[begin..end].to_vec(),
            ));
        } else if !values.is_empty() {
            attributes.push(("member".into(), values));
        }
        let dn = if query.extended {
            format!("<GUID=00>;{}", object.dn())
        } else {
            object.dn()
        };
        (dn, attributes)
    }
}

impl Object {
    fn dn(&self) -> String {
        format!("CN={},{BASE}", self.name)
    }

    fn matches(&self, filter: &[u8]) -> bool {
        let (kind, content, _) = tlv(filter);
        let parts = |mut rest: &[u8]| {
            let mut parts = Vec::new();
            while !rest.is_empty() {
                let (_, _, after) = tlv(rest);
                parts.push(rest[..rest.len() - after.len()].to_vec());
                rest = after;
            }
            parts
        };
        match kind {
            0xa0 => parts(content).iter().all(|part| self.matches(part)),
            0xa1 => parts(content).iter().any(|part| self.matches(part)),
            0x87 => true,
            0xa3 | 0xa5 => {
                let (_, name, rest) = tlv(content);
                let (_, value, _) = tlv(rest);
                let value = std::str::from_utf8(value).expect("text");
                match name {
                    b"uSNChanged" => self.usn >= value.parse().expect("a number"),
                    b"isDeleted" => self.deleted,
                    b"sAMAccountType" => {
                        let own = match self.class {
                            "user" => "805306368",
                            "computer" => "805306369",
                            _ => "268435456",
                        };
                        own == value
                    }
                    b"objectCategory" => self.class == value,
                    other => panic!("filter on {}", String::from_utf8_lossy(other)),
                }
            }
            other => panic!("filter of kind {other:#x}"),
        }
    }
}

struct Query {
    base: String,
    base_only: bool,
    filter: Vec<u8>,
    attributes: Vec<String>,
    page: Option<(usize, Vec<u8>)>,
    show_deleted: bool,
    extended: bool,
}

impl Query {
    fn read(content: &[u8], controls: &[u8]) -> Self {
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let (_, base, rest) = tlv(content);
        let (_, scope, mut rest) = tlv(rest);
        for _ in 0..4 {
            rest = tlv(rest).2;
        }
        let filter = rest[..rest.len() - tlv(rest).2.len()].to_vec();
        let (_, mut list, _) = tlv(tlv(rest).2);
        let mut attributes = Vec::new();
        while !list.is_empty() {
            let (_, name, after) = tlv(list);
            attributes.push(string(name));
            list = after;
        }
        let mut query = Self {
            base: string(base),
            base_only: scope == [0],
            filter,
            attributes,
            page: None,
            show_deleted: false,
            extended: false,
        };
        let mut list: &[u8] = if controls.is_empty() {
            &[]
        } else {
            tlv(controls).1
        };
        while !list.is_empty() {
            let (_, control, after) = tlv(list);
            let (_, oid, mut rest) = tlv(control);
            let mut value = &[][..];
            while !rest.is_empty() {
                let (tag, content, after) = tlv(rest);
                if tag == 4 {
                    value = content;
                }
                rest = after;
            }
            match oid {
                b"1.2.840.113556.1.4.319" => {
                    let (_, size, rest) = tlv(tlv(value).1);
                    let size = size.iter().fold(0, |n, &b| n << 8 | usize::from(b));
                    query.page = Some((size, tlv(rest).1.to_vec()));
                }
                b"1.2.840.113556.1.4.417" => query.show_deleted = true,
                b"1.2.840.113556.1.4.529" => query.extended = true,
                other => panic!("control {}", String::from_utf8_lossy(other)),
            }
            list = after;
        }
        query
    }
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = vec![0; 2];
    stream.read_exact(&mut message).await.ok()?;
    let mut length = usize::from(message[1]);
    if length >= 0x80 {
        let mut digits = vec![0; length & 0x7f];
        stream.read_exact(&mut digits).await.ok()?;
        length = digits.iter().fold(0, |n, &b| n << 8 | usize::from(b));
        message.extend(digits);
    }
    let begun = message.len();
    message.resize(begun + length, 0);
    stream.read_exact(&mut message[begun..]).await.ok()?;
    Some(message)
}

fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    ber(0x30, &[&ber(2, &id.to_be_bytes())[..], operation].concat())
}

fn result(operation: u8, code: u8, text: &str) -> Vec<u8> {
    ber(
        operation,
        &[ber(0x0a, &[code]), ber(4, b""), ber(4, text.as_bytes())].concat(),
    )
}

fn ber(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short");
    let mut bytes = vec![tag, 0x84];
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn tlv(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (mut length, mut begin) = (usize::from(bytes[1]), 2);
    if length >= 0x80 {
        begin += length & 0x7f;
        length = bytes[2..begin]
            .iter()
            .fold(0, |n, &b| n << 8 | usize::from(b));
    }
    (
        bytes[0],
        &bytes[begin..begin + length],
        &bytes[begin + length..],
    )
}
