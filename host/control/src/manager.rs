//! The one place where changes become work, and work is handed to its controller.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::{Catalogue, Timestamp};
use berth_pipeline::Kinds;
use berth_state::{Change, Key, State};

use crate::controller::{Controller, Hears, Look, News, Wake};
use crate::outcome::Outcome;
use crate::queue::Queue;
use crate::registry::{self, Config};
use crate::requests::Writer;

/// One object for one controller to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Who looks, by name.
    pub controller: &'static str,
    /// At which object.
    pub key: Key,
}

/// The queue of work and the controllers.
pub struct Manager {
    kinds: Kinds,
    /// The kinds of the state that was looked at last, as the writers have them.
    catalogue: Arc<Catalogue>,
    controllers: Vec<Registered>,
    hearers: Hearers,
    queue: Queue<Work>,
    failures: HashMap<Work, String>,
}

struct Registered {
    controller: Box<dyn Controller>,
    writer: Writer,
}

/// Which controllers hear of which resources, by their places.
struct Hearers {
    of: HashMap<&'static str, Vec<usize>>,
    of_others: Vec<usize>,
}

impl Manager {
    /// A manager of this build's controllers with nothing to do; call [`Manager::resync`] when the state is there.
    pub fn new(config: Config) -> Self {
        Self::with(registry::controllers(&config), config)
    }

    /// A manager of these controllers.
    ///
    /// # Panics
    /// When two of them have the same name: a bug of the registry.
    pub fn with(controllers: Vec<Box<dyn Controller>>, config: Config) -> Self {
        let catalogue = Arc::new(config.kinds.built_in().clone());
        let mut registered: Vec<Registered> = Vec::with_capacity(controllers.len());
        for controller in controllers {
            let name = controller.name();
            assert!(registered.iter().all(|other| other.controller.name() != name), "{name} is there twice");
            registered.push(Registered { writer: Writer::new(name, catalogue.clone()), controller });
        }
        Self {
            kinds: config.kinds.follower(),
            catalogue,
            hearers: Hearers::among(&registered),
            controllers: registered,
            queue: Queue::new(),
            failures: HashMap::new(),
        }
    }

    /// Looks at everything once: after a start, or when the change feed was lost.
    pub fn resync(&mut self, state: &State) {
        for stored in state.iter() {
            self.tell(&News::found(state, stored));
        }
    }

    /// Queues the work that a change makes. `state` holds the change already.
    pub fn on_change(&mut self, state: &State, change: &Change) {
        self.tell(&News::of(state, change));
    }

    fn tell(&mut self, news: &News<'_>) {
        for at in self.hearers.of(news.resource()) {
            let controller = &mut self.controllers[*at].controller;
            let mut wake = Wake { controller: controller.name(), queue: &mut self.queue };
            controller.wake(news, &mut wake);
        }
    }

    /// The next thing to look at, if anything is due.
    pub fn next(&mut self, now: Timestamp) -> Option<Work> {
        self.queue.pop(now)
    }

    /// When [`Manager::next`] will have something without a further change; `None`: not before one.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.next_due(now)
    }

    /// What the work's controller wants done.
    pub fn reconcile(&mut self, work: &Work, state: &State, now: Timestamp) -> Outcome {
        let Some(stored) = state.get(&work.key) else { return Outcome::default() };
        self.know_kinds(state);
        let mut all = self.controllers.iter_mut();
        let Some(Registered { controller, writer }) = all.find(|r| r.controller.name() == work.controller)
        else {
            return Outcome::default();
        };
        let failure = self.failures.get(work).map(String::as_str);
        controller.reconcile(&Look { state, now, writer, failure }, stored)
    }

    fn know_kinds(&mut self, state: &State) {
        let catalogue = self.kinds.at(state);
        if !Arc::ptr_eq(&catalogue, &self.catalogue) {
            self.controllers.iter_mut().for_each(|known| known.writer.know(catalogue.clone()));
            self.catalogue = catalogue;
        }
    }

    /// Reports that a work's steps were carried out, or why one failed, and when to look again.
    ///
    /// The state must hold the work's own writes by then, or the controller would make them a second time.
    pub fn done(
        &mut self,
        work: &Work,
        result: Result<(), String>,
        again_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        self.queue.done(work, result.is_ok(), now);
        match result {
            // What a controller said of the failure it takes back when it looks once more.
            Ok(()) if self.failures.remove(work).is_some() => self.queue.add(work.clone()),
            Ok(()) => {}
            Err(why) => {
                self.failures.insert(work.clone(), why);
            }
        }
        if let Some(at) = again_at {
            self.queue.add_at(work.clone(), at);
        }
    }
}

impl Hearers {
    fn among(controllers: &[Registered]) -> Self {
        let hears: Vec<Hears> = controllers.iter().map(|known| known.controller.hears_of()).collect();
        let of = |resource: Option<&str>| {
            let hears_it = |hears: &Hears| match hears {
                Hears::All => true,
                Hears::Of(resources) => resource.is_some_and(|name| resources.contains(&name)),
            };
            (0..hears.len()).filter(|at| hears_it(&hears[*at])).collect::<Vec<_>>()
        };
        let named = hears.iter().flat_map(|hears| match hears {
            Hears::All => &[][..],
            Hears::Of(resources) => resources,
        });
        Self { of: named.map(|name| (*name, of(Some(name)))).collect(), of_others: of(None) }
    }

    fn of(&self, resource: &str) -> &[usize] {
        self.of.get(resource).unwrap_or(&self.of_others)
    }
}
