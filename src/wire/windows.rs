//! Scalars of Windows: GUID, SID, FILETIME, SYSTEMTIME, UTF-16 (MS-DTYP 2.3).
//!
//! Values only: how they stand in a larger structure is that structure's matter.

use std::fmt;

/// A GUID; [`uuid::Uuid::from_bytes_le`] reads its bytes as Windows writes them (MS-DTYP 2.3.4.2).
pub type Guid = uuid::Uuid;

/// Most sub-authorities of a SID (MS-DTYP 2.4.2.2).
pub const MAX_SUB_AUTHORITIES: usize = 15;

/// 100 ns steps from 1601 to 1970.
const UNIX_EPOCH_TICKS: u64 = 116_444_736_000_000_000;
/// Days from 0000-03-01 to 1601-01-01 in the Gregorian calendar.
const DAYS_TO_1601: u64 = 584_694;
/// 100 ns steps of a millisecond.
const TICKS_PER_MILLISECOND: u64 = 10_000;

/// A security identifier (MS-DTYP 2.4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid {
    revision: u8,
    authority: u64,
    count: u8,
    sub_authorities: [u32; MAX_SUB_AUTHORITIES],
}

impl Sid {
    /// Reads it; bytes after its end are not looked at. `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[revision, count, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<8>()?;
        if usize::from(count) > MAX_SUB_AUTHORITIES {
            return None;
        }
        let mut sub_authorities = [0; MAX_SUB_AUTHORITIES];
        let (numbers, _) = rest.as_chunks::<4>();
        let numbers = numbers.get(..usize::from(count))?;
        for (slot, number) in sub_authorities.iter_mut().zip(numbers) {
            *slot = u32::from_le_bytes(*number);
        }
        Some(Self {
            revision,
            authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            count,
            sub_authorities,
        })
    }

    /// The sub-authorities; the last one is the relative identifier.
    #[must_use]
    pub fn sub_authorities(&self) -> &[u32] {
        self.sub_authorities
            .get(..usize::from(self.count))
            .unwrap_or_default()
    }

    /// Who issued it: 5 is NT.
    #[must_use]
    pub const fn authority(&self) -> u64 {
        self.authority
    }

    /// Whether it is of an account or group that a domain, a computer or Entra made; every Windows has the others.
    #[must_use]
    pub fn is_account(&self) -> bool {
        matches!(
            (self.authority, self.sub_authorities()),
            (5, [21, _, ..]) | (12, [1, _, ..])
        )
    }

    /// Bytes it takes.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        8 + 4 * usize::from(self.count)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-{}-", self.revision)?;
        // MS-DTYP 2.4.2.1: hexadecimal from 2^32 on.
        if self.authority < 1 << 32 {
            write!(f, "{}", self.authority)?;
        } else {
            write!(f, "{:#x}", self.authority)?;
        }
        for number in self.sub_authorities() {
            write!(f, "-{number}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 100 ns steps since 1601, UTC (MS-DTYP 2.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime(pub u64);

impl FileTime {
    /// Milliseconds since 1970, rounded down.
    #[must_use]
    pub fn to_unix_millis(self) -> i64 {
        let since = i128::from(self.0) - i128::from(UNIX_EPOCH_TICKS);
        let milliseconds = since.div_euclid(i128::from(TICKS_PER_MILLISECOND));
        i64::try_from(milliseconds).unwrap_or(i64::MAX)
    }

    /// From milliseconds since 1970; `None` before 1601 and beyond what it holds.
    #[must_use]
    pub fn from_unix_millis(milliseconds: i64) -> Option<Self> {
        let ticks = i128::from(milliseconds) * i128::from(TICKS_PER_MILLISECOND);
        let ticks = ticks + i128::from(UNIX_EPOCH_TICKS);
        u64::try_from(ticks).ok().map(Self)
    }

    /// From a time that is written out as [`FileTime`] shows it, with any number of digits after the second.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.strip_suffix('Z')?.split_once('.') {
            Some((whole, fraction)) => (whole, fraction),
            None => (text.strip_suffix('Z')?, "0"),
        };
        let (date, clock) = whole.split_once('T')?;
        let numbers = |text: &str, by: char| -> Option<[u16; 3]> {
            let mut parts = text.split(by).map(digits);
            let numbers = [parts.next()??, parts.next()??, parts.next()??];
            parts.next().is_none().then_some(numbers)
        };
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(clock, ':')?;
        let time = SystemTime {
            year,
            month,
            day_of_week: 0,
            day,
            hour,
            minute,
            second,
            milliseconds: 0,
        };
        let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
        let scales = [1_000_000, 100_000, 10_000, 1000, 100, 10, 1];
        let ticks: u64 = (fraction.bytes().zip(scales))
            .map(|(digit, scale)| u64::from(digit.saturating_sub(b'0')) * scale)
            .sum();
        let whole = time.file_time()?;
        is_fraction.then_some(Self(whole.0 + ticks))
    }

    /// Its calendar time and the 100 ns steps within the second.
    #[must_use]
    pub fn calendar(self) -> (SystemTime, u32) {
        const TICKS_PER_SECOND: u64 = 1000 * TICKS_PER_MILLISECOND;
        let seconds = self.0 / TICKS_PER_SECOND;
        let ticks = self.0 % TICKS_PER_SECOND;
        let of_day = seconds % 86_400;
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        let narrow = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let time = SystemTime {
            year: narrow(year),
            month: narrow(month),
            // 1601-01-01 was a Monday.
            day_of_week: narrow((days + 1) % 7),
            day: narrow(day),
            hour: narrow(of_day / 3600),
            minute: narrow(of_day / 60 % 60),
            second: narrow(of_day % 60),
            milliseconds: narrow(ticks / TICKS_PER_MILLISECOND),
        };
        (time, u32::try_from(ticks).unwrap_or(0))
    }
}

