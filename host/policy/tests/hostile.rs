//! What components do wrong while they run, and what comes of it.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_policy::{Limits, WasmPolicy};
use berth_scheduler::policy::{
    Columns, Ctx, NO_GROUP, NO_SLOT, PlanQuestion, Pod, PodFlags, Policy, PolicyError,
};
use common::{cluster, engine, guest, scores};
use std::time::{Duration, Instant};

const DEADLINE_MS: u64 = 50;
const MEMORY_BYTES: usize = 8 << 20;

fn start(fault: &str) -> WasmPolicy {
    start_with(fault, MEMORY_BYTES)
}

/// The hostile policy with one fault, fed with a small cluster.
fn start_with(fault: &str, memory_bytes: usize) -> WasmPolicy {
    let limits = Limits::new(memory_bytes, DEADLINE_MS);
    let component = engine().load(&guest("tests/policies/hostile"), limits).unwrap();
    let config = format!("\"{fault}\"");
    let mut policy = component.scheduler("hostile", config.as_bytes(), Columns::default()).unwrap();
    let everything = cluster(10, policy.manifest());
    policy.feed(&everything).unwrap();
    policy
}

fn refused(fault: &str) -> String {
    let component = engine().load(&guest("tests/policies/hostile"), Limits::default()).unwrap();
    let config = format!("\"{fault}\"");
    component.scheduler("hostile", config.as_bytes(), Columns::default()).unwrap_err().to_string()
}

/// Asks until the third answer or the first error.
fn ask(policy: &mut WasmPolicy) -> Result<Vec<i32>, PolicyError> {
    scores(policy, 1, &[0, 1, 2])
}

/// After a fatal error the instance is not called again; a new one of the same component works.
fn is_gone(mut policy: WasmPolicy) {
    assert_eq!(ask(&mut policy), Err(PolicyError::Gone));
    let mut next = policy.component().scheduler("next", b"\"bad-plan\"", Columns::default()).unwrap();
    let everything = cluster(10, next.manifest());
    next.feed(&everything).unwrap();
    assert_eq!(ask(&mut next), Ok(vec![0, 0, 0]));
}

#[test]
fn an_endless_loop_ends_soon_after_its_deadline() {
    let mut policy = start("loop");
    let begun = Instant::now();
    assert_eq!(ask(&mut policy), Err(PolicyError::Deadline { limit_ms: DEADLINE_MS }));
    let took = begun.elapsed();
    // The processor time is charged, of which a busy machine gives little; the wall clock has its own, later limit.
    assert!(took >= Duration::from_millis(DEADLINE_MS), "{took:?}");
    assert!(took < Duration::from_millis(DEADLINE_MS) * 20, "{took:?}");
    is_gone(policy);
}

#[test]
fn a_loop_in_describe_ends_too() {
    assert_eq!(
        refused("loop-at-once"),
        "asked to describe itself, the policy used more than its 2000 ms for one call"
    );
}

#[test]
fn memory_has_a_limit() {
    let mut policy = start("eat");
    assert_eq!(ask(&mut policy), Err(PolicyError::Memory { limit_bytes: MEMORY_BYTES as u64 }));
    is_gone(policy);
}

#[test]
fn the_stack_has_a_limit() {
    let mut policy = start("recurse");
    // Rust keeps such frames in linear memory, and the stack there runs into its lower end.
    let error = ask(&mut policy).unwrap_err();
    assert!(matches!(&error, PolicyError::Trap(why) if why.contains("out of bounds")), "{error}");
    is_gone(policy);
}

#[test]
fn a_panic_says_what_happened() {
    let mut policy = start("panic");
    let error = ask(&mut policy).unwrap_err();
    assert!(matches!(&error, PolicyError::Trap(why) if why.contains("a bug in the policy")), "{error}");
    is_gone(policy);
}

#[test]
fn a_policy_that_traps_now_and_then_answers_until_then() {
    let mut policy = start("sometimes-panic");
    assert_eq!(ask(&mut policy), Ok(vec![0; 3]));
    assert_eq!(ask(&mut policy), Ok(vec![0; 3]));
    assert!(ask(&mut policy).unwrap_err().is_fatal());
    is_gone(policy);
}

#[test]
fn scores_of_the_wrong_length_are_refused_and_the_policy_lives() {
    let mut policy = start("short-scores");
    let why = "2 scores for 3 candidates".to_owned();
    assert_eq!(ask(&mut policy), Err(PolicyError::BadAnswer(why)));
    assert_eq!(scores(&mut policy, 1, &[]), Ok(vec![]));
}

#[test]
fn an_answer_of_8_mib_is_not_taken() {
    let mut policy = start_with("huge-scores", 64 << 20);
    let error = ask(&mut policy).unwrap_err();
    assert!(matches!(&error, PolicyError::Trap(why) if why.contains("too much data")), "{error}");
    is_gone(policy);
}

#[test]
fn a_plan_for_nodes_that_do_not_exist_is_refused_and_the_policy_lives() {
    let mut policy = start("bad-plan");
    let waiting = |id| Pod {
        id,
        since_ms: 0,
        class: 1,
        group: NO_GROUP,
        priority: 0,
        slot: NO_SLOT,
        flags: PodFlags::default(),
    };
    let question = PlanQuestion {
        ctx: Ctx::default(),
        pods: &[waiting(1)],
        classes: &[1],
        words: 1,
        feasible: &[3],
        eligible: &[3],
        columns: &[],
    };
    let mut actions = Vec::new();
    let why = "slot 1073741824 does not exist".to_owned();
    assert_eq!(policy.plan(&question, &mut actions), Err(PolicyError::BadAnswer(why)));
    assert_eq!(ask(&mut policy), Ok(vec![0; 3]));
}

#[test]
fn a_flood_of_log_lines_costs_the_policy_its_time_only() {
    let mut policy = start("log-flood");
    match ask(&mut policy) {
        Ok(scores) => assert_eq!(scores, [0; 3]),
        Err(error) => assert_eq!(error, PolicyError::Deadline { limit_ms: DEADLINE_MS }),
    }
}

#[test]
fn manifests_that_cannot_be_served_are_refused() {
    assert_eq!(
        refused("unknown-column"),
        "the plugin subscribes to node columns that this host does not offer: no-such, nor-this"
    );
    assert_eq!(
        refused("long-manifest"),
        "the plugin's manifest is not usable: it has 10000 entries of 30008 bytes, and 256 entries and 65536 bytes are \
         the limit"
    );
    assert_eq!(refused("no-such-fault"), "the plugin refuses its configuration: it knows no such fault");
}
