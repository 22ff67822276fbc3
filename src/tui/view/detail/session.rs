//! The detail of an address: who is there, on what evidence, what lost, what comes next, what firewalls were told.
//!
//! ```text
//!  10.1.2.50  alice  ● active
//!
//!    user         alice (corp.example.com)
//!    evidence     dc1: 4624/123 (strong)
//!    ends         2026-11-21 14:05:09Z  (in 23 h 12 min)
//!    then         a PC probe asks ws-0042 …
//!
//!  What firewalls were told
//!    ● srx-branch-1 by query: login corp.example.com\alice (12 roles)
//!      told, 2 s ago
//!
//!  What was said of the user
//!    ● 14:05:09Z logon of CORP\alice: holds
//!      dc1 4624/123, heard after 84 ms; strong evidence displaces all
//! ```

use std::net::IpAddr;

use super::super::super::model::Detail;
use super::super::super::theme::{Role, role_of};
use super::super::paint::Page;
use super::super::words::{clock, who};
use crate::control::protocol::{Evidence, Explained, Ignored, PastSession, Said, Session, Told};
use crate::text::{ago, count, millis, thousands};

/// The most groups that are named.
const MAX_GROUPS: usize = 40;

pub(super) fn write(page: &mut Page, address: IpAddr, detail: &Detail) {
    let Some(found) = &detail.found else {
        page.title(&address.to_string(), "", "");
        match &detail.refused {
            Some(refused) => {
                page.item(Role::Bad, &refused.message, &super::try_it(&refused.remedy));
            }
            None => page.text("looking …", Role::Dim),
        }
        return;
    };
    let session = found.sessions.iter().find(|s| s.address == address);
    match session {
        Some(session) => here(page, session),
        None => {
            page.title(&address.to_string(), "", "nobody is here now");
        }
    }
    let explained = found.explained.iter().find(|e| e.address == address);
    match explained {
        Some(explained) => why(page, session, explained),
        None => {
            if let Some(session) = session {
                device(page, session);
            }
            page.heading("What ended here");
            ended(page, &found.ended);
        }
    }
}

