//! What an operator relies on: nothing is done unseen, what is not known is not called good, every key answers.

use super::fixtures::{address, busy, first_page, hear, names, query, status, tail, utf8, with};
use super::message::{Deed, Effect, Key, Message, Mouse, Question, Refused};
use super::model::{Model, View};
use super::tests::{
    LARGE, SMALL, go, lost, no_sessions, open_session, press, screen, show, tick, type_text,
};
use super::update::update;
use super::view::drawn;
use crate::control::protocol::{Answer, LogOff, NameKind, NamesPage, SourceStatus};

const SMALLER: (u16, u16) = (20, 5);

fn resize(model: &mut Model, size: (u16, u16)) -> Vec<Effect> {
    update(model, Message::Resize(size.0, size.1))
}

/// A line of the screen.
fn line(model: &Model, number: usize) -> String {
    let text = screen(model);
    text.lines().nth(number).unwrap_or_default().to_owned()
}

/// The line of the Overview that says how things are.
fn health(model: &Model) -> String {
    line(model, 8)
}

fn notice_line(model: &Model) -> String {
    line(model, usize::from(model.size.1) - 2)
}

fn done(model: &mut Model, deed: Deed, answer: Answer) -> Vec<Effect> {
    let answer = Ok(Box::new(answer));
    update(model, Message::Acted { deed, answer })
}

fn ended() -> (Deed, Answer) {
    let log_off = LogOff {
        who: "10.1.2.50".into(),
        ended: Vec::new(),
    };
    let deed = Deed::LogOff(address("10.1.2.50"));
    (deed, Answer::LogOff(log_off))
}

#[test]
fn nothing_is_done_that_is_not_seen() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('l'));
    resize(&mut model, SMALLER);
    assert_eq!(model.confirm, None, "the question is not seen any more");
    let view = model.view;
    for key in ['l', 'y', '1', 'p', 'r', 'f', '/', 'x', 's'] {
        assert_eq!(press(&mut model, Key::Char(key)), [], "{key}");
    }
    press(&mut model, Key::Enter);
    assert!(model.confirm.is_none() && model.detail.is_none());
    assert!(!model.typing && model.frozen.is_none() && model.view == view);
    let click = Mouse::Click { column: 3, line: 1 };
    assert_eq!(update(&mut model, Message::Mouse(click)), []);
    assert_eq!(model.view, view);
    assert_eq!(line(&model, 0), "60x16 needed, this");
    assert_eq!(line(&model, 1), "is 20x5");
    assert_eq!(press(&mut model, Key::Ctrl('z')), [Effect::Suspend]);
    assert_eq!(press(&mut model, Key::Ctrl('c')), [Effect::Quit]);
    assert_eq!(press(&mut model, Key::Char('q')), [Effect::Quit]);
    resize(&mut model, SMALL);
    assert!(!screen(&model).contains("Log off"));
}

#[test]
fn where_more_ends_with_it_a_small_screen_asks_too() {
    for size in [SMALLER, (20, 1)] {
        let mut model = busy(size);
        model.setting.ends = Some("the demo".into());
        assert_eq!(press(&mut model, Key::Char('q')), []);
        assert!(screen(&model).starts_with("q again stops the"), "it asks");
        assert_eq!(press(&mut model, Key::Char('y')), [], "only the same again");
        assert_eq!(model.confirm, None);
        assert_eq!(press(&mut model, Key::Char('q')), []);
        assert_eq!(press(&mut model, Key::Char('q')), [Effect::Quit]);
    }
}

#[test]
fn what_nobody_heard_is_a_line_of_the_tail() {
    let mut model = busy(SMALL);
    tick(&mut model, 200);
    show(&mut model, View::Tail);
    tick(&mut model, 210);
    press(&mut model, Key::Char('1'));
    tick(&mut model, 290);
    press(&mut model, Key::Char('8'));
    update(&mut model, Message::Tail(tail()));
    let gap = "not listening from 16:03:30Z to 16:04:50Z";
    assert!(screen(&model).contains(gap));
    press(&mut model, Key::Char('/'));
    type_text(&mut model, "nobody-at-all");
    let text = screen(&model);
    assert!(text.contains(gap), "a filter keeps it");
    assert!(text.contains(" 0 of 12 lines · "), "{text}");
    // The service goes and comes: nobody listened either.
    lost(&mut model);
    tick(&mut model, 300);
    update(&mut model, Message::Regained);
    assert!(screen(&model).contains("not listening from 16:04:50Z to 16:05:00Z"));
}

#[test]
fn the_tail_says_whether_it_follows() {
    let mut model = busy(SMALL);
    show(&mut model, View::Tail);
    press(&mut model, Key::Up);
    assert!(screen(&model).contains("6 lines · 1,204 pieces skipped · paused, End follows"));
    press(&mut model, Key::End);
    assert!(screen(&model).contains("· following"));
}

