//! The steps of an onboarding, and what each observation means. Pure: nothing is tried or written here.

use std::time::Duration;

use crate::identity::time::UtcMillis;
use crate::net::collector_client::{CallError, SeenCertificate, ServerAnswer, TrustedBy, hex};
use crate::push::code::{Code, CodeError};
use crate::push::credential::{Credential, Stage};
use crate::push::server::Trouble;
use crate::push::shape::Refused;

/// Clocks may differ by this; beyond, what is pushed would be of another time.
pub(super) const MAX_SKEW: Duration = Duration::from_secs(600);
/// A certificate that ends so soon is mentioned.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

/// What is done, in this order; an onboarding may end at any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepName {
    /// What was typed is a code.
    Code,
    /// The Server's name has addresses.
    Name,
    /// TCP, a proxy if there is one, and TLS.
    Connect,
    /// The Server is the right one.
    Certificate,
    /// It is a jims Server.
    Server,
    /// Its clock and ours agree.
    Clock,
    /// The credential is kept before it is sent.
    Keep,
    /// The Server takes it.
    Exchange,
    /// What the Server said is kept.
    Store,
    /// It gives a token.
    Verify,
}

impl StepName {
    /// One word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Name => "name",
            Self::Connect => "connect",
            Self::Certificate => "certificate",
            Self::Server => "server",
            Self::Clock => "clock",
            Self::Keep => "keep",
            Self::Exchange => "exchange",
            Self::Store => "store",
            Self::Verify => "verify",
        }
    }
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) step: StepName,
    pub(super) ok: bool,
    pub(super) detail: String,
    pub(super) remedy: String,
    /// The Server itself said no.
    pub(super) refused: bool,
}

impl Said {
    pub(super) fn pass(step: StepName, detail: impl Into<String>) -> Self {
        Self::advise(step, detail, "")
    }

    pub(super) fn advise(
        step: StepName,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            step,
            ok: true,
            detail: detail.into(),
            remedy: remedy.into(),
            refused: false,
        }
    }

    pub(super) fn fail(
        step: StepName,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            ok: false,
            ..Self::advise(step, detail, remedy)
        }
    }

    pub(super) fn trouble(step: StepName, trouble: &Trouble) -> Self {
        Self {
            refused: matches!(trouble, Trouble::Refused(_) | Trouble::Unauthorized),
            ..Self::fail(step, trouble.message(), trouble.remedy())
        }
    }
}

/// What is to be done, given what is kept of this Server and whether there is a code.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Begin, or begin anew with another secret.
    Begin(Code),
    /// Go on with the secret that may have been sent.
    GoOn(Code, Box<Credential>),
    /// Only see whether it still works; with a code, begin anew if it does not.
    Verify(Box<Credential>, Option<Code>),
}

/// Reads the code and decides what to do.
pub(super) fn plan(
    code: Option<&str>,
    kept: Option<Credential>,
) -> Result<(Plan, Said), Box<Said>> {
    let step = StepName::Code;
    let code = match code.map(Code::parse).transpose() {
        Ok(code) => code,
        Err(error) => return Err(Box::new(wrong_code(error))),
    };
    match (kept, code) {
        (Some(kept), code) if kept.stage == Stage::Onboarded => {
            let said = Said::pass(step, "onboarded already; no code is needed");
            Ok((Plan::Verify(Box::new(kept), code), said))
        }
        (Some(kept), Some(code)) => {
            let said = Said::pass(step, "goes on with the credential that is kept already");
            Ok((Plan::GoOn(code, Box::new(kept)), said))
        }
        (None, Some(code)) => {
            let key = hex(&code.key);
            let said = Said::pass(step, format!("read; the Server's key is {key}"));
            Ok((Plan::Begin(code), said))
        }
        (_, None) => Err(Box::new(Said::fail(
            step,
            "there is no code",
            "on the Server, invite this Collector; then give its code",
        ))),
    }
}

fn wrong_code(error: CodeError) -> Said {
    let remedy = "type the code again as the Server printed it; nothing was sent";
    Said::fail(StepName::Code, error.to_string(), remedy)
}

/// What connecting came to: nothing of ours has been told yet.
pub(super) fn connected(
    answer: &Result<ServerAnswer, CallError>,
    seen: Option<&SeenCertificate>,
    wanted_key: &[u8; 32],
    way: &str,
    now: UtcMillis,
) -> Vec<Said> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return not_connected(error, wanted_key, way),
    };
    let version = if answer.http2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut said = vec![Said::pass(StepName::Connect, format!("{way}, {version}"))];
    said.extend(seen.map(|seen| trusted(seen, wanted_key, now)));
    if answer.status != 200 {
        let trouble = Trouble::NoServer(answer.status, String::new());
        said.push(Said::trouble(StepName::Server, &trouble));
        return said;
    }
    said.extend(answer.date.map(|date| clock(date, now)));
    said
}

