use std::sync::Arc;
use std::time::Duration;

use berth_api::kinds;
use berth_autoscale::{Manifest, PolicyError, Question, Recommendation, Recommender};
use berth_cluster::{Cluster, Config};
use berth_json::{Value, json};
use berth_state::{Fence, Key, MemoryStore, State, Stored};

use super::*;

const DEPLOYMENTS: &str = "deployments.apps";

/// A wait that is longer than this is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Recommends what a question makes it recommend.
struct Says(Manifest, fn(&Question) -> Result<Recommendation, PolicyError>);

impl Recommender for Says {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn recommend(&self, question: &Question) -> Result<Recommendation, PolicyError> {
        self.1(question)
    }
}

fn says(what: fn(&Question) -> Result<Recommendation, PolicyError>) -> Arc<dyn Recommender> {
    let (window, step) = (Duration::from_secs(3_600), Duration::from_secs(60));
    Arc::new(Says(Manifest { name: "says".to_owned(), version: "1".to_owned(), window, step }, what))
}

fn so_many(replicas: u32) -> Result<Recommendation, PolicyError> {
    Ok(Recommendation { replicas: Some(replicas), metric: None, reason: "it is noon".to_owned() })
}

struct World {
    leader: Leader,
    writer: Writer,
    autoscaling: Autoscaling,
}

