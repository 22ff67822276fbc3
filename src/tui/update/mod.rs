//! What happens to the model when something happens: pure, from model and message to effects.
//!
//! `keys` is what an operator does, `open` what opening and leaving things means; here is what comes from the service
//! and from the clock. Nothing here waits, asks or draws: effects say what is to be done.

mod keys;
mod open;

use std::time::Duration;

use super::layout;
use super::message::{Deed, Effect, Message, Question, Refused};
use super::model::{Confirm, Link, Model, Notice, Subject, View};
use super::paged::REST;
use super::rows;
use crate::control::protocol::{Answer, Browse, NameKind, Probed, Status};

/// Pause between two readings of the status.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Pause between two readings of an open session.
const DETAIL_EVERY: Duration = Duration::from_secs(2);

/// How long a notice stays.
const NOTICE_STAYS: Duration = Duration::from_secs(8);

/// Takes a message; what is to be done now.
pub(super) fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    let mut effects = match message {
        Message::Key(key) => keys::key(model, key),
        Message::Paste(text) => keys::paste(model, &text),
        Message::Mouse(mouse) => keys::mouse(model, mouse),
        Message::Resize(columns, lines) => {
            model.size = (columns, lines);
            if model.is_too_small() {
                // Nobody answers a question that is not seen.
                model.confirm = None;
            }
            page_again(model)
        }
        Message::Tick { now, elapsed } => tick(model, now, elapsed),
        Message::Regained => regained(model),
        Message::Lost(why) => lost(model, why),
        Message::Answered { question, answer } => answered(model, &question, answer),
        Message::Acted { deed, answer } => acted(model, &deed, answer),
        Message::Tail(lines) => {
            model.tail.take(lines, model.frozen.is_some());
            Vec::new()
        }
    };
    fit_cursor(model);
    effects.extend(listen(model));
    effects
}

/// The selected row stays on the screen, whatever changed.
fn fit_cursor(model: &mut Model) {
    let shown = match model.view {
        View::Overview => layout::attention_rows(model.size.0, model.size.1),
        _ => model.list_rows(),
    };
    let length = rows::count(model, model.view);
    let cursor = model.cursors.entry(model.view).or_default();
    cursor.fit(length, shown);
}

/// The tail is listened to while it is shown: nobody pays for what nobody reads.
fn listen(model: &mut Model) -> Option<Effect> {
    let wanted = model.view == View::Tail;
    let hearing = wanted && !model.is_stale();
    let frozen = model.frozen.is_some();
    model.tail.hear(hearing, model.now, frozen);
    if wanted == model.tail.listening {
        return None;
    }
    model.tail.listening = wanted;
    Some(Effect::Listen(wanted))
}

fn tick(model: &mut Model, now: jiff::Timestamp, elapsed: Duration) -> Vec<Effect> {
    model.now = now;
    model.elapsed = elapsed;
    let read = (model.notice.as_ref())
        .is_some_and(|notice| elapsed.saturating_sub(notice.since) >= NOTICE_STAYS);
    if read {
        model.notice = None;
    }
    if model.link != Link::Connected {
        return Vec::new();
    }
    let mut effects = Vec::new();
    let due = |asked: Option<Duration>, every| {
        asked.is_none_or(|asked| elapsed.saturating_sub(asked) >= every)
    };
    if !model.status_asked && due(model.status_asked_at, STATUS_EVERY) {
        effects.push(ask_status(model));
    }
    if model.frozen.is_none() {
        effects.extend(refresh_page(model));
        let open = model.detail.as_ref();
        let is_due = open.is_some_and(|detail| {
            // A long history takes the service a while to read: it is asked the more seldom.
            due(Some(detail.asked_at), DETAIL_EVERY.max(detail.took * REST))
        });
        if is_due {
            effects.extend(ask_detail(model));
        }
    }
    effects
}

fn ask_status(model: &mut Model) -> Effect {
    model.status_asked = true;
    model.status_asked_at = Some(model.elapsed);
    Effect::Ask(Question::Status)
}

/// The open session again, if one is open and nothing is asked of it.
fn ask_detail(model: &mut Model) -> Option<Effect> {
    let detail = model.detail.as_mut()?;
    let Subject::Session(address) = detail.of else {
        return None;
    };
    if model.explain_asked || model.link != Link::Connected {
        return None;
    }
    model.explain_asked = true;
    detail.asked_at = model.elapsed;
    Some(Effect::Ask(Question::Explain(address)))
}

