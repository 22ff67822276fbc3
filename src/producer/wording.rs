//! How devices write what is nothing, no user or no host name. Pure; what follows from it is each `interpret`'s.

use std::net::IpAddr;

/// A word that stands where nothing is known.
pub(super) fn is_nothing(text: &str) -> bool {
    const NOTHING: [&str; 16] = [
        "",
        "-",
        "--",
        "*",
        "n/a",
        "na",
        "none",
        "null",
        "nil",
        "unknown",
        "(none)",
        "(null)",
        "<unknown>",
        "not-applicable",
        "not applicable",
        "not available",
    ];
    text.len() <= 14 && NOTHING.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A machine account or a host's Kerberos or EAP name: not a user.
pub(super) fn is_computer(user: &str) -> bool {
    user.ends_with('$') || without_host(user).is_some()
}

/// What follows `host/` in a host's Kerberos or EAP name.
pub(super) fn without_host(user: &str) -> Option<&str> {
    let (service, host) = user.split_at_checked(5)?;
    service.eq_ignore_ascii_case("host/").then_some(host)
}

/// `00:11:22:33:44:55`, `0011.2233.4455`, `001122334455`, or an address: no host name.
pub(super) fn is_hardware_or_address(device: &str) -> bool {
    let digits = device.bytes().filter(u8::is_ascii_hexdigit).count();
    let others = device.len() - digits;
    let separators = device
        .bytes()
        .filter(|b| matches!(b, b':' | b'-' | b'.'))
        .count();
    let hardware = digits == 12 && others == separators && matches!(others, 0 | 2 | 5);
    hardware || device.parse::<IpAddr>().is_ok()
}
