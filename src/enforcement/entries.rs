//! What a firewall is told of one address: never a user where there is none any more.
//!
//! A pure function from the table's view, the filters in force and the kind of question to at most two entries. Their
//! order is what keeps a stale user off the firewall: a `logout` goes before a `login` that names nobody.

use std::net::IpAddr;

use super::filter::FilterInForce;
use super::shape::{Entry, Login, LoginDevice};
use crate::identity::time::UtcMillis;
use crate::identity::view::{AddressView, DeviceSession, UserSession};

/// Most entries of one address.
pub const MAX_ENTRIES_OF_ADDRESS: usize = 2;

/// Which question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A batch: changes, endings among them.
    Batch {
        /// What the firewall holds from before is not known: addresses outside the filter are ended too (rule 18).
        clearing: bool,
    },
    /// Who is at the address now; nobody is an empty answer (rule 20).
    Single,
}

/// The entries of one address, in order.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    logout: Option<(IpAddr, UtcMillis)>,
    login: Option<Login<'a>>,
}

impl<'a> Entries<'a> {
    /// What to tell of an address. `view` is `None` if the table holds nothing for it; `now` dates what only a filter
    /// ends.
    #[must_use]
    pub fn of(
        address: IpAddr,
        view: Option<&AddressView<'a>>,
        filter: &FilterInForce<'_>,
        question: Question,
        now: UtcMillis,
    ) -> Self {
        if !filter.holds_address(address) {
            let logout = match question {
                Question::Batch { clearing: true } => Some((address, now)),
                Question::Batch { clearing: false } | Question::Single => None,
            };
            return Self {
                logout,
                login: None,
            };
        }
        let user = view.and_then(|v| shown_user(v, filter));
        if let (Some(view), Some(user)) = (view, user) {
            // A user's login displaces whoever was there, so nothing goes before it (rule 17).
            return Self {
                logout: None,
                login: Some(user_login(view, user, filter)),
            };
        }
        let ended = view.and_then(|view| user_ended(view, now));
        let device = view.and_then(|v| shown_device(v, filter));
        let logout_at = match (question, device) {
            // Without a user whatever the firewall holds ends. It may hold one of whom nothing is known any more: from
            // before a crash, or from an address that was forgotten.
            (Question::Batch { .. }, _) => Some(ended.unwrap_or(now)),
            (Question::Single, Some(_)) => ended,
            (Question::Single, None) => None,
        };
        let login = device.map(|device| device_login(address, device, logout_at));
        let logout = logout_at.map(|at| (address, at));
        Self { logout, login }
    }

    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.logout.is_some()) + usize::from(self.login.is_some())
    }

    /// The entries, a `logout` first.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let logout = self
            .logout
            .map(|(address, at)| Entry::Logout { address, at });
        logout
            .into_iter()
            .chain(self.login.as_ref().map(Entry::Login))
    }
}

/// The user at an address, if the point is to hear of him; never one of a shared address (rule 11).
#[must_use]
pub fn shown_user<'v, 'a>(
    view: &'v AddressView<'a>,
    filter: &FilterInForce<'_>,
) -> Option<&'v UserSession<'a>> {
    let session = view.user.as_ref().filter(|_| !view.shared)?;
    filter.holds_domain(session.user.domain).then_some(session)
}

fn shown_device<'v, 'a>(
    view: &'v AddressView<'a>,
    filter: &FilterInForce<'_>,
) -> Option<&'v DeviceSession<'a>> {
    let session = view.device.as_ref()?;
    filter
        .holds_domain(session.device.domain)
        .then_some(session)
}

/// When the user whom a firewall may hold ended, if it may hold one: he left, or a filter or sharing hides him now.
fn user_ended(view: &AddressView<'_>, now: UtcMillis) -> Option<UtcMillis> {
    match (&view.user, view.user_ended_at) {
        (Some(_hidden), _) => Some(now),
        (None, ended) => ended,
    }
}

fn user_login<'a>(
    view: &AddressView<'a>,
    session: &UserSession<'a>,
    filter: &FilterInForce<'_>,
) -> Login<'a> {
    let mut roles = session.user.roles.to_vec();
    roles.retain(|role| filter.shows_role(role));
    Login {
        address: view.address,
        domain: session.user.domain,
        user: Some(session.user.name),
        roles,
        device: shown_device(view, filter).map(login_device),
        at: session.since,
    }
}

