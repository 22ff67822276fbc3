//! The closed list of what can happen to the dashboard, and of what it wants done. Plain data; nothing here does it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::control::protocol::{Answer, Browse, NameKind, Request, Tail};

/// A key, as far as the keymap knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A character, shifted as typed.
    Char(char),
    /// Control with a letter, in lower case.
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Backspace,
}

/// What a mouse did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mouse {
    /// The left button at a column and line.
    Click { column: u16, line: u16 },
    /// The wheel, away from the user.
    WheelUp,
    /// The wheel, towards the user.
    WheelDown,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted; only a filter takes it.
    Paste(String),
    /// The mouse.
    Mouse(Mouse),
    /// The terminal has another size: columns and lines.
    Resize(u16, u16),
    /// Time passed.
    Tick {
        /// The wall clock.
        now: Timestamp,
        /// Since the dashboard began, by a clock that never steps.
        elapsed: Duration,
    },
    /// The service answers.
    Regained,
    /// The service does not answer.
    Lost(Refused),
    /// A question was answered, or refused.
    Answered {
        /// As it was asked.
        question: Question,
        /// What came.
        answer: Result<Box<Answer>, Refused>,
    },
    /// What the operator wanted done was done, or refused.
    Acted {
        /// As it was wanted.
        deed: Deed,
        /// What came.
        answer: Result<Box<Answer>, Refused>,
    },
    /// Lines of the tail.
    Tail(Vec<Tail>),
}

/// Why something was not answered or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// One sentence.
    pub(super) message: String,
    /// What to try; may be empty.
    pub(super) remedy: String,
}

/// What the dashboard asks by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// How is everything?
    Status,
    /// A page of sessions.
    Sessions(Browse),
    /// A page of names.
    Names(NameKind, Browse),
    /// Everything of one address.
    Explain(IpAddr),
}

impl Question {
    /// As it crosses the socket.
    pub(super) fn request(&self) -> Request {
        match self {
            Self::Status => Request::Status,
            Self::Sessions(page) => Request::Sessions(page.clone()),
            Self::Names(kind, page) => Request::Names {
                kind: *kind,
                page: page.clone(),
            },
            Self::Explain(address) => Request::Query {
                who: address.to_string(),
                point: None,
                explain: true,
            },
        }
    }
}

/// What an operator has done; each waits on a connection of its own, because a probe may take minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Try a source, or ask a computer who is signed on.
    Probe(String),
    /// End the sessions at an address.
    LogOff(IpAddr),
    /// Tell an enforcement point everything again.
    Refresh(String),
}

impl Deed {
    /// As it crosses the socket.
    pub(super) fn request(&self) -> Request {
        match self {
            Self::Probe(target) => Request::Probe {
                target: target.clone(),
            },
            Self::LogOff(address) => Request::LogOff {
                who: address.to_string(),
            },
            Self::Refresh(point) => Request::Refresh {
                point: point.clone(),
            },
        }
    }
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask the service.
    Ask(Question),
    /// Have the service do something.
    Act(Deed),
    /// Listen to the tail, or stop listening.
    Listen(bool),
    /// Put text into the terminal's clipboard.
    Copy(String),
    /// Draw every cell again.
    Redraw,
    /// Give the terminal back until the shell continues us.
    Suspend,
    /// End.
    Quit,
}
