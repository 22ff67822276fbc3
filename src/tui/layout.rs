//! Where things are on the screen; for those who draw and for those who must know what was clicked.
//!
//! ```text
//!  jims 0.1.0  hq (head office)                     ● ready · up 3 h · 14:05:09      head
//!  1 Overview  2 Producers  3 Dirs  4 Sessions …                                     tabs
//!  ────────────────────────────────────────────────────────────────────────────      rule
//!  …                                                                                 body
//!  copied 10.1.2.50                                                                  notice
//!  Enter open  / filter  f freeze  q quit                                            keys
//! ```

use ratatui::layout::Rect;
use std::ops::Range;

use super::model::View;

/// The least size of a screen.
pub(super) const LEAST: (u16, u16) = (60, 16);

/// Whether a screen of this size is large enough to show anything.
pub(super) fn fits(columns: u16, lines: u16) -> bool {
    columns >= LEAST.0 && lines >= LEAST.1
}

/// Lines of a list's body above its rows: a line that sums up, a blank one, the headings.
pub(super) const LIST_TOP: u16 = 3;

/// The parts of the screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) head: Rect,
    pub(super) tabs: Rect,
    pub(super) rule: Rect,
    pub(super) body: Rect,
    pub(super) notice: Rect,
    pub(super) keys: Rect,
}

/// The parts of a screen of this size.
pub(super) fn areas(columns: u16, lines: u16) -> Areas {
    let line = |y: u16| Rect::new(0, y, columns, 1);
    Areas {
        head: line(0),
        tabs: line(1),
        rule: line(2),
        body: Rect::new(1, 3, columns.saturating_sub(2), lines.saturating_sub(5)),
        notice: line(lines.saturating_sub(2)),
        keys: line(lines.saturating_sub(1)),
    }
}

/// How many rows a list shows.
pub(super) fn list_rows(columns: u16, lines: u16) -> usize {
    usize::from(areas(columns, lines).body.height.saturating_sub(LIST_TOP)).max(1)
}

/// Lines of the Overview above what needs attention, its heading among them.
pub(super) const OVERVIEW_TOP: u16 = 8;

/// Lines of the Overview below it.
pub(super) const OVERVIEW_END: u16 = 5;

/// Whether a body of this height has room for what stands below attention.
pub(super) fn overview_has_end(height: u16) -> bool {
    height >= OVERVIEW_TOP + OVERVIEW_END + 4
}

/// How many things that need attention the Overview shows: two lines each.
pub(super) fn attention_rows(columns: u16, lines: u16) -> usize {
    let height = areas(columns, lines).body.height;
    let end = if overview_has_end(height) {
        OVERVIEW_END
    } else {
        0
    };
    usize::from(height.saturating_sub(OVERVIEW_TOP + end) / 2).max(1)
}

/// How many lines the body has.
pub(super) fn body_lines(columns: u16, lines: u16) -> usize {
    usize::from(areas(columns, lines).body.height).max(1)
}

/// The names of the views as they fit, and their columns.
pub(super) fn tabs(columns: u16, shown: View) -> Vec<(View, String, Range<u16>)> {
    let wide: Vec<String> = View::ALL.iter().map(|view| label(*view, true)).collect();
    let short: Vec<String> = View::ALL.iter().map(|view| label(*view, false)).collect();
    let narrow: Vec<String> = (View::ALL.iter())
        .map(|view| {
            let number = label(*view, false);
            let number = number.split(' ').next().unwrap_or_default().to_owned();
            if *view == shown {
                label(*view, false)
            } else {
                number
            }
        })
        .collect();
    let fits = |labels: &[String], gap: usize| {
        let text: usize = labels.iter().map(String::len).sum();
        text + gap * (labels.len() - 1) <= usize::from(columns.saturating_sub(1))
    };
    let (labels, gap) = if fits(&wide, 2) {
        (wide, 2)
    } else if fits(&short, 1) {
        (short, 1)
    } else {
        (narrow, 1)
    };
    let mut column = 1;
    let mut tabs = Vec::new();
    for (view, label) in View::ALL.into_iter().zip(labels) {
        let end = column + u16::try_from(label.len()).unwrap_or(0);
        tabs.push((view, label, column..end));
        column = end + gap;
    }
    tabs
}

fn label(view: View, wide: bool) -> String {
    let number = view.number();
    let name = if wide { view.name() } else { view.short() };
    format!("{number} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_fit_every_screen() {
        for columns in 60..200 {
            for view in View::ALL {
                let tabs = tabs(columns, view);
                assert_eq!(tabs.len(), View::ALL.len());
                assert!(tabs.iter().all(|(_, _, place)| place.end <= columns));
            }
        }
        let at_80: Vec<String> = tabs(80, View::Overview).into_iter().map(|t| t.1).collect();
        assert!(at_80.contains(&"8 Tail".to_owned()), "{at_80:?}");
    }
}
