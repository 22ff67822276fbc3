//! `jims query-user`: who is at an address, where a user is, and which evidence says so.

use std::io::Write;
use std::path::Path;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{HEADING, ago, escape, escape_json, field, instant};
use crate::control::protocol::{
    Answer, DeviceSession, Evidence, KnownDevice, KnownUser, PastSession, Query, Request, Session,
};

/// Width of the labels before the values.
const LABELS: usize = 8;

/// Show who is at an address, where a user is, and which evidence says so
///
/// WHO is a user (alice, CORP\alice, alice@corp.example.com), an IP address, or a device (ws-0042). A bare name is
/// looked for in every domain.
///
/// TIME is of the time zone of this machine: 14:05 (the last time it was that late), "2026-11-20 14:05", 2026-11-20T14:05:30Z, "2h
/// ago".
///
/// Exit codes: 0 a session was found; 1 none (what the directory knows is still printed); 2 error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims query-user alice
  jims query-user 10.1.2.50 --for srx-branch-1
  jims query-user 10.1.2.50 --explain
  jims query-user 10.1.2.50 --at 14:05
  jims query-user ws-0042 --json | jq -r '.sessions[].address'")]
pub(super) struct Args {
    /// User, IP address, or device
    #[arg(value_name = "WHO")]
    who: String,
    /// Show also what this enforcement point would be told
    #[arg(long = "for", value_name = "POINT")]
    point: Option<String>,
    /// Show also what was said and what lost by which rule, who was here before, and who has been told
    #[arg(long)]
    explain: bool,
    /// Show who was there at an earlier time; with --explain also by which evidence, and how it ended
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "point",
        allow_hyphen_values = true
    )]
    at: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(super) fn run(
    args: Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    if let Some(at) = &args.at {
        let how = (args.explain, args.json);
        return super::past::run(args.who, at, how, config, out);
    }
    let request = Request::Query {
        who: args.who,
        point: args.point,
        explain: args.explain,
    };
    let Answer::Query(answer) = ask::ask(config, &request)? else {
        return Err(ask::unexpected());
    };
    if args.json {
        ask::print_json(&answer, out)?;
    } else {
        write!(out, "{}", render(&answer))?;
    }
    Ok(if answer.sessions.is_empty() {
        Exit::No
    } else {
        Exit::Yes
    })
}

fn render(answer: &Query) -> String {
    let mut text = String::new();
    for session in &answer.sessions {
        text.push_str(&session_text(session, answer));
    }
    if answer.sessions.is_empty() {
        let remark = answer.remark.as_deref();
        let remark = remark.map_or_else(String::new, |remark| format!(": {}", escape(remark)));
        text.push_str(&format!("no session of {}{remark}\n", escape(&answer.who)));
        let nothing_else = answer.explained.is_empty() && answer.ended.is_empty();
        if answer.users.is_empty() && answer.devices.is_empty() && nothing_else {
            return text + &point_text(answer);
        }
    }
    let without = answer.users.iter().filter(|u| u.addresses.is_empty());
    without.for_each(|user| text.push_str(&user_text(user)));
    let without = answer.devices.iter().filter(|d| d.addresses.is_empty());
    without.for_each(|device| text.push_str(&device_text(device)));
    for explained in &answer.explained {
        text.push_str(&super::explain::render(explained, answer.at));
    }
    let is_shown = |past: &&PastSession| answer.explained.iter().any(|e| e.before.contains(past));
    let elsewhere = answer.ended.iter().filter(|past| !is_shown(past));
    elsewhere.for_each(|past| text.push_str(&past_text(past, answer)));
    if answer.truncated {
        text.push_str("there are more; ask for a domain (CORP\\name) or an address\n");
    }
    text + &point_text(answer)
}