impl fmt::Display for FileTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, ticks) = self.calendar();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ticks:07}Z",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    }
}

/// A number of digits only.
fn digits(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Year, month and day of the days since 1601-01-01 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the leap day is the last of its year.
    let days = days + DAYS_TO_1601;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A calendar time (MS-DTYP 2.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemTime {
    /// From 1601 on.
    pub year: u16,
    /// From 1 on.
    pub month: u16,
    /// Sunday is 0.
    pub day_of_week: u16,
    /// From 1 on.
    pub day: u16,
    /// 0 to 23.
    pub hour: u16,
    /// 0 to 59.
    pub minute: u16,
    /// 0 to 59.
    pub second: u16,
    /// 0 to 999.
    pub milliseconds: u16,
}

impl SystemTime {
    /// Reads it; the fields are not checked.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        let (numbers, _) = bytes.as_chunks::<2>();
        let field = |index: usize| numbers.get(index).map_or(0, |n| u16::from_le_bytes(*n));
        Self {
            year: field(0),
            month: field(1),
            day_of_week: field(2),
            day: field(3),
            hour: field(4),
            minute: field(5),
            second: field(6),
            milliseconds: field(7),
        }
    }

    /// The same instant as 100 ns steps; `None` if it is no time.
    #[must_use]
    pub fn file_time(&self) -> Option<FileTime> {
        let within = (1601..=30_827).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
            && self.milliseconds < 1000;
        if !within {
            return None;
        }
        // Years begin in March here, so that the leap day is the last of its year.
        let early = u64::from(self.month <= 2);
        let year = u64::from(self.year) - early;
        let month = u64::from(self.month) + 12 * early - 3;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
        let days = (days + u64::from(self.day) - 1).checked_sub(DAYS_TO_1601)?;
        let seconds = u64::from(self.hour) * 3600 + u64::from(self.minute) * 60;
        let seconds = days * 86_400 + seconds + u64::from(self.second);
        let milliseconds = seconds * 1000 + u64::from(self.milliseconds);
        Some(FileTime(milliseconds * TICKS_PER_MILLISECOND))
    }
}

impl fmt::Display for SystemTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}0000Z",
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.milliseconds
        )
    }
}

/// The units of UTF-16LE bytes; an odd last byte is left out.
pub fn utf16_units(bytes: &[u8]) -> impl ExactSizeIterator<Item = u16> + Clone + '_ {
    let (units, _) = bytes.as_chunks::<2>();
    units.iter().map(|unit| u16::from_le_bytes(*unit))
}

/// The characters of UTF-16LE bytes; what is none becomes U+FFFD.
pub fn utf16_chars(bytes: &[u8]) -> impl Iterator<Item = char> + Clone + '_ {
    char::decode_utf16(utf16_units(bytes)).map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// The text of UTF-16LE bytes; what is none becomes U+FFFD.
#[must_use]
pub fn utf16(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 2);
    text.extend(utf16_chars(bytes));
    text
}

/// The text of UTF-16LE bytes up to their first NUL.
#[must_use]
pub fn utf16_until_nul(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let length = units.iter().position(|unit| *unit == [0, 0]);
    utf16(
        bytes
            .get(..2 * length.unwrap_or(units.len()))
            .unwrap_or_default(),
    )
}

/// Whether UTF-16LE bytes are exactly `text`.
#[must_use]
pub fn utf16_equals(bytes: &[u8], text: &str) -> bool {
    bytes.len().is_multiple_of(2) && utf16_units(bytes).eq(text.encode_utf16())
}

