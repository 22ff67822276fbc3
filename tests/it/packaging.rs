//! What the package installs is there, and the unit names nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `packaging/build-deb` makes: the binary and the manual pages.
const MADE: [&str; 2] = ["target/release/jims", "target/package/man/*.1"];

/// Source, destination and mode of each asset.
fn assets() -> Vec<[String; 3]> {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = text.parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let list = deb["assets"].as_array().expect("assets");
    let of = |asset: &toml::Value, at: usize| asset[at].as_str().expect("text").to_owned();
    list.iter().map(|a| [0, 1, 2].map(|at| of(a, at))).collect()
}

/// The files that a pattern means: `*` stands for the beginning of a name.
fn files(pattern: &str) -> Vec<String> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let Some(ending) = name.strip_prefix('*') else {
        return vec![pattern.to_owned()];
    };
    let entries = fs::read_dir(root().join(folder)).expect("folder");
    let names = entries.map(|entry| entry.expect("entry").file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(ending))
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

#[test]
fn everything_that_is_installed_is_there() {
    let mut made = BTreeSet::from(MADE);
    for [source, to, mode] in assets() {
        assert!(!to.starts_with('/'), "{to}");
        assert!(
            ["755", "644", "640"].contains(&mode.as_str()),
            "{to}: {mode}"
        );
        if made.remove(source.as_str()) {
            continue;
        }
        let found = files(&source);
        assert!(!found.is_empty(), "{source}");
        for file in found {
            assert!(root().join(&file).is_file(), "{file}");
        }
    }
    assert!(made.is_empty(), "not installed: {made:?}");
    for script in ["build-deb", "deb/postinst", "deb/prerm", "deb/postrm"] {
        let path = root().join("packaging").join(script);
        let mode = fs::metadata(path).expect(script).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} can be run");
    }
}

#[test]
fn the_unit_names_only_what_the_package_installs() {
    let unit = fs::read_to_string(root().join("packaging/jims.service")).expect("unit");
    let installed: BTreeSet<String> = (assets().into_iter())
        .map(|[_, to, _]| format!("/{to}"))
        .collect();
    // Of the package procps, on which ours depends.
    let others = ["/bin/kill"];
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| line.split(['=', ' ']).filter(|word| word.starts_with('/')));
    let named: Vec<&str> = words.filter(|word| !others.contains(word)).collect();
    assert!(named.len() >= 3, "{named:?}");
    for path in named {
        assert!(installed.contains(path), "{path}");
    }
    // Who the unit runs as is who the package makes.
    let users = fs::read_to_string(root().join("packaging/jims.sysusers")).expect("users");
    assert!(users.lines().any(|line| line.starts_with("u jims ")));
    assert!(unit.contains("\nUser=jims\n") && unit.contains("\nGroup=jims\n"));
}
