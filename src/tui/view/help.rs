//! Help: every key, from the keymap.
//!
//! ```text
//!  Everywhere
//!    1              Overview: totals, flow, what needs attention
//!    …
//!  Any list
//!    Up k           The row above
//! ```

use super::super::keymap::{KEYMAP, Place};
use super::super::model::Model;
use super::super::theme::Role;
use super::paint::Page;

/// The places in the order in which they are explained.
const ORDER: [Place; 15] = [
    Place::Everywhere,
    Place::List,
    Place::Sessions,
    Place::Names,
    Place::Sources,
    Place::Points,
    Place::Tail,
    Place::Detail,
    Place::SessionDetail,
    Place::SourceDetail,
    Place::PointDetail,
    Place::Filter,
    Place::Confirm,
    Place::Help,
    Place::TooSmall,
];

/// Every key.
pub(super) fn page(model: &Model, columns: u16) -> Page {
    let theme = model.theme;
    let mut page = Page::new(theme, columns, model.now);
    for place in ORDER {
        page.heading(place.heading());
        for binding in KEYMAP.iter().filter(|binding| binding.place == place) {
            page.lines.push(vec![
                theme.say(&format!("  {:<13}", binding.shown), Role::Key),
                theme.say(binding.help, Role::Plain),
            ]);
        }
    }
    page.heading("Marks");
    for (role, text) in [
        (Role::Good, "as it should be"),
        (Role::Warn, "on the way, or in doubt"),
        (Role::Bad, "broken: it wants somebody"),
        (Role::Dim, "nothing to say: never asked, quiet, off"),
    ] {
        page.lines.push(vec![
            theme.say(&format!("  {:<13}", theme.mark(role)), role),
            theme.say(text, Role::Plain),
        ]);
    }
    page.heading("Mouse");
    page.text(
        "  A click selects a row and opens the selected one; the wheel moves. Shift with the mouse marks text as ever.",
        Role::Plain,
    );
    page
}
