//! `jims status --requests`: what firewalls asked that was not understood, for a report to the makers of `jims`.
//!
//! The service has left out whatever could be secret; here it is only laid out.

use std::path::Path;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{HEADING, ago, field, indented, paragraph};
use crate::control::kept::KeptRequest;
use crate::control::protocol::{Answer, Request, timestamp};
use crate::runtime::clock;

/// Asks and prints; [`Exit::No`] if there are some.
pub(super) fn run(
    json: bool,
    config: Option<&Path>,
    out: &mut impl std::io::Write,
) -> Result<Exit, Failure> {
    let Answer::Requests { requests } = ask::ask(config, &Request::Requests)? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&serde_json::json!({ "requests": requests }), out)?;
    } else {
        write!(out, "{}", render(&requests, timestamp(clock::utc_now())))?;
    }
    Ok(if requests.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    })
}

fn render(requests: &[KeptRequest], now: jiff::Timestamp) -> String {
    if requests.is_empty() {
        return "Every request was understood.\n".to_owned();
    }
    let shown = requests.iter().map(|request| one(request, now));
    let intro = paragraph(
        "The last requests that were not understood, or only in part. Secrets are left out; a report of them is welcome.",
    );
    intro + &shown.collect::<String>()
}

fn one(request: &KeptRequest, now: jiff::Timestamp) -> String {
    let who = if request.point.is_empty() {
        request.address.to_string()
    } else {
        format!("{} ({})", request.point, request.address)
    };
    let often = match request.count {
        1 => String::new(),
        count => format!(", {count} times"),
    };
    let when = ago(request.at, now);
    let mut text = format!("\n{HEADING}{who}{HEADING:#}: {when}{often}\n");
    text += &indented(2, &format!("{} {}", request.method, request.target));
    for header in &request.headers {
        text += &indented(2, header);
    }
    if !request.body.is_empty() {
        text += &field(2, "body", 4, &request.body);
    }
    text + &field(2, "why", 4, &request.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_and_cannot_forge_a_line() {
        let at = timestamp(crate::identity::time::UtcMillis(1_764_000_000_000));
        let request = KeptRequest {
            at,
            count: 3,
            address: "192.0.2.1".parse().expect("an address"),
            point: "srx-branch-1".into(),
            method: "POST".into(),
            target: format!("/api/user_query/v3/users?flavour={}", "mint".repeat(30)),
            headers: vec!["accept: */*".into(), "authorization: Bearer …".into()],
            body: "flavour=\u{1b}[2Jmint".into(),
            reason: "there is no such path and method".into(),
        };
        let later = at
            .checked_add(jiff::Span::new().seconds(12))
            .expect("a time");
        let text = render(&[request], later);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(!text.contains('\u{1b}'), "{text}");
        insta::assert_snapshot!(text);
        assert_eq!(render(&[], later), "Every request was understood.\n");
    }
}
