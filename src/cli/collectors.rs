//! Collectors as a Server's operator sees them: invitations, what became of a change, and the JIMS page.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{
    HEADING, WARNING, ago, ago_or_never, count, escape, field, indented, instant, millis, number,
    paragraph, span, state, table, text, thousands,
};
use crate::control::protocol::{
    Answer, CollectorChanged, CollectorState, CollectorStatus, Invite, Invited, Kinds, Request,
    Status, Totals, timestamp,
};
use crate::runtime::clock;

/// Width of the labels of a Collector's fields.
const LABELS: usize = 11;

/// A Collector is to be invited.
#[derive(Debug)]
pub(super) struct Invitation {
    pub(super) name: String,
    /// How long the code can be used.
    pub(super) life: Duration,
    pub(super) networks: Vec<String>,
    pub(super) domains: Vec<String>,
    pub(super) roles: Vec<String>,
}

/// `--invite`: prints the code.
pub(super) fn invite(
    invitation: Invitation,
    json: bool,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let request = Request::Invite(Invite {
        name: invitation.name,
        expires_s: invitation.life.as_secs(),
        networks: invitation.networks,
        domains: invitation.domains,
        roles: invitation.roles,
    });
    let Answer::Invited(invited) = ask::ask(config, &request)? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&invited, out)?;
    } else {
        let now = timestamp(clock::utc_now());
        write!(out, "{}", render_invited(&invited, now))?;
    }
    Ok(Exit::Yes)
}

fn render_invited(invited: &Invited, now: Timestamp) -> String {
    // The code and the command are there to be copied, so they stand alone and are never folded.
    let mut text = paragraph(&format!(
        "The code of `{}`, shown once; it can be used once:",
        invited.name
    ));
    text += &format!("\n  {}\n\n", escape(&invited.code));
    text += "On the Collector:\n";
    text += &format!("\n  jims onboard {}\n\n", escape(&invited.url));
    if invited.url_guessed {
        text += &paragraph(
            "The host is a guess: neither certificate_names nor listen of [server] names one. Use the one by which the Collector reaches this Server.",
        );
        text += "\n";
    }
    let expires = format!(
        "{} ({})",
        instant(invited.expires),
        ago(invited.expires, now)
    );
    text += &field(0, "expires", LABELS, &expires);
    text + &field(0, "certificate", LABELS, &sha256(&invited.fingerprint))
}

fn sha256(fingerprint: &str) -> String {
    format!("SHA-256 {fingerprint}")
}

/// `--list`: Collectors and invitations, one a line.
pub(super) fn list(
    json: bool,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let Answer::Collectors { collectors } = ask::ask(config, &Request::Collectors)? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&serde_json::json!({ "collectors": collectors }), out)?;
    } else {
        let now = timestamp(clock::utc_now());
        write!(out, "{}", render_list(&collectors, now))?;
    }
    Ok(Exit::Yes)
}

fn render_list(collectors: &[CollectorStatus], now: Timestamp) -> String {
    if collectors.is_empty() {
        return nobody();
    }
    let row = |c: &CollectorStatus| {
        let when = match c.invitation_expires {
            Some(until) if c.state == CollectorState::Invited => expiry(until, now),
            _ => ago_or_never(c.last_update, now),
        };
        vec![
            c.name.clone(),
            c.state.as_str().to_owned(),
            or_dash(&c.version),
            when,
            or_dash(&c.description),
        ]
    };
    let rows: Vec<Vec<String>> = sorted(collectors).into_iter().map(row).collect();
    let heading = [
        text("NAME"),
        state("STATE"),
        text("VERSION"),
        text("LAST"),
        text("DESCRIPTION"),
    ];
    table(0, &heading, &rows)
}

fn nobody() -> String {
    "No Collector is known. To invite one: jims onboard --invite NAME\n".to_owned()
}

/// The other changes: asks nothing back, says what was done.
pub(super) fn change(
    request: Request,
    json: bool,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let Answer::CollectorChanged(changed) = ask::ask(config, &request)? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&changed, out)?;
    } else {
        write!(out, "{}", render_changed(&changed))?;
    }
    Ok(if changed.done { Exit::Yes } else { Exit::No })
}

fn render_changed(changed: &CollectorChanged) -> String {
    let mut text = paragraph(&format!("{}: {}", changed.name, changed.detail));
    if let Some(left) = &changed.left {
        let listed: Vec<String> = numbers(left)
            .into_iter()
            .filter(|(_, number)| *number > 0)
            .map(|(noun, number)| counted(number, noun))
            .collect();
        text += &if listed.is_empty() {
            paragraph("nothing had come from it")
        } else {
            paragraph(&format!("left with it: {}", listed.join(", ")))
        };
    }
    text
}

