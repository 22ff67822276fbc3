//! What the core says of an address, beside what the reference says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jims::identity::Core;
use jims::identity::event::Strength;
use jims::identity::outcome::{IgnoreReason, Outcome, Verdict};
use jims::identity::view::{AddressView, Seq};

use crate::bench::Bench;
use crate::convert;
use crate::follower::told;
use crate::reference::{Ended, Reference, Should};
use crate::slot::Hold;
use crate::step::{At, Expected, HOUR, clock};

/// A session as both sides can tell it: who, last evidence, deadline.
#[derive(Debug, PartialEq)]
struct Seen {
    who: String,
    last: String,
    producer: String,
    deadline: String,
    doubted: Option<String>,
}

pub(crate) fn address(core: &Core, reference: &Reference, address: IpAddr) -> Result<(), String> {
    let view = core.address(address);
    let view = view.as_ref();
    if reference.is_shared(address) {
        return match view {
            Some(view) if !view.shared => Err(format!("{address} is not marked as shared")),
            _ => Ok(()),
        };
    }
    let user = view.and_then(user_of);
    let device = view.and_then(device_of);
    one("user", address, user, reference, reference.user(address))?;
    one(
        "device",
        address,
        device,
        reference,
        reference.device(address),
    )?;
    ended(address, view, reference)?;
    not_after_a_logoff(address, view, reference)?;
    roles(core, reference, address)?;
    journal_holds(core, address, view)
}

fn user_of(view: &AddressView<'_>) -> Option<(Seen, At)> {
    let session = view.user.as_ref()?;
    let who = format!("{}\\{}", session.user.domain, session.user.name);
    let evidence = &session.evidence;
    let deadline = convert::at(session.deadline);
    let seen = Seen {
        who: who.to_lowercase(),
        last: clock(convert::at(evidence.occurred_at)),
        producer: evidence.producer.to_string(),
        deadline: clock(deadline),
        doubted: session.doubted_since.map(|since| clock(convert::at(since))),
    };
    Some((seen, deadline))
}

fn device_of(view: &AddressView<'_>) -> Option<(Seen, At)> {
    let session = view.device.as_ref()?;
    let who = format!("{}\\{}", session.device.domain, session.device.name);
    let evidence = &session.evidence;
    let deadline = convert::at(session.deadline);
    let seen = Seen {
        who: who.to_lowercase(),
        last: clock(convert::at(evidence.occurred_at)),
        producer: evidence.producer.to_string(),
        deadline: clock(deadline),
        doubted: None,
    };
    Some((seen, deadline))
}

fn one(
    what: &str,
    address: IpAddr,
    core: Option<(Seen, At)>,
    reference: &Reference,
    should: Should,
) -> Result<(), String> {
    if let Some((seen, deadline)) = &core
        && *deadline <= reference.now()
        && !reference.may_linger()
    {
        return Err(format!(
            "the {what} at {address} outlives its limit: {seen:?}"
        ));
    }
    let Should::Be(hold) = should else {
        return Ok(());
    };
    let place = reference.place(address);
    let doubt = place.filter(|_| what == "user").and_then(|p| p.doubt);
    let hold = hold.map(|(hold, deadline)| expected_of(&hold, deadline, doubt));
    let core = core.map(|(seen, _)| seen);
    if core == hold {
        return Ok(());
    }
    let facts = place.map(|place| match what {
        "user" => place.user.facts(),
        _ => place.device.facts(),
    });
    let facts: Vec<String> = facts
        .unwrap_or_default()
        .iter()
        .map(|fact| format!("    {} {} {:?}", clock(fact.at), fact.producer, fact.what))
        .collect();
    Err(format!(
        "the {what} at {address} differs\n  core:      {core:?}\n  reference: {hold:?}\n  evidence in order:\n{}",
        facts.join("\n")
    ))
}

fn expected_of(hold: &Hold, deadline: At, doubt: Option<At>) -> Seen {
    Seen {
        who: hold.who.clone(),
        last: clock(hold.last),
        producer: hold.last_producer.clone(),
        deadline: clock(deadline),
        doubted: doubt.map(clock),
    }
}

/// What became of each event, in words: nobody compares `older` with `weaker`, which differ only in what they tell.
pub(crate) fn verdicts(outcomes: &[Outcome], should: &[Option<String>]) -> Result<(), String> {
    for (place, should) in should.iter().enumerate() {
        let Some(should) = should else {
            continue;
        };
        let found = outcomes.get(place).map(|outcome| verdict(&outcome.verdict));
        if found.as_ref() != Some(should) {
            return Err(format!("the verdict should be `{should}`, is {found:?}"));
        }
    }
    Ok(())
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::LoggedOn { displaced: None } => "logged-on".into(),
        Verdict::LoggedOn {
            displaced: Some(who),
        } => format!("logged-on for {}", who.trim_end_matches('$').to_lowercase()),
        Verdict::Renewed => "renewed".into(),
        Verdict::LoggedOff(why) => format!("logged-off {}", why.as_str()),
        Verdict::Ignored(IgnoreReason::Older | IgnoreReason::Weaker) => "ignored older".into(),
        Verdict::Ignored(why) => format!("ignored {}", why.as_str()),
    }
}

