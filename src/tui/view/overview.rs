//! Overview: is all well, how much passes, and what is to be done first.
//!
//! ```text
//!  Sessions 1,204,331   Users 980,112   Devices 1,100,345   Groups 12,400   Domains 3
//!  read from directories: 1,000,000 users, 1,100,000 devices, 12,400 groups
//!
//!  Events    10,012 /s   ▁▂▃▄▅▆▇█▇▆▅▄▃▂▁   2 % changed nothing · 0 batches wait
//!  Lag          84 ms    ▁▁▁▁▂▁▁▁▁▁▁▁▁▁▁   from the event to the answer, longest of 10 s
//!  Health   ▲ 2 things need attention · producers 1 of 4, points 1 of 1 not well
//!  Cluster  ● following · 3 of 4 members there · 0 messages behind
//!  Attention (2)
//!  ▲ syslog `vpn` is down: port 514 is in use                          12 min ago
//!    try free it, or name another port
//!
//!  Producers     4  ✗ vpn  ● dc1  ● dc2  ○ wifi
//!  Directories   1  ● corp
//!  Enforcement   2  ● srx-branch-1  ○ srx-branch-2
//!  Collectors    1  ● hq
//! ```

use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::layout::{self, OVERVIEW_END, OVERVIEW_TOP};
use super::super::model::{Model, View};
use super::super::rows;
use super::super::theme::{Role, role_of};
use super::paint::{Paint, Spans, cut, width};
use super::spark;
use super::words::{clock, many, short};
use crate::control::protocol::{Attention, ClusterStatus, EventTotals, Status};
use crate::text::{count, millis, thousands};

/// The line that says how things are.
const HEALTH: u16 = 5;

/// The line of the cluster, blank without one.
const CLUSTER: u16 = 6;

/// Columns of the labels.
const LABELS: usize = 9;

/// Columns of a number before its diagram.
const NUMBERS: usize = 12;

/// Columns of a diagram at most.
const SPARK: usize = 60;

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Some(status) = &model.status else {
        return;
    };
    totals(status, paint, area);
    flow(model, &status.events, paint, area);
    if !model.is_stale() {
        paint.line(area, HEALTH, health(model, status, usize::from(area.width)));
        if let Some(cluster) = &status.cluster {
            paint.line(area, CLUSTER, cluster_line(model, cluster));
        }
    }
    attention(model, status, paint, area);
    if layout::overview_has_end(area.height) {
        let top = area.height - OVERVIEW_END + 1;
        for (line, spans) in (top..).zip(groups(model, status)) {
            paint.line(area, line, spans);
        }
    }
}

