//! Components that review writes.

use crate::bindings::{reviewing, types};
use crate::component::{Component, Indices};
use crate::error::StartError;
use crate::instance::Instance;
use crate::limits::SETUP_DEADLINE;
use crate::pool::Pool;
use crate::sandbox::{first_line, one_line};
use berth_admission::{Manifest, Mutates, PolicyError, Request, Reviewer, Rule, Rules, Verdict};
use berth_lifecycle::RoleName;

/// An admission policy: a pool of instances, each configured before it is asked.
pub struct WasmReviewer {
    pool: Pool<reviewing::Guest>,
    manifest: Manifest,
}

impl WasmReviewer {
    pub(crate) fn start(component: &Component, name: &str, config: &[u8]) -> Result<Self, StartError> {
        let (component, name, config) = (component.clone(), name.to_owned(), config.to_vec());
        let (pool, described) = Pool::start(move || configured(&component, &name, &config))?;
        let manifest = decode(described)?;
        Ok(Self { pool, manifest })
    }
}

fn configured(
    component: &Component,
    name: &str,
    config: &[u8],
) -> Result<(Instance<reviewing::Guest>, reviewing::Manifest), StartError> {
    let Indices::Admission(indices) = component.indices() else {
        return Err(StartError::Role { role: component.role(), wanted: RoleName::Admission });
    };
    let mut instance = Instance::start(component, name, |store, instance| indices.load(store, instance))?;
    let described = instance.call(SETUP_DEADLINE, |store, guest| guest.call_describe(store, config))?;
    described.map(|manifest| (instance, manifest)).map_err(|why| StartError::Config(first_line(&why)))
}

/// Gives a component's manifest its meaning.
fn decode(manifest: reviewing::Manifest) -> Result<Manifest, StartError> {
    let mutates = match manifest.mutates {
        0 => Mutates::No,
        1 => Mutates::Once,
        2 => Mutates::Again,
        other => return Err(StartError::BadManifest(format!("{other} is no known value of mutates"))),
    };
    let rule = |rule: reviewing::Rule| Rule {
        groups: rule.groups,
        resources: rule.resources,
        operations: rule.operations,
        namespaces: rule.namespaces,
        selector: rule.selector,
        namespace_selector: rule.namespace_selector,
    };
    let rules: Vec<Rule> = manifest.rules.into_iter().map(rule).collect();
    Rules::new(&rules).map_err(|why| StartError::BadManifest(first_line(&why.to_string())))?;
    let (name, version) = (one_line(&manifest.name), one_line(&manifest.version));
    Ok(Manifest { name, version, mutates, rules })
}

impl Reviewer for WasmReviewer {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn review(&self, request: &Request) -> Result<Verdict, PolicyError> {
        let failed = |why: &dyn std::fmt::Display| PolicyError::Failed(why.to_string());
        let ctx = types::Ctx { seq: 0, now_ms: request.now_ms, seed: request.seed };
        let asked = wire(request);
        let answer = self.pool.with(|instance| {
            instance.call(instance.deadline(), |store, guest| guest.call_review(store, ctx, &asked))
        });
        let verdict = answer.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let reviewing::Verdict { allowed, code, message, patch, warnings, audit } = verdict;
        Ok(Verdict { allowed, code, message, patch, warnings, audit })
    }
}

fn wire(request: &Request) -> reviewing::Request {
    reviewing::Request {
        uid: request.uid.clone(),
        operation: request.operation as u32,
        group: request.group.clone(),
        version: request.version.clone(),
        kind: request.kind.clone(),
        resource: request.resource.clone(),
        sub_resource: request.sub_resource.clone(),
        namespace: request.namespace.clone(),
        namespace_labels: request.namespace_labels.clone(),
        name: request.name.clone(),
        user: request.user.clone(),
        user_uid: request.user_uid.clone(),
        user_groups: request.user_groups.clone(),
        user_extra: request.user_extra.clone(),
        dry_run: request.dry_run,
        object: request.object.to_vec(),
        old_object: request.old_object.to_vec(),
    }
}
