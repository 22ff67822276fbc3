//! Opening rows, leaving them again, going from view to view.

use super::super::message::{Deed, Effect};
use super::super::model::{Confirm, Detail, Link, Model, Opened, Subject, View};
use super::super::rows;
use super::{ask_detail, ask_first, ask_page, notice, page_again};
use crate::control::protocol::{NameKind, NameRow};

/// The most views that Esc goes back through.
const MAX_TRAIL: usize = 16;

/// Shows a view.
pub(super) fn show(model: &mut Model, view: View) -> Vec<Effect> {
    model.detail = None;
    model.typing = false;
    if view == model.view {
        return Vec::new();
    }
    // Whoever chooses a view has seen where the name led.
    model.opened = None;
    go(model, view);
    page_again(model)
}

/// Goes to a view, and remembers the one before.
fn go(model: &mut Model, view: View) {
    if model.trail.len() >= MAX_TRAIL {
        model.trail.remove(0);
    }
    model.trail.push(model.view);
    model.view = view;
    model.notice = None;
}

/// Opens the selected row.
pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    if model.view == View::Names {
        return open_name(model);
    }
    let Some(subject) = rows::selected(model) else {
        return Vec::new();
    };
    model.detail = Some(Detail::new(subject));
    ask_detail(model).into_iter().collect()
}

/// The sessions of a user or device, or of the members of a group.
fn open_name(model: &mut Model) -> Vec<Effect> {
    let names = model.names();
    let page = names.page.as_ref();
    let Some(row) = page.and_then(|page| page.rows.get(names.selected)) else {
        return Vec::new();
    };
    let (row, kind) = (row.clone(), model.kind);
    let filter = sessions_of(kind, &row);
    model.sessions.filter.clone_from(&filter);
    model.sessions.drop_page();
    model.opened = Some(Opened { kind, row, filter });
    go(model, View::Sessions);
    let (rows, now) = (model.list_rows(), model.elapsed);
    let browse = model.sessions.restart(rows, now);
    ask_page(model, browse).into_iter().collect()
}

fn sessions_of(kind: NameKind, row: &NameRow) -> String {
    // Quotes keep blanks together; a filter has no way to write one of its own.
    let quoted = |text: &str| {
        let text = text.replace('"', "");
        if text.contains(char::is_whitespace) {
            format!("\"{text}\"")
        } else {
            text
        }
    };
    let (name, domain) = (quoted(&row.name), quoted(&row.domain));
    match kind {
        NameKind::Users => format!("user:={name} domain:={domain}"),
        NameKind::Devices => format!("device:={name} domain:={domain}"),
        NameKind::Groups => format!("group:{}", quoted(&format!("{}\\{}", row.domain, row.name))),
    }
}

/// Back: out of the detail, then the filter, then to the view before.
pub(super) fn back(model: &mut Model) -> Vec<Effect> {
    if model.detail.take().is_some() {
        return page_again(model);
    }
    let led = model.opened().is_some();
    model.opened = None;
    if led {
        // The way back from a name's sessions is to the name; its filter was not typed by anybody.
        model.sessions.filter.clear();
        model.sessions.drop_page();
    } else if clear_filter(model) {
        return super::keys::filtered(model);
    }
    let Some(view) = model.trail.pop() else {
        return Vec::new();
    };
    model.view = view;
    model.notice = None;
    page_again(model)
}

/// Empties the filter of the view; whether there was one.
pub(super) fn clear_filter(model: &mut Model) -> bool {
    let Some(filter) = super::keys::filter_mut(model) else {
        return false;
    };
    let was = !filter.is_empty();
    filter.clear();
    was
}

/// Tries the open or selected thing; its detail is opened, because the answer appears there.
pub(super) fn probe(model: &mut Model) -> Vec<Effect> {
    if !may_act(model) {
        return Vec::new();
    }
    let open = model.detail.as_ref().map(|detail| detail.of.clone());
    let Some(of) = open.or_else(|| rows::selected(model)) else {
        return Vec::new();
    };
    let Some(target) = of.target() else {
        let text = "only event sources and directories can be tried";
        notice(model, text, true);
        return Vec::new();
    };
    let mut effects = Vec::new();
    if model.detail.is_none() {
        effects = self::open(model);
    }
    if let Some(detail) = &mut model.detail {
        detail.probed = None;
    }
    effects.extend(act(model, Deed::Probe(target)));
    effects
}

/// Asks whether the session of the open or selected address is to end.
pub(super) fn log_off(model: &mut Model) {
    let open = model.detail.as_ref().map(|detail| detail.of.clone());
    let Some(Subject::Session(address)) = open.or_else(|| rows::selected(model)) else {
        return;
    };
    if !may_act(model) {
        return;
    }
    let page = model.sessions.page.as_ref();
    let row = page.and_then(|page| page.rows.iter().find(|row| row.address == address));
    let found = (model.detail.as_ref())
        .and_then(|detail| detail.found.as_ref())
        .and_then(|found| found.sessions.first());
    let who = found
        .map(|session| (session.user.clone(), session.device.clone()))
        .or_else(|| row.map(|row| (row.user.clone(), row.device.clone())))
        .and_then(|(user, device)| user.or(device));
    let who = who.unwrap_or_else(|| "whoever is there".to_owned());
    ask_first(model, Confirm::LogOff(address, who));
}

/// Has a firewall told everything again.
pub(super) fn refresh_point(model: &mut Model) -> Vec<Effect> {
    let open = model.detail.as_ref().map(|detail| detail.of.clone());
    let Some(Subject::Point(name)) = open.or_else(|| rows::selected(model)) else {
        return Vec::new();
    };
    act(model, Deed::Refresh(name)).into_iter().collect()
}

/// Whether the service can be told to do something now; says so if not.
fn may_act(model: &mut Model) -> bool {
    let may = model.link == Link::Connected;
    if !may {
        notice(model, "not done: the service does not answer", true);
    }
    may
}

/// Has the service do something, unless it is at it.
pub(super) fn act(model: &mut Model, deed: Deed) -> Option<Effect> {
    /// What may be under way at a time; each has a connection.
    const MAX_DOING: usize = 8;
    if model.doing.contains(&deed) || !may_act(model) {
        return None;
    }
    if model.doing.len() >= MAX_DOING {
        notice(
            model,
            "too much is under way; wait for something to end",
            true,
        );
        return None;
    }
    model.doing.push(deed.clone());
    Some(Effect::Act(deed))
}
