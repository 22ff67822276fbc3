//! Names and forms that firewalls see: the parameters of requests, and answers around their entries.
//!
//! What Junos really sends is only partly public, so everything uncertain is here: other spellings that are known from
//! elsewhere are taken too, and what is not known is handed back for the operator to see. What is answered is decided
//! in [`super::query`]; entries are written in `json` and `xml`.

use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;

use super::filter::{MAX_REQUEST_VALUES, RequestFilter};
use super::{json, xml};
use crate::identity::address::canonical;
use crate::identity::time::UtcMillis;

/// Entries of an answer when the request names no number.
pub const DEFAULT_ENTRIES: usize = 200;
/// Most entries of an answer, whatever the request says.
pub const MAX_ENTRIES: usize = 1000;
/// Numbers from here on are milliseconds: as seconds they would lie after the year 5000.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// Longest cookie, name or number that is looked at, in bytes.
const MAX_VALUE_BYTES: usize = 512;

const BEGIN: &[&str] = &["begintime", "begin_time", "begin-time", "timestamp"];
const COUNT: &[&str] = &["entry_count", "entry-count", "entrycount", "count"];
const COOKIE: &[&str] = &["cookie"];
const DOMAIN: &[&str] = &["domain", "domains", "domain-name", "domain_name"];
const INCLUDE: &[&str] = &["include-ip", "include_ip", "include-address", "include"];
const EXCLUDE: &[&str] = &["exclude-ip", "exclude_ip", "exclude-address", "exclude"];
const USER: &[&str] = &["id", "user", "user-name", "user_name", "username"];
const ADDRESS: &[&str] = &["ip", "ip-address", "ip_address", "address"];
const NAME: &[&str] = &["name", "id", "user", "device", "group"];
const PROBE: &[&str] = &["force-probe", "force_probe"];

/// Why a request is not understood; for its author and the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);

/// A batch query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchRequest {
    /// Where to go on; goes before `begin`.
    pub cookie: Option<String>,
    /// From when on; 0 or before: everything.
    pub begin: UtcMillis,
    /// How many entries, 1 to [`MAX_ENTRIES`].
    pub entries: usize,
    /// More were asked for than [`MAX_ENTRIES`].
    pub capped: bool,
    /// The request's filter.
    pub filter: RequestFilter,
}

/// A user query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRequest {
    /// Name, `DOMAIN\user` or UPN.
    pub id: String,
    /// Domain in any of its names.
    pub domain: Option<String>,
    /// Where the firewall sees him.
    pub address: Option<IpAddr>,
}

/// The validator is asked for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateName {
    /// Name, `DOMAIN\name` or, of a user, UPN.
    pub name: String,
    /// Domain in any of its names.
    pub domain: Option<String>,
}

/// The validator is asked for the groups of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateGroups {
    /// Domain in any of its names.
    pub domain: String,
    /// Where to go on.
    pub cookie: Option<String>,
    /// How many, 1 to [`MAX_ENTRIES`].
    pub entries: usize,
}

/// The parameters of a request, and those among them that nobody asked for.
#[derive(Debug)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    used: Vec<bool>,
}

