//! The screens as they look, and what happens to them.

use std::time::Duration;

use super::fixtures::{
    address, ascii, at, busy, connected, first_page, hear, names, query, quiet_status, sessions,
    status, tail, utf8, with,
};
use super::keymap::KEYMAP;
use super::message::{Deed, Effect, Key, Message, Mouse, Question, Refused};
use super::model::{Confirm, Model, View};
use super::theme::Theme;
use super::update::update;
use super::view::drawn;
use crate::control::protocol::{
    Answer, ClusterStatus, From, LogOff, MemberStatus, NameKind, Probed, ProbedStep, SessionsPage,
    Sort, Status, Tail,
};

pub(super) const SMALL: (u16, u16) = (80, 24);
pub(super) const LARGE: (u16, u16) = (120, 40);

/// The screen as text, without blanks at line ends.
pub(super) fn screen(model: &Model) -> String {
    let buffer = drawn(model);
    let width = usize::from(buffer.area.width);
    let mut text = String::new();
    for line in buffer.content().chunks(width) {
        let mut shown = String::new();
        let mut skip = 0;
        for cell in line {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            shown.push_str(cell.symbol());
            skip = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn press(model: &mut Model, key: Key) -> Vec<Effect> {
    update(model, Message::Key(key))
}

pub(super) fn type_text(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|c| press(model, Key::Char(c)))
        .collect()
}

pub(super) fn tick(model: &mut Model, seconds: u64) -> Vec<Effect> {
    let offset = i64::try_from(seconds).expect("few");
    update(
        model,
        Message::Tick {
            now: at(offset),
            elapsed: Duration::from_secs(seconds),
        },
    )
}

pub(super) fn lost(model: &mut Model) {
    update(
        model,
        Message::Lost(Refused {
            message: "nobody answers at /run/jims/control.sock".into(),
            remedy: "start it: systemctl start jims".into(),
        }),
    );
}

/// Shows a view by its key.
pub(super) fn go(model: &mut Model, view: View) {
    let number = u32::try_from(view.number()).expect("few");
    let number = char::from_digit(number, 10).expect("a digit");
    press(model, Key::Char(number));
}

/// The view, with whatever its lists would have been told.
pub(super) fn show(model: &mut Model, view: View) {
    go(model, view);
    match view {
        View::Sessions => {
            let asked = Question::Sessions(first_page(model));
            hear(model, asked, Answer::Sessions(sessions()));
        }
        View::Names => {
            let asked = Question::Names(NameKind::Users, first_page(model));
            hear(model, asked, Answer::Names(names(NameKind::Users)));
        }
        View::Tail => {
            update(model, Message::Tail(tail()));
        }
        _ => {}
    }
}

pub(super) fn open_session(model: &mut Model) {
    show(model, View::Sessions);
    press(model, Key::Enter);
    let asked = Question::Explain(address("10.1.2.50"));
    hear(model, asked, Answer::Query(Box::new(query())));
}

#[test]
fn every_view_looks_as_it_should() {
    for (size, label) in [(SMALL, "80x24"), (LARGE, "120x40")] {
        for view in View::ALL {
            let mut model = busy(size);
            show(&mut model, view);
            let name = format!("{}_{label}", view.short().to_lowercase());
            insta::assert_snapshot!(name, screen(&model));
        }
    }
}

#[test]
fn every_detail_looks_as_it_should() {
    for (size, label) in [(SMALL, "80x24"), (LARGE, "120x40")] {
        let mut model = busy(size);
        open_session(&mut model);
        insta::assert_snapshot!(format!("detail_session_{label}"), screen(&model));
        press(&mut model, Key::End);
        insta::assert_snapshot!(format!("detail_session_end_{label}"), screen(&model));
        for view in [View::Overview, View::Producers, View::Points, View::Links] {
            let mut model = busy(size);
            show(&mut model, view);
            press(&mut model, Key::Enter);
            let name = format!("detail_{}_{label}", view.short().to_lowercase());
            insta::assert_snapshot!(name, screen(&model));
        }
    }
}

#[test]
fn devices_and_groups_have_their_columns() {
    let mut model = busy(SMALL);
    show(&mut model, View::Names);
    for kind in [NameKind::Devices, NameKind::Groups] {
        press(&mut model, Key::Right);
        let asked = Question::Names(kind, first_page(&model));
        hear(&mut model, asked, Answer::Names(names(kind)));
        insta::assert_snapshot!(format!("{kind:?}_80x24").to_lowercase(), screen(&model));
    }
}

#[test]
fn without_colour_and_utf8_it_is_ascii() {
    for view in View::ALL {
        let mut model = busy(SMALL);
        model.theme = ascii();
        show(&mut model, view);
        let text = screen(&model);
        assert!(text.is_ascii(), "{text}");
        let buffer = drawn(&model);
        let plain = ratatui::style::Color::Reset;
        assert!(
            buffer
                .content()
                .iter()
                .all(|cell| cell.fg == plain && cell.bg == plain)
        );
    }
    let mut model = busy(SMALL);
    model.theme = ascii();
    insta::assert_snapshot!("overview_ascii", screen(&model));
    show(&mut model, View::Sessions);
    insta::assert_snapshot!("sessions_ascii", screen(&model));
}

pub(super) fn no_sessions() -> SessionsPage {
    SessionsPage {
        rows: Vec::new(),
        total: 0,
        before: 0,
        first: String::new(),
        last: String::new(),
        took_ms: 1,
    }
}

#[test]
fn an_empty_site_says_what_to_do() {
    let mut text = String::new();
    for view in View::ALL {
        if view == View::Help {
            continue;
        }
        let mut model = with(quiet_status(), utf8(), SMALL);
        go(&mut model, view);
        if view == View::Sessions {
            let asked = Question::Sessions(first_page(&model));
            hear(&mut model, asked, Answer::Sessions(no_sessions()));
        }
        text.push_str(&screen(&model));
    }
    insta::assert_snapshot!("empty", text);
}

#[test]
fn loading_lost_and_refused_are_designed() {
    let model = connected(utf8(), SMALL);
    insta::assert_snapshot!("loading", screen(&model));
    let mut model = connected(utf8(), SMALL);
    lost(&mut model);
    tick(&mut model, 12);
    insta::assert_snapshot!("never_connected", screen(&model));
    let mut model = busy(SMALL);
    lost(&mut model);
    tick(&mut model, 132);
    insta::assert_snapshot!("disconnected", screen(&model));
    let mut model = busy(SMALL);
    press(&mut model, Key::Char('4'));
    let refused = Message::Answered {
        question: Question::Sessions(first_page(&model)),
        answer: Err(Refused {
            message: "the filter is too long".into(),
            remedy: "shorten it".into(),
        }),
    };
    update(&mut model, refused);
    insta::assert_snapshot!("refused", screen(&model));
}

#[test]
fn a_question_a_notice_and_frozen_are_seen() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('l'));
    insta::assert_snapshot!("log_off_question", screen(&model));
    press(&mut model, Key::Char('n'));
    press(&mut model, Key::Char('c'));
    press(&mut model, Key::Char('f'));
    tick(&mut model, 134);
    insta::assert_snapshot!("frozen", screen(&model));
}

