//! `jims completions`: scripts for five shells.

use std::io::Write;

use clap_complete::Shell;

use super::exit::{Exit, Failure};

/// Print completions for a shell
///
/// The same files are in `completions/` of the source.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims completions bash > /etc/bash_completion.d/jims
  jims completions zsh > /usr/local/share/zsh/site-functions/_jims
  jims completions fish > ~/.config/fish/completions/jims.fish")]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, Failure> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "jims", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Yes)
}
