//! The cluster under concurrent writers, with watchers, and with a store that fails.
#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use berth_api::Reason;
use berth_cluster::{Atomicity, Cluster, Config, Interest, Leader};
use berth_json::{Value, json};
use berth_pipeline::admission::Verdict;
use berth_pipeline::kinds::DEFINITIONS;
use berth_pipeline::{Admission, Binding, Body, PatchKind, Request, Review, ServiceCidr, Verb};
use berth_state::{Change, Fence, Key, MemoryStore, Revision, State};
use bytes::Bytes;
use common::{config, create, request, start};
use tokio::sync::Notify;

/// Nothing here takes a second unless something is broken.
const DEADLINE: Duration = Duration::from_secs(60);

fn config_map(cluster: &Cluster, name: &str) -> Request {
    create(cluster, "configmaps", json!({"metadata": {"name": name}, "data": {"n": "0"}}))
}

fn merge(cluster: &Cluster, name: &str, patch: &Value) -> Request {
    let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
    request(cluster, Verb::Patch, "configmaps", name, body)
}

fn values(state: &State) -> BTreeMap<Key, (Revision, Bytes)> {
    state.iter().map(|stored| (stored.key.clone(), (stored.revision, stored.bytes().clone()))).collect()
}

/// Lets ConfigMaps called `slow` wait until it is told that it has thought enough.
#[derive(Default)]
struct Thinker {
    begun: AtomicUsize,
    thought: Notify,
}

impl Admission for Thinker {
    fn name(&self) -> &str {
        "thinker"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        review.name == "slow"
    }

    fn validate<'a>(&'a self, _: &'a Review<'_>, _: &'a Value) -> Verdict<'a> {
        Box::pin(async {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.thought.notified().await;
            Ok(vec![])
        })
    }
}

#[tokio::test]
async fn an_admission_that_thinks_holds_nobody_up_and_thinks_again_after_a_conflict() {
    let thinker = Arc::new(Thinker::default());
    let config = Config { admission: vec![thinker.clone()], ..config() };
    let cluster = Cluster::start(MemoryStore::new(), config).await.unwrap();
    let begun = async |times| {
        let waiting = async {
            while thinker.begun.load(Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.unwrap();
    };
    let write = |request| {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.apply(request).await })
    };

    let created = write(config_map(&cluster, "slow"));
    begun(1).await;
    cluster.apply(config_map(&cluster, "quick")).await.unwrap();
    thinker.thought.notify_one();
    created.await.unwrap().unwrap();

    let [first, second] =
        ["a", "b"].map(|key| write(merge(&cluster, "slow", &json!({ "data": { key: "1" } }))));
    begun(3).await;
    thinker.thought.notify_waiters();
    begun(4).await;
    thinker.thought.notify_one();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let slow = Key::new("configmaps", "default", "slow");
    let bytes = cluster.read(|state| state.get(&slow).unwrap().bytes().clone());
    let object: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(object["data"], json!({"a": "1", "b": "1", "n": "0"}));
}

#[tokio::test]
async fn a_new_cluster_has_its_system_objects_and_an_old_one_keeps_them() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let names = |state: &State, resource: &str| -> Vec<String> {
        state.list(resource, "").map(|stored| stored.key.name.to_string()).collect()
    };
    let expected = ["default", "kube-node-lease", "kube-public", "kube-system"];
    assert_eq!(cluster.read(|state| names(state, "namespaces")), expected);
    let service =
        cluster.read(|state| state.get(&Key::new("services", "default", "kubernetes")).unwrap().clone());
    assert_eq!(service.field("spec.clusterIP"), Some("10.96.0.1"));
    cluster.shutdown().await;

    let before = cluster.read(values);
    let again = start(&disk).await;
    assert_eq!(again.read(values), before);
}

#[tokio::test]
async fn the_kubernetes_service_leads_to_where_the_server_listens_now() {
    let disk = MemoryStore::new();
    start(&disk).await.shutdown().await;
    let moved = Cluster::start(disk, Config { api_port: 7443, ..config() }).await.unwrap();
    let service =
        moved.read(|state| state.get(&Key::new("services", "default", "kubernetes")).unwrap().clone());
    let service = service.to_value(moved.catalogue().named("services").unwrap());
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 7443);
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
}

