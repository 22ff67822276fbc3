//! The side of the firewalls: this Server, who may ask it, whom it pushes to, and who came uninvited.

use super::{or_dash, rows};
use crate::cli::render::{ago_or_never, count, field, number, state, table, text, thousands};
use crate::control::protocol::{PointStatus, Status, StrangerStatus, WebApiStatus};

/// Width of the labels of the Server.
const LABELS: usize = 11;

pub(super) fn server(status: &Status) -> String {
    let Some(server) = &status.server else {
        return String::new();
    };
    let certificate = if server.self_signed {
        format!("of its own CA, SHA-256 {}", server.fingerprint)
    } else {
        format!("SHA-256 {}", server.fingerprint)
    };
    let mut text = field(2, "https", LABELS, &server.listen.join(", "));
    if !server.validator.is_empty() {
        text.push_str(&field(2, "validator", LABELS, &server.validator.join(", ")));
    }
    if !server.debug_http.is_empty() {
        let addresses = server.debug_http.join(", ");
        text.push_str(&field(2, "plain http", LABELS, &addresses));
    }
    text.push_str(&field(2, "certificate", LABELS, &certificate));
    if server.ingest {
        let found = format!("received at {}", server.url);
        text.push_str(&field(2, "collectors", LABELS, &found));
    }
    if server.not_understood > 0 {
        let odd = count(server.not_understood, "request");
        let odd = format!("{odd} not understood: jims status --requests");
        text.push_str(&field(2, "odd", LABELS, &odd));
    }
    text
}

pub(super) fn points(status: &Status) -> String {
    let asking: Vec<&PointStatus> = (status.enforcement_points.iter())
        .filter(|p| p.protocol != "web-api")
        .collect();
    if asking.is_empty() {
        return String::new();
    }
    let row = |p: &&PointStatus| {
        vec![
            p.name.clone(),
            p.state.clone(),
            thousands(p.answered),
            or_dash(p.behind),
            thousands(p.refused),
            ago_or_never(p.last_query, status.at),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("ANSWERED"),
        number("BEHIND"),
        number("REFUSED"),
        text("LAST"),
    ];
    table(2, &heading, &rows(&asking, row))
}

/// Firewalls that are pushed to.
pub(super) fn pushed_to(status: &Status) -> String {
    let pushed: Vec<(&str, &WebApiStatus)> = (status.enforcement_points.iter())
        .filter_map(|p| Some((p.name.as_str(), p.web_api.as_ref()?)))
        .collect();
    if pushed.is_empty() {
        return String::new();
    }
    let row = |(name, web_api): &(&str, &WebApiStatus)| {
        vec![
            (*name).to_owned(),
            web_api.state.clone(),
            thousands(web_api.entries_sent),
            thousands(web_api.behind),
            thousands(web_api.skipped),
            ago_or_never(web_api.last_full, status.at),
            ago_or_never(web_api.last_success, status.at),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("SENT"),
        number("BEHIND"),
        number("SKIPPED"),
        text("FULL"),
        text("LAST"),
    ];
    table(2, &heading, &rows(&pushed, row))
}

pub(super) fn strangers(status: &Status) -> String {
    if status.strangers.is_empty() {
        return String::new();
    }
    let row = |s: &StrangerStatus| {
        vec![
            s.address.to_string(),
            s.tried.clone(),
            thousands(s.count),
            ago_or_never(Some(s.last), status.at),
        ]
    };
    let heading = [
        text("ADDRESS"),
        text("TRIED"),
        number("TIMES"),
        text("LAST"),
    ];
    table(2, &heading, &rows(&status.strangers, row))
}
