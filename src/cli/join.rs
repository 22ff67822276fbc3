//! `jims onboard URL`: introduces this Collector to a Server.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// Which Server, and how.
#[derive(Debug)]
pub(super) struct Join {
    /// As it was typed.
    pub(super) url: String,
    /// The code, if it is on the command line.
    pub(super) code: Option<String>,
    /// The code is the first line of standard input.
    pub(super) code_stdin: bool,
    /// What this Collector calls the Server; default: its host, with the port if it is not 443.
    pub(super) name: Option<String>,
    /// For people; default: that of the configuration.
    pub(super) description: Option<String>,
    /// Certificates to trust.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether to print JSON.
    pub(super) json: bool,
}

/// Introduces this Collector, showing each step.
pub(super) fn run(
    join: Join,
    config: Option<&Path>,
    _out: &mut impl Write,
) -> Result<Exit, Failure> {
    let _unused = (config, &join.code, join.code_stdin, &join.name);
    let _unused = (&join.description, &join.ca_file, join.json);
    Err(Failure::new(
        format!("cannot push to {}: this build of jims cannot", join.url),
        "",
    ))
}
