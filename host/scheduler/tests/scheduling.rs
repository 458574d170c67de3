//! Decisions on small clusters, written as text: `node a cpu=4`, `pod p cpu=1`.
#![allow(clippy::unwrap_used)] // a test may

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::{Catalogue, Timestamp, kinds};
use berth_json::{Value, json};
use berth_scheduler::policy::{
    Action, Ctx, Feed, Manifest, NO_SLOT, PlanQuestion, Policy, PolicyError, REFUSED, ScoreQuestion, Scores,
    Verb,
};
use berth_scheduler::{Failover, LeastAllocated, Scheduler};
use berth_state::{Change, Draft, Key, Revision, State, Stored};

/// A scheduler and a small world that answers it.
struct World {
    catalogue: Catalogue,
    scheduler: Scheduler,
    objects: BTreeMap<Key, Arc<Stored>>,
    revision: u64,
    now: Timestamp,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Timestamp::from_seconds(1_800_000_000);
        let scheduler = Scheduler::new(seed);
        Self { catalogue: kinds::catalogue(), scheduler, objects: BTreeMap::new(), revision: 0, now }
    }

    fn put(&mut self, resource: &str, namespace: &str, name: &str, mut object: Value) {
        let key = Key::new(resource, namespace, name);
        object["metadata"]["name"] = name.into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{name}").into();
        }
        object["metadata"]["creationTimestamp"] = self.now.rfc3339().into();
        let draft = Draft::encode(self.catalogue.named(resource).unwrap(), &object, None).unwrap();
        self.revision += 1;
        let new = Arc::new(Stored::new(key.clone(), Revision(self.revision), draft));
        let old = self.objects.insert(key.clone(), new.clone());
        self.feed(Change { revision: new.revision, key, old, new: Some(new.clone()) });
    }

    fn delete(&mut self, resource: &str, namespace: &str, name: &str) {
        let key = Key::new(resource, namespace, name);
        let old = self.objects.remove(&key);
        self.revision += 1;
        self.feed(Change { revision: Revision(self.revision), key, old, new: None });
    }

    fn feed(&mut self, change: Change) {
        self.scheduler.on_change(&change, self.now);
    }

    fn node(&mut self, name: &str, cpu: &str) {
        self.node_with(name, cpu, json!({}), json!({}));
    }

    fn node_with(&mut self, name: &str, cpu: &str, labels: Value, spec: Value) {
        let allocatable = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let node =
            json!({"metadata": {"labels": labels}, "spec": spec, "status": {"allocatable": allocatable}});
        self.put("nodes", "", name, node);
    }

    fn pod(&mut self, name: &str, cpu: &str) {
        self.pod_with(name, cpu, json!({}), json!({}));
    }

    fn pod_with(&mut self, name: &str, cpu: &str, metadata: Value, more: Value) {
        let mut spec = json!({
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.put("pods", "default", name, json!({"metadata": metadata, "spec": spec}));
    }

    /// Decides, binds what was placed, and returns `pod→node` and `pod: why not`, sorted.
    fn round(&mut self) -> Vec<String> {
        let decisions = self.scheduler.decide(self.now, 1_000);
        let mut said: Vec<String> =
            decisions.unplaced.iter().map(|u| format!("{}: {}", u.pod.name, u.message)).collect();
        said.extend(
            decisions.failures.iter().map(|f| format!("{} {}: {}", f.profile, f.installation, f.error)),
        );
        said.extend(decisions.evictions.iter().map(|e| format!("evict {}", e.pod.name)));
        said.extend(decisions.nominations.iter().map(|n| format!("{} waits for {}", n.pod.name, n.node)));
        for placement in decisions.placements {
            said.push(format!("{}→{}", placement.pod.name, placement.node));
            self.bind(&placement.pod, &placement.node);
        }
        said.sort();
        said
    }

    fn bind(&mut self, pod: &Key, node: &str) {
        let resource = self.catalogue.named("pods").unwrap().clone();
        let mut object = self.objects[pod].to_value(&resource);
        object["spec"]["nodeName"] = node.into();
        self.put("pods", "default", &pod.name, object);
    }

    fn wait(&mut self, seconds: i64) {
        self.now = self.now.plus_millis(seconds * 1000);
    }
}

#[test]
fn pods_spread_over_the_nodes_that_have_room() {
    let mut world = World::new(1);
    world.node("a", "2");
    world.node("b", "1");
    for pod in ["p", "q", "r", "s"] {
        world.pod(pod, "1");
    }
    let said = world.round();
    assert_eq!(said.iter().filter(|s| s.contains('→')).count(), 3);
    assert!(said.iter().any(|s| s == "s: 0/2 nodes are available: 2 Insufficient cpu."), "{said:?}");
}

#[test]
fn each_hard_constraint_is_named() {
    let toleration = json!([{"key": "dedicated", "operator": "Exists"}]);
    let affinity = |operator: &str, values: Value| {
        let terms = json!([{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}]);
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]}]});
    for (pod, expected) in [
        (json!({}), "p→plain"),
        (json!({"nodeSelector": {"zone": "x"}}), "p→plain"),
        (json!({"nodeSelector": {"zone": "y"}, "tolerations": toleration}), "p→tainted"),
        (
            json!({"nodeSelector": {"zone": "y"}}),
            "p: 0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.",
        ),
        (affinity("In", json!(["x", "z"])), "p→plain"),
        (affinity("NotIn", json!(["y"])), "p→plain"),
        (
            affinity("DoesNotExist", json!([])),
            "p: 0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.",
        ),
        (
            port,
            "p: 0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.",
        ),
        (
            json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}),
            "p: 0/3 nodes are available: 1 Insufficient example.com/gpu, 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.",
        ),
    ] {
        let mut world = World::new(1);
        world.node_with("plain", "4", json!({"zone": "x"}), json!({}));
        let taints = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
        world.node_with("tainted", "4", json!({"zone": "y"}), json!({"taints": taints}));
        world.node_with("cordoned", "4", json!({"zone": "x"}), json!({"unschedulable": true}));
        let web = json!({"containers": [{"name": "c", "ports": [{"hostPort": 80, "protocol": "TCP"}]}], "nodeName": "plain"});
        world.pod_with("web", "0", json!({}), web);
        world.pod_with("p", "1", json!({}), pod.clone());
        assert_eq!(world.round(), [expected], "{pod}");
    }
}

