//! What is checked before anything is made: a start that is refused leaves nothing behind.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use anyhow::{Context, bail};
use berth_api::kinds::names;
use berth_image::RegistryConfig;
use berth_network::{ClusterId, Ipv4Cidr, check_pod_cidr};
use berth_pipeline::ServiceCidr;

use crate::bond::Bond;
use crate::cli::UpOptions;
use crate::{cluster_id, data_dir};

/// A start that nothing speaks against so far.
pub(super) struct Plan {
    pub(super) services: ServiceCidr,
    pub(super) pods: Ipv4Cidr,
    /// The data directory, if the cluster has been started before.
    pub(super) existing: Option<PathBuf>,
    pub(super) bond: Bond,
    /// What the agent needs, if there is to be one.
    pub(super) node: Option<NodePlan>,
}

pub(super) struct NodePlan {
    pub(super) name: String,
    pub(super) registries: RegistryConfig,
}

/// Checks the flags, each alone, against each other, and against what there is on this machine.
pub(super) fn check(options: &UpOptions) -> anyhow::Result<Plan> {
    let services = ServiceCidr::parse(&options.service_cidr).context("--service-cidr")?;
    let pods: Ipv4Cidr = options.pod_cidr.parse().context("--pod-cidr")?;
    if overlap(&options.pod_cidr, &options.service_cidr) {
        bail!("--pod-cidr {pods} and --service-cidr {services} overlap; choose others");
    }
    if !options.no_agent && !nix::unistd::geteuid().is_root() {
        bail!(
            "running containers needs root: start berth with sudo, or with --no-agent where it is to run none"
        );
    }
    let existing = data_dir::found(&options.data.data_dir)?;
    let bond = existing.as_deref().map(Bond::read).transpose()?.unwrap_or_default();
    if options.no_agent {
        if let Some(node) = &bond.node {
            tracing::warn!(
                node,
                "containers of this cluster go on running here, with no agent to look after them"
            );
        }
        return Ok(Plan { services, pods, existing, bond, node: None });
    }
    let host = host_name()?;
    let name = bond.node_name(options.node_name.as_deref(), &host)?.to_owned();
    check_name(&name, options.node_name.is_some())?;
    let id = existing.as_deref().map(cluster_id::existing).transpose()?.flatten();
    let id = id.map(|id| id.parse::<ClusterId>()).transpose()?;
    check_pod_cidr(pods, id.as_ref())?;
    let registries = RegistryConfig::load(&options.data.data_dir.join("registries.yaml"))?;
    Ok(Plan { services, pods, existing, bond, node: Some(NodePlan { name, registries }) })
}

/// Where the API is reached by IPv4, on which the host ports of pods are.
pub(super) fn ipv4(listen: SocketAddr) -> Option<SocketAddrV4> {
    match listen {
        SocketAddr::V4(address) => Some(address),
        // All addresses, those of IPv4 as well.
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}

/// A node whose name no object may have would never appear.
fn check_name(name: &str, is_asked_for: bool) -> anyhow::Result<()> {
    let faults = names::subdomain_1123(name).join("; ");
    match (faults.is_empty(), is_asked_for) {
        (true, _) => Ok(()),
        (false, true) => bail!("--node-name \"{name}\" cannot be used: {faults}"),
        (false, false) => {
            bail!("the host's name \"{name}\" cannot be a node's; give one with --node-name: {faults}")
        }
    }
}

fn host_name() -> anyhow::Result<String> {
    let name =
        nix::unistd::gethostname().context("the host's name cannot be read; give one with --node-name")?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// Whether two IPv4 ranges have an address in common; both have been parsed by their owners before.
fn overlap(one: &str, other: &str) -> bool {
    let range = |text: &str| -> Option<(u32, u32)> {
        let (base, bits) = text.split_once('/')?;
        let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
        let mask = u32::MAX.checked_shl(32 - bits.parse::<u32>().ok()?).unwrap_or(0);
        Some((base & mask, base | !mask))
    };
    let (Some(one), Some(other)) = (range(one), range(other)) else { return false };
    one.0 <= other.1 && other.0 <= one.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_overlap() {
        for (one, other, expected) in [
            ("10.42.0.0/16", "10.96.0.0/16", false),
            ("10.0.0.0/8", "10.96.0.0/16", true),
            ("10.96.5.0/24", "10.96.0.0/16", true),
            ("0.0.0.0/0", "192.168.0.0/24", true),
            ("10.96.0.0/16", "10.97.0.0/16", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn names_of_nodes() {
        check_name("worker-1.example", true).unwrap();
        for bad in ["", "Worker", "a_b", "-a"] {
            let text = check_name(bad, true).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("--node-name \"{bad}\" cannot be used: a lowercase")),
                "{text}"
            );
        }
        let text = check_name("a_b", false).unwrap_err().to_string();
        assert!(text.starts_with("the host's name \"a_b\" cannot be a node's"), "{text}");
    }

    #[test]
    fn where_host_ports_could_meet_the_api() {
        let of = |listen: &str| ipv4(listen.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("127.0.0.1:6443").as_deref(), Some("127.0.0.1:6443"));
        assert_eq!(of("[::]:6443").as_deref(), Some("0.0.0.0:6443"));
        assert_eq!(of("[::1]:6443"), None);
    }
}
