//! Helm 4, which applies from the server's side, with the chart that it gives everybody to begin with.

use crate::{cluster, contains, page};
use berth_tests::{Berth, Output, eventually, helm, holds, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Longer than helm is told to wait for pods.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs helm on the cluster; what it keeps is the cluster's own.
fn run_helm(helm: &Path, berth: &Berth, args: &[&str]) -> Output {
    let mut command = Command::new(helm);
    command.args(args).env("KUBECONFIG", berth.data().join("kubeconfig")).env("HOME", berth.root());
    command.current_dir(berth.root());
    run(&mut command, "", DEADLINE)
}

/// That all pods of the release serve this version, and how many there are.
fn serves(berth: &Berth, pods: usize, version: &str) {
    eventually(&format!("{pods} pods of {version}"), SOON, || {
        let list = berth.get(&["pods", "-l", "app.kubernetes.io/instance=first"]);
        let pages: Vec<String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| match pod["status"]["podIP"].as_str() {
                Some(address) => page(address).unwrap_or_else(|error| error),
                None => "no address yet".to_owned(),
            })
            .collect();
        let all = pages.iter().all(|page| page.contains(version));
        holds(pages.len() == pods && all, pages.join("\n"))
    });
}

#[test]
fn the_starter_chart_is_installed_upgraded_rolled_back_and_removed() {
    let test = "containers::the_starter_chart_is_installed_upgraded_rolled_back_and_removed";
    let (Some(helm), Some(berth)) = (helm(test), cluster(test)) else { return };
    let helm_on = |args: &[&str]| run_helm(helm, &berth, args);
    helm_on(&["create", "chart"]).ok();
    let image = [
        "--set=image.repository=docker.io/library/my-app,image.pullPolicy=IfNotPresent,service.port=8080",
        "--wait",
        "--timeout=90s",
    ];
    let installed =
        helm_on(&[&["install", "first", "chart", "--set=image.tag=v1"], &image[..]].concat()).ok();
    contains(&installed, &["STATUS: deployed", "REVISION: 1"]);
    serves(&berth, 1, "v1");
    let deployment = berth.get(&["deployment", "first-chart", "--show-managed-fields"]);
    let entry = &deployment["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&"helm".into(), &"Apply".into()), "{entry:#}");

    let upgrade = ["upgrade", "first", "chart", "--set=image.tag=v2", "--set=replicaCount=2"];
    contains(&helm_on(&[&upgrade[..], &image[..]].concat()).ok(), &["STATUS: deployed", "REVISION: 2"]);
    serves(&berth, 2, "v2");
    contains(
        &helm_on(&["rollback", "first", "1", "--wait", "--timeout=90s"]).ok(),
        &["Rollback was a success"],
    );
    serves(&berth, 1, "v1");
    contains(&helm_on(&["history", "first"]).ok(), &["Rollback to 1"]);

    helm_on(&["uninstall", "first", "--wait", "--timeout=90s"]).ok();
    eventually("all of the release is gone", SOON, || {
        let left = berth
            .kubectl(&[
                "get",
                "deployments,services,serviceaccounts,pods,secrets",
                "-l",
                "app.kubernetes.io/instance=first",
                "-o",
                "name",
            ])
            .ok();
        holds(left.is_empty(), left)
    });
}
