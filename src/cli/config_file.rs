//! Which configuration and which control socket a command means.
//!
//! A command that asks a running service needs no more than the path of its socket, and an operator may not be allowed
//! to read what else the configuration names. So this looks for that one key and judges nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::config::defaults::Environment;

/// Where the configuration is unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/jims/config.toml";

/// Where the socket of a service under systemd is.
const SYSTEM_SOCKET: &str = "/run/jims/control.sock";

/// The configuration that was named, else the default one if it is there.
pub(super) fn find(named: Option<&Path>) -> Option<PathBuf> {
    let default = Path::new(DEFAULT_CONFIG);
    match named {
        Some(path) => Some(path.to_owned()),
        None => default.exists().then(|| default.to_owned()),
    }
}

/// The control socket of the service that the configuration describes; without a configuration, the usual places.
pub(super) fn socket(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let environment = Environment::of_process();
    let written = match (
        named,
        fs::read_to_string(named.unwrap_or(Path::new(DEFAULT_CONFIG))),
    ) {
        (Some(path), Err(error)) => {
            return Err(Failure::new(
                format!("cannot read the configuration {}: {error}", path.display()),
                "name the file of the running service with --config or $JIMS_CONFIG",
            ));
        }
        (None, Err(_)) => Written::default(),
        (_, Ok(text)) => {
            let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
            Written::read(&text, path)?
        }
    };
    if let Some(socket) = written.socket {
        return Ok(socket);
    }
    let state_dir = written.state_dir.unwrap_or_else(|| environment.state_dir());
    let usual = environment.control_socket(&state_dir);
    let system = Path::new(SYSTEM_SOCKET);
    if !usual.exists() && system.exists() {
        return Ok(system.to_owned());
    }
    Ok(usual)
}

/// The names in a list of tables, such as `syslog_source`; none if the configuration cannot be read.
pub(super) fn names(named: Option<&Path>, list: &str) -> Vec<String> {
    let text = fs::read_to_string(named.unwrap_or(Path::new(DEFAULT_CONFIG))).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let entries = table.get(list).and_then(toml::Value::as_array);
    let names = entries.into_iter().flatten();
    names
        .filter_map(|entry| Some(entry.get("name")?.as_str()?.to_owned()))
        .collect()
}

/// What a configuration says of the socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    socket: Option<PathBuf>,
    state_dir: Option<PathBuf>,
}

impl Written {
    fn read(text: &str, path: &Path) -> Result<Self, Failure> {
        let table: toml::Table = text.parse().map_err(|_| {
            Failure::new(
                format!(
                    "cannot read the configuration {}: it is no TOML",
                    path.display()
                ),
                format!("`jims --config {} run --check` says where", path.display()),
            )
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let at = |section: &str, key: &str| {
            let value = table.get(section)?.get(key)?.as_str()?;
            (!value.is_empty()).then(|| folder.join(value))
        };
        Ok(Self {
            socket: at("control", "socket"),
            state_dir: at("collector", "state_dir"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_a_configuration_that_is_otherwise_wrong() {
        let text = "unknown = 1\n[control]\nsocket = \"run/control.sock\"\n";
        let written = Written::read(text, Path::new("/srv/jims/config.toml")).expect("toml");
        assert_eq!(
            written.socket,
            Some(PathBuf::from("/srv/jims/run/control.sock"))
        );
        assert!(Written::read("[", Path::new("x")).is_err());
    }
}