#[test]
fn no_deed_vanishes_while_nobody_answers() {
    let refused = "not done: the service does not answer";
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('l'));
    lost(&mut model);
    assert_eq!(press(&mut model, Key::Char('y')), [], "it is too late");
    assert!(notice_line(&model).contains(refused));
    assert!(model.doing.is_empty());
    for (view, key) in [
        (View::Sessions, 'l'),
        (View::Sessions, 'p'),
        (View::Producers, 'p'),
        (View::Points, 'r'),
    ] {
        let mut model = busy(SMALL);
        show(&mut model, view);
        lost(&mut model);
        assert_eq!(press(&mut model, Key::Char(key)), []);
        assert!(notice_line(&model).contains(refused), "{key}");
        assert!(model.confirm.is_none() && model.detail.is_none());
        tick(&mut model, 200);
        assert!(notice_line(&model).contains("nobody answers"), "then why");
    }
}

#[test]
fn a_deed_that_fails_with_the_link_is_told() {
    let mut model = busy(SMALL);
    lost(&mut model);
    let answer = Err(Refused {
        message: "the connection ended".into(),
        remedy: String::new(),
    });
    let deed = ended().0;
    update(&mut model, Message::Acted { deed, answer });
    assert!(notice_line(&model).contains("the connection ended"));
}

#[test]
fn nothing_is_called_well_while_nobody_answers() {
    let mut calm = status();
    calm.attention.clear();
    calm.producers.retain(|p| p.state == "active");
    calm.enforcement_points.clear();
    calm.pushes.clear();
    calm.collectors.clear();
    let mut model = with(calm, utf8(), SMALL);
    assert!(health(&model).contains("● all is well"));
    lost(&mut model);
    tick(&mut model, 60);
    let text = screen(&model);
    assert_eq!(text.matches("✗ unknown since 16:00:00Z").count(), 2);
    assert!(!text.contains("all is well") && !text.contains("nothing needs"));
    assert!(text.contains("○ dc1") && !text.contains('●'), "{text}");
    let buffer = drawn(&model);
    let good = ratatui::style::Color::Green;
    assert!(buffer.content().iter().all(|cell| cell.fg != good));
    let bad = (buffer.content().iter()).filter(|cell| cell.fg == ratatui::style::Color::Red);
    assert!(bad.count() > 40, "it is seen");
}

#[test]
fn a_filter_that_nobody_answers_heads_no_rows() {
    for key in ['/', 's', 'r'] {
        let mut model = busy(SMALL);
        show(&mut model, View::Sessions);
        lost(&mut model);
        press(&mut model, Key::Char(key));
        if key == '/' {
            type_text(&mut model, "b");
        }
        let text = screen(&model);
        assert!(!text.contains("10.1.2.50"), "{text}");
        assert!(text.contains("The service does not answer."));
        let asked = update(&mut model, Message::Regained);
        let asks = |effect: &Effect| matches!(effect, Effect::Ask(Question::Sessions(_)));
        assert!(asked.iter().any(asks));
    }
}

#[test]
fn the_marks_of_orders_mean_one_direction() {
    let mut model = busy(LARGE);
    show(&mut model, View::Sessions);
    let head = |model: &Model| line(model, 5);
    assert!(!head(&model).contains(['▴', '▾']), "no column shows it");
    for title in ["ADDRESS▴", "USER▴", "DEVICE▴", "SINCE▾", "ENDS▴"] {
        press(&mut model, Key::Char('s'));
        assert!(head(&model).contains(title), "{}", head(&model));
    }
    press(&mut model, Key::Char('r'));
    assert!(head(&model).contains("ENDS▾"));
    show(&mut model, View::Names);
    assert!(head(&model).contains("NAME▴"));
    press(&mut model, Key::Char('s'));
    assert!(head(&model).contains("SESSIONS▾"), "the most first");
    press(&mut model, Key::Char('r'));
    assert!(head(&model).contains("SESSIONS▴"));
}

#[test]
fn who_is_logged_off_is_seen_on_every_screen() {
    for columns in [60, 70, 80, 120] {
        let mut model = busy((columns, 24));
        show(&mut model, View::Sessions);
        for _ in 0..3 {
            press(&mut model, Key::Down);
        }
        press(&mut model, Key::Char('l'));
        let asked = notice_line(&model);
        assert!(asked.contains("Log off 山 田 太 郎") || asked.contains("Log off 山田太郎"));
        assert!(asked.contains("at 2001:db8:0:17::2a?"), "{asked}");
        assert!(asked.ends_with(['?', '.']), "nothing is cut: {asked}");
    }
}

#[test]
fn what_a_log_off_changed_is_asked_at_once() {
    let mut model = busy(SMALL);
    open_session(&mut model);
    let (deed, answer) = ended();
    let asked = done(&mut model, deed, answer);
    let explain = Effect::Ask(Question::Explain(address("10.1.2.50")));
    assert!(asked.contains(&explain), "{asked:?}");
    let asks = |effect: &Effect| matches!(effect, Effect::Ask(Question::Sessions(_)));
    assert!(asked.iter().any(asks), "{asked:?}");
    // While an older question is open, the answer to it may be from before.
    let (deed, answer) = ended();
    let asked = done(&mut model, deed, answer);
    assert!(!asked.contains(&explain), "{asked:?}");
    let message = Message::Answered {
        question: Question::Explain(address("10.1.2.50")),
        answer: Ok(Box::new(Answer::Query(Box::new(query())))),
    };
    assert_eq!(update(&mut model, message), [explain]);
}

