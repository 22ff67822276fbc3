//! The reasons in `jims query-user --explain`: what was said of an address, what lost and by which rule, who was told.

use jiff::Timestamp;

use super::render::{HEADING, ago, count, field, instant};
use crate::control::protocol::{Explained, Ignored, PastSession, Said, Told};

/// Width of the labels before the values.
const LABELS: usize = 16;

/// What is known of an address, in sections; those without content are left out.
pub(super) fn render(explained: &Explained, at: Timestamp) -> String {
    let mut text = String::new();
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            let address = explained.address;
            text.push_str(&format!("{HEADING}{address}: {title}{HEADING:#}\n{body}"));
        }
    };
    section("said of users, the latest last", all(&explained.user, said));
    section(
        "said of devices, the latest last",
        all(&explained.device, said),
    );
    let ignored = |item: &Ignored| ignored(item, at);
    section(
        "heard and ignored of late",
        all(&explained.ignored, ignored),
    );
    section(
        "ended here",
        all(&explained.before, |past| past_text(past, at)),
    );
    section(
        "who has been told",
        all(&explained.told, |told| told_text(told, at)),
    );
    text
}

fn all<T>(items: &[T], render: impl Fn(&T) -> String) -> String {
    items.iter().map(render).collect()
}

fn said(said: &Said) -> String {
    let evidence = &said.evidence;
    let who = said.subject.as_deref().unwrap_or("whoever is there");
    let from = said.source.as_deref();
    let from = from.map_or_else(String::new, |host| format!(" on {host}"));
    let record = match evidence.record.as_str() {
        "" => String::new(),
        record => format!(": {record}"),
    };
    let what = said.what.replace('-', " ");
    // How much a logoff is worth is no question.
    let strength = match said.what.as_str() {
        "logon" | "weaker-logon" => format!(" ({})", evidence.strength),
        _ => String::new(),
    };
    let line = format!(
        "{what} of {who}, {}{from}{record}{strength}",
        evidence.producer
    );
    let times = format!(
        "happened {}, heard {}",
        instant(evidence.occurred_at),
        instant(evidence.received_at)
    );
    field(2, &said.effect, LABELS, &line)
        + &field(2, "", LABELS, &times)
        + &field(2, "", LABELS, &format!("because {}", said.why))
}

fn ignored(ignored: &Ignored, at: Timestamp) -> String {
    let times = match ignored.count {
        1 => String::new(),
        count => format!("{count} times, last "),
    };
    let who = match ignored.subject.as_str() {
        "" => "nobody named",
        subject => subject,
    };
    let line = format!("{who}, {}: {}", ignored.producer, ignored.record);
    let when = format!("{times}{} ({})", instant(ignored.at), ago(ignored.at, at));
    field(2, &ignored.reason, LABELS, &line)
        + &field(2, "", LABELS, &when)
        + &field(2, "", LABELS, &format!("because {}", ignored.why))
}

/// A session that ended.
pub(super) fn past_text(past: &PastSession, at: Timestamp) -> String {
    let line = format!("{}, {}", past.user, super::query_user::reason(&past.reason));
    let when = format!("{} ({})", instant(past.at), ago(past.at, at));
    field(2, &past.reason, LABELS, &line)
        + &field(2, "", LABELS, &format!("{when}, by {}", past.by))
}

fn told_text(told: &Told, at: Timestamp) -> String {
    let state = match told.state.as_str() {
        "told" => format!("has it: {}", told.entry),
        "behind" => format!("does not have it yet: {}", told.entry),
        "nothing" => format!("is told nothing: {}", told.entry),
        _ => format!(
            "was not told anything since the start; next: {}",
            told.entry
        ),
    };
    let how = match told.protocol.as_str() {
        "query" => "asks",
        "web-api" => "is pushed to by the Web API",
        _ => "is pushed to",
    };
    let behind = match told.behind {
        None | Some(0) => String::new(),
        Some(behind) => {
            let behind = usize::try_from(behind).unwrap_or(usize::MAX);
            format!(", {} behind", count(behind, "change"))
        }
    };
    let last = match told.last {
        None => "not heard of yet".to_owned(),
        Some(last) => ago(last, at),
    };
    field(2, &told.name, LABELS, &state) + &field(2, "", LABELS, &format!("{how}{behind}, {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{Evidence, timestamp};
    use crate::identity::time::UtcMillis;
    use unicode_width::UnicodeWidthStr;

    fn at(seconds: i64) -> Timestamp {
        timestamp(UtcMillis((1_764_000_000 + seconds) * 1000))
    }

    fn step(what: &str, subject: Option<&str>, effect: &str, why: &str) -> Said {
        Said {
            what: what.into(),
            subject: subject.map(str::to_owned),
            evidence: Evidence {
                producer: "dc1".into(),
                record: "4624 type 2 #123456".into(),
                strength: "strong".into(),
                occurred_at: at(0),
                received_at: at(1),
            },
            source: Some("dc1.corp.example.com".into()),
            effect: effect.into(),
            why: why.into(),
        }
    }

    #[test]
    fn the_reasons_fit_80_columns_and_say_the_rule() {
        let explained = Explained {
            address: "10.1.2.50".parse().expect("an address"),
            user: vec![
                step(
                    "logon",
                    Some("corp.example.com\\alice"),
                    "holds",
                    "strong evidence that is later displaces whoever is there",
                ),
                Said {
                    source: None,
                    ..step("logoff", None, "lost", "nobody was there any more")
                },
            ],
            device: Vec::new(),
            before: vec![PastSession {
                address: "10.1.2.50".parse().expect("an address"),
                user: "corp.example.com\\bob".into(),
                at: at(3_500),
                reason: "displaced".into(),
                by: "dc1: 4624 type 2 #123456".into(),
            }],
            ignored: vec![Ignored {
                at: at(3_590),
                count: 12,
                subject: "corp.example.com\\svc-backup".into(),
                producer: "dc2".into(),
                record: "4624 type 3 #99".into(),
                reason: "filtered-user".into(),
                why: "`svc-*` of [filter] exclude_users leaves it out".into(),
            }],
            told: vec![Told {
                name: "srx-1".into(),
                protocol: "query".into(),
                state: "behind".into(),
                entry: "login corp.example.com\\alice (12 roles)".into(),
                behind: Some(3),
                last: Some(at(3_598)),
            }],
        };
        let text = anstream::adapter::strip_str(&render(&explained, at(3_600))).to_string();
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
