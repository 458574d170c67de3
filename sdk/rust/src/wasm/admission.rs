//! The component's face of an admission policy.

use crate::admission::{Admission, Manifest, Operation, Request, Verdict};
use bindings::exports::berth::policy::reviewing;
use std::cell::OnceCell;

/// Made from `wit/policy.wit`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "admission",
        pub_export_macro: true,
        export_macro_name: "export_admission",
    });
}
pub use bindings::export_admission;

/// A policy that has a place in this component: implemented by [`crate::export`].
pub trait Exported: Admission + 'static {
    /// Calls with the place of the component's only instance.
    fn with_place<T>(call: impl FnOnce(&mut Option<Self>) -> T) -> T;
}

/// Implements the generated traits for any policy.
#[derive(Debug)]
pub struct Component<P>(core::marker::PhantomData<P>);

impl<P: Exported> reviewing::Guest for Component<P> {
    fn describe(config: Vec<u8>) -> Result<reviewing::Manifest, String> {
        super::report_panics();
        let (policy, manifest) = P::describe(&config)?;
        P::with_place(|place| *place = Some(policy));
        Ok(manifest.into())
    }

    fn review(c: reviewing::Ctx, r: reviewing::Request) -> reviewing::Verdict {
        let request = request(c, r);
        P::with_place(|place| place.as_ref().expect("the policy has been described").review(&request)).into()
    }
}

fn request(c: reviewing::Ctx, r: reviewing::Request) -> Request {
    Request {
        now_ms: c.now_ms,
        seed: c.seed,
        uid: r.uid,
        operation: match r.operation {
            1 => Operation::Create,
            4 => Operation::Delete,
            _ => Operation::Update,
        },
        group: r.group,
        version: r.version,
        kind: r.kind,
        resource: r.resource,
        sub_resource: r.sub_resource,
        namespace: r.namespace,
        namespace_labels: r.namespace_labels,
        name: r.name,
        user: r.user,
        user_uid: r.user_uid,
        user_groups: r.user_groups,
        user_extra: r.user_extra,
        dry_run: r.dry_run,
        object_json: r.object,
        old_json: r.old_object,
        object: OnceCell::new(),
        old: OnceCell::new(),
    }
}

impl From<Manifest> for reviewing::Manifest {
    fn from(manifest: Manifest) -> Self {
        let rules = manifest.rules.into_iter().map(|rule| reviewing::Rule {
            groups: rule.groups,
            resources: rule.resources,
            operations: rule.operations,
            namespaces: rule.namespaces,
            selector: rule.selector,
            namespace_selector: rule.namespace_selector,
        });
        Self {
            name: manifest.name,
            version: manifest.version,
            mutates: manifest.mutates as u32,
            rules: rules.collect(),
        }
    }
}

impl From<Verdict> for reviewing::Verdict {
    fn from(verdict: Verdict) -> Self {
        Self {
            allowed: verdict.is_allowed(),
            code: verdict.code(),
            message: verdict.message().to_owned(),
            patch: verdict.patch().map(crate::admission::Patch::to_json).unwrap_or_default(),
            warnings: verdict.warnings().to_vec(),
            audit: verdict.audits().to_vec(),
        }
    }
}
