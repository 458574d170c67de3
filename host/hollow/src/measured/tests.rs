use berth_api::kinds;
use berth_json::{Value, json};
use berth_pipeline::{Body, Request};
use berth_state::{Action, Commit, Draft, Expect, Ledger, Op};

use super::*;
use crate::Shape;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

struct World {
    state: State,
    nodes: HollowNodes,
}

impl World {
    fn put(&mut self, key: &Key, mut object: Value) {
        object["metadata"]["name"] = (&*key.name).into();
        object["metadata"]["namespace"] = (&*key.namespace).into();
        object["metadata"]["uid"] = (&*key.name).into();
        object["metadata"]["creationTimestamp"] = at(0).rfc3339().into();
        let draft = Draft::encode(kinds::catalogue().named(&key.resource).unwrap(), &object, None).unwrap();
        let expect = self.state.get(key).map_or(Expect::Absent, |stored| Expect::At(stored.revision));
        let ops = vec![Op { key: key.clone(), expect, action: Action::Put(draft) }];
        for change in Ledger::default().stage(&self.state, Commit { ops, ..Commit::default() }).unwrap() {
            self.state.publish(change.clone());
            self.nodes.on_change(&change);
        }
    }

    /// A pod of the ReplicaSet `web`, ready since 100 s, with these annotations.
    fn pod(&mut self, name: &str, node: &str, phase: &str, annotations: Value) {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true});
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": at(100).rfc3339()});
        let pod = json!({
            "metadata": {"annotations": annotations, "ownerReferences": [owner]},
            "spec": {"nodeName": node, "containers": [{"name": "c"}]},
            "status": {"phase": phase, "conditions": [ready]},
        });
        self.put(&Key::new("pods", "default", name), pod);
    }

    fn step(&mut self) -> Vec<Request> {
        self.nodes.step(&self.state, at(0), 1000)
    }
}

fn world() -> World {
    let mut nodes = HollowNodes::new(Arc::new(kinds::catalogue()));
    for name in ["n1", "n2", "silent"] {
        nodes.add(name, Shape::default(), at(0), 0);
    }
    let mut world = World { state: State::default(), nodes };
    world.put(&Key::new("replicasets.apps", "default", "web"), json!({"metadata": {}}));
    world.step();
    let World { state, nodes } = &mut world;
    nodes.set_silent("silent", true, state, at(0));
    world
}

#[test]
fn nodes_use_what_their_pods_use_and_pods_share_what_is_shared() {
    let mut world = world();
    let shared =
        || json!({"berth.dev/usage-cpu-shared": "0=0; 300=9", "berth.dev/usage-memory": "0=1; 100=2"});
    world.pod("a", "n1", "Running", shared());
    world.pod("b", "n1", "Running", shared());
    // It runs, so that it has its part, but nobody says so.
    world.pod("c", "silent", "Running", shared());
    world.pod("d", "n1", "Pending", shared());
    world.pod("e", "n2", "Succeeded", shared());
    world.pod("f", "elsewhere", "Failed", shared());
    let loads = world.nodes.usage(&world.state, at(200), 15_000);
    let seen: Vec<_> = loads
        .iter()
        .map(|load| {
            let pods: Vec<_> =
                load.pods.iter().map(|(uid, pod)| (&**uid, pod.containers[0].cpu_nanos)).collect();
            (&*load.name, load.usage.cpu_nanos, load.usage.memory_bytes, pods)
        })
        .collect();
    // The controller is there for 200 s, which is 6 processors; the pods for 100 s.
    let part = 2_000_000_000;
    assert_eq!(seen, [("n1", 2 * part, 4, vec![("a", part), ("b", part)]), ("n2", 0, 0, vec![])]);
}

#[test]
fn what_is_wrong_is_told_once_and_again_when_it_is_wrong_otherwise() {
    let mut world = world();
    let mut told = |text: &str| -> Vec<String> {
        world.pod("p", "n1", "Running", json!({"berth.dev/usage-cpu": text}));
        let requests = world.step().into_iter().filter(|request| &*request.resource.id == "events");
        let message = |request: Request| match request.body {
            Body::Object(event) => event["message"].as_str().unwrap_or_default().to_owned(),
            _ => "no event".to_owned(),
        };
        requests.map(message).collect()
    };
    let wrong = |text: &str| {
        format!(
            "this simulated pod reports no usage: annotation berth.dev/usage-cpu: {text:?} is no quantity"
        )
    };
    assert_eq!(told("much"), [wrong("much")]);
    assert_eq!(told("much"), [] as [String; 0]);
    assert_eq!(told("more"), [wrong("more")]);
    assert_eq!(told("1"), [] as [String; 0]);
    assert_eq!(world.nodes.usage(&world.state, at(200), 15_000)[0].usage.cpu_nanos, 1_000_000_000);
}
