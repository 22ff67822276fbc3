//! How values of one kind are written: durations, addresses, networks, names, files, references to secrets.
//!
//! Each reader takes a value and gives the checked type, or says what is wrong at its place. Which key holds which
//! kind is said in `resolve`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::file::{Table, Value};
use super::secret::{self, SecretError, SecretRef};
use super::suggest;
use crate::identity::name::Name;
use crate::identity::policy::Globs;

/// Longest name of an entry in bytes: it becomes a metric label and a column on screens.
const MAX_ENTRY_NAME_BYTES: usize = 64;

impl Value<'_> {
    /// Text.
    pub(super) fn text(&self) -> Option<String> {
        let text = self.inner.as_str();
        if text.is_none() {
            self.wrong_type("text", "put it in quotation marks");
        }
        text.map(ToOwned::to_owned)
    }

    /// Text that is not empty.
    pub(super) fn some_text(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.spot
                .error("this is empty", "", "write a value, or remove the line");
            return None;
        }
        Some(text)
    }

    /// Text, where empty means absent.
    pub(super) fn text_or_none(&self) -> Option<String> {
        self.text().filter(|text| !text.trim().is_empty())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.inner.as_bool();
        if value.is_none() {
            self.wrong_type("true or false", "write it without quotation marks");
        }
        value
    }

    /// A whole number in a range.
    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let Some(integer) = self.inner.as_integer() else {
            self.wrong_type("a whole number", "write it without quotation marks");
            return None;
        };
        let digits = integer.as_str();
        let number = u32::from_str_radix(digits, integer.radix())
            .ok()
            .filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("{integer} is not from {} to {}", range.start(), range.end());
            self.spot.error(what, "", "");
        }
        number
    }

    /// A TCP or UDP port, 1 to 65535.
    pub(super) fn port(&self) -> Option<u16> {
        self.number(1..=u32::from(u16::MAX))
            .and_then(|port| u16::try_from(port).ok())
    }

    /// A duration with units, in a range.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if let Some(number) = self.inner.as_integer() {
            let hint = format!("write the unit: \"{number}s\"; units are ms, s, m, h, d");
            self.wrong_type("a duration", hint);
            return None;
        }
        let text = self.text()?;
        let Some(duration) = parse_duration(&text) else {
            self.spot.error(
                format!("\"{text}\" is no duration"),
                "",
                "write numbers with units, such as \"30s\", \"5m\" or \"1h30m\"; units are ms, s, m, h, d",
            );
            return None;
        };
        if !range.contains(&duration) {
            let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
            let near = if duration < *range.start() {
                &from
            } else {
                &to
            };
            self.spot.error(
                format!("\"{text}\" is not from {from} to {to}"),
                "",
                format!("\"{near}\""),
            );
            return None;
        }
        Some(duration)
    }

    /// One of the words, each with its meaning.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let what = format!("\"{text}\" is not a value of this key");
            self.spot.error(what, "", suggest::hint(&text, &known));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// An address or a network; mapped addresses become IPv4, host bits are cleared with a warning.
    pub(super) fn network(&self) -> Option<IpNet> {
        let text = self.text()?;
        let parsed = match text.trim().parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => text.trim().parse::<IpNet>().ok().map(unmapped),
        };
        let Some(network) = parsed else {
            self.spot.error(
                format!("\"{text}\" is neither an address nor a network"),
                network_fault(&text),
                "write \"10.1.2.3\", \"10.1.0.0/16\", \"2001:db8::1\" or \"2001:db8::/32\"",
            );
            return None;
        };
        let whole = network.trunc();
        if whole != network {
            self.spot.warning(
                format!("\"{text}\" is read as the network {whole}"),
                "the address has bits beyond the length of the prefix",
                format!(
                    "\"{whole}\" for the network, or \"{}\" for the one address",
                    network.addr()
                ),
            );
        }
        Some(whole)
    }

    /// An address and port to listen on.
    pub(super) fn listener(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        let parsed = text.parse::<SocketAddr>().ok();
        if parsed.is_none() {
            self.spot.error(
                format!("\"{text}\" is not an address with a port"),
                "",
                listener_hint(text.trim()),
            );
        }
        parsed
    }

    /// An address of a server, with a port if it is not the usual one.
    pub(super) fn server(&self, usual_port: u16) -> Option<SocketAddr> {
        let text = self.text()?;
        let text = text.trim();
        let address = text.parse::<IpAddr>().ok();
        let parsed = address
            .map(|address| SocketAddr::new(address, usual_port))
            .or_else(|| text.parse().ok());
        if parsed.is_none() {
            self.spot.error(
                format!("\"{text}\" is not an address"),
                "",
                format!("write \"10.0.0.2\", or \"10.0.0.2:{usual_port}\" with a port"),
            );
        }
        parsed
    }

    /// A name as it appears in directories and logs.
    pub(super) fn name(&self) -> Option<Name> {
        let text = self.text()?;
        Name::new(&text)
            .map_err(|error| {
                self.spot
                    .error(error.to_string(), "", "a name without control characters")
            })
            .ok()
    }

    /// A DNS domain.
    pub(super) fn domain(&self) -> Option<Name> {
        let name = self.name()?;
        let text = name.as_str();
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .chars()
                    .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
        };
        if text.split('.').all(label) {
            return Some(name);
        }
        let hint = match text.strip_suffix('.') {
            Some(bare) => format!("\"{bare}\", without the full stop at the end"),
            None => "the DNS name, such as \"corp.example.com\"".to_owned(),
        };
        self.spot
            .error(format!("\"{text}\" is not a domain name"), "", hint);
        None
    }

    /// The name of an entry: letters, digits, `-`, `_`, `.`.
    pub(super) fn entry_name(&self) -> Option<String> {
        let text = self.some_text()?;
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.chars().all(fits) && text.len() <= MAX_ENTRY_NAME_BYTES {
            return Some(text);
        }
        let better: String = text
            .chars()
            .map(|c| if fits(c) { c } else { '-' })
            .take(MAX_ENTRY_NAME_BYTES / 4)
            .collect();
        self.spot.error(
            format!("\"{text}\" cannot be the name of an entry"),
            "names are metric labels and arguments of commands: letters, digits, '-', '_' and '.', at most 64 bytes",
            format!("\"{}\"", better.trim_matches('-')),
        );
        None
    }

    /// A glob, by itself.
    pub(super) fn glob(&self) -> Option<String> {
        let text = self.some_text()?;
        match Globs::new([text.as_str()]) {
            Ok(_) => Some(text),
            Err(error) => {
                self.spot.error(
                    format!("\"{text}\" is not a pattern: {}", error.kind()),
                    "",
                    "use * for any text and ? for one character, such as \"svc-*\"",
                );
                None
            }
        }
    }

    /// A file that can be read; empty text means absent.
    pub(super) fn readable_file(&self) -> Option<PathBuf> {
        let path = self.spot.findings.path(&self.text_or_none()?);
        if let Err(error) = check_readable(&path) {
            self.file_error(&path, &error);
            return None;
        }
        Some(path)
    }

    /// A file of PEM certificates; empty text means absent.
    pub(super) fn certificate_file(&self) -> Option<PathBuf> {
        let path = self.readable_file()?;
        let content = std::fs::read(&path).unwrap_or_default();
        if !contains(&content, b"-----BEGIN CERTIFICATE-----") {
            self.spot.error(
                format!("{} holds no certificate in PEM form", path.display()),
                if contains(&content, b"PRIVATE KEY-----") { "it holds a private key" } else { "" },
                "a file with -----BEGIN CERTIFICATE-----; DER is turned into it by: openssl x509 -inform der",
            );
            return None;
        }
        Some(path)
    }

    /// A file with a PEM private key that others cannot read; empty text means absent.
    pub(super) fn key_file(&self) -> Option<PathBuf> {
        let path = self.spot.findings.path(&self.text_or_none()?);
        match secret::read_file(&path) {
            Ok(content) if contains(&content, b"PRIVATE KEY-----") => Some(path),
            Ok(content) => {
                self.spot.error(
                    format!("{} holds no private key in PEM form", path.display()),
                    if contains(&content, b"-----BEGIN CERTIFICATE-----") {
                        "it holds a certificate"
                    } else {
                        ""
                    },
                    "a file with -----BEGIN PRIVATE KEY-----",
                );
                None
            }
            Err(SecretError::OthersCanRead { .. }) if only_certificates(&path) => {
                let what = format!("{} holds no private key in PEM form", path.display());
                self.spot.error(
                    what,
                    "it holds a certificate",
                    "a file with -----BEGIN PRIVATE KEY-----",
                );
                None
            }
            Err(error) => {
                self.secret_error(&error);
                None
            }
        }
    }

    /// A problem: this secret cannot be read.
    pub(super) fn secret_error(&self, error: &SecretError) {
        let why = match error {
            SecretError::OthersCanRead { .. } => {
                "whoever has an account here could use it; only the owner and the group may read it"
            }
            _ => "",
        };
        self.spot.error(error.to_string(), why, error.remedy());
    }

    fn file_error(&self, path: &Path, error: &std::io::Error) {
        let (shown, why) = (path.display(), secret::reason(error));
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound if path.is_relative() => {
                "relative paths start in the folder of this configuration file".to_owned()
            }
            std::io::ErrorKind::NotFound => format!("look with: ls -l {shown}"),
            std::io::ErrorKind::PermissionDenied => {
                "let the account that runs jims read the file and enter its folders".to_owned()
            }
            _ => String::new(),
        };
        self.spot
            .error(format!("cannot read {shown}: {why}"), "", hint);
    }
}

