//! The house keeps its laws: which room may use which, where sockets, clocks, tasks and secrets live, how long a file is.
//!
//! Everything is data above and one search below. A room that has to use another one is a line in [`MAY_USE`], to be
//! argued for in review. What clippy can see (length of functions, banned calls) is left to clippy.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom, itself aside. `app` and the crate's root may use everything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("access", &["config", "identity"]),
    // syslog-test shows a line as the wire reads it.
    (
        "cli",
        &[
            "app", "config", "control", "demo", "identity", "producer", "runtime", "text", "tui",
            "wire",
        ],
    ),
    // A member keeps and stores whole tables.
    (
        "cluster",
        &["config", "identity", "net", "runtime", "snapshot", "writer"],
    ),
    // Templates of the file are checked by the room that runs them.
    ("config", &["identity", "producer"]),
    (
        "control",
        &["config", "identity", "net", "runtime", "writer"],
    ),
    (
        "demo",
        &["app", "config", "identity", "net", "runtime", "tui"],
    ),
    (
        "directory",
        &["config", "identity", "net", "runtime", "wire", "writer"],
    ),
    (
        "enforcement",
        &["access", "config", "identity", "net", "runtime", "writer"],
    ),
    // What ended comes from the writer's queue.
    ("history", &["config", "identity", "runtime", "writer"]),
    ("identity", &[]),
    ("net", &["config", "identity", "runtime", "wire"]),
    (
        "producer",
        &[
            "access", "config", "identity", "net", "runtime", "wire", "writer",
        ],
    ),
    (
        "push",
        &["access", "config", "identity", "net", "runtime", "writer"],
    ),
    ("runtime", &["config", "identity"]),
    // What changed comes from the writer, access tokens from whoever gives them.
    ("snapshot", &["access", "identity", "runtime", "writer"]),
    ("text", &[]),
    // A client of the control socket in every case.
    ("tui", &["control", "runtime", "text"]),
    ("wire", &[]),
    ("writer", &["identity", "runtime"]),
];

/// Code that may stand only where it is named: what to look for, and the files or folders under `src/`.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("TcpListener::bind", &["net/"]),
    ("UdpSocket::bind", &["net/"]),
    ("UnixListener::bind", &["net/"]),
    ("TcpStream::connect", &["net/"]),
    ("UnixStream::connect", &["net/"]),
    ("Socket::new", &["net/"]),
    ("SystemTime::now", &["runtime/clock.rs"]),
    ("Instant::now", &["runtime/clock.rs"]),
    ("Timestamp::now", &["runtime/clock.rs"]),
    ("Zoned::now", &["runtime/clock.rs"]),
    ("tokio::spawn", &["runtime/supervisor.rs"]),
    ("task::spawn", &["runtime/supervisor.rs"]),
    ("thread::spawn", &["runtime/supervisor.rs"]),
    ("\"CREDENTIALS_DIRECTORY\"", &["config/secret.rs"]),
];

/// What a pure room does not name.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "identity",
        &["serde", "tokio", "std::fs", "std::env", "tracing::"],
    ),
    ("wire", &["tokio", "std::fs", "std::env", "tracing::"]),
];

/// Longest file in lines, tests aside.
const MAX_LINES: usize = 600;

/// One file of the tree.
struct Source {
    /// Path under the package.
    path: String,
    /// All of it.
    text: String,
    /// What comes before its tests.
    code: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let code = text
                    .split("#[cfg(test)]")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                let path = path.strip_prefix(root).expect("within the package");
                let path = path.to_string_lossy().into_owned();
                // A file of tests is nothing but tests.
                let code = if path.ends_with("/tests.rs") || path.contains("/tests/") {
                    String::new()
                } else {
                    code
                };
                found.push(Source { path, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// The lines of code that are no comment, with their numbers.
fn statements(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(code.lines());
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn room(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or_default()
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let own = room(&source.path);
        if matches!(own, "app" | "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == own) else {
            problems.push(format!(
                "{}: the room {own} is not in the table",
                source.path
            ));
            continue;
        };
        for (number, line) in statements(&source.code) {
            for used in line.split("crate::").skip(1) {
                let used = used
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                // A group of rooms in braces reads as an empty name, which no room may use: one line a room.
                let used = used.unwrap_or_default();
                if used != own && !allowed.contains(&used) {
                    problems.push(format!("{}:{number}: {own} uses {used}", source.path));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn sockets_clocks_tasks_and_secrets_have_one_home() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let path = source.path.trim_start_matches("src/");
        for (number, line) in statements(&source.code) {
            for (code, homes) in ONLY_IN {
                if line.contains(code) && !homes.iter().any(|home| path.starts_with(home)) {
                    problems.push(format!(
                        "{}:{number}: {code} outside {homes:?}",
                        source.path
                    ));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn pure_rooms_stay_pure() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let own = room(&source.path);
        let absent = ABSENT.iter().filter(|(name, _)| *name == own);
        for word in absent.flat_map(|(_, words)| *words) {
            for (number, line) in statements(&source.code) {
                if line.contains(word) {
                    problems.push(format!("{}:{number}: {own} names {word}", source.path));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn every_module_says_what_it_is_and_is_not_too_long() {
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if !source.text.starts_with("//!") {
            problems.push(format!("{}: begins without //!", source.path));
        }
        let lines = source.code.lines().count();
        if source.path.starts_with("src/") && lines > MAX_LINES {
            problems.push(format!("{}: {lines} lines", source.path));
        }
    }
    none(&problems);
}

#[test]
fn nothing_is_left_for_later_or_skipped() {
    // Joined here, so that this file does not hold them.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ig", "nore"],
        ["/wor", "k/"],
        [".cargo/", "registry"],
    ];
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in (1..).zip(source.text.lines()) {
            for word in words.map(|parts| parts.concat()) {
                if line.contains(&word) {
                    problems.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
    }
    none(&problems);
}
