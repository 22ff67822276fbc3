//! One syslog message: the header cut off, the text kept as it was sent.
//!
//! RFC 5424, section 6, RFC 3164, section 4.1, and the ways in which devices vary the latter. Parsing cannot fail: a line
//! without a header is text. Slices of the input; only [`Message::text`] of an RFC 5424 message is put together anew.

use std::borrow::Cow;

use super::stamp::Stamp;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `<PRI>`, if there is one.
    pub priority: Option<Priority>,
    /// When the sender says it was.
    pub stamp: Option<Stamp>,
    /// Who the sender says it is.
    pub host: Option<&'a str>,
    /// APP-NAME (RFC 5424), or the tag (RFC 3164).
    pub program: Option<&'a str>,
    /// STRUCTURED-DATA with its brackets (RFC 5424).
    pub structured_data: Option<&'a str>,
    /// PROCID (RFC 5424).
    process: Option<&'a str>,
    /// MSG (RFC 5424) without byte order mark and blanks before it.
    message: Option<&'a str>,
    /// Everything after the host name, as sent.
    body: &'a str,
}

/// Facility and severity (RFC 5424, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

/// UTF-8 byte order mark, which RFC 5424 wants before the message.
const BOM: &str = "\u{feff}";

impl Priority {
    /// 0 to 23.
    #[must_use]
    pub fn facility(self) -> u8 {
        self.0 >> 3
    }

    /// 0 (emergency) to 7 (debug).
    #[must_use]
    pub fn severity(self) -> u8 {
        self.0 & 7
    }
}

impl<'a> Message<'a> {
    /// Takes a line apart. Line ends, NUL and blanks at its end do not count.
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\n', '\r', '\0', ' ', '\t']);
        let (priority, rest) = split_priority(line);
        if priority.is_some()
            && let Some(message) = rest.strip_prefix("1 ").and_then(|r| rfc5424(priority, r))
        {
            return message;
        }
        rfc3164(priority, rest)
    }

    /// What templates look at: `TAG: CONTENT`, however the sender framed it.
    ///
    /// RFC 3164: everything after the host name, as sent. RFC 5424: `APP-NAME[PROCID]: MSG`, since a relay turns the one
    /// form into the other, often with a blank before MSG; without MSG: `APP-NAME PROCID MSGID STRUCTURED-DATA`.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        let Some(message) = self.message else {
            return Cow::Borrowed(self.body);
        };
        match (
            self.program.map(|program| program.trim_end_matches(':')),
            self.process,
        ) {
            (None, _) => Cow::Borrowed(message),
            (Some(program), None) => Cow::Owned([program, ": ", message].concat()),
            (Some(program), Some(process)) => {
                Cow::Owned([program, "[", process, "]: ", message].concat())
            }
        }
    }
}

/// `<0>` to `<191>`.
fn split_priority(line: &str) -> (Option<Priority>, &str) {
    let parsed = line.strip_prefix('<').and_then(|rest| {
        let end = rest.bytes().take(4).position(|b| b == b'>')?;
        let digits = rest.get(..end)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: u8 = digits.parse().ok()?;
        (value <= 191).then_some((Priority(value), rest.get(end + 1..)?))
    });
    parsed.map_or((None, line), |(priority, rest)| (Some(priority), rest))
}

/// After `<PRI>1 `; `None` if it is something else that only begins so.
fn rfc5424(priority: Option<Priority>, rest: &str) -> Option<Message<'_>> {
    let (stamp, rest) = match rest.strip_prefix("- ") {
        Some(rest) => (None, rest),
        None => {
            let (stamp, rest) = Stamp::read(rest)?;
            stamp.year?;
            (Some(stamp), rest.strip_prefix(' ')?)
        }
    };
    let (host, body) = rest.split_once(' ')?;
    let (program, after) = body.split_once(' ').unwrap_or((body, ""));
    let (process, after) = after.split_once(' ').unwrap_or((after, ""));
    let (_id, after) = after.split_once(' ').unwrap_or((after, ""));
    let structured_end = structured_data_end(after);
    let message = after
        .get(structured_end..)
        .unwrap_or("")
        .trim_start_matches(' ');
    let message = message
        .strip_prefix(BOM)
        .unwrap_or(message)
        .trim_start_matches(' ');
    Some(Message {
        priority,
        stamp,
        host: named(host),
        program: named(program),
        structured_data: named(after.get(..structured_end).unwrap_or("")),
        process: named(process),
        message: (!message.is_empty()).then_some(message),
        body,
    })
}

