//! Why an address is as it is, in words: what was said of it and what that did, what was ignored, who has been told.
//!
//! The table tells what happened ([`crate::identity::explain`]); here each step gets the sentence for people.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::explained::{Explained, Ignored, MAX_EXPLAINED, Said};
use super::ignored::Remembered;
use super::protocol::{Query, timestamp};
use super::query;
use super::server::{Desk, Site};
use crate::identity::Core;
use crate::identity::address::canonical;
use crate::identity::explain::{Effect, FactKind, Holder, Step};
use crate::identity::outcome::{EndReason, IgnoreReason};
use crate::identity::view::LastEnded;
use crate::runtime::report::Fact;

/// Who ends sessions by the clock, and for operators, filters and directories.
const OURSELVES: &str = "jims";

/// The producer whose evidence is a computer's own word; no other may have its name.
const PROBE: &str = "pc-probe";

/// Explains each address of an answer, as far as [`MAX_EXPLAINED`] allows; that of a question about one address even if
/// nothing is there.
pub(super) fn explained<S: Site>(desk: &Desk<S>, found: &Query) -> Vec<Explained> {
    let asked = found.who.parse::<IpAddr>().ok().map(canonical);
    let mut addresses: Vec<IpAddr> = match asked {
        Some(address) => vec![address],
        None => found
            .sessions
            .iter()
            .map(|session| session.address)
            .collect(),
    };
    addresses.truncate(MAX_EXPLAINED);
    let hosts = hosts(desk);
    let explain = |address: &IpAddr| one(desk, *address, found, &hosts);
    addresses.iter().map(explain).collect()
}

fn one<S: Site>(desk: &Desk<S>, address: IpAddr, found: &Query, hosts: &Hosts) -> Explained {
    let ended = found.ended.iter().filter(|past| past.address == address);
    let (user, device, ignored) = {
        let core = desk.reader.read();
        let story = core.story(address);
        let last = core.address(address).and_then(|view| view.last_ended);
        let said = |steps: &[Step<'_>]| -> Vec<Said> {
            (0..steps.len())
                .filter_map(|place| self::said(steps, place, hosts, last))
                .collect()
        };
        let remembered = desk.unheeded.of(address);
        let ignored = remembered
            .into_iter()
            .map(|r| self::ignored(&core, address, r));
        (said(&story.user), said(&story.device), ignored.collect())
    };
    Explained {
        address,
        user,
        device,
        before: ended.take(Explained::MAX_BEFORE).cloned().collect(),
        ignored,
        told: desk.site.knows(address),
    }
}

/// Where producers read, by name, and how far off the clocks there are.
type Hosts = BTreeMap<String, String>;

fn hosts<S: Site>(desk: &Desk<S>) -> Hosts {
    let readings = desk.reports.read().into_iter();
    let host = readings.filter_map(|reading| {
        let Some(Fact::Text(host)) = reading.facts.get("host") else {
            return None;
        };
        let skew = match reading.facts.get("skew_ms") {
            Some(Fact::Number(ahead)) => clock(*ahead),
            _ => String::new(),
        };
        Some((reading.name.clone(), format!("{host}{skew}")))
    });
    host.collect()
}

/// A clock that is off enough to be corrected.
fn clock(ahead_ms: i64) -> String {
    match ahead_ms / 1000 {
        0 => String::new(),
        ahead if ahead > 0 => format!(" (its clock is {ahead} s ahead, corrected)"),
        behind => format!(
            " (its clock is {} s behind, corrected)",
            behind.unsigned_abs()
        ),
    }
}

