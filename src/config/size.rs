//! Sizes with units: `512MiB`, `1GiB`.

use std::ops::RangeInclusive;

use super::file::Value;

/// Units by their power of 1024.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl Value<'_> {
    /// A number of bytes with its unit, in a range.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        if let Some(number) = self.inner.as_integer() {
            let hint = format!("write the unit: \"{number}MiB\"; units are KiB, MiB, GiB, TiB");
            self.wrong_type("a size", hint);
            return None;
        }
        let text = self.text()?;
        let Some(size) = parse_size(&text) else {
            self.spot.error(
                format!("\"{text}\" is no size"),
                "",
                "write a whole number with its unit, such as \"512MiB\" or \"1GiB\"; units are KiB, MiB, GiB, TiB",
            );
            return None;
        };
        if !range.contains(&size) {
            let (from, to) = (show_size(*range.start()), show_size(*range.end()));
            let near = if size < *range.start() { &from } else { &to };
            self.spot.error(
                format!("\"{text}\" is not from {from} to {to}"),
                "",
                format!("\"{near}\""),
            );
            return None;
        }
        Some(size)
    }
}

/// A size in the largest unit that needs no fraction.
pub(super) fn show_size(bytes: u64) -> String {
    let whole = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    match UNITS.iter().find(whole) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

/// A whole number and its unit; `None`: it is no size.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units() {
        assert_eq!(parse_size("1GiB"), Some(1 << 30));
        assert_eq!(parse_size(" 512 MiB"), Some(512 << 20));
        for wrong in [
            "",
            "1",
            "GiB",
            "1GB",
            "1.5GiB",
            "-1MiB",
            "99999999TiB",
            "1MiB1KiB",
        ] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        for text in ["1GiB", "512MiB", "16KiB", "2TiB"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
    }
}
