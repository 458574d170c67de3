//! `resource.Quantity`: the fixed-point numbers of requests and limits, exact to 10⁻⁹.

use std::cmp::Ordering;
use std::fmt;

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

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct QuantityError;

impl Quantity {
    /// Zero, as `0`.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads a quantity. Values beyond ±(2⁶³−1) are capped, fractions finer than 10⁻⁹ rounded away from zero.
    ///
    /// # Errors
    /// [`QuantityError`] in the API server's words.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        unimplemented!()
    }

    /// A whole number, printed as `format`.
    pub fn from_whole(value: i64, format: Format) -> Self {
        unimplemented!()
    }

    /// A number of thousandths, printed in decimal suffixes.
    pub fn from_milli(value: i64) -> Self {
        unimplemented!()
    }

    /// The value in whole units, rounded up (away from zero); capped at the range of `i64`.
    pub fn value(self) -> i64 {
        unimplemented!()
    }

    /// The value in thousandths, rounded up (away from zero); capped at the range of `i64`.
    pub fn milli_value(self) -> i64 {
        unimplemented!()
    }

    /// The sum; keeps this one's format (the other one's when this is zero).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        unimplemented!()
    }

    /// The difference; keeps this one's format (the other one's when this is zero).
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        unimplemented!()
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
        unimplemented!()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
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
