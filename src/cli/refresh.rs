//! `jims refresh`: has a firewall that is pushed to told everything again.

use std::io::Write;
use std::path::Path;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::escape;
use crate::control::protocol::{Answer, Request};

/// Tell a firewall that is pushed to (`web_api`) everything again, now
///
/// jims does so by itself at its start, after the connection failed, when filters change, and every refresh_interval. By
/// hand: after the authentication table was cleared on the firewall.
///
/// Exit codes: 0 everything is being told again; 1 no firewall of this name is pushed to; 2 error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims refresh srx-branch-1
  jims refresh srx-branch-1 && jims status")]
pub(super) struct Args {
    /// Name of the enforcement point
    #[arg(value_name = "NAME")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks for it and prints what is done.
pub(super) fn run(
    args: Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let request = Request::Refresh { point: args.name };
    let Answer::Refresh(answer) = ask::ask(config, &request)? else {
        return Err(ask::unexpected());
    };
    if args.json {
        ask::print_json(&answer, out)?;
    } else {
        writeln!(out, "{}: {}", escape(&answer.point), escape(&answer.detail))?;
    }
    Ok(if answer.begun { Exit::Yes } else { Exit::No })
}
