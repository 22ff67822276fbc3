//! What a shell is offered when the tab key is pressed: options and commands from clap, names from the running service.
//!
//! The scripts of `jims completions` call `jims` again with [`VARIABLE`] set and the line so far behind `--`. What goes wrong
//! then is nobody's business: there are no candidates, nothing is said, and after [`DEADLINE`] nothing is waited for.
//! Names come from outside and land on a command line, so those that a shell would read as more than a word are left out.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::ArgExt;
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, ValueCompleter,
};

use super::exit::Exit;
use super::{ask, config_file};
use crate::control::client::Client;
use crate::control::protocol::{
    Answer, Browse, CollectorState, CollectorStatus, NameKind, NamesPage, Request, Sort, Status,
};
use crate::producer::syslog::built_in_names;

/// What tells `jims` that a shell asks for candidates, and which shell.
pub(super) const VARIABLE: &str = "JIMS_COMPLETE";

/// How long the service may take; who pressed a key waits.
const DEADLINE: Duration = Duration::from_millis(500);

/// The most users, and the most devices, that are offered.
const MAX_OFFERED: usize = 100;

/// Answers a shell, if one asks.
pub(super) fn answer() -> Option<Exit> {
    let folder = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .completer("jims")
        .try_complete(std::env::args_os(), folder.as_deref());
    match asked {
        Ok(true) => Some(Exit::Yes),
        Ok(false) => None,
        Err(_) => Some(Exit::Error),
    }
}

/// The command line with what is offered for the values of its arguments: command, argument, and what.
fn command() -> clap::Command {
    let command = super::command();
    let of = |command: clap::Command, name: &'static str, argument: &'static str, offer: Offer| {
        command.mut_subcommand(name, |sub| sub.mut_arg(argument, |a| offer.to(a)))
    };
    offers()
        .into_iter()
        .fold(command, |command, (name, argument, offer)| {
            of(command, name, argument, offer)
        })
}

fn offers() -> [(&'static str, &'static str, Offer); 16] {
    let collectors = |wanted: fn(&CollectorStatus) -> bool| Offer::Collectors(wanted);
    let known: fn(&CollectorStatus) -> bool = |c| c.state != CollectorState::Invited;
    [
        ("status", "junos", Offer::Points),
        ("query-user", "who", Offer::Subjects),
        ("query-user", "point", Offer::Points),
        ("log-off", "who", Offer::Subjects),
        ("probe", "targets", Offer::Sources),
        ("refresh", "name", Offer::PushedTo),
        ("syslog-test", "source", Offer::SyslogSources),
        ("syslog-test", "template", Offer::Templates),
        ("onboard", "url", Offer::Urls),
        ("onboard", "name", Offer::Pushes),
        (
            "onboard",
            "revoke",
            collectors(|c| c.state == CollectorState::Invited),
        ),
        ("onboard", "remove", collectors(known)),
        (
            "onboard",
            "disable",
            collectors(|c| ![CollectorState::Invited, CollectorState::Disabled].contains(&c.state)),
        ),
        (
            "onboard",
            "enable",
            collectors(|c| c.state == CollectorState::Disabled),
        ),
        ("onboard", "describe", collectors(known)),
        ("onboard", "ca_file", Offer::Files),
    ]
}

/// What is offered for an argument.
#[derive(Clone, Copy, Debug)]
enum Offer {
    /// Enforcement points.
    Points,
    /// Enforcement points that are pushed to.
    PushedTo,
    /// Event sources and directories.
    Sources,
    /// Syslog sources.
    SyslogSources,
    /// Syslog templates, built in or configured.
    Templates,
    /// Servers that this Collector pushes to, by name.
    Pushes,
    /// The same, by address.
    Urls,
    /// Some of the Collectors that push to this Server.
    Collectors(fn(&CollectorStatus) -> bool),
    /// Users and devices, once a letter is typed.
    Subjects,
    /// Files.
    Files,
}

impl Offer {
    fn to(self, argument: clap::Arg) -> clap::Arg {
        match self {
            Self::Files => argument.value_hint(clap::ValueHint::FilePath),
            Self::Subjects => added(argument, ArgValueCompleter::new(subjects)),
            // The first value is a name, the second what is said of it.
            Self::Collectors(_) if argument.get_num_args().is_some_and(|n| n.max_values() > 1) => {
                added(argument, ArgValueCompleter::new(OnlyFirst(self)))
            }
            _ => added(
                argument,
                ArgValueCandidates::new(move || candidates(self.names())),
            ),
        }
    }

    /// The names; none if nobody knows them.
    fn names(self) -> Vec<String> {
        match self {
            Self::Templates => {
                let built_in = built_in_names().iter().map(|&name| name.to_owned());
                built_in
                    .chain(config_file::names(config().as_deref(), "syslog_template"))
                    .collect()
            }
            // `syslog-test` needs no service.
            Self::SyslogSources => status()
                .map(|status| self.names_of(&status))
                .unwrap_or_else(|| config_file::names(config().as_deref(), "syslog_source")),
            _ => status()
                .map(|status| self.names_of(&status))
                .unwrap_or_default(),
        }
    }