/// A field, unless it is empty or nil.
fn named(field: &str) -> Option<&str> {
    (!field.is_empty() && field != "-").then_some(field)
}

/// Length of STRUCTURED-DATA (RFC 5424, section 6.3): `-`, or elements in brackets, in which `"…"` may hold `\]`.
/// Unfinished elements end with the text.
fn structured_data_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'[') {
        return usize::from(text == "-" || text.starts_with("- "));
    }
    let (mut quoted, mut escaped, mut inside) = (false, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' if !quoted && !inside => inside = true,
            b']' if !quoted => inside = false,
            _ if !inside => return at,
            _ => {}
        }
    }
    bytes.len()
}

/// After `<PRI>`: a stamp, a host, a tag may each be missing.
fn rfc3164(priority: Option<Priority>, rest: &str) -> Message<'_> {
    let rest = rest.strip_prefix(BOM).unwrap_or(rest);
    let mut message = Message {
        priority,
        stamp: None,
        host: None,
        program: None,
        structured_data: None,
        process: None,
        message: None,
        body: trim_lead(rest),
    };
    if let Some((stamp, after)) = Stamp::read(before_stamp(rest)) {
        message.stamp = Some(stamp);
        message.body = match after.strip_prefix(' ').and_then(split_host) {
            Some((host, text)) => {
                message.host = Some(host);
                trim_lead(text)
            }
            None => trim_lead(without_zone_word(after)),
        };
    }
    message.body = message.body.strip_prefix(BOM).unwrap_or(message.body);
    message.program = tag(message.body);
    message
}

/// Cisco's decorations before the stamp: a sequence number with a colon, blanks and colons, `*` or `.` for a clock that
/// is not synchronised.
fn before_stamp(text: &str) -> &str {
    let unnumbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = if text.len() - unnumbered.len() <= 10 && unnumbered.starts_with(": ") {
        unnumbered
    } else {
        text
    };
    trim_lead(text).trim_start_matches(['*', '.'])
}

fn trim_lead(text: &str) -> &str {
    text.trim_start_matches([' ', ':', '\t'])
}

/// The host name after a stamp, and what follows; `None` if the next word is the text's first already.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let (host, rest) = text.split_once(' ')?;
    let is_text = host.is_empty()
        || host.ends_with(':')
        || host
            .bytes()
            .any(|b| matches!(b, b'[' | b'=' | b'{' | b'%' | b',' | b'"'))
        || host.starts_with(BOM);
    (!is_text).then_some((host, rest))
}

/// `Nov 23 13:39:27 CEST: %ASA…`: a zone's name says nothing certain, so the source's setting counts.
fn without_zone_word(after: &str) -> &str {
    let word = after.trim_start_matches(' ');
    let rest = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
    if (2..=5).contains(&(word.len() - rest.len())) && rest.starts_with(": %") {
        rest
    } else {
        after
    }
}

