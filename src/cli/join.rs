//! `jims onboard URL`: introduces this Collector to a Server.
//!
//! Progress goes to stderr as it happens, what came of it to stdout. The code is asked for on the terminal, where it is
//! not shown, unless it was given or is not needed.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;
use zeroize::Zeroizing;

use super::ask;
use super::config_file;
use super::exit::{Exit, Failure};
use super::first_push;
use super::probe::step_text;
use super::progress::Progress;
use super::render::{escape, paragraph};
use crate::app::{self, JoinEnding, Joined};
use crate::config::Config;
use crate::config::secret::Secret;
use crate::control::protocol::{ProbedStep, Refusal};

/// Longest text that is read as a code, in bytes.
const MAX_CODE: u16 = 1024;

/// Which Server, and how.
#[derive(Debug)]
pub(super) struct Join {
    /// As it was typed.
    pub(super) url: String,
    /// The code, if it is on the command line.
    pub(super) code: Option<String>,
    /// The code is on standard input.
    pub(super) code_stdin: bool,
    /// What this Collector calls the Server; default: its host, with the port if it is not 443.
    pub(super) name: Option<String>,
    /// For people; default: that of the configuration.
    pub(super) description: Option<String>,
    /// Certificates to trust.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether to print JSON.
    pub(super) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    ending: &'a str,
    target: &'a str,
    collector: &'a str,
    credential_file: Option<&'a Path>,
    steps: &'a [ProbedStep],
}

/// Introduces this Collector, showing each step.
pub(super) fn run(
    join: Join,
    config_path: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let config = configuration(config_path)?;
    let code = code(&join, &config)?;
    let json = join.json;
    let wanted = app::Join {
        url: join.url.clone(),
        code,
        name: join.name,
        description: join.description,
        ca_file: join.ca_file,
    };
    let progress = Progress::of_waiting(!json);
    progress.begin("onboarding");
    let show = |step: &ProbedStep| {
        if !json {
            // Nowhere is left to complain if stderr is closed.
            let _closed = progress.aside(|| write!(anstream::stderr(), "{}", step_text(step)));
        }
    };
    let joined = ask::block_on(app::join(&config, wanted, show));
    drop(progress);
    let mut joined = joined?.map_err(failure)?;
    let is_done = matches!(joined.ending, JoinEnding::Onboarded | JoinEnding::Already);
    let pushed = is_done
        .then(|| first_push(config_path, &joined.target, json))
        .flatten();
    joined.steps.extend(pushed.clone());
    if json {
        let printed = Printed {
            ending: joined.ending.as_str(),
            target: &joined.target,
            collector: &joined.collector,
            credential_file: joined.credential_file.as_deref(),
            steps: &joined.steps,
        };
        ask::print_json(&printed, out)?;
    } else {
        write!(out, "{}", render(&joined, &join.url, pushed.as_ref()))?;
    }
    Ok(match joined.ending {
        JoinEnding::Onboarded | JoinEnding::Already => Exit::Yes,
        JoinEnding::Refused => Exit::No,
        JoinEnding::Failed => Exit::Error,
    })
}

fn configuration(path: Option<&Path>) -> Result<Config, Failure> {
    let path = config_file::find(path).ok_or_else(|| {
        Failure::new(
            "there is no configuration that says who this Collector is",
            "name it with --config or $JIMS_CONFIG; an empty file will do",
        )
    })?;
    match app::load(&path) {
        Ok(loaded) => Ok(loaded.config),
        Err(app::Error::Configuration(problems)) => Err(Failure::new(
            format!("the configuration cannot be used\n\n{problems}"),
            "mend the lines named above",
        )),
        Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
    }
}

fn failure(refusal: Refusal) -> Failure {
    Failure::new(refusal.message, refusal.remedy)
}

/// The code as it was given, or as somebody types it; none if none is needed.
fn code(join: &Join, config: &Config) -> Result<Option<Secret>, Failure> {
    if let Some(code) = &join.code {
        return Ok(Some(Secret::from(code.as_str())));
    }
    let stdin = std::io::stdin();
    if join.code_stdin {
        return read_code(stdin.lock(), || Ok(())).map(Some);
    }
    let is_onboarded = app::is_onboarded(config, &join.url, join.name.as_deref());
    if is_onboarded.map_err(failure)? || !stdin.is_terminal() {
        return Ok(None);
    }
    write!(anstream::stderr(), "Code of the invitation (not shown): ")?;
    let hidden = Hidden::of_stdin();
    let rest = || write!(anstream::stderr(), "\nThe rest of it: ");
    let typed = read_code(stdin.lock(), rest);
    drop(hidden);
    writeln!(anstream::stderr())?;
    typed.map(Some)
}