#[test]
fn an_unschedulable_pod_is_tried_again_when_room_appears() {
    let mut world = World::new(1);
    world.node("a", "1");
    world.pod("p", "1");
    assert_eq!(world.round(), ["p→a"]);
    world.pod("q", "1");
    assert_eq!(world.round(), ["q: 0/1 nodes are available: 1 Insufficient cpu."]);
    world.wait(20);
    assert_eq!(world.round(), Vec::<String>::new(), "nothing changed, nothing is said twice");
    world.delete("pods", "default", "p");
    assert_eq!(world.round(), ["q→a"]);
}

#[test]
fn a_refused_binding_gives_its_room_back() {
    let mut world = World::new(1);
    world.node("a", "1");
    world.pod("p", "1");
    let decided = world.scheduler.decide(world.now, 10);
    let placement = &decided.placements[0];
    world.scheduler.refused(&placement.pod, &placement.uid, world.now);
    assert!(world.round().is_empty(), "it backs off");
    world.wait(2);
    assert_eq!(world.round(), ["p→a"]);
}

#[test]
fn a_refusal_is_of_one_pod_not_of_the_next_with_its_name() {
    let mut world = World::new(1);
    world.node("a", "1");
    world.pod("p", "1");
    let first = world.scheduler.decide(world.now, 10).placements.remove(0);
    world.delete("pods", "default", "p");
    world.pod_with("p", "1", json!({"uid": "another"}), json!({}));
    let second = world.scheduler.decide(world.now, 10).placements.remove(0);
    world.scheduler.refused(&first.pod, &first.uid, world.now);
    world.pod("q", "1");
    assert_eq!(world.round(), ["q: 0/1 nodes are available: 1 Insufficient cpu."], "p keeps its room");
    world.bind(&second.pod, "a");
    assert_eq!(world.scheduler.pending(), 1);
}

