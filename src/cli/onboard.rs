//! `jims onboard`: its arguments. On a Collector it introduces this one to a Server (`join`), on a Server it invites
//! Collectors and says what becomes of them (`collectors`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgGroup;

use super::collectors::{self, Invitation};
use super::exit::{Exit, Failure};
use super::join::{self, Join};
use crate::config::parse_duration;
use crate::control::protocol::Request;

/// Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors
///
/// On the Server, --invite prints a code once. On the Collector, URL asks for it, checks that the Server is the one that made it, and stores what the Collector needs in state_dir/push; a running jims begins to push at once. Both can be run again: what is done already is found and said.
///
/// Exit codes: 0 done; 1 the answer is no: the Server does not accept the code, or knows no Collector of this name; 2 error, such as a mistyped code.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = USAGE,
    group = ArgGroup::new("what").required(true).multiple(false),
    after_long_help = "\
Examples:
  on the Server:
  jims onboard --invite branch-1
  jims onboard --invite branch-2 --expires 1d --networks 10.2.0.0/16 --json
  jims onboard --list
  jims onboard --describe branch-1 'Zürich, basement'
  jims onboard --disable branch-1       nothing of it is heard until --enable
  jims onboard --remove branch-1        and what it brought leaves

  on the Collector:
  jims onboard https://jims.example.com
  jims onboard https://192.0.2.7:8443 --name headquarters
  jims onboard https://jims.example.com --code-stdin --json < code"
)]
pub(super) struct Args {
    /// The Server to push to: https://HOST or https://HOST:PORT
    #[arg(value_name = "URL", group = "what")]
    url: Option<String>,
    /// The code of the invitation; other users of this machine can see it, so prefer --code-stdin
    #[arg(
        long,
        value_name = "CODE",
        requires = "url",
        conflicts_with_all = SERVERS,
        conflicts_with = "code_stdin"
    )]
    code: Option<String>,
    /// Read the code from standard input
    #[arg(long, requires = "url", conflicts_with_all = SERVERS)]
    code_stdin: bool,
    /// What this Collector calls the Server [default: its host, with the port if it is not 443]
    #[arg(long, value_name = "NAME", requires = "url", conflicts_with_all = SERVERS)]
    name: Option<String>,
    /// What this Collector is, for people [default: collector.description]
    #[arg(long, value_name = "TEXT", requires = "url", conflicts_with_all = SERVERS)]
    description: Option<String>,
    /// Certificates to trust beside the code's own check: a file in PEM form
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with_all = SERVERS)]
    ca_file: Option<PathBuf>,
    /// Invite a Collector and call it NAME: prints a code, once
    #[arg(long, value_name = "NAME", group = "what", help_heading = ON_SERVER)]
    invite: Option<String>,
    /// How long the code can be used, 1m to 30d [default: 1h]
    #[arg(long, value_name = "TIME", requires = "invite", conflicts_with_all = NO_INVITE, value_parser = life, help_heading = ON_SERVER)]
    expires: Option<Duration>,
    /// Addresses it may speak for, such as 10.2.0.0/16,2001:db8:2::/48 [default: all]
    #[arg(long, value_name = "N,…", requires = "invite", conflicts_with_all = NO_INVITE, value_delimiter = ',', help_heading = ON_SERVER)]
    networks: Vec<String>,
    /// Domains it may speak for, such as corp.example.com [default: all]
    #[arg(long, value_name = "D,…", requires = "invite", conflicts_with_all = NO_INVITE, value_delimiter = ',', help_heading = ON_SERVER)]
    domains: Vec<String>,
    /// Groups that its sources may assert, such as 'VPN-*' [default: none, the directory knows them]
    #[arg(long, value_name = "GLOB,…", requires = "invite", conflicts_with_all = NO_INVITE, value_delimiter = ',', help_heading = ON_SERVER)]
    roles: Vec<String>,
    /// Show Collectors and invitations
    #[arg(long, group = "what", help_heading = ON_SERVER)]
    list: bool,
    /// Take back an invitation that nobody used
    #[arg(long, value_name = "NAME", group = "what", help_heading = ON_SERVER)]
    revoke: Option<String>,
    /// Forget a Collector; what it brought leaves
    #[arg(long, value_name = "NAME", group = "what", help_heading = ON_SERVER)]
    remove: Option<String>,
    /// Hear a Collector no more until it is enabled
    #[arg(long, value_name = "NAME", group = "what", help_heading = ON_SERVER)]
    disable: Option<String>,
    /// Hear a Collector again
    #[arg(long, value_name = "NAME", group = "what", help_heading = ON_SERVER)]
    enable: Option<String>,
    /// Say what a Collector is, for people; '' for what it says itself
    #[arg(long, value_names = ["NAME", "TEXT"], num_args = 2, group = "what", help_heading = ON_SERVER)]
    describe: Option<Vec<String>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const USAGE: &str = "\
jims onboard URL [--code-stdin | --code CODE] [OPTIONS]
       jims onboard --invite NAME [OPTIONS]
       jims onboard --list | --revoke NAME | --remove NAME | --disable NAME
                    | --enable NAME | --describe NAME TEXT";

const ON_SERVER: &str = "On the Server";

/// What is asked for on the Server. What belongs to `URL` is refused beside it by name, because clap does not miss a
/// `requires` that something else rules out.
const SERVERS: [&str; 7] = [
    "invite", "list", "revoke", "remove", "disable", "enable", "describe",
];

/// What is asked for beside an invitation.
const NO_INVITE: [&str; 7] = [
    "url", "list", "revoke", "remove", "disable", "enable", "describe",
];

/// How long a code can be used unless told otherwise: long enough to walk to the other machine.
const LIFE: Duration = Duration::from_hours(1);

/// Does what is asked.
pub(super) fn run(
    args: Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let json = args.json;
    if let Some(url) = args.url {
        let join = Join {
            url,
            code: args.code,
            code_stdin: args.code_stdin,
            name: args.name,
            description: args.description,
            ca_file: args.ca_file,
            json,
        };
        return join::run(join, config, out);
    }
    if let Some(name) = args.invite {
        let invitation = Invitation {
            name,
            life: args.expires.unwrap_or(LIFE),
            networks: args.networks,
            domains: args.domains,
            roles: args.roles,
        };
        return collectors::invite(invitation, json, config, out);
    }
    if args.list {
        return collectors::list(json, config, out);
    }
    let change = change(args).ok_or_else(|| Failure::new("nothing is asked for", ""))?;
    collectors::change(change, json, config, out)
}

/// The one change that is asked for.
fn change(args: Args) -> Option<Request> {
    let described = || {
        let mut words = args.describe?.into_iter();
        let (name, text) = (words.next()?, words.next()?);
        Some(Request::Describe { name, text })
    };
    (args.revoke.map(|name| Request::Revoke { name }))
        .or_else(|| args.remove.map(|name| Request::Remove { name }))
        .or_else(|| args.disable.map(|name| Request::Disable { name }))
        .or_else(|| args.enable.map(|name| Request::Enable { name }))
        .or_else(described)
}

fn life(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write 1m to 30d, such as 30m, 1h or 1d".to_owned())
}
