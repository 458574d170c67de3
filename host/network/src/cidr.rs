//! IPv4 ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::NetworkError;

/// The smallest pod range (`/29`): network, gateway, broadcast and a few pods.
const PODS_PREFIX_MAX: u8 = 29;
/// The largest pod range.
const PODS_PREFIX_MIN: u8 = 8;

/// An IPv4 range such as `10.42.0.0/16`; the host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ipv4Cidr {
    base: u32,
    prefix_len: u8,
}

impl Ipv4Cidr {
    /// The range that holds `address`, with `prefix_len` (0 to 32) network bits.
    ///
    /// # Panics
    /// When `prefix_len` is over 32.
    pub fn containing(address: Ipv4Addr, prefix_len: u8) -> Ipv4Cidr {
        assert!(prefix_len <= 32, "an IPv4 prefix has at most 32 bits");
        Ipv4Cidr { base: u32::from(address) & mask(prefix_len), prefix_len }
    }

    /// Refuses a range that is too small or too large for a node's pods.
    pub(crate) fn check_size(&self) -> Result<(), NetworkError> {
        if (PODS_PREFIX_MIN..=PODS_PREFIX_MAX).contains(&self.prefix_len) {
            return Ok(());
        }
        let reason = format!("the prefix of --pod-cidr is from {PODS_PREFIX_MIN} to {PODS_PREFIX_MAX}");
        Err(NetworkError::InvalidCidr { text: self.to_string(), reason })
    }

    /// The range's first address, the network address.
    pub fn base(&self) -> Ipv4Addr {
        self.base.into()
    }

    /// The number of network bits.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The netmask.
    pub fn netmask(&self) -> Ipv4Addr {
        mask(self.prefix_len).into()
    }

    /// The `index`-th address, counted from the network address; `None` past the end.
    pub fn nth(&self, index: u32) -> Option<Ipv4Addr> {
        (u64::from(index) < self.len()).then(|| Ipv4Addr::from(self.base + index))
    }

    /// How many addresses the range has.
    pub fn len(&self) -> u64 {
        1 << (32 - self.prefix_len)
    }

    /// Never: a range has at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix_len) == self.base
    }

    /// Whether the ranges share an address.
    pub fn overlaps(&self, other: &Ipv4Cidr) -> bool {
        let shorter = mask(self.prefix_len.min(other.prefix_len));
        self.base & shorter == other.base & shorter
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix_len)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = NetworkError;

    /// Parses `a.b.c.d/n`; set host bits are refused, because they are nearly always a slip.
    fn from_str(text: &str) -> Result<Ipv4Cidr, NetworkError> {
        let invalid = |reason: String| NetworkError::InvalidCidr { text: text.to_owned(), reason };
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| invalid("expected address/prefix, for example 10.42.0.0/16".into()))?;
        let address: Ipv4Addr = address.parse().map_err(|_| invalid("no IPv4 address".into()))?;
        let prefix_len: u8 = prefix
            .parse()
            .ok()
            .filter(|length| *length <= 32)
            .ok_or_else(|| invalid("the prefix is a number from 0 to 32".into()))?;
        let cidr = Ipv4Cidr::containing(address, prefix_len);
        if cidr.base() != address {
            return Err(invalid(format!("host bits are set; did you mean {cidr}?")));
        }
        Ok(cidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_compares_ranges() {
        let cidr = |text: &str| text.parse::<Ipv4Cidr>().unwrap();
        let pods = cidr("10.42.0.0/16");
        assert_eq!((pods.len(), pods.netmask().to_string().as_str()), (65536, "255.255.0.0"));
        assert_eq!(pods.nth(257).unwrap().to_string(), "10.42.1.1");
        assert_eq!(pods.nth(65536), None);
        for (other, overlaps) in
            [("10.42.3.0/24", true), ("10.0.0.0/8", true), ("0.0.0.0/0", true), ("10.43.0.0/16", false)]
        {
            assert_eq!(pods.overlaps(&cidr(other)), overlaps, "{other}");
            assert_eq!(cidr(other).overlaps(&pods), overlaps, "{other}");
        }
        for (pods, fits) in
            [("10.0.0.0/8", true), ("10.0.0.0/29", true), ("10.0.0.0/30", false), ("0.0.0.0/0", false)]
        {
            assert_eq!(cidr(pods).check_size().is_ok(), fits, "{pods}");
        }
        for bad in ["", "10.42.0.0", "10.42.0.0/33", "10.42.0.1/16", "::/0", "10.42.0.0/x"] {
            assert!(bad.parse::<Ipv4Cidr>().is_err(), "{bad:?}");
        }
    }
}
