//! `berth down`: removes everything a cluster made in this machine's kernel; its data directory stays.

use std::path::Path;

use anyhow::Context;
use berth_agent::Agent;
use berth_network::Ipv4Cidr;

use crate::bond::Bond;
use crate::cli::DataDir;
use crate::{cluster_id, data_dir};

/// Removes containers, mounts, cgroups, network namespaces, links, routes and rules.
pub(crate) fn run(options: &DataDir) -> anyhow::Result<()> {
    let data = data_dir::existing(&options.data_dir)?;
    let _lock = data_dir::lock(&data).context("stop `berth up` first")?;
    if let (Some(id), Some(pods)) = (cluster_id::existing(&data)?, pod_cidr(&data)?) {
        Agent::destroy(&data, &id.parse()?, pods)?;
    }
    Bond::release(&data)?;
    println!("Everything of the cluster in {} is down; its objects and images are kept.", data.display());
    Ok(())
}

/// The range the cluster's agent was started with; `None` when it never was.
fn pod_cidr(data: &Path) -> anyhow::Result<Option<Ipv4Cidr>> {
    let path = data.join("pod-cidr");
    let text = data_dir::read(&path)?;
    text.map(|text| text.parse().with_context(|| format!("{} is damaged", path.display()))).transpose()
}
