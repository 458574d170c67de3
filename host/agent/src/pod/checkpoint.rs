//! What the node must not forget of a pod when berth dies: written next to the pod's volumes.
//!
//! What runs is known by the runtime, and what was reported by the API; here is what neither of them has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_api::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::micros;
use crate::container::termination::Termination;
use crate::manifest::Pod;
use crate::pod::observed::{Deletion, Observed, Phase, PodFailure, Record};

/// The format's number; a file of another one is not read.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    version: u32,
    #[serde(with = "micros")]
    started_at: Timestamp,
    initialized: bool,
    ip: Option<Ipv4Addr>,
    failure: Option<PodFailure>,
    /// A grace that has begun is neither cut nor given anew.
    #[serde(default)]
    deletion: Option<Deletion>,
    containers: BTreeMap<String, Container>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Container {
    attempt: u32,
    /// It was started, or was about to be, and had not ended.
    active: bool,
    exited: Option<Termination>,
    last: Option<Termination>,
    image_ref: String,
    image_id: String,
}

fn path(pod_directory: &Path) -> PathBuf {
    pod_directory.join("checkpoint.json")
}

/// Writes it in one step. It is not forced to disk: what a crash of the machine loses, the API has.
pub(crate) fn save(pod_directory: &Path, observed: &Observed, now: Timestamp) -> io::Result<()> {
    let container = |record: &Record| Container {
        attempt: record.attempt,
        active: record.is_active(),
        exited: record.exited().cloned(),
        last: record.last.clone(),
        image_ref: record.image_ref.clone(),
        image_id: record.image_id.clone(),
    };
    let checkpoint = Checkpoint {
        version: VERSION,
        started_at: observed.started_at.unwrap_or(now),
        initialized: observed.initialized,
        ip: observed.ip,
        failure: observed.failure.clone(),
        deletion: observed.deletion,
        containers: observed
            .containers
            .iter()
            .map(|(name, record)| (name.clone(), container(record)))
            .collect(),
    };
    let target = path(pod_directory);
    let new = target.with_extension("new");
    let write = || fs::write(&new, serde_json::to_vec(&checkpoint)?);
    match write() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(pod_directory)?;
            write()?;
        }
        other => other?,
    }
    fs::rename(new, target)
}

/// What was known of a pod, if anything was written down; and the containers that were active then.
pub(crate) fn load(pod_directory: &Path, pod: &Pod) -> Option<(Observed, Vec<String>)> {
    let bytes = fs::read(path(pod_directory)).ok()?;
    let checkpoint: Checkpoint = serde_json::from_slice(&bytes).ok()?;
    if checkpoint.version != VERSION {
        return None;
    }
    let mut observed = Observed::new(pod, checkpoint.started_at);
    observed.initialized = checkpoint.initialized;
    observed.ip = checkpoint.ip;
    observed.failure = checkpoint.failure;
    observed.deletion = checkpoint.deletion;
    let mut active = Vec::new();
    for (name, saved) in checkpoint.containers {
        if saved.active {
            active.push(name.clone());
        }
        let Some(record) = observed.containers.get_mut(&name) else { continue };
        record.attempt = saved.attempt;
        record.last = saved.last;
        record.image_ref = saved.image_ref;
        record.image_id = saved.image_id;
        if let Some(termination) = saved.exited {
            record.phase = Phase::Exited(termination);
        }
    }
    Some((observed, active))
}
