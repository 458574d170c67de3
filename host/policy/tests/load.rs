//! Bytes that are no servable component, and what is said about them.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

#[path = "common/by_hand.rs"]
mod by_hand;
mod common;

use berth_policy::{COMPONENT_BYTES_MAX, Cache, Engine, Limits, LoadError, Role};
use berth_scheduler::policy::{Columns, Policy};
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

#[test]
fn interfaces_may_be_left_out_but_not_when_the_manifest_promises_them() {
    let component = engine().load(&by_hand::scores_without_scoring(), Limits::default()).unwrap();
    assert_eq!(component.role(), Role::Scheduler);
    assert_eq!(
        component.scheduler("own", b"", Columns::default()).unwrap_err().to_string(),
        "the plugin's manifest says that it scores, but it does not export berth:policy/scoring@0.1.0-unstable"
    );
}

#[test]
fn roles_are_found_from_exports() {
    for (package, role) in [
        ("plugins/spread", Role::Scheduler),
        ("tests/policies/admission", Role::Admission),
        ("tests/policies/autoscaler", Role::Autoscaler),
    ] {
        assert_eq!(engine().load(&guest(package), Limits::default()).unwrap().role(), role);
    }
    let admission = engine().load(&guest("tests/policies/admission"), Limits::default()).unwrap();
    let error = admission.scheduler("a", b"", Columns::default()).unwrap_err().to_string();
    assert_eq!(error, "the component is an admission policy and cannot schedule");
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
