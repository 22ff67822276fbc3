//! How far something is: a bar on stderr where that is a terminal, else a line now and then.
//!
//! It leaves nothing behind on the screen. Whoever prints meanwhile does so through [`Progress::aside`].

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::render::escape;

/// How often the bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(120);

/// Things that are tried one after the other.
const TRIED: &str = "{spinner} [{bar:20}] {pos} of {len}  {msg} ({elapsed})";

/// Changes that are told, of which there are many.
const TOLD: &str = "{spinner} [{bar:20}] {human_pos} of {human_len}  {msg} ({eta} left)";

/// Without a number to reach.
const WAITING: &str = "{spinner} {msg} ({elapsed})";

/// What is shown of something that takes its time.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// Where there is no terminal: whether a line says what begins.
    says: bool,
}

impl Progress {
    /// For a number of things that are tried one after the other.
    pub(super) fn of_tried(number: usize) -> Self {
        let length = u64::try_from(number).unwrap_or(u64::MAX);
        let bar = bar(TRIED).inspect(|bar| bar.set_length(length));
        Self { bar, says: true }
    }

    /// For something without a known end; nothing at all if it is not `wanted`.
    pub(super) fn of_waiting(wanted: bool) -> Self {
        let bar = wanted.then(|| bar(WAITING)).flatten();
        Self { bar, says: false }
    }

    /// Something begins.
    pub(super) fn begin(&self, what: &str) {
        let what = escape(what);
        match &self.bar {
            Some(bar) => bar.set_message(what),
            None if self.says => {
                // Nowhere is left to complain if stderr is closed.
                let _closed = writeln!(anstream::stderr(), "{what} …");
            }
            None => {}
        }
    }

    /// The next one of several is done.
    pub(super) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// So many of so many changes are told; what that is called.
    pub(super) fn told(&self, told: u64, of: u64, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_style(style(TOLD));
            bar.set_length(of);
            bar.set_position(told);
            bar.set_message(escape(what));
        }
    }

    /// Prints something while nothing of this is on the screen.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(template: &str) -> Option<ProgressBar> {
    let stderr = std::io::stderr();
    stderr.is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(style(template));
        bar.enable_steady_tick(TICK);
        bar
    })
}

/// Plain characters, so that every terminal shows it.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("-\\|/ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for template in [TRIED, TOLD, WAITING] {
            ProgressStyle::with_template(template).expect(template);
        }
    }

    #[test]
    fn without_a_terminal_what_is_printed_is_printed() {
        let progress = Progress {
            bar: None,
            says: false,
        };
        progress.begin("dc1");
        progress.told(1, 2, "resynchronising");
        progress.done();
        assert_eq!(progress.aside(|| 7), 7);
    }
}
