//! `resource.Quantity`: the fixed-point numbers of requests and limits, exact to 10⁻⁹.

use std::cmp::Ordering;
use std::fmt;

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

/// The largest quantity: 2⁶³−1 units, as in Kubernetes; larger ones are capped, not refused.
const NANOS_MAX: i128 = i64::MAX as i128 * NANOS_PER_UNIT;

/// How many digits a capped value has before its point; one with more is certainly beyond [`NANOS_MAX`].
const WHOLE_DIGITS_MAX: i64 = 20;

const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A quantity such as `100m`, `1.5Gi` or `2e3`.
///
/// Compared by value; printed in canonical form: the format it was written in, no fraction, the largest suffix.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// In units of 10⁻⁹.
    nanos: i128,
    format: Format,
}

/// How a quantity is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Ki`, `Mi`, `Gi`, …: powers of 1024.
    BinarySi,
    /// `m`, `k`, `M`, `G`, …: powers of 1000.
    DecimalSi,
    /// `e3`, `e6`, …: powers of 1000 as exponents.
    DecimalExponent,
}

/// A text that is no quantity, in the API server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Neither a number nor a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A suffix without a number.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// A suffix that is none.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// What stands behind the digits.
enum Scale {
    /// Times 10 to this power.
    Ten(i64, Format),
    /// Times 1024 to this power.
    Binary(u32),
}