impl Parameters {
    /// The parameters as they stand in the request.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        let used = vec![false; pairs.len()];
        Self { pairs, used }
    }

    /// Reads a batch query.
    ///
    /// # Errors
    /// The first parameter that is not understood.
    pub fn batch(&mut self) -> Result<BatchRequest, NotUnderstood> {
        let cookie = self.cookie();
        let begin = self.one(BEGIN)?.map_or(Ok(UtcMillis(0)), |t| instant(&t))?;
        let wanted = self
            .one(COUNT)?
            .map_or(Ok(DEFAULT_ENTRIES), |t| entry_count(&t))?;
        let filter = RequestFilter {
            domains: self.many(DOMAIN)?,
            include: networks(&self.many(INCLUDE)?)?,
            exclude: networks(&self.many(EXCLUDE)?)?,
        };
        Ok(BatchRequest {
            cookie,
            begin,
            entries: wanted.min(MAX_ENTRIES),
            capped: wanted > MAX_ENTRIES,
            filter,
        })
    }

    /// A cookie of any length: what cannot be read starts over and is no error (rule 16), for a firewall that was told
    /// otherwise would come with the same one for ever.
    fn cookie(&mut self) -> Option<String> {
        let mut found = None;
        for ((name, value), used) in self.pairs.iter().zip(&mut self.used) {
            if COOKIE.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                *used = true;
                found.get_or_insert_with(|| value.chars().take(MAX_VALUE_BYTES).collect());
            }
        }
        found.filter(|text: &String| !text.is_empty())
    }

    /// Reads a user query.
    ///
    /// # Errors
    /// The first parameter that is missing or not understood.
    pub fn user(&mut self) -> Result<UserRequest, NotUnderstood> {
        let address = self.text(ADDRESS)?;
        Ok(UserRequest {
            id: self.required(USER)?,
            domain: self.text(DOMAIN)?,
            address: address.map(|text| address_of(&text)).transpose()?,
        })
    }

    /// Reads the validator's question for one name.
    ///
    /// # Errors
    /// The first parameter that is missing or not understood.
    pub fn validate_name(&mut self) -> Result<ValidateName, NotUnderstood> {
        Ok(ValidateName {
            name: self.required(NAME)?,
            domain: self.text(DOMAIN)?,
        })
    }

    /// Reads the validator's question for the groups of a domain.
    ///
    /// # Errors
    /// The first parameter that is missing or not understood.
    pub fn validate_groups(&mut self) -> Result<ValidateGroups, NotUnderstood> {
        let entries = self.one(COUNT)?;
        Ok(ValidateGroups {
            domain: self.required(DOMAIN)?,
            cookie: self.text(COOKIE)?,
            entries: entries
                .map_or(Ok(DEFAULT_ENTRIES), |t| entry_count(&t))?
                .min(MAX_ENTRIES),
        })
    }

    /// Reads the parameters of an IP query: whether a probe is wanted.
    ///
    /// # Errors
    /// A value that is too long.
    pub fn ip(&mut self) -> Result<bool, NotUnderstood> {
        let wanted = self.one(PROBE)?;
        Ok(wanted.is_some_and(|value| matches!(value.as_str(), "" | "1" | "true" | "yes")))
    }

    /// Names of parameters that meant nothing to us.
    #[must_use]
    pub fn unknown(&self) -> Vec<&str> {
        let unused = self
            .pairs
            .iter()
            .zip(&self.used)
            .filter(|(_, used)| !**used);
        unused.map(|((name, _), _)| name.as_str()).collect()
    }

    /// A parameter that says nothing if it is empty.
    fn text(&mut self, names: &[&str]) -> Result<Option<String>, NotUnderstood> {
        let text = self.one(names)?.map(|text| text.trim().to_owned());
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn required(&mut self, names: &[&str]) -> Result<String, NotUnderstood> {
        let missing = || NotUnderstood(format!("the parameter {} is missing", names[0]));
        self.text(names)?.ok_or_else(missing)
    }

    fn one(&mut self, names: &[&str]) -> Result<Option<String>, NotUnderstood> {
        let mut found = None;
        for ((name, value), used) in self.pairs.iter().zip(&mut self.used) {
            if !names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                continue;
            }
            *used = true;
            if value.len() > MAX_VALUE_BYTES {
                let name = names[0];
                return Err(NotUnderstood(format!("the parameter {name} is too long")));
            }
            found.get_or_insert_with(|| value.clone());
        }
        Ok(found)
    }

    /// Values of a parameter that may be repeated and may hold several, separated by commas.
    fn many(&mut self, names: &[&str]) -> Result<Vec<String>, NotUnderstood> {
        let mut found = Vec::new();
        for ((name, value), used) in self.pairs.iter().zip(&mut self.used) {
            if !names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                continue;
            }
            *used = true;
            let parts = value.split(',').map(str::trim).filter(|p| !p.is_empty());
            for part in parts {
                if found.len() == MAX_REQUEST_VALUES || part.len() > MAX_VALUE_BYTES {
                    let why = "has too many or too long values";
                    return Err(NotUnderstood(format!("the parameter {} {why}", names[0])));
                }
                found.push(part.to_owned());
            }
        }
        Ok(found)
    }
}

