use super::*;

fn pod(id: u64) -> Pod {
    Pod { id, since_ms: 0, class: 1, group: NO_GROUP, priority: 0, slot: NO_SLOT, flags: PodFlags::default() }
}

fn action(verb: Verb, pod: u64, slot: u32) -> Action {
    Action { verb, pod, slot, units: Vec::new(), reason: 0, transaction: 0 }
}

/// A plan for pods 1 and 2 over 64 slots.
fn plan(actions: &[Action]) -> Result<(), PolicyError> {
    let pods = [pod(1), pod(2)];
    let question = PlanQuestion {
        ctx: Ctx::default(),
        pods: &pods,
        classes: &[1],
        words: 1,
        feasible: &[u64::MAX],
        eligible: &[u64::MAX],
        columns: &[],
    };
    check_plan(&question, actions)
}

#[test]
fn scores_match_their_candidates() {
    let question = ScoreQuestion { ctx: Ctx::default(), class: 1, candidates: &[4, 7], columns: &[] };
    assert_eq!(check_scores(&question, &[1, REFUSED]), Ok(()));
    assert_eq!(
        check_scores(&question, &[1]),
        Err(PolicyError::BadAnswer("1 scores for 2 candidates".to_owned()))
    );
}

#[test]
fn plans_keep_to_their_batch() {
    assert_eq!(plan(&[action(Verb::Place, 1, 63), action(Verb::Hold, 2, 99)]), Ok(()));
    assert_eq!(plan(&[action(Verb::Evict, 77, 0), action(Verb::Nominate, 1, 3)]), Ok(()));
    let refused = |actions: &[Action], why: &str| {
        assert_eq!(plan(actions), Err(PolicyError::BadAnswer(why.to_owned())));
    };
    refused(&[action(Verb::Place, 1, 64)], "slot 64 does not exist");
    refused(&[action(Verb::Place, 1, 0), action(Verb::Reject, 1, 0)], "two actions for pod 1");
    refused(&[action(Verb::Place, 3, 0)], "it decides about pod 3, which was not its to choose");
    refused(&[action(Verb::Evict, 1, 0)], "it evicts pod 1, which was not its to choose");
    let flood: Vec<Action> = (0..200).map(|i| action(Verb::Evict, 100 + i, 0)).collect();
    refused(&flood, "200 actions for 2 pods");
}

#[test]
fn manifests_are_checked() {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let good = Manifest {
        name: "n".to_owned(),
        scores: Scores::NodeLocal,
        dimensions: names(&["cpu", "*"]),
        node_columns: names(&["cpu-measured"]),
        ..Manifest::default()
    };
    let offered = Columns { node: &["cpu-measured"], class: &[] };
    assert_eq!(good.check(offered), Ok(()));
    assert_eq!(good.named_dimensions(), (&names(&["cpu"])[..], true));
    let refused = |manifest: Manifest, why: &str| {
        assert_eq!(manifest.check(offered).map_err(|error| error.to_string()), Err(why.to_owned()));
    };
    refused(Manifest { name: String::new(), ..good.clone() }, "the plugin's manifest has no name");
    refused(
        Manifest { scores: Scores::No, ..good.clone() },
        "the plugin neither scores nor plans, so that it could never place a pod",
    );
    refused(
        Manifest { class_columns: names(&["a", "b"]), ..good.clone() },
        "the plugin subscribes to class columns that this host does not offer: a, b",
    );
    refused(
        Manifest { dimensions: names(&["*", "cpu"]), ..good.clone() },
        "in the plugin's manifest * must be the last dimension",
    );
    refused(
        Manifest { node_labels: names(&["zone", "zone"]), ..good.clone() },
        "the plugin's manifest names zone twice in node-labels",
    );
    refused(
        Manifest { watches: Watches(8), ..good },
        "the plugin wants to watch 0x8, of which this host knows only the bits 0x7",
    );
}

#[test]
fn a_cleared_feed_is_an_empty_one() {
    let mut feed = Feed { reset: true, dimensions: Some(vec!["cpu".to_owned()]), ..Feed::default() };
    feed.upsert_node(3, &[4], &[1], &[]);
    feed.update_requested(3, &[2]);
    feed.define_class(Class { id: 1, requests: &[5], attributes: &[] });
    feed.pods.push(pod(9));
    feed.assert_shape(&Manifest { dimensions: vec!["cpu".to_owned()], ..Manifest::default() }, 1);
    feed.clear();
    assert_eq!(feed, Feed::default());
}
