//! `jims status`: how everything is, and what needs attention.
//!
//! What needs an operator comes first, each thing with its remedy; then everything else, one file a group: `head`,
//! `cluster`, `sources`, `firewalls`, `apart`. The other pages of the command are beside this folder.

mod apart;
mod cluster;
mod firewalls;
mod head;
mod sources;

use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{HEADING, thousands};
use crate::control::protocol::{Answer, Request, Status};
use crate::tui;

/// Show what needs attention, then totals, directories, producers, firewalls and strangers
///
/// Exit codes: 0 all is well; 1 something needs attention; 2 the service does not answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims status
  jims status --watch
  jims status --json | jq .totals
  jims status --collectors
  jims status --requests
  jims status --junos srx-branch-1
  jims status > /dev/null || echo 'look at jims'")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show the Collectors that push to this Server instead; exit code 1 if one needs attention
    #[arg(long, conflicts_with_all = ["requests", "junos"])]
    collectors: bool,
    /// Show what firewalls asked that was not understood instead; exit code 1 if there is any
    #[arg(long)]
    requests: bool,
    /// Watch it live on this terminal: sessions, producers, firewalls, what happens now; `?` shows the keys
    #[arg(long, conflicts_with_all = ["json", "collectors", "requests", "junos"])]
    watch: bool,
    /// Print what to type on the firewall of this enforcement point instead
    #[arg(long, value_name = "POINT", conflicts_with = "requests")]
    junos: Option<String>,
}

/// Asks and prints.
pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    if args.watch {
        return watch(config);
    }
    if args.collectors {
        return super::collectors::page(args.json, config, out);
    }
    if args.requests {
        return super::requests::run(args.json, config, out);
    }
    if let Some(point) = &args.junos {
        return super::junos::run(point, args.json, config, out);
    }
    let Answer::Status(status) = ask::ask(config, &Request::Status)? else {
        return Err(ask::unexpected());
    };
    if args.json {
        ask::print_json(&status, out)?;
    } else {
        write!(out, "{}", render(&status))?;
    }
    Ok(if status.attention.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// Shows the dashboard until it is left. That is a success, whatever it showed.
fn watch(config: Option<&Path>) -> Result<Exit, Failure> {
    let options = tui::Options {
        socket: super::config_file::socket(config)?,
        colour: super::render::colour(),
        ends: None,
        notice: String::new(),
    };
    let shown = ask::block_on(tui::run(options, CancellationToken::new()))?;
    match shown {
        Ok(_ended) => Ok(Exit::Yes),
        Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
    }
}

fn render(status: &Status) -> String {
    let mut text = head::health(status);
    text.push('\n');
    text.push_str(&head::site(status));
    let groups = [
        ("Cluster", cluster::cluster(status)),
        ("Members", cluster::members(status)),
        ("Leases", cluster::leases(status)),
        ("Directories", sources::directories(status)),
        ("Producers", sources::producers(status)),
        ("Event sources", sources::event_sources(status)),
        ("PC probe", sources::pc_probe(status)),
        ("Server", firewalls::server(status)),
        ("Enforcement points", firewalls::points(status)),
        ("Web API", firewalls::pushed_to(status)),
        ("Collectors", apart::collectors(status)),
        ("Pushes", apart::pushes(status)),
        ("Strangers", firewalls::strangers(status)),
    ];
    for (title, body) in groups.iter().filter(|(_, body)| !body.is_empty()) {
        text.push_str(&format!("\n{HEADING}{title}{HEADING:#}\n{body}"));
    }
    text
}

fn rows<T>(list: &[T], row: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    list.iter().map(row).collect()
}

/// The number, or a dash for what is not known.
fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), thousands)
}

#[cfg(test)]
mod tests;