/// Reads an address as it stands in a path or parameter; IPv6 also in brackets.
///
/// # Errors
/// It is none.
pub fn address_of(text: &str) -> Result<IpAddr, NotUnderstood> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map(canonical)
        .map_err(|_| NotUnderstood(format!("{} is not an address", shown(text))))
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, NotUnderstood> {
    let network = |text: &String| {
        let host = text.parse::<IpAddr>().map(|a| IpNet::from(canonical(a)));
        host.or_else(|_| text.parse::<IpNet>().map(|n| n.trunc()))
            .map_err(|_| NotUnderstood(format!("{} is neither address nor network", shown(text))))
    };
    texts.iter().map(network).collect()
}

fn instant(text: &str) -> Result<UtcMillis, NotUnderstood> {
    if text.is_empty() {
        return Ok(UtcMillis(0));
    }
    if let Some(millis) = unix_millis(text) {
        return Ok(UtcMillis(millis));
    }
    // In a query a `+` of the offset arrives as a space.
    let restored = text.replace(' ', "+");
    text.parse::<jiff::Timestamp>()
        .or_else(|_| restored.parse::<jiff::Timestamp>())
        .map(|stamp| UtcMillis(stamp.as_millisecond().max(0)))
        .map_err(|_| {
            NotUnderstood(format!(
                "begintime is {}, neither seconds since 1970 nor RFC 3339",
                shown(text)
            ))
        })
}

/// `SECONDS` or `SECONDS.FRACTION` since 1970, or as many milliseconds; what is before 1970 is 0.
fn unix_millis(text: &str) -> Option<i64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(digits) || !fraction.is_none_or(all_digits) {
        return None;
    }
    if digits.len() < whole.len() {
        return Some(0);
    }
    // More digits than a number has lie further ahead than any change.
    let number = digits.parse::<i64>().unwrap_or(i64::MAX);
    if number >= FIRST_MILLISECONDS {
        return Some(number);
    }
    // Cut, never rounded up: what changed within the millisecond is told again rather than left out.
    let thousandths = fraction.unwrap_or_default().bytes().chain(*b"000").take(3);
    let thousandths = thousandths.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(number * 1000 + thousandths)
}

/// A number from 1 on, however large.
fn entry_count(text: &str) -> Result<usize, NotUnderstood> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits && text.bytes().any(|b| b != b'0') {
        return Ok(text.parse().unwrap_or(usize::MAX));
    }
    Err(NotUnderstood(format!(
        "entry_count is {}, not a number from 1 on",
        shown(text)
    )))
}

/// Foreign text inside our sentences: short and without control characters.
fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(40)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// XML in the vocabulary of the Web API.
    Xml,
}

impl Format {
    /// The `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        }
    }
}

/// One entry of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Who is at the address.
    Login(&'a Login<'a>),
    /// Nobody is there any more; goes before whatever else is said of the address.
    Logout {
        /// The address.
        address: IpAddr,
        /// When.
        at: UtcMillis,
    },
}

/// Who is at an address.
#[derive(Clone, Debug)]
pub struct Login<'a> {
    /// The address.
    pub address: IpAddr,
    /// DNS domain of the user, or of the device where there is none.
    pub domain: &'a str,
    /// The user.
    pub user: Option<&'a str>,
    /// His groups, already chosen.
    pub roles: Vec<&'a str>,
    /// The device.
    pub device: Option<LoginDevice<'a>>,
    /// Since when.
    pub at: UtcMillis,
}

/// The device at an address.
#[derive(Clone, Debug)]
pub struct LoginDevice<'a> {
    /// First label of its name.
    pub name: &'a str,
    /// Its groups.
    pub groups: Vec<&'a str>,
    /// Operating system.
    pub os: Option<&'a str>,
    /// Its version.
    pub os_version: Option<&'a str>,
}

