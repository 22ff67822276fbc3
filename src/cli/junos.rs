//! `jims status --junos NAME`: what to type on a firewall, laid out to be pasted.
//!
//! Everything that is no command is a comment, which Junos skips.

use std::io::Write;
use std::path::Path;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{escape, wrap};
use crate::control::junos::Junos;
use crate::control::protocol::{Answer, Request};

/// Width of a comment's text.
const COMMENT_WIDTH: usize = 76;

/// Asks and prints.
pub(super) fn run(
    name: &str,
    json: bool,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let request = Request::Junos {
        name: name.to_owned(),
    };
    let Answer::Junos { junos } = ask::ask(config, &request)? else {
        return Err(ask::unexpected());
    };
    if json {
        ask::print_json(&junos, out)?;
    } else {
        write!(out, "{}", render(&junos))?;
    }
    Ok(Exit::Yes)
}

fn render(junos: &Junos) -> String {
    let mut text = comment(&format!("{}, in configuration mode:", junos.name));
    text += &lines(&junos.configuration);
    text += "commit\n";
    for (number, what) in junos.fill_in.iter().enumerate() {
        text += if number == 0 { "\n" } else { "" };
        text += &comment(what);
    }
    if let Some(certificate) = &junos.certificate {
        text += "\n";
        text += &comment(&format!(
            "Copy {} (below) to {} on the firewall; then, in operational mode:",
            certificate.file, certificate.on_firewall
        ));
        text += &lines(std::slice::from_ref(&certificate.load));
        text += "\n";
        for line in certificate.pem.lines() {
            text += &escape(line);
            text += "\n";
        }
    }
    text += "\n";
    text += &comment("To check, in operational mode:");
    text += &lines(&junos.check);
    for note in &junos.notes {
        text += "\n";
        text += &comment(&format!("Note: {note}"));
    }
    text
}

fn lines(commands: &[String]) -> String {
    // A command is never wrapped: it is there to be pasted.
    let escaped = commands.iter().map(|command| escape(command) + "\n");
    escaped.collect()
}

fn comment(text: &str) -> String {
    let wrapped = wrap(text, COMMENT_WIDTH).into_iter();
    wrapped.map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::junos::JunosCertificate;

    #[test]
    fn what_is_to_be_typed_can_be_pasted() {
        let text = render(&Junos {
            name: "srx-branch-1".into(),
            configuration: vec![
                "set services a".into(),
                "set services b \"<secret>\"".into(),
            ],
            fill_in: vec!["<secret>: /etc/jims/srx-branch-1.secret".into()],
            certificate: Some(JunosCertificate {
                file: "/var/lib/jims/tls/self-signed.pem".into(),
                pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
                on_firewall: "/var/tmp/jims-ca.pem".into(),
                load: "request security pki x".into(),
            }),
            check: vec!["show services c".into()],
            notes: vec!["it must call from 192.0.2.1".into()],
        });
        insta::assert_snapshot!(text);
    }
}
