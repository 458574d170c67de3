//! The state, its history and the ledger.
#![allow(clippy::unwrap_used)] // a test may

use std::future::Future;
use std::sync::Arc;

use berth_json::json;
use berth_state::conformance::{apply, resource};
use berth_state::{
    Action, Commit, CommitError, Draft, Expect, Fence, Key, Ledger, MemoryStore, Need, Op, Revision, State,
};

fn key(name: &str) -> Key {
    Key::new("things.example.com", "default", name)
}

fn put(name: &str, number: u64, expect: Expect) -> Op {
    let owner = json!([{"uid": "owner", "name": "o", "kind": "Thing", "apiVersion": "example.com/v1"}]);
    let metadata = json!({"name": name, "uid": format!("uid-{name}"), "ownerReferences": owner});
    let draft =
        Draft::encode(&resource(), &json!({"metadata": metadata, "spec": {"number": number}}), None).unwrap();
    Op { key: key(name), expect, action: Action::Put(draft) }
}

fn delete(name: &str, at: u64) -> Op {
    Op { key: key(name), expect: Expect::At(Revision(at)), action: Action::Delete }
}

fn commit(ops: Vec<Op>) -> Commit {
    Commit { ops, ..Commit::default() }
}

fn names(objects: &[Arc<berth_state::Stored>]) -> Vec<(&str, u64)> {
    objects.iter().map(|stored| (&*stored.key.name, stored.revision.0)).collect()
}

#[test]
fn served_with_kind_and_resource_version() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("a", 7, Expect::Absent)]));
    let stored = state.get(&key("a")).unwrap();
    let mut text = vec![];
    stored.write_json(&mut text, &resource(), true);
    let parsed: berth_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(parsed, stored.to_value(&resource()));
    assert_eq!(parsed["metadata"]["resourceVersion"], "1");
    assert_eq!(parsed["kind"], "Thing");
    assert_eq!(stored.field("spec.number"), Some("7"));
}

#[test]
fn a_list_at_an_earlier_revision_is_what_it_was() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("a", 1, Expect::Absent), put("b", 1, Expect::Absent)]));
    let then = state.list_at(state.revision(), "things.example.com", "default").unwrap();
    apply(&mut state, commit(vec![put("a", 2, Expect::At(Revision(1))), delete("b", 2)]));
    apply(&mut state, commit(vec![put("c", 1, Expect::Absent)]));
    assert_eq!(state.list_at(Revision(2), "things.example.com", "").unwrap(), then);
    let now: Vec<_> = state.list("things.example.com", "default").cloned().collect();
    assert_eq!(names(&now), [("a", 3), ("c", 5)]);
    assert_eq!(state.list("things.example.com", "other").count(), 0);
}

#[test]
fn indexes_follow_changes() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("a", 1, Expect::Absent), put("b", 1, Expect::Absent)]));
    assert_eq!(state.dependents("owner").count(), 2);
    apply(&mut state, commit(vec![delete("a", 1)]));
    assert_eq!(state.dependents("owner").count(), 1);
    assert!(state.by_uid("uid-a").is_none());
    assert!(state.by_uid("uid-b").is_some());
}

#[test]
fn a_commit_is_taken_whole_or_not_at_all() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("a", 1, Expect::Absent)]));
    let mut ledger = Ledger::default();
    let stale = commit(vec![put("b", 1, Expect::Absent), put("a", 2, Expect::At(Revision(9)))]);
    let error = ledger.stage(&state, stale).unwrap_err();
    assert_eq!(error, CommitError::Conflict { key: key("a"), found: Some(Revision(1)) });
    let staged = ledger.stage(&state, commit(vec![put("b", 1, Expect::Absent)])).unwrap();
    assert_eq!(staged[0].revision, Revision(2), "the refused commit used no revision");
}

#[test]
fn staged_writes_are_seen_by_the_next_commit_only_until_cleared() {
    let state = State::default();
    let mut ledger = Ledger::default();
    ledger.stage(&state, commit(vec![put("a", 1, Expect::Absent)])).unwrap();
    assert!(ledger.stage(&state, commit(vec![put("a", 2, Expect::Absent)])).is_err());
    ledger.clear(&state);
    let again = ledger.stage(&state, commit(vec![put("a", 2, Expect::Absent)])).unwrap();
    assert_eq!(again[0].revision, Revision(1), "the failed batch's revision is given again");
}

