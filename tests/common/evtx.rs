//! Writes a small log file of our own making, in the form that Windows keeps (one chunk, checksums, tables), and the
//! stories in it.
//!
//! What is in it happened nowhere. It holds what decoders stumble over besides what every log has: control characters,
//! sizes of memory, fragments without header, fragments without template, nested templates, absent values, arrays.

use super::records::{
    Content, Form, Fragment, Head, Names, Piece, Shape, Template, Typed, event, event_with,
    fragment,
};

/// Where records begin in a chunk.
const CHUNK_HEADER: usize = 512;
const CHUNK: usize = 64 << 10;
/// 2026-03-02 08:00 UTC.
const MONDAY: u64 = 134_169_120_000_000_000;
const SECOND: u64 = 10_000_000;

/// The file.
pub(crate) fn file(records: &[(u64, u64, Fragment)]) -> Vec<u8> {
    file_of(records, records.len())
}

/// A file of many chunks, each with so many records.
pub(crate) fn file_of(records: &[(u64, u64, Fragment)], in_a_chunk: usize) -> Vec<u8> {
    let chunks: Vec<Vec<u8>> = (1..)
        .step_by(in_a_chunk)
        .zip(records.chunks(in_a_chunk))
        .map(|(first, records)| chunk(first, records))
        .collect();
    let next = records.last().map_or(1, |(id, ..)| id + 1);
    let count = u16::try_from(chunks.len()).expect("it fits");
    let mut header = b"ElfFile\0".to_vec();
    header.extend([0; 8]);
    header.extend(u64::from(count - 1).to_le_bytes());
    header.extend(next.to_le_bytes());
    header.extend(128_u32.to_le_bytes());
    header.extend([1, 0, 3, 0]);
    header.extend(4096_u16.to_le_bytes());
    header.extend(count.to_le_bytes());
    header.resize(124, 0);
    let checksum = evtx::checksum_ieee(&header[..120]);
    header.extend(checksum.to_le_bytes());
    header.resize(4096, 0);
    header.extend(chunks.concat());
    header
}

/// A chunk; `number` is its first record's in the file, from 1.
fn chunk(number: u64, records: &[(u64, u64, Fragment)]) -> Vec<u8> {
    let mut names = Names::default();
    let mut body = Vec::new();
    let mut last_at = 0;
    for (id, written, record) in records {
        last_at = CHUNK_HEADER + body.len();
        names.base = last_at + 24;
        let binxml = fragment(record, &mut Form::Evtx(&mut names), 0);
        let size = u32::try_from(binxml.len() + 28).expect("it fits");
        body.extend(b"\x2a\x2a\0\0");
        body.extend(size.to_le_bytes());
        body.extend(id.to_le_bytes());
        body.extend(written.to_le_bytes());
        body.extend(binxml);
        body.extend(size.to_le_bytes());
    }
    let first = records.first().map_or(0, |(id, ..)| *id);
    let last = records.last().map_or(0, |(id, ..)| *id);
    let count = u64::try_from(records.len()).expect("it fits");
    let free = CHUNK_HEADER + body.len();
    assert!(free <= CHUNK, "the records fit in one chunk");
    let mut chunk = b"ElfChnk\0".to_vec();
    for number in [number, number + count - 1, first, last] {
        chunk.extend(number.to_le_bytes());
    }
    for number in [128, last_at, free] {
        chunk.extend(u32::try_from(number).expect("it fits").to_le_bytes());
    }
    chunk.extend(evtx::checksum_ieee(&body).to_le_bytes());
    chunk.resize(124, 0);
    let tables: Vec<u8> = (names.string_table.iter())
        .chain(&names.template_table)
        .flat_map(|offset| offset.to_le_bytes())
        .collect();
    let checksum = evtx::checksum_ieee(&[&chunk[..120], &tables].concat());
    chunk.extend(checksum.to_le_bytes());
    chunk.extend(tables);
    chunk.extend(body);
    chunk.resize(CHUNK, 0);
    chunk
}