/// `TAG` of `TAG: …` or `TAG[PID]: …` (RFC 3164, section 4.1.3).
fn tag(text: &str) -> Option<&str> {
    let word = text.split(' ').next()?;
    let end = word.find(['[', ':'])?;
    let tag = word.get(..end)?;
    (!tag.is_empty()
        && tag.len() <= 48
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'%')))
    .then_some(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Host, program and text of a line.
    fn parts(line: &str) -> (Option<&str>, Option<&str>, String) {
        let message = Message::parse(line);
        (message.host, message.program, message.text().into_owned())
    }

    #[test]
    fn lines_of_real_senders() {
        for (line, host, program, text) in [
            // logger --rfc3164
            (
                "<13>Nov 23 13:39:27 vm sshd: hello",
                Some("vm"),
                Some("sshd"),
                "sshd: hello",
            ),
            (
                "<13>Nov 23 13:39:27 vm sshd[12]: hello\n\0",
                Some("vm"),
                Some("sshd"),
                "sshd[12]: hello",
            ),
            // loggen: ISO stamp in the old form
            (
                "<38>2026-11-23T13:39:27 localhost prg00000[1234]: seq",
                Some("localhost"),
                Some("prg00000"),
                "prg00000[1234]: seq",
            ),
            // Cisco ASA, four ways
            (
                "<166>Nov 23 2026 13:39:27 asa1 : %ASA-6-1: x",
                Some("asa1"),
                Some("%ASA-6-1"),
                "%ASA-6-1: x",
            ),
            (
                "<166>Nov 23 2026 13:39:27: %ASA-6-1: x",
                None,
                Some("%ASA-6-1"),
                "%ASA-6-1: x",
            ),
            (
                "<166>:Nov 23 13:39:27 CEST: %ASA-6-1: x",
                None,
                Some("%ASA-6-1"),
                "%ASA-6-1: x",
            ),
            ("<166>%ASA-6-1: x", None, Some("%ASA-6-1"), "%ASA-6-1: x"),
            // Cisco IOS with a sequence number
            (
                "<189>42: *Nov 23 13:39:27.123: %SYS-5-X: y",
                None,
                Some("%SYS-5-X"),
                "%SYS-5-X: y",
            ),
            // FortiGate, Palo Alto, JSON, nothing at all
            (
                "<189>date=2026-11-23 time=13:39:27 devname=\"F\"",
                None,
                None,
                "date=2026-11-23 time=13:39:27 devname=\"F\"",
            ),
            (
                "<14>Nov 23 13:39:27 1,2026/11/23 13:39:27,00",
                None,
                None,
                "1,2026/11/23 13:39:27,00",
            ),
            (
                "<14>Nov 23 13:39:27 pa 1,2026/11/23 13:39:27",
                Some("pa"),
                None,
                "1,2026/11/23 13:39:27",
            ),
            ("<14>{\"a\":1}", None, None, "{\"a\":1}"),
            ("plain text", None, None, "plain text"),
            ("", None, None, ""),
            ("<999>x", None, None, "<999>x"),
        ] {
            assert_eq!(parts(line), (host, program, text.to_owned()), "{line}");
        }
    }

    #[test]
    fn rfc_5424_with_structured_data_and_byte_order_mark() {
        let line = "<13>1 2026-11-23T13:39:28.251064+00:00 vm sshd - AUTH [t a=\"1\"][ex@32473 u=\"a\\\"]b\"] hello ü";
        let message = Message::parse(line);
        assert_eq!(
            message.priority.map(|p| (p.facility(), p.severity())),
            Some((1, 5))
        );
        assert_eq!(message.host, Some("vm"));
        assert_eq!(message.program, Some("sshd"));
        assert_eq!(
            message.structured_data,
            Some("[t a=\"1\"][ex@32473 u=\"a\\\"]b\"]")
        );
        assert_eq!(message.text(), "sshd: hello ü");

        let marked = Message::parse("<13>1 - - app 1 - - \u{feff}hello");
        assert_eq!(marked.text(), "app[1]: hello");
        assert_eq!(
            Message::parse("<13>1 - - app: - - -  hello").text(),
            "app: hello",
            "a relay's blank"
        );
        assert_eq!(Message::parse("<13>1 - - - - - - hello").text(), "hello");
        assert_eq!(
            Message::parse("<13>1 - - app 1 ID [a b=\"c\"]").text(),
            "app 1 ID [a b=\"c\"]",
            "no MSG"
        );
        assert_eq!(
            (marked.host, marked.stamp, marked.structured_data),
            (None, None, None)
        );
        assert_eq!(parts("<13>1 - h").2, "1 - h", "too short to be RFC 5424");
    }

    #[test]
    fn truncation_at_every_length_never_panics() {
        let line = "<166>1 2026-11-23T13:39:28.251064+00:00 vm sshd - AUTH [t a=\"1\"][e u=\"a\\\"]b\"] \u{feff}hello ü";
        for (end, _) in line.char_indices() {
            let _ = Message::parse(&line[..end]).text();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(line in "(<[0-9]{0,4}>)?(1 )?.{0,80}") {
            let message = Message::parse(&line);
            prop_assert!(message.text().len() <= line.len());
        }

        #[test]
        fn near_messages_are_parsed_without_panic(
            line in "<1[0-9]{2}>(1 )?(Nov [ 0-9]{2} |2026-11-23T)[0-9]{2}:[0-9:.,+Z-]{0,20}[ :\\[\\]\"\\\\\u{feff}a-z-]{0,40}"
        ) {
            let _ = Message::parse(&line).text();
        }
    }
}
