//! What a node's network is made from, and the names that follow from it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Ipv4Cidr, NetworkError};

/// The longest cluster id: `v` + id + eight digits of an address must fit the kernel's 15 characters of a link name.
const CLUSTER_ID_CHARS_MAX: usize = 6;
/// How many namespaces are made beforehand unless the configuration says otherwise: a small Deployment's worth.
/// Each costs about 60 KiB of kernel memory and nothing else while it waits.
pub const SPARE_COUNT_DEFAULT: usize = 4;

/// A cluster's short id: one to six lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClusterId(String);

impl ClusterId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn bridge(&self) -> String {
        format!("br-{}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterId {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<ClusterId, NetworkError> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || text.is_empty() || text.len() > CLUSTER_ID_CHARS_MAX {
            return Err(NetworkError::InvalidClusterId { text: text.to_owned() });
        }
        Ok(ClusterId(text.to_owned()))
    }
}

/// A node's network.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The range of this node's pods. The first address is the gateway (the bridge's).
    pub pod_cidr: Ipv4Cidr,
    /// Where the cluster's API server listens on this machine: no pod gets that port.
    pub api: Option<SocketAddrV4>,
    /// The cluster's data directory: `netns/` and `network/` are made in it.
    pub data_dir: PathBuf,
    /// How many namespaces are kept ready ([`SPARE_COUNT_DEFAULT`]); 0 makes each when it is asked for.
    pub spare_count: usize,
}

impl NetworkConfig {
    /// The bridge's address.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.pod_cidr.base()) + 1)
    }

    /// The bridge's name.
    pub fn bridge(&self) -> String {
        self.cluster_id.bridge()
    }

    /// The nftables table's name (family `ip`).
    pub fn table(&self) -> String {
        format!("berth-{}", self.cluster_id)
    }

    pub(crate) fn link_prefix(&self) -> String {
        format!("v{}", self.cluster_id)
    }

    /// The host end of the link of the pod with `address`.
    pub(crate) fn link(&self, address: Ipv4Addr) -> String {
        format!("{}{:08x}", self.link_prefix(), u32::from(address))
    }

    pub(crate) fn is_link(&self, name: &str) -> bool {
        name.strip_prefix(&self.link_prefix())
            .is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    pub(crate) fn netns_dir(&self) -> PathBuf {
        self.data_dir.join("netns")
    }

    pub(crate) fn addresses_dir(&self) -> PathBuf {
        self.data_dir.join("network/addresses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_belong_to_one_cluster() {
        let config = |id: &str| NetworkConfig {
            cluster_id: id.parse().unwrap(),
            pod_cidr: "10.42.0.0/16".parse().unwrap(),
            api: None,
            data_dir: "/d".into(),
            spare_count: SPARE_COUNT_DEFAULT,
        };
        let (one, longer) = (config("abc"), config("abcdef"));
        let link = longer.link(longer.gateway());
        assert_eq!(link, "vabcdef0a2a0001");
        assert_eq!(link.len(), 15);
        assert!(longer.is_link(&link) && !one.is_link(&link) && !longer.is_link(&one.link(one.gateway())));
        for bad in ["", "ABC", "abcdefa", "x", "a-b"] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad:?}");
        }
    }
}
