//! The manager and a controller that it has never seen; and those of the build where it matters what they look at.
#![allow(clippy::unwrap_used)] // a test may

mod adoption;
mod cluster;
mod time_to_live;

use berth_control::{Outcome, Work};
use berth_json::json;
use berth_pipeline::Verb;
use berth_state::Key;
use cluster::{Cluster, at};
use time_to_live::TimeToLive;

fn map(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

fn pod(name: &str) -> Key {
    Key::new("pods", "default", name)
}

#[test]
fn a_controller_is_woken_by_what_it_hears_of_and_looks_again_when_it_asked_to() {
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.label(&Key::new("secrets", "default", "s"), json!({}));
    assert_eq!(cluster.manager.next_due(at(0)), None, "it does not hear of secrets");
    cluster.label(&map("m"), json!({"example.dev/lasts": "60"}));
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
    cluster.label(&map("m"), json!({"example.dev/lasts": "60"}));
    cluster.label(&pod("p"), json!({"example.dev/needs": "m"}));
    assert_eq!(cluster.looked_at(at(70)), ["m"], "the pod needs it");
    cluster.label(&pod("other"), json!({}));
    assert!(cluster.look(at(70)).is_none(), "that pod needs none");
    cluster.label(&pod("p"), json!({}));
    let (work, outcome) = cluster.look(at(70)).unwrap();
    assert_eq!(outcome.steps.len(), 1, "the pod has let go of it");
    cluster.label(&pod("p"), json!({"example.dev/needs": "m"}));
    cluster.manager.done(&work, Ok(()), None, at(70));
    assert_eq!(cluster.looked_at(at(70)), ["m"], "what changes meanwhile is looked at afterwards");
    cluster.delete(&pod("p"));
    assert_eq!(cluster.look(at(70)).unwrap().1.steps.len(), 1, "the pod is gone");
}

#[test]
fn a_failure_is_tried_again_later_and_the_controller_learns_of_it() {
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.label(&map("m"), json!({"example.dev/lasts": "0"}));
    let told = |outcome: &Outcome| outcome.steps[0].succeeded.as_ref().unwrap().message.clone();
    let (work, outcome) = cluster.look(at(1)).unwrap();
    assert_eq!(told(&outcome), "Deleted m");
    cluster.manager.done(&work, Err("the disk is full".to_owned()), outcome.again_at, at(1));
    assert!(cluster.look(at(1)).is_none(), "not at once");
    let due = cluster.manager.next_due(at(1)).unwrap();
    let (work, outcome) = cluster.look(due).unwrap();
    assert_eq!(told(&outcome), "Deleted m at last: the disk is full");
    cluster.manager.done(&work, Ok(()), None, due);
    let (work, outcome) = cluster.look(due).expect("it can take back what it said of the failure");
    assert_eq!(told(&outcome), "Deleted m", "success forgets the failure");
    cluster.manager.done(&work, Ok(()), None, due);
    assert!(cluster.look(due).is_none());
}

#[test]
fn after_a_start_everything_is_looked_at_once() {
    let mut before = Cluster::new(vec![]);
    before.label(&map("m"), json!({}));
    before.label(&pod("p"), json!({"example.dev/needs": "n"}));
    assert_eq!(before.manager.next_due(at(0)), None, "nobody hears of it");
    let mut cluster = Cluster::new(vec![Box::new(TimeToLive)]);
    cluster.state = before.state;
    cluster.manager.resync(&cluster.state);
    assert_eq!(cluster.looked_at(at(0)), ["m", "n"]);
}

#[test]
fn work_of_a_controller_that_is_not_there_is_nothing() {
    let mut cluster = Cluster::new(vec![]);
    cluster.label(&map("m"), json!({}));
    let work = Work { controller: "time-to-live-controller", key: map("m") };
    assert!(cluster.manager.reconcile(&work, &cluster.state, at(0)).steps.is_empty());
}

#[test]
#[should_panic(expected = "time-to-live-controller is there twice")]
fn two_controllers_cannot_have_one_name() {
    Cluster::new(vec![Box::new(TimeToLive), Box::new(TimeToLive)]);
}
