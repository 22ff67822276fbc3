//! What a computer's answer means: who of the directory's users is signed on at its screen or by remote desktop.
//!
//! A pure function from the objects of four queries. Windows lists more than people: accounts of the system, of the
//! computer itself, logons whose user has long gone (a leaked token keeps them listed), logons over the network. What is
//! left out, and why, is here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::event::{DeviceRef, Qualifier, UserRef};
use crate::identity::name::Name;
use crate::producer::is_system_domain;
use crate::wire::wmi::{Object, Path};

/// Console user and names of the computer (CIM_ComputerSystem of MSDN: `Win32_ComputerSystem`).
pub const COMPUTER: &str = "SELECT Name, DNSHostName, Domain, UserName FROM Win32_ComputerSystem";

/// Logons of people: interactive, remote interactive, and both of them by cached credentials.
pub const LOGONS: &str = "SELECT LogonId, LogonType FROM Win32_LogonSession \
     WHERE LogonType = 2 OR LogonType = 10 OR LogonType = 11 OR LogonType = 12";

/// Which account has which logon.
pub const ACCOUNTS: &str = "SELECT Antecedent, Dependent FROM Win32_LoggedOnUser";

/// Which logon has processes. Only asked where somebody beside the console's user may be signed on.
pub const PROCESSES: &str = "SELECT Antecedent FROM Win32_SessionProcess";

/// Most users of one computer that are told apart; a terminal server is to be a shared address.
const MAX_USERS: usize = 1024;

/// Logons that every Windows has: LOCAL SYSTEM, LOCAL SERVICE, NETWORK SERVICE (MS-LSAD; `winnt.h` has their ids).
const SYSTEM_LOGONS: [&str; 3] = ["999", "997", "996"];

/// What the queries returned.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Of [`COMPUTER`].
    pub computer: Option<Object>,
    /// Of [`LOGONS`].
    pub logons: Vec<Object>,
    /// Of [`ACCOUNTS`].
    pub accounts: Vec<Object>,
    /// Of [`PROCESSES`], if it was asked.
    pub processes: Option<Vec<Object>>,
}

/// Who is signed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedOn {
    /// Users of a domain, each once, the one at the screen first.
    pub users: Vec<UserRef>,
    /// `COMPUTER\user` of accounts that only the computer itself knows.
    pub local: Vec<String>,
    /// How many more there are whose names no user can have (control characters, too long), or who are too many.
    pub unreadable: usize,
    /// The computer's name for itself.
    pub device: Option<DeviceRef>,
}

/// An account as Windows names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Account {
    domain: String,
    name: String,
}

impl Found {
    /// Whether somebody beside the console's user is listed, so that [`PROCESSES`] has to be asked.
    #[must_use]
    pub fn needs_processes(&self) -> bool {
        let console = self.console();
        let computer = self.computer_name();
        let listed = self.listed();
        let mut others = listed.values().flatten();
        others.any(|account| {
            is_person(account)
                && !is_local(account, computer)
                && console
                    .as_ref()
                    .is_none_or(|console| !same(console, account))
        })
    }

    /// Whether the account is shown the logons of others: Windows shows an account without an administrator's rights its
    /// own logons only, without an error, and an empty list must not be taken for an empty room.
    #[must_use]
    pub fn sees_everybody(&self) -> bool {
        let shows = |objects: &[Object], property: &str| {
            objects.iter().any(|link| {
                let logon = link.text(property).and_then(logon_of);
                logon.is_some_and(|logon| SYSTEM_LOGONS.contains(&logon.as_str()))
            })
        };
        shows(&self.accounts, "Dependent")
            && self
                .processes
                .as_ref()
                .is_none_or(|processes| shows(processes, "Antecedent"))
    }

    /// What it all means.
    #[must_use]
    pub fn signed_on(&self) -> SignedOn {
        let alive = self.alive();
        let listed = self.listed();
        let present = listed
            .iter()
            .filter(|&(&logon, _)| alive.as_ref().is_none_or(|alive| alive.contains(logon)))
            .flat_map(|(_, accounts)| accounts.iter().cloned());
        let computer = self.computer_name();
        let mut people: Vec<Account> = Vec::new();
        for account in self.console().into_iter().chain(present) {
            if is_person(&account) && !people.iter().any(|known| same(known, &account)) {
                people.push(account);
            }
        }
        let (local, users): (Vec<Account>, Vec<Account>) = people
            .into_iter()
            .partition(|account| is_local(account, computer));
        let mut readable: Vec<UserRef> = users.iter().filter_map(user).collect();
        if readable.len() > MAX_USERS {
            // One who is cut off would be taken for absent.
            readable.clear();
        }
        SignedOn {
            unreadable: users.len() - readable.len(),
            users: readable,
            local: local
                .iter()
                .map(|account| format!("{}\\{}", account.domain, account.name))
                .take(MAX_USERS)
                .collect(),
            device: self.device(),
        }
    }