fn not_connected(error: &CallError, wanted_key: &[u8; 32], way: &str) -> Vec<Said> {
    let reached = || Said::pass(StepName::Connect, way);
    let remedy = error.remedy();
    match error {
        CallError::Certificate(seen) => {
            let detail = format!(
                "{error}; its key is {}, the code's is {}; certificate {} for {}; nothing was sent",
                seen.key_text(),
                hex(wanted_key),
                seen.fingerprint,
                seen.names.join(", "),
            );
            vec![reached(), Said::fail(StepName::Certificate, detail, remedy)]
        }
        CallError::Clock {
            seen,
            off_by,
            early,
        } => {
            let detail = if *early {
                format!(
                    "valid only from {}, in {}",
                    instant(seen.not_before),
                    span(*off_by)
                )
            } else {
                format!(
                    "expired at {}, {} ago",
                    instant(seen.not_after),
                    span(*off_by)
                )
            };
            let detail = format!(
                "{detail}; certificate {}; nothing was sent",
                seen.fingerprint
            );
            vec![reached(), Said::fail(StepName::Certificate, detail, remedy)]
        }
        CallError::Trust(_) => vec![Said::fail(StepName::Certificate, error.to_string(), remedy)],
        CallError::Name(_) => vec![Said::fail(StepName::Name, error.to_string(), remedy)],
        _ => vec![Said::fail(StepName::Connect, error.to_string(), remedy)],
    }
}

fn trusted(seen: &SeenCertificate, wanted_key: &[u8; 32], now: UtcMillis) -> Said {
    let by = match seen.verdict {
        Ok(TrustedBy::Roots) => "verified by this machine's roots",
        Ok(TrustedBy::CaFile) => "verified by the CA file",
        Ok(TrustedBy::Key) | Err(_) => "its key is that of the code",
    };
    let left = seen.not_after.since(now);
    let detail = format!(
        "{by}; SHA-256 {}; for {}; until {}",
        seen.fingerprint,
        seen.names.join(", "),
        instant(seen.not_after),
    );
    let remedy = if seen.key_sha256 != *wanted_key {
        format!(
            "its key {} is not that of the code: the certificate was renewed with another key, or a proxy opens TLS between",
            seen.key_text()
        )
    } else if left < ENDS_SOON {
        "renew the Server's certificate".to_owned()
    } else {
        String::new()
    };
    Said::advise(StepName::Certificate, detail, remedy)
}

fn clock(date: UtcMillis, now: UtcMillis) -> Said {
    let (behind, ahead) = (date.since(now), now.since(date));
    let skew = behind.max(ahead);
    if skew <= MAX_SKEW {
        let detail = format!("differs by {}", span(skew));
        return Said::pass(StepName::Clock, detail);
    }
    let way = if behind > ahead { "behind" } else { "ahead of" };
    Said::fail(
        StepName::Clock,
        format!(
            "this machine's clock is {} {way} the Server's; nothing was sent",
            span(skew)
        ),
        "set the clock of this machine (see `timedatectl`), or that of the Server",
    )
}

/// What the Server said to the code.
pub(super) fn refused(trouble: &Trouble, now: UtcMillis) -> Said {
    let mut said = Said::trouble(StepName::Exchange, trouble);
    if let Trouble::Refused(Refused { now: theirs, .. }) = trouble
        && *theirs > 0
    {
        let skew = clock(UtcMillis(*theirs), now);
        if !skew.ok {
            said.detail.push_str(&format!(
                "; {}",
                skew.detail.replace("; nothing was sent", "")
            ));
        }
    }
    said
}

