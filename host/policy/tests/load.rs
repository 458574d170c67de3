//! Bytes that are no servable component, and what is said about them.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

#[path = "common/by_hand.rs"]
mod by_hand;
mod common;

use berth_lifecycle::RoleName;
use berth_policy::{COMPONENT_BYTES_MAX, Cache, Engine, Limits, LoadError};
use berth_scheduler::policy::{Columns, Ctx, PlanQuestion, Policy, PolicyError};
use common::{cluster, engine, guest, scores};
use std::os::unix::fs::PermissionsExt;

fn refused(bytes: &[u8]) -> String {
    engine().load(bytes, Limits::default()).unwrap_err().to_string()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn what_is_not_wasm_is_refused() {
    let not_wasm = "the file is not WebAssembly: it does not begin with the bytes of a Wasm component";
    assert_eq!(refused(b""), not_wasm);
    assert_eq!(refused(b"#!/bin/sh\n"), not_wasm);
    assert_eq!(refused(b"\x7fELF\x02\x01\x01\0\0\0\0\0"), not_wasm);
}

#[test]
fn a_core_module_is_refused_with_the_way_out() {
    let error = refused(&wat("(module)"));
    assert!(error.starts_with("the file is a core Wasm module, not a component: make one"), "{error}");
}

#[test]
fn a_damaged_component_is_refused() {
    let mut bytes = guest("plugins/spread");
    bytes.truncate(bytes.len() / 2);
    let error = refused(&bytes);
    assert!(error.starts_with("the component does not compile: "), "{error}");
}

#[test]
fn too_many_bytes_are_refused_unread() {
    let error = engine().load(&vec![0; COMPONENT_BYTES_MAX + 1], Limits::default()).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
}

#[test]
fn a_component_without_a_policy_is_refused() {
    let component = wat(r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "hello") (canon lift (core func $i "f"))))"#);
    let error = refused(&component);
    assert!(
        error.starts_with("the component exports no policy: it has hello, and one of berth:policy/cluster@"),
        "{error}"
    );
    assert!(refused(&wat("(component)")).contains("it has no exports"));
}

#[test]
fn a_component_for_another_version_is_refused() {
    let component = wat(r#"(component
        (instance $i)
        (export "berth:policy/cluster@9.1.0" (instance $i)))"#);
    assert_eq!(
        refused(&component),
        "the component was built for berth:policy/cluster@9.1.0, and this host serves \
         berth:policy/cluster@0.1.0-unstable"
    );
}

#[test]
fn an_interface_of_another_shape_is_refused() {
    let component = wat(r#"(component
        (instance $i)
        (export "berth:policy/cluster@0.1.0-unstable" (instance $i)))"#);
    let error = refused(&component);
    assert!(
        error.starts_with("the component does not keep to berth:policy/cluster@0.1.0-unstable: "),
        "{error}"
    );
}

#[test]
fn all_ungranted_imports_are_named() {
    let component = wat(r#"(component
        (import "wasi:filesystem/preopens@0.2.3" (instance))
        (import "wasi:sockets/tcp@0.2.3" (instance))
        (import "berth:policy/log@0.1.0-unstable" (instance)))"#);
    assert_eq!(
        refused(&component),
        "the component imports what no policy is granted: wasi:filesystem/preopens@0.2.3, wasi:sockets/tcp@0.2.3"
    );
}

#[test]
fn strings_that_overlap_do_not_fill_the_host() {
    // `describe` answers with 100,000 reasons that are all the same 64 KiB: 6 GiB, were they taken.
    let component = by_hand::overlapping_strings(100_000);
    let component = engine().load(&component, Limits::default()).unwrap();
    let error = component.scheduler("bomb", b"", Columns::default()).unwrap_err().to_string();
    assert!(error.starts_with("asked to describe itself, the policy trapped: too much data"), "{error}");
}

/// Why a component that was written by hand does not start.
fn does_not_start(component: &by_hand::Component<'_>, config: &[u8]) -> String {
    let component = engine().load(&component.encode(), Limits::default()).unwrap();
    component.scheduler("hand-made", config, Columns::default()).unwrap_err().to_string()
}