impl Quantity {
    /// Zero, as `0`.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads a quantity. Values beyond ±(2⁶³−1) are capped, fractions finer than 10⁻⁹ rounded away from zero.
    ///
    /// # Errors
    /// [`QuantityError`] in the API server's words.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            None => return Err(QuantityError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let (whole, rest) = split_digits(rest);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if !suffix_has_form(suffix) {
            return Err(QuantityError::Format);
        }
        let scale = scale(suffix).ok_or(QuantityError::Suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let (magnitude, format) = match scale {
            Scale::Ten(exponent, format) => (decimal_nanos(whole, fraction, exponent), format),
            Scale::Binary(power) => {
                let nanos = binary_nanos(whole, fraction, power);
                // A fraction of one is shown in decimals, as the API server does.
                (
                    nanos,
                    if nanos > 0 && nanos < NANOS_PER_UNIT { Format::DecimalSi } else { Format::BinarySi },
                )
            }
        };
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// A whole number, printed as `format`.
    pub fn from_whole(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANOS_PER_UNIT, format }
    }

    /// A number of thousandths, printed in decimal suffixes.
    pub fn from_milli(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANOS_PER_MILLI, format: Format::DecimalSi }
    }

    /// A number of billionths, printed in decimal suffixes.
    pub fn from_nanos(value: u64) -> Self {
        Self { nanos: i128::from(value), format: Format::DecimalSi }
    }

    /// The value in whole units, rounded up (away from zero); capped at the range of `i64`.
    pub fn value(self) -> i64 {
        saturate(divide_away(self.nanos, NANOS_PER_UNIT))
    }

    /// The value in thousandths, rounded up (away from zero); capped at the range of `i64`.
    pub fn milli_value(self) -> i64 {
        saturate(divide_away(self.nanos, NANOS_PER_MILLI))
    }

    /// The same in thousandths, rounded up (away from zero).
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        let nanos = divide_away(self.nanos, NANOS_PER_MILLI).saturating_mul(NANOS_PER_MILLI);
        Self { nanos, format: self.format }
    }

    /// The sum, capped like [`Quantity::parse`]; keeps this one's format (the other one's when this is zero).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-NANOS_MAX, NANOS_MAX), format }
    }

    /// The difference, capped; keeps this one's format (the other one's when this is zero).
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, ..other })
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it has a fraction, i.e. is no whole number.
    pub fn is_fractional(self) -> bool {
        self.nanos % NANOS_PER_UNIT != 0
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`.
fn suffix_has_form(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

fn scale(suffix: &str) -> Option<Scale> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(word, _)| *word == suffix) {
        return Some(Scale::Ten(i64::from(*exponent), Format::DecimalSi));
    }
    if let Some(power) = BINARY_SUFFIXES.iter().position(|word| *word == suffix) {
        return Some(Scale::Binary(power as u32));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some(Scale::Ten(exponent.parse().ok()?, Format::DecimalExponent))
}

/// `whole.fraction × 10^exponent` in nanos: rounded up, capped.
fn decimal_nanos(whole: &str, fraction: &str, exponent: i64) -> i128 {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|b| *b == b'0').collect();
    if digits.is_empty() {
        return 0;
    }
    // Position of the point within `digits` (which may lie outside them), then of the end of the nanos.
    let skipped = (whole.len() + fraction.len() - digits.len()) as i64;
    let point = (whole.len() as i64 - skipped).saturating_add(exponent);
    if point > WHOLE_DIGITS_MAX {
        return NANOS_MAX;
    }
    let kept = point.saturating_add(9);
    if kept < 0 {
        return 1;
    }
    let kept = kept as usize;
    let mut nanos = number(&digits[..kept.min(digits.len())]);
    for _ in digits.len()..kept {
        nanos *= 10;
    }
    if digits.iter().skip(kept).any(|b| *b != b'0') {
        nanos += 1;
    }
    nanos.min(NANOS_MAX)
}

/// `whole.fraction × 1024^power` in nanos: rounded up, capped.
fn binary_nanos(whole: &str, fraction: &str, power: u32) -> i128 {
    const FRACTION_DIGITS: usize = 18;
    let whole = whole.trim_start_matches('0').as_bytes();
    if whole.len() as i64 > WHOLE_DIGITS_MAX {
        return NANOS_MAX;
    }
    let factor = 1_i128 << (10 * power);
    let units = number(whole).saturating_mul(factor);
    if units > i128::from(i64::MAX) {
        return NANOS_MAX;
    }
    let mut digits = fraction.as_bytes()[..fraction.len().min(FRACTION_DIGITS)].to_vec();
    digits.resize(FRACTION_DIGITS, b'0');
    let lost = fraction.bytes().skip(FRACTION_DIGITS).any(|b| b != b'0');
    // The fraction counts 10⁻¹⁸, so 10⁹ of it make one nano.
    let fraction_nanos = (number(&digits) * factor + i128::from(lost)).div_euclid(NANOS_PER_UNIT)
        + i128::from((number(&digits) * factor + i128::from(lost)) % NANOS_PER_UNIT != 0);
    (units * NANOS_PER_UNIT + fraction_nanos).min(NANOS_MAX)
}

/// The value of at most 38 digits.
fn number(digits: &[u8]) -> i128 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'))
}

fn divide_away(value: i128, divisor: i128) -> i128 {
    let rest = value % divisor;
    value / divisor + if rest == 0 { 0 } else { rest.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANOS_PER_UNIT;
        if self.format == Format::BinarySi && !small && !self.is_fractional() {
            let (mut units, mut power) = (self.nanos / NANOS_PER_UNIT, 0);
            while units % 1024 == 0 {
                (units, power) = (units / 1024, power + 1);
            }
            return write!(f, "{units}{}", BINARY_SUFFIXES[power]);
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9_i32);
        while mantissa % 1000 == 0 {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        match (self.format, exponent) {
            (Format::DecimalExponent, 0) => write!(f, "{mantissa}"),
            (Format::DecimalExponent, _) => write!(f, "{mantissa}e{exponent}"),
            _ => write!(f, "{mantissa}{}", DECIMAL_SUFFIXES[(exponent / 3 + 3) as usize].0),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Format, Quantity, QuantityError};

    fn canonical(text: &str) -> String {
        Quantity::parse(text).unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        for (text, expected) in [
            ("0", "0"),
            ("0.0", "0"),
            ("00100m", "100m"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("0.5Ki", "512"),
            ("1Ki", "1Ki"),
            ("1500Ki", "1500Ki"),
            ("1023", "1023"),
            ("2e3", "2e3"),
            ("2000", "2k"),
            ("1E", "1E"),
            ("12e6", "12e6"),
            ("1e-3", "1e-3"),
            ("+5", "5"),
            (".5", "500m"),
            ("1.", "1"),
            ("-1.5", "-1500m"),
            ("1n", "1n"),
            ("0.0000000001", "1n"),
            ("1.0000000001", "1000000001n"),
            ("1e-400", "1e-9"),
            ("9999999999999999999999", "9223372036854775807"),
            ("1e400", "9223372036854775807"),
            ("100Ei", "9223372036854775807"),
            ("123456789", "123456789"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("ä", QuantityError::Format),
            ("m", QuantityError::Numeric),
            (".", QuantityError::Numeric),
            ("1mm", QuantityError::Suffix),
            ("1Ki5", QuantityError::Suffix),
            ("1ki", QuantityError::Suffix),
            ("1e99999999999999999999", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn rounding_is_away_from_zero() {
        let quantity = |text| Quantity::parse(text).unwrap();
        assert_eq!(quantity("1100m").value(), 2);
        assert_eq!(quantity("-1100m").value(), -2);
        assert_eq!(quantity("100u").milli_value(), 1);
        assert_eq!(quantity("1Gi").value(), 1 << 30);
        assert_eq!(quantity("9E").milli_value(), i64::MAX);
    }

    #[test]
    fn what_is_finer_than_a_thousandth_is_rounded_away_from_zero() {
        for (text, expected) in [
            ("100u", "1m"),
            ("1n", "1m"),
            ("-1n", "-1m"),
            ("1500001u", "1501m"),
            ("1e-6", "1e-3"),
            ("2m", "2m"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().rounded_to_milli().to_string(), expected, "{text}");
        }
        assert_eq!(Quantity::parse("100E").unwrap().rounded_to_milli(), Quantity::parse("100E").unwrap());
    }

    #[test]
    fn sums_keep_the_first_format() {
        let sum = Quantity::parse("1Gi").unwrap().plus(Quantity::parse("512Mi").unwrap());
        assert_eq!(sum.to_string(), "1536Mi");
        assert_eq!(Quantity::ZERO.plus(Quantity::parse("1Ki").unwrap()).to_string(), "1Ki");
        assert_eq!(Quantity::from_milli(100).minus(Quantity::from_milli(250)).to_string(), "-150m");
        assert_eq!(Quantity::from_whole(2048, Format::BinarySi).to_string(), "2Ki");
    }

    proptest! {
        #[test]
        fn canonical_is_stable_and_equal(nanos in -(1_i128 << 92)..(1_i128 << 92), format in 0_usize..3) {
            let format = [Format::BinarySi, Format::DecimalSi, Format::DecimalExponent][format];
            let quantity = Quantity { nanos, format };
            let again = Quantity::parse(&quantity.to_string()).unwrap();
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }

        #[test]
        fn any_text_is_answered(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,4}|.*") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()).unwrap(), quantity);
            }
        }

        #[test]
        fn sums_agree_with_integers(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000) {
            let sum = Quantity::from_milli(a).plus(Quantity::from_milli(b));
            prop_assert_eq!(sum.milli_value(), a + b);
            prop_assert_eq!(sum.minus(Quantity::from_milli(b)), Quantity::from_milli(a));
        }
    }
}
