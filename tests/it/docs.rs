//! What is written about the command line is what the command line does.
//!
//! Regenerate completions with `cargo run -- completions SHELL > completions/FILE` (files in `completions/`).

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

/// The files in `completions/`, named as each shell wants them.
const COMPLETIONS: [(Shell, &str); 5] = [
    (Shell::Bash, "jims.bash"),
    (Shell::Zsh, "_jims"),
    (Shell::Fish, "jims.fish"),
    (Shell::Elvish, "jims.elv"),
    (Shell::PowerShell, "_jims.ps1"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn commands() -> Vec<String> {
    let command = jims::cli::command();
    let names = command.get_subcommands().map(|c| c.get_name().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn completions_are_what_the_binary_generates() {
    for (shell, file) in COMPLETIONS {
        let path: PathBuf = root().join("completions").join(file);
        let mut generated = Vec::new();
        clap_complete::generate(shell, &mut jims::cli::command(), "jims", &mut generated);
        let written = fs::read(&path).unwrap_or_default();
        assert!(
            written == generated,
            "{file} is stale: cargo run -- completions {} > completions/{file}",
            shell.to_string().to_lowercase()
        );
    }
    let files = fs::read_dir(root().join("completions")).expect("folder");
    assert_eq!(files.count(), COMPLETIONS.len(), "nothing else is there");
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let folder = tempfile::tempdir().expect("folder");
    let mut jims = assert_cmd::Command::cargo_bin("jims").expect("binary");
    jims.arg("man").arg(folder.path()).assert().success();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("page");
    assert!(read("jims.1").contains(".TH jims 1"));
    for command in commands() {
        let page = read(&format!("jims-{command}.1"));
        assert!(page.contains(".SH NAME"), "{command}");
        assert!(
            page.contains("EXAMPLES") || page.contains("Examples:"),
            "{command} shows examples"
        );
    }
    let query = read("jims-query-user.1");
    assert!(
        query.contains("\\-\\-for") && query.contains("jims query\\-user"),
        "{query}"
    );
}

#[test]
fn the_readme_lists_every_command_and_no_other() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let table = readme
        .split("<!-- commands -->")
        .nth(1)
        .expect("the README's table of commands");
    let listed: Vec<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `jims "))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, commands());
}

/// Every TOML snippet of the README is a configuration that can be used, but for the files that it names.
#[test]
fn the_readmes_configurations_can_be_used() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let snippets: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!snippets.is_empty());
    for snippet in snippets {
        let folder = tempfile::tempdir().expect("folder");
        let here = snippet.replace("/etc/jims/", &format!("{}/", folder.path().display()));
        for name in [
            "directory.secret",
            "probe.secret",
            "srx-branch-1.secret",
            "clearpass.secret",
        ] {
            let path = folder.path().join(name);
            fs::write(&path, "secret").expect("secret");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).expect("mode");
        }
        let loaded = jims::config::Config::from_toml(&here, &folder.path().join("config.toml"));
        if let Err(problems) = loaded {
            panic!("{problems}");
        }
    }
}
