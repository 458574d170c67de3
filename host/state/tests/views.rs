//! The typed view of an object: made once for a version, and shared.
#![allow(clippy::unwrap_used)] // a test may

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_api::views::{Node, View};
use berth_json::json;
use berth_state::conformance::{apply, resource};
use berth_state::{Action, Commit, Draft, Expect, Key, Op, Revision, State, Stored};
use serde::{Deserialize, Deserializer};

/// How often a [`Thing`] was read.
static READ: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, PartialEq)]
struct Thing {
    number: u64,
}

#[derive(Deserialize)]
struct Wire {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    number: u64,
}

impl<'de> Deserialize<'de> for Thing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number: Wire::deserialize(deserializer)?.spec.number })
    }
}

impl View for Thing {
    const RESOURCES: &'static [&'static str] = &["things.example.com"];
}

fn key() -> Key {
    Key::new("things.example.com", "default", "a")
}

fn put(state: &mut State, number: i64, expect: Expect) {
    let object = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"number": number}});
    let draft = Draft::encode(&resource(), &object, None).unwrap();
    let ops = vec![Op { key: key(), expect, action: Action::Put(draft) }];
    apply(state, Commit { ops, ..Commit::default() });
}

/// The only test that reads things: the count is everybody's.
#[test]
fn a_version_is_read_once_whoever_asks() {
    let mut state = State::default();
    put(&mut state, 1, Expect::Absent);
    assert_eq!(READ.load(Ordering::Relaxed), 0, "nobody has asked");
    let others = state.clone();
    let first = state.get(&key()).unwrap().clone();
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| assert_eq!(others.get(&key()).unwrap().view(), Some(&Thing { number: 1 })));
        }
    });
    assert_eq!(first.view(), Some(&Thing { number: 1 }));
    assert_eq!(READ.load(Ordering::Relaxed), 1, "clones of the state share it");

    put(&mut state, 2, Expect::At(Revision(1)));
    assert_eq!(state.get(&key()).unwrap().view(), Some(&Thing { number: 2 }));
    assert_eq!(first.view(), Some(&Thing { number: 1 }), "a version stays what it was");
    assert_eq!(READ.load(Ordering::Relaxed), 2);

    put(&mut state, -3, Expect::At(Revision(2)));
    let broken = state.get(&key()).unwrap();
    assert_eq!((broken.view::<Thing>(), broken.view::<Thing>()), (None, None), "it is no thing");
    assert_eq!(READ.load(Ordering::Relaxed), 3, "nor is that found out twice");
    assert!(broken.view::<Node>().is_none(), "it is no node either");

    let copy = Stored::clone(&first);
    assert_eq!(copy, *first, "whether the view is made makes no difference");
    assert_eq!(copy.view(), Some(&Thing { number: 1 }));
    assert_eq!(Arc::new(copy).revision, first.revision);
}