    /// Who sits at the screen: `DOMAIN\user`, null if nobody does.
    fn console(&self) -> Option<Account> {
        let text = self.computer.as_ref()?.text("UserName")?;
        let (domain, name) = text.split_once('\\')?;
        Some(Account {
            domain: domain.to_owned(),
            name: name.to_owned(),
        })
    }

    fn computer_name(&self) -> &str {
        let name = self
            .computer
            .as_ref()
            .and_then(|object| object.text("Name"));
        name.unwrap_or_default()
    }

    fn device(&self) -> Option<DeviceRef> {
        let computer = self.computer.as_ref()?;
        let name = computer
            .text("DNSHostName")
            .or_else(|| computer.text("Name"))?;
        let domain = computer
            .text("Domain")
            .filter(|domain| domain.contains('.'))?;
        Some(DeviceRef {
            name: Name::new(name).ok()?,
            qualifier: Qualifier::Domain(Name::new(domain).ok()?),
        })
    }

    /// Accounts of the logons of people, by logon id.
    fn listed(&self) -> BTreeMap<&str, Vec<Account>> {
        let mut listed: BTreeMap<&str, Vec<Account>> = self
            .logons
            .iter()
            .filter_map(|logon| Some((logon.text("LogonId")?, Vec::new())))
            .collect();
        for link in &self.accounts {
            let (Some(account), Some(logon)) = (link.text("Antecedent"), link.text("Dependent"))
            else {
                continue;
            };
            let (Some(account), Some(logon)) = (account_of(account), logon_of(logon)) else {
                continue;
            };
            if let Some(accounts) = listed.get_mut(logon.as_str()) {
                accounts.push(account);
            }
        }
        listed
    }

    /// Logons that have a process.
    fn alive(&self) -> Option<BTreeSet<String>> {
        let processes = self.processes.as_ref()?;
        let logons = processes
            .iter()
            .filter_map(|link| logon_of(link.text("Antecedent")?));
        Some(logons.collect())
    }
}

fn account_of(path: &str) -> Option<Account> {
    let path = Path::parse(path)?;
    Some(Account {
        domain: path.key("Domain")?.to_owned(),
        name: path.key("Name")?.to_owned(),
    })
}

fn logon_of(path: &str) -> Option<String> {
    Some(Path::parse(path)?.key("LogonId")?.to_owned())
}

fn same(one: &Account, other: &Account) -> bool {
    one.domain.eq_ignore_ascii_case(&other.domain) && one.name.eq_ignore_ascii_case(&other.name)
}

/// Not the window manager, the font driver, a service or the computer's own account.
fn is_person(account: &Account) -> bool {
    // Where Windows names the computer as their domain they still have these names.
    let numbered = |prefix: &str| {
        let (start, rest) = account
            .name
            .split_at_checked(prefix.len())
            .unwrap_or_default();
        start.eq_ignore_ascii_case(prefix)
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_digit())
    };
    !account.name.is_empty()
        && !account.name.ends_with('$')
        && !numbered("DWM-")
        && !numbered("UMFD-")
        && !is_system_domain(&account.domain)
}

/// Whether only the computer itself knows the account.
fn is_local(account: &Account, computer: &str) -> bool {
    account.domain.eq_ignore_ascii_case(computer) || account.domain == "."
}

