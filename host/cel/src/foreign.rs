//! The values of Kubernetes' own types.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::library::format::Format;
use crate::library::url::Url;
use crate::types::Opaque;

/// A value of one of Kubernetes' own types.
#[derive(Clone, Debug)]
pub enum Foreign {
    /// An amount.
    Quantity(Quantity),
    /// An address.
    Ip(IpAddr),
    /// A range of addresses: an address in it and how many bits they share.
    Cidr(IpAddr, u8),
    /// A URL.
    Url(Url),
    /// A version.
    Semver(Version),
    /// A format.
    Format(&'static Format),
}

impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a, bits), Self::Cidr(b, others)) => a == b && bits == others,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.order(b) == Ordering::Equal,
            (Self::Format(a), Self::Format(b)) => std::ptr::eq(*a, *b),
            _ => false,
        }
    }
}

impl Foreign {
    pub(crate) fn opaque(&self) -> Opaque {
        match self {
            Self::Quantity(_) => Opaque::Quantity,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(..) => Opaque::Cidr,
            Self::Url(_) => Opaque::Url,
            Self::Semver(_) => Opaque::Semver,
            Self::Format(_) => Opaque::Format,
        }
    }

    /// Its size as costs count it.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(_, bits) => u64::from(*bits).div_ceil(8),
            _ => 1,
        }
    }
}

/// An amount.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    pub(crate) billionths: i128,
    /// Whether Kubernetes takes it for an integer: neither written with a fraction nor too large to be held as one.
    pub(crate) is_integer: bool,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.billionths == other.billionths
    }
}

/// A semantic version.
#[derive(Clone, Debug)]
pub struct Version {
    pub(crate) numbers: [u64; 3],
    pub(crate) prerelease: Vec<String>,
}

impl Version {
    /// By the rules of semver.org; build metadata do not count.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let by_numbers = self.numbers.cmp(&other.numbers);
        by_numbers.then_with(|| match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => {
                let mut pairs = self.prerelease.iter().zip(&other.prerelease);
                let different = pairs.find_map(|(mine, theirs)| {
                    let order = identifiers(mine, theirs);
                    (order != Ordering::Equal).then_some(order)
                });
                different.unwrap_or_else(|| self.prerelease.len().cmp(&other.prerelease.len()))
            }
        })
    }
}

/// Numbers are less than names.
fn identifiers(mine: &str, theirs: &str) -> Ordering {
    match (mine.parse::<u64>(), theirs.parse::<u64>()) {
        (Ok(mine), Ok(theirs)) => mine.cmp(&theirs),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => mine.cmp(theirs),
    }
}