impl World {
    /// A cluster with a Deployment `web` of 2, and the loop.
    async fn start() -> Self {
        let config = Config::new(Arc::new(kinds::catalogue()));
        let cluster = Cluster::start(MemoryStore::new(), config).await.unwrap();
        let writer = Writer::new("test", cluster.catalogue());
        let lease = json!({"metadata": {"name": "lead"}, "spec": {"leaseTransitions": 1}});
        cluster.apply(writer.create("leases.coordination.k8s.io", "kube-system", lease)).await.unwrap();
        let lease = Key::new("leases.coordination.k8s.io", "kube-system", "lead");
        let leader = Leader::new(cluster, Fence { lease, epoch: "1".to_owned() });
        let world = Self { leader, writer, autoscaling: Autoscaling::default() };
        let labels = json!({"app": "web"});
        let containers = json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]);
        let template = json!({"metadata": {"labels": labels.clone()}, "spec": {"containers": containers}});
        let spec = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": template});
        world.create(DEPLOYMENTS, json!({"metadata": {"name": "web"}, "spec": spec})).await;
        world
            .leader
            .executor()
            .spawn("autoscaling", run_autoscaling(world.leader.clone(), world.autoscaling.clone()));
        world
    }

    async fn create(&self, resource: &str, object: Value) {
        self.leader.apply(self.writer.create(resource, "default", object)).await.unwrap();
    }

    async fn autoscale(&self, name: &str, target: &str) {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target});
        let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5});
        self.create(AUTOSCALERS, json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    /// Waits until an object is as it should be.
    async fn until(&self, resource: &str, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let key = Key::new(resource, "default", name);
        let mut news = self.leader.subscribe(resource, Interest::All);
        let wait = async {
            loop {
                let stored = self.leader.read(|state| state.get(&key).cloned());
                if let Some(value) = stored.map(|stored| self.writer.value(&stored)).filter(&is_so) {
                    return value;
                }
                news.changed().await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, wait).await;
        waited.unwrap_or_else(|_| {
            let stored = self.leader.read(|state| state.get(&key).cloned());
            panic!("{key} is not so: {:?}", stored.map(|stored| self.writer.value(&stored)))
        })
    }

    async fn until_said(&self, name: &str, kind: &str, reason: &str) -> String {
        let find = |object: &Value| {
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.into_iter().find(|said| said["type"] == kind && said["reason"] == reason)
        };
        let object = self.until(AUTOSCALERS, name, |object| find(object).is_some()).await;
        find(&object).unwrap()["message"].as_str().unwrap().to_owned()
    }
}

fn is_about(event: &Stored, message: &str) -> bool {
    String::from_utf8_lossy(event.bytes()).contains(&format!("\"{message}\""))
}

#[tokio::test]
async fn a_policy_is_asked_and_what_it_says_is_done_within_bounds() {
    let world = World::start().await;
    world.autoscale("hpa", "web").await;
    let why = world.until_said("hpa", "ScalingActive", "NoPolicy").await;
    assert!(why.starts_with("no autoscaling policy serves the profile \"default\""), "{why}");
    // As soon as there is one, it is asked.
    world.autoscaling.recommenders.install("default", 1, says(|_| so_many(3)));
    world.until(DEPLOYMENTS, "web", |web| web["spec"]["replicas"] == 3).await;
    world.until_said("hpa", "AbleToScale", "SucceededRescale").await;
    let text = world.until_said("hpa", "ScalingActive", "PolicyRecommended").await;
    assert_eq!(text, "the autoscaling policy recommended a replica count of 3: it is noon");
    let status = world.until(AUTOSCALERS, "hpa", |hpa| hpa["status"]["desiredReplicas"] == 3).await;
    assert_eq!(
        (&status["status"]["currentReplicas"], &status["status"]["observedGeneration"]),
        (&json!(2), &json!(1))
    );
    let message = "New size: 3; reason: it is noon";
    let told = |state: &State| state.list("events", "default").any(|event| is_about(event, message));
    let mut news = world.leader.subscribe("events", Interest::All);
    while !world.leader.read(told) {
        tokio::time::timeout(DEADLINE, news.changed()).await.unwrap();
    }
    // Another policy and another spec are heeded at once; replicas are bounded.
    world.autoscaling.recommenders.install("default", 2, says(|_| so_many(4_000_000_000)));
    let key = Key::new(AUTOSCALERS, "default", "hpa");
    let patch = json!({"spec": {"maxReplicas": 4}});
    world.leader.apply(world.writer.merge(&key, "", &patch)).await.unwrap();
    world.until(DEPLOYMENTS, "web", |web| web["spec"]["replicas"] == 4).await;
    let text = world.until_said("hpa", "ScalingLimited", "TooManyReplicas").await;
    assert_eq!(text, "the desired replica count is more than the maximum replica count");
}

#[tokio::test]
async fn a_policy_that_fails_is_reported_and_changes_nothing() {
    let world = World::start().await;
    world.autoscaling.recommenders.install(
        "default",
        7,
        says(|_| Err(PolicyError::BadAnswer("nonsense".to_owned()))),
    );
    world.autoscale("hpa", "web").await;
    let text = world.until_said("hpa", "ScalingActive", "PolicyFailed").await;
    let why = "the policy gave an unusable answer: nonsense";
    assert_eq!(text, format!("the autoscaling policy failed, and the replicas stay as they are: {why}"));
    let (installation, failure) =
        tokio::time::timeout(DEADLINE, world.autoscaling.failures.next()).await.unwrap();
    assert_eq!((installation, &*failure.why), (7, why));
    world.until(DEPLOYMENTS, "web", |web| web["spec"]["replicas"] == 2).await;
}

#[tokio::test]
async fn a_question_is_about_the_workload_and_what_is_missing_is_said() {
    let world = World::start().await;
    world.autoscaling.recommenders.install(
        "default",
        1,
        says(|question| {
            let trouble = question.metrics[0].trouble.clone();
            let reason = format!("{} of {}: {trouble}", question.current, question.target);
            Ok(Recommendation { replicas: None, metric: Some(0), reason })
        }),
    );
    world.autoscale("hpa", "web").await;
    let text = world.until_said("hpa", "ScalingActive", "FailedGetResourceMetric").await;
    let why = "2 of Deployment/web: no pods returned by selector while calculating replica count";
    assert_eq!(text, format!("the HPA was unable to compute the replica count: {why}"));
    // Two of one workload would work against each other, and one of nothing has nothing to scale.
    world.autoscale("other", "web").await;
    let text = world.until_said("other", "ScalingActive", "AmbiguousSelector").await;
    assert_eq!(text, "pods by selector app=web are controlled by multiple HPAs: [default/hpa default/other]");
    world.autoscale("lost", "nowhere").await;
    let text = world.until_said("lost", "AbleToScale", "FailedGetScale").await;
    let why = "deployments.apps \"nowhere\" not found";
    assert_eq!(text, format!("the HPA controller was unable to get the target's current scale: {why}"));
}

#[tokio::test]
async fn objects_stand_for_pods() {
    let world = World::start().await;
    let pod = |name: &str| json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.create("serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for name in ["a", "b"] {
        world.create("pods", pod(name)).await;
    }
    let ports = json!([{"port": 80}]);
    world.create("services", json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports.clone()}})).await;
    world.create("services", json!({"metadata": {"name": "bare"}, "spec": {"ports": ports}})).await;
    let state = world.leader.snapshot();
    let of = |api_version: &str, kind: &str, name: &str| {
        let reference = berth_autoscale::Reference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        workload::described(&state, &world.leader.catalogue(), "default", &reference).map(|uids| uids.len())
    };
    for (found, expected) in [
        (of("v1", "Service", "web"), Ok(2)),
        (of("v1", "Pod", "a"), Ok(1)),
        (of("apps/v1", "Deployment", "web"), Ok(2)),
        (of("v1", "Service", "bare"), Err("it selects no pods, whose metrics would be its own".to_owned())),
        (of("v1", "Pod", "c"), Err("pods \"c\" not found".to_owned())),
        (of("x.io/v1", "Thing", "c"), Err("no matches for kind \"Thing\" in group \"x.io\"".to_owned())),
    ] {
        assert_eq!(found, expected);
    }
}
