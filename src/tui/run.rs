//! The loop: messages in, model changed, effects done, drawn on change and at most four times a second.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::input;
use super::link::Link;
use super::message::{Effect, Message, Question, Refused};
use super::model::{Model, Setting};
use super::pace::Pace;
use super::terminal::Screen;
use super::theme::Theme;
use super::update::update;
use crate::control::protocol::timestamp;
use crate::runtime::clock;
use crate::runtime::supervisor::{self, Tasks};

/// Messages that wait for the loop.
const MESSAGES: usize = 64;

/// How often time passes for the model.
const TICK: Duration = Duration::from_millis(250);

/// How long the dashboard's own tasks may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The signal of the terminal's Ctrl-Z where it is sent from outside.
const SIGTSTP: i32 = rustix::process::Signal::TSTP.as_raw();

/// How the dashboard is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The control socket.
    pub socket: PathBuf,
    /// Whether colours may be used.
    pub colour: bool,
    /// What runs in this process and ends with the dashboard, for the question before: `the service`. Signals are then
    /// followed there, and the token stops the dashboard.
    pub ends: Option<String>,
    /// Something to say at the beginning, until something else is said; may be empty.
    pub notice: String,
}

/// Why the dashboard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The operator left it.
    Left,
    /// It was told to stop: a signal, or the token.
    Stopped,
}

/// Why the dashboard cannot run.
#[derive(Debug, Error)]
pub enum DashboardError {
    /// The terminal cannot be used.
    #[error("cannot show the dashboard: {0}")]
    Terminal(#[from] std::io::Error),
}

impl DashboardError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "run it on a terminal; `jims status` prints the same once"
    }
}

/// Shows the dashboard until the operator leaves it or `stop`.
///
/// # Errors
/// There is no terminal, or it is gone.
pub async fn run(options: Options, stop: CancellationToken) -> Result<Ending, DashboardError> {
    let tasks = Tasks::new();
    let (sender, messages) = mpsc::channel(MESSAGES);
    let mut screen = Screen::take(options.colour)?;
    let input = input::read(sender.clone())?;
    let link = Link::open(options.socket.clone(), &tasks, sender);
    let mut show = Show::new(&options, &screen, link);
    let ended = show.go(&mut screen, messages, stop).await;
    drop(show);
    drop(input);
    drop(screen);
    let left = tasks.finish(END_LIMIT).await;
    if !left.is_empty() {
        tracing::debug!(?left, "tasks of the dashboard did not end");
    }
    Ok(ended?)
}

/// As [`run`], on a thread of its own, for a process that does more: writing to a terminal that takes nothing can block for
/// ever, and must hold up nothing else. After `stop` it is waited for four seconds.
///
/// # Errors
/// As [`run`], and there is no thread to be had.
pub async fn run_apart(
    options: Options,
    stop: CancellationToken,
) -> Result<Ending, DashboardError> {
    let (done, ended) = oneshot::channel();
    let stopping = stop.clone();
    supervisor::unattended("dashboard", move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let shown = runtime
            .map_err(DashboardError::from)
            .and_then(|runtime| runtime.block_on(run(options, stopping)));
        let _gone = done.send(shown);
    })?;
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(END_LIMIT * 2).await;
    };
    tokio::select! {
        // It says why itself if it panicked.
        ended = ended => ended.unwrap_or(Ok(Ending::Stopped)),
        () = too_late => Ok(Ending::Stopped),
    }
}

/// The running dashboard.
struct Show {
    model: Model,
    link: Link,
    pace: Pace,
    began: Instant,
    /// What is on the screen is not what the model says.
    dirty: bool,
    /// An operator waits for it.
    urgent: bool,
    ending: Option<Ending>,
}

