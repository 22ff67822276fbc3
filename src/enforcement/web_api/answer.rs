//! What an answer of a firewall's Web API means. Pure.
//!
//! Public is that 200 means success. What the body then holds is not: so a body that speaks of an error is taken for
//! a refusal of the document, because a client that believes a status alone loses entries silently.

/// Longest part of a body that people are shown, in characters.
const SHOWN: usize = 120;
/// Words of which one makes an answer a refusal.
const FAILURE: [&str; 9] = [
    "error", "errors", "fail", "failed", "failure", "failures", "invalid", "rejected", "denied",
];
/// Words beside one of those that take it back: `0 errors`, `<errors>0</errors>`, `"error": null`.
const NONE: [&str; 7] = ["0", "no", "none", "null", "false", "without", "nil"];

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every entry is in the firewall.
    Taken,
    /// Something in it is not understood; what the firewall says.
    Refused(String),
    /// It is too large.
    TooLarge,
    /// Password, user or our address is not accepted.
    Unauthorized,
    /// The firewall cannot do it now, or this is no Web API; what it says.
    Failed(String),
}

impl Verdict {
    /// Reads an answer.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        match status {
            200..=299 if tells_failure(body) => Self::Refused(said(status, body)),
            200..=299 => Self::Taken,
            400 | 422 => Self::Refused(said(status, body)),
            401 | 403 => Self::Unauthorized,
            413 => Self::TooLarge,
            _ => Self::Failed(said(status, body)),
        }
    }

    /// The word for metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
            Self::TooLarge => "too-large",
            Self::Unauthorized => "unauthorized",
            Self::Failed(_) => "failed",
        }
    }
}

/// Whether the text speaks of an error that happened.
fn tells_failure(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let is_none = |word: Option<&&str>| word.is_some_and(|word| NONE.contains(word));
    words.iter().enumerate().any(|(index, word)| {
        let before = index.checked_sub(1).and_then(|before| words.get(before));
        FAILURE.contains(word) && !is_none(before) && !is_none(words.get(index + 1))
    })
}

/// Status and the beginning of the body, on one line.
fn said(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = line
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if line.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    if short.is_empty() {
        return format!("status {status}");
    }
    format!("status {status}: {short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_believed_unless_the_body_says_otherwise() {
        let taken = [
            "",
            "OK",
            "<?xml version=\"1.0\"?><result>success</result>",
            "<result><errors>0</errors></result>",
            "{\"status\":\"ok\",\"error\":null}",
            "200 entries taken, 0 failed",
            "no error",
        ];
        for body in taken {
            assert_eq!(Verdict::of(200, body.as_bytes()), Verdict::Taken, "{body}");
        }
        let refused = [
            "<error>unknown operation</error>",
            "<rpc-error><error-message>x</error-message></rpc-error>",
            "{\"result\":\"failure\"}",
            "Invalid IP address",
            "200 entries taken, 3 failed",
        ];
        for body in refused {
            let verdict = Verdict::of(200, body.as_bytes());
            assert!(
                matches!(verdict, Verdict::Refused(_)),
                "{body}: {verdict:?}"
            );
        }
    }

    #[test]
    fn statuses_mean_what_they_say() {
        assert_eq!(Verdict::of(204, b""), Verdict::Taken);
        assert_eq!(Verdict::of(401, b""), Verdict::Unauthorized);
        assert_eq!(Verdict::of(403, b"OK"), Verdict::Unauthorized);
        assert_eq!(Verdict::of(413, b""), Verdict::TooLarge);
        assert_eq!(Verdict::of(400, b""), Verdict::Refused("status 400".into()));
        for status in [301, 404, 429, 500, 503] {
            assert!(matches!(Verdict::of(status, b"OK"), Verdict::Failed(_)));
        }
    }

    #[test]
    fn what_is_shown_of_a_body_is_short_and_one_line() {
        let Verdict::Failed(said) = Verdict::of(500, "a\n\u{1b}[2J b".repeat(100).as_bytes())
        else {
            panic!("a failure");
        };
        assert!(
            said.chars().count() < 150 && !said.contains(['\n', '\u{1b}']),
            "{said}"
        );
    }
}
