//! How long a pod takes.

use std::time::Instant;

use serde_json::json;

use crate::containers::shell;
use crate::world::World;

/// Pods started one after the other.
const PODS: usize = 20;

pub(crate) async fn starting_a_pod_takes_milliseconds() {
    let world = World::new().await;
    let mut took_us = Vec::new();
    for number in 0..PODS {
        let name = format!("p{number}");
        let begun = Instant::now();
        let pod = world.run(&name, json!({ "containers": [shell("c", "sleep 1000")] })).await;
        pod.wait_phase("Running").await;
        took_us.push(begun.elapsed().as_micros());
        pod.delete().await;
    }
    took_us.sort_unstable();
    println!("pod POST to Running: p50 {} us, slowest {} us", took_us[PODS / 2], took_us[PODS - 1]);
    // The kubelet with containerd takes a second; far above that something waits that should not.
    assert!(took_us[PODS / 2] < 1_000_000);
}
