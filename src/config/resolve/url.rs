//! Addresses of HTTPS services that jims calls.

use reqwest::Url;

use crate::config::file::Value;

/// An address with a host and one of the schemes, with the text as it was written.
pub(super) fn parsed(value: &Value<'_>, schemes: &[&str], example: &str) -> Option<(String, Url)> {
    let text = value.some_text()?;
    let url = text.trim().parse::<Url>().ok();
    let url = url.filter(|url| url.host_str().is_some() && schemes.contains(&url.scheme()));
    let Some(url) = url else {
        value.spot.error(
            format!("\"{text}\" is not an https address"),
            "",
            format!("write \"{example}\""),
        );
        return None;
    };
    Some((text, url))
}

/// The address without a slash at its end; a problem if there is more in it than host, port and folder, or one of the
/// paths that jims adds. `account` says where an account is written.
pub(super) fn base(
    value: &Value<'_>,
    (text, url): &(String, Url),
    account: &str,
    added: &[&str],
) -> Option<String> {
    let refuse = |what: String, why: &str, hint: &str| {
        value.spot.error(what, why, hint);
        None
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "a user or password stands in this address".to_owned(),
            "addresses are shown in logs and by status",
            account,
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(
            format!("\"{text}\" has something after its path"),
            "",
            "end it after host and port",
        );
    }
    let base = url.as_str().trim_end_matches('/');
    if let Some(base) = added.iter().find_map(|path| base.strip_suffix(path)) {
        return refuse(
            format!("\"{text}\" names the path already"),
            "jims adds it",
            &format!("\"{base}\""),
        );
    }
    Some(base.to_owned())
}