#[tokio::test]
async fn a_cluster_keeps_the_range_of_its_services() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80}]);
    let headless = service("headless", json!({"clusterIP": "None", "ports": ports}));
    let far = service("far", json!({"clusterIP": "10.96.0.200", "ports": ports}));
    for object in [headless, far] {
        cluster.apply(create(&cluster, "services", object)).await.unwrap();
    }
    cluster.shutdown().await;
    let with = async |range: &str| {
        let config = Config { services: ServiceCidr::parse(range).unwrap(), ..config() };
        match Cluster::start(disk.clone(), config).await {
            Ok(cluster) => {
                cluster.shutdown().await;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    };
    assert_eq!(
        with("10.97.0.0/16").await.unwrap_err(),
        "--service-cidr 10.97.0.0/16 does not fit the Service default/far, which has the address 10.96.0.200: a cluster \
         keeps the range that it was made with; give that one"
    );
    assert!(with("10.96.0.0/25").await.unwrap_err().contains("default/far"), "too small");
    with("10.96.0.0/16").await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_of_the_system_objects_comes_back() {
    let cluster = start(&MemoryStore::new()).await;
    tokio::spawn(cluster.clone().keep_system_objects());
    let key = Key::new("services", "default", "kubernetes");
    let uid = |state: &State| state.get(&key).map(|stored| stored.meta().uid.to_string());
    let before = cluster.read(uid);
    cluster.apply(request(&cluster, Verb::Delete, "services", "kubernetes", Body::None)).await.unwrap();
    let mut woken = cluster.subscribe("services", Interest::All);
    let returned = async {
        while cluster.read(uid).is_none() {
            woken.changed().await;
        }
    };
    tokio::time::timeout(DEADLINE, returned).await.unwrap();
    assert_ne!(cluster.read(uid), before, "another object of the same name");
    let address = cluster.read(|state| state.get(&key).unwrap().field("spec.clusterIP").map(str::to_owned));
    assert_eq!(address.as_deref(), Some("10.96.0.1"));
}

#[tokio::test]
async fn the_kubernetes_service_is_put_right_when_it_was_changed() {
    let cluster = start(&MemoryStore::new()).await;
    let key = Key::new("services", "default", "kubernetes");
    let services = cluster.catalogue().named("services").unwrap().clone();
    let spec = || cluster.read(|state| state.get(&key).unwrap().to_value(&services)["spec"].take());
    let original = spec();
    tokio::spawn(cluster.clone().keep_system_objects());
    for patch in [
        json!({"ports": [{"name": "https", "port": 444, "protocol": "TCP", "targetPort": 6443}]}),
        json!({"ports": [{"name": "other", "port": 443, "protocol": "TCP", "targetPort": 6443}]}),
        json!({"selector": {"app": "mine"}}),
    ] {
        let mut woken = cluster.subscribe("services", Interest::All);
        let body = Body::Patch(PatchKind::Merge, json!({"spec": patch}).to_string().into());
        cluster.apply(request(&cluster, Verb::Patch, "services", "kubernetes", body)).await.unwrap();
        let put_right = async {
            while spec() != original {
                woken.changed().await;
            }
        };
        tokio::time::timeout(DEADLINE, put_right).await.unwrap();
    }
}

/// Follows an interest of a resource until `until` says so, and returns the changes in the order in which they were seen.
async fn follow(
    cluster: Arc<Cluster>,
    resource: &'static str,
    interest: Interest,
    until: impl Fn(&[Arc<Change>]) -> bool,
) -> Vec<Arc<Change>> {
    let mut followed = cluster.subscribe(resource, interest);
    followed.seek(Revision(0));
    let mut seen: Vec<Arc<Change>> = vec![];
    while !until(&seen) {
        // Small bites, so that catching up in several steps is tested too.
        let more = followed.take(7).unwrap();
        let is_caught_up = more.changes.is_empty();
        seen.extend(more.changes);
        if is_caught_up {
            followed.changed().await;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_there_once_and_seen_once_in_order() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 60;
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let total = (WRITERS * ROUNDS * 2) as usize;
    let everywhere = [Interest::All, Interest::Namespace("default".into()), Interest::All];
    let watchers: Vec<_> = everywhere
        .into_iter()
        .map(|interest| {
            tokio::spawn(follow(cluster.clone(), "configmaps", interest, move |seen| seen.len() > total))
        })
        .collect();
    let shared = Interest::Object("default".into(), "shared".into());
    let of_one = tokio::spawn(follow(cluster.clone(), "configmaps", shared, move |seen| {
        let rounds = (ROUNDS - 1).to_string();
        seen.last().is_some_and(|last| {
            let object: Value = serde_json::from_slice(last.latest().bytes()).unwrap();
            (0..WRITERS).all(|w| object["data"][format!("w{w}")] == *rounds)
        })
    }));
    cluster.apply(config_map(&cluster, "shared")).await.unwrap();

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let name = format!("w{writer}-{round}");
                    cluster.apply(config_map(&cluster, &name)).await.unwrap();
                    let patch = json!({"data": {(format!("w{writer}")): round.to_string()}});
                    while let Err(status) = cluster.apply(merge(&cluster, "shared", &patch)).await {
                        assert_eq!(status.reason, Reason::Conflict, "{status}");
                    }
                }
            })
        })
        .collect();
    let everything = async {
        for writer in writers {
            writer.await.unwrap();
        }
        let mut seen = vec![];
        for watcher in watchers {
            seen.push(watcher.await.unwrap());
        }
        (seen, of_one.await.unwrap())
    };
    let (seen, of_one) = tokio::time::timeout(DEADLINE, everything).await.expect("writers and watchers end");

    for changes in &seen {
        assert_eq!(changes.len(), total + 1);
        assert!(changes.windows(2).all(|pair| pair[0].revision < pair[1].revision), "in order, each once");
        let mut replayed: BTreeMap<Key, Revision> = BTreeMap::new();
        for change in changes {
            let before = replayed.insert(change.key.clone(), change.revision);
            assert_eq!(before, change.old.as_ref().map(|old| old.revision), "no version between is missing");
        }
        let present: BTreeMap<Key, Revision> =
            cluster.read(|state| state.list("configmaps", "").map(|s| (s.key.clone(), s.revision)).collect());
        assert_eq!(replayed, present);
    }
    let shared = Key::new("configmaps", "default", "shared");
    let its_own: Vec<_> = seen[0].iter().filter(|change| change.key == shared).map(|c| c.revision).collect();
    assert_eq!(of_one.iter().map(|change| change.revision).collect::<Vec<_>>(), its_own);
    let shared = cluster.read(|state| state.get(&shared).unwrap().clone());
    let shared: Value = serde_json::from_slice(shared.bytes()).unwrap();
    let last = (ROUNDS - 1).to_string();
    assert!((0..WRITERS).all(|w| shared["data"][format!("w{w}")] == *last), "{shared}");

    let before = cluster.read(values);
    cluster.shutdown().await;
    assert_eq!(start(&disk).await.read(values), before, "what was acknowledged is on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_is_won_by_one_and_services_never_share_an_address() {
    let cluster = start(&MemoryStore::new()).await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let won = cluster.apply(config_map(&cluster, "contested")).await.is_ok();
                let service =
                    json!({"metadata": {"name": format!("s{n}")}, "spec": {"ports": [{"port": 80}]}});
                cluster.apply(create(&cluster, "services", service)).await.unwrap();
                usize::from(won)
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += task.await.unwrap();
    }
    assert_eq!(winners, 1);
    let mut addresses: Vec<String> = cluster.read(|state| {
        state.list("services", "").map(|s| s.field("spec.clusterIP").unwrap().to_owned()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 17);
}

#[tokio::test]
async fn a_failing_store_fails_writes_and_nothing_else() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    cluster.apply(config_map(&cluster, "before")).await.unwrap();
    let before = cluster.read(values);
    let woken = cluster.revisions();
    disk.set_failing(true);
    let status = cluster.apply(config_map(&cluster, "lost")).await.unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (503, "nothing was written: writing to memory: told to fail")
    );
    assert_eq!(cluster.put_blob(Bytes::from_static(b"x")).await.unwrap_err().code, 503);
    assert_eq!(cluster.read(values), before, "reads go on");
    assert!(!woken.has_changed().unwrap());

    disk.set_failing(false);
    cluster.apply(config_map(&cluster, "after")).await.unwrap();
    let names: Vec<_> =
        cluster.read(|state| state.list("configmaps", "").map(|s| s.key.name.to_string()).collect());
    assert_eq!(names, ["after", "before"]);
    cluster.shutdown().await;
    let there = cluster.read(values);
    assert_eq!(start(&disk).await.read(values), there);
}

