//! Everything that the dashboard knows: plain data, changed only by [`super::update`], shown only by [`super::view`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::flow::Flow;
use super::keymap::Place;
use super::layout;
use super::message::{Deed, Refused};
use super::paged::Paged;
use super::rows;
use super::tail::TailLines;
use super::theme::Theme;
use crate::control::protocol::{
    Attention, NameKind, NameRow, Probed, Query, SessionRow, Status, Tail,
};

/// The views, in the order of their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum View {
    /// Totals, flow, what needs attention.
    #[default]
    Overview,
    /// Identity producers.
    Producers,
    /// Directory services.
    Directories,
    /// Who is where.
    Sessions,
    /// Users, devices, groups.
    Names,
    /// Firewalls.
    Points,
    /// Collectors and pushes.
    Links,
    /// What happens now.
    Tail,
    /// The keys.
    Help,
}

impl View {
    /// All of them.
    pub(super) const ALL: [Self; 9] = [
        Self::Overview,
        Self::Producers,
        Self::Directories,
        Self::Sessions,
        Self::Names,
        Self::Points,
        Self::Links,
        Self::Tail,
        Self::Help,
    ];

    /// Its key.
    pub(super) fn number(self) -> usize {
        Self::ALL.iter().position(|v| *v == self).unwrap_or(0) + 1
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Producers => "Producers",
            Self::Directories => "Directories",
            Self::Sessions => "Sessions",
            Self::Names => "Users & groups",
            Self::Points => "Enforcement",
            Self::Links => "Collectors",
            Self::Tail => "Tail",
            Self::Help => "Help",
        }
    }

    /// Its name where there is little room.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Directories => "Dirs",
            Self::Names => "Users",
            Self::Points => "Points",
            Self::Links => "Links",
            other => other.name(),
        }
    }

    /// The view so many places on.
    pub(super) fn neighbour(self, forward: bool) -> Self {
        let count = Self::ALL.len();
        let step = if forward { 1 } else { count - 1 };
        let next = (self.number() - 1 + step) % count;
        Self::ALL.get(next).copied().unwrap_or_default()
    }
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The first attempt runs.
    Connecting,
    /// The service answers.
    Connected,
    /// It does not.
    Lost {
        /// Since when.
        since: Timestamp,
        /// Why, and what to try.
        why: Refused,
    },
}

/// The selected row of a list that is all here, and the first one shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) selected: usize,
    pub(super) offset: usize,
}

impl Cursor {
    /// Keeps within `length` rows of which `shown` fit.
    pub(super) fn fit(&mut self, length: usize, shown: usize) {
        self.selected = self.selected.min(length.saturating_sub(1));
        let last_offset = length.saturating_sub(shown);
        let least = (self.selected + 1).saturating_sub(shown);
        self.offset = self.offset.clamp(least.min(last_offset), last_offset);
        self.offset = self.offset.min(self.selected);
    }
}

/// What a detail is of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    /// An address.
    Session(IpAddr),
    /// A producer or directory, by kind and name.
    Source(String, String),
    /// An enforcement point.
    Point(String),
    /// A Server that is pushed to.
    Push(String),
    /// A Collector that pushes to us.
    Collector(String),
    /// Something to act on.
    Attention(Attention),
    /// A line of the tail.
    Line(Tail),
}

impl Subject {
    /// What a probe of it tries.
    pub(super) fn target(&self) -> Option<String> {
        match self {
            Self::Session(address) => Some(address.to_string()),
            // The others are told things; there is nothing to ask them.
            Self::Source(kind, name) => {
                matches!(kind.as_str(), "event-source" | "directory").then(|| name.clone())
            }
            _ => None,
        }
    }
}

/// An open detail.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    /// Of what.
    pub(super) of: Subject,
    /// Lines that are above the screen.
    pub(super) scroll: usize,
    /// What was found of an address, and when.
    pub(super) found: Option<Box<Query>>,
    /// Why there is nothing newer.
    pub(super) refused: Option<Refused>,
    /// What came of a probe.
    pub(super) probed: Option<Result<Box<Probed>, Refused>>,
    /// Whether it is to be asked again as soon as the open question is answered.
    pub(super) again: bool,
    /// When it was last asked.
    pub(super) asked_at: Duration,
    /// How long the last answer took.
    pub(super) took: Duration,
}

