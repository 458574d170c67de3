//! What real containers use.

use crate::{busybox, cluster, ready};
use berth_tests::{eventually, holds};
use std::time::Duration;

/// Two rounds of questions to the node and a window, on a busy machine.
const MEASURED: Duration = Duration::from_secs(90);

/// It works for as long as its limit allows, and keeps 32 MiB in memory.
const SPIN: &str = "head -c 33554432 /dev/zero >/dev/shm/held; while :; do :; done";

#[test]
fn top_shows_what_each_container_uses() {
    let Some(berth) = cluster("containers::top_shows_what_each_container_uses") else { return };
    let idle = "  - name: idle\n    image: busybox:latest\n    imagePullPolicy: IfNotPresent\n    command: [sleep, infinity]\n";
    berth.apply(&busybox("spin", SPIN, &format!("    resources: {{limits: {{cpu: 200m}}}}\n{idle}")));
    ready(&berth, "spin");
    let top = |args: &[&str]| -> Vec<Vec<String>> {
        let output = berth.kubectl(&[&["top"], args, &["--no-headers"]].concat()).stdout;
        output.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap();
    let of = |rows: &[Vec<String>], name: &str| {
        let row = rows.iter().find(|row| row[1] == name)?;
        Some((number(&row[2]), number(&row[3])))
    };
    eventually("the containers are measured over a whole window", MEASURED, || {
        let rows = top(&["pods", "--containers"]);
        let main = of(&rows, "main")
            .is_some_and(|(cpu, memory)| (150..=220).contains(&cpu) && (30..=50).contains(&memory));
        let idle = of(&rows, "idle").is_some_and(|(cpu, memory)| cpu < 20 && memory < 10);
        holds(main && idle, format!("{rows:?}"))
    });
    let nodes = top(&["nodes"]);
    assert_eq!(nodes.len(), 1);
    assert!(number(&nodes[0][1]) >= 150 && number(&nodes[0][3]) > 40, "{nodes:?}");

    berth.kubectl(&["delete", "pod", "spin", "--wait"]).ok();
    assert_eq!(top(&["pods"]), Vec::<Vec<String>>::new());
}
