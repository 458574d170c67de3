//! A component written by hand, for what no honest compiler produces.

use std::path::Path;
use wit_parser::Resolve;

const CLUSTER: &str = "berth:policy/cluster@0.1.0-unstable";
const SCORING: &str = "berth:policy/scoring@0.1.0-unstable";
const PLANNING: &str = "berth:policy/planning@0.1.0-unstable";

/// All exports but `describe`, with their flat parameters and results.
const OTHERS: [(&str, &str, &str); 17] = [
    (CLUSTER, "reset", ""),
    (CLUSTER, "define-dimensions", "(param i32 i32)"),
    (CLUSTER, "define-symbols", "(param i32 i32 i32)"),
    (CLUSTER, "remove-nodes", "(param i32 i32)"),
    (CLUSTER, "upsert-nodes", "(param i32 i32 i32 i32 i32 i32 i32 i32)"),
    (CLUSTER, "update-requested", "(param i32 i32 i32 i32)"),
    (CLUSTER, "update-column", "(param i32 i32 i32 i32 i32)"),
    (CLUSTER, "upsert-units", "(param i32 i32)"),
    (CLUSTER, "define-classes", "(param i32 i32 i32 i32 i32 i32)"),
    (CLUSTER, "forget-classes", "(param i32 i32)"),
    (CLUSTER, "upsert-groups", "(param i32 i32)"),
    (CLUSTER, "remove-pods", "(param i32 i32)"),
    (CLUSTER, "upsert-pods", "(param i32 i32)"),
    (CLUSTER, "end-batch", "(param i64)"),
    (SCORING, "score", "(param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)"),
    (PLANNING, "plan", "(param i64 i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("", "cabi_realloc", "(param i32 i32 i32 i32) (result i32)"),
];

/// Where `describe` puts its result, the strings of its reasons, and in the result the list of reasons: after the tag, two
/// strings, three numbers and seven lists.
const RESULT: u32 = 65_536;
const STRINGS: u32 = 131_072;
const REASONS: u32 = RESULT + 4 + 16 + 12 + 56;

/// A component whose manifest has that many reasons, each the first 64 KiB of its memory.
pub(crate) fn overlapping_strings(reasons: u32) -> Vec<u8> {
    let stubs: String = OTHERS.iter().map(|(interface, name, kind)| stub(interface, name, kind)).collect();
    let end = STRINGS + 8 * reasons;
    let length = REASONS + 4;
    let core = format!(
        r#"(module
            (memory (export "memory") 64)
            {stubs}
            (func (export "{CLUSTER}#describe") (param i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.const {STRINGS}))
                (loop $next
                    (i32.store offset=4 (local.get $at) (i32.const 65536))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const {end}))))
                (i32.store (i32.const {REASONS}) (i32.const {STRINGS}))
                (i32.store (i32.const {length}) (i32.const {reasons}))
                i32.const {RESULT}))"#
    );
    encode(&core)
}

fn stub(interface: &str, name: &str, kind: &str) -> String {
    let separator = if interface.is_empty() { "" } else { "#" };
    format!("(func (export \"{interface}{separator}{name}\") {kind} unreachable)\n")
}

/// Makes a component of the contract's scheduler world of a core module.
fn encode(core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap();
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (package, _) = resolve.push_dir(contract).unwrap();
    let world = resolve.select_world(&[package], Some("scheduler")).unwrap();
    let utf8 = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, utf8).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.validate(true).module(&module).unwrap().encode().unwrap()
}
