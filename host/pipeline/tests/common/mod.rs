//! A cluster without a store or a clock: requests are planned and published at once.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses a part of it; a test may unwrap

use std::sync::Arc;

use berth_api::{Catalogue, Schema, Status, Timestamp, kinds};
use berth_json::{Value, json};
use berth_pipeline::{
    Admission, Answer, Authorizer, Body, Env, Identity, NodePorts, Options, PatchKind, Request,
    RoleAuthorizer, SeededIds, ServiceCidr, TokenClaims, TokenIssuer, Verb, plan_at_once,
};
use berth_state::{Key, Ledger, State};

/// Signs with the claims themselves.
pub struct PlainTokens;

impl TokenIssuer for PlainTokens {
    fn issue(&self, claims: &TokenClaims) -> Result<String, Status> {
        Ok(format!("{claims:?}"))
    }

    fn verify(&self, token: &str, _: &[String], now: Timestamp) -> Result<TokenClaims, String> {
        let parts: Vec<&str> = token.split(' ').collect();
        let [namespace, account, uid] = parts[..] else { return Err("it is no token".to_owned()) };
        Ok(TokenClaims {
            id: "token-1".to_owned(),
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
            service_account_uid: uid.to_owned(),
            audiences: vec!["here".to_owned()],
            pod: None,
            node: None,
            secret: None,
            issued: now,
            expires: now,
        })
    }
}

pub struct World {
    pub state: State,
    pub catalogue: Catalogue,
    pub identity: Arc<Identity>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub authorizer: Arc<dyn Authorizer>,
    pub options: Options,
    pub now: Timestamp,
    ids: SeededIds,
}

/// Code and body, as a client gets them.
pub type Reply = (u16, Value);

pub fn admin() -> Arc<Identity> {
    Identity::component("test")
}

pub fn node(name: &str) -> Arc<Identity> {
    Arc::new(Identity {
        user: format!("system:node:{name}"),
        groups: vec!["system:nodes".to_owned()],
        ..Identity::default()
    })
}

impl World {
    /// A cluster with the namespace `ns` and its default service account.
    pub fn new() -> Self {
        let mut world = Self::empty();
        world.ok(world.create("namespaces", "", json!({"metadata": {"name": "ns"}})));
        world.ok(world.create("serviceaccounts", "ns", json!({"metadata": {"name": "default"}})));
        world
    }

    pub fn empty() -> Self {
        Self {
            state: State::default(),
            catalogue: kinds::catalogue(),
            identity: admin(),
            admission: vec![],
            authorizer: Arc::new(RoleAuthorizer),
            options: Options::default(),
            now: Timestamp::parse("2026-11-21T10:00:00Z").unwrap(),
            ids: SeededIds::new(7),
        }
    }

    pub fn request(&self, verb: Verb, resource: &str, namespace: &str, name: &str, body: Body) -> Request {
        Request {
            identity: self.identity.clone(),
            verb,
            resource: self.catalogue.named(resource).unwrap().clone(),
            subresource: "",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            body,
            options: self.options.clone(),
        }
    }

    pub fn create(&self, resource: &str, namespace: &str, object: Value) -> Request {
        let bytes = object.to_string().into();
        let body = Body::Encoded { media_type: "application/json".to_owned(), bytes };
        self.request(Verb::Create, resource, namespace, "", body)
    }

    pub fn update(&self, resource: &str, name: &str, object: Value) -> Request {
        self.request(Verb::Update, resource, "ns", name, Body::Object(object))
    }

    pub fn merge(&self, resource: &str, name: &str, patch: Value) -> Request {
        let body = Body::Patch(PatchKind::Merge, patch.to_string().into());
        self.request(Verb::Patch, resource, "ns", name, body)
    }

    pub fn delete(&self, resource: &str, name: &str, options: Value) -> Request {
        self.request(Verb::Delete, resource, "ns", name, Body::Object(options))
    }

    /// Plans, commits, publishes.
    pub fn apply(&mut self, request: Request) -> Result<Answer, Status> {
        let mut env = Env {
            catalogue: &self.catalogue,
            schema: Schema::builtin(),
            authorizer: &*self.authorizer,
            admission: &self.admission,
            tokens: &PlainTokens,
            now: self.now,
            ids: &mut self.ids,
            services: ServiceCidr::parse("10.96.0.0/24").unwrap(),
            node_ports: &NodePorts(30000..=30003),
        };
        let mut plan = plan_at_once(&self.state, &mut env, &request)?;
        let commit = plan.commit.take().unwrap_or_default();
        let changes = Ledger::default().stage(&self.state, commit).expect("nobody else writes");
        changes.iter().for_each(|change| self.state.publish(change.clone()));
        Ok(plan.into_answer(&changes))
    }

    pub fn reply(&mut self, request: Request) -> Reply {
        match self.apply(request) {
            Ok(answer) => (answer.code, answer.object().into_owned()),
            Err(status) => (status.code, status.to_value()),
        }
    }

    /// The object of an answer that must be a success.
    #[track_caller]
    pub fn ok(&mut self, request: Request) -> Value {
        self.apply(request).expect("a success").object().into_owned()
    }

    /// Code and message of an answer that must be a failure.
    #[track_caller]
    pub fn refused(&mut self, request: Request) -> (u16, String) {
        let status = self.apply(request).expect_err("a failure");
        (status.code, status.message)
    }

    /// The object as it is stored; `None` when it is not there.
    pub fn get(&self, resource: &str, name: &str) -> Option<Value> {
        let resource = self.catalogue.named(resource).unwrap();
        let namespace = if resource.scope == berth_api::Scope::Cluster { "" } else { "ns" };
        let stored = self.state.get(&Key::new(resource.id.clone(), namespace, name));
        stored.map(|stored| stored.to_value(resource))
    }
}

/// A request to a subresource.
pub fn at(subresource: &'static str, mut request: Request) -> Request {
    request.subresource = subresource;
    request
}

pub fn config_map(name: &str, data: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": data}})
}

pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}})
}

pub fn deployment(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}},
    }})
}
