//! Containers outlive berth, are found again, and are gone after `berth down`.

use crate::{addresses, apply_example, cluster, contains, page, serve};
use berth_tests::{Berth, run};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The ids of all containers, with their restart counts.
fn containers(berth: &Berth) -> BTreeSet<String> {
    let path =
        "jsonpath={range .items[*].status.containerStatuses[*]}{.containerID} {.restartCount}{\"\\n\"}{end}";
    let ids = berth.kubectl(&["get", "pods", "-o", path]).ok();
    ids.lines().map(str::to_owned).collect()
}

#[test]
fn containers_outlive_a_crash_and_are_adopted() {
    let Some(mut berth) = cluster("containers::containers_outlive_a_crash_and_are_adopted") else { return };
    apply_example(&berth, "my-app.yaml");
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    serve(&berth, 3, "v1");
    let (before, served) = (containers(&berth), addresses(&berth, "app=my-app"));
    assert_eq!(before.len(), 3);
    for crash in [true, false] {
        if crash {
            berth.kill_9()
        } else {
            berth.stop()
        }
        for address in &served {
            contains(&page(address).unwrap(), &["Hello from my-app v1"]);
        }
        berth.up();
        assert_eq!(containers(&berth), before, "the same containers, none of them restarted");
        serve(&berth, 3, "v1");
    }
    let exec = berth.kubectl(&["exec", "deployment/my-app", "--", "sh", "-c", "exit 6"]);
    assert_eq!(exec.code, 6, "adopted containers are served as the others");
    contains(&berth.kubectl(&["logs", "deployment/my-app"]).ok(), &["listens on port 8080"]);
}

#[test]
fn a_crash_in_a_rollout_loses_no_container() {
    let Some(mut berth) = cluster("containers::a_crash_in_a_rollout_loses_no_container") else { return };
    apply_example(&berth, "my-app.yaml");
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    for (version, life_ms) in [("v2", 80), ("v1", 300), ("v2", 700)] {
        let image = format!("my-app=my-app:{version}");
        berth.kubectl(&["set", "image", "deployment/my-app", &image]).ok();
        // Not to wait for something: moments in the midst of a rollout.
        std::thread::sleep(Duration::from_millis(life_ms));
        berth.kill_9();
        berth.up();
    }
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    serve(&berth, 3, "v2");
}

/// Whatever in this machine's kernel bears the cluster's id or lies in its data directory.
fn traces(id: &str, data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let names = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    found.extend(names("/sys/class/net").into_iter().filter(|link| link.contains(id)));
    let hierarchies =
        names("/sys/fs/cgroup").into_iter().flat_map(|at| names(&format!("/sys/fs/cgroup/{at}")));
    found.extend(hierarchies.chain(names("/sys/fs/cgroup")).filter(|cgroup| cgroup.contains(id)));
    let data = data.to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|mount| mount.contains(data)).map(str::to_owned));
    for process in names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        // It may have ended since it was listed.
        let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(data) {
            found.push(line);
        }
    }
    let mut nft = Command::new("nft");
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let tables = run(nft.args(["list", "tables"]).env("PATH", path), "", Duration::from_secs(20)).ok();
    found.extend(tables.lines().filter(|table| table.contains(id)).map(str::to_owned));
    found
}

#[test]
fn down_leaves_nothing_behind() {
    let Some(mut berth) = cluster("containers::down_leaves_nothing_behind") else { return };
    apply_example(&berth, "my-app.yaml");
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    let id = std::fs::read_to_string(berth.data().join("cluster-id")).unwrap().trim().to_owned();
    let refused = berth.berth(&["down"]).fails();
    contains(&refused, &["stop `berth up` first"]);
    berth.kill_9();
    let before = traces(&id, &berth.data());
    assert!(before.len() > 6, "there is something to take down: {before:?}");
    berth.berth(&["down"]).ok();
    assert_eq!(traces(&id, &berth.data()), Vec::<String>::new());
    berth.berth(&["down"]).ok();

    // The objects are kept: the next start runs the pods anew.
    berth.up();
    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    serve(&berth, 3, "v1");
}

#[test]
fn two_clusters_run_side_by_side() {
    let Some(one) = cluster("containers::two_clusters_run_side_by_side") else { return };
    let Some(other) = cluster("containers::two_clusters_run_side_by_side") else { return };
    for berth in [&one, &other] {
        apply_example(berth, "my-app.yaml");
    }
    for berth in [&one, &other] {
        berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
        serve(berth, 3, "v1");
    }
    drop(one);
    serve(&other, 3, "v1");
}
