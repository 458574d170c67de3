//! What every [`Store`] must pass: call [`all`] from a test of the backend, with a way to open it again.

use std::future::Future;
use std::sync::Arc;

use berth_json::{Value, json};
use bytes::Bytes;

use berth_api::resource::{Claim, Selectable};
use berth_api::{Kind, Resource, Scope};

use crate::{Blobs, Change, Draft, Entry, Key, Record, Refused, Revision, State, Store, Stored};

/// Runs the whole suite; `open` opens the same store anew each time it is called.
///
/// # Panics
/// When the store does not do what [`Store`] says.
pub async fn all<S, F, R>(mut open: F)
where
    S: Store,
    F: FnMut() -> R,
    R: Future<Output = S>,
{
    let mut store = open().await;
    assert_eq!(loaded(&mut store).await, (Revision(0), vec![]), "a new store is empty");

    let created: Vec<_> = (1..=200).map(|n| put(n, &format!("o{n:03}"), n)).collect();
    store.commit(Revision(0), &created).await.expect("creating 200 objects in one batch");
    let mixed = [put(201, "o001", 1001), delete(202, "o002"), put(203, "o002", 1002), delete(204, "o003")];
    behind(&mut store, Revision(0), &mixed).await;
    behind(&mut store, Revision(199), &[put(200, "o001", 7)]).await;
    behind(&mut store, Revision(201), &[put(202, "o001", 7)]).await;
    store.commit(Revision(200), &mixed).await.expect("one object twice within a batch");
    store.commit(Revision(204), &[]).await.expect("an empty batch");
    assert_eq!(after(&mut store, Revision(204)).await, Some(vec![]), "nothing came after the head");
    store.close().await.expect("closing");

    let mut store = open().await;
    let (revision, records) = loaded(&mut store).await;
    assert_eq!(revision, Revision(204), "the last revision outlives the process, though it was a deletion");
    assert_eq!(records.len(), 199);
    let of = |name: &str| records.iter().find(|record| &*record.key.name == name);
    assert_eq!(of("o001").map(|r| r.revision), Some(Revision(201)), "what was refused is not written");
    assert_eq!(of("o002").map(|r| r.revision), Some(Revision(203)));
    assert_eq!(of("o003"), None);
    assert_eq!(of("o004").map(|r| r.bytes.clone()), Some(draft("o004", 4).bytes().clone()));
    let restored =
        of("o004").map(|r| Draft::restore(&resource(), r.bytes.clone()).expect("what was encoded"));
    assert_eq!(restored, Some(draft("o004", 4)));
    // What is not known any more is said to be unknown; what is told is the truth.
    if let Some(entries) = after(&mut store, Revision(200)).await {
        told(&entries, &[("o001", 201, true), ("o002", 203, true), ("o003", 204, false)]);
    }
    behind(&mut store, Revision(203), &[put(204, "o001", 7)]).await;

    blobs(store.blobs().as_ref()).await;
    store.close().await.expect("closing");
    let store = open().await;
    assert_eq!(store.blobs().get("sha256:b").await.expect("reading"), Some(large_blob()));
    store.close().await.expect("closing");
}

/// What stores that several servers have open must pass besides; each call of `open` is another server.
///
/// # Panics
/// When the store does not do what [`Store`] says.
pub async fn shared<S, F, R>(mut open: F)
where
    S: Store,
    F: FnMut() -> R,
    R: Future<Output = S>,
{
    let (mut one, mut other) = (open().await, open().await);
    assert!(one.is_shared());
    let (head, _) = loaded(&mut one).await;
    loaded(&mut other).await;
    let at = |step: u64| Revision(head.0 + step);

    one.commit(head, &[put(at(1).0, "s1", 1), put(at(2).0, "s2", 2)]).await.expect("the first");
    other.changed().await;
    behind(&mut other, head, &[put(at(1).0, "s1", 7)]).await;
    let entries = after(&mut other, head).await.expect("what just happened is known");
    told(&entries, &[("s1", at(1).0, true), ("s2", at(2).0, true)]);
    assert_eq!(entries[0].bytes.as_ref(), Some(draft("s1", 1).bytes()));

    other.commit(at(2), &[delete(at(3).0, "s1")]).await.expect("having looked");
    one.changed().await;
    told(&after(&mut one, at(2)).await.expect("known"), &[("s1", at(3).0, false)]);
    assert_eq!(after(&mut one, at(3)).await, Some(vec![]));
    one.blobs().put("sha256:c", Bytes::from_static(b"c")).await.expect("keeping a blob");
    assert_eq!(other.blobs().get("sha256:c").await.expect("reading"), Some(Bytes::from_static(b"c")));
    one.close().await.expect("closing");
    other.commit(at(3), &[put(at(4).0, "s3", 3)]).await.expect("the other goes on");
    other.close().await.expect("closing");
}