impl Table<'_> {
    /// The reference `PREFIX_file`, `PREFIX_env` or `PREFIX_credential`; exactly one must be there and be readable.
    /// `keys` are `[PREFIX, PREFIX_file, PREFIX_env, PREFIX_credential]`.
    pub(super) fn secret(&self, keys: [&'static str; 4]) -> Option<SecretRef> {
        let [inline, file, env, credential] = keys;
        let given = self.optional_secret(keys);
        if !keys.into_iter().any(|key| self.value(key).is_some()) {
            self.spot.error(
                format!("there is no {inline}"),
                "",
                format!("add one of: {file}, {env}, {credential}"),
            );
        }
        given
    }

    /// As [`Table::secret`], where there need not be one.
    pub(super) fn optional_secret(&self, keys: [&'static str; 4]) -> Option<SecretRef> {
        let [inline, file, env, credential] = keys;
        if let Some(value) = self.value(inline) {
            value.spot.error(
                format!("{inline} is not written into this file"),
                "configuration files are copied, shown and kept in version control",
                format!(
                    "put it alone into a file, chmod 0640 that file, and write: {file} = \"…\""
                ),
            );
        }
        let given: Vec<_> = [file, env, credential]
            .into_iter()
            .filter_map(|key| self.value(key).map(|value| (key, value)))
            .collect();
        if let [(first, _), (_, second), ..] = given.as_slice() {
            let what = format!("{first} is given as well");
            second
                .spot
                .error(what, "there is one secret", "keep one of the two");
            return None;
        }
        let (key, value) = given.into_iter().next()?;
        let text = value.some_text()?;
        let reference = if key == file {
            SecretRef::File(self.spot.findings.path(&text))
        } else if key == env {
            SecretRef::Env(text)
        } else {
            SecretRef::Credential(text)
        };
        match reference.read() {
            Ok(_) => Some(reference),
            Err(error) => {
                value.secret_error(&error);
                None
            }
        }
    }
}

/// A duration as people write it: `90s`, `1h30m`.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, millis) in UNITS {
        // A day and less is written in hours, as people say it.
        if rest >= millis && (unit != "d" || rest > millis) {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

const UNITS: [(&str, u128); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration with units as they are written everywhere, such as `1h30m`; `None`: it is none.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        let part = number.checked_mul(u64::try_from(*factor).ok()?)?;
        millis = millis.checked_add(part)?;
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(Duration::from_millis(millis))
}

/// A network of IPv4-mapped addresses as one of IPv4.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(length)) => ipnet::Ipv4Net::new(v4, length).map_or(network, IpNet::V4),
        _ => network,
    }
}

