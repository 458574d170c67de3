//! Policies as their users have them: installed, bound, swapped and refused with the real kubectl and berth's own commands.
#![allow(clippy::unwrap_used)] // a test may

mod admission;
mod autoscaling;
mod swap;
mod tutorials;

use berth_tests::Berth;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A Deployment whose pods need little.
fn deploy(berth: &Berth, name: &str, replicas: u32) {
    berth.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: c, image: i, resources: {{requests: {{cpu: 10m, memory: 16Mi}}}}}}]}}\n"
    ));
}

fn rolled_out(berth: &Berth, name: &str) {
    berth.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=90s"]).ok();
}