#[test]
fn a_small_screen_says_so_and_any_size_is_drawn() {
    for columns in [1, 13, 59, 60, 61, 79, 100, 137] {
        for lines in [1, 3, 15, 16, 17, 19, 20, 22, 45] {
            let mut model = busy((columns, lines));
            for view in View::ALL {
                show(&mut model, view);
                let text = screen(&model);
                if (columns < 60 || lines < 16) && columns > 12 {
                    assert!(text.starts_with("60x16 needed"), "{text}");
                }
            }
            open_session(&mut model);
            drawn(&model);
        }
    }
}

#[test]
fn every_key_is_in_help() {
    let mut model = busy((120, 160));
    show(&mut model, View::Help);
    let text = screen(&model);
    for binding in KEYMAP {
        let line = format!("  {:<13}{}", binding.shown, binding.help);
        let line = line.get(..line.len().min(90)).expect("ASCII");
        assert!(text.contains(line), "{line}");
    }
}

/// A name that would clear the screen, turn text round, ring and break lines.
const EVIL: &str = "e\u{1b}[2J\u{202e}vil\u{7}\n\u{9b}31m";

/// The same thing, with every name of somebody or something in it replaced, through JSON, so that none is forgotten.
fn hostile<T: serde::Serialize + serde::de::DeserializeOwned>(fixture: &T) -> T {
    let evil = serde_json::to_string(EVIL).expect("json");
    let evil = evil.trim_matches('"');
    let mut text = serde_json::to_string(fixture).expect("json");
    for name in [
        "alice",
        "vpn",
        "dc1",
        "hq",
        "corp.example.com",
        "excluded-user",
    ] {
        text = text.replace(name, evil);
    }
    serde_json::from_str(&text).expect("the same")
}

