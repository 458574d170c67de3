//! Admission policies in the way of writes.
//!
//! Which policies a write meets follows from the bindings in the state that it was planned on; what runs is known here. So a
//! policy that is bound and does not run is no gap: its binding says what becomes of the write.

mod asking;
mod installed;
mod role;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_admission::{Bound, Mutates, Operation, is_exempt};
use berth_api::{Resource, Status};
use berth_cluster::IdSource;
use berth_json::Value;
use berth_pipeline::admission::Verdict;
use berth_pipeline::{Admission, Review, Verb};
use berth_state::Key;
use berth_tasks::Executor;
use futures_util::future::join_all;

use asking::{Asked, Question};
use installed::Installed;

pub use role::AdmissionRole;

const BINDINGS: &str = "pluginbindings.berth.dev";

/// All admission policies that run in this server: one plugin of the pipeline's admission. Cheap to clone; clones share
/// everything.
#[derive(Clone)]
pub struct Reviews {
    executor: Executor,
    ids: Arc<dyn IdSource>,
    /// By binding.
    running: Arc<Mutex<BTreeMap<String, Arc<Installed>>>>,
}

impl Reviews {
    /// None runs yet.
    pub fn new(executor: Executor, ids: Arc<dyn IdSource>) -> Self {
        Self { executor, ids, running: Arc::default() }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Installed>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any policy may have something to say about writes of a resource.
    fn may_concern(review: &Review<'_>) -> bool {
        let Resource { group, plural, .. } = review.resource;
        let mut bindings = review.state.list(BINDINGS, "");
        !is_exempt(group, plural, review.subresource)
            && bindings.any(|stored| stored.view::<Bound>().is_some_and(Bound::is_admission))
    }

    /// The policies that are bound, in the order in which they are asked: those that change objects, or those that only refuse.
    fn bound<'s>(&self, review: &Review<'s>, mutating: bool) -> Vec<Asked<'s>> {
        let running = self.running();
        let bound = review.state.list(BINDINGS, "").filter_map(|stored| {
            let bound = stored.view::<Bound>().filter(|bound| bound.is_admission())?;
            let installed = running.get(&*stored.key.name).cloned();
            let remembered = bound.remembered();
            let mutates = installed.as_ref().map(|installed| installed.mutates());
            let mutates = mutates.or(remembered.map(|(mutates, _)| mutates))?;
            ((mutates != Mutates::No) == mutating).then(|| Asked {
                name: &stored.key.name,
                order: bound.order(),
                failure_policy: bound.failure_policy(),
                mutates,
                installed,
                remembered: remembered.map(|(_, rules)| rules),
            })
        });
        let mut bound: Vec<_> = bound.collect();
        bound.sort_by_key(|asked| (asked.order, asked.name));
        bound
    }

    /// Asks those that change objects one after another, and then once more those that wish it and whose work a later one
    /// has changed, as the API server does it.
    async fn change(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Status> {
        let mut warnings = Vec::new();
        let bound = self.bound(review, true);
        // Made for the first that is concerned: most writes concern none.
        let mut question = None;
        let mut changes = 0;
        // How many changes there were when a policy had answered.
        let mut answered: Vec<Option<u32>> = vec![None; bound.len()];
        for is_again in [false, true] {
            for (asked, answered) in bound.iter().zip(&mut answered) {
                let is_asked = match (is_again, *answered) {
                    (false, _) => true,
                    (true, Some(before)) => asked.mutates == Mutates::Again && before < changes,
                    (true, None) => false,
                };
                if !is_asked || !asked.is_concerned(review, object) {
                    continue;
                }
                let question = question.get_or_insert_with(|| Question::new(self, review));
                let judged = question.ask(asked, &question.shown(object)).await?;
                warnings.extend(judged.warnings);
                if let Some(changed) = judged.changed.filter(|changed| changed != object) {
                    *object = changed;
                    changes += 1;
                }
                *answered = Some(changes);
            }
        }
        Ok(warnings)
    }

    /// Asks those that only refuse, all at once.
    async fn check(&self, review: &Review<'_>, object: &Value) -> Result<Vec<String>, Status> {
        let mut asked = self.bound(review, false);
        asked.retain(|asked| asked.is_concerned(review, object));
        if asked.is_empty() {
            return Ok(vec![]);
        }
        let question = Question::new(self, review);
        let shown = question.shown(object);
        let answers = join_all(asked.iter().map(|asked| question.ask(asked, &shown)));
        let mut warnings = Vec::new();
        for answer in answers.await {
            warnings.extend(answer?.warnings);
        }
        Ok(warnings)
    }
}

impl Admission for Reviews {
    fn name(&self) -> &str {
        "policies"
    }

    fn concerns(&self, review: &Review<'_>) -> bool {
        Self::may_concern(review)
    }

    fn mutate<'a>(&'a self, review: &'a Review<'_>, object: &'a mut Value) -> Verdict<'a> {
        Box::pin(self.change(review, object))
    }

    fn validate<'a>(&'a self, review: &'a Review<'_>, object: &'a Value) -> Verdict<'a> {
        Box::pin(self.check(review, object))
    }
}

fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Create => Operation::Create,
        Verb::Delete | Verb::DeleteCollection => Operation::Delete,
        _ => Operation::Update,
    }
}

/// Of the object's namespace, or of the object where it is one.
fn namespace_labels(review: &Review<'_>, object: &Value) -> Option<Vec<(String, String)>> {
    if &*review.resource.id == "namespaces" {
        let labels = object["metadata"]["labels"].as_object();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pairs = labels.into_iter().flat_map(|labels| labels.iter());
        return Some(pairs.map(|(key, value)| (key.to_string(), text(value))).collect());
    }
    if review.namespace.is_empty() {
        return None;
    }
    let namespace = review.state.get(&Key::new("namespaces", "", review.namespace))?;
    Some(namespace.meta().labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
}
