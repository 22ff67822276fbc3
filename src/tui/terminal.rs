//! The terminal: taken at the beginning, given back whatever happens: at the end, on a panic, on a suspension.
//!
//! Frames are written whole, so that little flickers over a slow line, and past the process's locked stdout, so that a
//! panic on another thread can still give the terminal back.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::BASE64;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, queue, style};
use rustix::process::{Signal, getpid, kill_process};

use super::model::Model;
use super::view;

/// The longest text that is sent to the terminal's clipboard: terminals take no more than about this.
const MAX_COPY_BYTES: usize = 64 * 1024;

/// Frames up to this size leave in one piece.
const FRAME_BYTES: usize = 64 * 1024;

/// Our terminal.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// stdout is no terminal, or it cannot be set up.
    pub(super) fn take(colour: bool) -> io::Result<Self> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::other("stdout is no terminal"));
        }
        // What was decided on our command line counts, not what the library reads of the environment.
        style::force_color_output(colour);
        give_back_on_panic();
        let out = BufWriter::with_capacity(FRAME_BYTES, out()?);
        enter()?;
        match Terminal::new(CrosstermBackend::new(out)) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }

    /// Its size in columns and lines.
    pub(super) fn size(&self) -> (u16, u16) {
        let size = self.terminal.size().unwrap_or_default();
        (size.width, size.height)
    }

    /// Draws what changed.
    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        if GIVEN_BACK.swap(false, Ordering::AcqRel) {
            enter()?;
            self.terminal.clear()?;
        }
        self.terminal
            .draw(|frame| view::draw(model, frame))
            .map(|_| ())
    }

    /// Has the next draw draw everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Puts text into the terminal's clipboard (OSC 52), if it lets programs do that.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut end = text.len().min(MAX_COPY_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let encoded = BASE64.encode(text.as_bytes());
        let out = self.terminal.backend_mut();
        write!(out, "\x1b]52;c;{encoded}\x07")?;
        Write::flush(out)
    }

    /// Gives the terminal to the shell until it continues us; then takes it again.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // The whole process stops here, as for the terminal's own Ctrl-Z.
        kill_process(getpid(), Signal::STOP)?;
        enter()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// stdout without its lock.
fn out() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    let mut out = out()?;
    let entered = queue!(
        out,
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        cursor::Hide
    );
    entered.and_then(|()| out.flush()).inspect_err(|_| leave())
}

/// Gives the terminal back; as far as it can be, because there is nobody left to complain to.
fn leave() {
    if let Ok(mut out) = out() {
        let left = queue!(
            out,
            DisableBracketedPaste,
            DisableMouseCapture,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _gone = left.and_then(|()| out.flush());
    }
    let _gone = disable_raw_mode();
}

/// A panic gave the terminal back, in whichever thread it was. If it ended a task only, the next draw takes it again.
static GIVEN_BACK: AtomicBool = AtomicBool::new(false);

/// A panic gives the terminal back before it says what happened.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            GIVEN_BACK.store(true, Ordering::Release);
            before(panic);
        }));
    });
}
