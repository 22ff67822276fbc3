//! Which key does what, where: the table. Help and the bottom line are made from it, so that they cannot lie.

use super::message::Key;
use super::model::View;

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The screen is too small to show what a key would do; nothing else holds then.
    TooSmall,
    /// A question waits for yes or no; nothing else holds then.
    Confirm,
    /// The filter is being typed; nothing else holds then.
    Filter,
    /// The detail of a session.
    SessionDetail,
    /// The detail of a producer or directory.
    SourceDetail,
    /// The detail of an enforcement point.
    PointDetail,
    /// Any detail.
    Detail,
    /// The list of sessions.
    Sessions,
    /// Users and groups.
    Names,
    /// Producers and directories.
    Sources,
    /// Enforcement points.
    Points,
    /// The tail.
    Tail,
    /// Any list.
    List,
    /// Help.
    Help,
    /// Everywhere else too.
    Everywhere,
}

impl Place {
    /// The heading in Help.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::TooSmall => "On a screen that is too small",
            Self::Confirm => "When something is asked",
            Self::Filter => "While a filter is typed",
            Self::SessionDetail => "Detail of a session",
            Self::SourceDetail => "Detail of a producer or directory",
            Self::PointDetail => "Detail of an enforcement point",
            Self::Detail => "Any detail",
            Self::Sessions => "Sessions",
            Self::Names => "Users & groups",
            Self::Sources => "Producers and directories",
            Self::Points => "Enforcement points",
            Self::Tail => "Tail",
            Self::List => "Any list",
            Self::Help => "Help",
            Self::Everywhere => "Everywhere",
        }
    }
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Show(View),
    NextView,
    PreviousView,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Open,
    Back,
    Filter,
    Sort,
    Reverse,
    Probe,
    LogOff,
    Refresh,
    Copy,
    CopyAll,
    Freeze,
    Yes,
    No,
    Done,
    Cancel,
    Erase,
    EraseAll,
    Redraw,
    Suspend,
    Quit,
    Interrupt,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// The keys, any of them.
    pub(super) keys: &'static [Key],
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) action: Action,
    /// The keys in words.
    pub(super) shown: &'static str,
    /// A word for the bottom line; empty: only in Help.
    pub(super) label: &'static str,
    /// A sentence for Help.
    pub(super) help: &'static str,
}

const fn bind(
    place: Place,
    keys: &'static [Key],
    shown: &'static str,
    action: Action,
    label: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        place,
        action,
        shown,
        label,
        help,
    }
}

use Key::{Char, Ctrl};
use Place as P;

