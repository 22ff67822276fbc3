//! What jims must read of Kerberos itself: a KDC's error (RFC 4120 section 5.9.1) and keytab files.
//!
//! The negotiation is the security library's. Its errors do not tell what an operator has to do, and it takes a key,
//! not a file; so these two are read here. No sockets, no cryptography.

use std::fmt;

use zeroize::Zeroizing;

use super::cursor::{Cursor, DecodeError};

/// Largest keytab that is read, in entries.
const MAX_ENTRIES: usize = 1024;
/// Largest part of an entry, in bytes.
const MAX_PART_BYTES: usize = 4096;

/// A KDC's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrbError {
    /// Which (RFC 4120 section 7.5.9).
    pub code: u32,
    /// The KDC's clock, in milliseconds since 1970 (UTC).
    pub server_time_ms: Option<i64>,
}

/// Numbers of errors (RFC 4120 section 7.5.9).
pub mod code {
    /// The client is not known.
    pub const CLIENT_UNKNOWN: u32 = 6;
    /// The service is not known.
    pub const SERVICE_UNKNOWN: u32 = 7;
    /// A policy forbids it.
    pub const POLICY: u32 = 12;
    /// No common encryption.
    pub const ENCRYPTION: u32 = 14;
    /// The account is disabled, locked or expired.
    pub const REVOKED: u32 = 18;
    /// The password has expired.
    pub const PASSWORD_EXPIRED: u32 = 23;
    /// The password is wrong.
    pub const PREAUTHENTICATION_FAILED: u32 = 24;
    /// The first answer to everybody.
    pub const PREAUTHENTICATION_REQUIRED: u32 = 25;
    /// This key distribution centre cannot answer now.
    pub const UNAVAILABLE: u32 = 29;
    /// A checksum is wrong, as with a wrong key.
    pub const INTEGRITY: u32 = 31;
    /// The clocks differ too much.
    pub const SKEW: u32 = 37;
    /// The service cannot decrypt the ticket: it was made out to another account's key.
    pub const MODIFIED: u32 = 41;
    /// The realm is another.
    pub const WRONG_REALM: u32 = 68;
}

impl KrbError {
    /// The error in a KDC's answer; `None` if the answer is no error.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (0x7e, error, _) = element(message)? else {
            return None;
        };
        let (0x30, mut fields, _) = element(error)? else {
            return None;
        };
        let mut found = Self {
            code: 0,
            server_time_ms: None,
        };
        let mut microseconds = 0;
        while let Some((tag, content, rest)) = element(fields) {
            fields = rest;
            let inner = element(content).map(|(_, inner, _)| inner);
            match (tag, inner) {
                (0xa4, Some(time)) => found.server_time_ms = generalized_time(time),
                (0xa5, Some(number)) => microseconds = integer(number).unwrap_or(0),
                (0xa6, Some(number)) => found.code = u32::try_from(integer(number)?).ok()?,
                _ => {}
            }
        }
        if (0..1_000_000).contains(&microseconds) {
            found.server_time_ms = found.server_time_ms.map(|time| time + microseconds / 1000);
        }
        (found.code != 0).then_some(found)
    }

    /// The error that a service answers with in place of its proof: bare (DCE style), or in a GSS-API token (RFC 4121
    /// section 4.1) that SPNEGO may wrap.
    #[must_use]
    pub fn in_token(token: &[u8]) -> Option<Self> {
        // The token's kind, then the error, behind some headers.
        const KIND: &[u8] = &[3, 0, 0x7e];
        const MOST_HEADER_BYTES: usize = 128;
        Self::parse(token).or_else(|| {
            let head = token.get(..token.len().min(MOST_HEADER_BYTES))?;
            let at = head.windows(KIND.len()).position(|window| window == KIND)?;
            Self::parse(token.get(at + 2..)?)
        })
    }
}

/// Whether a message answers a request for a ticket-granting ticket with one (RFC 4120 section 5.4.2).
#[must_use]
pub fn is_first_ticket(message: &[u8]) -> bool {
    message.first() == Some(&0x6b)
}

/// Whether a message asks for a ticket for a service (RFC 4120 section 5.4.1).
#[must_use]
pub fn asks_for_service(message: &[u8]) -> bool {
    message.first() == Some(&0x6c)
}

