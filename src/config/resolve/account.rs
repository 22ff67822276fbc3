//! Accounts that sign on somewhere: how, as whom, with which proof, and where Kerberos is spoken.
//!
//! The same keys in every table that has an account; what a table allows of them is handed in.

use std::net::IpAddr;

use crate::config::file::{Table, Value};
use crate::config::secret::SecretRef;
use crate::config::{Auth, Proof};

/// An account and how it signs on.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) auth: Auth,
    pub(super) user: String,
    pub(super) proof: Proof,
    pub(super) kdc: Vec<String>,
}

/// The keys `auth`, `user`, `password_*` or `keytab_*`, and `kdc`.
pub(super) fn account(table: &Table<'_>, auths: &[(&str, Auth)], default: Auth) -> Option<Account> {
    let auth = table
        .read("auth", |value| value.word(auths))
        .unwrap_or(default);
    let account = user_and_proof(table, auth);
    let kdc = table.list("kdc", kdc);
    if !kdc.is_empty()
        && matches!(auth, Auth::Simple | Auth::Ntlm)
        && let Some(value) = table.value("kdc")
    {
        value.spot.warning(
            "nobody is asked there",
            "only Kerberos needs a key distribution centre",
            "remove kdc, or set auth = \"kerberos\"",
        );
    }
    let (user, proof) = account?;
    Some(Account {
        auth,
        user,
        proof,
        kdc,
    })
}

/// The keys `user` and `password_*` or `keytab_*`.
pub(super) fn user_and_proof(table: &Table<'_>, auth: Auth) -> Option<(String, Proof)> {
    let user = table.required("user", "\"svc-jims@corp.example.com\"", |value| {
        user(value, auth)
    });
    let proof = proof(table, auth);
    Some((user?, proof?))
}

/// A problem: Kerberos is asked for, and the host is an address.
pub(super) fn kerberos_needs_a_name(value: &Value<'_>, address: &str) {
    value.spot.error(
        format!("Kerberos needs a host name, and {address} is an address"),
        "a ticket is made out to a name",
        "name the host as its certificate and DNS do, such as \"dc1.corp.example.com\"",
    );
}

fn user(value: &Value<'_>, auth: Auth) -> Option<String> {
    let text = value.some_text()?;
    if auth != Auth::Simple && text.contains('=') {
        value.spot.error(
            format!("\"{text}\" is a distinguished name"),
            "Kerberos and NTLM know accounts by their logon name",
            "\"svc-jims@corp.example.com\"",
        );
        return None;
    }
    Some(text)
}

fn proof(table: &Table<'_>, auth: Auth) -> Option<Proof> {
    let keytabs = ["keytab_file", "keytab_credential"];
    let Some((key, value)) = keytabs
        .into_iter()
        .find_map(|key| table.value(key).map(|value| (key, value)))
    else {
        return table
            .secret([
                "password",
                "password_file",
                "password_env",
                "password_credential",
            ])
            .map(Proof::Password);
    };
    for other in [
        "password",
        "password_file",
        "password_env",
        "password_credential",
    ] {
        if let Some(value) = table.value(other) {
            value.spot.error(
                format!("{key} is given as well"),
                "an account is proved by a password or by a keytab",
                "keep one of the two",
            );
        }
    }
    if auth != Auth::Kerberos {
        value.spot.error(
            "only Kerberos can use a keytab",
            "it holds Kerberos keys; every other way needs the password",
            "auth = \"kerberos\", or a password_file",
        );
    }
    let text = value.some_text()?;
    let reference = if key == "keytab_file" {
        SecretRef::File(table.spot.findings.path(&text))
    } else {
        SecretRef::Credential(text)
    };
    match reference.read_bytes() {
        Ok(bytes) if bytes.first() == Some(&5) => Some(Proof::Keytab(reference)),
        Ok(_) => {
            value.spot.error(
                "the file is not a keytab",
                "a keytab begins with the byte 5",
                "make one with ktpass on Windows, or samba-tool domain exportkeytab",
            );
            None
        }
        Err(error) => {
            value.secret_error(&error);
            None
        }
    }
}

/// A host, or a host and a port.
pub(super) fn kdc(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if let Some((name, port)) = text.rsplit_once(':')
        && !name.is_empty()
        && !name.contains(':')
    {
        if port.parse::<u16>().is_ok_and(|port| port != 0) {
            return Some(text);
        }
        value.spot.error(
            format!("\"{port}\" is not a port"),
            "",
            format!("\"{name}:88\""),
        );
        return None;
    }
    host(value)
}

/// A host name or an address, nothing around it.
pub(super) fn host(value: &Value<'_>) -> Option<String> {
    let text = value.some_text()?;
    let text = text.trim();
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    if text
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return Some(text.to_owned());
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split(['/', ':', ' ', ',']).next().unwrap_or_default();
    value.spot.error(
        format!("\"{text}\" is not a host name or address"),
        "protocol and port have keys of their own",
        format!("\"{bare}\""),
    );
    None
}