/// The records of a domain controller's morning.
pub(crate) fn domain_controller() -> Vec<(u64, u64, Fragment)> {
    let mut log = Log::default();
    log.add(4768, &ticket("alice", 0, "::ffff:10.1.2.10"));
    log.add(4768, &ticket("PC-ALICE$", 0, "::ffff:10.1.2.10"));
    log.add(
        4769,
        &service_ticket("alice@CORP.EXAMPLE.COM", "cifs/files", "::ffff:10.1.2.10"),
    );
    log.add(
        4770,
        &service_ticket("alice@CORP.EXAMPLE.COM", "krbtgt", "::ffff:10.1.2.10"),
    );
    log.add(4776, &validation("bob", "\\\\PC-BOB", 0));
    log.add(4624, &logon("bob", 3, "10.1.2.11", "PC-BOB"));
    log.add(4624, &logon("carol", 2, "127.0.0.1", "DC1"));
    log.add(4624, &logon("carol", 7, "-", "DC1"));
    log.add(4624, &logon("dave", 10, "2001:db8::44", "LAPTOP-DAVE"));
    log.add(4624, &logon("erin", 11, "10.1.2.14", "PC-ERIN"));
    log.add(4634, &logoff("bob", 3));
    log.add(4647, &logoff("carol", 2)[..4]);
    log.add(
        4768,
        &ticket("mallory\u{202e}\n<b>&'\"\u{1}", 0, "fe80::1%4"),
    );
    log.add_failure(4768, &ticket("nobody", 6, "::ffff:10.1.2.99"));
    log.add_failure(4776, &validation("bob", "PC-BOB", 0xc000_006a));
    log.add(4768, &ticket("Jürgen.Größe😀", 0, "10.1.2.15"));
    log.records
}

/// Shapes that are rare, and that known clients fail on.
pub(crate) fn rarities() -> Vec<(u64, u64, Fragment)> {
    let mut log = Log::default();
    log.add(
        5140,
        &[
            ("size", Typed::Size32(0x1000)),
            ("long size", Typed::Size64(0x1_0000_0000)),
            ("empty", Typed::text("")),
            ("nothing", Typed::Null),
            ("ansi", Typed::Ansi(b"caf\xe9".to_vec())),
            ("flag", Typed::Bool(1)),
            ("flags", Typed::Bool(6)),
            ("negative", Typed::I32(-5)),
            ("bytes", Typed::Binary(vec![0, 0xab, 0xff])),
            ("guid", Typed::Guid(*b"0123456789abcdef")),
            ("systime", Typed::SystemTime([2026, 3, 1, 2, 8, 0, 0, 250])),
            ("filetime", Typed::FileTime(MONDAY + 1_234_567)),
            ("sid", Typed::Sid(vec![21, 1, 2, 3, 1104])),
        ],
    );
    let array = [
        (
            "texts",
            Typed::Texts(vec!["one".into(), String::new(), "three".into()]),
        ),
        ("one text", Typed::Texts(vec!["alone".into()])),
        ("numbers", Typed::U16s(vec![1, 2])),
        ("last", Typed::U32(7)),
    ];
    log.add(5141, &array);
    log.add_with(5142, headless());
    log.add_with(5143, plain(true));
    log.add_with(5144, plain(false));
    log.add_with(5145, user_data(Typed::text("C:\\x"), Typed::Null));
    log.add_with(5146, user_data(Typed::Null, Typed::U32(9)));
    log.add_with(5147, Typed::Null);
    log.add_with(5148, mixed());
    log.add_without_template();
    log.records
}

#[derive(Default)]
struct Log {
    records: Vec<(u64, u64, Fragment)>,
}

