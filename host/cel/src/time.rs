//! Points and spans of time.

use std::cmp::Ordering;
use std::fmt;

/// The first and the last second that a time can be: the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
pub(crate) const NANOS: i64 = 1_000_000_000;
/// The longest text that is read as a time or a span.
const TEXT_MAX: usize = 1_000;
/// The seconds of a day.
const DAY: i64 = 86_400;

/// A point in time: seconds since 1970, and nanoseconds on top.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
    /// How far east of UTC it was written, in seconds: it is shown there, and nothing else.
    offset: i32,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanos).cmp(&(other.seconds, other.nanos))
    }
}

impl Timestamp {
    /// A time within the years that are allowed.
    pub(crate) fn new(seconds: i64, nanos: u32, offset: i32) -> Option<Self> {
        SECONDS.contains(&seconds).then_some(Self { seconds, nanos, offset })
    }

    /// The time so many nanoseconds later.
    pub(crate) fn plus(self, nanoseconds: i64) -> Option<Self> {
        let whole =
            i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos) + i128::from(nanoseconds);
        let seconds = i64::try_from(whole.div_euclid(i128::from(NANOS))).ok()?;
        Self::new(seconds, u32::try_from(whole.rem_euclid(i128::from(NANOS))).ok()?, self.offset)
    }

    /// The nanoseconds since another time.
    pub(crate) fn since(self, other: Self) -> Option<i64> {
        let seconds = i128::from(self.seconds) - i128::from(other.seconds);
        let nanos = i128::from(self.nanos) - i128::from(other.nanos);
        i64::try_from(seconds * i128::from(NANOS) + nanos).ok()
    }

    /// The day and the hour so many seconds east of UTC.
    pub(crate) fn civil(self, offset: i32) -> Civil {
        Civil::at(self.seconds + i64::from(offset))
    }
}

/// A day of the calendar and a time of the day.
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    /// Days since 1970.
    days: i64,
    /// Seconds since midnight.
    seconds: i64,
}

impl Civil {
    fn at(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        // Years begin in March here, so that a leap day is their last; eras have 400 of them.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            days,
            seconds: seconds.rem_euclid(DAY),
        }
    }

    pub(crate) fn hour(&self) -> i64 {
        self.seconds / 3_600
    }

    pub(crate) fn minute(&self) -> i64 {
        self.seconds / 60 % 60
    }

    pub(crate) fn second(&self) -> i64 {
        self.seconds % 60
    }

    /// From 0, a Sunday.
    pub(crate) fn weekday(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// From 0.
    pub(crate) fn day_of_year(&self) -> i64 {
        self.days - days(self.year, 1, 1)
    }
}

/// The days from 1970 to a day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// RFC 3339 where it was written, with as many decimals as it needs.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil(self.offset);
        write!(f, "{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)?;
        write!(f, "T{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second())?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A time as RFC 3339 writes it.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let is_plain = (20..=TEXT_MAX).contains(&bytes.len())
        && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].iter().all(|(at, c)| bytes[*at] == *c)
        && matches!(bytes[10], b'T' | b't' | b' ')
        && text.is_ascii();
    if !is_plain {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let civil = Civil::at(days * DAY);
    if (civil.year, civil.month, civil.day) != (number(0, 4)?, number(5, 7)?, number(8, 10)?) {
        return None;
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(&text[19..])?;
    let offset = offset(zone)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    Timestamp::new(seconds, nanos, i32::try_from(offset).ok()?)
}

/// The decimals, and what comes after them.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let length = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let digits: String = rest[..length].chars().chain("000000000".chars()).take(9).collect();
    (length > 0).then_some((digits.parse().ok()?, &rest[length..]))
}

/// A zone as seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    clock(rest).map(|seconds| sign * seconds)
}

/// `hh:mm` as seconds.
pub(crate) fn clock(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let part = |digits: &str, most: i64| -> Option<i64> {
        let is_number = digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?.filter(|number| *number <= most)
    };
    Some(part(hours, 23)? * 3600 + part(minutes, 59)? * 60)
}

/// The units of a duration in nanoseconds; a longer name stands before its beginning.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3_600 * NANOS),
];

/// A duration as Go writes it: `1h30m`, `-1.5s`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut whole: i128 = 0;
    if rest.is_empty() || rest.len() > TEXT_MAX {
        return None;
    }
    while !rest.is_empty() {
        let length = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let number = decimal(&rest[..length])?;
        rest = &rest[length..];
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        whole = whole.checked_add(number.checked_mul(i128::from(*nanoseconds))? / DECIMALS)?;
    }
    i64::try_from(if is_negative { -whole } else { whole }).ok()
}

/// What a decimal is multiplied by to be whole; further digits do not count.
const DECIMALS: i128 = 1_000_000_000_000;
/// The most digits before the point: more is out of range in any unit.
const WHOLE_DIGITS_MAX: usize = 19;

fn decimal(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() > WHOLE_DIGITS_MAX || (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000000".chars()).take(12).collect();
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some(whole * DECIMALS + digits.parse::<i128>().ok()?)
}

/// A duration of an object: as Go writes it, or `3 days`.
pub(crate) fn lenient_duration(text: &str) -> Option<i64> {
    if let Some(found) = parse_duration(text) {
        return Some(found);
    }
    let trimmed = if text.len() > TEXT_MAX { "" } else { text.trim() };
    let length = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: i64 = trimmed[..length].parse().ok()?;
    let unit = match trimmed[length..].trim().to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => NANOS,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * NANOS,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * NANOS,
        "d" | "day" | "days" => DAY * NANOS,
        "w" | "wk" | "wks" | "week" | "weeks" => 7 * DAY * NANOS,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A duration in seconds: `1.5s`.
pub(crate) fn show_duration(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (seconds, rest) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    format!("{sign}{seconds}.{}s", format!("{rest:09}").trim_end_matches('0'))
}
