//! What all plans look up: the request's object, its rights, its answer.

use std::sync::Arc;

use berth_api::managed_fields::ManagedFields;
use berth_api::status::Details;
use berth_api::{Reason, Scope, Status};
use berth_json::{Value, json};
use berth_state::{Action, Commit, Draft, Expect, Key, Need, Op, State, Stored};

use super::{Env, Outcome, Plan, size};
use crate::admission::Review;
use crate::authorizer;
use crate::identity::{Attributes, Verb};
use crate::kinds::DEFINITIONS;
use crate::request::Request;

/// One request on its way.
pub(super) struct Context<'a, 'e> {
    pub(super) state: &'a State,
    pub(super) env: &'a mut Env<'e>,
    pub(super) request: &'a Request,
}

/// 405, as the API server answers a verb that an endpoint does not have.
pub(super) fn not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status { details: Some(Box::default()), ..Status::new(Reason::MethodNotAllowed, message) }
}

/// `metav1.Status` of a success.
pub(super) fn success(code: u16, details: Option<Value>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    match details {
        Some(details) => status["details"] = details,
        None => status["code"] = code.into(),
    }
    status
}

impl<'a> Context<'a, '_> {
    /// Whether the endpoint exists and takes the verb.
    pub(super) fn check_served(&self) -> Result<(), Status> {
        let Request { resource, subresource, verb, .. } = self.request;
        let verbs = match *subresource {
            "" => &resource.verbs[..],
            name => match resource.subresource(name) {
                Some(subresource) => subresource.verbs,
                None => {
                    let message = "the server could not find the requested resource";
                    let status = Status::new(Reason::NotFound, message);
                    return Err(Status { details: Some(Box::default()), ..status });
                }
            },
        };
        if verbs.contains(&verb.as_str()) { Ok(()) } else { Err(not_allowed()) }
    }

    /// Asks the authorizer about this request.
    pub(super) fn authorize(&self) -> Result<(), Status> {
        self.authorize_as(self.request.verb)
    }

    /// Asks the authorizer about this request as if it had another verb: a PUT that creates must be allowed both.
    pub(super) fn authorize_as(&self, verb: Verb) -> Result<(), Status> {
        let Request { identity, resource, subresource, namespace, name, .. } = self.request;
        let asked = Attributes { identity, verb, resource, subresource, namespace, name, fields: None };
        authorizer::check(self.env.authorizer, self.state, &asked)
    }

    pub(super) fn key(&self, name: &str) -> Key {
        Key::new(self.request.resource.id.clone(), self.request.namespace.as_str(), name)
    }

    /// The stored object of the request, if it is there.
    pub(super) fn stored(&self) -> Option<&'a Arc<Stored>> {
        self.state.get(&self.key(&self.request.name))
    }

    /// The stored object of the request.
    pub(super) fn found(&self) -> Result<&'a Arc<Stored>, Status> {
        self.stored().ok_or_else(|| Status::not_found(&self.request.resource, &self.request.name))
    }

    /// The plan when `object`, with these managers, goes to the store as it is, or, in a dry run, does not.
    pub(super) fn write(
        &self,
        key: Key,
        expect: Expect,
        mut object: Value,
        managers: Option<ManagedFields>,
        reply: Reply,
    ) -> Result<Plan, Status> {
        let Reply { code, warnings, shown } = reply;
        if self.request.options.dry_run {
            if let Some(managers) = managers {
                managers.put_into(&mut object);
            }
            return Ok(Plan::answering(None, code, shown.unwrap_or(object), warnings));
        }
        let needs = match expect {
            Expect::Absent => self.needed(),
            Expect::At(_) => vec![],
        };
        let draft = self.draft(&object, managers.as_ref())?;
        let before = self.state.get(&key).map(Arc::as_ref);
        size::check(&self.request.resource, &key.name, &draft, before)?;
        let ops = vec![Op { key, expect, action: Action::Put(draft) }];
        let commit = Commit { ops, needs, ..Commit::default() };
        let shown = shown.map_or_else(|| Outcome::Written(self.request.resource.clone()), Outcome::View);
        Ok(Plan { commit: Some(commit), code, warnings, shown })
    }

    /// `managers` take the place of those in `object`, if there are any.
    pub(super) fn draft(&self, object: &Value, managers: Option<&ManagedFields>) -> Result<Draft, Status> {
        let failed = |error| Status::internal(format!("the object cannot be stored: {error}"));
        let managers = managers.map(ManagedFields::as_json);
        Draft::encode(&self.request.resource, object, managers).map_err(failed)
    }

    /// A new object relies on its namespace, and a custom one on its definition: one that goes between plan and commit
    /// takes the object with it.
    fn needed(&self) -> Vec<Need> {
        let resource = &self.request.resource;
        let namespaced = resource.scope == Scope::Namespaced;
        let namespace = namespaced.then(|| Key::new("namespaces", "", self.request.namespace.as_str()));
        let definition = resource.is_custom.then(|| Key::new(DEFINITIONS, "", &*resource.id));
        let need = |key: Key| {
            let uid = self.state.get(&key)?.meta().uid.clone();
            Some(Need { key, uid })
        };
        [namespace, definition].into_iter().flatten().filter_map(need).collect()
    }

    /// What admission is asked about.
    pub(super) fn review<'r>(
        &'r self,
        verb: Verb,
        name: &'r str,
        old: Option<&'r Value>,
        suffix: &'r str,
    ) -> Review<'r> {
        Review {
            state: self.state,
            identity: &self.request.identity,
            verb,
            resource: &self.request.resource,
            subresource: self.request.subresource,
            namespace: &self.request.namespace,
            name,
            old,
            dry_run: self.request.options.dry_run,
            now: self.env.now,
            suffix,
        }
    }

    /// `details` that name the request's object by its plural, as most answers do.
    pub(super) fn plural_details(&self, name: &str) -> Details {
        let resource = &self.request.resource;
        Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.plural.clone(),
            ..Details::default()
        }
    }
}

/// How a write is answered.
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) warnings: Vec<String>,
    /// What the client sees instead of the object (a Scale).
    pub(super) shown: Option<Value>,
}