fn said(steps: &[Step<'_>], place: usize, hosts: &Hosts, last: Option<&LastEnded>) -> Option<Said> {
    let step = steps.get(place)?;
    let producer: &str = step.evidence.producer;
    let source = hosts.get(producer);
    let mut evidence = query::evidence(&step.evidence);
    if is_ours(step.kind) {
        // Such a step carries whose evidence was the last.
        OURSELVES.clone_into(&mut evidence.producer);
    }
    Some(Said {
        what: what(step.kind).to_owned(),
        subject: step.subject.as_ref().map(ToString::to_string),
        evidence,
        source: source.cloned(),
        effect: effect(step, place == 0, steps.get(place + 1..).unwrap_or_default()).to_owned(),
        why: ended_here(step, last)
            .unwrap_or_else(|| why(step))
            .to_owned(),
    })
}

/// Why `jims` itself ended the session, if it was the last that ended there.
fn ended_here(step: &Step<'_>, last: Option<&LastEnded>) -> Option<&'static str> {
    let last = last.filter(|last| last.at == step.evidence.received_at)?;
    match (step.kind, last.reason?) {
        (FactKind::Closed, EndReason::Operator) => Some("an operator ended it"),
        (FactKind::Closed, EndReason::Filter) => {
            Some("a filter leaves the user or the address out now")
        }
        (FactKind::Closed, EndReason::Directory) => {
            Some("the directory has removed or disabled the user")
        }
        (_, _) => None,
    }
}

/// Whether `jims` itself said so.
fn is_ours(kind: FactKind) -> bool {
    matches!(kind, FactKind::Expired | FactKind::Closed)
}

fn what(kind: FactKind) -> &'static str {
    match kind {
        FactKind::Strong => "logon",
        FactKind::Weak => "weaker-logon",
        FactKind::Seen => "renewal",
        FactKind::Carried => "carried",
        FactKind::Left | FactKind::AllLeft => "logoff",
        FactKind::Expired => "expired",
        FactKind::Closed => "ended-here",
    }
}

/// What a step did, seen from what came after it. What came before the first is settled and forgotten, so one that ends
/// did end somebody.
fn effect(step: &Step<'_>, is_first: bool, later: &[Step<'_>]) -> &'static str {
    let lost_it = |next: &Step<'_>| {
        next.effect == Effect::Empty
            || (next.effect == Effect::Take && next.subject != step.subject)
    };
    let is_over = later.iter().any(lost_it);
    match step.effect {
        _ if step.holds => "holds",
        Effect::Take if is_over => "over",
        Effect::Take => "took",
        Effect::Renew => "renewed",
        Effect::Empty => "ended",
        Effect::Keep if is_first && (is_ours(step.kind) || step.kind == FactKind::AllLeft) => {
            "ended"
        }
        Effect::Keep => "lost",
    }
}