#[test]
fn a_refused_pod_is_not_lost_with_its_node() {
    for back in [false, true] {
        let mut world = World::new(1);
        world.node("a", "1");
        world.pod("p", "1");
        let placement = world.scheduler.decide(world.now, 10).placements.remove(0);
        world.delete("nodes", "", "a");
        if back {
            world.node("a", "1");
        }
        world.scheduler.refused(&placement.pod, &placement.uid, world.now);
        world.wait(2);
        world.node("a", "1");
        assert_eq!(world.round(), ["p→a"]);
    }
}

#[test]
fn a_scheduler_that_begins_anew_keeps_the_room_of_bindings_under_way() {
    let mut world = World::new(1);
    world.node("a", "1");
    world.pod("p", "1");
    let placement = world.scheduler.decide(world.now, 10).placements.remove(0);
    let (mirror, _) = world.scheduler.prepare(LeastAllocated::default().manifest());
    let state = State::restored(Revision(world.revision), world.objects.values().cloned());
    let before = std::mem::replace(&mut world.scheduler, Scheduler::new(1));
    world.scheduler = before.restarted(&state, world.now);
    world.scheduler.install("default-scheduler", 1, Box::new(LeastAllocated::default()), mirror);
    world.pod("q", "1");
    assert_eq!(world.round(), ["q: 0/1 nodes are available: 1 Insufficient cpu."], "p keeps its room");
    world.scheduler.refused(&placement.pod, &placement.uid, world.now);
    world.wait(2);
    assert_eq!(world.round().iter().filter(|said| said.contains('→')).count(), 1);
}

#[test]
fn higher_priority_first_and_pods_of_other_schedulers_never() {
    let mut world = World::new(1);
    world.node("a", "1");
    world.pod("low", "1");
    world.pod_with("high", "1", json!({}), json!({"priority": 100}));
    world.pod_with("other", "1", json!({}), json!({"schedulerName": "someone-else", "priority": 1000}));
    let said = world.round();
    assert_eq!(said, ["high→a", "low: 0/1 nodes are available: 1 Insufficient cpu."]);
}

/// Keeping ratings must not change a decision: a policy that is asked about every node every time decides the same.
#[test]
fn kept_ratings_decide_like_fresh_ones() {
    struct Fresh(LeastAllocated, Manifest);
    impl Policy for Fresh {
        fn manifest(&self) -> &Manifest {
            &self.1
        }
        fn feed(&mut self, feed: &Feed) -> Result<(), PolicyError> {
            self.0.feed(feed)
        }
        fn score(&mut self, q: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
            self.0.score(q, scores)
        }
        fn plan(&mut self, q: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
            self.0.plan(q, actions)
        }
    }
    for seed in 0..20 {
        let (mut kept, mut fresh) = (World::new(seed), World::new(seed));
        let manifest =
            Manifest { scores: Scores::ClusterWide, ..LeastAllocated::default().manifest().clone() };
        let (mirror, feed) = fresh.scheduler.prepare(&manifest);
        let mut policy = Fresh(LeastAllocated::default(), manifest);
        policy.feed(&feed).unwrap();
        fresh.scheduler.install("default-scheduler", 1, Box::new(policy), mirror);
        let mut random = seed;
        for step in 0..200 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (what, which) = (random >> 60, (random >> 40) % 12);
            for world in [&mut kept, &mut fresh] {
                match what {
                    0..=2 => world.node(&format!("n{which}"), &format!("{}", 1 + which % 5)),
                    3 => world.delete("nodes", "", &format!("n{which}")),
                    4 => world.delete("pods", "default", &format!("p{}", step / 2)),
                    _ => world.pod(&format!("p{step}"), &format!("{}m", 100 * (1 + which % 4))),
                }
                world.wait(1);
            }
            assert_eq!(kept.round(), fresh.round(), "seed {seed}, step {step}");
        }
    }
}

