//! `jims status --junos NAME`: puts together what a firewall has to be told about this very Server.
//!
//! The commands are made in [`crate::enforcement::junos`]; here is only where name, port, certificate and secrets of the
//! running configuration are found.

use std::net::SocketAddr;
use std::path::Path;

use super::serve::Inner;
use crate::config::{Caller, Config, EnforcementPoint, WebApi, show_network};
use crate::control::junos::{Junos, JunosCertificate};
use crate::control::protocol::Refusal;
use crate::enforcement::junos::{self, CA_FILE, Pull};
use crate::enforcement::server::{Server, ca_file};
use crate::net::tls::{Issuer, issuer_of};

/// For the enforcement point of the name.
pub(super) fn commands(inner: &Inner, name: &str) -> Result<Junos, Refusal> {
    let config = inner.config.load();
    let point = config.enforcement_points.iter().find(|p| p.name == name);
    let point = point.ok_or_else(|| Refusal {
        message: format!("there is no enforcement point `{name}`"),
        remedy: "`jims status` lists them".to_owned(),
    })?;
    let mut made = Junos {
        name: name.to_owned(),
        configuration: Vec::new(),
        fill_in: Vec::new(),
        certificate: None,
        check: Vec::new(),
        notes: Vec::new(),
    };
    if let (Some(caller), Some(server)) = (&point.caller, inner.server()) {
        asks(&mut made, point, caller, &config, &server);
    }
    if let Some(web_api) = &point.web_api {
        is_pushed_to(&mut made, web_api);
    }
    if made.configuration.is_empty() {
        return Err(Refusal {
            message: format!("`{name}` is not answered: the Server does not run"),
            remedy: "add the table [server]".to_owned(),
        });
    }
    Ok(made)
}

/// The firewall takes what this process pushes.
fn is_pushed_to(made: &mut Junos, web_api: &WebApi) {
    let port = web_api.url.parse::<axum::http::Uri>().ok();
    let commands = junos::web_api(&junos::WebApi {
        user: &web_api.user,
        port: port.and_then(|uri| uri.port_u16()).unwrap_or(443),
        refresh: web_api.refresh_interval,
    });
    if !made.configuration.is_empty() {
        made.notes.push(
            "a firewall either asks or is pushed to: Junos refuses identity-management and aruba-clearpass in one configuration, so take one half of these commands"
                .to_owned(),
        );
    }
    made.configuration.extend(commands);
    made.fill_in.extend([
        format!("<password>: {}", web_api.password),
        "<address of this host>: as the firewall sees it; it takes at most 20 clients".to_owned(),
        "<zone>: where this host is reached from".to_owned(),
    ]);
    made.check.extend(junos::web_api_checks());
    made.notes.push(
        "everything is pushed again every refresh_interval, and at once by `jims refresh`; an entry that is not, ends on the firewall after its timeout"
            .to_owned(),
    );
}

/// The firewall asks this Server.
fn asks(
    made: &mut Junos,
    point: &EnforcementPoint,
    caller: &Caller,
    config: &Config,
    server: &Server,
) {
    let configured = config.server.as_ref();
    let issuer = configured.and_then(|configured| {
        let file = ca_file(configured, &config.collector.state_dir);
        Some((issuer_of(&file).ok()?, file))
    });
    let own = configured.is_some_and(|server| server.certificate.is_none());
    let facts = server.certificate();
    let named = facts.names.iter().find(|name| is_full_name(name));
    let address = server.addresses().first().copied();
    let reached = named.cloned().or_else(|| specific(address));
    if named.is_none() {
        let key = if own {
            "certificate_names"
        } else {
            "certificate_file"
        };
        made.notes.push(format!(
            "the firewall will not check this Server's certificate, for it names no full host name, which a CA profile asks for; set {key} in [server]"
        ));
    }
    match issuer.filter(|_| named.is_some()) {
        Some((Issuer::Certificate(pem), file)) => made.certificate = Some(certificate(pem, &file)),
        Some((Issuer::Named(name), file)) => made.notes.push(format!(
            "{} does not hold the certificate of its CA ({name}); to have it checked, copy that to {CA_FILE} and add a ca-profile",
            file.display()
        )),
        None => {}
    }
    let domains: Vec<String> = point
        .filter
        .domains
        .iter()
        .map(ToString::to_string)
        .collect();
    let pull = Pull {
        server: reached.as_deref().unwrap_or("<name of this host>"),
        port: address.map_or(443, |address| address.port()),
        client_id: &caller.client_id,
        checks_certificate: made.certificate.is_some(),
        domains: &domains,
    };
    made.configuration.extend(junos::pull(&pull));
    if reached.is_none() {
        let what = "<name of this host>: as the firewall reaches it".to_owned();
        made.fill_in.push(what);
    }
    let newest = caller.secrets.last().map(ToString::to_string);
    made.fill_in
        .push(format!("<secret>: {}", newest.unwrap_or_default()));
    made.check.extend(junos::pull_checks());
    let from: Vec<String> = caller.addresses.iter().copied().map(show_network).collect();
    made.notes.push(format!(
        "it must call from {}; a second Server goes under `connection secondary` in the same way",
        from.join(" or ")
    ));
}

fn certificate(pem: String, file: &Path) -> JunosCertificate {
    JunosCertificate {
        file: file.display().to_string(),
        pem,
        on_firewall: CA_FILE.to_owned(),
        load: junos::load_ca(),
    }
}

fn is_full_name(name: &str) -> bool {
    name.contains('.') && name.parse::<std::net::IpAddr>().is_err()
}

fn specific(address: Option<SocketAddr>) -> Option<String> {
    let ip = address?.ip();
    (!ip.is_unspecified()).then(|| ip.to_canonical().to_string())
}