fn totals(status: &Status, paint: &mut Paint<'_>, area: Rect) {
    let theme = paint.theme;
    let totals = &status.totals;
    let mut spans: Spans = Vec::new();
    let gap = if area.width < 100 { "  " } else { "    " };
    let numbers = [
        ("Sessions", totals.sessions),
        ("Users", totals.users),
        ("Devices", totals.devices),
        ("Groups", totals.groups),
        ("Domains", totals.domains),
    ];
    // An address has up to two sessions; said where it fits.
    let of = " (user and device)";
    let taken: usize = (numbers.iter())
        .map(|(label, number)| label.len() + 1 + many(*number).len() + gap.len())
        .sum();
    let fits = taken + of.len() <= usize::from(area.width) + gap.len();
    for (label, number) in numbers {
        let add = vec![
            theme.say(&format!("{label} "), Role::Dim),
            theme.say(&many(number), Role::Strong),
        ];
        if width(&spans) + width(&add) > usize::from(area.width) {
            break;
        }
        spans.extend(add);
        if fits && label == "Sessions" {
            spans.push(theme.say(of, Role::Dim));
        }
        spans.push(theme.say(gap, Role::Plain));
    }
    paint.line(area, 0, spans);
    let read = &status.directory;
    let text = format!(
        "read from directories: {}, {}, {}",
        count(wide(read.users), "user"),
        count(wide(read.devices), "device"),
        count(wide(read.groups), "group"),
    );
    paint.line(area, 1, vec![theme.say(&text, Role::Dim)]);
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn flow(model: &Model, events: &EventTotals, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let dot = theme.marks().dot;
    let idle = |share: u64| format!("{share} % changed nothing");
    let share = events.ignored.saturating_mul(100).checked_div(events.total);
    let mut passed = share.map_or_else(String::new, idle);
    if events.queued > 0 {
        let waiting = count(wide(events.queued), "batch");
        let waiting = waiting.replace("batchs", "batches");
        passed.push_str(&format!(" {dot} {waiting} waiting"));
    }
    let readings = model.held_flow.as_ref().unwrap_or(&model.flow);
    let rate = readings.rate();
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{} /s", thousands(rate)));
    let lag = events.lag_ms.map_or_else(|| "-".to_owned(), millis);
    let told = "longest of 10 s, event to answer";
    for (line, label, number, readings, rest) in [
        (3, "Events", rate, &readings.rates, passed.as_str()),
        (4, "Lag", lag, &readings.lags, told),
    ] {
        let taken = LABELS + NUMBERS + 4 + told.len().max(passed.len());
        let room = usize::from(area.width).saturating_sub(taken).min(SPARK);
        let diagram = spark(model, readings, room);
        let diagram = format!("  {diagram:<room$}  ");
        let spans = vec![
            theme.say(&format!("{label:<LABELS$}"), Role::Dim),
            theme.say(&format!("{number:>NUMBERS$}"), Role::Strong),
            theme.say(&diagram, Role::Good),
            theme.say(rest, Role::Dim),
        ];
        paint.line(area, line, spans);
    }
}

/// How each group of things stands, in one line.
fn health(model: &Model, status: &Status, columns: usize) -> Spans {
    let theme = model.theme;
    let label = theme.say(&format!("{:<LABELS$}   ", "Health"), Role::Dim);
    let troubles: Vec<(String, String)> = members(status)
        .into_iter()
        .filter_map(|(label, members)| {
            let wrong =
                |(_, state): &&(&str, &str)| matches!(role_of(state), Role::Bad | Role::Warn);
            let troubled = members.iter().filter(wrong).count();
            let label = match label {
                "Enforcement" => "points".to_owned(),
                label => label.to_lowercase(),
            };
            let numbers = format!("{label} {troubled} of {}", members.len());
            (troubled > 0).then_some((label, numbers))
        })
        .collect();
    let needs = status.attention.len();
    let (role, said) = match needs {
        0 if troubles.is_empty() => (Role::Good, "all is well".to_owned()),
        0 => (Role::Good, "nothing needs attention".to_owned()),
        1 => (Role::Warn, "1 thing needs attention".to_owned()),
        _ => (Role::Warn, format!("{} things need attention", many(needs))),
    };
    let said = format!("{} {said}", theme.mark(role));
    if troubles.is_empty() {
        return vec![label, theme.say(&said, role)];
    }
    let dot = theme.marks().dot;
    let (labels, numbers): (Vec<String>, Vec<String>) = troubles.into_iter().unzip();
    // The heading below says how many need attention: that goes first, then the numbers.
    let (labels, numbers) = (labels.join(", "), numbers.join(", "));
    let mark = theme.mark(Role::Warn);
    let told = [
        (said, role, format!(" {dot} {numbers} not well")),
        (mark.to_owned(), Role::Warn, format!(" {numbers} not well")),
        (mark.to_owned(), Role::Warn, format!(" {labels} not well")),
    ];
    let lines = told.into_iter().map(|(said, role, rest)| {
        vec![
            label.clone(),
            theme.say(&said, role),
            theme.say(&rest, Role::Plain),
        ]
    });
    let lines: Vec<Spans> = lines.collect();
    let fits = lines.iter().position(|line| width(line) <= columns);
    let chosen = fits.unwrap_or(lines.len() - 1);
    lines.into_iter().nth(chosen).unwrap_or_default()
}

/// What this member is at, and how many there are.
fn cluster_line(model: &Model, cluster: &ClusterStatus) -> Spans {
    let theme = model.theme;
    let dot = theme.marks().dot;
    let role = role_of(&cluster.state);
    let (alive, all) = cluster.present();
    let left = cluster.catching_up.map(|catching_up| catching_up.left);
    let rest = format!(
        " {dot} {} of {} there {dot} {} behind",
        many(alive),
        count(wide(all), "member"),
        count(left.unwrap_or(cluster.behind), "message"),
    );
    let said = format!("{} {}", theme.mark(role), cluster.state);
    vec![
        theme.say(&format!("{:<LABELS$}   ", "Cluster"), Role::Dim),
        theme.say(&theme.clean(&said), role),
        theme.say(&rest, Role::Plain),
    ]
}

fn attention(model: &Model, status: &Status, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let list = &status.attention;
    let top = OVERVIEW_TOP - 1;
    if list.is_empty() && model.is_stale() {
        return;
    }
    if list.is_empty() {
        paint.line(area, top, vec![theme.say("Attention", Role::Heading)]);
        let calm = format!("{} nothing needs attention", theme.marks().good);
        paint.line(area, top + 1, vec![theme.say(&calm, Role::Good)]);
        return;
    }
    let shown = layout::attention_rows(model.size.0, model.size.1);
    let cursor = model.cursor(View::Overview);
    let title = format!("Attention ({})", many(list.len()));
    if !model.is_stale() {
        paint.line(area, top, vec![theme.say(&title, Role::Heading)]);
    }
    if list.len() > shown {
        let place = format!("{} of {}", cursor.selected + 1, list.len());
        paint.right(area, top, vec![theme.say(&place, Role::Dim)]);
    }
    let visible = list.iter().enumerate().skip(cursor.offset).take(shown);
    for (line, (number, item)) in (top + 1..).step_by(2).zip(visible) {
        let selected = number == cursor.selected;
        one(
            model,
            item,
            selected,
            paint,
            Rect {
                y: area.y + line,
                height: 2,
                ..area
            },
        );
    }
}

/// Whether all is well, and what needs attention, when nobody answers.
pub(super) fn unknown(model: &Model, since: Timestamp, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let said = format!("{} unknown since {}", theme.marks().bad, clock(since));
    let health = vec![
        theme.say(&format!("{:<LABELS$}   ", "Health"), Role::Dim),
        theme.say(&said, Role::Bad),
    ];
    paint.line(area, HEALTH, health);
    let known = (model.status.as_ref()).map_or(0, |status| status.attention.len());
    let before = if known > 0 {
        format!(" {} before that ({})", theme.marks().dot, many(known))
    } else {
        String::new()
    };
    let attention = vec![
        theme.say("Attention  ", Role::Heading),
        theme.say(&said, Role::Bad),
        theme.say(&before, Role::Dim),
    ];
    paint.line(area, OVERVIEW_TOP - 1, attention);
}

/// One thing to act on: what it is, and what to try.
fn one(model: &Model, item: &Attention, selected: bool, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let since = item.since.map(|since| short(since, model.seen_at()));
    let since = vec![theme.say(&since.unwrap_or_default(), Role::Dim)];
    let room = usize::from(area.width).saturating_sub(width(&since) + 4);
    let mark = format!("{} ", theme.marks().warn);
    let what = cut(&theme.clean(&item.what), room, theme);
    paint.line(
        area,
        0,
        vec![theme.say(&mark, Role::Warn), theme.say(&what, Role::Plain)],
    );
    paint.right(area, 0, since);
    let mut lines = item.remedy.lines();
    let first = lines.next().unwrap_or_default();
    let more = lines.count();
    let more = if more > 0 {
        format!("  (Enter: {})", count(wide(more), "more line"))
    } else {
        String::new()
    };
    let room = usize::from(area.width).saturating_sub(6 + more.len());
    let remedy = cut(&theme.clean(first), room, theme);
    paint.line(
        area,
        1,
        vec![
            theme.say("  try ", Role::Key),
            theme.say(&remedy, Role::Dim),
            theme.say(&more, Role::Dim),
        ],
    );
    if selected {
        let whole = Rect { height: 1, ..area };
        let style: Style = theme.style(Role::Selected);
        paint.buffer.set_style(whole, style);
    }
}

/// A group's things by name and state, problems first.
type Members<'a> = Vec<(&'a str, &'a str)>;

fn members(status: &Status) -> [(&'static str, Members<'_>); 4] {
    let sources = |view| -> Members<'_> {
        let rows = rows::sources(status, view).into_iter();
        rows.map(|s| (s.name.as_str(), s.state.as_str())).collect()
    };
    let points = rows::points(status).into_iter();
    let links = rows::links(status).into_iter();
    [
        ("Producers", sources(View::Producers)),
        ("Directories", sources(View::Directories)),
        (
            "Enforcement",
            points
                .map(|p| (p.name.as_str(), rows::point_state(p)))
                .collect(),
        ),
        ("Collectors", links.map(|l| (l.name(), l.state())).collect()),
    ]
}

fn groups(model: &Model, status: &Status) -> Vec<Spans> {
    let theme = model.theme;
    let lines = members(status).into_iter().map(|(label, members)| {
        let mut spans = vec![
            theme.say(&format!("{label:<12}"), Role::Dim),
            theme.say(&format!("{:>4}", many(members.len())), Role::Strong),
        ];
        for (name, state) in members.into_iter().take(40) {
            let role = match role_of(state) {
                // It was so when somebody last answered.
                Role::Good if model.is_stale() => Role::Dim,
                role => role,
            };
            spans.push(theme.say(&format!("  {} ", theme.mark(role)), role));
            spans.push(theme.say(name, Role::Plain));
        }
        spans
    });
    lines.collect()
}