#[test]
fn a_component_that_fails_while_it_is_instantiated_is_refused() {
    let start = |body: &str| format!("(func $start {body}) (start $start)");
    for (body, why) in [
        (
            "unreachable",
            "the component does not start: the policy trapped: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            "(loop $l br $l)",
            "the component does not start: the policy used more than its 2000 ms for one call",
        ),
    ] {
        let component = by_hand::Component { more: &start(body), ..by_hand::Component::default() };
        assert_eq!(does_not_start(&component, b""), why);
    }
}

#[test]
fn manifests_that_mean_nothing_are_refused() {
    let beyond = 4 << 20;
    for (describe, why) in [
        (by_hand::manifest(7, 0), "the plugin's manifest is not usable: 7 is no known value of scores"),
        (by_hand::manifest(0, 2), "the plugin's manifest is not usable: 2 is no known value of plans"),
        // The first bytes of its memory are zeros; the tag of the result is no text.
        (
            by_hand::name(beyond, 1),
            "asked to describe itself, the policy trapped: string pointer/length out of bounds of memory",
        ),
        (
            by_hand::name(0, u32::MAX),
            "asked to describe itself, the policy trapped: string pointer/length out of bounds of memory",
        ),
        (
            format!("(i32.store8 (i32.const 0) (i32.const 255)) {}", by_hand::name(0, 1)),
            "asked to describe itself, the policy trapped: invalid utf-8 sequence of 1 bytes from index 0",
        ),
    ] {
        let component = by_hand::Component { describe: &describe, ..by_hand::Component::default() };
        let found = does_not_start(&component, b"");
        assert!(found.starts_with(why), "{found}");
    }
}

#[test]
fn arguments_are_not_written_where_a_component_has_no_memory() {
    for realloc in [4 << 20, u32::MAX - 7] {
        let component = by_hand::Component { realloc, ..by_hand::Component::default() };
        let why = does_not_start(&component, b"{}");
        assert!(why.starts_with("asked to describe itself, the policy trapped: "), "{why}");
        assert!(why.ends_with("realloc return: beyond end of memory"), "{why}");
    }
}

#[test]
fn tables_have_a_limit() {
    let grow =
        "(if (i32.ne (table.grow $t (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))";
    let describe = format!("{grow} {}", by_hand::manifest(1, 0));
    let component = by_hand::Component {
        describe: &describe,
        more: "(table $t 1 funcref)",
        ..by_hand::Component::default()
    };
    let component = engine().load(&component.encode(), Limits::default()).unwrap();
    component.scheduler("hand-made", b"", Columns::default()).unwrap();
}

#[test]
fn answers_that_mean_nothing_end_a_policy_or_are_refused() {
    let (question, beyond) = (by_hand::manifest(1, 1), by_hand::list(4 << 20, 3));
    // One action of code 99.
    let strange = format!("(i32.store (i32.const 200000) (i32.const 99)) {}", by_hand::list(200_000, 1));
    let quiet: Vec<(&str, &str)> =
        ["reset", "define-dimensions", "end-batch", "upsert-nodes", "define-classes"]
            .map(|name| (name, ""))
            .to_vec();
    let start = |answers: &[(&str, &str)]| {
        let bodies = [&quiet[..], answers].concat();
        let component =
            by_hand::Component { describe: &question, bodies: &bodies, ..by_hand::Component::default() };
        let component = engine().load(&component.encode(), Limits::default()).unwrap();
        let mut policy = component.scheduler("hand-made", b"", Columns::default()).unwrap();
        let everything = cluster(3, policy.manifest());
        policy.feed(&everything).unwrap();
        policy
    };
    let mut policy = start(&[("score", &beyond), ("plan", &strange)]);
    let plan = PlanQuestion {
        ctx: Ctx::default(),
        pods: &[],
        classes: &[],
        words: 0,
        feasible: &[],
        eligible: &[],
        columns: &[],
    };
    let error = policy.plan(&plan, &mut Vec::new()).unwrap_err();
    assert_eq!(error, PolicyError::BadAnswer("99 is no known action".to_owned()));
    let error = scores(&mut policy, 1, &[0, 1, 2]).unwrap_err();
    assert!(matches!(&error, PolicyError::Trap(why) if why.contains("out of bounds")), "{error}");
    assert_eq!(scores(&mut policy, 1, &[0, 1, 2]), Err(PolicyError::Gone));
}

