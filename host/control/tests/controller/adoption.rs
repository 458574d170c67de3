//! What workloads make their own and let go: found without a look at all that others own.

use berth_api::kinds::UNOWNED;
use berth_json::{Value, json};
use berth_pipeline::{Body, Request, Verb};
use berth_state::Key;

use crate::cluster::{Cluster, at, uid};

fn set(name: &str) -> Key {
    Key::new("replicasets.apps", "default", name)
}

fn deployment() -> Key {
    Key::new("deployments.apps", "default", "d")
}

fn pod(namespace: &str, name: &str) -> Key {
    Key::new("pods", namespace, name)
}

/// An object with these labels that one of the workloads owns, or nobody.
fn labelled(app: &str, owner: Option<(&str, &Key)>) -> Value {
    let reference = |(kind, key): (&str, &Key)| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "name": &*key.name, "uid": uid(key), "controller": true,
        })
    };
    let owners: Vec<Value> = owner.map(reference).into_iter().collect();
    json!({"metadata": {"labels": {"app": app}, "ownerReferences": owners}, "status": {"phase": "Running"}})
}

/// A workload that wants no pods, and selects by this label.
fn workload(app: &str, owner: Option<(&str, &Key)>) -> Value {
    let mut workload = labelled(app, owner);
    let labels = json!({"app": app});
    workload["spec"] = json!({
        "replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}},
    });
    workload
}

/// What the controller of an object wants to write on others: which, and which owners they are to have.
fn owners_written(cluster: &mut Cluster, of: &Key) -> Vec<(String, Vec<String>)> {
    let mut written = Vec::new();
    while let Some((work, outcome)) = cluster.look(at(0)) {
        if work.key == *of && work.controller != "garbage-collector-controller" {
            written.extend(outcome.steps.iter().filter_map(|step| owners_of(&step.request)));
        }
        cluster.manager.done(&work, Ok(()), None, at(0));
    }
    written.sort();
    written
}

fn owners_of(request: &Request) -> Option<(String, Vec<String>)> {
    let (Verb::Patch, Body::Patch(_, patch)) = (request.verb, &request.body) else { return None };
    let patch: Value = serde_json::from_slice(patch).unwrap();
    let owners = patch["metadata"]["ownerReferences"].as_array()?;
    let uids = owners.iter().map(|owner| owner["uid"].as_str().unwrap().to_owned());
    Some((request.name.clone(), uids.collect()))
}

#[test]
fn a_replica_set_takes_in_what_nobody_owns_and_lets_go_of_what_it_does_not_select() {
    let mut cluster = Cluster::of_the_build();
    let (web, other) = (set("web"), set("other"));
    cluster.put(&web, workload("web", None));
    cluster.put(&other, workload("other", None));
    for (key, app, owner) in [
        (pod("default", "free"), "web", None),
        (pod("default", "stranger"), "stranger", None),
        (pod("elsewhere", "free"), "web", None),
        (pod("default", "others"), "web", Some(&other)),
        (pod("default", "relabelled"), "stranger", Some(&web)),
    ] {
        cluster.put(&key, labelled(app, owner.map(|owner| ("ReplicaSet", owner))));
    }
    let mut finished = labelled("web", None);
    finished["status"]["phase"] = "Failed".into();
    cluster.put(&pod("default", "finished"), finished);
    let mut leaving = labelled("web", None);
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T10:45:13Z".into();
    cluster.put(&pod("default", "leaving"), leaving);

    let written = owners_written(&mut cluster, &web);
    assert_eq!(written, [("free".to_owned(), vec![uid(&web)]), ("relabelled".to_owned(), vec![])]);
    let names = |cluster: &Cluster| -> Vec<String> {
        let unowned = cluster.state.by_field("pods", UNOWNED, "default");
        unowned.map(|pod| pod.key.name.to_string()).collect()
    };
    assert_eq!(names(&cluster), ["finished", "free", "leaving", "stranger"]);
    cluster.put(&pod("default", "free"), labelled("web", Some(("ReplicaSet", &web))));
    cluster.put(&pod("default", "relabelled"), labelled("stranger", None));
    assert_eq!(names(&cluster), ["finished", "leaving", "relabelled", "stranger"]);
    assert!(owners_written(&mut cluster, &web).is_empty(), "all is as it should be");
}

#[test]
fn a_pod_that_is_let_go_or_comes_free_wakes_those_that_may_want_it() {
    let mut cluster = Cluster::of_the_build();
    let (web, other) = (set("web"), set("other"));
    cluster.put(&web, workload("web", None));
    cluster.put(&other, workload("other", None));
    cluster.put(&pod("default", "p"), labelled("web", Some(("ReplicaSet", &web))));
    owners_written(&mut cluster, &web);
    cluster.put(&pod("default", "p"), labelled("other", Some(("ReplicaSet", &web))));
    assert_eq!(owners_written(&mut cluster, &web), [("p".to_owned(), vec![])]);
    cluster.put(&pod("default", "p"), labelled("other", None));
    assert_eq!(owners_written(&mut cluster, &other), [("p".to_owned(), vec![uid(&other)])]);
    cluster.put(&pod("default", "stranger"), labelled("stranger", None));
    assert!(cluster.look(at(0)).is_none(), "no set selects it");
}

#[test]
fn a_deployment_takes_in_sets_that_nobody_owns() {
    let mut cluster = Cluster::of_the_build();
    cluster.put(&deployment(), workload("web", None));
    cluster.put(&set("free"), workload("web", None));
    cluster.put(&set("relabelled"), workload("other", Some(("Deployment", &deployment()))));
    let written = owners_written(&mut cluster, &deployment());
    assert_eq!(written, [("free".to_owned(), vec![uid(&deployment())]), ("relabelled".to_owned(), vec![])]);
}