fn session_text(session: &Session, answer: &Query) -> String {
    let mut text = format!("{HEADING}{}{HEADING:#}\n", session.address);
    let mut add = |label: &str, value: &str| text.push_str(&field(2, label, LABELS, value));
    if let Some(user) = &session.user {
        let standing = session.standing.as_deref().map_or("", standing);
        add("user", &format!("{user} ({}){standing}", session.domain));
        add("groups", &list(&session.groups));
    }
    if let (Some(name), Some(device)) = (&session.device, &session.device_session) {
        add("device", &device_line(name, device));
        if !device.groups.is_empty() {
            add("", &format!("groups {}", list(&device.groups)));
        }
    }
    if session.state == "shared" {
        add(
            "state",
            "shared address: firewalls are told the device only",
        );
    } else {
        let doubt = session.doubt.as_ref();
        let doubt = doubt.map_or_else(String::new, |doubt| format!(": {doubt}"));
        add("state", &format!("{}{doubt}", session.state));
    }
    if !session.also_at.is_empty() {
        let others: Vec<String> = session.also_at.iter().map(ToString::to_string).collect();
        add("also at", &others.join(", "));
    }
    let when = |at| format!("{} ({})", instant(at), ago(at, answer.at));
    add("since", &when(session.since));
    add("evidence", &evidence(&session.last_evidence));
    add("", &heard(&session.last_evidence));
    add("until", &when(session.deadline));
    if !session.then.is_empty() {
        add("then", &session.then);
    }
    let both = session.user.is_some();
    if let Some(device) = session.device_session.as_ref().filter(|_| both) {
        add("device", &format!("since {}", when(device.since)));
        add("", &evidence(&device.last_evidence));
        add("", &heard(&device.last_evidence));
        add("", &format!("until {}", when(device.deadline)));
    }
    text
}

fn past_text(past: &PastSession, answer: &Query) -> String {
    let mut text = format!("{HEADING}{} (ended){HEADING:#}\n", past.address);
    let mut add = |label: &str, value: &str| text.push_str(&field(2, label, LABELS, value));
    add("user", &past.user);
    add(
        "ended",
        &format!("{} ({})", instant(past.at), ago(past.at, answer.at)),
    );
    add(
        "reason",
        &format!("{}: {}", past.reason, reason(&past.reason)),
    );
    add("by", &past.by);
    text
}

/// Why a session ended, in a sentence.
pub(super) fn reason(word: &str) -> &'static str {
    match word {
        "logoff" => "a logoff was reported",
        "expired" => {
            "its logoff time passed without new evidence, and the computer cannot be asked"
        }
        "displaced" => "somebody else was seen at the address",
        "directory" => "the directory lost or disabled the user",
        "operator" => "an operator ended it",
        "filter" => "a filter of the configuration leaves it out now",
        "probe-nobody" => "the computer says that nobody is signed on",
        "probe-other-user" => "the computer says that others are signed on",
        "probe-refused" => {
            "its logoff time passed, and the computer refused to tell who is signed on"
        }
        "probe-unreachable" => "its logoff time passed, and the computer did not answer",
        "unconfirmed" => "its logoff time passed, and nobody could be asked within the grace",
        _ => "this version of the command does not know the word",
    }
}

fn device_line(name: &str, device: &DeviceSession) -> String {
    format!(
        "{name} ({}){}",
        device.domain,
        system(device.os.as_deref(), device.os_version.as_deref())
    )
}

fn system(os: Option<&str>, version: Option<&str>) -> String {
    let known: Vec<&str> = os.into_iter().chain(version).collect();
    if known.is_empty() {
        String::new()
    } else {
        format!(", {}", known.join(" "))
    }
}

fn evidence(evidence: &Evidence) -> String {
    format!(
        "{}: {} ({})",
        evidence.producer, evidence.record, evidence.strength
    )
}

fn heard(evidence: &Evidence) -> String {
    format!(
        "happened {}, heard {}",
        instant(evidence.occurred_at),
        instant(evidence.received_at)
    )
}

fn user_text(user: &KnownUser) -> String {
    let who = format!(
        "{} ({}){}, no session",
        user.user,
        user.domain,
        standing(&user.standing)
    );
    let groups = field(2, "groups", LABELS, &list(&user.groups));
    format!("{}{groups}", field(2, "user", LABELS, &who))
}

fn device_text(device: &KnownDevice) -> String {
    let system = system(device.os.as_deref(), device.os_version.as_deref());
    let what = format!("{} ({}){system}, no session", device.device, device.domain);
    let groups = field(2, "groups", LABELS, &list(&device.groups));
    format!("{}{groups}", field(2, "device", LABELS, &what))
}

