//! Components written by hand, for what no honest compiler produces.

use std::path::Path;
use wit_parser::Resolve;

const CLUSTER: &str = "berth:policy/cluster@0.1.0-unstable";
const SCORING: &str = "berth:policy/scoring@0.1.0-unstable";
const PLANNING: &str = "berth:policy/planning@0.1.0-unstable";

/// All exports but `describe`, with their flat parameters and results.
const OTHERS: [(&str, &str, &str); 16] = [
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
];

/// Where `describe` puts its result.
const RESULT: u32 = 65_536;

/// Where the list of reasons is in it: after the tag, two strings, three numbers and seven lists.
const REASONS: u32 = RESULT + 4 + 16 + 12 + 56;

/// Where the strings of the manifest are.
const STRINGS: u32 = 131_072;

/// Where the host puts arguments.
const SCRATCH: u32 = 3 << 20;

/// A component whose manifest has that many reasons, each the first 64 KiB of its memory.
pub(crate) fn overlapping_strings(reasons: u32) -> Vec<u8> {
    let end = STRINGS + 8 * reasons;
    let length = REASONS + 4;
    let describe = format!(
        r#"(local $at i32)
            (local.set $at (i32.const {STRINGS}))
            (loop $next
                (i32.store offset=4 (local.get $at) (i32.const 65536))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const {end}))))
            (i32.store (i32.const {REASONS}) (i32.const {STRINGS}))
            (i32.store (i32.const {length}) (i32.const {reasons}))"#
    );
    encode(&describe, "include berth:policy/scheduler@0.1.0-unstable;")
}

/// A component that says it scores, and exports nothing but `cluster`.
pub(crate) fn scores_without_scoring() -> Vec<u8> {
    let (name, scores) = (RESULT + 4, RESULT + 4 + 16);
    let describe = format!(
        r#"(i32.store (i32.const {name}) (i32.const {STRINGS}))
            (i32.store offset=4 (i32.const {name}) (i32.const 1))
            (i32.store8 (i32.const {STRINGS}) (i32.const 65))
            (i32.store (i32.const {scores}) (i32.const 1))"#
    );
    encode(&describe, &format!("export {CLUSTER};"))
}

/// A component that keeps to the contract's types and to nothing else.
pub(crate) struct Component<'a> {
    /// The body of `describe`, which leaves its answer at [`RESULT`].
    pub(crate) describe: &'a str,
    /// Bodies of further exports; those that are not here trap.
    pub(crate) bodies: &'a [(&'a str, &'a str)],
    /// What its module has besides, such as a start function.
    pub(crate) more: &'a str,
    /// Where it says that the host may put arguments.
    pub(crate) realloc: u32,
}

impl Default for Component<'_> {
    fn default() -> Self {
        Self { describe: "", bodies: &[], more: "", realloc: SCRATCH }
    }
}

impl Component<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_with(self, "include berth:policy/scheduler@0.1.0-unstable;")
    }
}

/// A `describe` whose manifest has a name, and these codes for `scores` and `plans`.
pub(crate) fn manifest(scores: u32, plans: u32) -> String {
    let at = RESULT + 4 + 16;
    format!(
        "(i32.store8 (i32.const {STRINGS}) (i32.const 65)) {}
         (i32.store (i32.const {at}) (i32.const {scores}))
         (i32.store offset=4 (i32.const {at}) (i32.const {plans}))",
        name(STRINGS, 1)
    )
}

/// A `describe` whose manifest has a name of so many bytes at this address.
pub(crate) fn name(address: u32, length: u32) -> String {
    let at = RESULT + 4;
    format!(
        "(i32.store (i32.const {at}) (i32.const {address})) (i32.store offset=4 (i32.const {at}) (i32.const {length}))"
    )
}

/// The body of a function whose answer is a list of so many elements at this address.
pub(crate) fn list(address: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const {RESULT}) (i32.const {address}))
         (i32.store offset=4 (i32.const {RESULT}) (i32.const {length}))
         i32.const {RESULT}"
    )
}

/// Makes a component of a world and the body of its `describe`, which leaves its answer at [`RESULT`]; all else traps.
fn encode(describe: &str, world: &str) -> Vec<u8> {
    encode_with(&Component { describe, ..Component::default() }, world)
}

fn encode_with(component: &Component<'_>, world: &str) -> Vec<u8> {
    let Component { describe, bodies, more, realloc } = component;
    let body =
        |name: &str| bodies.iter().find(|(other, _)| *other == name).map_or("unreachable", |(_, body)| body);
    let stubs: String = OTHERS
        .iter()
        .map(|(interface, name, kind)| {
            format!("(func (export \"{interface}#{name}\") {kind} {})\n", body(name))
        })
        .collect();
    let mut module = wat::parse_str(format!(
        r#"(module
            (memory (export "memory") 64)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const {realloc})
            {stubs}
            {more}
            (func (export "{CLUSTER}#describe") (param i32 i32) (result i32) {describe} i32.const {RESULT}))"#
    ))
    .unwrap();
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    let text = format!("package test:by-hand; world by-hand {{ {world} }}");
    let package = resolve.push_str("by-hand.wit", &text).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let utf8 = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, utf8).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.validate(true).module(&module).unwrap().encode().unwrap()
}
