//! The configuration as operators meet it: the example file, and a museum of files that must be refused.
//!
//! The museum is `tests/fixtures/config/invalid/NN-name.toml`, each beside the exact message it must give. After a
//! wanted change of messages, `JIMS_REWRITE_EXPECTED=1 cargo test --test it config::` writes them anew; read the
//! difference before it is committed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jims::config::difference::{Listener, ListenerRole};
use jims::config::{Config, Loaded, Problem, Problems, difference};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// A folder with what configurations of the tests name: secrets, a certificate, its key, an LDIF file.
fn site() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let write = |name: &str, mode: u32, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("within the folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let certificate = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
    for secret in [
        "directory",
        "events",
        "probe",
        "srx-branch-1",
        "srx-branch-1.next",
        "srx-branch-1.web-api",
        "srx-branch-2",
        "clearpass",
        "clearpass.next",
        "headquarters.toml",
        "nats",
    ] {
        write(&format!("secrets/{secret}"), 0o640, "a secret\n");
    }
    write("secrets/world", 0o644, "a secret\n");
    write("secrets/empty", 0o600, "\n");
    for file in [
        "tls/syslog.crt",
        "tls/senders-ca.crt",
        "tls/server.crt",
        "tls/nats-ca.crt",
        "tls/nats.crt",
    ] {
        write(file, 0o644, certificate);
    }
    write("tls/nats.key", 0o600, key);
    write("tls/syslog.key", 0o600, key);
    write("tls/server.key", 0o600, key);
    write("tls/open.key", 0o644, key);
    write("secrets/svc-jims.keytab", 0o600, "\u{5}\u{2}");
    write("partner.ldif", 0o644, "");
    folder
}

fn read(text: &str, site: &TempDir) -> Result<Loaded, Problems> {
    Config::from_toml(text, &site.path().join("config.toml"))
}

fn good(text: &str, site: &TempDir) -> Loaded {
    read(text, site).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_example_says_what_is_built_in() {
    let site = site();
    let example = good(EXAMPLE, &site).config;
    let bare = good("schema = 1", &site).config;
    assert_eq!(example, bare);
}

#[test]
fn the_examples_in_comments_are_valid() {
    let site = site();
    let all = good(&uncommented(EXAMPLE), &site);
    let config = &all.config;
    assert_eq!(config.domains.len(), 1);
    assert_eq!(config.directories.len(), 2);
    assert_eq!(config.event_sources.len(), 1);
    assert_eq!(config.enforcement_points.len(), 1);
    assert_eq!(config.pushes.len(), 1);
    let syslog = config.syslog.as_ref().expect("syslog runs with a source");
    assert_eq!(syslog.sources.len(), 1);
    assert_eq!(syslog.templates[0].rules.len(), 2);
    let words: Vec<String> = all.warnings.iter().map(ToString::to_string).collect();
    assert!(words.is_empty(), "{words:#?}");

    let bare = good("schema = 1\n[server]", &site).config;
    assert_eq!(config.server, bare.server, "[server] shows its defaults");
}

/// The file with its examples switched on: `#` directly before a key or a head. Where an example gives a key another
/// value than its default line, the example counts.
fn uncommented(text: &str) -> String {
    let is_example = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if !is_example(line) {
            lines.push(line.to_owned());
            continue;
        }
        let example = &line[1..];
        match lines.iter_mut().last() {
            Some(before) if key(before).is_some() && key(before) == key(example) => {
                *before = example.to_owned();
            }
            _ => lines.push(example.to_owned()),
        }
    }
    lines.join("\n")
}