fn standing(standing: &str) -> &'static str {
    match standing {
        "not-in-directory" => ", not in directory",
        "gone" => ", disabled in or removed from the directory",
        _ => "",
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn point_text(answer: &Query) -> String {
    let Some(point) = &answer.point else {
        return String::new();
    };
    let name = escape(&point.name);
    if point.report_entries.is_empty() {
        return format!("{HEADING}{name}{HEADING:#} would be told nothing\n");
    }
    let mut text = format!("{HEADING}{name}{HEADING:#} would be told\n");
    // As they are, in one line each: what is shown can be compared with what a firewall says.
    match &point.document {
        Some(document) => text.push_str(&format!("{}\n", escape(document.trim_end()))),
        None => (point.report_entries.iter())
            .for_each(|entry| text.push_str(&format!("{}\n", escape_json(&entry.to_string())))),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::timestamp;
    use crate::identity::time::UtcMillis;
    use unicode_width::UnicodeWidthStr;

    fn at(seconds: i64) -> jiff::Timestamp {
        timestamp(UtcMillis((1_764_000_000 + seconds) * 1000))
    }

    fn said() -> Evidence {
        Evidence {
            producer: "vpn".into(),
            record: "juniper-secure-connect/up-aaa".into(),
            strength: "strong".into(),
            occurred_at: at(0),
            received_at: at(1),
        }
    }

    fn plain(answer: &Query) -> String {
        anstream::adapter::strip_str(&render(answer)).to_string()
    }

    fn answer() -> Query {
        Query {
            who: "alice".into(),
            at: at(7_200),
            sessions: vec![Session {
                address: "10.1.2.50".parse().expect("address"),
                user: Some("alice".into()),
                domain: "corp.example.com".into(),
                device: Some("WS-0042".into()),
                groups: vec!["Engineering".into(), "経理部の人たち".repeat(8)],
                since: at(0),
                last_evidence: said(),
                deadline: at(86_400),
                state: "active".into(),
                doubt: None,
                then: String::new(),
                also_at: Vec::new(),
                standing: Some("not-in-directory".into()),
                device_session: Some(DeviceSession {
                    domain: "corp.example.com".into(),
                    groups: vec![],
                    os: Some("Windows 11".into()),
                    os_version: Some("10.0 (22631)".into()),
                    since: at(0),
                    last_evidence: Evidence {
                        producer: "dhcp".into(),
                        record: "kea-dhcp/lease".into(),
                        strength: "weak".into(),
                        ..said()
                    },
                    deadline: at(86_400),
                }),
            }],
            users: vec![],
            devices: vec![],
            ended: vec![],
            explained: vec![],
            remark: None,
            truncated: false,
            point: None,
        }
    }

    #[test]
    fn a_session_says_why_it_is_believed() {
        let text = plain(&answer());
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_session_in_doubt_and_one_that_ended_say_why() {
        let mut answer = answer();
        let session = &mut answer.sessions[0];
        session.groups.truncate(1);
        session.device_session = None;
        session.state = "unconfirmed".into();
        session.doubt = Some(
            "its logoff time was over at 2025-11-24T18:00:00Z; the computer is being asked".into(),
        );
        session.then = "logged off, if nobody could be asked".into();
        session.also_at = vec!["2001:db8::50".parse().expect("address")];
        answer.ended = vec![PastSession {
            address: "10.1.2.51".parse().expect("address"),
            user: "corp.example.com\\alice".into(),
            at: at(3_600),
            reason: "probe-nobody".into(),
            by: "pc-probe: wmi ws-0042".into(),
        }];
        let text = plain(&answer);
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn without_a_session_the_directory_still_answers() {
        let mut answer = answer();
        answer.sessions.clear();
        answer.users = vec![KnownUser {
            user: "alice".into(),
            domain: "corp.example.com".into(),
            groups: vec!["Engineering".into()],
            standing: "in-directory".into(),
            addresses: vec![],
        }];
        assert_eq!(
            plain(&answer),
            "no session of alice\n  user      alice (corp.example.com), no session\n  groups    Engineering\n"
        );
    }
}
