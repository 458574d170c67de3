//! What a pod has written to the node's disk, against the limits it set itself: `limits.ephemeral-storage`, and the
//! `sizeLimit` of an `emptyDir`. As with the kubelet nothing stops the writing; a pod beyond a limit is evicted.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_api::quantity::Quantity;

use crate::manifest::{Container, Pod};

const RESOURCE: &str = "ephemeral-storage";

/// Bytes on the node's disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// By the name of an `emptyDir` volume.
    pub(crate) volumes: BTreeMap<String, u64>,
    /// By the name of a container: its writable layer, the volumes that its image declares, and its log.
    pub(crate) containers: BTreeMap<String, u64>,
}

/// Where a pod writes to.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    pub(crate) containers: BTreeMap<String, Vec<PathBuf>>,
}

/// Whether the pod has set a limit at all.
pub(crate) fn is_limited(pod: &Pod) -> bool {
    on_disk(pod).any(|(_, limit)| limit.is_some())
        || pod.containers().any(|container| limit(container).is_some())
}

/// The pod's `emptyDir` volumes on disk, with their limits.
pub(crate) fn on_disk(pod: &Pod) -> impl Iterator<Item = (&str, Option<Quantity>)> {
    pod.spec.volumes.iter().filter_map(|volume| {
        let empty = volume.empty_dir.as_ref().filter(|empty| empty.medium.is_empty())?;
        let limit = empty.size_limit.as_ref().map(|limit| limit.0).filter(|limit| !limit.is_zero());
        Some((volume.name.as_str(), limit))
    })
}

fn limit(container: &Container) -> Option<Quantity> {
    container.resources.limit(RESOURCE).filter(|limit| !limit.is_zero())
}

/// Which limit is exceeded, in the kubelet's words.
pub(crate) fn excess(pod: &Pod, used: &Used) -> Option<String> {
    let is_over = |bytes: Option<&u64>, limit: Quantity| {
        bytes.is_some_and(|bytes| *bytes > u64::try_from(limit.value()).unwrap_or(0))
    };
    for (name, limit) in on_disk(pod).filter_map(|(name, limit)| Some((name, limit?))) {
        if is_over(used.volumes.get(name), limit) {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit \"{limit}\". "));
        }
    }
    let total: u64 = used.volumes.values().chain(used.containers.values()).sum();
    if let Some(limit) = limit_of_pod(pod).filter(|limit| is_over(Some(&total), *limit)) {
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    for container in pod.containers() {
        let name = &container.name;
        if let Some(limit) = limit(container).filter(|limit| is_over(used.containers.get(name), *limit)) {
            return Some(format!(
                "Container {name} exceeded its local ephemeral storage limit \"{limit}\". "
            ));
        }
    }
    None
}

/// All its containers' limits together; an init container runs before the others, not beside them.
fn limit_of_pod(pod: &Pod) -> Option<Quantity> {
    let beside = pod.containers().filter(|container| container.is_sidecar() || !pod.is_init(&container.name));
    let together = beside.filter_map(limit).reduce(Quantity::plus);
    let before = pod.spec.init_containers.iter().filter(|container| !container.is_sidecar());
    before.filter_map(limit).chain(together).max_by_key(|limit| limit.value())
}

/// Measures; what is not there is nothing.
pub(crate) fn measure(places: &Places) -> Used {
    let volumes = places.volumes.iter().map(|(name, path)| (name.clone(), size_bytes(path)));
    let containers = places
        .containers
        .iter()
        .map(|(name, paths)| (name.clone(), paths.iter().map(|path| size_bytes(path)).sum()));
    Used { volumes: volumes.collect(), containers: containers.collect() }
}

/// What a directory takes on its disk. What is removed while it is being counted is not counted.
fn size_bytes(directory: &Path) -> u64 {
    /// The unit of `st_blocks`, whatever the file system's own is.
    const BLOCK_BYTES: u64 = 512;
    let (mut bytes, mut links) = (0_u64, HashSet::new());
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let is_first =
            metadata.nlink() < 2 || metadata.is_dir() || links.insert((metadata.dev(), metadata.ino()));
        if is_first {
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
        }
        if metadata.is_dir() {
            left.extend(entries(&path).unwrap_or_default());
        }
    }
    bytes
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod() -> Pod {
        let limited = |name: &str, limit: &str| -> Value {
            json!({ "name": name, "resources": { "limits": { "ephemeral-storage": limit } } })
        };
        let spec = json!({
            "initContainers": [limited("i", "2Mi")],
            "containers": [limited("a", "1Mi"), limited("b", "4Mi"), { "name": "c" }],
            "volumes": [
                { "name": "small", "emptyDir": { "sizeLimit": "1Mi" } },
                { "name": "free", "emptyDir": {} },
                { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
            ],
        });
        Pod::from_value(json!({ "spec": spec })).unwrap()
    }

    #[test]
    fn a_pod_is_held_to_its_own_limits() {
        let excess = |volumes: &[(&str, u64)], containers: &[(&str, u64)]| {
            let map = |pairs: &[(&str, u64)]| {
                pairs.iter().map(|(name, kib)| ((*name).to_owned(), kib << 10)).collect()
            };
            excess(&pod(), &Used { volumes: map(volumes), containers: map(containers) })
        };
        assert!(is_limited(&pod()) && !is_limited(&Pod::default()));
        assert_eq!(excess(&[("small", 1024), ("free", 100)], &[("a", 1024), ("c", 100)]), None);
        for (volumes, containers, expected) in [
            (
                &[("small", 1025)][..],
                &[][..],
                "Usage of EmptyDir volume \"small\" exceeds the limit \"1Mi\". ",
            ),
            (&[], &[("a", 1025)], "Container a exceeded its local ephemeral storage limit \"1Mi\". "),
            (&[], &[("i", 2049)], "Container i exceeded its local ephemeral storage limit \"2Mi\". "),
            (
                &[("free", 3000)],
                &[("c", 3000)],
                "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ",
            ),
        ] {
            assert_eq!(excess(volumes, containers).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_on_the_disk_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let empty = size_bytes(path);
        fs::create_dir(path.join("below")).unwrap();
        fs::write(path.join("below/file"), vec![7; 100 << 10]).unwrap();
        fs::hard_link(path.join("below/file"), path.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", path.join("elsewhere")).unwrap();
        let grown = size_bytes(path) - empty;
        assert!((100 << 10..130 << 10).contains(&grown), "{grown}");
        assert_eq!(size_bytes(&path.join("absent")), 0);
    }
}
