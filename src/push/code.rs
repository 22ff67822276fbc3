//! The code of an invitation: what an operator carries from a Server to a Collector.
//!
//! It holds 128 random bits, which the Server takes once, and the SHA-256 of the Server's public key
//! (SubjectPublicKeyInfo), by which the Collector knows the right Server whatever its certificate says. It can be typed:
//! Crockford's base 32 in groups, without case, `O` read as 0 and `I` and `L` as 1; two bytes of a checksum find mistakes.

use std::fmt;

use data_encoding::{Encoding, Specification};
use secrecy::zeroize::Zeroize as _;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// First characters of every code, with the version of its layout.
const PREFIX: &str = "JIMS1";
const SECRET: usize = 16;
const KEY: usize = 32;
const CHECK: usize = 2;
const BYTES: usize = SECRET + KEY + CHECK;
/// Characters after the prefix, dashes aside.
const CHARACTERS: usize = BYTES * 8 / 5;
const GROUP: usize = 5;
/// Longer texts are no codes.
const MAX_TEXT: usize = 256;

/// A code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// What the Server takes once.
    pub secret: [u8; SECRET],
    /// SHA-256 of the Server's public key.
    pub key: [u8; KEY],
}

/// Why a text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// It does not begin as codes do.
    #[error("this is no code of an invitation: codes begin with {PREFIX}-")]
    NoCode,
    /// A part is missing, or there is too much.
    #[error("the code is {0} characters long, it should be 80 after {PREFIX}")]
    Length(usize),
    /// It was mistyped.
    #[error("the code was mistyped: its check does not fit")]
    Mistyped,
}

impl Code {
    /// The text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(self.secret);
        bytes.extend(self.key);
        bytes.extend(check(&bytes));
        let mut encoded = alphabet().encode(&bytes);
        bytes.zeroize();
        let mut text = String::from(PREFIX);
        for (count, character) in encoded.chars().enumerate() {
            if count % GROUP == 0 {
                text.push('-');
            }
            text.push(character);
        }
        encoded.zeroize();
        text
    }

    /// Whether a text is the beginning of a code and its rest is missing, as on the first of two lines.
    #[must_use]
    pub fn is_cut(text: &str) -> bool {
        let bare = |c: &char| !c.is_whitespace() && *c != '-';
        let text: String = text.chars().filter(bare).take(MAX_TEXT).collect();
        let begins = text.get(..PREFIX.len()).unwrap_or_default();
        begins.eq_ignore_ascii_case(PREFIX) && text.len() < PREFIX.len() + CHARACTERS
    }

    /// Reads what somebody typed; spaces, dashes, line breaks and case do not matter.
    ///
    /// # Errors
    /// It is no code, or was mistyped.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(CodeError::Length(text.len()));
        }
        let bare = |c: &char| !c.is_whitespace() && *c != '-';
        let text: String = text.chars().filter(bare).collect();
        let begins = text.get(..PREFIX.len()).unwrap_or_default();
        if !begins.eq_ignore_ascii_case(PREFIX) {
            return Err(CodeError::NoCode);
        }
        let rest = text.get(PREFIX.len()..).unwrap_or_default();
        if rest.len() != CHARACTERS {
            return Err(CodeError::Length(rest.chars().count()));
        }
        let decoded = alphabet().decode(rest.as_bytes());
        let bytes = decoded.map_err(|_| CodeError::Mistyped)?;
        let fields = bytes.split_at_checked(SECRET + KEY);
        let (fields, sum) = fields.ok_or(CodeError::Mistyped)?;
        if sum != check(fields) {
            return Err(CodeError::Mistyped);
        }
        let (secret, key) = fields.split_at(SECRET);
        Ok(Self {
            secret: secret.try_into().map_err(|_| CodeError::Mistyped)?,
            key: key.try_into().map_err(|_| CodeError::Mistyped)?,
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

fn check(fields: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 32] = Sha256::digest(fields).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Crockford's base 32.
#[expect(clippy::expect_used, reason = "a constant, and tested")]
fn alphabet() -> Encoding {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification
        .translate
        .from
        .push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    specification
        .translate
        .to
        .push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    specification.encoding().expect("a valid alphabet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_read_as_it_is_written_and_as_it_is_typed(secret: [u8; 16], key: [u8; 32]) {
            let code = Code { secret, key };
            let text = code.text();
            prop_assert_eq!(text.len(), 5 + 16 * 6);
            prop_assert_eq!(Code::parse(&text), Ok(code.clone()));
            let typed = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            let typed = typed.replacen("jimsl", "jims1", 1);
            prop_assert_eq!(Code::parse(&format!(" {typed}\n")), Ok(code.clone()));
            let (first, second) = text.split_at(80);
            prop_assert_eq!(Code::parse(&format!("{first}\n{second}\n")), Ok(code));
            prop_assert!(Code::is_cut(first) && !Code::is_cut(&text));
        }

        #[test]
        fn a_wrong_character_is_found(secret: [u8; 16], key: [u8; 32], place in 0..80_usize) {
            let code = Code { secret, key };
            let mut text: Vec<char> = code.text().replace('-', "").chars().collect();
            let at = &mut text[5 + place];
            *at = if *at == 'A' { 'B' } else { 'A' };
            let wrong: String = text.into_iter().collect();
            // One in 65,536 passes; its secret or key is another then, so that the Server or the Collector refuses it.
            prop_assert_ne!(Code::parse(&wrong), Ok(code));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = Code::parse(&text);
            let _ = Code::parse(&format!("JIMS1-{text}"));
            let _ = Code::is_cut(&text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(Code::parse("hello"), Err(CodeError::NoCode));
        assert_eq!(Code::parse("JIMS1-ABCDE"), Err(CodeError::Length(5)));
        let text = "JIMS1".to_owned() + &"U".repeat(80);
        assert_eq!(Code::parse(&text), Err(CodeError::Mistyped));
    }
}