/// UTF-16LE bytes of a text.
#[must_use]
pub fn to_utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_reads_as_windows_prints_it() {
        let bytes = [
            1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0xf4, 1, 0, 0,
        ];
        let sid = Sid::from_bytes(&bytes).unwrap();
        assert_eq!(sid.to_string(), "S-1-5-21-1-2-3-500");
        assert_eq!(sid.encoded_length(), bytes.len());
        assert_eq!(sid.sub_authorities().last(), Some(&500));
        assert!(sid.is_account());
        for length in 0..bytes.len() {
            assert_eq!(Sid::from_bytes(&bytes[..length]), None, "cut at {length}");
        }
        let sid = Sid::from_bytes(&[1, 0, 1, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(sid.to_string(), "S-1-0x10000000000");
        let system = Sid::from_bytes(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]).unwrap();
        assert_eq!(system.to_string(), "S-1-5-18");
        assert!(!system.is_account());
    }

    #[test]
    fn a_sid_with_sixteen_sub_authorities_is_none() {
        let mut bytes = vec![1, 16, 0, 0, 0, 0, 0, 5];
        bytes.resize(8 + 64, 1);
        assert_eq!(Sid::from_bytes(&bytes), None);
    }

    #[test]
    fn a_filetime_is_milliseconds_and_text() {
        let time = FileTime(133_500_000_001_234_567);
        assert_eq!(time.to_string(), "2024-01-17T21:20:00.1234567Z");
        let milliseconds = time.to_unix_millis();
        assert_eq!(milliseconds, 1_705_526_400_123);
        let back = FileTime::from_unix_millis(milliseconds).unwrap();
        assert_eq!(back, FileTime(133_500_000_001_230_000));
        assert_eq!(time.calendar().0.day_of_week, 3);
    }

    #[test]
    fn filetimes_at_the_edges_do_not_overflow() {
        assert_eq!(FileTime(0).to_unix_millis(), -11_644_473_600_000);
        assert_eq!(FileTime(0).to_string(), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(FileTime(u64::MAX).to_unix_millis(), 1_833_029_933_770_955);
        assert_eq!(FileTime::from_unix_millis(i64::MAX), None);
        assert_eq!(FileTime::from_unix_millis(i64::MIN), None);
        assert!(FileTime(u64::MAX).to_string().starts_with("60056-05-28"));
    }

    #[test]
    fn calendar_times_and_filetimes_are_each_others_inverse() {
        for days in 0..=160_000_u64 {
            let time = FileTime(days * 864_000_000_000 + 450_610_070_000);
            assert_eq!(time.calendar().0.file_time(), Some(time), "{time}");
        }
        let (mut time, _) = FileTime(0).calendar();
        time.month = 13;
        assert_eq!(time.file_time(), None);
        time.month = 0;
        assert_eq!(time.file_time(), None);
    }

    #[test]
    fn a_time_is_read_back_from_its_text() {
        let time = FileTime(133_500_000_001_234_567);
        assert_eq!(FileTime::from_text(&time.to_string()), Some(time));
        let read = |text| FileTime::from_text(text).map(|time| time.to_string());
        let second = "2024-01-17T21:20:00.0000000Z";
        assert_eq!(read("2024-01-17T21:20:00Z").as_deref(), Some(second));
        let nanoseconds = "2024-01-17T21:20:00.120000099Z";
        assert_eq!(
            read(nanoseconds).as_deref(),
            Some("2024-01-17T21:20:00.1200000Z")
        );
        for text in [
            "",
            "Z",
            "2024-01-17T21:20Z",
            "2024-01-17T21:20:00",
            "2024-01-17T21:20:00.Z",
            "2024-01-17T21:20:00.1xZ",
            "2024-13-17T21:20:00Z",
            "+024-01-17T21:20:00Z",
            "2024-01-17T21:20:00:00Z",
            "9999999-01-17T21:20:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn leap_days_are_where_they_belong() {
        let day = |milliseconds| {
            let time = FileTime::from_unix_millis(milliseconds).unwrap();
            time.to_string()[..10].to_owned()
        };
        assert_eq!(day(951_782_400_000), "2000-02-29");
        assert_eq!(day(951_868_800_000), "2000-03-01");
        assert_eq!(day(1_709_164_800_000), "2024-02-29");
        assert_eq!(day(4_107_542_400_000), "2100-03-01");
        assert_eq!(day(-2_203_891_200_000), "1900-03-01");
    }

    #[test]
    fn broken_utf16_becomes_replacement_characters() {
        assert_eq!(utf16(&[0x41, 0, 0x00, 0xd8, 0x42, 0]), "A\u{fffd}B");
        assert_eq!(utf16(&[0x41, 0, 0x42]), "A");
        assert_eq!(utf16_until_nul(&[0x41, 0, 0, 0, 0x42, 0]), "A");
        assert_eq!(utf16(&to_utf16("Ünï😀")), "Ünï😀");
        assert!(utf16_equals(&to_utf16("Data"), "Data"));
        assert!(!utf16_equals(&to_utf16("Datas"), "Data"));
        assert!(!utf16_equals(b"D\0a\0t\0a\0x", "Data"));
    }
}
