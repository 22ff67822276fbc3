//! Identity producers: each a task, its conversation and an `interpret`.

pub mod event_log;
pub mod firewall_push;
pub mod pc_probe;
pub mod syslog;
mod wording;

/// Domains of accounts that every Windows has.
fn is_system_domain(domain: &str) -> bool {
    [
        "NT AUTHORITY",
        "NT SERVICE",
        "Window Manager",
        "Font Driver Host",
        "IIS APPPOOL",
    ]
    .iter()
    .any(|system| domain.eq_ignore_ascii_case(system))
}
