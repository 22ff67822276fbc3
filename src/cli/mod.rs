//! The command line: one file a command, its arguments and its help together.
//!
//! stdout is the answer, stderr the rest. `exit` says what exit codes mean, `render` how text is laid out and made safe
//! for a terminal, `config_file` which configuration and which socket is meant. Commands ask a running service through
//! `control::client` only.

mod ask;
mod collectors;
mod complete;
mod completions;
mod config_file;
mod exit;
mod explain;
mod first_push;
mod join;
mod junos;
mod log_off;
mod man;
mod onboard;
mod past;
mod probe;
mod progress;
mod query_user;
mod refresh;
mod render;
mod requests;
mod run;
mod status;
mod syslog_test;
mod when;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};

use self::exit::{Exit, Failure};

/// Tells firewalls who is behind every IP address.
///
/// jims reads Active Directory, the logs of Windows servers and syslog, keeps a table of who is at which address, and answers firewalls that ask.
#[derive(Debug, Parser)]
#[command(name = "jims", version, propagate_version = true, after_long_help = EXAMPLES)]
struct Cli {
    /// Configuration file [default: /etc/jims/config.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "JIMS_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// When to use colour; nothing is said by colour alone
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Log more: -v for debug (user names and addresses appear), -vv for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jims run --check              is the configuration right?
  jims run                      the service
  jims status                   how is it?
  jims onboard URL              push to the Server there, with a code that it printed
  jims probe dc1                can dc1 be read, and if not, what is to be done?
  jims query-user alice         where is alice, and why do we think so?
  jims query-user 10.1.2.50     who is there?

Exit codes: 0 yes or done; 1 asked, and the answer is no (status: something needs
attention); 2 error (status: the service does not answer).";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Onboard(Box<onboard::Args>),
    Status(status::Args),
    Probe(probe::Args),
    QueryUser(query_user::Args),
    LogOff(log_off::Args),
    Refresh(refresh::Args),
    SyslogTest(syslog_test::Args),
    Completions(completions::Args),
    Man(man::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// If the output is a terminal and `NO_COLOR` is not set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The command line's definition, for the generated completions and manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command, renders what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(exit) = complete::answer() {
        return exit.into();
    }
    let cli = Cli::parse();
    match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    render::fit_terminal();
    let mut out = anstream::stdout().lock();
    let done = dispatch(cli, &mut out).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_closed_pipe() => Exit::Yes.into(),
        Err(failure) => {
            // Nowhere is left to complain if stderr is closed too.
            let _closed = write!(anstream::stderr(), "{}", failure.render());
            Exit::Error.into()
        }
    }
}

fn dispatch(cli: Cli, out: &mut impl Write) -> Result<Exit, Failure> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Run(args) => run::run(&args, config, cli.verbose, out),
        Command::Onboard(args) => onboard::run(*args, config, out),
        Command::Status(args) => status::run(&args, config, out),
        Command::Probe(args) => probe::run(&args, config, out),
        Command::QueryUser(args) => query_user::run(args, config, out),
        Command::LogOff(args) => log_off::run(args, config, out),
        Command::Refresh(args) => refresh::run(args, config, out),
        Command::SyslogTest(args) => syslog_test::run(&args, config, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
