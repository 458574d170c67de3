//! Pod networking of one node: a bridge, a network namespace and an address per pod, masquerade, host ports.
//!
//! Every name made in the kernel derives from the cluster's id, so that two clusters live side by side on one machine:
//! bridge `br-<id>`, host ends of the pods' links `v<id><address in hex>`, nftables table `berth-<id>`, namespaces
//! bind-mounted at `<data>/netns/<pod uid>`. Addresses are symbolic links `<data>/network/addresses/<address> -> <pod uid>`:
//! made and removed by one system call, so that a crash cannot tear them.
//!
//! All calls are synchronous and speak netlink to the kernel directly. [`Network::attach`] normally takes a namespace made
//! beforehand and returns in well under a millisecond; when none is ready it takes some milliseconds. [`Network::detach`]
//! leaves the deletion of links to a background thread. Both are short enough for a tokio worker thread, but
//! [`Network::open`] and [`destroy`] belong in `spawn_blocking`.

mod addresses;
mod cidr;
mod config;
mod error;
mod host;
mod link;
mod netlink;
mod netns;
mod network;
mod nft;
mod ports;
mod rules;
mod senders;
mod types;
mod worker;

pub use cidr::Ipv4Cidr;
pub use config::{ClusterId, NetworkConfig, SPARE_COUNT_DEFAULT};
pub use error::NetworkError;
pub use host::{check_pod_cidr, destroy};
pub use network::Network;
pub use types::{Adoption, HostPort, MacAddress, PodNetwork, Protocol};