#[tokio::test]
async fn followers_of_one_resource_sleep_through_writes_to_others() {
    let cluster = start(&MemoryStore::new()).await;
    let all = |resource: &str| cluster.subscribe(resource, Interest::All);
    let (mut secrets, config_maps) = (all("secrets"), all("configmaps"));
    cluster.apply(config_map(&cluster, "m")).await.unwrap();
    assert!(config_maps.has_changed());
    assert!(!secrets.has_changed());
    let revision = cluster.read(State::revision);
    let none = secrets.take(10).unwrap();
    assert_eq!((none.changes.len(), none.upto), (0, revision), "a bookmark may say how far it was looked");
}

/// Pods of many nodes change; how often does somebody wake who looks at one of them?
#[tokio::test]
async fn followers_of_a_nodes_pods_sleep_through_writes_to_those_of_others() {
    const ROUNDS: usize = 10;
    let cluster = start(&MemoryStore::new()).await;
    cluster
        .apply(create(&cluster, "serviceaccounts", json!({"metadata": {"name": "default"}})))
        .await
        .unwrap();
    let on = |node: &str| Interest::Field("spec.nodeName".into(), node.into());
    let mut followers = [on("a"), on("b"), on(""), on("nowhere")].map(|of| cluster.subscribe("pods", of));
    let mut wakes = [0; 4];
    let mut write = async |request| {
        cluster.apply(request).await.unwrap();
        for (follower, wakes) in followers.iter_mut().zip(&mut wakes) {
            // As a watch does: sleep until it is woken, and take what is there.
            while follower.has_changed() {
                follower.changed().await;
                *wakes += 1;
                assert_eq!(follower.take(10).unwrap().changes.len(), 1);
            }
        }
    };
    let spec = json!({"containers": [{"name": "c", "image": "app:1"}]});
    for pod in ["p", "q"] {
        write(create(&cluster, "pods", json!({"metadata": {"name": pod}, "spec": spec}))).await;
    }
    let bind = |pod: &str, node: &str| {
        let body = Body::Object(json!({"target": {"name": node}}));
        Request { subresource: "binding", ..request(&cluster, Verb::Create, "pods", pod, body) }
    };
    write(bind("p", "a")).await;
    write(bind("q", "b")).await;
    for round in 0..ROUNDS {
        let labels = json!({"metadata": {"labels": {"round": round.to_string()}}}).to_string();
        let body = Body::Patch(PatchKind::Merge, labels.into());
        write(request(&cluster, Verb::Patch, "pods", "q", body)).await;
    }
    // Made, then bound, which is leaving for who follows those without a node.
    assert_eq!(wakes, [1, 1 + ROUNDS, 4, 0]);
}