#[test]
fn every_file_of_the_museum_gives_its_exact_message() {
    let site = site();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/invalid");
    let rewrite = std::env::var_os("JIMS_REWRITE_EXPECTED").is_some();
    assert!(
        !rewrite || std::env::var_os("CI").is_none(),
        "messages are not rewritten in CI"
    );
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 24, "the museum has {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let path = site.path().join(file.file_name().unwrap());
        let problems = match Config::from_toml(&text, &path) {
            Ok(_) => panic!("{} is accepted", file.display()),
            Err(problems) => without_folder(problems, site.path()),
        };
        let message = format!("{problems}\n");
        let too_long = message.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_long, None, "{} fits 80 columns", file.display());
        let expected = file.with_extension("expected");
        if rewrite {
            fs::write(&expected, &message).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != message {
            wrong.push(format!("{}:\n{message}", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nIf this is wanted: JIMS_REWRITE_EXPECTED=1 cargo test --test it config::",
        wrong.join("\n")
    );
}

/// The same problems with paths as if the site's folder were the current one.
fn without_folder(problems: Problems, folder: &Path) -> Problems {
    let prefix = format!("{}/", folder.display());
    let shorten = |text: String| text.replace(&prefix, "");
    let mend = |problem: Problem| Problem {
        place: jims::config::problem::Place {
            file: shorten(problem.place.file.display().to_string()).into(),
            ..problem.place
        },
        what: shorten(problem.what),
        why: shorten(problem.why),
        hint: shorten(problem.hint),
        ..problem
    };
    Problems {
        errors: problems.errors.into_iter().map(mend).collect(),
        warnings: problems.warnings.into_iter().map(mend).collect(),
    }
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let site = site();
    let problems = jims::config::load(&site.path().join("none.toml")).unwrap_err();
    assert_eq!(problems.errors.len(), 1);
    assert!(
        problems.to_string().contains("there is no such file"),
        "{problems}"
    );
}

#[test]
fn rule_12_a_udp_source_that_may_speak_for_all_is_worth_a_warning() {
    let site = site();
    let source = "schema = 1\n[[syslog_source]]\nname = \"vpn\"\nsenders = [\"10.0.0.5\"]\n\
                  templates = [\"juniper-secure-connect\"]\n";
    let warned = |extra: &str| {
        let loaded = good(&format!("{source}{extra}"), &site);
        loaded
            .warnings
            .iter()
            .any(|warning| warning.what.contains("over UDP"))
    };
    assert!(warned(""));
    assert!(!warned("networks = [\"10.8.0.0/16\"]"));
    assert!(!warned("transports = [\"tcp\"]"));
}

#[test]
fn rule_12_a_push_speaks_for_no_address_until_some_are_named() {
    let site = site();
    let push = "schema = 1\n[server]\n[[firewall_push]]\nname = \"portal\"\nsenders = [\"10.0.0.9\"]\n\
                user = \"portal\"\npassword_file = \"secrets/clearpass\"\n";
    let bare = good(push, &site);
    assert!(
        bare.warnings
            .iter()
            .any(|warning| warning.what.contains("nothing that it pushes counts"))
    );
    let scopes = bare.config.policy().scopes;
    let networks = scopes["portal"].networks.as_ref().expect("a scope");
    assert!(!networks.contains("10.8.1.2".parse().unwrap()));

    let named = good(&format!("{push}networks = [\"10.8.0.0/16\"]"), &site);
    assert!(named.warnings.is_empty(), "{:?}", named.warnings);
    let changes = difference(&bare.config, &named.config);
    assert_eq!(changes.firewall_pushes.changed, ["portal"]);
    assert!(changes.policy);
}

#[test]
fn a_collector_and_a_server_apart_are_whole_and_nothing_is_wrong_with_them() {
    let site = site();
    let push = "schema = 1\n[[push]]\nname = \"hq\"\nurl = \"https://jims.example.com:8443/\"\n\
                credential_file = \"secrets/headquarters.toml\"\n";
    let collector = good(push, &site);
    assert!(collector.warnings.is_empty(), "{:?}", collector.warnings);
    let target = &collector.config.pushes[0];
    assert_eq!(target.url, "https://jims.example.com:8443");
    assert_eq!(
        target.credential_file,
        site.path().join("secrets/headquarters.toml")
    );
    assert!(collector.config.server.is_none());

    let server = good("schema = 1\n[server]\n[ingest]\nenabled = true\n", &site);
    assert!(server.warnings.is_empty(), "{:?}", server.warnings);
    assert!(server.config.ingest.enabled);

    let changes = difference(&collector.config, &server.config);
    assert!(changes.ingest && changes.restart.is_empty());
    assert_eq!(changes.pushes.removed, ["hq"]);
    let moved = good(&push.replace("8443", "9443"), &site);
    let changes = difference(&collector.config, &moved.config);
    assert_eq!(changes.pushes.changed, ["hq"]);
}

#[test]
fn policy_takes_scopes_from_the_sources() {
    let site = site();
    let policy = good(&uncommented(EXAMPLE), &site).config.policy();
    let scope = &policy.scopes["vpn"];
    let networks = scope.networks.as_ref().expect("a scope");
    assert!(networks.contains("10.8.1.2".parse().unwrap()));
    assert!(!networks.contains("10.9.1.2".parse().unwrap()));
    let scope = &policy.scopes["clearpass"];
    let networks = scope.networks.as_ref().expect("a scope");
    assert!(networks.contains("10.8.1.2".parse().unwrap()));
    assert!(!networks.contains("10.9.1.2".parse().unwrap()));
    assert_eq!(scope.domains.as_ref().expect("a scope").len(), 1);
    assert!(
        !scope.roles.matches("VPN-Users"),
        "none until some are named"
    );
    assert!(policy.filter.exclude_users.matches("SVC-backup"));
    assert_eq!(policy.directories.len(), 2);
}

#[test]
fn rule_24_a_reload_knows_what_to_do_and_what_needs_a_restart() {
    let site = site();
    let before = uncommented(EXAMPLE);
    let after = before
        .replace("\"jims-1\"", "\"jims-2\"")
        .replace("name = \"partner\"", "name = \"guests\"")
        .replace("user=(?<user>\\S+) ip", "u=(?<user>\\S+) ip")
        .replace("\"[::]:6514\"", "\"[::]:6515\"")
        .replace(
            "client_secret_file = \"secrets/srx-branch-1\"",
            "client_secret_file = \"secrets/srx-branch-2\"",
        )
        .replace("\"svc-*\"", "\"service-*\"")
        .replace("per_subnet = 8", "per_subnet = 4");
    let (old, new) = (good(&before, &site).config, good(&after, &site).config);
    assert!(difference(&old, &old).is_empty());

    let changes = difference(&old, &new);
    assert_eq!(changes.restart, ["collector.name"]);
    assert_eq!(changes.directories.added, ["guests"]);
    assert_eq!(changes.directories.removed, ["partner"]);
    assert_eq!(changes.syslog_sources.changed, ["vpn"]);
    assert_eq!(changes.enforcement_points.changed, ["srx-branch-1"]);
    let listener = |port| Listener {
        role: ListenerRole::SyslogTls,
        address: std::net::SocketAddr::new("::".parse().unwrap(), port),
    };
    assert_eq!(changes.listeners.added, [listener(6515)]);
    assert_eq!(changes.listeners.removed, [listener(6514)]);
    assert!(changes.policy && changes.pc_probe);
    assert!(!changes.log && !changes.server_certificate && !changes.syslog_certificate);
}