/// Why the last user session at an address ended.
fn ended(
    address: IpAddr,
    view: Option<&AddressView<'_>>,
    reference: &Reference,
) -> Result<(), String> {
    let Some(place) = reference.place(address).filter(|_| reference.sure(address)) else {
        return Ok(());
    };
    let found = view.and_then(|view| view.last_ended);
    let word = found.map(jims::identity::view::LastEnded::word);
    let right = match place.ended {
        Ended::Unknown => true,
        Ended::Never => word.is_none(),
        Ended::So(should, from, until) => match found {
            Some(found) => {
                found.word() == should && (from..=until).contains(&convert::at(found.at))
            }
            // An address where nobody was for a day is forgotten.
            None => from + 24 * HOUR <= reference.now(),
        },
    };
    if right {
        return Ok(());
    }
    Err(format!(
        "why the last one ended at {address} differs\n  core:      {found:?}\n  reference: {:?}",
        place.ended
    ))
}

/// Nobody is attributed on evidence from before a logoff that was heard.
fn not_after_a_logoff(
    address: IpAddr,
    view: Option<&AddressView<'_>>,
    reference: &Reference,
) -> Result<(), String> {
    let Some(session) = view.and_then(|view| view.user.as_ref()) else {
        return Ok(());
    };
    let who = format!("{}\\{}", session.user.domain, session.user.name).to_lowercase();
    let last = convert::at(session.evidence.occurred_at);
    let place = reference.place(address);
    match place.and_then(|place| place.user.logoff_after(&who, last)) {
        None => Ok(()),
        Some(fact) => Err(format!(
            "{who} is attributed at {address} since {} after a logoff at {}",
            clock(last),
            clock(fact.at)
        )),
    }
}

/// Whether two cores have the same sessions wherever both references are sure.
pub(crate) fn same_sessions(one: &Bench, other: &Bench) -> Result<(), String> {
    for address in one.reference.addresses() {
        let sure = |bench: &Bench| {
            bench.reference.user(address) != Should::BeAnything
                && bench.reference.device(address) != Should::BeAnything
        };
        if !sure(one) || !sure(other) {
            continue;
        }
        let sessions = |bench: &Bench| {
            let view = bench.core().address(address);
            let view = view.as_ref();
            (view.and_then(user_of), view.and_then(device_of))
        };
        let (without, with) = (sessions(one), sessions(other));
        if without != with {
            return Err(format!(
                "at {address} a restart makes a difference\n  without: {without:?}\n  with:    {with:?}"
            ));
        }
    }
    Ok(())
}

/// Roles, and names as the directory writes them, of whoever the core has there.
fn roles(core: &Core, reference: &Reference, address: IpAddr) -> Result<(), String> {
    let told = told(core, address);
    for (subject, device) in [(told.user, false), (told.device, true)] {
        let Some((written, roles)) = subject else {
            continue;
        };
        let key = written.to_lowercase();
        let should = reference.directories.roles(&key, device, &reference.policy);
        if roles != should {
            return Err(format!(
                "roles of {written} at {address}: core {roles:?}, reference {should:?}"
            ));
        }
        let spelling = reference.directories.spelling(&key, device);
        let spelling = spelling.unwrap_or_else(|| key.split('\\').nth(1).unwrap_or("").to_owned());
        if !written.ends_with(&format!("\\{spelling}")) {
            return Err(format!(
                "{written} at {address} should be written {spelling}"
            ));
        }
    }
    Ok(())
}

/// A session that no follower can hear of would be a hole in the journal.
fn journal_holds(
    core: &Core,
    address: IpAddr,
    view: Option<&AddressView<'_>>,
) -> Result<(), String> {
    let session = view.is_some_and(|view| view.user.is_some() || view.device.is_some());
    if session && !core.addresses_since(Seq(0)).any(|(_, a)| a == address) {
        return Err(format!(
            "{address} has a session, but the journal does not name it"
        ));
    }
    Ok(())
}