fn network_fault(text: &str) -> &'static str {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    if text.contains(',') || text.trim().contains(' ') {
        return "each address is an entry of its own";
    }
    if address.contains('-') {
        return "ranges are written as networks";
    }
    if address.parse::<SocketAddr>().is_ok() {
        return "a port has no place here";
    }
    if address.parse::<IpAddr>().is_ok() && !prefix.is_empty() {
        return "the length of the prefix is at most 32 for IPv4 and 128 for IPv6";
    }
    if address.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return "an IPv4 address has four parts from 0 to 255, without leading zeros";
    }
    if address.chars().any(char::is_alphabetic) && !address.contains(':') {
        return "names are not looked up here: a peer is known by its address";
    }
    ""
}

fn listener_hint(text: &str) -> String {
    if let Ok(address) = text.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(_) => format!("add the port: \"{address}:PORT\""),
            IpAddr::V6(_) => format!("add the port: \"[{address}]:PORT\""),
        };
    }
    let port = text.rsplit(':').next().unwrap_or_default();
    if port.parse::<u16>().is_ok() {
        let host = text.rsplit_once(':').map_or("", |(host, _)| host);
        if host.contains(':') && !host.starts_with('[') {
            return format!("put an IPv6 address in brackets: \"[{host}]:{port}\"");
        }
        return format!("\"[::]:{port}\" for all addresses, or one address of this machine");
    }
    "write \"[::]:443\" for all addresses, or \"192.0.2.10:443\"".to_owned()
}

fn check_readable(path: &Path) -> Result<(), std::io::Error> {
    // Looked at before it is opened, because opening a pipe would wait for its writer.
    if std::fs::metadata(path)?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    std::fs::File::open(path).map(drop)
}

/// A network as people write it: one address stands for itself.
#[must_use]
pub fn show_network(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// Whether a file that everybody can read is no key at all, which then is the better thing to say.
fn only_certificates(path: &Path) -> bool {
    let content = std::fs::read(path).unwrap_or_default();
    contains(&content, b"-----BEGIN CERTIFICATE-----") && !contains(&content, b"PRIVATE KEY-----")
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("30s"), Some(30.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1h 30m"), Some(5400.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("2d"), Some(172_800.0));
        for wrong in [
            "",
            "30",
            "s",
            "5 min",
            "1.5h",
            "-1s",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        for text in ["7d", "24h", "1h30m", "30s", "250ms", "1m"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn rule_1_mapped_networks_become_ipv4() {
        let network: IpNet = "::ffff:10.1.0.0/112".parse().unwrap();
        assert_eq!(unmapped(network).to_string(), "10.1.0.0/16");
    }
}