/// Who an answer in XML says that its entries are from.
const SOURCE: &str = "jims";
/// Posture is not known to any producer yet.
pub(super) const POSTURE: &str = "Unknown";

/// Where a batch stands, at the end of its answer.
#[derive(Clone, Debug)]
pub struct Standing {
    /// For the next request.
    pub cookie: String,
    /// Whether there is more to ask for at once.
    pub more: bool,
    /// First answer of a pass from 0.
    pub full: bool,
    /// How many entries an answer has at most, if more were asked for.
    pub capped: Option<usize>,
}

/// An entry with twenty groups takes 577 in `benches/run`.
const ENTRY_BYTES: usize = 640;

/// An answer while it is written.
#[derive(Debug)]
pub struct Answer {
    format: Format,
    bytes: Vec<u8>,
    entries: usize,
}

impl Answer {
    /// An answer without entries.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let head: &[u8] = match format {
            Format::Json => b"{\"report_entries\":[",
            Format::Xml => xml::HEAD.as_bytes(),
        };
        Self {
            format,
            bytes: head.to_vec(),
            entries: 0,
        }
    }

    /// With room for so many entries, so that a long answer is not copied as it grows.
    #[must_use]
    pub fn with_room(mut self, entries: usize) -> Self {
        self.bytes.reserve(entries.saturating_mul(ENTRY_BYTES));
        self
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry<'_>) {
        match self.format {
            Format::Json => {
                if self.entries > 0 {
                    self.bytes.push(b',');
                }
                json::entry(&mut self.bytes, entry);
            }
            Format::Xml => xml::entry(&mut self.bytes, SOURCE, entry),
        }
        self.entries += 1;
    }

    /// The whole answer; a batch says where it stands.
    #[must_use]
    pub fn finish(mut self, standing: Option<&Standing>) -> Bytes {
        let tail = match self.format {
            Format::Json => json_tail(standing),
            Format::Xml => xml_tail(standing),
        };
        self.bytes.extend_from_slice(tail.as_bytes());
        Bytes::from(self.bytes)
    }
}

// A cookie has only characters that mean themselves in both forms.

fn json_tail(standing: Option<&Standing>) -> String {
    let Some(standing) = standing else {
        return "]}".to_owned();
    };
    let Standing {
        cookie, more, full, ..
    } = standing;
    let capped = standing.capped.map_or(String::new(), |entries| {
        format!(",\"entry-count\":{entries}")
    });
    format!("],\"cookie\":\"{cookie}\",\"more\":{more},\"full\":{full}{capped}}}")
}

