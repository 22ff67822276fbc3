//! Keys, mouse and sizes, from the terminal's own words to ours. One thread reads them, because reading waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use tokio::sync::mpsc::Sender;

use super::message::{Key, Message, Mouse};
use crate::runtime::supervisor::unattended;

/// How long the reader looks before it asks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// The running reader; it ends when this is dropped.
pub(super) struct Input(Arc<AtomicBool>);

impl Drop for Input {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads what is typed until the returned value is dropped.
///
/// The thread is not waited for: on a terminal that is gone, the library's read never returns.
///
/// # Errors
/// The system has no thread to give.
pub(super) fn read(messages: Sender<Message>) -> io::Result<Input> {
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    unattended("dashboard input", move || {
        while !ended.load(Ordering::Relaxed) {
            match event::poll(LOOK).and_then(|ready| ready.then(event::read).transpose()) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let message = message(event);
                    if message.is_some_and(|m| messages.blocking_send(m).is_err()) {
                        return;
                    }
                }
                Err(_gone) => return,
            }
        }
    })?;
    Ok(Input(end))
}

fn message(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => self::key(key).map(Message::Key),
        Event::Resize(columns, lines) => Some(Message::Resize(columns, lines)),
        Event::Paste(text) => Some(Message::Paste(text)),
        Event::Mouse(mouse) => {
            let (column, line) = (mouse.column, mouse.row);
            let mouse = match mouse.kind {
                MouseEventKind::Down(MouseButton::Left) => Mouse::Click { column, line },
                MouseEventKind::ScrollUp => Mouse::WheelUp,
                MouseEventKind::ScrollDown => Mouse::WheelDown,
                _ => return None,
            };
            Some(Message::Mouse(mouse))
        }
        _ => None,
    }
}

fn key(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char(c) if control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Backspace | KeyCode::Delete => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let of = |code, modifiers| key(KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert_eq!(
            of(KeyCode::Char('G'), KeyModifiers::SHIFT),
            Some(Key::Char('G'))
        );
        assert_eq!(
            of(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Key::Ctrl('c'))
        );
        assert_eq!(of(KeyCode::F(1), none), None);
        assert_eq!(of(KeyCode::BackTab, none), Some(Key::BackTab));
    }
}