/// The instant to the second, in UTC.
fn instant(at: UtcMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(
        |_| "an impossible day".to_owned(),
        |stamp| stamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// A length of time in one unit, to the nearest: a `Date` lags by up to a second.
fn span(length: Duration) -> String {
    let of = |unit: u64| (length.as_secs() + unit / 2) / unit;
    match length.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", of(60)),
        7200..=172_799 => format!("{} h", of(3600)),
        _ => format!("{} days", of(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::push::target::Target;

    const NOW: UtcMillis = UtcMillis(1_800_000_000_000);
    const KEY: [u8; 32] = [7; 32];

    fn kept(stage: Stage) -> Credential {
        Credential {
            name: "hub".into(),
            target: Target::parse("hub.example.com").expect("a URL"),
            collector: String::new(),
            server: String::new(),
            client_id: "collector-00".into(),
            client_secret: SecretString::from("s3cret"),
            key_sha256: KEY,
            trust: None,
            ca_file: None,
            stage,
            onboarded_at: None,
        }
    }

    fn code() -> String {
        Code {
            secret: [1; 16],
            key: KEY,
        }
        .text()
    }

    fn seen(verdict: Result<TrustedBy, String>) -> SeenCertificate {
        SeenCertificate {
            fingerprint: "AB:CD".into(),
            key_sha256: KEY,
            not_before: NOW.before(ENDS_SOON),
            not_after: NOW.after(ENDS_SOON),
            names: vec!["hub.example.com".into()],
            verdict,
            key_matches: Some(true),
        }
    }

    fn answer(status: u16, date: UtcMillis) -> Result<ServerAnswer, CallError> {
        Ok(ServerAnswer {
            status,
            http2: true,
            date: Some(date),
            body: Vec::new(),
        })
    }

    #[test]
    fn what_is_kept_decides_what_is_done() {
        let code = code();
        let of = |code: Option<&str>, kept| plan(code, kept).map(|(plan, _)| plan);
        assert!(matches!(of(Some(&code), None), Ok(Plan::Begin(_))));
        assert!(matches!(
            of(Some(&code), Some(kept(Stage::Pending))),
            Ok(Plan::GoOn(..))
        ));
        assert!(matches!(
            of(None, Some(kept(Stage::Onboarded))),
            Ok(Plan::Verify(_, None))
        ));
        assert!(matches!(
            of(Some(&code), Some(kept(Stage::Onboarded))),
            Ok(Plan::Verify(_, Some(_)))
        ));
        for (code, kept) in [
            (None, None),
            (None, Some(kept(Stage::Pending))),
            (Some("JIMS1-X"), None),
        ] {
            let said = of(code, kept).expect_err("no code");
            assert!(!said.ok && !said.refused && !said.remedy.is_empty());
        }
    }

    #[test]
    fn a_good_server_passes_and_says_why_it_is_good() {
        let seen = seen(Ok(TrustedBy::Key));
        let said = connected(&answer(200, NOW), Some(&seen), &KEY, "192.0.2.1:443", NOW);
        let names: Vec<_> = said.iter().map(|said| (said.step, said.ok)).collect();
        let expected = [StepName::Connect, StepName::Certificate, StepName::Clock];
        assert_eq!(names, expected.map(|name| (name, true)));
        assert!(
            said[1].detail.contains("key is that of the code"),
            "{}",
            said[1].detail
        );
        assert!(said[1].remedy.is_empty());
    }

    #[test]
    fn a_good_certificate_with_another_key_is_mentioned() {
        let seen = seen(Ok(TrustedBy::Roots));
        let said = connected(&answer(200, NOW), Some(&seen), &[8; 32], "", NOW);
        assert!(
            said[1].ok && said[1].remedy.contains("proxy"),
            "{:?}",
            said[1]
        );
    }

    #[test]
    fn a_wrong_certificate_shows_both_keys() {
        let error = CallError::Certificate(Box::new(seen(Err("UnknownIssuer".into()))));
        let said = connected(&Err(error), None, &[8; 32], "192.0.2.1:443", NOW);
        let last = said.last().expect("a step");
        assert_eq!((last.step, last.ok), (StepName::Certificate, false));
        for part in [
            hex(&KEY),
            hex(&[8; 32]),
            "AB:CD".into(),
            "nothing was sent".into(),
        ] {
            assert!(last.detail.contains(&part), "{}", last.detail);
        }
    }

    #[test]
    fn a_wrong_clock_says_by_how_much() {
        let date = NOW.after(Duration::from_secs(3 * 3600 - 1));
        let said = connected(
            &answer(200, date),
            Some(&seen(Ok(TrustedBy::Key))),
            &KEY,
            "",
            NOW,
        );
        let last = said.last().expect("a step");
        assert!(
            !last.ok && last.detail.contains("3 h behind"),
            "{}",
            last.detail
        );
        let error = CallError::Clock {
            seen: Box::new(seen(Err("expired".into()))),
            off_by: Duration::from_secs(5 * 86_400),
            early: true,
        };
        let said = connected(&Err(error), None, &KEY, "", NOW);
        let last = said.last().expect("a step");
        assert!(last.detail.contains("in 5 days"), "{}", last.detail);
    }

    #[test]
    fn who_is_no_server_is_not_told_the_code() {
        let said = connected(
            &answer(404, NOW),
            Some(&seen(Ok(TrustedBy::Key))),
            &KEY,
            "",
            NOW,
        );
        let last = said.last().expect("a step");
        assert_eq!(
            (last.step, last.ok, last.refused),
            (StepName::Server, false, false)
        );
    }
}
