//! CustomResourceDefinition: which names it gets and whether its kind is served; and that it goes after its objects.

use std::sync::Arc;

use berth_api::Resource;
use berth_custom::conditions;
use berth_json::{Value, json};
use berth_pipeline::kinds::{CLEANUP_FINALIZER, DEFINITIONS};
use berth_state::{Key, State, Stored};
use serde::Deserialize;

use crate::controller::{Controller, Look, News, Wake};
use crate::outcome::{Outcome, Step};
use crate::registry::Config;
use crate::requests::Writer;

/// Objects that one reconciliation deletes at most; their going brings the controller back for the rest.
const DELETIONS_MAX: usize = 500;

/// The definitions that may want the names of this one.
fn of_the_same_group<'s>(state: &'s State, name: &'s str) -> impl Iterator<Item = &'s Arc<Stored>> {
    let group = group_of(name);
    state.list(DEFINITIONS, "").filter(move |other| group_of(&other.key.name) == group)
}

/// A definition is called by plural and group of its kind.
fn group_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, group)| group)
}

/// Gives custom kinds their names, and lets definitions go after their objects.
pub(crate) struct Definitions {
    built_in: Vec<Arc<Resource>>,
}

impl Definitions {
    pub(crate) fn new(config: &Config) -> Self {
        Self { built_in: config.kinds.built_in().iter().cloned().collect() }
    }
}

impl Controller for Definitions {
    fn name(&self) -> &'static str {
        "crd-controller"
    }

    fn wake(&mut self, news: &News<'_>, wake: &mut Wake<'_>) {
        let is_definition = news.resource() == DEFINITIONS;
        if is_definition {
            wake.up(news.key());
        }
        if !news.is_gone() {
            return;
        }
        if is_definition {
            wake.all(of_the_same_group(news.state, &news.key().name));
        }
        let definition = news.state.get(&Key::new(DEFINITIONS, "", news.resource()));
        wake.all(definition.filter(|found| found.meta().deletion_timestamp.is_some()));
    }

    fn reconcile(&mut self, look: &Look<'_>, stored: &Arc<Stored>) -> Outcome {
        if stored.meta().deletion_timestamp.is_some() {
            return empty(look.writer, look.state, stored);
        }
        let mut outcome = Outcome::default();
        let group = group_of(&stored.key.name);
        let others = of_the_same_group(look.state, &stored.key.name).filter_map(|other| slim(other));
        let built_in = self.built_in.iter().filter(|resource| resource.group == group);
        let others: Vec<Value> = others.chain(built_in.map(|resource| names_of(resource))).collect();
        if let Some(status) = conditions(&look.writer.value(stored), &others, look.now)
            && let Some(request) = look.writer.set_status(stored, status)
        {
            outcome.push(Step::new(request).optional());
        }
        outcome
    }
}

/// Its objects go first.
fn empty(writer: &Writer, state: &State, stored: &Arc<Stored>) -> Outcome {
    let mut outcome = Outcome::default();
    if !stored.meta().finalizers.iter().any(|finalizer| &**finalizer == CLEANUP_FINALIZER) {
        return outcome;
    }
    let mut objects = state.list(&stored.key.name, "").peekable();
    if objects.peek().is_none() {
        outcome.push(Step::new(writer.remove_finalizer(stored, CLEANUP_FINALIZER)));
        return outcome;
    }
    let going = objects.filter(|object| object.meta().deletion_timestamp.is_none()).take(DELETIONS_MAX);
    going.for_each(|object| outcome.push(Step::new(writer.delete(object, "Background")).optional()));
    outcome
}

/// As much of a definition as its neighbours' names depend on: the schemas are most of it.
#[derive(Deserialize)]
struct Slim {
    metadata: Value,
    spec: Group,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
struct Group {
    group: String,
}

fn slim(stored: &Stored) -> Option<Value> {
    let Slim { metadata, spec, status } = serde_json::from_slice(stored.bytes()).ok()?;
    Some(json!({ "metadata": metadata, "spec": { "group": spec.group }, "status": status }))
}

/// The names that a kind of this build has, as a definition would have got them.
fn names_of(resource: &Resource) -> Value {
    let names = json!({
        "plural": resource.plural, "singular": resource.singular, "kind": resource.kind,
        "listKind": resource.list_kind, "shortNames": resource.short_names,
    });
    json!({
        "metadata": { "name": "" }, "spec": { "group": resource.group }, "status": { "acceptedNames": names },
    })
}