/// The table. Of two lines for one key the more particular place counts.
#[rustfmt::skip]
pub(super) const KEYMAP: &[Binding] = &[
    bind(P::Everywhere, &[Char('1')], "1", Action::Show(View::Overview), "", "Overview: totals, flow, what needs attention"),
    bind(P::Everywhere, &[Char('2')], "2", Action::Show(View::Producers), "", "Producers: event sources, syslog, firewalls, PC probe"),
    bind(P::Everywhere, &[Char('3')], "3", Action::Show(View::Directories), "", "Directories"),
    bind(P::Everywhere, &[Char('4')], "4", Action::Show(View::Sessions), "", "Sessions: who is where"),
    bind(P::Everywhere, &[Char('5')], "5", Action::Show(View::Names), "", "Users, devices and groups"),
    bind(P::Everywhere, &[Char('6')], "6", Action::Show(View::Points), "", "Enforcement points: firewalls"),
    bind(P::Everywhere, &[Char('7')], "7", Action::Show(View::Links), "", "Collectors and pushes"),
    bind(P::Everywhere, &[Char('8')], "8", Action::Show(View::Tail), "", "Tail: what happens now"),
    bind(P::Everywhere, &[Char('9'), Char('?')], "9 ?", Action::Show(View::Help), "", "Help: this page"),
    bind(P::Everywhere, &[Key::Tab], "Tab", Action::NextView, "", "The next view"),
    bind(P::Everywhere, &[Key::BackTab], "Shift-Tab", Action::PreviousView, "", "The view before"),
    bind(P::Everywhere, &[Key::Esc], "Esc", Action::Back, "", "Back: out of a detail, a filter, to the view before"),
    bind(P::Everywhere, &[Char('f'), Char(' ')], "f Space", Action::Freeze, "freeze", "Freeze the screen, and let it go on; news are taken meanwhile"),
    bind(P::Everywhere, &[Ctrl('l')], "Ctrl-L", Action::Redraw, "", "Draw the screen again"),
    bind(P::Everywhere, &[Ctrl('z')], "Ctrl-Z", Action::Suspend, "", "Back to the shell; `fg` goes on"),
    bind(P::Everywhere, &[Char('q')], "q", Action::Quit, "quit", "Quit"),
    bind(P::Everywhere, &[Ctrl('c')], "Ctrl-C", Action::Interrupt, "", "Quit, whatever is open"),

    bind(P::List, &[Key::Up, Char('k')], "Up k", Action::Up, "", "The row above"),
    bind(P::List, &[Key::Down, Char('j')], "Down j", Action::Down, "", "The row below"),
    bind(P::List, &[Key::PageUp, Ctrl('b')], "PgUp Ctrl-B", Action::PageUp, "", "The page before"),
    bind(P::List, &[Key::PageDown, Ctrl('f')], "PgDn Ctrl-F", Action::PageDown, "", "The next page"),
    bind(P::List, &[Key::Home, Char('g')], "Home g", Action::First, "", "The first row"),
    bind(P::List, &[Key::End, Char('G')], "End G", Action::Last, "", "The last row"),
    bind(P::List, &[Key::Enter], "Enter", Action::Open, "open", "Open the row: everything that is known of it"),
    bind(P::List, &[Char('c')], "c", Action::Copy, "", "Copy the name or address of the row"),
    bind(P::List, &[Char('y')], "y", Action::CopyAll, "", "Copy the row"),

    bind(P::Sessions, &[Char('/')], "/", Action::Filter, "filter", "Filter: words, or user: device: domain: group: from: state:"),
    bind(P::Sessions, &[Char('s')], "s", Action::Sort, "sort", "Sort by the next column"),
    bind(P::Sessions, &[Char('r')], "r", Action::Reverse, "", "Sort the other way round"),
    bind(P::Sessions, &[Char('p')], "p", Action::Probe, "probe", "Ask the computer now who is signed on"),
    bind(P::Sessions, &[Char('l')], "l", Action::LogOff, "log off", "Log off: end the session, and tell the firewalls (asks first)"),

    bind(P::Names, &[Key::Right], "Right", Action::Right, "users/devices/groups", "The next of users, devices, groups"),
    bind(P::Names, &[Key::Left], "Left", Action::Left, "", "The one before"),
    bind(P::Names, &[Char('/')], "/", Action::Filter, "filter", "Filter: words, or domain: group: state:"),
    bind(P::Names, &[Char('s')], "s", Action::Sort, "sort", "Sort by name, or by sessions"),
    bind(P::Names, &[Char('r')], "r", Action::Reverse, "", "Sort the other way round"),

    bind(P::Sources, &[Char('p')], "p", Action::Probe, "probe", "Try it now, step by step"),

    bind(P::Points, &[Char('r')], "r", Action::Refresh, "tell all again", "Tell it everything again, if it is pushed to (Web API)"),

    bind(P::Tail, &[Char('/')], "/", Action::Filter, "filter", "Filter: words that must all occur in a line"),

    bind(P::SessionDetail, &[Char('p')], "p", Action::Probe, "probe", "Ask the computer now who is signed on"),
    bind(P::SessionDetail, &[Char('l')], "l", Action::LogOff, "log off", "Log off: end the session, and tell the firewalls (asks first)"),
    bind(P::SourceDetail, &[Char('p')], "p", Action::Probe, "probe", "Try it now, step by step"),
    bind(P::PointDetail, &[Char('r')], "r", Action::Refresh, "tell all again", "Tell it everything again, if it is pushed to (Web API)"),

    bind(P::Detail, &[Key::Esc, Key::Backspace, Key::Enter], "Esc Enter", Action::Back, "back", "Back to the list"),
    bind(P::Detail, &[Key::Up, Char('k')], "Up k", Action::Up, "", "Scroll up"),
    bind(P::Detail, &[Key::Down, Char('j')], "Down j", Action::Down, "scroll", "Scroll down"),
    bind(P::Detail, &[Key::PageUp, Ctrl('b')], "PgUp Ctrl-B", Action::PageUp, "", "A page up"),
    bind(P::Detail, &[Key::PageDown, Ctrl('f')], "PgDn Ctrl-F", Action::PageDown, "", "A page down"),
    bind(P::Detail, &[Key::Home, Char('g')], "Home g", Action::First, "", "The beginning"),
    bind(P::Detail, &[Key::End, Char('G')], "End G", Action::Last, "", "The end"),
    bind(P::Detail, &[Char('c')], "c", Action::Copy, "copy", "Copy the name or address"),
    bind(P::Detail, &[Char('y')], "y", Action::CopyAll, "", "Copy the whole page as text"),

    bind(P::Help, &[Key::Up, Char('k')], "Up k", Action::Up, "", "Scroll up"),
    bind(P::Help, &[Key::Down, Char('j')], "Down j", Action::Down, "scroll", "Scroll down"),
    bind(P::Help, &[Key::PageUp, Ctrl('b')], "PgUp Ctrl-B", Action::PageUp, "", "A page up"),
    bind(P::Help, &[Key::PageDown, Ctrl('f')], "PgDn Ctrl-F", Action::PageDown, "", "A page down"),
    bind(P::Help, &[Key::Home, Char('g')], "Home g", Action::First, "", "The beginning"),
    bind(P::Help, &[Key::End, Char('G')], "End G", Action::Last, "", "The end"),

    bind(P::Filter, &[Key::Enter], "Enter", Action::Done, "keep", "Keep the filter, back to the rows"),
    bind(P::Filter, &[Key::Esc], "Esc", Action::Cancel, "clear", "Clear the filter"),
    bind(P::Filter, &[Key::Backspace], "Backspace", Action::Erase, "", "Take the last character away"),
    bind(P::Filter, &[Ctrl('u')], "Ctrl-U", Action::EraseAll, "", "Take everything away"),
    bind(P::Filter, &[Key::Up], "Up", Action::Up, "", "The row above, while typing"),
    bind(P::Filter, &[Key::Down], "Down", Action::Down, "", "The row below, while typing"),
    bind(P::Filter, &[Ctrl('c')], "Ctrl-C", Action::Interrupt, "", "Quit"),

    bind(P::Confirm, &[Char('y'), Char('Y')], "y", Action::Yes, "yes", "Yes, do it"),
    bind(P::Confirm, &[Char('n'), Char('N'), Key::Esc], "n Esc", Action::No, "no", "No, leave it"),
    bind(P::Confirm, &[Ctrl('c')], "Ctrl-C", Action::Interrupt, "", "Quit"),

    bind(P::TooSmall, &[Char('q'), Ctrl('c')], "q Ctrl-C", Action::Interrupt, "quit", "Quit; twice if more ends with it"),
    bind(P::TooSmall, &[Ctrl('z')], "Ctrl-Z", Action::Suspend, "", "Back to the shell; `fg` goes on"),
];