    fn names_of(self, status: &Status) -> Vec<String> {
        let points = status.enforcement_points.iter();
        let producers = |kind: &'static str| {
            let wanted = status.producers.iter().filter(move |p| p.kind == kind);
            wanted.map(|p| p.name.clone())
        };
        match self {
            Self::Points => points.map(|p| p.name.clone()).collect(),
            Self::PushedTo => points
                .filter(|p| p.web_api.is_some())
                .map(|p| p.name.clone())
                .collect(),
            Self::Sources => producers("event-source")
                .chain(status.directories.iter().map(|d| d.name.clone()))
                .collect(),
            Self::SyslogSources => producers("syslog").collect(),
            Self::Pushes => status.pushes.iter().map(|p| p.name.clone()).collect(),
            Self::Urls => status.pushes.iter().map(|p| p.url.clone()).collect(),
            Self::Collectors(wanted) => (status.collectors.iter())
                .filter(|collector| wanted(collector))
                .map(|collector| collector.name.clone())
                .collect(),
            Self::Templates | Self::Subjects | Self::Files => Vec::new(),
        }
    }
}

fn added(argument: clap::Arg, extension: impl ArgExt + Clone + Send + Sync + 'static) -> clap::Arg {
    argument.add(extension)
}

/// Offers for the first of several values.
struct OnlyFirst(Offer);

impl ValueCompleter for OnlyFirst {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let typed = current.to_string_lossy();
        let names = self.0.names().into_iter();
        candidates(names.filter(|name| name.starts_with(&*typed)).collect())
    }

    fn complete_at(&self, position: usize, current: &OsStr) -> Vec<CompletionCandidate> {
        if position == 0 {
            self.complete(current)
        } else {
            Vec::new()
        }
    }
}

/// Users and devices that begin with what is typed. Nothing is offered for nothing: there may be a million.
fn subjects(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy().to_lowercase();
    if typed.is_empty() || !is_a_word(&typed) {
        return Vec::new();
    }
    let page = |kind, word: &str| Request::Names {
        kind,
        page: Browse {
            filter: format!("{word}:^{typed}"),
            sort: Sort::Usual,
            rows: MAX_OFFERED,
            ..Browse::default()
        },
    };
    let asked = [
        page(NameKind::Users, "user"),
        page(NameKind::Devices, "device"),
    ];
    let names = |answer: Answer| match answer {
        Answer::Names(NamesPage { rows, .. }) => rows.into_iter().map(|row| row.name).collect(),
        _ => Vec::new(),
    };
    let mut found: Vec<String> = asked
        .iter()
        .filter_map(asked_in_time)
        .flat_map(names)
        .collect();
    found.sort();
    found.dedup();
    candidates(found)
}

fn candidates(names: Vec<String>) -> Vec<CompletionCandidate> {
    let words = names.into_iter().filter(|name| is_a_word(name));
    words.map(CompletionCandidate::new).collect()
}

/// Whether every shell reads the name as one word and nothing else.
fn is_a_word(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_.@+:/".contains(c);
    !name.starts_with('-') && name.chars().all(plain)
}

fn status() -> Option<Box<Status>> {
    match asked_in_time(&Request::Status)? {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

fn asked_in_time(request: &Request) -> Option<Answer> {
    let socket = config_file::socket(config().as_deref()).ok()?;
    let conversation = async {
        let mut client = Client::connect(&socket).await.ok()?;
        client.ask(request).await.ok()
    };
    ask::block_on(async { tokio::time::timeout(DEADLINE, conversation).await })
        .ok()?
        .ok()?
}

/// The configuration that is named on the line being completed, else the one of the environment.
fn config() -> Option<PathBuf> {
    let line = std::env::args_os().skip_while(|word| word != "--").skip(1);
    named(line.collect()).or_else(|| std::env::var_os("JIMS_CONFIG").map(PathBuf::from))
}

/// What follows `--config` in the words of a line. Bash takes `--config=FILE` apart at the sign, and no shell has replaced
/// `~` or taken quotes away yet.
fn named(line: Vec<OsString>) -> Option<PathBuf> {
    let mut words = line.into_iter().map(|w| w.to_string_lossy().into_owned());
    let mut found = None;
    while let Some(word) = words.next() {
        if word == "--config" {
            found = words.next().and_then(|next| match next.as_str() {
                "=" => words.next(),
                _ => Some(next),
            });
        } else if let Some(value) = word.strip_prefix("--config=") {
            found = Some(value.to_owned());
        }
    }
    let path = found?;
    let path = path.trim_matches(['"', '\'']);
    match path.strip_prefix("~/") {
        Some(rest) => Some(Path::new(&std::env::var_os("HOME")?).join(rest)),
        None => Some(PathBuf::from(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offer_is_for_an_argument_that_exists() {
        command().debug_assert();
    }

    #[test]
    fn the_configuration_on_the_line_is_found_however_it_is_written() {
        let of = |line: &str| named(line.split(' ').map(OsString::from).collect());
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of("jims --config a.toml status"), path("a.toml"));
        assert_eq!(of("jims status --config=a.toml"), path("a.toml"));
        assert_eq!(of("jims --config = a.toml status"), path("a.toml"));
        assert_eq!(of("jims --config 'a.toml' status"), path("a.toml"));
        assert_eq!(of("jims status"), None);
        assert_eq!(of("jims --config"), None);
    }

    #[test]
    fn nothing_is_offered_that_a_shell_would_run() {
        for name in [
            "$(reboot)",
            "a;b",
            "a b",
            "`x`",
            "a\u{1b}b",
            "-rf",
            "a|b",
            "~x",
            "a\\b",
        ] {
            assert!(!is_a_word(name), "{name}");
        }
        for name in ["alice", "ws-0042", "Łukasz", "山田", "a.b@corp.example.com"] {
            assert!(is_a_word(name), "{name}");
        }
    }
}
