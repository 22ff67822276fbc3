//! The `jims` binary: see the library's first page for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    jims::cli::main()
}