/// A line, and those after it while they are missing for a code: what was copied from a narrow terminal has several.
/// `rest` is called before each of those.
fn read_code(
    input: impl BufRead,
    mut rest: impl FnMut() -> std::io::Result<()>,
) -> Result<Secret, Failure> {
    let mut input = input.take(MAX_CODE.into());
    // Of this size at once, so that nothing of it is left behind elsewhere.
    let mut text = Zeroizing::new(String::with_capacity(MAX_CODE.into()));
    let mut read = || -> std::io::Result<()> {
        loop {
            let before = text.len();
            input.read_line(&mut text)?;
            let line = text.get(before..).unwrap_or_default();
            if line.trim().is_empty() || !app::is_cut_code(&text) {
                return Ok(());
            }
            rest()?;
        }
    };
    read().map_err(|error| {
        Failure::new(
            format!("cannot read the code: {error}"),
            "give it on the terminal, or with --code-stdin",
        )
    })?;
    Ok(Secret::from(text.as_str()))
}

/// The terminal shows nothing of what is typed until this ends.
struct Hidden(Option<Termios>);

impl Hidden {
    fn of_stdin() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut without_echo = before.clone();
        without_echo.local_modes.remove(LocalModes::ECHO);
        let done = tcsetattr(&stdin, OptionalActions::Now, &without_echo);
        Self(done.is_ok().then_some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Watches the running service push for the first time, showing how far it is on a terminal; its step, shown too.
fn first_push(config: Option<&Path>, target: &str, json: bool) -> Option<ProbedStep> {
    let progress = Progress::of_waiting(!json);
    let step = first_push::watch(config, target, |push| match push.of {
        Some(of) => progress.told(of.saturating_sub(push.behind), of, push.state.as_str()),
        None => progress.begin(push.state.as_str()),
    });
    drop(progress);
    if let Some(step) = step.as_ref().filter(|_| !json) {
        // Nowhere is left to complain if stderr is closed.
        let _closed = write!(anstream::stderr(), "{}", step_text(step));
    }
    step
}

fn render(joined: &Joined, url: &str, pushed: Option<&ProbedStep>) -> String {
    let (url, name) = (escape(url), escape(&joined.collector));
    let mut text = match joined.ending {
        JoinEnding::Onboarded => paragraph(&format!("onboarded at {url} as {name}")),
        JoinEnding::Already => paragraph(&format!("onboarded already at {url} as {name}")),
        JoinEnding::Refused => paragraph(&format!("not onboarded: {url} says no")),
        JoinEnding::Failed => paragraph(&format!("not onboarded at {url}")),
    };
    if let Some(file) = &joined.credential_file {
        text.push_str(&format!(
            "credential: {}\n",
            escape(&file.display().to_string())
        ));
    }
    if matches!(joined.ending, JoinEnding::Onboarded | JoinEnding::Already) {
        text.push_str(&paragraph(match pushed {
            Some(step) if step.ok => "the running service pushes there",
            Some(_) => "the running service cannot push there yet; it tries again",
            None => "no service answers here; it pushes once it runs",
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_said_and_fits() {
        let joined = Joined {
            ending: JoinEnding::Onboarded,
            target: "hub.example.com".into(),
            collector: "branch-1\u{1b}".into(),
            credential_file: Some("/var/lib/jims/push/hub.example.com.toml".into()),
            steps: Vec::new(),
        };
        let text = render(&joined, "https://hub.example.com", None);
        assert_eq!(
            text,
            "onboarded at https://hub.example.com as branch-1\\u{1b}\n\
             credential: /var/lib/jims/push/hub.example.com.toml\n\
             no service answers here; it pushes once it runs\n"
        );
    }

    #[test]
    fn a_code_is_a_line_or_what_a_narrow_terminal_made_of_it() {
        use secrecy::ExposeSecret as _;
        let read = |text: &[u8]| {
            let mut asked = 0;
            let rest = || {
                asked += 1;
                Ok(())
            };
            let read = read_code(text, rest).expect("a code");
            (read.expose_secret().to_owned(), asked)
        };
        let whole = format!("JIMS1-{}\n", "0".repeat(80));
        let (first, second) = (format!("JIMS1-{}-\n", "0".repeat(60)), "0".repeat(20));
        let of = |text: &str, asked| (text.to_owned(), asked);
        assert_eq!(read(format!("{whole}more\n").as_bytes()), of(&whole, 0));
        let broken = format!("{first}{second}\n");
        assert_eq!(read(format!("{broken}more\n").as_bytes()), of(&broken, 1));
        assert_eq!(read(first.as_bytes()), of(&first, 1), "it ends");
        let given_up = format!("{first}\n");
        assert_eq!(read(format!("{given_up}more").as_bytes()), of(&given_up, 1));
        assert_eq!(read(b"hello\nmore\n"), of("hello\n", 0));
        assert_eq!(read(&vec![b'x'; 1 << 20]).0.len(), 1024);
    }
}