/// Counts agree with what a walk over the journal finds.
pub(crate) fn totals(core: &Core) -> Result<(), String> {
    let (mut users, mut devices, mut sessions) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut places: Vec<(String, String, IpAddr)> = Vec::new();
    for (_, address) in core.addresses_since(Seq(0)) {
        let Some(view) = core.address(address) else {
            continue;
        };
        if let Some(session) = &view.user {
            let (name, domain) = (session.user.name.to_owned(), session.user.domain.to_owned());
            places.push((name.clone(), domain.clone(), address));
            users.insert((name, domain));
            sessions += 1;
        }
        if let Some(session) = &view.device {
            devices.insert((
                session.device.name.to_owned(),
                session.device.domain.to_owned(),
            ));
            sessions += 1;
        }
    }
    let totals = core.totals();
    let (counted, walked) = (
        (totals.users, totals.devices, totals.sessions),
        (users.len(), devices.len(), sessions),
    );
    if counted != walked {
        return Err(format!(
            "totals say (users, devices, sessions) {counted:?}, a walk finds {walked:?}"
        ));
    }
    for (name, domain, address) in places {
        if !core.addresses_of_user(&name, &domain).contains(&address) {
            return Err(format!(
                "addresses of {domain}\\{name} do not name {address}"
            ));
        }
    }
    Ok(())
}

/// Whether the reference itself is as an `expect` line demands: a scenario that contradicts the rules is no test.
pub(crate) fn reference_as_expected(
    reference: &Reference,
    address: IpAddr,
    expected: &Expected,
) -> Result<(), String> {
    let wanted = [
        (&expected.user, reference.user(address), false),
        (&expected.device, reference.device(address), true),
    ];
    for (wanted, should, device) in wanted {
        let (Some(wanted), Should::Be(hold)) = (wanted, should) else {
            continue;
        };
        let hold = hold.filter(|_| device || !reference.is_shared(address));
        let wanted = wanted.as_deref().and_then(|who| {
            if device {
                Some(reference.device_key(who))
            } else {
                reference.user_key(who)
            }
        });
        if hold.as_ref().map(|(hold, _)| &hold.who) != wanted.as_ref() {
            return Err(format!(
                "the reference itself has {hold:?} at {address}, not {wanted:?}"
            ));
        }
        if let (false, Some(until), Some((_, deadline))) = (device, expected.until, &hold)
            && until != *deadline
        {
            return Err(format!(
                "the reference itself says until {}",
                clock(*deadline)
            ));
        }
    }
    Ok(())
}

/// What an `expect` line demands.
pub(crate) fn expected(
    core: &Core,
    address: IpAddr,
    expected: &Expected,
    reference: &Reference,
) -> Result<(), String> {
    let view = core.address(address);
    let reported = view.as_ref().filter(|view| !view.shared);
    let user = reported.and_then(user_of).map(|(seen, _)| seen);
    let device = view.as_ref().and_then(device_of).map(|(seen, _)| seen);
    let wanted_user = expected
        .user
        .as_ref()
        .map(|user| user.as_deref().and_then(|user| reference.user_key(user)));
    let found_user = user.as_ref().map(|seen| seen.who.clone());
    if wanted_user.is_some_and(|wanted| wanted != found_user) {
        return Err(format!(
            "expected {expected:?} at {address}, found {user:?}"
        ));
    }
    let wanted_device = expected
        .device
        .as_ref()
        .map(|device| device.as_deref().map(|device| reference.device_key(device)));
    let found_device = device.as_ref().map(|seen| seen.who.clone());
    if wanted_device.is_some_and(|wanted| wanted != found_device) {
        return Err(format!(
            "expected {expected:?} at {address}, found {device:?}"
        ));
    }
    if let Some(until) = expected.until {
        let found = user.or(device).map(|seen| seen.deadline);
        if found != Some(clock(until)) {
            return Err(format!(
                "expected until {} at {address}, found {found:?}",
                clock(until)
            ));
        }
    }
    let strength: Option<Strength> = view
        .as_ref()
        .and_then(|view| view.user.as_ref())
        .map(|session| session.evidence.strength);
    if expected.strength.is_some() && expected.strength != strength {
        return Err(format!(
            "expected {:?} at {address}, found {strength:?}",
            expected.strength
        ));
    }
    let session = view.as_ref().and_then(|view| view.user.as_ref());
    let doubted = session.is_some_and(|session| session.doubted_since.is_some());
    if expected.doubted.is_some_and(|wanted| wanted != doubted) {
        return Err(format!("expected {expected:?} at {address}"));
    }
    if let Some(word) = &expected.ended {
        let found = view.as_ref().and_then(|view| view.last_ended);
        let found = found.map(jims::identity::view::LastEnded::word);
        if found != Some(word) {
            return Err(format!(
                "expected ended={word} at {address}, found {found:?}"
            ));
        }
    }
    if let Some(roles) = &expected.roles {
        let found = told(core, address).user.map(|(_, roles)| roles);
        if found.as_ref() != Some(roles) {
            return Err(format!(
                "expected roles {roles:?} at {address}, found {found:?}"
            ));
        }
    }
    Ok(())
}