impl Show {
    fn new(options: &Options, screen: &Screen, link: Link) -> Self {
        let theme = Theme::of(options.colour, |name| std::env::var(name).ok());
        let setting = Setting {
            ends: options.ends.clone(),
            socket: options.socket.display().to_string(),
        };
        let now = timestamp(clock::utc_now());
        let mut model = Model::new(theme, setting, screen.size(), now);
        model.say(&options.notice);
        Self {
            model,
            link,
            pace: Pace::default(),
            began: clock::monotonic_now(),
            dirty: true,
            urgent: true,
            ending: None,
        }
    }

    async fn go(
        &mut self,
        screen: &mut Screen,
        mut messages: mpsc::Receiver<Message>,
        stop: CancellationToken,
    ) -> std::io::Result<Ending> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut suspend = signal(SignalKind::from_raw(SIGTSTP))?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.ending.is_none() {
            let draw_at = self.pace.next(self.urgent, clock::monotonic_now());
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message, screen)?,
                    None => return Ok(Ending::Stopped),
                },
                () = tokio::time::sleep_until(draw_at.into()), if self.dirty => self.draw(screen)?,
                _ = tick.tick() => self.tick(screen)?,
                () = stop.cancelled() => self.ending = Some(Ending::Stopped),
                // In one process with the service, its signals are followed there.
                () = received(&mut terminate, &mut hangup), if self.model.setting.ends.is_none() => {
                    self.ending = Some(Ending::Stopped);
                }
                _ = suspend.recv() => self.suspend(screen)?,
            }
        }
        Ok(self.ending.unwrap_or(Ending::Stopped))
    }

    /// Has the model know the size that is drawn for: what a key does depends on what is seen.
    fn measure(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        let size = screen.size();
        if size == self.model.size {
            return Ok(());
        }
        let effects = update(&mut self.model, Message::Resize(size.0, size.1));
        self.perform(effects, screen)
    }

    fn tick(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        let now = timestamp(clock::utc_now());
        // Between seconds nothing shows that only time changes.
        let shows = now.as_second() != self.model.now.as_second();
        let elapsed = clock::monotonic_now().saturating_duration_since(self.began);
        let noticed = self.model.notice.is_some();
        let effects = update(&mut self.model, Message::Tick { now, elapsed });
        self.dirty |= shows || noticed != self.model.notice.is_some();
        self.perform(effects, screen)
    }

    fn take(&mut self, message: Message, screen: &mut Screen) -> std::io::Result<()> {
        let by_hand = matches!(
            message,
            Message::Key(_) | Message::Mouse(_) | Message::Paste(_) | Message::Resize(..)
        );
        let effects = match message {
            // Until it is drawn, keys are of the size before.
            Message::Resize(..) => Vec::new(),
            message => update(&mut self.model, message),
        };
        self.dirty = true;
        self.urgent |= by_hand;
        self.perform(effects, screen)
    }

    fn perform(&mut self, effects: Vec<Effect>, screen: &mut Screen) -> std::io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Ask(question) => self.ask(question),
                Effect::Act(deed) => self.link.act(deed),
                Effect::Listen(wanted) => self.link.listen(wanted),
                Effect::Copy(text) => screen.copy(&text)?,
                Effect::Redraw => screen.clear()?,
                Effect::Suspend => self.suspend(screen)?,
                Effect::Quit => self.ending = Some(Ending::Left),
            }
        }
        Ok(())
    }

    /// Asks, or has the model know that it cannot be asked now: then it asks again in its own time.
    fn ask(&mut self, question: Question) {
        if let Some(question) = self.link.ask(question) {
            let answer = Err(Refused {
                message: "the service answers more slowly than it is asked".into(),
                remedy: String::new(),
            });
            update(&mut self.model, Message::Answered { question, answer });
        }
    }

    fn suspend(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        screen.suspend()?;
        (self.dirty, self.urgent) = (true, true);
        Ok(())
    }

    fn draw(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        self.measure(screen)?;
        screen.draw(&self.model)?;
        self.pace.drew(clock::monotonic_now());
        self.dirty = false;
        self.urgent = false;
        Ok(())
    }
}

async fn received(terminate: &mut Signal, hangup: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