/// A view and its detail, of a site whose names are all hostile, and what is copied there.
fn hostile_screens(view: View) -> String {
    let mut model = with(hostile(&status()), utf8(), LARGE);
    go(&mut model, view);
    let asked = Question::Sessions(first_page(&model));
    let page = Answer::Sessions(hostile(&sessions()));
    hear(&mut model, asked, page);
    let asked = Question::Names(NameKind::Users, first_page(&model));
    hear(
        &mut model,
        asked,
        Answer::Names(hostile(&names(NameKind::Users))),
    );
    update(&mut model, Message::Tail(hostile(&tail())));
    let mut shown = screen(&model);
    press(&mut model, Key::Enter);
    let asked = Question::Explain(address("10.1.2.50"));
    let found = Answer::Query(Box::new(hostile(&query())));
    hear(&mut model, asked, found);
    shown.push_str(&screen(&model));
    for key in ['c', 'y'] {
        for effect in press(&mut model, Key::Char(key)) {
            if let Effect::Copy(text) = effect {
                shown.push_str(&text.replace('\t', " "));
            }
        }
        shown.push_str(&screen(&model));
    }
    shown
}

#[test]
fn nothing_from_outside_reaches_the_screen_as_it_came() {
    for view in View::ALL {
        let shown = hostile_screens(view);
        let escaped = view == View::Help || shown.contains("\\u{1b}[2J");
        assert!(escaped, "{view:?} shows it, escaped");
        let disturbing = shown
            .chars()
            .filter(|c| *c != '\n' && crate::text::disturbs(*c));
        assert_eq!(disturbing.count(), 0, "{view:?}");
    }
}

#[test]
fn typing_a_filter_asks_as_it_grows_and_digits_are_text_then() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('/'));
    let asked = type_text(&mut model, "ali 4");
    assert_eq!(model.view, View::Sessions, "4 is a character now");
    let Some(Effect::Ask(Question::Sessions(first))) = asked.first() else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (first.filter.as_str(), asked.len()),
        ("a", 1),
        "one question at a time"
    );
    let first = first.clone();
    let message = Message::Answered {
        question: Question::Sessions(first),
        answer: Ok(Box::new(Answer::Sessions(sessions()))),
    };
    let next = update(&mut model, message);
    assert!(matches!(next.as_slice(), [Effect::Ask(Question::Sessions(b))] if b.filter == "ali 4"));
    press(&mut model, Key::Backspace);
    press(&mut model, Key::Enter);
    assert_eq!(
        (model.sessions.filter.as_str(), model.typing),
        ("ali ", false)
    );
    press(&mut model, Key::Esc);
    assert_eq!(model.sessions.filter, "", "Esc clears it");
}

#[test]
fn sorting_asks_from_the_start() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    let asked = press(&mut model, Key::Char('s'));
    assert!(matches!(
        asked.as_slice(),
        [Effect::Ask(Question::Sessions(b))] if b.sort == Sort::Address && b.from == From::Start
    ));
    press(&mut model, Key::Char('r'));
    assert!(model.sessions.reverse);
}

#[test]
fn a_visible_page_is_asked_again_no_sooner_than_it_is_worth() {
    let mut model = busy(SMALL);
    model.elapsed = Duration::from_secs(200);
    press(&mut model, Key::Char('4'));
    let dear = SessionsPage {
        took_ms: 80,
        ..sessions()
    };
    let asked = Question::Sessions(first_page(&model));
    hear(&mut model, asked, Answer::Sessions(dear));
    let asks = |effects: &[Effect]| {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Ask(Question::Sessions(_))))
    };
    assert!(!asks(&tick(&mut model, 203)));
    assert!(asks(&tick(&mut model, 204)), "50 times 80 ms");
    assert!(!asks(&tick(&mut model, 300)), "one is open");
}

#[test]
fn frozen_shows_what_was_there_and_takes_what_comes() {
    let mut model = busy(SMALL);
    press(&mut model, Key::Char(' '));
    let before = screen(&model);
    let mut later = status();
    later.totals.sessions = 7;
    hear(
        &mut model,
        Question::Status,
        Answer::Status(Box::new(later)),
    );
    assert_eq!(screen(&model), before);
    press(&mut model, Key::Char('f'));
    assert!(screen(&model).contains("Sessions 7 "));
}