/// One DER element: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |length, &digit| length << 8 | usize::from(digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn integer(bytes: &[u8]) -> Option<i64> {
    let (&first, _) = bytes.split_first()?;
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    (bytes.len() <= 8).then(|| {
        bytes
            .iter()
            .fold(start, |number, &digit| number << 8 | i64::from(digit))
    })
}

/// `YYYYMMDDHHMMSSZ` in milliseconds since 1970.
fn generalized_time(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text
        .strip_suffix('Z')
        .filter(|digits| digits.len() == 14 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 in the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000)
}

/// An encryption type of which keys are used (RFC 3962 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// `aes128-cts-hmac-sha1-96`
    Aes128,
    /// `aes256-cts-hmac-sha1-96`
    Aes256,
}

/// A key of an account. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The account, without its realm.
    pub principal: String,
    /// Its realm.
    pub realm: String,
    /// Version of the key; grows with every change of the password.
    pub version: u32,
    /// What it is for.
    pub key_type: KeyType,
    /// The key.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("principal", &self.principal)
            .field("realm", &self.realm)
            .field("version", &self.version)
            .field("key_type", &self.key_type)
            .finish_non_exhaustive()
    }
}

/// The AES keys in a keytab of version 2 (MIT Kerberos, `keytab` file format: big-endian, `05 02`, then entries).
///
/// # Errors
/// The bytes are no such keytab.
pub fn keytab(bytes: &[u8]) -> Result<Vec<Key>, DecodeError> {
    let mut file = Cursor::new("a keytab", bytes);
    let version = file.array::<2>("version")?;
    if version != [5, 2] {
        let value = u64::from(u16::from_be_bytes(version));
        return Err(file.invalid("version", 2, value));
    }
    let mut keys = Vec::new();
    for _ in 0..MAX_ENTRIES {
        if file.remaining() < 4 {
            return Ok(keys);
        }
        let length = i32::from_be_bytes(file.array("entry length")?);
        // A negative length is a hole that an entry left.
        let size = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
        let entry = file.bytes("entry", size)?;
        if length > 0 {
            keys.extend(key(entry)?);
        }
    }
    Err(file.too_much("entries", MAX_ENTRIES))
}

/// The key of an entry; `None` if it is of a type that is not used.
fn key(entry: &[u8]) -> Result<Option<Key>, DecodeError> {
    let mut entry = Cursor::new("a keytab entry", entry);
    let components = u16::from_be_bytes(entry.array("component count")?);
    let realm = counted(&mut entry, "realm")?;
    let mut names = Vec::new();
    for _ in 0..components.min(8) {
        names.push(text(counted(&mut entry, "component")?));
    }
    entry.array::<4>("name type")?;
    entry.array::<4>("timestamp")?;
    let short_version = entry.u8("key version")?;
    let number = u16::from_be_bytes(entry.array("key type")?);
    let bytes = counted(&mut entry, "key")?;
    let version = if entry.remaining() >= 4 {
        u32::from_be_bytes(entry.array("long key version")?)
    } else {
        u32::from(short_version)
    };
    let (key_type, length) = match number {
        17 => (KeyType::Aes128, 16),
        18 => (KeyType::Aes256, 32),
        _ => return Ok(None),
    };
    if bytes.len() != length {
        return Err(entry.invalid("key length", bytes.len(), bytes.len() as u64));
    }
    Ok(Some(Key {
        principal: names.join("/"),
        realm: text(realm),
        version,
        key_type,
        bytes: Zeroizing::new(bytes.to_vec()),
    }))
}