fn xml_tail(standing: Option<&Standing>) -> String {
    let Some(standing) = standing else {
        return xml::TAIL.to_owned();
    };
    let Standing {
        cookie, more, full, ..
    } = standing;
    let capped = standing.capped.map_or(String::new(), |entries| {
        format!("  <entry-count>{entries}</entry-count>\n")
    });
    format!(
        "  <cookie>{cookie}</cookie>\n  <more>{more}</more>\n  <full>{full}</full>\n{capped}{}",
        xml::TAIL
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        let uri: axum::http::Uri = format!("/x?{query}").parse().unwrap();
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
        Parameters::new(pairs.0)
    }

    fn batch(query: &str) -> Result<BatchRequest, NotUnderstood> {
        parameters(query).batch()
    }

    #[test]
    fn a_batch_query_has_defaults_and_a_cap() {
        let plain = batch("").unwrap();
        assert_eq!(
            (plain.begin, plain.entries, plain.cookie),
            (UtcMillis(0), 200, None)
        );
        let count = |text: &str| {
            let request = batch(&format!("entry_count={text}")).unwrap();
            (request.entries, request.capped)
        };
        assert_eq!(count("1"), (1, false));
        assert_eq!(count("007"), (7, false));
        assert_eq!(count("1000"), (1000, false));
        assert_eq!(count("1001"), (1000, true));
        assert_eq!(count(&"9".repeat(300)), (1000, true));
        for wrong in [
            "0", "000", "-1", "many", "", "%2B5", "+5", "1.5", "1e3", "0x10", "%D9%A3",
        ] {
            let error = batch(&format!("entry_count={wrong}")).unwrap_err();
            assert!(error.to_string().starts_with("entry_count is `"), "{error}");
        }
    }

    #[test]
    fn begintime_is_seconds_or_rfc_3339() {
        let begin = |text: &str| batch(&format!("begintime={text}")).map(|b| b.begin.0);
        assert_eq!(begin("1732357800"), Ok(1_732_357_800_000));
        assert_eq!(begin("1732357800123"), Ok(1_732_357_800_123));
        assert_eq!(begin("2024-11-23T10:30:00Z"), Ok(1_732_357_800_000));
        assert_eq!(begin("2024-11-23T11:30:00+01:00"), Ok(1_732_357_800_000));
        assert_eq!(begin("1732357800.5"), Ok(1_732_357_800_500));
        assert_eq!(begin("1732357800.0019999"), Ok(1_732_357_800_001));
        assert_eq!(begin("1732357800123.9"), Ok(1_732_357_800_123));
        assert_eq!(begin("2024-11-23T10:30:00.25Z"), Ok(1_732_357_800_250));
        assert_eq!(begin("2024-11-23T05:00:00.5-05:30"), Ok(1_732_357_800_500));
        assert_eq!(begin("2024-11-23T11:30:00%2B01:00"), Ok(1_732_357_800_000));
        assert_eq!(begin("1969-07-20T20:17:40Z"), Ok(0));
        for nothing in ["", "0", "0.0", "-5", "-5.5", "-0"] {
            assert_eq!(begin(nothing), Ok(0), "{nothing}");
        }
        assert_eq!(begin(&"9".repeat(40)), Ok(i64::MAX));
        for wrong in [
            "yesterday",
            "1732357800.",
            ".5",
            "1.5.5",
            "1e9",
            "inf",
            "NaN",
            "0x5",
            "--5",
            "-",
            "2024-11-23",
            "2024-11-23T10:30:00",
            "10:30",
            "1732357800%20",
            "%2B5",
        ] {
            assert!(begin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rule_16_a_cookie_of_any_length_is_no_error() {
        let long = batch(&format!("cookie={}", "x".repeat(20_000))).unwrap();
        assert!(long.cookie.unwrap().len() <= MAX_VALUE_BYTES);
        assert_eq!(batch("cookie=").unwrap().cookie, None);
    }

    #[test]
    fn filters_are_repeated_or_separated_by_commas() {
        let request = batch(
            "domain=a.example,b.example&domain=c&include-ip=10.0.0.0/8,192.0.2.1&exclude_ip=%3A%3Affff%3A10.1.1.1",
        )
        .unwrap();
        assert_eq!(request.filter.domains, ["a.example", "b.example", "c"]);
        let text = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(&request.filter.include),
            ["10.0.0.0/8", "192.0.2.1/32"]
        );
        assert_eq!(text(&request.filter.exclude), ["10.1.1.1/32"]);
        assert!(batch("include-ip=10.0.0.0/99").is_err());
        assert!(batch(&format!("domain={}", "a,".repeat(MAX_REQUEST_VALUES + 1))).is_err());
    }

    #[test]
    fn what_nobody_asked_for_is_handed_back() {
        let mut parameters = parameters("begintime=0&flavour=mint&Entry_Count=5");
        assert_eq!(parameters.batch().unwrap().entries, 5);
        assert_eq!(parameters.unknown(), ["flavour"]);
    }

    #[test]
    fn a_user_query_needs_an_id() {
        let user = |query: &str| parameters(query).user();
        let full = user("id=alice&domain=CORP&ip=::ffff:10.1.2.50").unwrap();
        assert_eq!(full.address, Some("10.1.2.50".parse().unwrap()));
        assert_eq!(full.domain.as_deref(), Some("CORP"));
        assert!(user("domain=CORP").is_err());
        assert!(user("id=%20").is_err());
        assert!(user("id=alice&ip=here").is_err());
        assert!(user(&format!("id={}", "a".repeat(600))).is_err());
    }

    #[test]
    fn foreign_text_in_a_sentence_is_short_and_escaped() {
        let error = address_of(&format!("\u{1b}[31m{}", "x".repeat(500))).unwrap_err();
        assert!(error.0.len() < 80 && !error.0.contains('\u{1b}'), "{error}");
    }

    fn login() -> Login<'static> {
        Login {
            address: "10.1.2.50".parse().unwrap(),
            domain: "corp.example.com",
            user: Some("alice"),
            roles: vec!["Engineering", "R&D"],
            device: Some(LoginDevice {
                name: "ws-0042",
                groups: vec!["Workstations"],
                os: Some("Windows 11"),
                os_version: Some("10.0 (22631)"),
            }),
            at: UtcMillis(1_732_357_800_500),
        }
    }

    fn logout() -> Entry<'static> {
        Entry::Logout {
            address: "2001:db8::7".parse().unwrap(),
            at: UtcMillis(1_732_357_801_000),
        }
    }

    #[test]
    fn json_has_the_published_names() {
        let mut answer = Answer::new(Format::Json);
        let login = login();
        answer.push(Entry::Login(&login));
        answer.push(logout());
        let standing = Standing {
            cookie: "j2.x".to_owned(),
            more: true,
            full: false,
            capped: None,
        };
        let text = String::from_utf8(answer.finish(Some(&standing)).to_vec()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"report_entries":[{"ip-address":"10.1.2.50","domain-name":"corp.example.com","user-name":"alice","#,
                r#""roles":["Engineering","R&D"],"device-name":"ws-0042","device-groups":["Workstations"],"#,
                r#""device-os":"Windows 11","device-os-version":"10.0 (22631)","posture":"Unknown","#,
                r#""timestamp":1732357800,"activity":"login"},"#,
                r#"{"ip-address":"2001:db8::7","timestamp":1732357801,"activity":"logout"}],"#,
                r#""cookie":"j2.x","more":true,"full":false}"#
            )
        );
        let capped = Standing {
            capped: Some(1000),
            ..standing
        };
        let tail = |format| {
            let answer = Answer::new(format).finish(Some(&capped));
            String::from_utf8(answer.to_vec()).unwrap()
        };
        assert!(tail(Format::Json).ends_with(r#""full":false,"entry-count":1000}"#));
        assert!(tail(Format::Xml).contains("  <entry-count>1000</entry-count>\n</userfw"));
        let empty = Answer::new(Format::Json).finish(None);
        assert_eq!(&empty[..], br#"{"report_entries":[]}"#);
    }

    #[test]
    fn xml_speaks_the_vocabulary_of_the_web_api() {
        let mut answer = Answer::new(Format::Xml);
        let login = login();
        answer.push(Entry::Login(&login));
        answer.push(logout());
        let text = String::from_utf8(answer.finish(None).to_vec()).unwrap();
        assert_eq!(
            text,
            concat!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<userfw-entries>\n",
                "  <userfw-entry><source>jims</source><timestamp>2024-11-23T10:30:00Z</timestamp>",
                "<operation>logon</operation><IP>10.1.2.50</IP><domain>corp.example.com</domain><user>alice</user>",
                "<role-list><role>Engineering</role><role>R&amp;D</role></role-list><posture>Unknown</posture>",
                "<end-user-attribute><device-identity><value>ws-0042</value><groups><group>Workstations</group></groups>",
                "</device-identity><device-os>Windows 11</device-os><device-os-version>10.0 (22631)</device-os-version>",
                "</end-user-attribute></userfw-entry>\n",
                "  <userfw-entry><source>jims</source><timestamp>2024-11-23T10:30:01Z</timestamp>",
                "<operation>logoff</operation><IP>2001:db8::7</IP></userfw-entry>\n</userfw-entries>\n"
            )
        );
    }
}