#[test]
fn a_lost_connection_is_asked_everything_again_when_it_is_back() {
    let mut model = busy(SMALL);
    open_session(&mut model);
    tick(&mut model, 200);
    lost(&mut model);
    assert_eq!(tick(&mut model, 201), [], "nobody is asked meanwhile");
    assert!(screen(&model).contains("alice"), "the last data stay");
    let asked = update(&mut model, Message::Regained);
    assert!(asked.contains(&Effect::Ask(Question::Status)));
    assert!(asked.contains(&Effect::Ask(Question::Explain(address("10.1.2.50")))));
    assert!(
        asked
            .iter()
            .any(|e| matches!(e, Effect::Ask(Question::Sessions(_))))
    );
}

#[test]
fn what_was_asked_while_nobody_answered_is_asked_again() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    lost(&mut model);
    let asked = press(&mut model, Key::PageDown);
    assert_eq!(asked.len(), 1, "it goes nowhere");
    let asked = update(&mut model, Message::Regained);
    assert!(
        asked
            .iter()
            .any(|effect| matches!(effect, Effect::Ask(Question::Sessions(_))))
    );
}

#[test]
fn details_opened_in_haste_are_asked_one_after_the_other() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    assert_eq!(press(&mut model, Key::Enter).len(), 1);
    press(&mut model, Key::Esc);
    press(&mut model, Key::Down);
    assert_eq!(press(&mut model, Key::Enter), [], "one is open");
    let message = Message::Answered {
        question: Question::Explain(address("10.1.2.50")),
        answer: Ok(Box::new(Answer::Query(Box::new(query())))),
    };
    let asked = update(&mut model, message);
    let next = Question::Explain(address("10.1.2.51"));
    assert_eq!(asked, [Effect::Ask(next)]);
}

#[test]
fn a_log_off_asks_first() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('l'));
    assert_eq!(press(&mut model, Key::Char('q')), [], "only yes or no");
    assert_eq!(press(&mut model, Key::Esc), []);
    press(&mut model, Key::Char('l'));
    assert!(matches!(&model.confirm, Some(Confirm::LogOff(_, who)) if who == "alice"));
    let deed = Deed::LogOff(address("10.1.2.50"));
    assert_eq!(
        press(&mut model, Key::Char('y')),
        [Effect::Act(deed.clone())]
    );
    let log_off = LogOff {
        who: "10.1.2.50".into(),
        ended: Vec::new(),
    };
    let answer = Ok(Box::new(Answer::LogOff(log_off)));
    update(&mut model, Message::Acted { deed, answer });
    assert!(screen(&model).contains("there was no session at 10.1.2.50"));
    assert!(model.doing.is_empty());
}

#[test]
fn a_probe_opens_the_detail_and_its_steps_appear_there() {
    let mut model = busy(SMALL);
    show(&mut model, View::Producers);
    assert_eq!(
        press(&mut model, Key::Char('p')),
        [],
        "a syslog source cannot be asked"
    );
    assert!(model.detail.is_none());
    assert!(!screen(&model).contains("p probe"), "nor is it offered");
    press(&mut model, Key::Down);
    press(&mut model, Key::Down);
    let deed = Deed::Probe("dc1".into());
    assert_eq!(
        press(&mut model, Key::Char('p')),
        [Effect::Act(deed.clone())]
    );
    assert_eq!(press(&mut model, Key::Char('p')), [], "it runs");
    let step = |name: &str, ok| ProbedStep {
        name: name.into(),
        ok,
        ms: 3,
        detail: "seen".into(),
        remedy: if ok { "" } else { "add the right" }.into(),
    };
    let probed = Probed {
        target: "dc1".into(),
        kind: "event-source".into(),
        ok: false,
        answer: None,
        users: Vec::new(),
        steps: vec![step("name", true), step("rights", false)],
    };
    let answer = Ok(Box::new(Answer::Probe { probed }));
    update(&mut model, Message::Acted { deed, answer });
    assert!(screen(&model).contains("dc1: rights does not work: seen"));
    press(&mut model, Key::End);
    assert!(screen(&model).contains("try: add the right"));
}

