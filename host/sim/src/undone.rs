//! Whether controllers know of everything that concerns them.

use std::sync::Arc;

use berth_api::{Catalogue, Timestamp};
use berth_control::{Config, Manager};
use berth_pipeline::{Body, Kinds};
use berth_state::State;

/// What controllers that look at everything anew would do: once all is at rest that is nothing, or somebody was not woken.
pub(crate) fn undone(
    state: &State,
    catalogue: &Catalogue,
    ca_certificate: &str,
    now: Timestamp,
) -> Vec<String> {
    let ca_certificate = ca_certificate.to_owned();
    let mut manager = Manager::new(Config { kinds: Arc::new(Kinds::new(catalogue)), ca_certificate });
    manager.resync(state);
    let mut found = Vec::new();
    while let Some(work) = manager.next(now) {
        let outcome = manager.reconcile(&work, state, now);
        let requests = outcome.steps.iter().map(|step| &step.request);
        found.extend(requests.map(|request| {
            let (verb, name) = (request.verb, &request.name);
            let body = match &request.body {
                Body::Patch(_, patch) => String::from_utf8_lossy(patch).into_owned(),
                Body::Object(object) => object.to_string(),
                _ => String::new(),
            };
            format!(
                "{} was not woken for {}: it would {verb:?} {}/{name}: {body}",
                work.controller, work.key, request.resource.id
            )
        }));
        manager.done(&work, Ok(()), None, now);
    }
    found
}
