//! Captures as devices write them, made plain: escapes undone, quotes cut, words for "nothing" taken as nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::config::Unescape;
use crate::identity::address::canonical;
use crate::producer::wording::{is_computer, is_hardware_or_address, is_nothing};

/// Most groups that are taken from one line.
const MAX_GROUPS: usize = 64;

/// Longest capture that is looked at, in bytes; longer ones are nothing but trouble.
const MAX_CAPTURE_BYTES: usize = 8 << 10;

/// What a rule captured, cleaned; what is absent is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures<'t> {
    /// As written, with any qualifier.
    pub user: Option<Cow<'t, str>>,
    /// Domain, in any of its names.
    pub domain: Option<Cow<'t, str>>,
    /// The address, or what stands where it should be.
    pub address: Option<Result<IpAddr, Cow<'t, str>>>,
    /// Host name.
    pub device: Option<Cow<'t, str>>,
    /// Groups, not yet taken apart.
    pub group: Option<Cow<'t, str>>,
    /// Stamp in the text.
    pub timestamp: Option<Cow<'t, str>>,
}

impl<'t> Captures<'t> {
    /// Cleans raw captures, given in the order of [`super::CAPTURE_NAMES`].
    pub(super) fn clean(raw: [Option<&'t str>; 6], unescape: Unescape) -> Self {
        let [user, domain, address, device, group, timestamp] =
            raw.map(|raw| raw.and_then(|raw| value(raw, unescape)));
        Self {
            user: user.filter(|user| !is_computer(user)),
            domain,
            address: address.and_then(address_of),
            device: device.filter(|device| !is_hardware_or_address(device)),
            group,
            timestamp,
        }
    }

    /// The groups: separated by comma, semicolon or bar; of distinguished names the first `CN`.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let text = self.group.as_deref().unwrap_or("");
        let separators: &[char] = if is_distinguished(text) {
            &[';', '|']
        } else {
            &[',', ';', '|']
        };
        text.split(separators)
            .map(str::trim)
            .map(|group| {
                if is_distinguished(group) {
                    group
                        .get(3..)
                        .and_then(|cn| cn.split(',').next())
                        .unwrap_or("")
                } else {
                    group
                }
            })
            .filter(|group| !group.is_empty())
            .take(MAX_GROUPS)
    }
}

fn value(raw: &str, unescape: Unescape) -> Option<Cow<'_, str>> {
    let text = unquoted(raw.trim());
    if text.len() > MAX_CAPTURE_BYTES || is_nothing(text) {
        return None;
    }
    let plain = match unescape {
        Unescape::None => Cow::Borrowed(text),
        Unescape::Json => from_json(text),
        Unescape::Percent => from_percent(text),
    };
    (!is_nothing(&plain)).then_some(plain)
}

/// Without one pair of quotes around it.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .map_or(text, str::trim)
}

/// An address; `A-A`, `A/32`, `A/128` are one too, any other range or network is nothing, and so is "unspecified".
fn address_of(text: Cow<'_, str>) -> Option<Result<IpAddr, Cow<'_, str>>> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let one = |text: &str| -> Option<IpAddr> {
        let unzoned = text.split_once('%').map_or(text, |(address, _)| address);
        unzoned.trim().parse().ok().map(canonical)
    };
    let whole =
        |address: IpAddr, prefix: &str| prefix == if address.is_ipv4() { "32" } else { "128" };
    if let Some(address) = one(inner) {
        return (!address.is_unspecified()).then_some(Ok(address));
    }
    if let Some((low, high)) = inner.split_once('-')
        && let (Some(low), Some(high)) = (one(low), one(high))
    {
        return (low == high && !low.is_unspecified()).then_some(Ok(low));
    }
    if let Some((address, prefix)) = inner.split_once('/')
        && let Some(address) = one(address)
        && prefix.bytes().all(|b| b.is_ascii_digit())
    {
        return (whole(address, prefix) && !address.is_unspecified()).then_some(Ok(address));
    }
    Some(Err(text))
}

