//! `jims completions`: scripts for five shells.
//!
//! Each script asks `jims` itself what can be typed next (`complete`), so it knows the names that the running service knows
//! and is never older than the binary.

use std::io::Write;

use clap_complete::Shell;
use clap_complete::env::Shells;

use super::complete::VARIABLE;
use super::exit::{Exit, Failure};

/// Print completions for a shell
///
/// Beside commands and options, the names of sources, enforcement points, Collectors and so on are completed, as the running
/// service knows them; users and devices once a letter is typed. The same files are in `completions/` of the source.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims completions bash > /usr/share/bash-completion/completions/jims
  jims completions zsh > /usr/local/share/zsh/site-functions/_jims
  jims completions fish > ~/.config/fish/completions/jims.fish")]
pub(super) struct Args {
    /// Which shell
    shell: Shell,
}

/// An autoloaded function of zsh is called at once: the script only defines it.
const ZSH_FIRST_CALL: &str = "\
if [[ \"${funcstack[1]}\" == _jims ]]; then
    _clap_dynamic_completer_jims \"$@\"
fi
";

/// Prints the script.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit, Failure> {
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(&shell) else {
        return Err(Failure::new(format!("{shell} cannot be completed"), ""));
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "jims", "jims", "jims", &mut script)?;
    out.write_all(script.trim_ascii())?;
    writeln!(out)?;
    if args.shell == Shell::Zsh {
        write!(out, "{ZSH_FIRST_CALL}")?;
    }
    Ok(Exit::Yes)
}
