//! Detail: everything that is known of one thing, as a page that is read from top to bottom.
//!
//! `session` is of an address, `things` of what a status holds; here are the rest and what they share.

mod session;
mod things;

use super::super::model::{Detail, Model, Subject};
use super::super::theme::Role;
use super::paint::Page;
use crate::control::protocol::{Attention, FaultStatus, Probed, Tail};
use crate::text::{ago, millis};

/// The page of a detail.
pub(super) fn page(model: &Model, detail: &Detail, columns: u16) -> Page {
    let mut page = Page::new(model.theme, columns, model.seen_at());
    let status = model.status.as_deref();
    match &detail.of {
        Subject::Session(address) => session::write(&mut page, *address, detail),
        Subject::Source(kind, name) => things::source(&mut page, status, kind, name),
        Subject::Point(name) => things::point(&mut page, status, name),
        Subject::Push(name) => things::push(&mut page, status, name),
        Subject::Collector(name) => things::collector(&mut page, status, name),
        Subject::Attention(item) => attention(&mut page, item),
        Subject::Line(line) => tail_line(&mut page, line),
    }
    let target = detail.of.target();
    let runs = model.doing.iter().any(|deed| match deed {
        super::super::message::Deed::Probe(of) => Some(of) == target.as_ref(),
        _ => false,
    });
    if runs {
        page.heading("Probe");
        page.text("  asking; each step has a deadline of its own …", Role::Dim);
    } else if let Some(probed) = &detail.probed {
        page.heading("Probe");
        match probed {
            Ok(probed) => probe(&mut page, probed),
            Err(refused) => page.item(Role::Bad, &refused.message, &try_it(&refused.remedy)),
        }
    }
    page
}

/// What a detail's thing is called.
pub(super) fn name(of: &Subject) -> String {
    match of {
        Subject::Session(address) => address.to_string(),
        Subject::Source(_, name)
        | Subject::Point(name)
        | Subject::Push(name)
        | Subject::Collector(name) => crate::text::escape(name),
        Subject::Attention(item) => {
            let lines: Vec<String> = item.remedy.lines().map(crate::text::escape).collect();
            lines.join("\n")
        }
        Subject::Line(Tail::Outcome {
            address: Some(address),
            ..
        }) => address.to_string(),
        Subject::Line(Tail::Unparsed { line, .. }) => crate::text::escape(line),
        Subject::Line(Tail::Request { request }) => crate::text::escape(&request.target),
        Subject::Line(Tail::Outcome { subject, .. }) => crate::text::escape(subject),
        Subject::Line(Tail::Skipped { count }) => count.to_string(),
    }
}

fn try_it(remedy: &str) -> String {
    if remedy.is_empty() {
        String::new()
    } else {
        format!("try: {remedy}")
    }
}

/// What is wrong with something.
fn fault(page: &mut Page, fault: Option<&FaultStatus>) {
    if let Some(fault) = fault {
        page.heading("What is wrong");
        page.field_as("what", &fault.message, Role::Bad);
        page.field_as("try", &fault.remedy, Role::Strong);
        page.time("since", Some(fault.since));
        page.blank();
    }
}

fn probe(page: &mut Page, probed: &Probed) {
    for step in &probed.steps {
        let role = if step.ok { Role::Good } else { Role::Bad };
        let detail = if step.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", step.detail)
        };
        let text = format!("{}{detail} ({})", step.name, millis(step.ms));
        page.item(role, &text, &try_it(&step.remedy));
    }
    if let Some(answer) = &probed.answer {
        page.field("answer", answer);
    }
    page.field("signed on", &probed.users.join(", "));
    let (role, said) = if probed.ok {
        (Role::Good, "everything that is needed works")
    } else {
        (Role::Bad, "something is missing; see the steps above")
    };
    page.field_as("all in all", said, role);
}

fn attention(page: &mut Page, item: &Attention) {
    page.title("Needs attention", "", "");
    page.text(&item.what, Role::Strong);
    page.blank();
    page.time("since", item.since);
    page.heading("What to try");
    for line in item.remedy.lines() {
        page.text(&format!("  {line}"), Role::Plain);
    }
    page.blank();
    page.text("c copies what to try.", Role::Dim);
}

fn tail_line(page: &mut Page, line: &Tail) {
    match line {
        Tail::Outcome {
            occurred_at,
            producer,
            record,
            address,
            subject,
            verdict,
            detail,
        } => {
            page.title(subject, "", verdict);
            let address = address.map(|a| a.to_string()).unwrap_or_default();
            page.field("address", &address);
            page.time("happened", Some(*occurred_at));
            page.field("producer", producer);
            page.field("record", record);
            page.field_as("why", detail, Role::Strong);
        }
        Tail::Unparsed {
            received_at,
            source,
            line,
            reason,
        } => {
            page.title("A line that nobody could read", "", "");
            page.field("source", source);
            page.time("arrived", Some(*received_at));
            page.field_as("why", reason, Role::Warn);
            page.field("line", line);
            page.blank();
            page.field(
                "try",
                "jims syslog-test LINE says what each template makes of it",
            );
        }
        Tail::Request { request } => {
            page.title("A request that was not understood", "", "");
            page.field("from", &request.address.to_string());
            page.field("point", &request.point);
            page.field("times", &request.count.to_string());
            page.field("last", &ago(request.at, page.now));
            page.field_as("why", &request.reason, Role::Warn);
            page.field("request", &format!("{} {}", request.method, request.target));
            page.field("headers", &request.headers.join("\n"));
            page.field("body", &request.body);
        }
        Tail::Skipped { count } => {
            page.title("Skipped", "", "");
            page.text(
                &format!("{count} pieces of the stream came faster than they were read and were left out."),
                Role::Plain,
            );
        }
    }
}
