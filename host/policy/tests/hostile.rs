//! What components do wrong while they run, and what comes of it.
#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod common;

use berth_policy::{Limits, WasmPolicy};
use berth_scheduler::policy::{
    Columns, Ctx, Feed, NO_GROUP, NO_SLOT, PlanQuestion, Pod, PodFlags, Policy, PolicyError,
};
use common::{cluster, engine, guest, scores};
use std::sync::{Arc, Mutex};
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
fn an_endless_loop_ends_after_its_deadline_and_not_before() {
    let mut policy = start("loop");
    let begun = Instant::now();
    assert_eq!(ask(&mut policy), Err(PolicyError::Deadline { limit_ms: DEADLINE_MS }));
    // How soon after it is the machine's to say: an answer at all means that the loop was ended.
    assert!(begun.elapsed() >= Duration::from_millis(DEADLINE_MS), "{:?}", begun.elapsed());
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
fn a_flood_of_log_lines_costs_the_policy_its_time_only() {
    let (mut policy, log) = (start("log-flood"), Log::default());
    let begun = Instant::now();
    let answer = tracing::subscriber::with_default(log.clone(), || ask(&mut policy));
    // A fast machine writes a million lines within the deadline.
    assert!(matches!(answer, Ok(_) | Err(PolicyError::Deadline { .. })), "{answer:?}");
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let lines = log.0.lock().unwrap().len();
    assert!((20..=21 * seconds).contains(&lines), "{lines} lines in {seconds} s");
}

#[test]
fn a_line_of_a_policys_log_forges_no_other() {
    let (mut policy, log) = (start("forged-line"), Log::default());
    let error = tracing::subscriber::with_default(log.clone(), || ask(&mut policy)).unwrap_err().to_string();
    assert!(error.contains("a bug 2026-11-30T00:00:00Z  INFO berth: all is well"), "{error}");
    let lines = log.0.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("a bug 2026")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
}

/// The messages that are logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message<'a>(&'a mut Vec<String>);
        impl tracing::field::Visit for Message<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0.push(format!("{value:?}"));
                }
            }
        }
        if event.metadata().target().starts_with("berth_policy") {
            event.record(&mut Message(&mut self.0.lock().unwrap()));
        }
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The hostile policy with a fault, not fed yet, and a small cluster to feed it with.
fn unfed(fault: &str) -> (WasmPolicy, Feed) {
    let limits = Limits::new(MEMORY_BYTES, DEADLINE_MS);
    let component = engine().load(&guest("tests/policies/hostile"), limits).unwrap();
    let policy =
        component.scheduler("hostile", format!("\"{fault}\"").as_bytes(), Columns::default()).unwrap();
    let everything = cluster(10, policy.manifest());
    (policy, everything)
}

#[test]
fn a_policy_that_fails_when_it_is_fed_is_gone() {
    for fault in ["feed-panic", "feed-loop", "feed-eat"] {
        let (mut policy, everything) = unfed(fault);
        let error = policy.feed(&everything).unwrap_err();
        match fault {
            "feed-panic" => {
                assert!(matches!(&error, PolicyError::Trap(why) if why.contains("a bug in the feed")))
            }
            // The first feed has the time of a setup.
            "feed-loop" => assert_eq!(error, PolicyError::Deadline { limit_ms: 2_000 }),
            _ => assert_eq!(error, PolicyError::Memory { limit_bytes: MEMORY_BYTES as u64 }),
        }
        assert_eq!(policy.feed(&everything), Err(PolicyError::Gone), "{fault}");
        is_gone(policy);
    }
}

#[test]
fn the_first_feed_may_take_longer_than_a_question() {
    let (mut policy, everything) = unfed("slow-first-feed");
    policy.feed(&everything).unwrap();
    policy.feed(&Feed { seq: 2, ..Feed::default() }).unwrap();
    assert_eq!(ask(&mut policy), Ok(vec![0; 3]));
}

/// What comes of asking the hostile policy with a fault for a plan for two pods on two nodes.
fn plan(policy: &mut WasmPolicy) -> Result<usize, PolicyError> {
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
        pods: &[waiting(1), waiting(2)],
        classes: &[1],
        words: 1,
        feasible: &[3],
        eligible: &[3],
        columns: &[],
    };
    let mut actions = Vec::new();
    policy.plan(&question, &mut actions).map(|()| actions.len())
}

#[test]
fn plans_that_are_not_the_policys_to_make_are_refused_and_the_policy_lives() {
    for (fault, why) in [
        ("bad-plan", "slot 1073741824 does not exist"),
        ("plan-twice", "two actions for pod 1"),
        ("plan-stranger", "it decides about pod 1099511627776, which was not its to choose"),
        ("plan-evict", "it evicts pod 1, which was not its to choose"),
        ("plan-flood", "200 actions for 2 pods"),
    ] {
        let mut policy = start(fault);
        assert_eq!(plan(&mut policy), Err(PolicyError::BadAnswer(why.to_owned())), "{fault}");
        assert_eq!(ask(&mut policy), Ok(vec![0; 3]), "{fault}");
    }
}

#[test]
fn a_policy_that_fails_in_a_plan_is_gone() {
    let mut policy = start("plan-loop");
    assert_eq!(plan(&mut policy), Err(PolicyError::Deadline { limit_ms: DEADLINE_MS }));
    is_gone(policy);
    let mut policy = start("plan-panic");
    let error = plan(&mut policy).unwrap_err();
    assert!(matches!(&error, PolicyError::Trap(why) if why.contains("a bug in the plan")), "{error}");
    is_gone(policy);
}

#[test]
fn a_policy_that_fails_when_it_is_described_is_refused() {
    let why = refused("panic-at-once");
    assert!(why.starts_with("asked to describe itself, the policy trapped: panicked at"), "{why}");
    assert_eq!(
        refused("eat-at-once"),
        "asked to describe itself, the policy asked for more than its 134217728 bytes of memory"
    );
}

#[test]
fn a_long_error_is_cut_and_kept_on_one_line() {
    let why = refused("long-error");
    assert!(why.starts_with("the plugin refuses its configuration: first"), "{why}");
    assert!(why.len() < 1_200 && !why.contains('\n'), "{} bytes", why.len());
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