#[test]
fn names_lead_to_their_sessions_and_back() {
    let mut model = busy(SMALL);
    show(&mut model, View::Names);
    press(&mut model, Key::Enter);
    assert_eq!(model.view, View::Sessions);
    assert_eq!(
        model.sessions.filter,
        "user:=alice domain:=corp.example.com"
    );
    press(&mut model, Key::Esc);
    assert_eq!(model.view, View::Names, "the way back is to the name");
    assert_eq!(model.sessions.filter, "");
    press(&mut model, Key::Enter);
    press(&mut model, Key::Char('/'));
    type_text(&mut model, " x");
    press(&mut model, Key::Enter);
    press(&mut model, Key::Esc);
    assert_eq!(
        model.view,
        View::Sessions,
        "a filter of one's own goes first"
    );
    press(&mut model, Key::Esc);
    assert_eq!(model.view, View::Names);
    model.kind = NameKind::Groups;
    let asked = Question::Names(NameKind::Groups, first_page(&model));
    press(&mut model, Key::Right);
    press(&mut model, Key::Left);
    hear(&mut model, asked, Answer::Names(names(NameKind::Groups)));
    press(&mut model, Key::Enter);
    assert_eq!(
        model.sessions.filter,
        "group:\"corp.example.com\\Domain Users\""
    );
}

#[test]
fn the_tail_is_listened_to_only_while_it_is_shown() {
    let mut model = busy(SMALL);
    assert!(press(&mut model, Key::Char('8')).contains(&Effect::Listen(true)));
    update(&mut model, Message::Tail(vec![Tail::Skipped { count: 9 }]));
    assert!(screen(&model).contains("9 pieces skipped"));
    assert!(press(&mut model, Key::Char('1')).contains(&Effect::Listen(false)));
}

#[test]
fn quitting_asks_only_if_more_ends_with_it() {
    let mut model = busy(SMALL);
    assert_eq!(press(&mut model, Key::Char('q')), [Effect::Quit]);
    assert_eq!(press(&mut model, Key::Ctrl('c')), [Effect::Quit]);
    model.setting.ends = Some("the service".into());
    assert_eq!(press(&mut model, Key::Char('q')), []);
    assert!(screen(&model).contains("Stop the service and leave?"));
    assert_eq!(press(&mut model, Key::Char('n')), []);
    assert_eq!(press(&mut model, Key::Ctrl('c')), []);
    assert_eq!(
        press(&mut model, Key::Ctrl('c')),
        [Effect::Quit],
        "twice means it"
    );
}

#[test]
fn a_click_chooses_a_view_then_a_row_then_opens_it() {
    let mut model = busy(SMALL);
    let click = |model: &mut Model, column, line| {
        update(model, Message::Mouse(Mouse::Click { column, line }))
    };
    click(&mut model, 15, 1);
    assert_eq!(model.view, View::Producers);
    click(&mut model, 10, 7);
    assert_eq!(model.cursor(View::Producers).selected, 1);
    click(&mut model, 10, 7);
    assert!(model.detail.is_some());
    press(&mut model, Key::Esc);
    click(&mut model, 10, 20);
    assert_eq!(model.cursor(View::Producers).selected, 1, "there is no row");
    update(&mut model, Message::Mouse(Mouse::WheelUp));
    assert_eq!(model.cursor(View::Producers).selected, 0);
}

#[test]
fn colours_are_of_the_sixteen() {
    let mut model = busy(LARGE);
    model.theme = Theme {
        colour: true,
        utf8: true,
    };
    for view in View::ALL {
        show(&mut model, view);
        for cell in drawn(&model).content() {
            for colour in [cell.fg, cell.bg] {
                let rich = matches!(
                    colour,
                    ratatui::style::Color::Rgb(..) | ratatui::style::Color::Indexed(_)
                );
                assert!(!rich);
            }
        }
    }
}

#[test]
fn the_overview_has_a_line_of_the_cluster_if_there_is_one() {
    let line = |cluster: Option<ClusterStatus>| {
        let shown = with(
            Status {
                cluster,
                ..status()
            },
            utf8(),
            SMALL,
        );
        let screen = screen(&shown);
        let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
        assert!(lines[8].contains("Health"), "{screen}");
        lines[9].clone()
    };
    assert_eq!(line(None), "");
    let member = |alive| MemberStatus {
        alive,
        ..MemberStatus::default()
    };
    let cluster = ClusterStatus {
        state: "following".into(),
        behind: 1,
        members: vec![member(true), member(false), member(true)],
        ..ClusterStatus::default()
    };
    assert_eq!(
        line(Some(cluster)).trim(),
        "Cluster     ● following · 2 of 3 members there · 1 message behind"
    );
}
