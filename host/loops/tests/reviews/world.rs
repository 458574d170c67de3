//! A cluster that leads, and a workshop in which components are functions of this test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_admission::{Manifest, Mutates, PolicyError, Request as Asked, Reviewer, Rule, Verdict};
use berth_api::{Status, kinds};
use berth_autoscale::Recommender;
use berth_cluster::{Cluster, Config, Interest, SystemIds};
use berth_control::Config as ControlConfig;
use berth_json::{Value, json};
use berth_lifecycle::{Component, Limits, LoadError, Loader, Loading, RoleName, StartFailure};
use berth_loops::{Holder, Leading, PolicyCalls, Reviews, lead_when_possible};
use berth_metrics::Usage;
use berth_pipeline::{Answer, Body, Identity, Options, PatchKind, Request, Verb};
use berth_scheduler::policy::Policy;
use berth_state::{Key, MemoryStore};
use berth_tasks::Executor;
use bytes::Bytes;

/// Nothing here takes a second unless something is broken.
const DEADLINE: Duration = Duration::from_secs(60);
const BINDINGS: &str = "pluginbindings.berth.dev";

pub type Script = Arc<dyn Fn(&Asked) -> Result<Verdict, PolicyError> + Send + Sync>;

#[derive(Clone)]
struct Scripted {
    manifest: Manifest,
    script: Script,
}

impl Reviewer for Scripted {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn review(&self, request: &Asked) -> Result<Verdict, PolicyError> {
        (self.script)(request)
    }
}

impl Component for Scripted {
    fn role(&self) -> RoleName {
        RoleName::Admission
    }

    fn scheduler(&self, _: &str, _: &str) -> Result<Box<dyn Policy>, StartFailure> {
        Err(StartFailure::Refused("it reviews".to_owned()))
    }

    fn admission(&self, _: &str, _: &str) -> Result<Arc<dyn Reviewer>, StartFailure> {
        Ok(Arc::new(self.clone()))
    }

    fn autoscaler(&self, _: &str, _: &str) -> Result<Arc<dyn Recommender>, StartFailure> {
        Err(StartFailure::Refused("it reviews".to_owned()))
    }

    fn config_schema(&self) -> Result<String, StartFailure> {
        let schema = json!({"type": "object", "properties": {"strict": {"type": "boolean"}}});
        Ok(schema.to_string())
    }
}

/// Components by their bytes.
#[derive(Clone, Default)]
struct Workshop(Arc<Mutex<BTreeMap<Bytes, Scripted>>>);

impl Loader for Workshop {
    fn load(&self, bytes: Bytes, _: Limits) -> Loading<'_> {
        let known = self.0.lock().unwrap().get(&bytes).cloned();
        Box::pin(async move {
            match known {
                Some(component) => Ok(Arc::new(component) as Arc<dyn Component>),
                None => Err(LoadError::Refused("nobody made that".to_owned())),
            }
        })
    }
}

pub struct World {
    pub cluster: Arc<Cluster>,
    pub calls: PolicyCalls,
    workshop: Workshop,
}

pub fn rule(group: &str, resources: &[&str], operations: u32) -> Rule {
    Rule {
        groups: vec![group.to_owned()],
        resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
        operations,
        ..Rule::default()
    }
}

impl World {
    /// A server on this disk. One that does not lead runs no plugins, as a server does that has just started.
    pub async fn start(disk: &MemoryStore, leads: bool) -> Self {
        let reviews = Reviews::new(Executor::default(), Arc::new(SystemIds));
        let admission: Vec<Arc<dyn berth_pipeline::Admission>> = vec![Arc::new(reviews.clone())];
        let config = Config { admission, ..Config::new(Arc::new(kinds::catalogue())) };
        let cluster = Cluster::start(disk.clone(), config).await.unwrap();
        let (workshop, calls) = (Workshop::default(), PolicyCalls::default());
        if leads {
            let control = ControlConfig { kinds: cluster.kinds().clone(), ca_certificate: "none".to_owned() };
            let (holder, loader) = (Holder::new("test", "1"), Arc::new(workshop.clone()));
            lead_when_possible(
                &cluster,
                Leading { holder, control, loader, reviews, usage: Usage::default(), calls: calls.clone() },
            );
        }
        Self { cluster, calls, workshop }
    }

    /// Installs a policy and binds it, with what its binding's spec says beside; waits until it is asked.
    pub async fn bind(&self, name: &str, mutates: Mutates, rule: Rule, spec: Value, script: Script) {
        self.install(name, mutates, rule, script).await;
        let mut bound = json!({"role": "admission", "plugin": name});
        for (key, value) in spec.as_object().unwrap().iter() {
            bound[&**key] = value.clone();
        }
        let binding = json!({"metadata": {"name": name}, "spec": bound});
        self.create(BINDINGS, binding).await.unwrap();
        self.binding_until(name, |status| status["activePlugin"] == name).await;
    }

    pub async fn install(&self, name: &str, mutates: Mutates, rule: Rule, script: Script) {
        let bytes = Bytes::from(name.to_owned());
        let manifest =
            Manifest { name: name.to_owned(), version: "1".to_owned(), mutates, rules: vec![rule] };
        self.workshop.0.lock().unwrap().insert(bytes.clone(), Scripted { manifest, script });
        let digest = self.cluster.put_blob(bytes).await.unwrap();
        let plugin = json!({"metadata": {"name": name}, "spec": {"digest": digest}});
        self.create("plugins.berth.dev", plugin).await.unwrap();
    }

    /// Waits until a binding's status is as it should be.
    pub async fn binding_until(&self, name: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let key = Key::new(BINDINGS, "", name);
        let mut news = self.cluster.subscribe(BINDINGS, Interest::All);
        let wait = async {
            loop {
                let stored = self.cluster.read(|state| state.get(&key).cloned()).unwrap();
                let object: Value = serde_json::from_slice(stored.bytes()).unwrap();
                if is_right(&object["status"]) {
                    return object["status"].clone();
                }
                news.changed().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{name} does not become right"))
    }

    pub fn request(&self, verb: Verb, resource: &str, name: &str, body: Body) -> Request {
        let resource = self.cluster.catalogue().named(resource).unwrap().clone();
        let is_namespaced = resource.scope == berth_api::Scope::Namespaced;
        Request {
            identity: Identity::component("test"),
            verb,
            resource,
            subresource: "",
            namespace: if is_namespaced { "default".to_owned() } else { String::new() },
            name: name.to_owned(),
            body,
            options: Options::default(),
        }
    }

    pub async fn create(&self, resource: &str, object: Value) -> Result<Answer, Status> {
        self.cluster.apply(self.request(Verb::Create, resource, "", Body::Object(object))).await
    }

    pub fn merge(&self, resource: &str, subresource: &'static str, name: &str, patch: &Value) -> Request {
        let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
        Request { subresource, ..self.request(Verb::Patch, resource, name, body) }
    }
}

pub fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}