#[tokio::test]
async fn a_cluster_that_stops_finishes_what_it_took() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let writes: Vec<_> = (0..50)
        .map(|n| {
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.apply(config_map(&cluster, &format!("m{n}"))).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    cluster.shutdown().await;
    let mut acknowledged = 0;
    for write in writes {
        acknowledged += usize::from(write.await.unwrap());
    }
    let refused = cluster.apply(config_map(&cluster, "late")).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (503, "nothing was written: the server is shutting down")
    );
    let stored = start(&disk).await.read(|state| state.list("configmaps", "").count());
    assert_eq!(stored, acknowledged);
}

#[tokio::test]
async fn bindings_stand_alone_or_together() {
    let cluster = start(&MemoryStore::new()).await;
    cluster
        .apply(create(&cluster, "serviceaccounts", json!({"metadata": {"name": "default"}})))
        .await
        .unwrap();
    for name in ["a", "b", "c"] {
        let spec = json!({"containers": [{"name": "c", "image": "app:1"}]});
        cluster
            .apply(create(&cluster, "pods", json!({"metadata": {"name": name}, "spec": spec})))
            .await
            .unwrap();
    }
    let bind = |name: &str| {
        let pod = Key::new("pods", "default", name);
        let uid = cluster.read(|state| state.get(&pod).map(|pod| pod.meta().uid.clone())).unwrap_or_default();
        Binding { pod, uid, node: "n1".into() }
    };
    let codes = |results: &[Result<Revision, berth_api::Status>]| -> Vec<u16> {
        results.iter().map(|result| result.as_ref().map_or_else(|status| status.code, |_| 200)).collect()
    };
    let gang = vec![bind("a"), bind("absent")];
    let results = cluster.commit_bindings(gang, Atomicity::All).await;
    assert_eq!(codes(&results), [404, 404]);
    let each = vec![bind("a"), bind("absent"), bind("b")];
    let results = cluster.commit_bindings(each, Atomicity::Each).await;
    assert_eq!(codes(&results), [200, 404, 200]);
    let fence = Fence {
        lease: Key::new("leases.coordination.k8s.io", "kube-system", "scheduler"),
        epoch: "1".into(),
    };
    let deposed = Leader::new(cluster.clone(), fence);
    let results = deposed.commit_bindings(vec![bind("c")], Atomicity::Each).await;
    assert_eq!(codes(&results), [409]);
    let bound = cluster.read(|state| state.by_field("pods", "spec.nodeName", "n1").count());
    assert_eq!(bound, 2);
}