#[test]
fn a_leader_that_lost_its_lease_cannot_commit() {
    let state = State::default();
    let fence = Fence { lease: key("leader"), epoch: "3".to_owned() };
    let error =
        Ledger::default().stage(&state, Commit { fence: Some(fence), ..Commit::default() }).unwrap_err();
    assert_eq!(error, CommitError::Fenced { lease: key("leader") });
}

#[test]
fn what_a_commit_needs_must_be_there_with_its_uid() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("home", 1, Expect::Absent)]));
    let stage = |name: &str, uid: &str| {
        let needs = vec![Need { key: key(name), uid: uid.into() }];
        let commit = Commit { needs, ops: vec![put("a", 1, Expect::Absent)], ..Commit::default() };
        Ledger::default().stage(&state, commit).map(|changes| changes.len())
    };
    let uid = state.get(&key("home")).unwrap().meta().uid.clone();
    assert_eq!(stage("home", &uid), Ok(1));
    let found = Some(Revision(1));
    assert_eq!(stage("home", "another"), Err(CommitError::Conflict { key: key("home"), found }));
    assert_eq!(stage("gone", &uid), Err(CommitError::Conflict { key: key("gone"), found: None }));
}

#[test]
fn what_the_history_forgot_is_expired() {
    let mut state = State::restored(Revision(10), []);
    apply(&mut state, commit(vec![put("a", 1, Expect::Absent)]));
    assert_eq!(state.changes_after(Revision(10)).unwrap().len(), 1);
    assert!(state.changes_after(Revision(9)).is_none());
    assert!(state.changes_of("things.example.com", Revision(9)).is_none());
    assert!(state.changes_of("others.example.com", Revision(9)).is_none());
    assert!(state.list_at(Revision(9), "things.example.com", "").is_none());
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("a", 1, Expect::Absent), put("b", 1, Expect::Absent)]));
    let then = state.clone();
    apply(&mut state, commit(vec![put("a", 2, Expect::At(Revision(1))), delete("b", 2)]));
    assert_eq!(
        names(&then.list("things.example.com", "").cloned().collect::<Vec<_>>()),
        [("a", 1), ("b", 2)]
    );
    assert_eq!((then.dependents("owner").count(), state.dependents("owner").count()), (2, 1));
    assert_eq!((then.revision(), then.len(), state.len()), (Revision(2), 2, 1));
    assert!(then.changes_after(Revision(2)).unwrap().is_empty());
}

#[test]
fn whoever_writes_large_objects_expires_their_own_watchers_and_nobody_elses() {
    let mut state = State::default();
    apply(&mut state, commit(vec![put("quiet", 1, Expect::Absent)]));
    let large = |expect| {
        let object = json!({"metadata": {"name": "large", "uid": "l"}, "data": "x".repeat(1 << 20)});
        let draft = Draft::encode(&resource(), &object, None).unwrap();
        Op { key: Key::new("larges.example.com", "default", "large"), expect, action: Action::Put(draft) }
    };
    let mut last = apply(&mut state, commit(vec![large(Expect::Absent)]))[0];
    let first = last;
    for _ in 0..90 {
        last = apply(&mut state, commit(vec![large(Expect::At(last))]))[0];
    }
    assert!(state.changes_of("larges.example.com", first).is_none(), "64 MiB are kept");
    assert_eq!(state.changes_of("larges.example.com", Revision(last.0 - 60)).unwrap().count(), 60);
    assert_eq!(state.changes_of("things.example.com", Revision(0)).unwrap().count(), 1);
    assert!(state.changes_after(Revision(0)).is_none(), "who follows everything must begin anew");
}

#[test]
fn the_memory_store_conforms() {
    let (disk, shared) = (MemoryStore::new(), MemoryStore::new());
    let open = |disk: &MemoryStore| {
        let disk = disk.clone();
        async move { disk }
    };
    let suite = async {
        berth_state::conformance::all(|| open(&disk)).await;
        berth_state::conformance::shared(|| open(&shared)).await;
    };
    let mut suite = std::pin::pin!(suite);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(suite.as_mut().poll(&mut context).is_ready(), "a memory store never waits for what has happened");
}
