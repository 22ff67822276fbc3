//! `jims onboard URL`: introduces this Collector to a Server.
//!
//! Progress goes to stderr as it happens, what came of it to stdout. The code is asked for on the terminal, where it is
//! not shown, unless it was given or is not needed.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use super::ask;
use super::config_file;
use super::exit::{Exit, Failure};
use super::probe::step_text;
use super::render::{escape, paragraph};
use crate::app::{self, JoinEnding, Joined};
use crate::config::Config;
use crate::config::secret::Secret;
use crate::control::protocol::{Answer, ProbedStep, Refusal, Request};

/// Longest line that is read as a code, in bytes.
const MAX_LINE: u64 = 1024;

/// Which Server, and how.
#[derive(Debug)]
pub(super) struct Join {
    /// As it was typed.
    pub(super) url: String,
    /// The code, if it is on the command line.
    pub(super) code: Option<String>,
    /// The code is the first line of standard input.
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
    let show = |step: &ProbedStep| {
        if !json {
            // Nowhere is left to complain if stderr is closed.
            let _closed = write!(anstream::stderr(), "{}", step_text(step));
        }
    };
    let joined = ask::block_on(app::join(&config, wanted, show))?.map_err(failure)?;
    let is_done = matches!(joined.ending, JoinEnding::Onboarded | JoinEnding::Already);
    let service = if is_done { wake(config_path) } else { None };
    if json {
        let printed = Printed {
            target: &joined.target,
            collector: &joined.collector,
            credential_file: joined.credential_file.as_deref(),
            steps: &joined.steps,
        };
        ask::print_json(&printed, out)?;
    } else {
        write!(out, "{}", render(&joined, &join.url, service.as_deref()))?;
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
        return Ok(Some(line(stdin.lock())?));
    }
    let is_onboarded = app::is_onboarded(config, &join.url, join.name.as_deref());
    if is_onboarded.map_err(failure)? || !stdin.is_terminal() {
        return Ok(None);
    }
    write!(anstream::stderr(), "Code of the invitation (not shown): ")?;
    let hidden = Hidden::of_stdin();
    let typed = line(stdin.lock());
    drop(hidden);
    writeln!(anstream::stderr())?;
    typed.map(Some)
}

fn line(input: impl BufRead) -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = input.take(MAX_LINE).read_line(&mut text);
    read.map_err(|error| {
        Failure::new(
            format!("cannot read the code: {error}"),
            "give it on the terminal, or with --code-stdin",
        )
    })?;
    Ok(Secret::from(text))
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

/// Tells a running service; what it says, if one runs.
fn wake(config: Option<&Path>) -> Option<String> {
    match ask::ask(config, &Request::Onboarded).ok()? {
        Answer::Done { detail } => Some(detail),
        _ => None,
    }
}

fn render(joined: &Joined, url: &str, service: Option<&str>) -> String {
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
        text.push_str(&paragraph(&match service {
            Some(said) => format!("the running service: {said}"),
            None => "no service answers here; it pushes once it runs".to_owned(),
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
        let text = render(&joined, "https://hub.example.com", Some("it pushes to 1"));
        assert_eq!(
            text,
            "onboarded at https://hub.example.com as branch-1\\u{1b}\n\
             credential: /var/lib/jims/push/hub.example.com.toml\n\
             the running service: it pushes to 1\n"
        );
    }

    #[test]
    fn a_code_is_one_line_of_bounded_length() {
        use secrecy::ExposeSecret as _;
        let read = line(&b"JIMS1-ABC\nmore\n"[..]).expect("a line");
        assert_eq!(read.expose_secret(), "JIMS1-ABC\n");
        let long = vec![b'x'; 1 << 20];
        assert_eq!(line(&long[..]).expect("cut").expose_secret().len(), 1024);
    }
}