/// Asks for a page on the connection, if there is one.
fn ask_page(model: &mut Model, browse: Option<Browse>) -> Option<Effect> {
    let browse = browse?;
    let question = match model.view {
        View::Names => Question::Names(model.kind, browse),
        _ => Question::Sessions(browse),
    };
    Some(Effect::Ask(question))
}

/// The visible page, if it is time to look again.
fn refresh_page(model: &mut Model) -> Option<Effect> {
    let (rows, now) = (model.list_rows(), model.elapsed);
    let kind = model.kind;
    let browse = match model.view {
        View::Sessions if model.detail.is_none() => model.sessions.refresh(rows, now),
        View::Names => model.names_mut(kind).refresh(rows, now),
        _ => None,
    };
    ask_page(model, browse)
}

/// The visible page now: the screen's size changed, or the view was opened.
fn page_again(model: &mut Model) -> Vec<Effect> {
    if model.link != Link::Connected {
        return Vec::new();
    }
    let (rows, now) = (model.list_rows(), model.elapsed);
    let kind = model.kind;
    let browse = match model.view {
        View::Sessions => model.sessions.again(rows, now),
        View::Names => model.names_mut(kind).again(rows, now),
        _ => None,
    };
    ask_page(model, browse).into_iter().collect()
}

fn regained(model: &mut Model) -> Vec<Effect> {
    if matches!(model.link, Link::Lost { .. }) {
        notice(model, "the service answers again", false);
    }
    model.link = Link::Connected;
    // What was asked while nobody answered went nowhere.
    forget_questions(model);
    let mut effects = vec![ask_status(model)];
    effects.extend(page_again(model));
    effects.extend(ask_detail(model));
    effects
}

fn lost(model: &mut Model, why: Refused) -> Vec<Effect> {
    let since = match &model.link {
        Link::Lost { since, .. } => *since,
        Link::Connecting | Link::Connected => model.now,
    };
    model.link = Link::Lost { since, why };
    forget_questions(model);
    Vec::new()
}

/// Nothing that was asked will be answered.
fn forget_questions(model: &mut Model) {
    model.status_asked = false;
    model.sessions.lost();
    for kind in [NameKind::Users, NameKind::Devices, NameKind::Groups] {
        model.names_mut(kind).lost();
    }
    model.explain_asked = false;
}

fn answered(
    model: &mut Model,
    question: &Question,
    answer: Result<Box<Answer>, Refused>,
) -> Vec<Effect> {
    let (rows, now) = (model.list_rows(), model.elapsed);
    match question {
        Question::Status => {
            model.status_asked = false;
            match taken(answer, status_of) {
                Ok(status) => take_status(model, status),
                Err(refused) => notice(model, &refused.message, true),
            }
            Vec::new()
        }
        Question::Sessions(browse) => {
            let page = taken(answer, |answer| match answer {
                Answer::Sessions(page) => Some(page),
                _ => None,
            });
            let next = model.sessions.arrived(browse, page, rows, now);
            let next = next.map(|browse| Effect::Ask(Question::Sessions(browse)));
            next.into_iter().collect()
        }
        Question::Names(kind, browse) => {
            let page = taken(answer, |answer| match answer {
                Answer::Names(page) => Some(page),
                _ => None,
            });
            let next = model.names_mut(*kind).arrived(browse, page, rows, now);
            let next = next.map(|browse| Effect::Ask(Question::Names(*kind, browse)));
            next.into_iter().collect()
        }
        Question::Explain(address) => {
            model.explain_asked = false;
            let open = model.detail.as_mut();
            let Some(detail) = open.filter(|d| d.of == Subject::Session(*address)) else {
                // Another one was opened meanwhile.
                return ask_detail(model).into_iter().collect();
            };
            detail.took = now.saturating_sub(detail.asked_at);
            let found = taken(answer, |answer| match answer {
                Answer::Query(found) => Some(found),
                _ => None,
            });
            match found {
                Ok(found) => {
                    detail.refused = None;
                    detail.found = Some(found);
                }
                Err(refused) => detail.refused = Some(refused),
            }
            if std::mem::take(&mut detail.again) {
                return ask_detail(model).into_iter().collect();
            }
            Vec::new()
        }
    }
}