fn device_login<'a>(
    address: IpAddr,
    session: &DeviceSession<'a>,
    logout_at: Option<UtcMillis>,
) -> Login<'a> {
    Login {
        address,
        domain: session.device.domain,
        user: None,
        roles: Vec::new(),
        device: Some(login_device(session)),
        // Not before the logout that goes ahead of it.
        at: logout_at.map_or(session.since, |ended| ended.max(session.since)),
    }
}

fn login_device<'a>(session: &DeviceSession<'a>) -> LoginDevice<'a> {
    LoginDevice {
        name: session.device.name,
        groups: session.device.groups.to_vec(),
        os: session.device.os,
        os_version: session.device.os_version,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::PointFilter;
    use crate::enforcement::filter::{OwnFilter, RequestFilter};
    use crate::identity::Core;
    use crate::identity::event::{ProducerName, Strength};
    use crate::identity::name::Name;
    use crate::identity::policy::Policy;
    use crate::identity::view::{DeviceView, Epoch, EvidenceView, Seq, Standing, UserView};

    const NOW: UtcMillis = UtcMillis(9_000_000);
    const BATCH: Question = Question::Batch { clearing: false };

    struct Site {
        producer: ProducerName,
        own: OwnFilter,
    }

    impl Site {
        fn new(written: &PointFilter) -> Self {
            Self {
                producer: Arc::from("vpn"),
                own: OwnFilter::new(written).unwrap(),
            }
        }

        fn everything() -> Self {
            Self::new(&PointFilter::default())
        }

        fn evidence(&self) -> EvidenceView<'_> {
            EvidenceView {
                producer: &self.producer,
                record: "1",
                occurred_at: UtcMillis(1_000),
                received_at: UtcMillis(1_000),
                strength: Strength::Strong,
            }
        }

        fn empty(&self) -> AddressView<'_> {
            AddressView {
                last_ended: None,
                address: "10.1.2.50".parse().unwrap(),
                changed: Seq(1),
                shared: false,
                user: None,
                device: None,
                user_ended_at: None,
            }
        }

        fn with_user<'a>(&'a self, mut view: AddressView<'a>) -> AddressView<'a> {
            view.user = Some(UserSession {
                doubted_since: None,
                user: UserView {
                    name: "alice",
                    domain: "corp.example.com",
                    roles: vec!["Engineering", "VPN-Users"].into(),
                    standing: Standing::InDirectory,
                },
                since: UtcMillis(2_000),
                evidence: self.evidence(),
                deadline: UtcMillis(99_000_000),
            });
            view
        }

        fn with_device<'a>(&'a self, mut view: AddressView<'a>) -> AddressView<'a> {
            view.device = Some(DeviceSession {
                device: DeviceView {
                    name: "ws-0042",
                    domain: "corp.example.com",
                    groups: vec!["Workstations"].into(),
                    os: None,
                    os_version: None,
                    standing: Standing::InDirectory,
                },
                since: UtcMillis(3_000),
                evidence: self.evidence(),
                deadline: UtcMillis(99_000_000),
            });
            view
        }

        /// `logout AT`, `login USER|-- DEVICE|-- AT`, as a firewall reads them.
        fn told(&self, view: Option<&AddressView<'_>>, question: Question) -> Vec<String> {
            let core = Core::new(Epoch(1), Policy::default());
            let filter = FilterInForce::new(&self.own, &RequestFilter::default(), &core);
            let address = self.empty().address;
            let entries = Entries::of(address, view, &filter, question, NOW);
            assert!(entries.count() <= MAX_ENTRIES_OF_ADDRESS);
            assert_eq!(entries.iter().count(), entries.count());
            let text = |entry: Entry<'_>| match entry {
                Entry::Logout { at, .. } => format!("logout {}", at.0),
                Entry::Login(login) => format!(
                    "login {} {} {}",
                    login.user.unwrap_or("--"),
                    login.device.as_ref().map_or("--", |d| d.name),
                    login.at.0
                ),
            };
            entries.iter().map(text).collect()
        }
    }

    fn domain_filter(domain: &str) -> Site {
        Site::new(&PointFilter {
            domains: vec![Name::new(domain).unwrap()],
            ..PointFilter::default()
        })
    }

    fn address_filter(network: &str) -> Site {
        Site::new(&PointFilter {
            include_addresses: vec![network.parse().unwrap()],
            ..PointFilter::default()
        })
    }

    #[test]
    fn rule_17_user_and_device_are_one_login_and_a_new_user_needs_no_logout() {
        let site = Site::everything();
        let mut view = site.with_device(site.with_user(site.empty()));
        assert_eq!(site.told(Some(&view), BATCH), ["login alice ws-0042 2000"]);
        view.user_ended_at = Some(UtcMillis(1_500));
        assert_eq!(site.told(Some(&view), BATCH), ["login alice ws-0042 2000"]);
    }

    #[test]
    fn rule_17_user_gone_and_device_there_is_a_logout_and_then_a_device() {
        let site = Site::everything();
        let mut view = site.with_device(site.empty());
        let unknown = ["logout 9000000", "login -- ws-0042 9000000"];
        assert_eq!(site.told(Some(&view), BATCH), unknown);
        assert_eq!(
            site.told(Some(&view), Question::Single),
            ["login -- ws-0042 3000"]
        );
        view.user_ended_at = Some(UtcMillis(5_000));
        let told = ["logout 5000", "login -- ws-0042 5000"];
        assert_eq!(site.told(Some(&view), BATCH), told);
        assert_eq!(site.told(Some(&view), Question::Single), told);
    }

    #[test]
    fn rule_16_a_tombstone_is_a_logout_and_to_a_single_question_nobody() {
        let site = Site::everything();
        let mut view = site.empty();
        assert_eq!(site.told(Some(&view), BATCH), ["logout 9000000"]);
        assert_eq!(site.told(None, BATCH), ["logout 9000000"]);
        view.user_ended_at = Some(UtcMillis(5_000));
        assert_eq!(site.told(Some(&view), BATCH), ["logout 5000"]);
        assert!(site.told(Some(&view), Question::Single).is_empty());
        assert!(site.told(None, Question::Single).is_empty());
    }

    #[test]
    fn rule_11_a_shared_address_never_names_a_user() {
        let site = Site::everything();
        let mut view = site.with_device(site.with_user(site.empty()));
        view.shared = true;
        let told = ["logout 9000000", "login -- ws-0042 9000000"];
        assert_eq!(site.told(Some(&view), BATCH), told);
        view.device = None;
        assert_eq!(site.told(Some(&view), BATCH), ["logout 9000000"]);
    }

    #[test]
    fn rule_18_a_user_whom_the_filter_hides_is_logged_out() {
        let site = domain_filter("lab.example.com");
        let view = site.with_device(site.with_user(site.empty()));
        assert_eq!(site.told(Some(&view), BATCH), ["logout 9000000"]);
        assert!(site.told(Some(&view), Question::Single).is_empty());
        let site = domain_filter("CORP.example.com");
        let view = site.with_user(site.empty());
        assert_eq!(site.told(Some(&view), BATCH), ["login alice -- 2000"]);
    }

    #[test]
    fn rule_18_outside_the_address_filter_only_a_clearing_pass_speaks() {
        let site = address_filter("192.0.2.0/24");
        let view = site.with_user(site.empty());
        assert!(site.told(Some(&view), BATCH).is_empty());
        assert!(site.told(Some(&view), Question::Single).is_empty());
        let clearing = Question::Batch { clearing: true };
        assert_eq!(site.told(Some(&view), clearing), ["logout 9000000"]);
        let inside = address_filter("10.0.0.0/8");
        let view = inside.with_user(inside.empty());
        assert_eq!(inside.told(Some(&view), clearing), ["login alice -- 2000"]);
    }

    #[test]
    fn rule_19_a_group_filter_hides_roles_and_no_session() {
        let site = Site::new(&PointFilter {
            groups: vec!["vpn-*".to_owned()],
            ..PointFilter::default()
        });
        let view = site.with_user(site.empty());
        let core = Core::new(Epoch(1), Policy::default());
        let filter = FilterInForce::new(&site.own, &RequestFilter::default(), &core);
        let entries = Entries::of(view.address, Some(&view), &filter, BATCH, NOW);
        let Some(Entry::Login(login)) = entries.iter().next() else {
            panic!("a login");
        };
        assert_eq!(login.roles, ["VPN-Users"]);
        let none = Site::new(&PointFilter {
            groups: vec!["nothing".to_owned()],
            ..PointFilter::default()
        });
        let view = none.with_user(none.empty());
        assert_eq!(none.told(Some(&view), BATCH), ["login alice -- 2000"]);
    }
}
