//! Running the controllers.

use std::collections::BTreeMap;

use berth_api::Timestamp;
use berth_cluster::Leader;
use berth_control::{Config, EventNote, Manager, Outcome, Step, Work};
use berth_pipeline::Verb;
use berth_state::State;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::events::EventSink;
use crate::feed::{Follower, News};

/// Reconciliations carried out at the same time; the others wait in the queue, where repeats fold into one.
const RUNNING_MAX: usize = 64;
/// Creations or deletions of one reconciliation under way together: enough for a group commit.
const TOGETHER_MAX: usize = 64;

struct Finished {
    work: Work,
    result: Result<(), String>,
    again_at: Option<Timestamp>,
}

/// Runs the controllers for as long as the leader leads.
pub async fn run_controllers(leader: Leader, config: Config) {
    let (mut follower, state) = Follower::new(Arc::clone(&leader));
    let mut manager = Manager::new(config);
    manager.resync(&state);
    drop(state);
    let mut sinks = Sinks { leader: leader.clone(), by_name: BTreeMap::new() };
    let (report, mut finished) = mpsc::channel::<Finished>(RUNNING_MAX);
    let mut running = 0;
    loop {
        let state = catch_up(&mut follower, &mut manager);
        while running < RUNNING_MAX {
            let Some(work) = manager.next(leader.now()) else { break };
            let outcome = manager.reconcile(&work, &state, leader.now());
            if outcome.steps.is_empty() {
                manager.done(&work, Ok(()), outcome.again_at, leader.now());
                continue;
            }
            running += 1;
            let hands = Hands { leader: leader.clone(), sink: sinks.of(work.controller) };
            leader.executor().spawn("work", carry_out(hands, work, outcome, report.clone()));
        }
        let due = if running < RUNNING_MAX { manager.next_due(leader.now()) } else { None };
        tokio::select! {
            biased;
            Some(done) = finished.recv() => {
                running -= 1;
                // The work's own writes must be seen before its controller looks again.
                catch_up(&mut follower, &mut manager);
                manager.done(&done.work, done.result, done.again_at, leader.now());
            }
            alive = follower.changed() => if !alive { return },
            () = leader.executor().sleep_until(due) => {}
        }
    }
}

fn catch_up(follower: &mut Follower, manager: &mut Manager) -> Arc<State> {
    let News { state, changes } = follower.catch_up();
    match changes {
        Some(changes) => changes.iter().for_each(|change| manager.on_change(&state, change)),
        None => manager.resync(&state),
    }
    state
}

/// Who tells events, by the name of the controller.
struct Sinks {
    leader: Leader,
    by_name: BTreeMap<&'static str, EventSink>,
}

impl Sinks {
    fn of(&mut self, name: &'static str) -> EventSink {
        let start = || EventSink::start(self.leader.clone(), name);
        self.by_name.entry(name).or_insert_with(start).clone()
    }
}

/// What one reconciliation is carried out with.
struct Hands {
    leader: Leader,
    sink: EventSink,
}

async fn carry_out(hands: Hands, work: Work, outcome: Outcome, report: mpsc::Sender<Finished>) {
    let again_at = outcome.again_at;
    let result = hands.steps(outcome.steps).await;
    if let Err(why) = &result {
        tracing::debug!(controller = work.controller, object = %work.key, "a step failed: {why}");
    }
    // The receiver is gone only when the controllers have stopped; nobody asks for the result then.
    let _ = report.send(Finished { work, result, again_at }).await;
}

impl Hands {
    /// Carries steps out in their order; neighbours that create or delete different objects go together.
    async fn steps(&self, steps: Vec<Step>) -> Result<(), String> {
        let mut steps = steps.into_iter().peekable();
        while let Some(first) = steps.next() {
            let verb = first.request.verb;
            let mut batch = vec![first];
            if matches!(verb, Verb::Create | Verb::Delete) {
                batch.extend(std::iter::from_fn(|| steps.next_if(|next| next.request.verb == verb)));
            }
            self.together(batch).await?;
        }
        Ok(())
    }

    /// Carries out a batch, [`TOGETHER_MAX`] at a time; after a failure what is under way is finished and the rest is dropped.
    async fn together(&self, batch: Vec<Step>) -> Result<(), String> {
        let mut batch = batch.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut result = Ok(());
        loop {
            while result.is_ok()
                && under_way.len() < TOGETHER_MAX
                && let Some(step) = batch.next()
            {
                under_way.push(self.carry_out_one(step));
            }
            match under_way.next().await {
                Some(done) => result = result.and(done),
                None => return result,
            }
        }
    }

    async fn carry_out_one(&self, step: Step) -> Result<(), String> {
        let tell = |note: Option<EventNote>, place: &str, text: &str| {
            if let Some(mut note) = note {
                note.message = note.message.replace(place, text);
                self.sink.tell(note);
            }
        };
        match self.leader.apply(step.request).await {
            Ok(answer) => {
                tell(step.succeeded, "{name}", answer.name());
                Ok(())
            }
            Err(error) if step.on_miss.accepts(&error) => Ok(()),
            Err(error) => {
                tell(step.failed, "{error}", &error.message);
                Err(error.message)
            }
        }
    }
}
