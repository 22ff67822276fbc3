//! `jims probe`: tries configured sources step by step, with the time of each step and what to do about it.
//!
//! The running service tries, because it may read the secrets; where none runs, this process does.

use std::io::Write;
use std::path::Path;

use super::ask;
use super::config_file;
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::render::{HEADING, WARNING, escape, field, millis};
use crate::app;
use crate::config::Config;
use crate::control::protocol::{Answer, Probed, ProbedStep, Request};

/// Width of the names of steps.
const NAMES: usize = 16;

/// Try configured sources, or ask computers who is signed on, step by step
///
/// TARGET is the name of an event source or a directory: name, ports, clock, sign-on, rights, what can be read; or
/// `cluster`: each configured NATS server, JetStream, and the copies of the stream. Any other TARGET is the address or
/// name of a computer inside the probed networks: it is asked once who is signed on. Each step shows its time, and what to
/// do if it fails. A running service is asked to try, and takes a computer's answer into account; without one, this command
/// reads the configuration and tries itself.
///
/// Exit codes: 0 everything that is needed works, the computer told; 1 something does not, it did not; 2 error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims probe dc1
  jims probe --all
  jims probe 10.1.2.50
  jims probe dc1 --json | jq -r '.[].steps[] | select(.ok | not) | .remedy'")]
pub(super) struct Args {
    /// Names of event sources and directories; `cluster`; addresses and names of computers
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    targets: Vec<String>,
    /// Every event source and directory of the configuration, and its cluster
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Tries one target after the other; prints each as it ends.
pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let prober = Prober::new(config)?;
    let targets = if args.all {
        prober.all()?
    } else {
        args.targets.clone()
    };
    if targets.is_empty() {
        return Err(Failure::new(
            "there is nothing to try: no event source, no directory with a server and no cluster is configured",
            "add an [[event_source]] or a [[directory_service]]",
        ));
    }
    let results = each(
        &targets,
        |target| prober.probe(target),
        |probed| {
            if args.json {
                return Ok(());
            }
            write!(out, "{}", render(probed))?;
            Ok(out.flush()?)
        },
    )?;
    if args.json {
        ask::print_json(&results, out)?;
    }
    Ok(exit(&results))
}

/// Yes if everything is well.
fn exit(results: &[Probed]) -> Exit {
    if results.iter().all(|probed| probed.ok) {
        Exit::Yes
    } else {
        Exit::No
    }
}

/// Tries every source of a configuration once, in this process; for `jims run --check --connect`.
pub(super) fn connect(config: &Config, out: &mut impl Write) -> Result<Exit, Failure> {
    let targets = app::probe_targets(config);
    let results = each(
        &targets,
        |target| local(config, target),
        |probed| {
            write!(out, "{}", render(probed))?;
            Ok(out.flush()?)
        },
    )?;
    Ok(exit(&results))
}

/// Tries one target after the other, and shows how far that is.
fn each(
    targets: &[String],
    attempt: impl Fn(&str) -> Result<Probed, Failure>,
    mut show: impl FnMut(&Probed) -> Result<(), Failure>,
) -> Result<Vec<Probed>, Failure> {
    let progress = Progress::of_tried(targets.len());
    let mut results = Vec::new();
    for target in targets {
        progress.begin(&format!("trying {target}"));
        let probed = attempt(target)?;
        progress.done();
        progress.aside(|| show(&probed))?;
        results.push(probed);
    }
    Ok(results)
}

/// Who tries.
enum Prober<'a> {
    /// The running service, found by this configuration.
    Service(Option<&'a Path>),
    /// This process.
    Local(Box<Config>),
}

impl<'a> Prober<'a> {
    fn new(config: Option<&'a Path>) -> Result<Self, Failure> {
        if ask::is_answered(config)? {
            return Ok(Self::Service(config));
        }
        let path = config_file::find(config).ok_or_else(|| {
            Failure::new(
                "no service answers, and there is no configuration",
                "name the configuration with --config or $JIMS_CONFIG",
            )
        })?;
        match app::load(&path) {
            Ok(loaded) => Ok(Self::Local(Box::new(loaded.config))),
            Err(app::Error::Configuration(problems)) => Err(Failure::new(
                format!("the configuration cannot be used\n\n{problems}"),
                "mend the lines named above",
            )),
            Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
        }
    }

