//! What a real kube-apiserver answered to several hundred requests, asked of Berth again.
//!
//! The recordings lie beside the repository (`../shared/kubernetes-golden`, or `$BERTH_GOLDEN`), not in it.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Berth, Options, repository, run, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How many steps of each area pass. These numbers only ever go up. (Two of `machinery` are left out: a pod that is bound
/// to a node that is not there goes at once, and whether it is seen before is chance.)
///
/// What does not pass, in steps of decoding, defaulting, discovery, machinery, patches, protobuf, tables, validation and
/// watching:
///
/// | cause | de | df | di | ma | pa | pr | ta | va | wa |
/// |---|---|---|---|---|---|---|---|---|---|
/// | kinds that are not served yet | | 68 | 68 | 30 | 15 | 12 | 43 | 146 | 14 |
/// | server-side apply, and what hangs on it | 1 | | 4 | 4 | 50 | | | | |
/// | fields of pods that are not honoured yet: refused, or warned of | | 9 | | | | | | 2 | |
/// | Services warn that they are not routed yet | | 14 | | 2 | 3 | 2 | 1 | 3 | |
/// | events as `events.k8s.io/v1` | | 4 | 1 | | | 1 | | 5 | 1 |
/// | ephemeral containers, resize, proxies | | | 2 | 14 | | | | | |
/// | levels of pod security: a warning that pods are not held against them | | | | 4 | | | | | |
/// | more is accepted (gzip, nesting), or a client's mistake is no 500 | 2 | | | 3 | 1 | | | | 1 |
/// | a node brings its conditions when it registers, so it is not tainted first | | 1 | | | | | | 1 | |
/// | values as Go prints them, wordings of our own | 1 | | | 1 | | | | 4 | |
/// | discovery in protobuf, OpenAPI of `/version` | | | 1 | | | 2 | | | |
/// | malformed managedFields are refused | | | | 1 | | | | | |
/// | a Deployment's generation does not count its annotations | | | | 1 | | | | | |
/// | a pod of a node that is not there goes at once | | | | 1 | | | | | |
/// | a Lease keeps the fields of coordinated leader election | | | | | | | | 1 | |
const PASSING: [(&str, u32); 9] = [
    ("decoding", 118),
    ("defaulting", 40),
    ("discovery", 60),
    ("machinery", 248),
    ("patches", 89),
    ("protobuf", 60),
    ("tables", 25),
    ("validation", 158),
    ("watching", 39),
];

/// For one area: most of it are watches that run into their time limit, and waiting for kinds that are not there.
const DEADLINE: Duration = Duration::from_secs(240);

fn recordings() -> Option<PathBuf> {
    let beside = || repository().parent().unwrap().join("shared/kubernetes-golden");
    let directory = std::env::var_os("BERTH_GOLDEN").map_or_else(beside, PathBuf::from);
    directory.join("replay.py").is_file().then_some(directory)
}

#[test]
fn answers_are_those_of_kube_apiserver() {
    let Some(recordings) = recordings() else {
        return skip(
            "golden",
            "the recordings are not here: set BERTH_GOLDEN to the directory with replay.py",
        );
    };
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("golden", "there is no python3 to replay the recordings with");
    }
    let berth = Berth::start(Options::simulated(0));
    // The areas mostly wait, each for its own: side by side they take as long as the slowest.
    let results: Vec<(&str, u32, u32, u32, String)> = std::thread::scope(|scope| {
        let replays = PASSING.map(|(area, expected)| {
            let (berth, recordings) = (&berth, &recordings);
            (area, expected, scope.spawn(move || replay(berth, recordings, area)))
        });
        let joined = replays.into_iter().map(|(area, expected, thread)| {
            let (passed, failed, report) = thread.join().unwrap();
            (area, expected, passed, failed, report)
        });
        joined.collect()
    });
    let mut short = Vec::new();
    for (area, expected, passed, failed, report) in &results {
        println!("golden: {area}: {passed} passed, {failed} failed");
        if passed < expected {
            println!("{report}");
            short.push(format!("{area}: {passed} steps pass, {expected} did"));
        }
    }
    assert!(short.is_empty(), "{}", short.join("\n"));
}

/// Replays one area: how many steps passed and failed, and the report.
fn replay(berth: &Berth, recordings: &Path, area: &str) -> (u32, u32, String) {
    let mut command = Command::new("python3");
    // Nothing is written beside the recordings, which are not ours.
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(berth.root()).arg(recordings.join("replay.py"));
    command.arg("--kubeconfig").arg(berth.data().join("kubeconfig")).args(["--only", &format!("^{area}/")]);
    let output = run(&mut command, "", DEADLINE);
    let sum = output.stdout.lines().last().unwrap_or_default();
    let mut numbers = sum.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let (Some(passed), Some(failed)) = (numbers.next(), numbers.next()) else {
        panic!("{area}: no sum: {}{}", output.stdout, output.stderr);
    };
    (passed, failed, output.stdout)
}