/// The rule that a step won or lost by.
fn why(step: &Step<'_>) -> &'static str {
    match (step.kind, step.effect, step.holder) {
        (FactKind::Strong, Effect::Take, _) if &**step.evidence.producer == PROBE => {
            "the computer itself said who is signed on, which is as sure as a logon"
        }
        (FactKind::Strong, Effect::Take, _) => {
            "a strong logon takes the address, whoever was there before"
        }
        (FactKind::Strong | FactKind::Weak, Effect::Renew, _) => {
            "the same again, later: the logoff time began anew"
        }
        (FactKind::Weak, Effect::Take, Holder::Nobody) => {
            "nobody was there by better evidence, and weak evidence is enough then"
        }
        (FactKind::Weak, Effect::Take, _) => "weak evidence displaces weak evidence that is older",
        (FactKind::Weak, _, _) => "weak evidence does not displace strong: whoever logged on stays",
        (FactKind::Seen, Effect::Renew, _) => {
            "seen again without a new logon: the logoff time began anew"
        }
        (FactKind::Seen, _, Holder::Nobody) => "being seen without a logon makes no session",
        (FactKind::Seen, _, _) => "being seen without a logon displaces nobody",
        (FactKind::Carried, Effect::Take, _) => {
            "the machine signed on here, and its user was at its other address (follow_device)"
        }
        (FactKind::Carried, _, _) => "the machine alone neither renews nor displaces",
        (FactKind::Left, Effect::Empty, _) => {
            "a logoff that is later than the last evidence ends the session"
        }
        (FactKind::AllLeft, Effect::Empty, _) => "whoever was there left",
        (FactKind::AllLeft, _, Holder::Nobody) => "whoever was there left, and nobody came since",
        (FactKind::Left, _, Holder::Nobody) => "nobody was there any more",
        (FactKind::Left | FactKind::AllLeft, _, _) => {
            "a logoff ends the session of whom it names only, and somebody else is there"
        }
        (FactKind::Expired, Effect::Empty, _) => {
            "the logoff time passed without new evidence, or the computer told so"
        }
        (FactKind::Expired, _, _) => "somebody else was there by then",
        (FactKind::Closed, _, _) => {
            "its time was over, or an operator, a filter or the directory ended it"
        }
        (FactKind::Strong, _, _) => "later evidence was there already",
    }
}

fn ignored(core: &Core, address: IpAddr, remembered: Remembered) -> Ignored {
    let why = match remembered.reason {
        IgnoreReason::FilteredUser | IgnoreReason::FilteredDevice => {
            filter(core, &remembered.subject, remembered.reason)
        }
        IgnoreReason::FilteredAddress => address_filter(core, address),
        reason => rule(reason).to_owned(),
    };
    Ignored {
        at: timestamp(remembered.at),
        count: remembered.count,
        subject: remembered.subject.into(),
        producer: remembered.producer.to_string(),
        record: remembered.record.into(),
        reason: remembered.reason.as_str().to_owned(),
        why,
    }
}

fn filter(core: &Core, subject: &str, reason: IgnoreReason) -> String {
    let key = if reason == IgnoreReason::FilteredDevice {
        "exclude_devices"
    } else {
        "exclude_users"
    };
    match core.excluding_pattern(subject) {
        Some(pattern) => format!("`{pattern}` of [filter] {key} leaves it out"),
        None => format!("[filter] {key} left it out when it was heard"),
    }
}

fn address_filter(core: &Core, address: IpAddr) -> String {
    if core.policy().filter.exclude_addresses.contains(address) {
        "[filter] exclude_addresses leaves the address out".to_owned()
    } else {
        "[filter] include_addresses does not hold the address".to_owned()
    }
}

/// The rule behind the word.
fn rule(reason: IgnoreReason) -> &'static str {
    match reason {
        IgnoreReason::Weaker => "weak evidence does not displace strong: whoever logged on stays",
        IgnoreReason::HeardTwice => "another Collector heard the same line, and it counted already",
        IgnoreReason::Older => "later evidence, or a later logoff, was there already",
        IgnoreReason::PastDeadline => "its logoff time had passed when it arrived",
        IgnoreReason::OtherUser => {
            "a logoff ends the session of whom it names only, and somebody else is there"
        }
        IgnoreReason::NoSession => "nobody was there whom it could touch",
        IgnoreReason::OutOfScope => {
            "the producer may not speak for this address or domain (`networks`, `domains`)"
        }
        IgnoreReason::NotInDirectory => {
            "the directory has removed or disabled the user: nothing counts until that is undone"
        }
        IgnoreReason::NotAUser => "a machine's or the system's own account is no user",
        IgnoreReason::NoDomain => "the name has no domain, and its source no `domain`",
        IgnoreReason::NoAddress => "the record names no address",
        IgnoreReason::AddressRefused => "this address can never hold a session",
        IgnoreReason::SessionChanged => "the session changed while the computer was being asked",
        IgnoreReason::SeveralUsers => "the computer names several users, and no session is there",
        IgnoreReason::SharedAddress => "the address is shared: nobody is told of its users",
        IgnoreReason::NoAnswer => "no answer, and the session is not in doubt",
        IgnoreReason::ProbingUnhealthy => {
            "no answer, while most computers give none: that says nothing about this one"
        }
        IgnoreReason::FilteredAddress
        | IgnoreReason::FilteredUser
        | IgnoreReason::FilteredDevice => "a filter leaves it out",
    }
}
