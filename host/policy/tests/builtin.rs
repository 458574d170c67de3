//! The built-in policies in the sandbox answer as they do natively.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_native::Native;
use berth_scheduler::policy::{Columns, Feed, Policy, Scores};
use common::{cluster, load, row, scores};

const NODES: u32 = 1000;

/// Feeds the same to a policy and to its component, and compares all answers.
fn agrees<P: berth_sdk::Scheduler + Send>(package: &str) {
    let mut native = Native::<P>::start(b"", Columns::default()).unwrap();
    let mut wasm = load(package).scheduler("test", b"", Columns::default()).unwrap();
    assert_eq!(wasm.manifest(), native.manifest());
    assert_eq!(wasm.manifest().scores, Scores::NodeLocal);

    let everything = cluster(NODES, native.manifest());
    let mut change = Feed { seq: 2, ..Feed::default() };
    change.removed_nodes.push(17);
    let row = |amounts| row(native.manifest(), amounts);
    change.upsert_node(999, &row([64_000, 65_536, 110]), &row([0; 3]), &[]);
    change.update_requested(3, &row([15_000, 100, 7]));
    let all: Vec<u32> = (0..NODES).filter(|slot| *slot != 17).collect();
    let some: Vec<u32> = (0..NODES).step_by(37).collect();
    for feed in [everything, change] {
        native.feed(&feed).unwrap();
        wasm.feed(&feed).unwrap();
        for candidates in [&all[..], &some, &[999], &[]] {
            for class in [1, 2] {
                let expected = scores(&mut native, class, candidates).unwrap();
                assert_eq!(scores(&mut wasm, class, candidates).unwrap(), expected, "class {class}");
            }
        }
    }
}

#[test]
fn spread() {
    agrees::<berth_plugin_spread::Spread>("plugins/spread");
}

#[test]
fn binpack() {
    agrees::<berth_plugin_binpack::Binpack>("plugins/binpack");
}

#[test]
fn a_refused_configuration_says_why() {
    let error = load("plugins/spread").scheduler("test", b"{}", Columns::default()).unwrap_err();
    assert_eq!(error.to_string(), "the plugin refuses its configuration: spread takes no configuration");
}
