//! `jims man`: manual pages, made from the same text as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap_mangen::Man;

use super::exit::{Exit, Failure};

/// What every page says of files: path and meaning.
const FILES: [(&str, &str); 5] = [
    (
        "/etc/jims/config.toml",
        "Configuration, unless --config or JIMS_CONFIG names another.",
    ),
    (
        "/run/jims/control.sock",
        "The socket of the running service, on which commands ask it.",
    ),
    (
        "/var/lib/jims",
        "State: the saved table, certificates that jims made, what onboarding stored.",
    ),
    (
        "/usr/share/doc/jims/examples/config.toml",
        "Every key of the configuration with its default and the reason for it.",
    ),
    (
        "/usr/share/doc/jims/schema",
        "JSON Schemas of what --json prints.",
    ),
];

/// What every page says of the environment: name and meaning.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("JIMS_CONFIG", "Configuration file."),
    ("NO_COLOR", "No colour unless --color says otherwise."),
    ("STATE_DIRECTORY", "Folder for state, set by systemd."),
    (
        "RUNTIME_DIRECTORY",
        "Folder for the socket, set by systemd.",
    ),
    (
        "XDG_STATE_HOME, XDG_RUNTIME_DIR",
        "Where state and socket are of a service that is started by an ordinary user.",
    ),
];

/// What exit codes mean where a command says nothing of its own.
const EXIT_CODES: &str = "0 done; 2 error.";

/// Print the manual page, or write the pages of all commands
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims man | man -l -
  jims man /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Folder for `jims.1` and a page for each command; it is made if missing
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints the page of `jims`, or writes every page.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, Failure> {
    let pages = pages()?;
    let Some(folder) = &args.folder else {
        if let Some((_, page)) = pages.first() {
            out.write_all(page)?;
        }
        return Ok(Exit::Yes);
    };
    let failed = |what: String| {
        move |error: io::Error| {
            Failure::new(
                format!("cannot write {what}: {error}"),
                "name a folder that you may write to",
            )
        }
    };
    fs::create_dir_all(folder).map_err(failed(folder.display().to_string()))?;
    for (name, page) in pages {
        let path = folder.join(name);
        fs::write(&path, page).map_err(failed(path.display().to_string()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(Exit::Yes)
}

/// File names and pages: `jims.1` first, then one for each command.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut command = super::command();
    command.build();
    let subs: Vec<&clap::Command> = (command.get_subcommands())
        .filter(|sub| sub.get_name() != "help")
        .collect();
    let mut names = vec!["jims".to_owned()];
    names.extend(subs.iter().map(|sub| format!("jims-{}", sub.get_name())));
    let commands = std::iter::once(&command).chain(subs);
    let page = |(name, command): (&String, &clap::Command)| -> Result<_, Failure> {
        let mut text = Vec::new();
        Man::new(command.clone().name(name.clone())).render(&mut text)?;
        text.extend(further_sections(name, command, &names).into_bytes());
        Ok((format!("{name}.1"), text))
    };
    names.iter().zip(commands).map(page).collect()
}

/// What clap does not know of: exit codes as a section, files, environment, other pages.
fn further_sections(name: &str, command: &clap::Command, names: &[String]) -> String {
    let listed = |list: &[(&str, &str)]| -> String {
        let item = |(what, meaning): &(&str, &str)| {
            format!(".TP\n\\fB{}\\fR\n{}\n", roff(what), roff(meaning))
        };
        list.iter().map(item).collect()
    };
    let others: Vec<String> = (names.iter())
        .filter(|other| *other != name)
        .map(|other| format!("\\fB{}\\fR(1)", roff(other)))
        .collect();
    format!(
        ".SH \"EXIT STATUS\"\n{}\n.SH FILES\n{}.SH ENVIRONMENT\n{}.SH \"SEE ALSO\"\n{}\n",
        roff(&exit_codes(command)),
        listed(&FILES),
        listed(&ENVIRONMENT),
        others.join(",\n")
    )
}

/// What a command's help says of its exit codes.
fn exit_codes(command: &clap::Command) -> String {
    let help = [command.get_long_about(), command.get_after_long_help()];
    let texts = help.into_iter().flatten().map(ToString::to_string);
    let found = texts.flat_map(|text| {
        let paragraphs = text.split("\n\n").map(str::to_owned);
        paragraphs.collect::<Vec<String>>()
    });
    let mut said = found.filter_map(|paragraph| {
        let codes = paragraph.strip_prefix("Exit codes: ")?;
        Some(codes.replace('\n', " "))
    });
    said.next().unwrap_or_else(|| EXIT_CODES.to_owned())
}

/// Text as roff reads it: no line begins with a request, and a hyphen can be searched for and copied.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}