/// What a key does in these places, the most particular first.
pub(super) fn lookup(places: &[Place], key: Key) -> Option<Action> {
    places.iter().find_map(|place| {
        let mut bindings = KEYMAP.iter();
        let found = bindings.find(|b| b.place == *place && b.keys.contains(&key));
        found.map(|binding| binding.action)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_one_thing_in_a_place() {
        for (number, one) in KEYMAP.iter().enumerate() {
            for other in KEYMAP.iter().skip(number + 1) {
                let both = one.keys.iter().any(|key| other.keys.contains(key));
                let same = one.place == other.place && both;
                assert!(!same, "{} twice in {:?}", one.shown, one.place);
            }
        }
    }

    #[test]
    fn every_binding_explains_itself() {
        for binding in KEYMAP {
            assert!(!binding.keys.is_empty() && !binding.shown.is_empty());
            assert!(!binding.help.is_empty() && !binding.help.ends_with('.'));
        }
    }

    #[test]
    fn the_more_particular_place_counts() {
        let places = [Place::Detail, Place::Everywhere];
        assert_eq!(lookup(&places, Key::Enter), Some(Action::Back));
        assert_eq!(lookup(&places, Char('q')), Some(Action::Quit));
        assert_eq!(lookup(&[Place::Confirm], Char('q')), None);
    }
}
