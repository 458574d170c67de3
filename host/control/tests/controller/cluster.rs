//! A state and a manager, for tests that look at one step at a time.

use std::sync::Arc;

use berth_api::{Timestamp, kinds};
use berth_control::{Config, Controller, Manager, Outcome, Work};
use berth_json::{Value, json};
use berth_pipeline::Kinds;
use berth_state::{Action, Commit, Draft, Expect, Key, Ledger, Op, State};

const CREATED: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// So many seconds after everything was made.
pub(crate) fn at(seconds: i64) -> Timestamp {
    CREATED.plus_millis(seconds * 1000)
}

/// A cluster of which controllers hear, and in which nothing happens but what a test does.
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) manager: Manager,
}

impl Cluster {
    /// One of these controllers.
    pub(crate) fn new(controllers: Vec<Box<dyn Controller>>) -> Self {
        Self { state: State::default(), manager: Manager::with(controllers, config()) }
    }

    /// One of the controllers of this build.
    pub(crate) fn of_the_build() -> Self {
        Self { state: State::default(), manager: Manager::new(config()) }
    }

    fn commit(&mut self, op: Op) {
        let changes = Ledger::default().stage(&self.state, Commit { ops: vec![op], ..Commit::default() });
        for change in changes.unwrap() {
            self.state.publish(change.clone());
            self.manager.on_change(&self.state, &change);
        }
    }

    /// Makes or changes an object; its name, uid and the like are filled in.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) {
        let catalogue = kinds::catalogue();
        let metadata = &mut object["metadata"];
        metadata["name"] = (&*key.name).into();
        metadata["namespace"] = (&*key.namespace).into();
        metadata["uid"] = uid(key).into();
        metadata["creationTimestamp"] = CREATED.rfc3339().into();
        let draft = Draft::encode(catalogue.named(&key.resource).unwrap(), &object, None).unwrap();
        let expect = self.state.get(key).map_or(Expect::Absent, |stored| Expect::At(stored.revision));
        self.commit(Op { key: key.clone(), expect, action: Action::Put(draft) });
    }

    /// The same of one that has labels and nothing else.
    pub(crate) fn label(&mut self, key: &Key, labels: Value) {
        self.put(key, json!({"metadata": {"labels": labels}}));
    }

    pub(crate) fn delete(&mut self, key: &Key) {
        let expect = Expect::At(self.state.get(key).unwrap().revision);
        self.commit(Op { key: key.clone(), expect, action: Action::Delete });
    }

    /// The next work, and what its controller wants done.
    pub(crate) fn look(&mut self, now: Timestamp) -> Option<(Work, Outcome)> {
        let work = self.manager.next(now)?;
        let outcome = self.manager.reconcile(&work, &self.state, now);
        Some((work, outcome))
    }

    /// All work that is due is looked at and nothing of it done; what was looked at, by name.
    pub(crate) fn looked_at(&mut self, now: Timestamp) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((work, outcome)) = self.look(now) {
            assert!(outcome.steps.is_empty(), "{work:?}");
            self.manager.done(&work, Ok(()), outcome.again_at, now);
            names.push(work.key.name.to_string());
        }
        names
    }
}

fn config() -> Config {
    Config { kinds: Arc::new(Kinds::new(&kinds::catalogue())), ca_certificate: String::new() }
}

/// The uid of an object.
pub(crate) fn uid(key: &Key) -> String {
    format!("uid-{key}")
}