impl Detail {
    /// A detail that knows nothing yet.
    pub(super) fn new(of: Subject) -> Self {
        Self {
            of,
            scroll: 0,
            found: None,
            refused: None,
            probed: None,
            again: false,
            asked_at: Duration::ZERO,
            took: Duration::ZERO,
        }
    }
}

/// What is asked before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confirm {
    /// End the sessions of an address; who is there, in words.
    LogOff(IpAddr, String),
    /// End the service with the dashboard.
    Stop,
}

/// Something to read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// One line.
    pub(super) text: String,
    /// Whether it went wrong.
    pub(super) wrong: bool,
    /// When it came.
    pub(super) since: Duration,
}

impl Notice {
    /// Whether it goes by itself; what stays is less than what is wrong now.
    pub(super) fn passes(&self) -> bool {
        self.since != Duration::MAX
    }
}

/// How the dashboard was begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Setting {
    /// What quitting ends with the dashboard: `the service`.
    pub(super) ends: Option<String>,
    /// Where the service is asked, for people.
    pub(super) socket: String,
}

/// A name that was opened: its sessions are shown.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// What it is.
    pub(super) kind: NameKind,
    /// What its row said.
    pub(super) row: NameRow,
    /// The filter that finds its sessions; another one is the operator's own.
    pub(super) filter: String,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) theme: Theme,
    pub(super) setting: Setting,
    /// Columns and lines.
    pub(super) size: (u16, u16),
    /// The wall clock at the last tick.
    pub(super) now: Timestamp,
    /// Since the beginning, at the last tick.
    pub(super) elapsed: Duration,
    pub(super) link: Link,
    pub(super) status: Option<Box<Status>>,
    /// The latest status while the screen is frozen.
    pub(super) held_status: Option<Box<Status>>,
    pub(super) status_asked: bool,
    /// Whether a question about an address is open: one at a time, however fast details are opened.
    pub(super) explain_asked: bool,
    pub(super) status_asked_at: Option<Duration>,
    pub(super) flow: Flow,
    /// The readings that are shown while the screen is frozen.
    pub(super) held_flow: Option<Flow>,
    /// Since when the screen stands still.
    pub(super) frozen: Option<Timestamp>,
    pub(super) view: View,
    /// The views before, the latest last.
    pub(super) trail: Vec<View>,
    pub(super) cursors: BTreeMap<View, Cursor>,
    pub(super) sessions: Paged<SessionRow>,
    /// The name whose sessions are shown, if one was opened.
    pub(super) opened: Option<Opened>,
    pub(super) names: [Paged<NameRow>; 3],
    pub(super) kind: NameKind,
    pub(super) tail: TailLines,
    pub(super) detail: Option<Detail>,
    pub(super) help_scroll: usize,
    /// Whether a filter is being typed.
    pub(super) typing: bool,
    pub(super) confirm: Option<Confirm>,
    pub(super) notice: Option<Notice>,
    /// What an operator wanted and is not done.
    pub(super) doing: Vec<Deed>,
}

impl Model {
    /// At the beginning.
    pub(super) fn new(theme: Theme, setting: Setting, size: (u16, u16), now: Timestamp) -> Self {
        Self {
            theme,
            setting,
            size,
            now,
            elapsed: Duration::ZERO,
            link: Link::Connecting,
            status: None,
            held_status: None,
            status_asked: false,
            explain_asked: false,
            status_asked_at: None,
            flow: Flow::default(),
            held_flow: None,
            frozen: None,
            view: View::Overview,
            trail: Vec::new(),
            cursors: BTreeMap::new(),
            sessions: Paged::default(),
            opened: None,
            names: [Paged::default(), Paged::default(), Paged::default()],
            kind: NameKind::Users,
            tail: TailLines::default(),
            detail: None,
            help_scroll: 0,
            typing: false,
            confirm: None,
            notice: None,
            doing: Vec::new(),
        }
    }