/// A policy of the tests: plans what its function says.
struct Planner(Manifest, fn(&PlanQuestion<'_>) -> Result<Vec<Action>, PolicyError>);

impl Policy for Planner {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    fn feed(&mut self, _: &Feed) -> Result<(), PolicyError> {
        Ok(())
    }
    fn score(&mut self, _: &ScoreQuestion<'_>, _: &mut Vec<i32>) -> Result<(), PolicyError> {
        Err(PolicyError::Trap("never asked".to_owned()))
    }
    fn plan(&mut self, question: &PlanQuestion<'_>, actions: &mut Vec<Action>) -> Result<(), PolicyError> {
        *actions = (self.1)(question)?;
        Ok(())
    }
}

fn with_planner(plan: fn(&PlanQuestion<'_>) -> Result<Vec<Action>, PolicyError>) -> World {
    let mut world = World::new(1);
    let manifest = Manifest { name: "planner".to_owned(), plans: true, ..Manifest::default() };
    let (mirror, _) = world.scheduler.prepare(&manifest);
    world.scheduler.install("default-scheduler", 1, Box::new(Planner(manifest, plan)), mirror);
    world.node("a", "1");
    world.node("b", "1");
    world
}

fn action(verb: Verb, pod: u64, slot: u32, transaction: u32) -> Action {
    Action { verb, pod, slot, units: vec![], reason: 0, transaction }
}

#[test]
fn a_transaction_is_carried_out_whole_or_not_at_all() {
    let mut world = with_planner(|question| {
        // All pods on slot 0: the second one does not fit.
        Ok(question.pods.iter().map(|pod| action(Verb::Place, pod.id, 0, 7)).collect())
    });
    world.pod("p", "1");
    world.pod("q", "1");
    let said = world.round();
    assert_eq!(said.len(), 2);
    assert!(
        said.iter().all(|s| s.contains("plan was refused: pods/default/q does not fit on node a")),
        "{said:?}"
    );
    world.delete("pods", "default", "q");
    world.wait(2);
    assert_eq!(world.round(), ["p→a"], "nothing of the refused plan was left behind");
}

#[test]
fn evictions_need_a_pod_of_higher_priority() {
    let preempt: fn(&PlanQuestion<'_>) -> Result<Vec<Action>, PolicyError> = |question| {
        assert!(question.pods.iter().all(|pod| pod.slot == NO_SLOT));
        let Ctx { now_ms, .. } = question.ctx;
        assert!(now_ms > 0);
        let mut actions: Vec<_> =
            question.pods.iter().map(|pod| action(Verb::Nominate, pod.id, 0, 1)).collect();
        actions.push(action(Verb::Evict, 1, NO_SLOT, 1));
        Ok(actions)
    };
    for (priority, expected) in [(10, vec!["evict low", "high waits for a"]), (0, vec![])] {
        let mut world = with_planner(preempt);
        world.pod_with("low", "1", json!({}), json!({"nodeName": "a"}));
        world.pod_with("high", "1", json!({}), json!({"priority": priority}));
        let said = world.round();
        if priority == 10 {
            assert_eq!(said, expected);
        } else {
            assert!(said[0].contains("would be evicted for no pod of higher priority"), "{said:?}");
        }
    }
}

#[test]
fn a_policy_that_traps_is_put_aside_and_pods_go_on() {
    let trap: fn(&PlanQuestion<'_>) -> Result<Vec<Action>, PolicyError> =
        |_| Err(PolicyError::Trap("unreachable executed".to_owned()));
    let mut world = with_planner(trap);
    world.pod("p", "1");
    let said = world.round();
    assert_eq!(said[0], "default-scheduler 1: the policy trapped: unreachable executed");
    assert!(said[1].starts_with("p→"), "{said:?}");

    let mut world = with_planner(trap);
    world.scheduler.set_failover("default-scheduler", Failover::Hold);
    world.pod("p", "1");
    let said = world.round();
    assert!(said[1].starts_with("p: the scheduling policy of this pod's profile does not work"), "{said:?}");
}

#[test]
fn an_unusable_plan_leaves_its_pods_to_the_failover_and_the_policy_in_its_place() {
    let nonsense: fn(&PlanQuestion<'_>) -> Result<Vec<Action>, PolicyError> =
        |question| Ok(question.pods.iter().map(|pod| action(Verb::Place, pod.id, 1 << 30, 0)).collect());
    let failed = "default-scheduler 1: the policy gave an unusable answer: slot 1073741824 does not exist";
    let mut world = with_planner(nonsense);
    world.pod("p", "1");
    let said = world.round();
    assert_eq!(said[0], failed);
    assert!(said[1].starts_with("p→"), "{said:?}");
    world.pod("q", "1");
    assert_eq!(world.round()[0], failed, "it is asked again");

    let mut world = with_planner(nonsense);
    world.scheduler.set_failover("default-scheduler", Failover::Hold);
    world.pod("p", "1");
    let said = world.round();
    let told =
        "p: the scheduling policy of this pod's profile does not work: the policy gave an unusable answer";
    assert!(said[1].starts_with(told), "{said:?}");
}

#[test]
fn a_reason_that_the_manifest_does_not_have_is_an_unusable_answer() {
    let mut world = with_planner(|q| {
        Ok(q.pods.iter().map(|p| Action { reason: 1, ..action(Verb::Hold, p.id, 0, 0) }).collect())
    });
    world.pod("p", "1");
    let said = world.round();
    assert!(said[0].ends_with("the policy gave an unusable answer: reason 1 of 0, for pod 1"), "{said:?}");
}

/// A policy of the tests: refuses every node.
struct Refuser(Manifest);

impl Policy for Refuser {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    fn feed(&mut self, _: &Feed) -> Result<(), PolicyError> {
        Ok(())
    }
    fn score(&mut self, question: &ScoreQuestion<'_>, scores: &mut Vec<i32>) -> Result<(), PolicyError> {
        *scores = vec![REFUSED; question.candidates.len()];
        Ok(())
    }
    fn plan(&mut self, _: &PlanQuestion<'_>, _: &mut Vec<Action>) -> Result<(), PolicyError> {
        Err(PolicyError::BadAnswer("never asked".to_owned()))
    }
}

#[test]
fn pods_that_a_policy_refused_are_tried_again_when_another_one_decides() {
    let mut world = World::new(1);
    world.node("a", "1");
    let manifest = Manifest { scores: Scores::NodeLocal, ..Manifest::default() };
    let (mirror, _) = world.scheduler.prepare(&manifest);
    world.scheduler.install("default-scheduler", 7, Box::new(Refuser(manifest)), mirror);
    world.pod("p", "1");
    let refused = "p: 0/1 nodes are available: the scheduling policy refused all 1 that fit.";
    assert_eq!(world.round(), [refused]);
    assert!(
        world.scheduler.uninstall("default-scheduler", 6).is_none(),
        "an earlier installation is gone already"
    );
    world.wait(60);
    assert_eq!(world.round(), [""; 0], "nothing has changed");
    assert!(world.scheduler.uninstall("default-scheduler", 7).is_some());
    world.scheduler.reconsider(world.now);
    assert_eq!(world.round(), ["p→a"]);
}

#[test]
fn a_pod_that_a_plan_rejects_hears_whose_decision_it_was() {
    for (verb, words) in [(Verb::Reject, "rejected this pod."), (Verb::Hold, "left this pod waiting.")] {
        let mut world = with_planner(match verb {
            Verb::Reject => |q| Ok(q.pods.iter().map(|pod| action(Verb::Reject, pod.id, 0, 0)).collect()),
            _ => |q| Ok(q.pods.iter().map(|pod| action(Verb::Hold, pod.id, 0, 0)).collect()),
        });
        world.pod("p", "1");
        assert_eq!(world.round(), [format!("p: the scheduling policy {words}")]);
        world.pod("q", "100");
        assert_eq!(
            world.round(),
            ["q: 0/2 nodes are available: 2 Insufficient cpu."],
            "here it is the nodes'"
        );
    }
}

#[test]
fn pods_that_came_before_their_profile_are_placed_when_it_comes() {
    let mut world = World::new(1);
    world.node("a", "4");
    let mine = || json!({"schedulerName": "mine"});
    world.pod_with("early", "1", json!({}), mine());
    world.pod_with("bound", "1", json!({}), json!({"schedulerName": "mine", "nodeName": "a"}));
    world.pod_with("other", "1", json!({}), json!({"schedulerName": "another"}));
    assert_eq!(world.round(), [""; 0]);
    // Before its plugin is there, the failover serves a profile.
    world.scheduler.set_failover("mine", Failover::Hold);
    let said = world.round();
    assert_eq!(said, ["early: no scheduling policy serves this pod's profile, which lets its pods wait"]);
    let (mirror, feed) = world.scheduler.prepare(LeastAllocated::default().manifest());
    let mut policy = LeastAllocated::default();
    policy.feed(&feed).unwrap();
    world.scheduler.install("mine", 1, Box::new(policy), mirror);
    world.wait(2);
    assert_eq!(world.round(), ["early→a"]);
}
