//! The validator: does a user, device or group of a policy exist; which groups has a domain.
//!
//! For whoever writes firewall policies, on listeners of its own and with the tokens of enforcement points. A point hears
//! only of domains and groups that its filter lets through. What is asked is read in [`super::shape`]; status codes and
//! errors are those of queries, so [`super::http`] frames every call.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;

use super::filter::{FilterInForce, OwnFilter, RequestFilter};
use super::query::users;
use super::shape::{NotUnderstood, Parameters, UserRequest, ValidateName};
use crate::identity::Core;
use crate::identity::view::Standing;

/// One kind of question: from the parameters to the answer.
pub(super) type Question =
    fn(&Core, &OwnFilter, &mut Parameters) -> Result<Validated, NotUnderstood>;

/// An answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Validated {
    One(Existence),
    Groups(GroupsPage),
}

impl Validated {
    pub(super) fn to_json(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("writing strings to memory cannot fail")
            .into()
    }
}

/// Whether what was asked for exists.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Existence {
    exists: bool,
    /// As the directory writes it, else in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// Whether a directory has it; else it is known from its session alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_directory: Option<bool>,
}

/// One page of a domain's groups.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct GroupsPage {
    /// DNS name; as asked if it is not known.
    domain: String,
    /// Sorted without case.
    groups: Vec<String>,
    /// For the next page; it may be asked for at any time, and names what came after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    more: bool,
}

impl Existence {
    fn yes(name: &str, domain: &str, standing: Standing) -> Self {
        Self {
            exists: true,
            name: Some(name.to_owned()),
            domain: Some(domain.to_owned()),
            in_directory: Some(standing == Standing::InDirectory),
        }
    }
}

/// Whether there is such a user. One whom the directory lost or has disabled is none.
pub(super) fn user(
    core: &Core,
    own: &OwnFilter,
    parameters: &mut Parameters,
) -> Result<Validated, NotUnderstood> {
    let asked = parameters.validate_name()?;
    let filter = in_force(core, own);
    let request = UserRequest {
        id: asked.name,
        domain: asked.domain,
        address: None,
    };
    let found = users(core, &request).into_iter();
    let found = found.map(|user| (user.name, user.domain, user.standing));
    Ok(first_heard_of(found, &filter))
}

/// Whether there is such a device, by its first label. One that the directory lost or has disabled is none.
pub(super) fn device(
    core: &Core,
    own: &OwnFilter,
    parameters: &mut Parameters,
) -> Result<Validated, NotUnderstood> {
    let asked = parameters.validate_name()?;
    let filter = in_force(core, own);
    let (domain, name) = qualified(&asked);
    let found = core.devices_named(name, domain).into_iter();
    let found = found.map(|device| (device.name, device.domain, device.standing));
    Ok(first_heard_of(found, &filter))
}

/// The first of those found, as name, domain and standing, that the point may hear of.
fn first_heard_of<'a>(
    mut found: impl Iterator<Item = (&'a str, &'a str, Standing)>,
    filter: &FilterInForce<'_>,
) -> Validated {
    let heard_of = found
        .find(|(_, domain, standing)| *standing != Standing::Gone && filter.holds_domain(domain));
    let one = heard_of.map(|(name, domain, standing)| Existence::yes(name, domain, standing));
    Validated::One(one.unwrap_or_default())
}

/// Whether the domain has such a group.
pub(super) fn group(
    core: &Core,
    own: &OwnFilter,
    parameters: &mut Parameters,
) -> Result<Validated, NotUnderstood> {
    let asked = parameters.validate_name()?;
    let filter = in_force(core, own);
    let (domain, name) = qualified(&asked);
    let domain = domain.ok_or_else(|| NotUnderstood("the parameter domain is missing".into()))?;
    let domain = core.domain(domain).filter(|d| filter.holds_domain(d));
    let found = domain.and_then(|domain| {
        let group = core.group(name, domain)?;
        let shown = filter.shows_role(group);
        shown.then(|| Existence::yes(group, domain, Standing::InDirectory))
    });
    Ok(Validated::One(found.unwrap_or_default()))
}

/// A page of the groups of a domain.
pub(super) fn groups(
    core: &Core,
    own: &OwnFilter,
    parameters: &mut Parameters,
) -> Result<Validated, NotUnderstood> {
    let asked = parameters.validate_groups()?;
    let filter = in_force(core, own);
    let after = asked.cookie.as_deref();
    let after = after.map_or(Ok(String::new()), position)?;
    let domain = core.domain(&asked.domain).unwrap_or(&asked.domain);
    let (found, more) = if filter.holds_domain(domain) {
        core.groups_after(domain, &after, asked.entries)
    } else {
        (Vec::new(), false)
    };
    let next = found.last().filter(|_| more);
    let cookie = next.map(|last| URL_SAFE_NO_PAD.encode(last));
    let shown = found.into_iter().filter(|group| filter.shows_role(group));
    Ok(Validated::Groups(GroupsPage {
        domain: domain.to_owned(),
        groups: shown.map(str::to_owned).collect(),
        cookie,
        more,
    }))
}

fn in_force<'a>(core: &Core, own: &'a OwnFilter) -> FilterInForce<'a> {
    FilterInForce::new(own, &RequestFilter::default(), core)
}

/// `DOMAIN\name` in the name says more than no domain.
fn qualified(asked: &ValidateName) -> (Option<&str>, &str) {
    match asked.name.split_once('\\') {
        Some((domain, name)) => (asked.domain.as_deref().or(Some(domain)), name),
        None => (asked.domain.as_deref(), &asked.name),
    }
}

fn position(cookie: &str) -> Result<String, NotUnderstood> {
    let decoded = URL_SAFE_NO_PAD.decode(cookie).ok();
    decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| NotUnderstood("the cookie is not one of a page of groups".into()))
}