/// The numbers with their nouns, in the order of the page.
fn numbers(kinds: &Kinds) -> [(&'static str, u64); 5] {
    [
        ("domain", kinds.domains),
        ("user", kinds.users),
        ("device", kinds.devices),
        ("group", kinds.groups),
        ("session", kinds.sessions),
    ]
}

fn counted(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// `jims status --collectors`; [`Exit::No`] if a Collector needs attention.
pub(super) fn page(
    json: bool,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let Answer::Status(status) = ask::ask(config, &Request::Status)? else {
        return Err(ask::unexpected());
    };
    if json {
        let page = serde_json::json!({
            "version": status.version,
            "at": status.at,
            "totals": status.totals,
            "collectors": status.collectors,
        });
        ask::print_json(&page, out)?;
    } else {
        write!(out, "{}", render_page(&status))?;
    }
    let well = (status.collectors.iter()).all(|collector| !collector.needs_attention());
    Ok(if well { Exit::Yes } else { Exit::No })
}

fn render_page(status: &Status) -> String {
    let mut text = paragraph(&format!(
        "jims {} on {}: {}",
        status.version,
        status.collector.name,
        tally(&status.collectors)
    ));
    text += "\n";
    text += &totals(&status.totals);
    if status.collectors.is_empty() {
        text += "\n";
        text += &match &status.server {
            Some(server) if server.ingest => nobody(),
            _ => "This process does not receive Collectors: [ingest] is not enabled.\n".to_owned(),
        };
        return text;
    }
    let all = sorted(&status.collectors);
    let (invited, known): (Vec<&CollectorStatus>, Vec<&CollectorStatus>) =
        (all.into_iter()).partition(|collector| collector.state == CollectorState::Invited);
    for collector in known {
        text += "\n";
        text += &one(collector, status.at);
    }
    text + &invitations(&invited, status.at)
}

/// How many Collectors there are, and how many in each state.
fn tally(collectors: &[CollectorStatus]) -> String {
    let states = [
        CollectorState::Connected,
        CollectorState::Resynchronising,
        CollectorState::Disconnected,
        CollectorState::Disabled,
        CollectorState::Unknown,
    ];
    let number = |state| collectors.iter().filter(|c| c.state == state).count();
    let of_states: Vec<String> = (states.into_iter())
        .map(|state| (state, number(state)))
        .filter(|(_, number)| *number > 0)
        .map(|(state, number)| format!("{number} {}", state.as_str()))
        .collect();
    let known = collectors.len() - number(CollectorState::Invited);
    if of_states.is_empty() {
        return count(known, "Collector");
    }
    format!("{} ({})", count(known, "Collector"), of_states.join(", "))
}

fn totals(totals: &Totals) -> String {
    let row = [
        totals.domains,
        totals.users,
        totals.devices,
        totals.groups,
        totals.sessions,
    ];
    let heading = [
        "DOMAINS",
        "USERS (ACTIVE)",
        "DEVICES (ACTIVE)",
        "GROUPS",
        "SESSIONS (ACTIVE)",
    ];
    let shown = row.map(|n| thousands(u64::try_from(n).unwrap_or(u64::MAX)));
    table(2, &heading.map(number), &[shown.into()])
}

/// What needs attention first, then by name.
fn sorted(collectors: &[CollectorStatus]) -> Vec<&CollectorStatus> {
    let mut all: Vec<&CollectorStatus> = collectors.iter().collect();
    all.sort_by_key(|c| (!c.needs_attention(), c.name.to_lowercase()));
    all
}

/// Everything about one Collector.
fn one(collector: &CollectorStatus, now: Timestamp) -> String {
    let state = match collector.since {
        Some(since) => format!("{}, {}", collector.state.as_str(), ago(since, now)),
        None => collector.state.as_str().to_owned(),
    };
    let style = if collector.needs_attention() {
        WARNING
    } else {
        HEADING
    };
    let name = escape(&collector.name);
    let mut text = format!("{style}{name}{style:#}: {state}\n");
    for what in collector
        .attention
        .iter()
        .filter(|_| collector.needs_attention())
    {
        text += &field(2, "!", LABELS, what);
    }
    let mut say = |label: &str, what: &str| text += &field(2, label, LABELS, what);
    if !collector.description.is_empty() {
        say("description", &collector.description);
    }
    let address = (collector.address).map_or_else(|| "-".to_owned(), |a| a.to_string());
    say("identifier", &or_dash(&collector.identifier));
    say("version", &or_dash(&collector.version));
    say("address", &address);
    say("last update", &ago_or_never(collector.last_update, now));
    say("lag", &lag(collector));
    say("pushes", &listed(&collector.pushes));
    say("holds", &listed(&collector.totals));
    for (label, what) in particulars(collector, now) {
        say(label, &what);
    }
    text
}

/// What is only there sometimes.
fn particulars(collector: &CollectorStatus, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut list = Vec::new();
    if collector.attention_there > 0 {
        let things = counted(u64::from(collector.attention_there), "thing");
        list.push(("to do there", format!("{things}: jims status on it")));
    }
    if let Some(difference) = collector.clock_difference_ms {
        list.push(("clock", clock_difference(difference)));
    }
    if let Some(at) = collector.onboarded_at {
        list.push(("onboarded", format!("{} ({})", instant(at), ago(at, now))));
    }
    if let Some(until) = collector.certificate_expires {
        list.push(("certificate", expiry(until, now)));
    }
    for (label, scope) in [
        ("networks", &collector.networks),
        ("domains", &collector.domains),
        ("roles", &collector.roles),
    ] {
        if !scope.is_empty() {
            list.push((label, scope.join(", ")));
        }
    }
    list
}

fn clock_difference(ahead: i64) -> String {
    let length = millis(ahead.unsigned_abs());
    match ahead {
        0 => "as ours".to_owned(),
        1.. => format!("{length} ahead of ours"),
        _ => format!("{length} behind ours"),
    }
}

fn lag(collector: &CollectorStatus) -> String {
    let Some(lag) = collector.lag else {
        return "-".to_owned();
    };
    let behind = counted(lag.behind, "change");
    match lag.seconds {
        Some(seconds) => format!("{behind}, {}", span(Duration::from_secs(seconds))),
        None => behind,
    }
}

fn listed(kinds: &Kinds) -> String {
    let parts = numbers(kinds).map(|(noun, number)| counted(number, noun));
    parts.join(", ")
}

fn invitations(invited: &[&CollectorStatus], now: Timestamp) -> String {
    if invited.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{HEADING}Invitations{HEADING:#}\n");
    for collector in invited {
        let until = (collector.invitation_expires)
            .map_or_else(|| "open".to_owned(), |until| expiry(until, now));
        text += &indented(2, &format!("{}: {until}", collector.name));
    }
    text
}

fn expiry(until: Timestamp, now: Timestamp) -> String {
    let word = if until > now { "expires" } else { "expired" };
    format!("{word} {}", ago(until, now))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::EventTotals;
    use crate::control::protocol::{DirectoryTotals, Lag, ServerStatus, ThisCollector};
    use crate::identity::time::UtcMillis;
    use unicode_width::UnicodeWidthStr;

    fn at(seconds: i64) -> Timestamp {
        timestamp(UtcMillis((1_764_000_000 + seconds) * 1000))
    }

    const NOW: i64 = 100_000;

    fn plain(text: &str) -> String {
        let text = anstream::adapter::strip_str(text).to_string();
        assert!(!text.contains('\u{1b}'), "{text}");
        text
    }

    fn fits(text: &str) {
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
    }

    fn kinds(sessions: u64) -> Kinds {
        Kinds {
            domains: 1,
            users: sessions * 6 / 10,
            devices: sessions * 4 / 10,
            groups: 1_204,
            sessions,
        }
    }

    fn collector(name: &str, state: CollectorState) -> CollectorStatus {
        CollectorStatus {
            name: name.into(),
            identifier: format!("jims-{name}"),
            version: "0.1.0".into(),
            state,
            last_update: Some(at(NOW - 12)),
            address: Some("192.0.2.30".parse().expect("an address")),
            pushes: kinds(812_345),
            totals: kinds(40_000),
            lag: Some(Lag {
                behind: 0,
                seconds: Some(0),
            }),
            onboarded_at: Some(at(0)),
            clock_difference_ms: Some(-84),
            ..CollectorStatus::default()
        }
    }

    fn collectors() -> Vec<CollectorStatus> {
        let lost = CollectorStatus {
            description: "東京の支店、地下の部屋 — \u{1b}[2Jand a description that goes on for so long that it does not fit on one line".into(),
            since: Some(at(NOW - 3_700)),
            last_update: Some(at(NOW - 3_790)),
            lag: None,
            clock_difference_ms: Some(75_000),
            attention: vec![
                "its last push was refused: it speaks protocol 0, this Server takes 1 and later".into(),
                "its clock is 75 s ahead of ours".into(),
            ],
            attention_there: 2,
            networks: vec!["10.2.0.0/16".into(), "2001:db8:2::/48".into()],
            domains: vec!["partner.example".into()],
            roles: vec!["VPN-*".into()],
            ..collector("tokyo", CollectorState::Disconnected)
        };
        let busy = CollectorStatus {
            address: Some(
                "2001:db8:1234:5678:9abc:def0:1234:5678"
                    .parse()
                    .expect("an address"),
            ),
            lag: Some(Lag {
                behind: 812_345,
                seconds: Some(71),
            }),
            certificate_expires: Some(at(NOW + 86_400 * 300)),
            ..collector("branch-1", CollectorState::Resynchronising)
        };
        let off = CollectorStatus {
            since: Some(at(NOW - 7_200)),
            ..collector("old", CollectorState::Disabled)
        };
        let invited = |name: &str, seconds| CollectorStatus {
            name: name.into(),
            invitation_expires: Some(at(NOW + seconds)),
            ..CollectorStatus::default()
        };
        vec![
            collector("amsterdam", CollectorState::Connected),
            busy,
            invited("late", -60),
            invited("next", 3_000),
            off,
            lost,
        ]
    }

    fn status(ingest: bool, collectors: Vec<CollectorStatus>) -> Status {
        Status {
            version: "0.1.0".into(),
            at: at(NOW),
            collector: ThisCollector {
                name: "hq".into(),
                description: String::new(),
                state: "ready".into(),
                waiting_for: Vec::new(),
                started: at(0),
            },
            totals: Totals {
                domains: 2,
                users: 61_204,
                devices: 43_001,
                groups: 4_021,
                sessions: 104_205,
            },
            directory: DirectoryTotals::default(),
            events: EventTotals::default(),
            directories: Vec::new(),
            producers: Vec::new(),
            server: Some(ServerStatus {
                listen: vec!["[::]:443".into()],
                fingerprint: "ab".repeat(32),
                self_signed: true,
                validator: Vec::new(),
                debug_http: Vec::new(),
                ingest,
                url: "https://jims.example.com".into(),
                not_understood: 0,
            }),
            enforcement_points: Vec::new(),
            pushes: Vec::new(),
            collectors,
            strangers: Vec::new(),
            attention: Vec::new(),
            cluster: None,
        }
    }

    #[test]
    fn the_page_shows_problems_first_and_fits_80_columns() {
        let text = plain(&render_page(&status(true, collectors())));
        fits(&text);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_page_without_collectors_says_what_to_do() {
        let text = plain(&render_page(&status(true, Vec::new())));
        assert!(text.ends_with("jims onboard --invite NAME\n"), "{text}");
        let text = plain(&render_page(&status(false, Vec::new())));
        assert!(text.contains("[ingest] is not enabled"), "{text}");
    }

    #[test]
    fn the_list_has_a_line_for_each_and_fits_80_columns() {
        let text = plain(&render_list(&collectors(), at(NOW)));
        fits(&text);
        insta::assert_snapshot!(text);
        assert_eq!(render_list(&[], at(NOW)), nobody());
    }

    fn invited(url_guessed: bool) -> Invited {
        Invited {
            name: "branch-1".into(),
            code: format!("JIMS1{}", "-0123F".repeat(16)),
            url: "https://jims.example.com:8443".into(),
            url_guessed,
            fingerprint: "ab".repeat(32),
            expires: at(NOW + 3_600),
        }
    }

    #[test]
    fn a_code_stands_alone_with_what_to_type() {
        insta::assert_snapshot!(render_invited(&invited(false), at(NOW)));
        let guessed = render_invited(&invited(true), at(NOW));
        assert!(guessed.contains("The host is a guess"), "{guessed}");
    }

    #[test]
    fn what_left_with_a_collector_is_said() {
        let changed = |left| {
            render_changed(&CollectorChanged {
                name: "branch-1".into(),
                done: true,
                detail: "removed".into(),
                left,
            })
        };
        assert_eq!(changed(None), "branch-1: removed\n");
        assert_eq!(
            changed(Some(Kinds::default())),
            "branch-1: removed\nnothing had come from it\n"
        );
        assert_eq!(
            changed(Some(Kinds {
                domains: 1,
                sessions: 23,
                ..Kinds::default()
            })),
            "branch-1: removed\nleft with it: 1 domain, 23 sessions\n"
        );
    }
}
