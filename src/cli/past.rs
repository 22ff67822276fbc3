//! `jims query-user WHO --at TIME`: who was there then, from the history.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::exit::{Exit, Failure};
use super::query_user::reason;
use super::render::{HEADING, escape, field};
use super::{ask, when};
use crate::control::past::{Hole, Past, SessionThen};
use crate::control::protocol::{Answer, Request};
use crate::text::lasted;

/// Width of the labels before the values.
const LABELS: usize = 8;

/// Asks and prints.
pub(super) fn run(
    who: String,
    at: &str,
    (explain, json): (bool, bool),
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let zone = TimeZone::system();
    let now = Timestamp::from_millisecond(crate::runtime::clock::utc_now().0).unwrap_or_default();
    let at = when::instant(at, now, &zone)
        .map_err(|wrong| Failure::new(format!("--at {at}: {wrong}"), when::HINT))?;
    let Answer::Past(answer) = ask::ask(config, &Request::Past { who, at })? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&answer, out)?;
    } else {
        write!(out, "{}", render(&answer, explain, &zone))?;
    }
    Ok(if answer.sessions.is_empty() {
        Exit::No
    } else {
        Exit::Yes
    })
}

fn render(answer: &Past, explain: bool, zone: &TimeZone) -> String {
    let mut text = format!("at {}\n", when::shown(answer.at, zone));
    let mut last = None;
    for session in &answer.sessions {
        if last != Some(session.address) {
            text.push_str(&format!("{HEADING}{}{HEADING:#}\n", session.address));
            last = Some(session.address);
        }
        text.push_str(&session_text(session, answer, explain, zone));
    }
    if answer.sessions.is_empty() {
        let who = escape(&answer.who);
        text.push_str(&if answer.is_whole() {
            format!("nobody: no session of {who} is known\n")
        } else {
            format!(
                "not known: no session of {who} was found, but not everything of then is known\n"
            )
        });
    }
    for note in notes(answer, zone) {
        text.push_str(&field(0, "note", LABELS, &note));
    }
    text
}

fn session_text(session: &SessionThen, answer: &Past, explain: bool, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut add = |label: &str, value: &str| text.push_str(&field(2, label, LABELS, value));
    let moment = |at| when::shown(at, zone);
    let stale = if session.stale { ", already gone" } else { "" };
    let who = format!("{} ({}){stale}", session.name, session.domain);
    add(&session.kind, &who);
    if let Some(device) = &session.device {
        add("device", device);
    }
    add("since", &moment(session.since));
    match session.until {
        None => {
            let lasts = lasted(session.since, answer.now);
            add("until", &format!("still there, for {lasts}"));
        }
        Some(until) => {
            let lasted = lasted(session.since, until);
            add("until", &format!("{} ({lasted})", moment(until)));
        }
    }
    if let Some(word) = &session.reason {
        add("ended", &format!("{word}: {}", reason(word)));
    }
    if let Some(next) = &session.next {
        add("then", next);
    }
    let late = |ended| format!("firewalls had it until {}", moment(ended));
    if let Some(ended) = session.ended.filter(|_| session.stale || explain) {
        add("", &late(ended));
    }
    if explain {
        if let Some(by) = &session.by {
            add("by", by);
        }
        let held = &session.evidence;
        let what = format!("{}: {} ({})", held.producer, held.record, held.strength);
        let label = if held.occurred_at > answer.at {
            "seen"
        } else {
            "evidence"
        };
        add(label, &what);
        let (happened, heard) = (moment(held.occurred_at), moment(held.received_at));
        add("", &format!("happened {happened}"));
        add("", &format!("heard {heard}"));
    }
    text
}

/// What the answer does not know.
fn notes(answer: &Past, zone: &TimeZone) -> Vec<String> {
    let mut notes = Vec::new();
    match answer.begins {
        None if answer.kept => {
            notes.push("the history has not begun: who is gone by now is not known".to_owned());
        }
        None => notes.push(
            "there is no history: history.enabled is false; who is not there any more is not known"
                .to_owned(),
        ),
        Some(begins) if answer.at < begins => notes.push(format!(
            "the history begins at {}: who was gone by then is not known",
            when::shown(begins, zone)
        )),
        Some(_) => {}
    }
    notes.extend(answer.holes.iter().map(|hole| hole_text(hole, zone)));
    let damaged = answer.damaged.iter();
    notes.extend(damaged.map(|file| format!("a part of the history cannot be read: {file}")));
    if answer.truncated {
        let narrower =
            "there is more than fits here; ask for an address, or for a domain (CORP\\name)";
        notes.push(narrower.to_owned());
    }
    if answer.unfinished {
        let slow = "the history was not read to its end within the time for one question; who is in the rest is not known";
        notes.push(slow.to_owned());
    }
    notes
}

fn hole_text(hole: &Hole, zone: &TimeZone) -> String {
    let from = hole.from.map_or_else(
        || "the beginning".to_owned(),
        |from| when::shown(from, zone),
    );
    let until = hole
        .until
        .map_or_else(|| "now".to_owned(), |until| when::shown(until, zone));
    let what = match hole.why.as_str() {
        "stopped" => "jims did not run then, and heard nobody".to_owned(),
        "crashed" => {
            "jims ended without order; some who came or left then are not known".to_owned()
        }
        "off" => "the history was off; sessions that ended then are not known".to_owned(),
        _ => {
            let count = hole.lost.unwrap_or_default();
            format!("the disk could not follow; {count} sessions that ended then are not known")
        }
    };
    format!("from {from} to {until}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Past {
        let at = |text: &str| text.parse().expect("a time");
        Past {
            who: "10.8.0.7".into(),
            at: at("2026-11-20T14:05:00Z"),
            now: at("2026-11-21T00:00:00Z"),
            sessions: Vec::new(),
            kept: true,
            begins: Some(at("2026-11-01T00:00:00Z")),
            holes: Vec::new(),
            damaged: Vec::new(),
            truncated: false,
            unfinished: false,
        }
    }

    fn text(answer: &Past) -> String {
        render(answer, false, &TimeZone::UTC)
    }

    #[test]
    fn nobody_is_said_only_where_it_is_known() {
        assert!(text(&nobody()).contains("\nnobody: no session of 10.8.0.7 is known\n"));
        let hole = Hole {
            from: None,
            until: None,
            why: "crashed".into(),
            lost: None,
        };
        let begins = Some(nobody().now);
        for answer in [
            Past { begins, ..nobody() },
            Past {
                begins: None,
                ..nobody()
            },
            Past {
                begins: None,
                kept: false,
                ..nobody()
            },
            Past {
                holes: vec![hole],
                ..nobody()
            },
            Past {
                damaged: vec!["a.jh: it ends".into()],
                ..nobody()
            },
            Past {
                truncated: true,
                ..nobody()
            },
            Past {
                unfinished: true,
                ..nobody()
            },
        ] {
            let text = text(&answer);
            assert!(!text.contains("nobody"), "{text}");
            assert!(
                text.contains("\nnot known: no session of 10.8.0.7 was found"),
                "{text}"
            );
            assert!(text.contains("\nnote"), "{text}");
        }
    }

    #[test]
    fn too_little_time_is_not_too_many_sessions() {
        let slow = text(&Past {
            unfinished: true,
            ..nobody()
        });
        assert!(slow.contains("was not read to its end"), "{slow}");
        assert!(!slow.contains("ask for an address"), "{slow}");
        let many = text(&Past {
            truncated: true,
            ..nobody()
        });
        assert!(many.contains("ask for an address"), "{many}");
    }
}
