//! What only one object can have: who gets it, who keeps it, and when it is free again.
#![allow(clippy::unwrap_used)] // a test may

use std::sync::Arc;

use berth_json::json;
use berth_state::conformance::{apply, resource};
use berth_state::{
    Action, Change, Commit, CommitError, Draft, Expect, Key, Ledger, Op, Revision, State, Stored,
};

fn key(name: &str) -> Key {
    Key::new("things.example.com", "default", name)
}

fn draft(name: &str, claims: &[&str]) -> Draft {
    let object = json!({"metadata": {"name": name, "uid": name}, "spec": {"claims": claims}});
    Draft::encode(&resource(), &object, None).unwrap()
}

fn create(name: &str, claims: &[&str]) -> Op {
    Op { key: key(name), expect: Expect::Absent, action: Action::Put(draft(name, claims)) }
}

fn update(name: &str, at: u64, claims: &[&str]) -> Op {
    Op { expect: Expect::At(Revision(at)), ..create(name, claims) }
}

fn delete(name: &str, at: u64) -> Op {
    Op { key: key(name), expect: Expect::At(Revision(at)), action: Action::Delete }
}

fn commit(ops: Vec<Op>) -> Commit {
    Commit { ops, ..Commit::default() }
}

/// A state in which `a` has 1 (at revision 1) and `b` has 2 and 3 (at revision 2).
fn world() -> State {
    let mut state = State::default();
    apply(&mut state, commit(vec![create("a", &["1"]), create("b", &["2", "3"])]));
    state
}

fn holders(state: &State, claim: &str) -> Vec<String> {
    state.claimed_by(claim).map(|key| key.name.to_string()).collect()
}

/// Stages commits one after the other in one batch, and says for each who was in its way.
fn stage(state: &State, commits: Vec<Vec<Op>>) -> (Vec<Option<Key>>, Vec<Arc<Change>>) {
    let (mut ledger, mut changes) = (Ledger::default(), vec![]);
    let told = commits.into_iter().map(|ops| match ledger.stage(state, commit(ops)) {
        Ok(taken) => {
            changes.extend(taken);
            None
        }
        Err(CommitError::Conflict { key, .. }) => Some(key),
        Err(error) => panic!("{error}"),
    });
    (told.collect(), changes)
}

#[test]
fn a_claim_has_one_holder() {
    type Case = (&'static str, Vec<Vec<Op>>, Vec<Option<&'static str>>);
    let cases: Vec<Case> = vec![
        ("what is free", vec![vec![create("c", &["4"])]], vec![None]),
        ("what somebody has", vec![vec![create("c", &["4", "1"])]], vec![Some("a")]),
        ("in a batch", vec![vec![create("c", &["4"])], vec![create("d", &["4"])]], vec![None, Some("c")]),
        ("in a commit", vec![vec![create("c", &["4"]), create("d", &["4"])]], vec![Some("c")]),
        (
            "what was refused claims nothing",
            vec![vec![create("c", &["4", "1"])], vec![create("d", &["4"])]],
            vec![Some("a"), None],
        ),
        ("an update keeps its own", vec![vec![update("b", 2, &["3", "2"])]], vec![None]),
        ("an update takes what is free", vec![vec![update("b", 2, &["2", "4"])]], vec![None]),
        ("an update takes what is not", vec![vec![update("b", 2, &["2", "3", "1"])]], vec![Some("a")]),
        (
            "free once its holder is deleted",
            vec![vec![delete("a", 1)], vec![create("c", &["1"])], vec![create("d", &["1"])]],
            vec![None, None, Some("c")],
        ),
        ("deleted and made in one commit", vec![vec![delete("a", 1), create("c", &["1"])]], vec![None]),
        ("made and deleted in one commit", vec![vec![create("c", &["1"]), delete("a", 1)]], vec![None]),
        (
            "free once its holder has moved",
            vec![vec![update("b", 2, &["2", "4"])], vec![create("c", &["3"])], vec![create("d", &["4"])]],
            vec![None, None, Some("b")],
        ),
        (
            "moved twice in a batch",
            vec![
                vec![update("a", 1, &["4"])],
                vec![update("a", 3, &["5"])],
                vec![create("c", &["4"])],
                vec![create("d", &["5"])],
            ],
            vec![None, None, None, Some("a")],
        ),
        ("exchanged", vec![vec![update("a", 1, &["2"]), update("b", 2, &["1", "3"])]], vec![None]),
        ("nothing is claimed", vec![vec![create("c", &[])], vec![update("a", 1, &[])]], vec![None, None]),
    ];
    for (what, commits, wanted) in cases {
        let mut state = world();
        let (told, changes) = stage(&state, commits);
        let wanted: Vec<Option<Key>> = wanted.into_iter().map(|name| name.map(key)).collect();
        assert_eq!(told, wanted, "{what}");
        changes.into_iter().for_each(|change| state.publish(change));
        assert_eq!(state.contested().next(), None, "{what}");
        let held = state.iter().flat_map(|stored| stored.claims().iter().map(|claim| (claim, &stored.key)));
        for (claim, holder) in held {
            assert_eq!(holders(&state, claim), [&*holder.name], "{what}: {claim}");
        }
        for claim in ["1", "2", "3", "4", "5"] {
            let has = |name: &String| state.get(&key(name)).unwrap().claims().iter().any(|c| **c == *claim);
            assert!(
                holders(&state, claim).iter().all(has),
                "{what}: {claim} is held by who does not claim it"
            );
        }
    }
}

#[test]
fn a_batch_that_failed_claims_nothing() {
    let state = world();
    let mut ledger = Ledger::default();
    ledger.stage(&state, commit(vec![create("c", &["4"])])).unwrap();
    ledger.clear(&state);
    ledger.stage(&state, commit(vec![create("d", &["4"])])).unwrap();
}

#[test]
fn claims_come_back_with_the_store_and_two_holders_of_one_keep_it() {
    let stored = |name: &str, at: u64, claims: &[&str]| {
        Arc::new(Stored::new(key(name), Revision(at), draft(name, claims)))
    };
    let objects = [stored("a", 1, &["1"]), stored("b", 2, &["1", "2"]), stored("c", 3, &["3"])];
    let mut state = State::restored(Revision(3), objects);
    let contested: Vec<_> = state.contested().map(|(claim, one, other)| (&**claim, one, other)).collect();
    assert_eq!(contested, [("1", &key("a"), &key("b"))]);

    let (told, changes) = stage(
        &state,
        vec![
            vec![create("d", &["1"])],
            vec![update("b", 2, &["1", "2", "4"])],
            vec![update("c", 3, &["3", "1"])],
            vec![delete("a", 1)],
            vec![create("d", &["1"])],
        ],
    );
    assert_eq!(told, [Some(key("a")), None, Some(key("a")), None, Some(key("b"))]);
    changes.into_iter().for_each(|change| state.publish(change));
    assert_eq!((state.contested().next(), holders(&state, "1")), (None, vec!["b".to_owned()]));
    let b = state.get(&key("b")).unwrap().revision.0;
    apply(&mut state, commit(vec![delete("b", b)]));
    apply(&mut state, commit(vec![create("d", &["1"])]));
    assert_eq!(holders(&state, "1"), ["d"]);
}