async fn behind<S: Store>(store: &mut S, head: Revision, changes: &[Arc<Change>]) {
    let refused = store.commit(head, changes).await;
    assert!(matches!(refused, Err(Refused::Behind)), "a commit after {head} was not refused: {refused:?}");
}

async fn after<S: Store>(store: &mut S, revision: Revision) -> Option<Vec<Entry>> {
    store.changes_after(revision).await.expect("reading")
}

/// The entries name the last revisions of these objects in order, and whether they are there.
fn told(entries: &[Entry], last: &[(&str, u64, bool)]) {
    assert!(entries.is_sorted_by(|a, b| a.revision < b.revision), "entries come in order");
    for (name, revision, is_there) in last {
        let of_it = entries.iter().rfind(|entry| &*entry.key.name == *name);
        let found = of_it.map(|entry| (entry.revision, entry.bytes.is_some()));
        assert_eq!(found, Some((Revision(*revision), *is_there)), "{name}");
    }
}

async fn blobs(blobs: &dyn Blobs) {
    let small = Bytes::from_static(b"component");
    blobs.put("sha256:a", small.clone()).await.expect("keeping a blob");
    blobs.put("sha256:a", small.clone()).await.expect("keeping it again");
    blobs.put("sha256:b", large_blob()).await.expect("keeping a large blob");
    assert_eq!(blobs.get("sha256:a").await.expect("reading"), Some(small));
    blobs.delete("sha256:a").await.expect("forgetting");
    blobs.delete("sha256:a").await.expect("forgetting again");
    assert_eq!(blobs.get("sha256:a").await.expect("reading"), None);
}

fn large_blob() -> Bytes {
    (0..3_000_000_u32).map(|n| n as u8).collect::<Vec<_>>().into()
}

async fn loaded<S: Store>(store: &mut S) -> (Revision, Vec<Record>) {
    let mut records = vec![];
    let revision = store.load(&mut |record| records.push(record)).await.expect("loading");
    records.sort_by(|a, b| a.key.cmp(&b.key));
    (revision, records)
}

fn put(revision: u64, name: &str, number: u64) -> Arc<Change> {
    let (revision, key) = (Revision(revision), key(name));
    let new = Some(Arc::new(Stored::new(key.clone(), revision, draft(name, number))));
    Arc::new(Change { revision, key, old: None, new })
}

fn delete(revision: u64, name: &str) -> Arc<Change> {
    let old = Some(Arc::new(Stored::new(key(name), Revision(1), draft(name, 0))));
    Arc::new(Change { revision: Revision(revision), key: key(name), old, new: None })
}

fn key(name: &str) -> Key {
    Key::new("things.example.com", "default", name)
}

fn draft(name: &str, number: u64) -> Draft {
    let metadata = json!({
        "name": name, "namespace": "default", "uid": format!("uid-{name}"),
        "labels": {"b": "2", "a": "1"}, "creationTimestamp": "2026-11-21T10:45:13Z",
    });
    let object = json!({"metadata": metadata, "spec": {"number": number, "text": "ü \" \n"}});
    Draft::encode(&resource(), &object, None).expect("the suite's own object")
}

/// A resource for tests of stores and states: namespaced, with `spec.number` as a selectable field and `spec.claims` as what
/// an object claims.
pub fn resource() -> Resource {
    Resource {
        id: "things.example.com".into(),
        is_custom: false,
        is_served: true,
        is_storage: true,
        list_kind: "ThingList".into(),
        scale: None,
        group: "example.com".into(),
        version: "v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
        singular: "thing".into(),
        short_names: vec![],
        categories: vec![],
        scope: Scope::Namespaced,
        verbs: vec![],
        subresources: vec![],
        schema: Arc::default(),
        schema_type: String::new(),
        fields_type: String::new(),
        has_generation: false,
        create_on_update: false,
        unconditional_update: true,
        deprecation: None,
        behaviour: Arc::new(Things),
    }
}

struct Things;

impl Kind for Things {
    fn fields(&self, object: &Value) -> Vec<Selectable> {
        vec![Selectable::new("spec.number", object["spec"]["number"].to_string())]
    }

    fn claims(&self, object: &Value) -> Vec<Claim> {
        let claims = object["spec"]["claims"].as_array().into_iter().flatten();
        claims.filter_map(Value::as_str).map(Claim::from).collect()
    }
}

/// An empty state and a ledger commit helper for tests: stages, publishes and returns the revisions given.
///
/// # Panics
/// When the commit's preconditions do not hold.
pub fn apply(state: &mut State, commit: crate::Commit) -> Vec<Revision> {
    let mut ledger = crate::Ledger::default();
    let changes = ledger.stage(state, commit).expect("the preconditions hold");
    let revisions = changes.iter().map(|change| change.revision).collect();
    changes.into_iter().for_each(|change| state.publish(change));
    revisions
}