/// What was wanted of an answer.
fn taken<T>(
    answer: Result<Box<Answer>, Refused>,
    wanted: impl FnOnce(Answer) -> Option<T>,
) -> Result<T, Refused> {
    let other = || Refused {
        message: "the service gave an answer to another question".into(),
        remedy: String::new(),
    };
    wanted(*answer?).ok_or_else(other)
}

fn status_of(answer: Answer) -> Option<Box<Status>> {
    match answer {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

fn take_status(model: &mut Model, status: Box<Status>) {
    model.flow.take(&status.events, model.elapsed);
    if model.frozen.is_some() {
        model.held_status = Some(status);
    } else {
        model.status = Some(status);
    }
}

fn acted(model: &mut Model, deed: &Deed, answer: Result<Box<Answer>, Refused>) -> Vec<Effect> {
    if let Some(place) = model.doing.iter().position(|doing| doing == deed) {
        model.doing.remove(place);
    }
    let answer = answer.map(|answer| *answer);
    match (deed, answer) {
        (Deed::Probe(target), answer) => {
            let probed = match answer {
                Ok(Answer::Probe { probed }) => Ok(Box::new(probed)),
                other => taken(other.map(Box::new), |_| None),
            };
            let (said, ok) = verdict(&probed);
            notice(model, &format!("{target}: {said}"), !ok);
            let open = (model.detail.as_mut()).filter(|d| d.of.target().as_ref() == Some(target));
            if let Some(detail) = open {
                detail.probed = Some(probed);
            }
        }
        (Deed::LogOff(address), Ok(Answer::LogOff(log_off))) => {
            let text = match log_off.ended.len() {
                0 => format!("there was no session at {address}"),
                1 => format!("1 session at {address} ended"),
                ended => format!("{ended} sessions at {address} ended"),
            };
            notice(model, &text, log_off.ended.is_empty());
            return changed(model);
        }
        (Deed::Refresh(_), Ok(Answer::Refresh(refreshed))) => {
            let text = format!("{}: {}", refreshed.point, refreshed.detail);
            notice(model, &text, !refreshed.begun);
        }
        (_, Ok(_)) => notice(
            model,
            "the service gave an answer to another question",
            true,
        ),
        (_, Err(refused)) => notice(model, &refused_in_words(&refused), true),
    }
    Vec::new()
}

/// What is shown is another now, by the operator's own hand: it is asked at once, unless the screen stands still.
fn changed(model: &mut Model) -> Vec<Effect> {
    if model.frozen.is_some() {
        return Vec::new();
    }
    let mut effects = page_again(model);
    if let Some(detail) = model.detail.as_mut().filter(|_| model.explain_asked) {
        // The answer that is under way may be from before.
        detail.again = true;
    }
    effects.extend(ask_detail(model));
    effects
}

/// What a probe came to, in one line, and whether that is good.
fn verdict(probed: &Result<Box<Probed>, Refused>) -> (String, bool) {
    let probed = match probed {
        Ok(probed) => probed,
        Err(refused) => return (refused_in_words(refused), false),
    };
    let failed = probed.steps.iter().find(|step| !step.ok);
    let mut said = match (&probed.answer, failed) {
        (Some(answer), _) => answer.replace('-', " "),
        (None, _) if probed.ok => "everything that is needed works".to_owned(),
        (None, Some(step)) => format!("{} does not work: {}", step.name, step.detail),
        (None, None) => "something is missing".to_owned(),
    };
    if !probed.users.is_empty() {
        said.push_str(&format!("; signed on: {}", probed.users.join(", ")));
    }
    (said, probed.ok)
}

fn refused_in_words(refused: &Refused) -> String {
    if refused.remedy.is_empty() {
        refused.message.clone()
    } else {
        format!("{}; try: {}", refused.message, refused.remedy)
    }
}

/// Says something for a while.
fn notice(model: &mut Model, text: &str, wrong: bool) {
    model.notice = Some(Notice {
        text: text.to_owned(),
        wrong,
        since: model.elapsed,
    });
}

/// Asks before something is done; what was said before is read.
fn ask_first(model: &mut Model, confirm: Confirm) {
    model.notice = None;
    model.confirm = Some(confirm);
}

/// Ends, or asks whether the service is to end too.
fn quit(model: &mut Model) -> Vec<Effect> {
    if model.setting.ends.is_some() {
        ask_first(model, Confirm::Stop);
        return Vec::new();
    }
    vec![Effect::Quit]
}