fn user(account: &Account) -> Option<UserRef> {
    Some(UserRef {
        name: Name::new(&account.name).ok()?,
        qualifier: Qualifier::Domain(Name::new(&account.domain).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::wmi::Value;

    fn object(class: &str, properties: &[(&str, &str)]) -> Object {
        let value = |text: &str| match text {
            "" => Value::Null,
            text => Value::Text(text.to_owned()),
        };
        Object {
            class: class.to_owned(),
            properties: properties
                .iter()
                .map(|(name, text)| ((*name).to_owned(), value(text)))
                .collect(),
        }
    }

    fn logon_path(id: &str) -> String {
        format!(r#"\\.\root\cimv2:Win32_LogonSession.LogonId="{id}""#)
    }

    /// A computer with a console user (or none) and logons: id, domain, user, whether it has processes.
    fn computer(console: &str, logons: &[(&str, &str, &str, bool)]) -> Found {
        let mut found = Found {
            computer: Some(object(
                "Win32_ComputerSystem",
                &[
                    ("Name", "WS-0042"),
                    ("DNSHostName", "ws-0042"),
                    ("Domain", "corp.example.com"),
                    ("UserName", console),
                ],
            )),
            processes: Some(Vec::new()),
            ..Found::default()
        };
        for (id, domain, user, alive) in logons {
            found
                .logons
                .push(object("Win32_LogonSession", &[("LogonId", id)]));
            let account =
                format!(r#"\\.\root\cimv2:Win32_Account.Domain="{domain}",Name="{user}""#);
            found.accounts.push(object(
                "Win32_LoggedOnUser",
                &[("Antecedent", &account), ("Dependent", &logon_path(id))],
            ));
            if let (true, Some(processes)) = (alive, &mut found.processes) {
                let path = logon_path(id);
                processes.push(object("Win32_SessionProcess", &[("Antecedent", &path)]));
            }
        }
        found
    }

    fn users(found: &Found) -> Vec<String> {
        let signed_on = found.signed_on();
        let users = signed_on.users.iter();
        users.map(super::super::probe::shown).collect()
    }

    #[test]
    fn the_console_user_and_remote_desktops_count_once_each() {
        let found = computer(
            r"CORP\alice",
            &[
                ("1", "CORP", "Alice", true),
                ("2", "CORP", "bob", true),
                ("3", "CORP", "bob", true),
            ],
        );
        assert_eq!(users(&found), [r"CORP\alice", r"CORP\bob"]);
        let device = found.signed_on().device.expect("a device");
        assert_eq!(device.name.as_str(), "ws-0042");
    }

    #[test]
    fn a_remote_desktop_without_a_console_user_is_found() {
        assert_eq!(
            users(&computer("", &[("9", "CORP", "carol", true)])),
            [r"CORP\carol"]
        );
    }

    #[test]
    fn a_logon_without_processes_is_of_somebody_who_is_gone() {
        let found = computer("", &[("9", "CORP", "carol", false)]);
        assert!(found.needs_processes());
        assert!(users(&found).is_empty());
        let unasked = Found {
            processes: None,
            ..found
        };
        assert_eq!(
            users(&unasked),
            [r"CORP\carol"],
            "without the question it counts"
        );
    }

    #[test]
    fn what_windows_signs_on_itself_is_nobody() {
        let found = computer(
            "",
            &[
                ("1", "Window Manager", "DWM-1", true),
                ("2", "Font Driver Host", "UMFD-0", true),
                ("3", "WS-0042", "DWM-12", true),
                ("4", "NT AUTHORITY", "SYSTEM", true),
                ("5", "CORP", "WS-0042$", true),
            ],
        );
        assert!(!found.needs_processes());
        assert_eq!(found.signed_on().users, []);
        assert_eq!(found.signed_on().local, Vec::<String>::new());
    }

    #[test]
    fn accounts_of_the_computer_itself_are_no_users_of_the_directory() {
        let found = computer(
            r"WS-0042\Administrator",
            &[("7", "ws-0042", "helper", true)],
        );
        assert!(users(&found).is_empty());
        assert_eq!(
            found.signed_on().local,
            [r"WS-0042\Administrator", r"ws-0042\helper"]
        );
    }

    #[test]
    fn a_logon_that_is_not_of_people_is_not_listed() {
        let mut found = computer(r"CORP\alice", &[("1", "CORP", "svc-backup", true)]);
        // The query for logons of people did not return it.
        found.logons.clear();
        assert_eq!(users(&found), [r"CORP\alice"]);
        assert!(!found.needs_processes());
    }

    #[test]
    fn who_is_shown_its_own_logons_only_sees_nobody_and_says_nothing() {
        let mut found = computer("", &[("9", "CORP", "svc-probe", true)]);
        assert!(!found.sees_everybody());
        found.accounts.push(object(
            "Win32_LoggedOnUser",
            &[
                (
                    "Antecedent",
                    r#"\\.\root\cimv2:Win32_Account.Domain="PC1",Name="SYSTEM""#,
                ),
                ("Dependent", &logon_path("999")),
            ],
        ));
        assert!(!found.sees_everybody(), "the processes are its own only");
        let path = logon_path("999");
        let system = object("Win32_SessionProcess", &[("Antecedent", &path)]);
        found.processes.get_or_insert_default().push(system);
        assert!(found.sees_everybody());
        found.processes = None;
        assert!(found.sees_everybody(), "they were not asked for");
    }

    #[test]
    fn a_name_that_no_user_can_have_is_not_nobody() {
        let found = computer("CORP\\al\u{202e}ice", &[]);
        let signed_on = found.signed_on();
        assert_eq!((signed_on.users.len(), signed_on.unreadable), (0, 1));
    }

    #[test]
    fn nothing_at_all_is_nobody() {
        assert_eq!(Found::default().signed_on(), SignedOn::default());
    }
}
