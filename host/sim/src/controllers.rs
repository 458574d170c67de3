//! The controllers under virtual time: what `berth_drive::run_controllers` does with tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use berth_api::{Catalogue, Timestamp};
use berth_control::{Config, EventNote, Manager, Outcome, Recorder, Step, Work};
use berth_pipeline::{Kinds, Request, Verb};
use berth_state::State;

use crate::call::{Ask, Caller};

/// As in the drive: reconciliations carried out at the same time.
const RUNNING_MAX: usize = 64;
/// As in the drive: creations or deletions of one reconciliation under way together.
const TOGETHER_MAX: usize = 64;

/// What stands for the cluster's CA certificate.
pub(crate) const CA_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

struct Run {
    work: Work,
    steps: VecDeque<Step>,
    again_at: Option<Timestamp>,
    under_way: usize,
    failure: Option<String>,
}

/// The manager, its replica, and the work under way.
pub(crate) struct Controllers {
    manager: Manager,
    pub(crate) replica: State,
    recorders: BTreeMap<&'static str, Recorder>,
    runs: BTreeMap<u64, Run>,
    started: u64,
    catalogue: Arc<Catalogue>,
}

/// Calls to make now.
pub(crate) type Calls = Vec<(Caller, Ask)>;

impl Controllers {
    pub(crate) fn start(state: &State, catalogue: Arc<Catalogue>) -> Self {
        let ca_certificate = CA_CERTIFICATE.to_owned();
        let mut manager = Manager::new(Config { kinds: Arc::new(Kinds::new(&catalogue)), ca_certificate });
        let replica = state.clone();
        manager.resync(&replica);
        let (recorders, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { manager, replica, recorders, runs, started: 0, catalogue }
    }

    /// Takes in at most `limit` changes; whether there are more.
    pub(crate) fn catch_up(&mut self, state: &State, limit: usize) -> bool {
        let after = self.replica.revision();
        let changes = state.changes_after(after).expect("controllers live and die with the server");
        for change in changes.into_iter().take(limit) {
            self.replica.publish(change.clone());
            self.manager.on_change(&self.replica, change);
        }
        self.replica.revision() < state.revision()
    }

    /// Starts the work that is due.
    pub(crate) fn work(&mut self, now: Timestamp) -> Calls {
        let mut calls = Vec::new();
        while self.runs.len() < RUNNING_MAX {
            let Some(work) = self.manager.next(now) else { break };
            let Outcome { steps, again_at } = self.manager.reconcile(&work, &self.replica, now);
            if steps.is_empty() {
                self.manager.done(&work, Ok(()), again_at, now);
                continue;
            }
            self.started += 1;
            let run = Run { work, steps: steps.into(), again_at, under_way: 0, failure: None };
            self.runs.insert(self.started, run);
            self.go_on(self.started, &mut calls);
        }
        calls
    }

    /// The next group of a run's steps; a run without any is over, and `true` returned.
    fn go_on(&mut self, number: u64, calls: &mut Calls) -> bool {
        let Some(run) = self.runs.get_mut(&number) else { return false };
        if run.under_way > 0 {
            return false;
        }
        if run.failure.is_some() {
            run.steps.clear();
        }
        let Some(first) = run.steps.pop_front() else { return true };
        let verb = first.request.verb;
        let component = run.work.controller;
        run.send(number, component, first, calls);
        let together = matches!(verb, Verb::Create | Verb::Delete);
        while together && run.under_way < TOGETHER_MAX {
            match run.steps.front() {
                Some(next) if next.request.verb == verb => {}
                _ => break,
            }
            let Some(next) = run.steps.pop_front() else { break };
            run.send(number, component, next, calls);
        }
        false
    }

    /// A step was answered (or not, in time). `state` is the server's: the replica must hold the work's own writes.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        result: Result<(), String>,
        state: &State,
        now: Timestamp,
    ) -> Calls {
        let mut calls = Vec::new();
        if let Some(run) = self.runs.get_mut(&number) {
            run.under_way -= 1;
            if let Err(why) = result {
                run.failure.get_or_insert(why);
            }
        }
        if self.go_on(number, &mut calls)
            && let Some(run) = self.runs.remove(&number)
        {
            self.catch_up(state, usize::MAX);
            let result = run.failure.map_or(Ok(()), Err);
            self.manager.done(&run.work, result, run.again_at, now);
        }
        calls
    }

    /// The write of an event.
    pub(crate) fn record(
        &mut self,
        component: &'static str,
        note: EventNote,
        now: Timestamp,
    ) -> Option<Request> {
        let catalogue = &self.catalogue;
        let recorder =
            self.recorders.entry(component).or_insert_with(|| Recorder::new(component, catalogue.clone()));
        recorder.record(note, now)
    }

    /// When there is work without a further change; `None` also while no more can be started.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.runs.len() < RUNNING_MAX { self.manager.next_due(now) } else { None }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }
}

impl Run {
    fn send(&mut self, number: u64, component: &'static str, step: Step, calls: &mut Calls) {
        self.under_way += 1;
        let ask = Ask::Write(Box::new(step.request));
        calls.push((
            Caller::Step { run: number, component, told: step.succeeded, on_miss: step.on_miss },
            ask,
        ));
    }
}