#[tokio::test]
async fn writes_go_together_and_are_answered_one_by_one() {
    let cluster = start(&MemoryStore::default()).await;
    let object = |name: &str| json!({"metadata": {"name": name}});
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    let requests = vec![
        create(&cluster, "configmaps", object("a")),
        create(&cluster, "configmaps", object("A")),
        create(&cluster, "services", service("s")),
        create(&cluster, "services", service("t")),
        create(&cluster, "configmaps", object("a")),
        create(&cluster, "configmaps", object("b")),
    ];
    let results = cluster.apply_each(requests).await;
    let told: Vec<Result<String, Reason>> = results
        .iter()
        .map(|result| result.as_ref().map(|answer| answer.name().to_owned()).map_err(|status| status.reason))
        .collect();
    let (ok, taken) = (|name: &str| Ok(name.to_owned()), Err(Reason::AlreadyExists));
    assert_eq!(told, [ok("a"), Err(Reason::Invalid), ok("s"), ok("t"), taken, ok("b")]);
    let address = |at: usize| results[at].as_ref().unwrap().object()["spec"]["clusterIP"].clone();
    assert_ne!(address(2), address(3));
    assert!(cluster.apply_each(vec![]).await.is_empty());
}

#[tokio::test]
async fn blobs_are_kept_by_digest() {
    let cluster = start(&MemoryStore::new()).await;
    let digest = cluster.put_blob(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(cluster.get_blob(&digest).await.unwrap(), Some(Bytes::from_static(b"abc")));
    cluster.delete_blob(&digest).await.unwrap();
    assert_eq!(cluster.get_blob(&digest).await.unwrap(), None);
}

fn definition() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// Says of the definition whether its kind is served, as anybody can who may write its status.
async fn establish(cluster: &Cluster, conditions: Value) {
    let body =
        Body::Patch(PatchKind::Merge, json!({"status": {"conditions": conditions}}).to_string().into());
    let patch = request(cluster, Verb::Patch, DEFINITIONS, "things.example.com", body);
    let patch = Request { namespace: String::new(), subresource: "status", ..patch };
    cluster.apply(patch).await.unwrap();
}

#[tokio::test]
async fn objects_are_there_though_somebody_says_that_their_kind_is_not_served() {
    let disk = MemoryStore::new();
    let cluster = start(&disk).await;
    let create_definition = create(&cluster, DEFINITIONS, definition());
    cluster.apply(Request { namespace: String::new(), ..create_definition }).await.unwrap();
    establish(&cluster, json!([{"type": "Established", "status": "True"}])).await;
    let thing = json!({"metadata": {"name": "t"}, "spec": {"a": 1}});
    cluster.apply(create(&cluster, "things.example.com", thing)).await.unwrap();
    let behind = cluster.kinds().follower();
    let before = cluster.snapshot();
    establish(&cluster, json!([])).await;
    let is_served = |cluster: &Cluster| cluster.catalogue().at("example.com", "v1", "things").is_some();
    assert!(!is_served(&cluster));
    assert!(
        behind.at(&before).at("example.com", "v1", "things").is_some(),
        "as of the state that is looked at"
    );
    assert!(cluster.catalogue().named("things.example.com").is_some(), "who deletes them must know them");
    cluster.shutdown().await;

    let again = start(&disk).await;
    let things = again.read(|state| state.list("things.example.com", "").count());
    assert_eq!((things, is_served(&again)), (1, false));
    establish(&again, json!([{"type": "Established", "status": "True"}])).await;
    assert!(is_served(&again));
}