    fn all(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Local(config) => Ok(app::probe_targets(config)),
            Self::Service(config) => {
                let Answer::Status(status) = ask::ask(*config, &Request::Status)? else {
                    return Err(ask::unexpected());
                };
                let sources = status.producers.iter().filter(|p| p.kind == "event-source");
                let names = sources.chain(&status.directories);
                Ok(names
                    .map(|source| source.name.clone())
                    .chain(status.cluster.map(|_| app::CLUSTER.to_owned()))
                    .collect())
            }
        }
    }

    fn probe(&self, target: &str) -> Result<Probed, Failure> {
        match self {
            Self::Local(config) => local(config, target),
            Self::Service(config) => {
                let request = Request::Probe {
                    target: target.to_owned(),
                };
                let Answer::Probe { probed } = ask::ask(*config, &request)? else {
                    return Err(ask::unexpected());
                };
                Ok(probed)
            }
        }
    }
}

fn local(config: &Config, target: &str) -> Result<Probed, Failure> {
    ask::block_on(app::probe(config, target))?
        .map_err(|refusal| Failure::new(refusal.message, refusal.remedy))
}

fn render(probed: &Probed) -> String {
    let yes_or_no = if probed.ok { "yes" } else { "no" };
    let verdict = match &probed.answer {
        Some(answer) => escape(&answer.replace('-', " ")),
        None => yes_or_no.to_owned(),
    };
    let kind = match probed.kind.as_str() {
        "pc" => "computer".to_owned(),
        kind => escape(&kind.replace('-', " ")),
    };
    let style = if probed.ok { HEADING } else { WARNING };
    let mut text = format!(
        "{style}{} ({kind}): {verdict}{style:#}\n",
        escape(&probed.target)
    );
    if !probed.users.is_empty() {
        text.push_str(&field(2, "users", NAMES + 4, &probed.users.join(", ")));
    }
    for step in &probed.steps {
        text.push_str(&step_text(step));
    }
    text
}

pub(super) fn step_text(step: &ProbedStep) -> String {
    let mark = if step.ok { "ok" } else { "NO" };
    let label = format!("{mark}  {}", step.name);
    let detail = format!("{} ({})", step.detail, millis(step.ms));
    let mut text = field(2, &label, NAMES + 4, &detail);
    for (number, line) in step.remedy.lines().enumerate() {
        let label = if number == 0 { "try" } else { "" };
        text.push_str(&field(6, label, 3, line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_shows_each_step_and_what_to_do() {
        let step = |name: &str, ok, detail: &str, remedy: &str| ProbedStep {
            name: name.into(),
            ok,
            ms: 12,
            detail: detail.into(),
            remedy: remedy.into(),
        };
        let probed = Probed {
            target: "dc1".into(),
            kind: "event-source".into(),
            ok: false,
            answer: None,
            users: Vec::new(),
            steps: vec![
                step("name", true, "dc1.corp.example.com is 10.0.0.10", ""),
                step(
                    "rights",
                    false,
                    "the account may not read the log Security of dc1.corp.example.com",
                    "add the account to the group \"Event Log Readers\", and wait until the next sign-on",
                ),
            ],
        };
        let plain = anstream::adapter::strip_str(&render(&probed)).to_string();
        assert!(plain.lines().all(|line| line.len() <= 80), "{plain}");
        insta::assert_snapshot!(plain);
    }

    #[test]
    fn a_computer_shows_its_answer_and_who_is_signed_on() {
        let step = |name: &str, detail: &str| ProbedStep {
            name: name.into(),
            ok: true,
            ms: 5,
            detail: detail.into(),
            remedy: String::new(),
        };
        let probed = Probed {
            target: "ws-0042".into(),
            kind: "pc".into(),
            ok: true,
            answer: Some("same-user".into()),
            users: vec!["CORP\\alice".into(), "CORP\\a\u{1b}[2Jb".into()],
            steps: vec![
                step("resolve", "ws-0042 has a session at 10.1.2.50"),
                step("object port", "49664 is open"),
            ],
        };
        let plain = anstream::adapter::strip_str(&render(&probed)).to_string();
        insta::assert_snapshot!(plain);
    }
}
