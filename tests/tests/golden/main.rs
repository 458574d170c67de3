//! What a real kube-apiserver answered to almost two thousand requests, asked of Berth again.
//!
//! The recordings lie beside the repository (`../shared/kubernetes-golden`, or `$BERTH_GOLDEN`), not in it. Steps that
//! Berth answers otherwise are named with their reason in `deviations.txt`, which is held to be true in both directions:
//! a step that fails must stand there, and one that stands there must fail.
#![allow(clippy::unwrap_used)] // a test may

mod deviations;
mod recordings;

use berth_tests::{Berth, Options, run, skip};
use deviations::{Deviations, Verdict};
use recordings::Recordings;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// For one area: most of it are watches that run into their time limit, and waiting for kinds that are not there.
const DEADLINE: Duration = Duration::from_secs(240);

const DEVIATIONS: &str = include_str!("deviations.txt");

/// Passes where the test cannot run, except where it must: a CI that silently compares nothing would stay green for ever.
fn cannot_run(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "golden: {why}");
    skip("golden", why);
}

#[test]
fn answers_are_those_of_kube_apiserver_but_for_the_named_steps() {
    let Some(recordings) = Recordings::find() else {
        return cannot_run("the recordings are not here: set BERTH_GOLDEN to the directory with replay.py");
    };
    if Command::new("python3").arg("--version").output().is_err() {
        return cannot_run("there is no python3 to replay the recordings with: install it");
    }
    let steps = recordings.steps();
    let deviations = Deviations::parse(DEVIATIONS).unwrap_or_else(|why| panic!("deviations.txt: {why}"));
    let berth = Berth::start(Options::simulated(0));
    // The areas mostly wait, each for its own: side by side they take as long as the slowest.
    let areas = recordings.areas();
    let failed: BTreeMap<String, String> = std::thread::scope(|scope| {
        let (berth, recordings) = (&berth, &recordings);
        let replays: Vec<_> =
            areas.iter().map(|area| scope.spawn(move || replay(berth, recordings, area))).collect();
        replays.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("golden: {} of {} steps pass", steps.len() - failed.len(), steps.len());
    let mut faults = deviations.unknown(&steps);
    for step in &steps {
        match (failed.get(step), deviations.verdict(step)) {
            (Some(report), Verdict::Passes) => {
                faults.push(format!("fails and is not named: {step}\n{report}"))
            }
            (None, Verdict::Fails) => faults.push(format!("is named and passes: {step}")),
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Replays one area: the steps that failed, each with what differed.
fn replay(berth: &Berth, recordings: &Recordings, area: &str) -> BTreeMap<String, String> {
    let mut command = Command::new("python3");
    // Nothing is written beside the recordings, which are not ours.
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(berth.root()).arg(recordings.program());
    command.arg("--kubeconfig").arg(berth.data().join("kubeconfig")).args(["--only", &format!("^{area}/")]);
    let output = run(&mut command, "", DEADLINE);
    let failed = recordings.failed(&output.stdout);
    let sum = format!("{} passed, {} failed", recordings.count(area) - failed.len(), failed.len());
    assert!(
        output.stdout.ends_with(&format!("{sum}\n")),
        "{area}: not {sum}: {}{}",
        output.stdout,
        output.stderr
    );
    failed
}
