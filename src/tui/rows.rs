//! The rows of the lists that are all in a status: problems first, then by name. One order for those who draw and those
//! who open a row.

use super::model::{Model, Subject, View};
use super::theme::{Role, role_of};
use crate::control::protocol::{
    CollectorStatus, PointStatus, PushStatus, SourceStatus, Status, WebApiStatus,
};

/// How urgent a state is, the least first.
fn urgency(state: &str) -> u8 {
    match role_of(state) {
        Role::Bad => 0,
        Role::Warn => 1,
        _ => 2,
    }
}

/// The producers, or the directories.
pub(super) fn sources(status: &Status, view: View) -> Vec<&SourceStatus> {
    let list = match view {
        View::Directories => &status.directories,
        _ => &status.producers,
    };
    let mut rows: Vec<&SourceStatus> = list.iter().collect();
    rows.sort_by(|a, b| (urgency(&a.state), &a.name).cmp(&(urgency(&b.state), &b.name)));
    rows
}

/// The state of a point that counts: the worse of asking and being pushed to.
pub(super) fn point_state(point: &PointStatus) -> &str {
    let pushed = (point.web_api.as_ref()).filter(|pushed| {
        point.protocol == "web-api" || urgency(&pushed.state) < urgency(&point.state)
    });
    pushed.map_or(&point.state, |pushed: &WebApiStatus| &pushed.state)
}

/// The enforcement points.
pub(super) fn points(status: &Status) -> Vec<&PointStatus> {
    let mut rows: Vec<&PointStatus> = status.enforcement_points.iter().collect();
    let key = |point: &&PointStatus| (urgency(point_state(point)), point.name.clone());
    rows.sort_by_key(key);
    rows
}

/// What is connected to other processes of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum LinkRow<'a> {
    /// It pushes to us.
    Collector(&'a CollectorStatus),
    /// We push to it.
    Push(&'a PushStatus),
}

impl<'a> LinkRow<'a> {
    /// Its state's word.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::Collector(collector) => collector.state.as_str(),
            Self::Push(push) => push.state.as_str(),
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Collector(collector) => &collector.name,
            Self::Push(push) => &push.name,
        }
    }
}

/// Pushes and Collectors.
pub(super) fn links(status: &Status) -> Vec<LinkRow<'_>> {
    let pushes = status.pushes.iter().map(LinkRow::Push);
    let collectors = status.collectors.iter().map(LinkRow::Collector);
    let mut rows: Vec<LinkRow<'_>> = pushes.chain(collectors).collect();
    rows.sort_by(|a, b| (urgency(a.state()), a.name()).cmp(&(urgency(b.state()), b.name())));
    rows
}

/// How many rows a list that is all here has.
pub(super) fn count(model: &Model, view: View) -> usize {
    let Some(status) = &model.status else {
        return 0;
    };
    match view {
        View::Overview => status.attention.len(),
        View::Producers | View::Directories => sources(status, view).len(),
        View::Points => status.enforcement_points.len(),
        View::Links => status.pushes.len() + status.collectors.len(),
        View::Sessions | View::Names | View::Tail | View::Help => 0,
    }
}

/// What the selected row is of.
pub(super) fn selected(model: &Model) -> Option<Subject> {
    let row = model.cursor(model.view).selected;
    match model.view {
        View::Sessions => {
            let page = model.sessions.page.as_ref()?;
            let row = page.rows.get(model.sessions.selected)?;
            return Some(Subject::Session(row.address));
        }
        View::Tail => return model.tail.selected().cloned().map(Subject::Line),
        _ => {}
    }
    let status = model.status.as_ref()?;
    match model.view {
        View::Overview => status.attention.get(row).cloned().map(Subject::Attention),
        View::Producers | View::Directories => sources(status, model.view)
            .get(row)
            .map(|source| Subject::Source(source.kind.clone(), source.name.clone())),
        View::Points => points(status)
            .get(row)
            .map(|point| Subject::Point(point.name.clone())),
        View::Links => links(status).get(row).map(|link| match link {
            LinkRow::Collector(collector) => Subject::Collector(collector.name.clone()),
            LinkRow::Push(push) => Subject::Push(push.name.clone()),
        }),
        View::Sessions | View::Names | View::Tail | View::Help => None,
    }
}