#[test]
fn an_interpreter_with_its_adapters_is_within_the_limits() {
    let many = |instances: usize, memories: usize| {
        let plain = "(core instance (instantiate $plain))".repeat(instances - memories);
        let with_memory = "(core instance (instantiate $memory))".repeat(memories);
        refused(&wat(&format!(
            "(component (core module $plain) (core module $memory (memory 1)) {plain} {with_memory})"
        )))
    };
    assert!(many(38, 3).contains("it has no exports"), "as Python's and QuickJS's are");
    for (instances, memories) in [(65, 1), (10, 5)] {
        let error = many(instances, memories);
        assert!(error.starts_with("the component does not compile: "), "{error}");
    }
}

#[test]
fn the_places_for_running_policies_are_bounded_and_a_full_house_says_so() {
    let engine = Engine::new(None).unwrap();
    let describe = by_hand::manifest(1, 0);
    let component = by_hand::Component { describe: &describe, ..by_hand::Component::default() };
    let component = engine.load(&component.encode(), Limits::default()).unwrap();
    let start = || component.scheduler("hand-made", b"", Columns::default());
    let running: Vec<_> = (0..64).map(|_| start().unwrap()).collect();
    let error = start().unwrap_err();
    assert!(error.to_string().starts_with("all 64 places for running policies are taken"), "{error}");
    assert!(!error.is_final());
    drop(running);
    start().unwrap();
}

#[test]
fn interfaces_may_be_left_out_but_not_when_the_manifest_promises_them() {
    let component = engine().load(&by_hand::scores_without_scoring(), Limits::default()).unwrap();
    assert_eq!(component.role(), RoleName::Scheduler);
    assert_eq!(
        component.scheduler("own", b"", Columns::default()).unwrap_err().to_string(),
        "the plugin's manifest says that it scores, but it does not export berth:policy/scoring@0.1.0-unstable"
    );
}

#[test]
fn roles_are_found_from_exports() {
    for (package, role) in [
        ("plugins/spread", RoleName::Scheduler),
        ("tests/policies/admission", RoleName::Admission),
        ("tests/policies/autoscaler", RoleName::Autoscaler),
    ] {
        assert_eq!(engine().load(&guest(package), Limits::default()).unwrap().role(), role);
    }
    let admission = engine().load(&guest("tests/policies/admission"), Limits::default()).unwrap();
    let error = admission.scheduler("a", b"", Columns::default()).unwrap_err().to_string();
    assert_eq!(error, "the component is for the role admission, and is bound in the role scheduler");
}

#[test]
fn compiled_code_is_kept_and_only_trusted_files_are_used() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("compiled");
    let load = || {
        let engine = Engine::new(Some(Cache::open(&directory).unwrap())).unwrap();
        let component = engine.load(&guest("plugins/spread"), Limits::default()).unwrap();
        let mut policy = component.scheduler("spread", b"", Columns::default()).unwrap();
        let everything = cluster(5, policy.manifest());
        policy.feed(&everything).unwrap();
        scores(&mut policy, 1, &[0, 1, 2, 3, 4]).unwrap()
    };
    let expected = load();
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one compiled component, not {files:?}") };
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(file).unwrap();

    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(file, &damaged).unwrap();
    assert_eq!(load(), expected);
    assert_eq!(std::fs::read(file).unwrap(), whole, "the damaged file was replaced");

    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let error = Cache::open(&directory).unwrap_err().to_string();
    assert!(error.ends_with("compiled: only this user may be able to write here"), "{error}");
}