impl Log {
    fn add(&mut self, event_id: u16, data: &[(&'static str, Typed)]) {
        let record = event(&self.head(event_id, true), data);
        self.push(record);
    }

    fn add_failure(&mut self, event_id: u16, data: &[(&'static str, Typed)]) {
        let record = event(&self.head(event_id, false), data);
        self.push(record);
    }

    fn add_with(&mut self, event_id: u16, data: Typed) {
        let record = event_with(&self.head(event_id, true), data);
        self.push(record);
    }

    fn head(&self, event_id: u16, success: bool) -> Head<'static> {
        let record_id = 1000 + u64::try_from(self.records.len()).expect("it fits");
        Head {
            event_id,
            record_id,
            time: MONDAY + (record_id - 1000) * SECOND + 1_230_000,
            computer: "dc1.corp.example.com",
            success,
        }
    }

    fn push(&mut self, record: Fragment) {
        let head = self.head(0, true);
        self.records.push((head.record_id, head.time, record));
    }

    /// A record that is a plain element.
    fn add_without_template(&mut self) {
        let head = self.head(0, true);
        let text = |name, text: &str| Shape::new(name).with(Piece::Literal(text.into()));
        let time = "2026-03-02T08:00:00.0000000Z";
        let system = Shape::new("System")
            .element(Shape::new("Provider").attribute("Name", Piece::Literal("Plain".into())))
            .element(text("EventID", "5149"))
            .element(Shape::new("TimeCreated").attribute("SystemTime", Piece::Literal(time.into())))
            .element(text("EventRecordID", &head.record_id.to_string()))
            .element(text("Channel", "Security"))
            .element(text("Computer", head.computer));
        let data = Shape::new("EventData")
            .element(text("Data", "first"))
            .element(text("Data", "second"));
        let content = Content::Element(Shape::new("Event").element(system).element(data));
        self.push(Fragment {
            header: true,
            content,
        });
    }
}

fn domain_sid(rid: u32) -> Typed {
    Typed::Sid(vec![21, 1_111_111_111, 2_222_222_222, 3_333_333_333, rid])
}

/// 4768.
pub(crate) fn ticket(user: &str, status: u32, address: &str) -> Vec<(&'static str, Typed)> {
    vec![
        ("TargetUserName", Typed::text(user)),
        ("TargetDomainName", Typed::text("CORP.EXAMPLE.COM")),
        (
            "TargetSid",
            if status == 0 {
                domain_sid(1104)
            } else {
                Typed::Sid(vec![0])
            },
        ),
        ("ServiceName", Typed::text("krbtgt")),
        ("ServiceSid", domain_sid(502)),
        ("TicketOptions", Typed::Hex32(0x4081_0010)),
        ("Status", Typed::Hex32(status)),
        ("TicketEncryptionType", Typed::Hex32(0x12)),
        ("PreAuthType", Typed::text("2")),
        ("IpAddress", Typed::text(address)),
        ("IpPort", Typed::text("49822")),
        ("CertIssuerName", Typed::text("")),
        ("CertSerialNumber", Typed::text("")),
        ("CertThumbprint", Typed::text("")),
    ]
}

/// 4769 and 4770.
pub(crate) fn service_ticket(
    user: &str,
    service: &str,
    address: &str,
) -> Vec<(&'static str, Typed)> {
    vec![
        ("TargetUserName", Typed::text(user)),
        ("TargetDomainName", Typed::text("CORP.EXAMPLE.COM")),
        ("ServiceName", Typed::text(service)),
        ("ServiceSid", domain_sid(1000)),
        ("TicketOptions", Typed::Hex32(0x4081_0000)),
        ("TicketEncryptionType", Typed::Hex32(0x12)),
        ("IpAddress", Typed::text(address)),
        ("IpPort", Typed::text("49823")),
        ("Status", Typed::Hex32(0)),
        ("LogonGuid", Typed::Guid(*b"fedcba9876543210")),
        ("TransmittedServices", Typed::text("-")),
    ]
}

/// 4776.
pub(crate) fn validation(user: &str, workstation: &str, status: u32) -> Vec<(&'static str, Typed)> {
    vec![
        (
            "PackageName",
            Typed::text("MICROSOFT_AUTHENTICATION_PACKAGE_V1_0"),
        ),
        ("TargetUserName", Typed::text(user)),
        ("Workstation", Typed::text(workstation)),
        ("Status", Typed::Hex32(status)),
    ]
}

/// 4624.
pub(crate) fn logon(
    user: &str,
    logon_type: u32,
    address: &str,
    workstation: &str,
) -> Vec<(&'static str, Typed)> {
    vec![
        ("SubjectUserSid", Typed::Sid(vec![18])),
        ("SubjectUserName", Typed::text("DC1$")),
        ("SubjectDomainName", Typed::text("CORP")),
        ("SubjectLogonId", Typed::Hex64(0x3e7)),
        ("TargetUserSid", domain_sid(1105)),
        ("TargetUserName", Typed::text(user)),
        ("TargetDomainName", Typed::text("CORP")),
        ("TargetLogonId", Typed::Hex64(0x1_2345)),
        ("LogonType", Typed::U32(logon_type)),
        ("LogonProcessName", Typed::text("User32 ")),
        ("AuthenticationPackageName", Typed::text("Negotiate")),
        ("WorkstationName", Typed::text(workstation)),
        ("LogonGuid", Typed::Guid([0; 16])),
        ("TransmittedServices", Typed::text("-")),
        ("LmPackageName", Typed::text("-")),
        ("KeyLength", Typed::U32(0)),
        ("ProcessId", Typed::Size64(0x2a4)),
        (
            "ProcessName",
            Typed::text("C:\\Windows\\System32\\svchost.exe"),
        ),
        ("IpAddress", Typed::text(address)),
        ("IpPort", Typed::text("0")),
        ("ImpersonationLevel", Typed::text("%%1833")),
        ("RestrictedAdminMode", Typed::text("-")),
        ("TargetOutboundUserName", Typed::text("-")),
        ("TargetOutboundDomainName", Typed::text("-")),
        ("VirtualAccount", Typed::text("%%1843")),
        ("TargetLinkedLogonId", Typed::Hex64(0)),
        ("ElevatedToken", Typed::text("%%1842")),
    ]
}

/// 4634; 4647 has all but the type.
pub(crate) fn logoff(user: &str, logon_type: u32) -> Vec<(&'static str, Typed)> {
    vec![
        ("TargetUserSid", domain_sid(1105)),
        ("TargetUserName", Typed::text(user)),
        ("TargetDomainName", Typed::text("CORP")),
        ("TargetLogonId", Typed::Hex64(0x1_2345)),
        ("LogonType", Typed::U32(logon_type)),
    ]
}

/// A template instance without a fragment header.
fn headless() -> Typed {
    let name = Piece::Literal("ObjectName".into());
    let data = Shape::new("Data")
        .attribute("Name", name)
        .with(Piece::Normal(0, 1));
    let template = Template {
        guid: *b"jims headless t.",
        root: Shape::new("EventData").element(data),
        waste: Vec::new(),
    };
    Typed::Fragment(Fragment {
        header: false,
        content: Content::Instance(template, vec![Typed::text("no header")]),
    })
}

/// An element without a template.
fn plain(header: bool) -> Typed {
    let name = Piece::Literal("ObjectName".into());
    let data = Shape::new("Data")
        .attribute("Name", name)
        .with(Piece::Literal("no template".into()));
    let root = Shape::new("EventData")
        .element(data)
        .element(Shape::new("Binary"));
    Typed::Fragment(Fragment {
        header,
        content: Content::Element(root),
    })
}

/// Data with a schema of their own, in a template in a template.
fn user_data(path: Typed, count: Typed) -> Typed {
    let mine = Template {
        guid: *b"jims innermost t",
        root: Shape::new("Mine")
            .attribute("xmlns", Piece::Literal("urn:corp.example.com".into()))
            .value("Path", 0, 1)
            .element(Shape::new("Inner").depends_on(1).value("Count", 1, 8)),
        waste: Vec::new(),
    };
    let inner = Fragment {
        header: true,
        content: Content::Instance(mine, vec![path, count]),
    };
    let outer = Template {
        guid: *b"jims user data t",
        root: Shape::new("UserData").with(Piece::Optional(0, 0x21)),
        waste: Vec::new(),
    };
    Typed::Fragment(Fragment {
        header: true,
        content: Content::Instance(outer, vec![Typed::Fragment(inner)]),
    })
}

/// Text in pieces, references, CDATA, and one value twice.
fn mixed() -> Typed {
    let data = Shape::new("Data")
        .attribute("Name", Piece::Normal(1, 1))
        .with(Piece::Literal("a ".into()))
        .with(Piece::Normal(0, 8))
        .with(Piece::Entity("amp"))
        .with(Piece::Character(0xe9))
        .with(Piece::Cdata("<c>".into()))
        .with(Piece::Optional(0, 8))
        .with(Piece::Optional(2, 1));
    let template = Template {
        guid: *b"jims mixed templ",
        root: Shape::new("EventData").element(data),
        waste: vec![0xde, 0xad, 0xbe, 0xef, 0x41],
    };
    let values = vec![Typed::U32(42), Typed::text("Mixed"), Typed::text("")];
    Typed::Fragment(Fragment {
        header: true,
        content: Content::Instance(template, values),
    })
}