fn here(page: &mut Page, session: &Session) {
    let who = session.user.as_deref().or(session.device.as_deref());
    page.title(
        &session.address.to_string(),
        who.unwrap_or_default(),
        &session.state,
    );
    if let Some(doubt) = &session.doubt {
        page.field_as("in doubt", doubt, Role::Warn);
    }
    if session.state == "shared" {
        let text = "several users share it: firewalls are told the device only";
        page.field_as("shared", text, Role::Warn);
    }
    if let Some(user) = &session.user {
        let standing = session.standing.as_deref().unwrap_or_default();
        let standing = match standing {
            "" => String::new(),
            standing => format!(", {}", standing.replace('-', " ")),
        };
        page.field("user", &format!("{user} ({}){standing}", session.domain));
        page.field("groups", &groups(&session.groups));
    }
    if let Some(device) = &session.device {
        let known = session.device_session.as_ref();
        let system = known.map(|d| {
            let parts = [d.os.as_deref(), d.os_version.as_deref()];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        let system = system.filter(|system| !system.is_empty());
        let system = system.map_or_else(String::new, |system| format!(", {system}"));
        page.field("device", &format!("{device}{system}"));
        if let Some(known) = known {
            page.field("its groups", &groups(&known.groups));
        }
    }
    let others: Vec<String> = session.also_at.iter().map(ToString::to_string).collect();
    page.field("also at", &others.join(", "));
    page.blank();
    page.time("since", Some(session.since));
    evidence(page, &session.last_evidence);
    page.time("ends", Some(session.deadline));
    page.field_as("then", &session.then, Role::Strong);
}

/// What holds the device where a user is too.
fn device(page: &mut Page, session: &Session) {
    let both = session.user.is_some();
    if let Some(device) = session.device_session.as_ref().filter(|_| both) {
        page.heading("The device's own session");
        page.time("since", Some(device.since));
        evidence(page, &device.last_evidence);
        page.time("ends", Some(device.deadline));
    }
}

fn groups(groups: &[String]) -> String {
    let named: Vec<&str> = groups.iter().take(MAX_GROUPS).map(String::as_str).collect();
    let more = groups.len().saturating_sub(MAX_GROUPS);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", named.join(", "))
}

fn evidence(page: &mut Page, evidence: &Evidence) {
    let text = format!(
        "{}: {} ({})",
        evidence.producer, evidence.record, evidence.strength
    );
    page.field("evidence", &text);
    page.time("happened", Some(evidence.occurred_at));
    page.field("heard", &heard(evidence));
}

/// How long after it happened we heard of it.
fn heard(evidence: &Evidence) -> String {
    let after = evidence.received_at.as_millisecond() - evidence.occurred_at.as_millisecond();
    format!("{} later", millis(u64::try_from(after).unwrap_or(0)))
}

fn why(page: &mut Page, session: Option<&Session>, explained: &Explained) {
    if !explained.told.is_empty() {
        page.heading("What firewalls and Servers were told");
        explained.told.iter().for_each(|told| tell(page, told));
    }
    all_said(page, "What was said of the user", &explained.user);
    if let Some(session) = session {
        device(page, session);
    }
    all_said(page, "What was said of the device", &explained.device);
    if !explained.ignored.is_empty() {
        page.heading("What was heard and changed nothing");
        explained.ignored.iter().for_each(|one| ignored(page, one));
    }
    if !explained.before.is_empty() {
        page.heading("What ended here");
        ended(page, &explained.before);
    }
}

fn all_said(page: &mut Page, heading: &str, list: &[Said]) {
    if !list.is_empty() {
        page.heading(heading);
        list.iter().rev().for_each(|said| say(page, said));
    }
}

fn tell(page: &mut Page, told: &Told) {
    let entry = if told.entry.is_empty() {
        String::new()
    } else {
        format!(": {}", told.entry)
    };
    let mut rest = match told.state.as_str() {
        "told" => "it has this".to_owned(),
        "behind" => "this is still to come".to_owned(),
        "nothing" => "there is nothing to tell it".to_owned(),
        "unknown" => "it was not heard of since the start".to_owned(),
        other => other.to_owned(),
    };
    if let Some(behind) = told.behind.filter(|behind| *behind > 0) {
        rest.push_str(&format!(", {} behind", count(behind, "change")));
    }
    if let Some(last) = told.last {
        rest.push_str(&format!(", last heard {}", ago(last, page.now)));
    }
    let text = format!("{} by {}{entry}", told.name, told.protocol);
    page.item(role_of(&told.state), &text, &rest);
}

fn say(page: &mut Page, said: &Said) {
    let role = match said.effect.as_str() {
        "holds" | "took" | "renewed" => Role::Good,
        "lost" => Role::Warn,
        _ => Role::Dim,
    };
    let of = said.subject.as_deref();
    let of = of.map_or_else(String::new, |of| format!(" of {}", who(of)));
    let what = said.what.replace('-', " ");
    let at = clock(said.evidence.occurred_at);
    let text = format!("{at} {what}{of}: {}", said.effect.replace('-', " "));
    let source = said.source.as_deref();
    let source = source.map_or_else(String::new, |source| format!(" at {source}"));
    let from = format!(
        "{}{source}, record {} ({}), heard {}",
        said.evidence.producer,
        said.evidence.record,
        said.evidence.strength,
        heard(&said.evidence)
    );
    page.item(role, &text, &format!("{}\n{from}", said.why));
}

fn ignored(page: &mut Page, one: &Ignored) {
    let times = if one.count > 1 {
        format!(", {} times", thousands(one.count))
    } else {
        String::new()
    };
    let text = format!(
        "{} {}: {}{times}",
        clock(one.at),
        who(&one.subject),
        one.reason
    );
    let rest = format!("{}\n{}, record {}", one.why, one.producer, one.record);
    page.item(Role::Dim, &text, &rest);
}

fn ended(page: &mut Page, before: &[PastSession]) {
    if before.is_empty() {
        page.text("  nothing that is remembered", Role::Dim);
    }
    for past in before {
        let text = format!(
            "{} {}: {}",
            clock(past.at),
            who(&past.user),
            past.reason.replace('-', " ")
        );
        let rest = format!("{}, by {}", ago(past.at, page.now), past.by);
        page.item(Role::Dim, &text, &rest);
    }
}