fn is_distinguished(text: &str) -> bool {
    text.get(..3).is_some_and(|p| p.eq_ignore_ascii_case("cn="))
}

/// The inside of a JSON string; text that is none stays as it is.
fn from_json(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    serde_json::from_str::<String>(&format!("\"{text}\"")).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// `%5C` and the like; what is no code, or makes no UTF-8, stays as it is.
fn from_percent(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let code = tail
            .first_chunk::<2>()
            .filter(|_| *first == b'%')
            .and_then(|code| {
                let high = char::from(code[0]).to_digit(16)?;
                let low = char::from(code[1]).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()
            });
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or(&[]);
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean<'t>(raw: [Option<&'t str>; 6], unescape: Unescape) -> Captures<'t> {
        Captures::clean(raw, unescape)
    }

    fn address(text: &str) -> String {
        match address_of(Cow::Borrowed(text)) {
            None => "absent".to_owned(),
            Some(Ok(address)) => address.to_string(),
            Some(Err(text)) => format!("bad {text}"),
        }
    }

    #[test]
    fn addresses_as_devices_write_them() {
        for (text, read) in [
            ("10.1.2.3", "10.1.2.3"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("fe80::1%eth0", "fe80::1"),
            ("10.1.11.18-10.1.11.18", "10.1.11.18"),
            ("10.1.11.0-10.1.11.255", "absent"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("2001:db8::1/128", "2001:db8::1"),
            ("10.1.2.0/24", "absent"),
            ("0.0.0.0/0", "absent"),
            ("0.0.0.0", "absent"),
            ("::", "absent"),
            ("10.1.2", "bad 10.1.2"),
            ("10.1.2.3:80", "bad 10.1.2.3:80"),
            ("vpn-host", "bad vpn-host"),
        ] {
            assert_eq!(address(text), read, "{text}");
        }
    }

    #[test]
    fn words_for_nothing_are_nothing_and_escapes_are_undone() {
        for nothing in [
            "",
            " - ",
            "N/A",
            "Not-Applicable",
            "\"\"",
            "(NULL)",
            "Unknown",
            "*",
        ] {
            let captures = clean([Some(nothing); 6], Unescape::None);
            assert_eq!(captures, Captures::default(), "{nothing}");
        }
        let user = |raw, unescape| {
            clean([Some(raw), None, None, None, None, None], unescape)
                .user
                .map(Cow::into_owned)
        };
        assert_eq!(
            user(r"CORP\\al\u00efce", Unescape::Json).as_deref(),
            Some("CORP\\alïce")
        );
        assert_eq!(
            user("CORP%5calice%", Unescape::Percent).as_deref(),
            Some("CORP\\alice%")
        );
        assert_eq!(user("'alice'", Unescape::None).as_deref(), Some("alice"));
        assert_eq!(user("host/ws1.corp.example.com", Unescape::None), None);
        assert_eq!(user("CORP\\WS1$", Unescape::None), None);
    }

    #[test]
    fn hardware_addresses_are_no_devices() {
        for (text, device) in [
            ("00:11:22:aa:BB:cc", false),
            ("00-11-22-aa-BB-cc", false),
            ("0011.22aa.bbcc", false),
            ("001122aabbcc", false),
            ("10.1.2.3", false),
            ("ws-0042", true),
            ("deadbeefcafe.corp.example.com", true),
        ] {
            assert_eq!(!is_hardware_or_address(text), device, "{text}");
        }
    }

    #[test]
    fn groups_are_taken_apart() {
        let groups = |text| {
            let captures = clean([None, None, None, None, Some(text), None], Unescape::None);
            captures.groups().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            groups("VPN-Users, Staff;;Admins"),
            ["VPN-Users", "Staff", "Admins"]
        );
        assert_eq!(groups("CN=VPN,OU=x,DC=y;cn=Staff,DC=y"), ["VPN", "Staff"]);
        assert_eq!(groups(&"g,".repeat(1000)).len(), MAX_GROUPS);
    }
}
