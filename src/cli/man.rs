//! `jims man`: manual pages, made from the same text as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap_mangen::Man;

use super::exit::{Exit, Failure};

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
    let page = |name: &str, command: clap::Command| -> Result<_, Failure> {
        let mut text = Vec::new();
        Man::new(command.name(name.to_owned())).render(&mut text)?;
        Ok((format!("{name}.1"), text))
    };
    let mut pages = vec![page("jims", command.clone())?];
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        pages.push(page(&format!("jims-{}", sub.get_name()), sub.clone())?);
    }
    Ok(pages)
}
