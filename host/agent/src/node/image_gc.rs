//! Removing images that nobody uses when their file system fills up, by the kubelet's rules.
//!
//! Other than by the kubelet, only images are removed that came from a registry: what was imported has no other place
//! that it could come from again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_api::time::Timestamp;
use berth_image::{Digest, ImageError};

use crate::clock;
use crate::config::ImageGcPolicy;
use crate::node::Node;
use crate::node::events::Severity;
use crate::node::images::Surveyed;
use crate::process::blocking;

/// Content of images that were looked up not longer ago than this is kept, whatever the policy says: a container may be
/// about to start from it.
const STARTING_MS_MAX: i64 = 120_000;

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    capacity_bytes: u64,
    /// To others than root.
    available_bytes: u64,
}

impl Usage {
    fn of(directory: &Path) -> nix::Result<Usage> {
        let figures = nix::sys::statvfs::statvfs(directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(figures.fragment_size());
        Ok(Usage {
            capacity_bytes: bytes(figures.blocks()),
            available_bytes: bytes(figures.blocks_available()),
        })
    }

    /// Bytes by which it is fuller than this.
    fn above(self, percent: u64) -> u64 {
        let wanted = self.capacity_bytes / 100 * 100_u64.saturating_sub(percent);
        wanted.saturating_sub(self.available_bytes)
    }
}

/// The images that may go, the one unused for the longest time first.
fn removable(
    mut images: Vec<Surveyed>,
    in_use: &BTreeSet<Digest>,
    policy: ImageGcPolicy,
    now: Timestamp,
) -> Vec<Surveyed> {
    let may_go = |image: &Surveyed| {
        let is_old = now.millis_since(image.used_at) >= policy.age_ms_min;
        image.replaceable && is_old && !in_use.contains(&image.digest)
    };
    images.retain(may_go);
    images.sort_by_key(|image| (image.used_at, image.digest));
    images
}

/// Looks at the file system again and again. `in_use` says which images are needed; nothing as long as that is not known.
pub(crate) async fn keep(node: Arc<Node>, in_use: impl Fn() -> Option<BTreeSet<Digest>>) {
    let policy = node.config.image_gc;
    loop {
        tokio::time::sleep(Duration::from_millis(policy.period_ms)).await;
        let Some(in_use) = in_use() else { continue };
        let collecting = Arc::clone(&node);
        match blocking(move || collect(&collecting, &in_use, policy)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "unused images could not be removed"),
            Err(error) => tracing::warn!(%error, "unused images could not be looked for"),
        }
    }
}

fn collect(node: &Node, in_use: &BTreeSet<Digest>, policy: ImageGcPolicy) -> Result<(), ImageError> {
    let directory = node.layout.images();
    let above = |percent| Usage::of(&directory).map(|usage| usage.above(percent));
    let above = |percent| {
        above(percent).map_err(|error| ImageError::Io {
            action: "look at",
            path: directory.clone(),
            source: error.into(),
        })
    };
    let now = clock::now();
    // Also when there is room: from now on they are known, and grow old.
    let images = node.images.survey(in_use, now)?;
    if above(policy.high_percent)? == 0 {
        return Ok(());
    }
    let wanted = above(policy.low_percent)?;
    tracing::info!(
        wanted_bytes = wanted,
        "the images' file system is nearly full: looking for unused images"
    );
    let starting = images.iter().filter(|image| now.millis_since(image.used_at) < STARTING_MS_MAX);
    let kept: BTreeSet<Digest> = starting.map(|image| image.digest).chain(in_use.iter().copied()).collect();
    node.images.store.gc(&kept)?;
    for image in removable(images, in_use, policy, now) {
        if above(policy.low_percent)? == 0 {
            return Ok(());
        }
        if node.images.untag(&image)? {
            let kept = kept.iter().copied().filter(|digest| *digest != image.digest).collect();
            node.images.store.gc(&kept)?;
            tracing::info!(image = %image.digest, "removed an image that nobody uses");
        }
    }
    let missing = above(policy.low_percent)?;
    if missing > 0 {
        let text = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {} \
             bytes eligible to free.",
            wanted.saturating_sub(missing)
        );
        node.events.node(&node.config.node_name, Severity::Warning, "FreeDiskSpaceFailed", text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_go_is_measured_by_what_is_left() {
        let usage = |available_bytes| Usage { capacity_bytes: 1000, available_bytes };
        for (available, above_85, above_80) in
            [(500, 0, 0), (180, 0, 20), (150, 0, 50), (149, 1, 51), (0, 150, 200)]
        {
            let usage = usage(available);
            assert_eq!((usage.above(85), usage.above(80)), (above_85, above_80), "{available}");
        }
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_needed_stays() {
        let now = Timestamp::from_seconds(1000);
        let image = |name: &str, seconds_ago: i64, replaceable| Surveyed {
            digest: Digest::of(name.as_bytes()),
            used_at: now.plus_millis(seconds_ago * -1000),
            replaceable,
        };
        let images = vec![
            image("young", 119, true),
            image("old", 120, true),
            image("imported", 900, false),
            image("older", 300, true),
            image("used", 400, true),
        ];
        let in_use = BTreeSet::from([Digest::of(b"used")]);
        let gone: Vec<_> = removable(images, &in_use, ImageGcPolicy::KUBELET, now);
        let expected: Vec<_> = ["older", "old"].map(|name| Digest::of(name.as_bytes())).into();
        assert_eq!(gone.iter().map(|image| image.digest).collect::<Vec<_>>(), expected);
    }
}
