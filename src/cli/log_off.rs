//! `jims log-off`: ends sessions by the operator's word.

use std::io::Write;
use std::path::Path;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{count, escape, table};
use crate::control::protocol::{Answer, LogOff, Request};

/// End the sessions of a user, at an address, or at a device
///
/// Firewalls are told at their next query. New evidence makes a new session at once: to keep somebody out, use
/// exclude_users or exclude_addresses in `filter`.
///
/// Exit codes: 0 sessions were ended; 1 there was none; 2 error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims log-off alice                    every session of alice, in every domain
  jims log-off 'CORP\\alice'             of alice in one domain
  jims log-off 10.1.2.50                user and device at the address")]
pub(super) struct Args {
    /// User (alice, CORP\alice, alice@corp.example.com), IP address, or device
    #[arg(value_name = "WHO")]
    who: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Ends the sessions and prints which.
pub(super) fn run(
    args: Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let Answer::LogOff(answer) = ask::ask(config, &Request::LogOff { who: args.who })? else {
        return Err(ask::unexpected());
    };
    if args.json {
        ask::print_json(&answer, out)?;
    } else {
        write!(out, "{}", render(&answer))?;
    }
    Ok(if answer.ended.is_empty() {
        Exit::No
    } else {
        Exit::Yes
    })
}

fn render(answer: &LogOff) -> String {
    if answer.ended.is_empty() {
        return format!("no session of {}, nothing to end\n", escape(&answer.who));
    }
    let rows: Vec<Vec<String>> = answer
        .ended
        .iter()
        .map(|ended| {
            let or_dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                ended.address.to_string(),
                or_dash(&ended.user),
                or_dash(&ended.device),
                ended.domain.clone(),
            ]
        })
        .collect();
    let heading = ["ADDRESS", "USER", "DEVICE", "DOMAIN"];
    let ended = count(answer.ended.len(), "session");
    format!("ended {ended}\n{}", table(2, &heading, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Ended;

    #[test]
    fn what_ended_is_listed() {
        let answer = LogOff {
            who: "alice".into(),
            ended: vec![Ended {
                address: "2001:db8::7".parse().expect("address"),
                user: Some("alice".into()),
                device: None,
                domain: "corp.example.com".into(),
            }],
        };
        assert_eq!(
            render(&answer),
            "ended 1 session\n  ADDRESS      USER   DEVICE  DOMAIN\n  2001:db8::7  alice  -       corp.example.com\n"
        );
    }
}
