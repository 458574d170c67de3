//! The manager and a controller that it has never seen.
#![allow(clippy::unwrap_used)] // a test may

mod time_to_live;

use std::sync::Arc;

use berth_api::{Timestamp, kinds};
use berth_control::{Config, Controller, Manager, Outcome, Work};
use berth_json::{Value, json};
use berth_pipeline::{Kinds, Verb};
use berth_state::{Action, Commit, Draft, Expect, Key, Ledger, Op, State};
use time_to_live::TimeToLive;

const CREATED: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn at(seconds: i64) -> Timestamp {
    CREATED.plus_millis(seconds * 1000)
}

/// A cluster of which one controller hears.
struct Cluster {
    state: State,
    manager: Manager,
}

impl Cluster {
    fn new(controllers: Vec<Box<dyn Controller>>) -> Self {
        let kinds = Arc::new(Kinds::new(&kinds::catalogue()));
        let config = Config { kinds, ca_certificate: String::new() };
        Self { state: State::default(), manager: Manager::with(controllers, config) }
    }

    fn commit(&mut self, op: Op) {
        let changes = Ledger::default().stage(&self.state, Commit { ops: vec![op], ..Commit::default() });
        for change in changes.unwrap() {
            self.state.publish(change.clone());
            self.manager.on_change(&self.state, &change);
        }
    }

    fn put(&mut self, key: &Key, labels: Value) {
        let catalogue = kinds::catalogue();
        let metadata = json!({
            "name": &*key.name, "namespace": &*key.namespace, "uid": format!("uid-{key}"), "labels": labels,
            "creationTimestamp": CREATED.rfc3339(),
        });
        let object = json!({ "metadata": metadata });
        let draft = Draft::encode(catalogue.named(&key.resource).unwrap(), &object, None).unwrap();
        let expect = self.state.get(key).map_or(Expect::Absent, |stored| Expect::At(stored.revision));
        self.commit(Op { key: key.clone(), expect, action: Action::Put(draft) });
    }

    fn delete(&mut self, key: &Key) {
        let expect = Expect::At(self.state.get(key).unwrap().revision);
        self.commit(Op { key: key.clone(), expect, action: Action::Delete });
    }

    /// The next work, and what its controller wants done.
    fn look(&mut self, now: Timestamp) -> Option<(Work, Outcome)> {
        let work = self.manager.next(now)?;
        let outcome = self.manager.reconcile(&work, &self.state, now);
        Some((work, outcome))
    }

    /// All work that is due is looked at and nothing of it done; what was looked at, by name.
    fn looked_at(&mut self, now: Timestamp) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((work, outcome)) = self.look(now) {
            assert!(outcome.steps.is_empty(), "{work:?}");
            self.manager.done(&work, Ok(()), outcome.again_at, now);
            names.push(work.key.name.to_string());
        }
        names
    }
}

fn map(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

fn pod(name: &str) -> Key {
    Key::new("pods", "default", name)
}

#[test]
fn a_controller_is_woken_by_what_it_hears_of_and_looks_again_when_it_asked_to() {
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.put(&Key::new("secrets", "default", "s"), json!({}));
    assert_eq!(cluster.manager.next_due(at(0)), None, "it does not hear of secrets");
    cluster.put(&map("m"), json!({"example.dev/lasts": "60"}));
    assert_eq!(cluster.looked_at(at(1)), ["m"]);
    assert_eq!(cluster.manager.next_due(at(1)), Some(at(60)));
    assert!(cluster.look(at(59)).is_none());
    let (work, outcome) = cluster.look(at(60)).unwrap();
    assert_eq!((work.controller, &work.key), ("time-to-live-controller", &map("m")));
    let [step] = &outcome.steps[..] else { panic!("one step") };
    assert_eq!((step.request.verb, step.request.name.as_str()), (Verb::Delete, "m"));
    assert_eq!(step.request.options.field_manager, "time-to-live-controller");
    cluster.delete(&map("m"));
    cluster.manager.done(&work, Ok(()), outcome.again_at, at(60));
    assert_eq!(cluster.looked_at(at(61)), ["m"], "its going woke it, and nothing is there to be looked at");
    assert_eq!(cluster.manager.next_due(at(61)), None);
}

#[test]
fn a_change_of_another_object_wakes_it_too() {
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.put(&map("m"), json!({"example.dev/lasts": "60"}));
    cluster.put(&pod("p"), json!({"example.dev/needs": "m"}));
    assert_eq!(cluster.looked_at(at(70)), ["m"], "the pod needs it");
    cluster.put(&pod("other"), json!({}));
    assert!(cluster.look(at(70)).is_none(), "that pod needs none");
    cluster.put(&pod("p"), json!({}));
    let (work, outcome) = cluster.look(at(70)).unwrap();
    assert_eq!(outcome.steps.len(), 1, "the pod has let go of it");
    cluster.put(&pod("p"), json!({"example.dev/needs": "m"}));
    cluster.manager.done(&work, Ok(()), None, at(70));
    assert_eq!(cluster.looked_at(at(70)), ["m"], "what changes meanwhile is looked at afterwards");
    cluster.delete(&pod("p"));
    assert_eq!(cluster.look(at(70)).unwrap().1.steps.len(), 1, "the pod is gone");
}

#[test]
fn a_failure_is_tried_again_later_and_the_controller_learns_of_it() {
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.put(&map("m"), json!({"example.dev/lasts": "0"}));
    let told = |outcome: &Outcome| outcome.steps[0].succeeded.as_ref().unwrap().message.clone();
    let (work, outcome) = cluster.look(at(1)).unwrap();
    assert_eq!(told(&outcome), "Deleted m");
    cluster.manager.done(&work, Err("the disk is full".to_owned()), outcome.again_at, at(1));
    assert!(cluster.look(at(1)).is_none(), "not at once");
    let due = cluster.manager.next_due(at(1)).unwrap();
    let (work, outcome) = cluster.look(due).unwrap();
    assert_eq!(told(&outcome), "Deleted m at last: the disk is full");
    cluster.manager.done(&work, Ok(()), None, due);
    cluster.put(&map("m"), json!({"example.dev/lasts": "0"}));
    assert_eq!(told(&cluster.look(due).unwrap().1), "Deleted m", "success forgets the failure");
}

#[test]
fn after_a_start_everything_is_looked_at_once() {
    let mut before = Cluster::new(vec![]);
    before.put(&map("m"), json!({}));
    before.put(&pod("p"), json!({"example.dev/needs": "n"}));
    assert_eq!(before.manager.next_due(at(0)), None, "nobody hears of it");
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.state = before.state;
    cluster.manager.resync(&cluster.state);
    assert_eq!(cluster.looked_at(at(0)), ["m", "n"]);
}

#[test]
fn work_of_a_controller_that_is_not_there_is_nothing() {
    let mut cluster = Cluster::new(vec![]);
    cluster.put(&map("m"), json!({}));
    let work = Work { controller: "time-to-live-controller", key: map("m") };
    assert!(cluster.manager.reconcile(&work, &cluster.state, at(0)).steps.is_empty());
}

#[test]
#[should_panic(expected = "time-to-live-controller is there twice")]
fn two_controllers_cannot_have_one_name() {
    Cluster::new(vec![Box::new(TimeToLive), Box::new(TimeToLive)]);
}
