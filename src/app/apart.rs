//! Collectors and Servers apart: what the control socket is told where a process has no such part, and where Collectors
//! find this Server.

use std::net::SocketAddr;

use crate::config::{Server, defaults};
use crate::control::protocol::Refusal;

/// This process receives no Collectors.
pub(super) fn no_ingest(is_server: bool) -> Refusal {
    let (message, remedy) = if is_server {
        (
            "this Server does not receive Collectors",
            "set [ingest] enabled = true, and reload",
        )
    } else {
        (
            "this is no Server: it does not receive Collectors",
            "ask on the Server; or add [server], set [ingest] enabled = true, and reload",
        )
    };
    Refusal {
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// Where Collectors find this Server, and whether that is a guess: the first name of the certificate that is configured,
/// else an address that it listens on, else the host's name.
pub(super) fn url(server: &Server, listens: &[SocketAddr], host_name: &str) -> (String, bool) {
    let port = listens
        .first()
        .map_or(defaults::SERVER_PORT, SocketAddr::port);
    let concrete = listens
        .iter()
        .find(|address| !address.ip().is_unspecified());
    let (host, port, guessed) = match (server.certificate_names.first(), concrete) {
        (Some(name), _) => (bracketed(name), port, false),
        (None, Some(address)) => (bracketed(&address.ip().to_string()), address.port(), false),
        (None, None) => (host_name.to_owned(), port, true),
    };
    let url = if port == defaults::SERVER_PORT {
        format!("https://{host}")
    } else {
        format!("https://{host}:{port}")
    };
    (url, guessed)
}

/// An IPv6 address as URLs write it (RFC 3986, section 3.2.2).
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn found(names: &[&str], listens: &[&str]) -> (String, bool) {
        let server = Server {
            listen: Vec::new(),
            certificate: None,
            client_ca_file: None,
            certificate_names: names.iter().map(|&name| name.to_owned()).collect(),
            token_lifetime: Duration::from_hours(8),
            validator_listen: Vec::new(),
            debug_http_listen: Vec::new(),
        };
        let listens: Vec<SocketAddr> = listens
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        url(&server, &listens, "host-1")
    }

    #[test]
    fn collectors_are_sent_to_a_name_then_an_address_then_a_guess() {
        let all = ["[::]:443"];
        let said = |url: &str, guessed| (url.to_owned(), guessed);
        assert_eq!(
            found(&["jims.example.com", "192.0.2.7"], &all),
            said("https://jims.example.com", false)
        );
        assert_eq!(
            found(&["2001:db8::7"], &["[::]:8443"]),
            said("https://[2001:db8::7]:8443", false)
        );
        assert_eq!(
            found(&[], &["[::]:443", "192.0.2.7:9443"]),
            said("https://192.0.2.7:9443", false)
        );
        assert_eq!(found(&[], &all), said("https://host-1", true));
        assert_eq!(found(&[], &[]), said("https://host-1", true));
    }
}
