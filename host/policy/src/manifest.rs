//! Manifests as they cross the boundary.

use crate::bindings::cluster;
use crate::error::StartError;
use crate::limits::{MANIFEST_BYTES_MAX, MANIFEST_ENTRIES_MAX};
use crate::sandbox::one_line;
use berth_scheduler::policy::{Manifest, Scores, Watches};

/// Gives a component's manifest its meaning, or says which code has none.
pub(crate) fn decode(manifest: cluster::Manifest) -> Result<Manifest, StartError> {
    check_size(&manifest)?;
    let scores = match manifest.scores {
        0 => Scores::No,
        1 => Scores::NodeLocal,
        2 => Scores::ClusterWide,
        other => return Err(StartError::BadManifest(format!("{other} is no known value of scores"))),
    };
    let plans = match manifest.plans {
        0 => false,
        1 => true,
        other => return Err(StartError::BadManifest(format!("{other} is no known value of plans"))),
    };
    Ok(Manifest {
        name: one_line(&manifest.name),
        version: one_line(&manifest.version),
        scores,
        plans,
        watches: Watches(manifest.watches),
        dimensions: manifest.dimensions,
        node_columns: manifest.node_columns,
        class_columns: manifest.class_columns,
        node_labels: manifest.node_labels,
        node_annotations: manifest.node_annotations,
        pod_labels: manifest.pod_labels,
        pod_annotations: manifest.pod_annotations,
        reasons: manifest.reasons.iter().map(|reason| one_line(reason)).collect(),
    })
}

fn check_size(manifest: &cluster::Manifest) -> Result<(), StartError> {
    let lists = [
        &manifest.dimensions,
        &manifest.node_columns,
        &manifest.class_columns,
        &manifest.node_labels,
        &manifest.node_annotations,
        &manifest.pod_labels,
        &manifest.pod_annotations,
        &manifest.reasons,
    ];
    let entries: usize = lists.iter().map(|list| list.len()).sum();
    let texts = lists.into_iter().flatten().chain([&manifest.name, &manifest.version]);
    let bytes: usize = texts.map(String::len).sum();
    if entries > MANIFEST_ENTRIES_MAX || bytes > MANIFEST_BYTES_MAX {
        let limit = format!("{MANIFEST_ENTRIES_MAX} entries and {MANIFEST_BYTES_MAX} bytes are the limit");
        return Err(StartError::BadManifest(format!(
            "it has {entries} entries of {bytes} bytes, and {limit}"
        )));
    }
    Ok(())
}