/// View 5 with somebody who has no session selected.
fn at_a_name_without_sessions() -> Model {
    let mut model = busy(SMALL);
    show(&mut model, View::Names);
    press(&mut model, Key::Down);
    press(&mut model, Key::Down);
    model
}

#[test]
fn a_name_without_a_session_says_what_is_known_and_leads_back() {
    let mut model = at_a_name_without_sessions();
    let asked = press(&mut model, Key::Enter);
    let [Effect::Ask(question)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    hear(
        &mut model,
        question.clone(),
        Answer::Sessions(no_sessions()),
    );
    let text = screen(&model);
    for said in ["bob has no session.", "gone", "14", "jims query-user bob"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    press(&mut model, Key::Esc);
    assert_eq!(model.view, View::Names);
    assert_eq!(model.names().selected, 2, "the row is still selected");
    assert_eq!(model.sessions.filter, "");
    // A view that was chosen is no way back.
    press(&mut model, Key::Enter);
    press(&mut model, Key::Char('1'));
    press(&mut model, Key::Char('4'));
    assert!(model.opened().is_none());
}

#[test]
fn a_hostile_name_without_a_session_is_no_command() {
    let mut model = busy(SMALL);
    go(&mut model, View::Names);
    let mut page: NamesPage = names(NameKind::Users);
    page.rows.truncate(1);
    for row in &mut page.rows {
        row.name = "x'; reboot\u{1b}[2J".into();
    }
    let asked = Question::Names(NameKind::Users, first_page(&model));
    hear(&mut model, asked, Answer::Names(page));
    let asked = press(&mut model, Key::Enter);
    let [Effect::Ask(question)] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    hear(
        &mut model,
        question.clone(),
        Answer::Sessions(no_sessions()),
    );
    let text = screen(&model);
    assert!(
        text.contains("jims query-user 'x'\\''; reboot\\u{1b}[2J'"),
        "{text}"
    );
}

#[test]
fn a_probe_is_offered_where_it_can_work() {
    let offered = |model: &Model| screen(model).contains("p probe");
    let mut model = busy(SMALL);
    show(&mut model, View::Producers);
    assert!(!offered(&model), "syslog");
    press(&mut model, Key::Down);
    press(&mut model, Key::Down);
    assert!(offered(&model), "an event source");
    show(&mut model, View::Sessions);
    assert!(!offered(&model), "nothing asks computers");
    let mut asking = status();
    let first = asking.producers.first().cloned();
    asking.producers.extend(first.map(|producer| SourceStatus {
        kind: "pc-probe".into(),
        ..producer
    }));
    let mut model = with(asking, utf8(), SMALL);
    show(&mut model, View::Sessions);
    assert!(offered(&model));
}

#[test]
fn notices_end_with_the_view_and_before_questions() {
    let mut model = busy(SMALL);
    show(&mut model, View::Sessions);
    press(&mut model, Key::Char('y'));
    let said = notice_line(&model);
    assert!(said.contains("10.1.2.50  alice  "), "{said}");
    assert!(!said.contains("\\u{9}"));
    press(&mut model, Key::Char('2'));
    assert_eq!(notice_line(&model), "");
    press(&mut model, Key::Esc);
    press(&mut model, Key::Char('c'));
    press(&mut model, Key::Char('l'));
    press(&mut model, Key::Char('n'));
    assert_eq!(notice_line(&model), "");
}

#[test]
fn health_counts_what_is_not_well() {
    let mut ill = status();
    ill.enforcement_points.clear();
    ill.pushes.clear();
    ill.collectors.clear();
    let model = with(ill, utf8(), SMALL);
    let said = "▲ 4 things need attention · producers 1 of 4 not well";
    assert!(health(&model).contains(said), "{}", health(&model));
    let mut all = status();
    all.directories
        .iter_mut()
        .for_each(|d| d.state = "down".into());
    let model = with(all, utf8(), SMALL);
    let said = "▲ producers, directories, points, collectors not well";
    assert!(health(&model).contains(said), "{}", health(&model));
}

#[test]
fn a_directory_that_is_down_says_why_in_its_row() {
    let mut down = status();
    let fault = down.producers.iter().find_map(|p| p.fault.clone());
    for directory in &mut down.directories {
        directory.state = "down".into();
        directory.fault.clone_from(&fault);
    }
    let mut model = with(down, utf8(), SMALL);
    show(&mut model, View::Directories);
    let text = screen(&model);
    assert!(text.contains("port 514 is in use"), "{text}");
    assert!(!text.contains("1,000,000 users"));
}
