//! The URL of a Server, as an operator types it, and the name that its credential is filed under.

use axum::http::Uri;
use thiserror::Error;

/// Longest name of a target, in bytes.
pub const MAX_NAME: usize = 64;
const HTTPS_PORT: u16 = 443;
const MAX_URL: usize = 512;

/// A Server: `https://host`, perhaps with a port, and with a folder behind a gateway that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    base: String,
    host: String,
    port: u16,
}

/// Why a text is no URL of a Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("this is no URL of a Server")]
    NoUrl,
    /// `http:` or another scheme.
    #[error("a Server is reached by https only")]
    NotHttps,
    /// There is a question or a user in it.
    #[error("the URL of a Server has a host, and perhaps a port and a folder, nothing else")]
    More,
}

impl TargetError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "write it as https://HOST or https://HOST:PORT, where the Server listens"
    }
}

impl Target {
    /// Reads a URL; without a scheme `https` is meant.
    ///
    /// # Errors
    /// It is no URL of a Server.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        let with_scheme = match text.split_once("://") {
            Some(_) => text.to_owned(),
            None => format!("https://{text}"),
        };
        if with_scheme.len() > MAX_URL {
            return Err(TargetError::NoUrl);
        }
        let uri: Uri = with_scheme.parse().map_err(|_| TargetError::NoUrl)?;
        if uri.scheme_str() != Some("https") {
            return Err(TargetError::NotHttps);
        }
        let authority = uri.authority().ok_or(TargetError::NoUrl)?;
        if uri.query().is_some() || authority.as_str().contains('@') || with_scheme.contains('#') {
            return Err(TargetError::More);
        }
        let host = authority.host().to_lowercase();
        let written = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) if port != 0 => port,
            None if !written => HTTPS_PORT,
            _ => return Err(TargetError::NoUrl),
        };
        if host.is_empty() {
            return Err(TargetError::NoUrl);
        }
        let folder = uri.path().trim_end_matches('/');
        let base = match port {
            HTTPS_PORT => format!("https://{host}{folder}"),
            port => format!("https://{host}:{port}{folder}"),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { base, host, port })
    }

    /// The URL of a path of the Server.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `https://host[:port][/folder]`, one text for all ways of writing it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name that is used if none is given: the host, and the port if it is not 443.
    #[must_use]
    pub fn usual_name(&self) -> String {
        let mut name: String = self
            .host
            .chars()
            .map(|c| if c == ':' { '_' } else { c })
            .collect();
        name.truncate(MAX_NAME - 6);
        if self.port != HTTPS_PORT {
            name.push_str(&format!("-{}", self.port));
        }
        name
    }
}

/// Whether a text can be the name of a target: it is a part of a file's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty()
        && text.len() <= MAX_NAME
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_server_is_written_in_many_ways() {
        let read = |text: &str| {
            let target = Target::parse(text).expect("a URL");
            (target.url().to_owned(), target.usual_name())
        };
        let same = (
            "https://hub.example.com".to_owned(),
            "hub.example.com".to_owned(),
        );
        for text in [
            "hub.example.com",
            "https://HUB.example.com/",
            " https://hub.example.com:443",
        ] {
            assert_eq!(read(text), same, "{text}");
        }
        assert_eq!(
            read("hub.example.com:8443"),
            (
                "https://hub.example.com:8443".into(),
                "hub.example.com-8443".into()
            )
        );
        assert_eq!(
            Target::parse("https://hub.example.com/jims/")
                .expect("a URL")
                .at("/healthz"),
            "https://hub.example.com/jims/healthz"
        );
        assert_eq!(
            read("https://[2001:db8::1]:8443"),
            (
                "https://[2001:db8::1]:8443".into(),
                "2001_db8__1-8443".into()
            )
        );
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (text, why) in [
            ("", TargetError::NoUrl),
            ("http://hub.example.com", TargetError::NotHttps),
            ("https://user@hub.example.com", TargetError::More),
            ("https://hub.example.com/?a", TargetError::More),
            ("hub.example.com:0", TargetError::NoUrl),
            ("hub.example.com:99999", TargetError::NoUrl),
            ("two words", TargetError::NoUrl),
        ] {
            assert_eq!(Target::parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_usual_name_is_a_name(text: String, port: u16) {
            for text in [text.clone(), format!("{text}:{port}"), format!("https://{text}.example")] {
                if let Ok(target) = Target::parse(&text) {
                    prop_assert_eq!(Target::parse(target.url()), Ok(target.clone()));
                }
            }
        }
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for name in ["hub", "hub.example.com-8443", "2001_db8__1", "A-1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
