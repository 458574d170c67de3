//! The ranges from which Services get their addresses and ports.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// The IPv4 range of cluster IPs (`--service-cidr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    network: Ipv4Addr,
    prefix_length: u8,
}

/// A text that is no usable range of cluster IPs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an IPv4 range of 16 to 1048576 service addresses; use one like 10.96.0.0/16")]
pub struct ServiceCidrError(pub String);

/// The ports a Service of type NodePort may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePorts(pub RangeInclusive<u16>);

impl Default for NodePorts {
    fn default() -> Self {
        Self(30000..=32767)
    }
}

impl fmt::Display for ServiceCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_length)
    }
}

impl ServiceCidr {
    /// Reads `10.96.0.0/16`. Between /12 and /28, as the Kubernetes API server limits it.
    ///
    /// # Errors
    /// [`ServiceCidrError`] when it is none, or host bits are set.
    pub fn parse(text: &str) -> Result<Self, ServiceCidrError> {
        let error = || ServiceCidrError(text.to_owned());
        let (network, length) = text.split_once('/').ok_or_else(error)?;
        let network: Ipv4Addr = network.parse().map_err(|_| error())?;
        let prefix_length: u8 = length.parse().map_err(|_| error())?;
        if !(12..=28).contains(&prefix_length) {
            return Err(error());
        }
        let cidr = Self { network, prefix_length };
        if u32::from(network) & (cidr.size() - 1) != 0 { Err(error()) } else { Ok(cidr) }
    }

    /// How many addresses the range has, the first and last ones (that nobody gets) included.
    pub const fn size(self) -> u32 {
        1 << (32 - self.prefix_length)
    }

    /// The address at `offset` from the range's start.
    pub fn address(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + offset)
    }

    /// Where in the range an address stands; `None` when it is outside, or the first or last one.
    pub fn offset(self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(u32::from(self.network))?;
        (1..self.size() - 1).contains(&offset).then_some(offset)
    }

    /// The address of the Service `default/kubernetes`: the first one.
    pub fn api_server(self) -> Ipv4Addr {
        self.address(1)
    }
}
