//! Names by which objects refer to each other: object paths (DSP0004 5.3.2, MS-WMI 2.2.2).
//!
//! `\\WS1\root\cimv2:Win32_Account.Domain="CORP",Name="alice"`. Server and namespace may be missing, slashes may lean
//! either way, and a class alone, `Class=@` and `Class="key"` are paths too.

use std::iter::Peekable;
use std::str::Chars;

/// Longest path in bytes.
const MAX_BYTES: usize = 16 << 10;
/// Most keys of a class.
const MAX_KEYS: usize = 64;

/// An object path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The host, `.` for the one that wrote it.
    pub server: Option<String>,
    /// The namespace as it was written, such as `root\cimv2`.
    pub namespace: Option<String>,
    /// The class; letters of either case mean the same.
    pub class: String,
    /// Keys and values, without quotes and escapes. The name is empty where the class has but one key and it was not
    /// named. A value may be a path again.
    pub keys: Vec<(String, String)>,
}

impl Path {
    /// Reads it; `None` if it is none, or longer than 16 KiB, or has more than 64 keys.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (server, namespace, object) = split(text)?;
        let (class, rest) = match object.find(['.', '=']) {
            Some(end) => object.split_at_checked(end)?,
            None => (object, ""),
        };
        if !is_name(class) {
            return None;
        }
        Some(Self {
            server,
            namespace,
            class: class.to_owned(),
            keys: keys(rest)?,
        })
    }

    /// Whether it is of this class; letters of either case mean the same.
    #[must_use]
    pub fn is_of(&self, class: &str) -> bool {
        self.class.eq_ignore_ascii_case(class)
    }

    /// The value of a key; letters of either case in its name mean the same.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&str> {
        let mut keys = self.keys.iter();
        let (_, value) = keys.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// Server, namespace, and what follows their colon.
fn split(text: &str) -> Option<(Option<String>, Option<String>, &str)> {
    let is_slash = |c: char| c == '\\' || c == '/';
    let mut chars = text.chars();
    let is_absolute = chars.next().is_some_and(is_slash) && chars.next().is_some_and(is_slash);
    let (server, namespace, object) = if is_absolute {
        let (server, rest) = text.get(2..)?.split_once(is_slash)?;
        let (namespace, object) = rest.split_once(':')?;
        (Some(server), namespace, object)
    } else {
        // A colon within a value ends no namespace.
        let head = text.split(['"', '\'', '=']).next().unwrap_or_default();
        let Some(colon) = head.find(':') else {
            return Some((None, None, text));
        };
        (None, text.get(..colon)?, text.get(colon + 1..)?)
    };
    let is_empty = namespace.is_empty() || server.is_some_and(str::is_empty);
    let server = server.map(str::to_owned);
    (!is_empty).then(|| (server, Some(namespace.to_owned()), object))
}

/// A class or key: letters, digits and underlines, no digit first.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c == '_' || c.is_alphanumeric();
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(is_inner)
}