    /// Says something at the beginning; nothing if it is empty.
    pub(super) fn say(&mut self, text: &str) {
        self.notice = (!text.is_empty()).then(|| Notice {
            text: text.to_owned(),
            wrong: false,
            since: Duration::MAX,
        });
    }

    /// The instant that what is shown is seen from.
    pub(super) fn seen_at(&self) -> Timestamp {
        self.frozen.unwrap_or(self.now)
    }

    /// Whether what is shown may be out of date.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.link, Link::Lost { .. })
    }

    /// The list of names that is shown.
    pub(super) fn names(&self) -> &Paged<NameRow> {
        let [users, devices, groups] = &self.names;
        match self.kind {
            NameKind::Users => users,
            NameKind::Devices => devices,
            NameKind::Groups => groups,
        }
    }

    /// The list of names of a kind.
    pub(super) fn names_mut(&mut self, kind: NameKind) -> &mut Paged<NameRow> {
        let [users, devices, groups] = &mut self.names;
        match kind {
            NameKind::Users => users,
            NameKind::Devices => devices,
            NameKind::Groups => groups,
        }
    }

    /// The cursor of a list that is all here.
    pub(super) fn cursor(&self, view: View) -> Cursor {
        self.cursors.get(&view).copied().unwrap_or_default()
    }

    /// Whether the screen is too small for anything but to say so.
    pub(super) fn is_too_small(&self) -> bool {
        !layout::fits(self.size.0, self.size.1)
    }

    /// How many rows a list shows on this screen.
    pub(super) fn list_rows(&self) -> usize {
        layout::list_rows(self.size.0, self.size.1)
    }

    /// How many lines the body has on this screen.
    pub(super) fn body_lines(&self) -> usize {
        layout::body_lines(self.size.0, self.size.1)
    }

    /// The name whose sessions are shown, as long as nobody filters them otherwise.
    pub(super) fn opened(&self) -> Option<&Opened> {
        let opened = self.opened.as_ref();
        opened.filter(|opened| self.view == View::Sessions && opened.filter == self.sessions.filter)
    }

    /// Whether a probe of the open or selected thing can come to anything.
    pub(super) fn may_probe(&self) -> bool {
        let of = match &self.detail {
            Some(detail) => Some(detail.of.clone()),
            None => rows::selected(self),
        };
        let asks = |status: &Status| status.producers.iter().any(|p| p.kind == "pc-probe");
        match of {
            Some(Subject::Session(_)) => self.status.as_deref().is_some_and(asks),
            Some(of) => of.target().is_some(),
            None => false,
        }
    }

    /// Where keys are looked up, the most particular place first.
    pub(super) fn places(&self) -> &'static [Place] {
        use Place as P;
        if self.is_too_small() {
            return &[P::TooSmall];
        }
        if self.confirm.is_some() {
            return &[P::Confirm];
        }
        if self.typing {
            return &[P::Filter];
        }
        if let Some(detail) = &self.detail {
            return match detail.of {
                Subject::Session(_) => &[P::SessionDetail, P::Detail, P::Everywhere],
                Subject::Source(..) if detail.of.target().is_some() => {
                    &[P::SourceDetail, P::Detail, P::Everywhere]
                }
                Subject::Point(_) => &[P::PointDetail, P::Detail, P::Everywhere],
                _ => &[P::Detail, P::Everywhere],
            };
        }
        match self.view {
            View::Overview | View::Links => &[P::List, P::Everywhere],
            View::Producers | View::Directories => &[P::Sources, P::List, P::Everywhere],
            View::Sessions => &[P::Sessions, P::List, P::Everywhere],
            View::Names => &[P::Names, P::List, P::Everywhere],
            View::Points => &[P::Points, P::List, P::Everywhere],
            View::Tail => &[P::Tail, P::List, P::Everywhere],
            View::Help => &[P::Help, P::Everywhere],
        }
    }
}