fn counted<'a>(cursor: &mut Cursor<'a>, field: &'static str) -> Result<&'a [u8], DecodeError> {
    let length = usize::from(u16::from_be_bytes(cursor.array(field)?));
    if length > MAX_PART_BYTES {
        return Err(cursor.too_much(field, MAX_PART_BYTES));
    }
    cursor.bytes(field, length)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// KDC_ERR_PREAUTH_FAILED at 2026-11-25 20:44:02.123456 for krbtgt/CORP.EXAMPLE.COM.
    fn error() -> Vec<u8> {
        let der = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag, u8::try_from(content.len()).expect("short")];
            bytes.extend(content);
            bytes
        };
        let fields = [
            der(0xa0, &der(2, &[5])),
            der(0xa1, &der(2, &[30])),
            der(0xa4, &der(0x18, b"20261125204402Z")),
            der(0xa5, &der(2, &[1, 0xe2, 0x40])),
            der(0xa6, &der(2, &[24])),
            der(0xa9, &der(0x1b, b"CORP.EXAMPLE.COM")),
        ]
        .concat();
        der(0x7e, &der(0x30, &fields))
    }

    #[test]
    fn an_error_tells_its_number_and_the_clock_of_the_kdc() {
        let found = KrbError::parse(&error()).expect("an error");
        assert_eq!(found.code, code::PREAUTHENTICATION_FAILED);
        assert_eq!(found.server_time_ms, Some(1_795_639_442_123));
        assert_eq!(KrbError::parse(&[0x6b, 0]), None, "an AS-REP is no error");
    }

    #[test]
    fn an_error_in_place_of_a_services_proof_is_found_bare_and_wrapped() {
        assert_eq!(KrbError::in_token(&error()), KrbError::parse(&error()));
        // The object identifier of Kerberos 5, the token's kind, the error; all of it in a NegTokenResp.
        let mechanism = b"\x60\x51\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03\x00";
        let wrapped = [
            &b"\xa1\x57\x30\x55\xa2\x53\x04\x51"[..],
            mechanism,
            &error(),
        ]
        .concat();
        assert_eq!(KrbError::in_token(&wrapped), KrbError::parse(&error()));
        assert_eq!(KrbError::in_token(&wrapped[..40]), None);
        assert_eq!(KrbError::in_token(b"NTLMSSP\0\x02\0\0\0"), None);
    }

    #[test]
    fn times_follow_the_calendar() {
        assert_eq!(generalized_time(b"19700101000000Z"), Some(0));
        assert_eq!(generalized_time(b"20000229235959Z"), Some(951_868_799_000));
        assert_eq!(generalized_time(b"20261325204402Z"), None);
        assert_eq!(generalized_time(b"2026112520440Z"), None);
    }

    fn entry(key_type: u16, key: &[u8]) -> Vec<u8> {
        let mut entry = vec![0, 1];
        for part in [&b"CORP.EXAMPLE.COM"[..], b"svc-jims"] {
            entry.extend(u16::try_from(part.len()).expect("short").to_be_bytes());
            entry.extend(part);
        }
        entry.extend([0, 0, 0, 1, 0, 0, 0, 0, 3]);
        entry.extend(key_type.to_be_bytes());
        entry.extend(u16::try_from(key.len()).expect("short").to_be_bytes());
        entry.extend(key);
        entry.extend(300_u32.to_be_bytes());
        let mut whole = i32::try_from(entry.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        whole.extend(entry);
        whole
    }

    #[test]
    fn a_keytab_gives_its_aes_keys_and_hides_them_from_print() {
        let file = [
            vec![5, 2],
            entry(23, &[1; 16]),
            (-4_i32).to_be_bytes().to_vec(),
            vec![9; 4],
            entry(18, &[7; 32]),
        ]
        .concat();
        let keys = keytab(&file).expect("a keytab");
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].principal, "svc-jims");
        assert_eq!(keys[0].realm, "CORP.EXAMPLE.COM");
        assert_eq!((keys[0].version, keys[0].key_type), (300, KeyType::Aes256));
        assert!(!format!("{:?}", keys[0]).contains('7'));
        assert!(keytab(&[5, 1]).is_err());
        assert!(keytab(b"password\n").is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics(bytes: Vec<u8>, at: usize, to: u8) {
            let _ = KrbError::parse(&bytes);
            let _ = keytab(&bytes);
            let mut changed = error();
            let length = changed.len();
            changed[at % length] = to;
            let _ = KrbError::parse(&changed);
            let _ = KrbError::in_token(&changed);
            let mut file = [vec![5, 2], entry(18, &[7; 32])].concat();
            let length = file.len();
            file[at % length] = to;
            let _ = keytab(&file);
        }
    }
}