/// What follows the class.
fn keys(text: &str) -> Option<Vec<(String, String)>> {
    let mut chars = text.chars().peekable();
    match chars.next() {
        None => return Some(Vec::new()),
        // There is but one object of the class.
        Some('=') if text == "=@" => return Some(Vec::new()),
        Some('=') => {
            let only = value(&mut chars)?;
            return chars.next().is_none().then(|| vec![(String::new(), only)]);
        }
        Some('.') => {}
        Some(_) => return None,
    }
    let mut keys = Vec::new();
    loop {
        let name = until(&mut chars, '=');
        if chars.next() != Some('=') || !is_name(&name) || keys.len() == MAX_KEYS {
            return None;
        }
        keys.push((name, value(&mut chars)?));
        match chars.next() {
            None => return Some(keys),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// Characters before `end`, which stays.
fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> String {
    let mut found = String::new();
    while let Some(c) = chars.next_if(|c| *c != end) {
        found.push(c);
    }
    found
}

/// A value: in quotes of either kind, with a backslash before what would end it, or bare up to the next comma.
fn value(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let Some(quote) = chars.next_if(|c| *c == '"' || *c == '\'') else {
        let bare = until(chars, ',');
        return (!bare.is_empty()).then_some(bare);
    };
    let mut found = String::new();
    loop {
        match chars.next()? {
            '\\' => found.push(chars.next()?),
            c if c == quote => return Some(found),
            c => found.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_account_is_its_domain_and_name() {
        let path = Path::parse(r#"\\WS1\root\cimv2:Win32_Account.Domain="CORP",Name="alice""#);
        let path = path.expect("a path");
        assert_eq!(path.server.as_deref(), Some("WS1"));
        assert_eq!(path.namespace.as_deref(), Some(r"root\cimv2"));
        assert!(path.is_of("win32_account"));
        assert_eq!(path.key("domain"), Some("CORP"));
        assert_eq!(path.key("Name"), Some("alice"));
        assert_eq!(path.key("SID"), None);
    }

    #[test]
    fn a_sign_on_is_its_number() {
        let path = Path::parse(r#"\\.\root\cimv2:Win32_LogonSession.LogonId="999""#);
        let path = path.expect("a path");
        assert_eq!(path.server.as_deref(), Some("."));
        assert_eq!(path.key("LogonId"), Some("999"));
    }

    #[test]
    fn what_quotes_and_backslashes_hide_is_kept() {
        let path = Path::parse(r#"A.Name="O\"Neil, \\ :=",Other='x"y'"#).expect("a path");
        assert_eq!(path.server, None);
        assert_eq!(path.key("Name"), Some(r#"O"Neil, \ :="#));
        assert_eq!(path.key("Other"), Some(r#"x"y"#));
    }

    #[test]
    fn a_path_within_a_path_is_read_again() {
        let outer = r#"Win32_LoggedOnUser.Antecedent="\\\\.\\root\\cimv2:Win32_Account.Domain=\"CORP\",Name=\"al'ice\"",Dependent="x""#;
        let outer = Path::parse(outer).expect("a path");
        let inner = Path::parse(outer.key("antecedent").expect("a key")).expect("a path");
        assert_eq!(inner.key("name"), Some("al'ice"));
    }

    #[test]
    fn the_other_forms_are_read_too() {
        let keys = |text: &str| Path::parse(text).expect("a path").keys;
        assert_eq!(keys("Win32_ComputerSystem"), []);
        assert_eq!(keys("__SystemSecurity=@"), []);
        let unnamed = [(String::new(), "PC1".to_owned())];
        assert_eq!(keys(r#"Win32_ComputerSystem="PC1""#), unnamed);
        let numbers = keys("A.Number=-5,Flag=TRUE");
        assert_eq!(numbers[0], ("Number".to_owned(), "-5".to_owned()));
        assert_eq!(numbers[1], ("Flag".to_owned(), "TRUE".to_owned()));
        let slashes = Path::parse("//ws1/root/cimv2:A.B=1").expect("a path");
        assert_eq!(slashes.namespace.as_deref(), Some("root/cimv2"));
        let local = Path::parse("root\\cimv2:A.B=1").expect("a path");
        assert_eq!((local.server, local.class.as_str()), (None, "A"));
        let six = Path::parse(r"\\fe80::1\root:A.B=1").expect("a path");
        assert_eq!(six.server.as_deref(), Some("fe80::1"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let wrong = [
            "",
            ":",
            "1A",
            "A.",
            "A.B",
            "A.B=",
            "A.B=\"x",
            "A.B=\"x\"y",
            "A.B=\"x\\",
            "A.B=\"x\",",
            "A.=1",
            "A=",
            "A=1,2",
            "\\\\ws1:A",
            "\\\\\\root:A",
            ":A.B=1",
            "A B.C=1",
        ];
        for text in wrong {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        let long = format!("A.B=\"{}\"", "x".repeat(MAX_BYTES));
        assert_eq!(Path::parse(&long), None);
        let many: Vec<String> = (0..=MAX_KEYS).map(|n| format!("K{n}=1")).collect();
        assert_eq!(Path::parse(&format!("A.{}", many.join(","))), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Path::parse(&text);
        }

        #[test]
        fn any_value_survives_its_quotes(value: String, quote in "[\"']") {
            let escaped: String = value
                .chars()
                .flat_map(|c| ['"', '\'', '\\'].contains(&c).then_some('\\').into_iter().chain([c]))
                .collect();
            let path = Path::parse(&format!("\\\\.\\root:A.K={quote}{escaped}{quote},L=1"));
            let path = path.expect("a path");
            prop_assert_eq!(path.key("K"), Some(value.as_str()));
        }

        #[test]
        fn text_that_looks_like_a_path_never_panics(text in r#"[\\/.:=,"'@A-C1é ]{0,40}"#) {
            if let Some(path) = Path::parse(&text) {
                prop_assert!(!path.class.is_empty());
            }
        }
    }
}
