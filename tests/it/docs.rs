//! What is written about the command line is what the command line does.
//!
//! Regenerate completions with `cargo run -- completions SHELL > completions/FILE` (files in `completions/`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

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
        let mut jims = assert_cmd::Command::cargo_bin("jims").expect("binary");
        jims.args(["completions", &shell.to_string()]);
        let generated = jims.output().expect("jims runs").stdout;
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
    let sections = ["EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"];
    let mut names = vec!["jims.1".to_owned()];
    names.extend(commands().iter().map(|name| format!("jims-{name}.1")));
    let there = fs::read_dir(folder.path()).expect("folder").count();
    assert_eq!(there, names.len(), "one page a command");
    for name in &names {
        let page = read(name);
        for section in sections {
            let heading = page.lines().any(|line| {
                line.strip_prefix(".SH ")
                    .map(|title| title.trim_matches('"'))
                    == Some(section)
            });
            assert!(heading, "{name} has no section {section}");
        }
        well_formed(&folder.path().join(name));
    }
    assert!(read("jims-status.1").contains("1 something needs attention"));
    let query = read("jims-query-user.1");
    assert!(
        query.contains("\\-\\-for") && query.contains("jims query\\-user"),
        "{query}"
    );
}

/// What groff says of a page, where it is installed: nothing.
fn well_formed(page: &Path) {
    let arguments = ["-man", "-Kutf8", "-Tutf8", "-ww", "-z"];
    let asked = Process::new("groff").args(arguments).arg(page).output();
    if let Ok(output) = asked {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

/// Walks the whole tree of commands.
#[test]
fn every_command_that_takes_arguments_shows_an_example_of_itself() {
    let mut waiting = vec![("jims".to_owned(), jims::cli::command())];
    let mut walked = 0;
    while let Some((name, command)) = waiting.pop() {
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            waiting.push((format!("{name} {}", sub.get_name()), sub.clone()));
        }
        let help = command.get_after_long_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        let shown = examples.lines().any(|line| line.contains(&name));
        assert!(shown, "{name} --help shows no example of it");
        walked += 1;
    }
    assert_eq!(walked, commands().len() + 1);
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

/// The picture of the README is the screen that the dashboard's test holds, so it is never stale.
#[test]
fn the_readmes_picture_is_the_overview() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let picture = readme
        .split("<!-- overview -->\n```text\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next())
        .expect("the README's picture");
    let snapshot = root().join("src/tui/snapshots/jims__tui__tests__overview_80x24.snap");
    let snapshot = fs::read_to_string(snapshot).expect("snapshot");
    let screen = snapshot.split("---\n").nth(2).expect("a screen");
    let screen: Vec<&str> = screen.lines().map(str::trim_end).collect();
    assert_eq!(
        picture.lines().collect::<Vec<_>>(),
        screen,
        "put the screen of the snapshot into the README"
    );
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
            "nats.secret",
        ] {
            let path = folder.path().join(name);
            fs::write(&path, "secret").expect("secret");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).expect("mode");
        }
        let certificate = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        fs::write(folder.path().join("nats-ca.pem"), certificate).expect("a certificate");
        let loaded = jims::config::Config::from_toml(&here, &folder.path().join("config.toml"));
        if let Err(problems) = loaded {
            panic!("{problems}");
        }
    }
}
