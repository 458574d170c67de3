//! What the tests of this crate share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)] // Each test program uses a part of it.

use berth_policy::{Component, Engine, Limits};
use berth_scheduler::policy::{Class, Ctx, Feed, Manifest, Policy, PolicyError, ScoreQuestion};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// One engine for a whole test program, as in the binary.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(None).unwrap())
}

/// The component of a package of this repository, compiled once per test program.
pub fn guest(package: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<PathBuf, Vec<u8>>>> = Mutex::new(None);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let package = root.join(package);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(package.clone()).or_insert_with(|| {
        let target = berth_guest_build::shared_target_dir(&std::env::current_exe().unwrap());
        berth_guest_build::component(&package, &target).unwrap()
    });
    built[&package].clone()
}

pub fn load(package: &str) -> Component {
    engine().load(&guest(package), Limits::default()).unwrap()
}

/// A row of the dimensions that a policy has asked for.
pub fn row(manifest: &Manifest, [cpu, memory, pods]: [i32; 3]) -> Vec<i32> {
    let amount = |name: &String| match name.as_str() {
        "cpu" => cpu,
        "memory" => memory,
        "pods" => pods,
        other => panic!("no amount of {other}"),
    };
    manifest.dimensions.iter().map(amount).collect()
}

/// A whole cluster: nodes of a few sizes, filled unevenly, and two classes.
pub fn cluster(nodes: u32, manifest: &Manifest) -> Feed {
    let dimensions = Some(manifest.dimensions.clone());
    let mut feed = Feed { seq: 1, reset: true, dimensions, ..Feed::default() };
    let labels = vec![0; manifest.node_keys()];
    for slot in 0..nodes {
        let size = 1 + (slot % 5) as i32;
        let cpu = size * 16_000;
        let memory = size * 65_536;
        let filled = (slot.wrapping_mul(2_654_435_761) >> 24) as i32;
        let used = row(manifest, [cpu / 256 * filled, memory / 300 * filled, filled / 3]);
        feed.upsert_node(slot, &row(manifest, [cpu, memory, 110]), &used, &labels);
    }
    let attributes = vec![0; manifest.pod_keys()];
    feed.define_class(Class { id: 1, requests: &row(manifest, [500, 512, 1]), attributes: &attributes });
    feed.define_class(Class { id: 2, requests: &row(manifest, [4000, 32_768, 1]), attributes: &attributes });
    feed
}

pub fn scores(policy: &mut dyn Policy, class: u32, candidates: &[u32]) -> Result<Vec<i32>, PolicyError> {
    let mut scores = Vec::new();
    let question = ScoreQuestion { ctx: Ctx { seq: 1, now_ms: 0, seed: 7 }, class, candidates, columns: &[] };
    policy.score(&question, &mut scores).map(|()| scores)
}
