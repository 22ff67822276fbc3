//! `jims run`: the service, the check of a configuration, the demo.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::config_file;
use super::exit::{Exit, Failure};
use super::render::escape;
use crate::app::{self, RunOptions};
use crate::demo;

/// Run the service in the foreground
///
/// Reads the configuration, binds every listener, reads the directories and answers firewalls. SIGHUP reads the
/// configuration again; SIGTERM stops within 10 s and saves the table; a second signal ends at once. Under systemd use
/// Type=notify; the watchdog is fed if one is set.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims run --check              every problem of the configuration at once
  jims run --check --connect    then try each event source and directory once
  jims --config site.toml run   the service with a configuration of its own
  jims run --dashboard          the service, and how it is, on this terminal
  jims run --demo               a self-contained site on loopback, nothing needed

Exit codes: 0 ended well (--check: the configuration is right); 1 --check found problems, or
--connect a source that cannot be read; 2 the service could not start or failed.")]
pub(super) struct Args {
    /// Check the configuration and the files it names, print every problem, start nothing
    #[arg(long, conflicts_with = "demo")]
    check: bool,
    /// With --check: connect to each event source and directory once, step by step
    #[arg(long, requires = "check", conflicts_with = "demo")]
    connect: bool,
    /// Run a self-contained site, whatever is configured: a directory from a file, simulated senders and firewall
    #[arg(long)]
    demo: bool,
    /// Show the dashboard of `jims status --watch` in place of the log, which then goes to jims.log in the state folder
    #[arg(long, conflicts_with_all = ["check", "demo"])]
    dashboard: bool,
    /// With --demo: print a summary in place of the dashboard
    #[arg(long, requires = "demo")]
    no_dashboard: bool,
}

/// Runs until told to stop.
pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    verbose: u8,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    if args.dashboard && !on_terminal {
        return Err(Failure::new(
            "cannot show the dashboard: stdout is no terminal",
            "leave --dashboard out; `jims status --watch` shows it from any terminal",
        ));
    }
    let dashboard = app::Dashboard {
        colour: super::render::colour(),
    };
    if args.demo {
        let shown = (on_terminal && !args.no_dashboard).then_some(dashboard);
        return demo::run(shown)
            .map(|()| Exit::Yes)
            .map_err(|error| Failure::new(error.to_string(), error.remedy()));
    }
    let path = configuration(config)?;
    if args.check {
        return check(&path, args.connect, out);
    }
    match app::run(&RunOptions {
        config: path,
        verbosity: verbose,
        dashboard: args.dashboard.then_some(dashboard),
    }) {
        Ok(()) => Ok(Exit::Yes),
        Err(app::Error::Configuration(problems)) => Err(Failure::new(
            format!("the configuration cannot be used\n\n{problems}"),
            "mend the lines named above",
        )),
        Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
    }
}

fn check(path: &Path, connect: bool, out: &mut impl Write) -> Result<Exit, Failure> {
    match app::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                writeln!(out, "{}", warning.render("warning"))?;
            }
            let shown = escape(&path.display().to_string());
            writeln!(out, "{shown}: the configuration is right")?;
            if connect {
                return super::probe::connect(&loaded.config, out);
            }
            Ok(Exit::Yes)
        }
        Err(app::Error::Configuration(problems)) => {
            writeln!(out, "{problems}")?;
            Ok(Exit::No)
        }
        Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
    }
}

fn configuration(named: Option<&Path>) -> Result<PathBuf, Failure> {
    config_file::find(named).ok_or_else(|| {
        Failure::new(
            "there is no configuration: none was named, and /etc/jims/config.toml does not exist",
            "begin with config.example.toml and name it with --config or $JIMS_CONFIG; \
             `jims run --demo` shows a site without any",
        )
    })
}
