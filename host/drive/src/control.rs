//! Running the controllers.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_control::{Config, EventNote, Manager, Outcome, Step, Work};
use berth_pipeline::Verb;
use berth_pipeline::cluster::Cluster;
use berth_state::{Fence, State};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
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

/// Runs the controllers until the cluster shuts down. They write only while `fence` holds.
pub async fn run_controllers(cluster: Arc<Cluster>, config: Config, fence: Fence) {
    let fence = Arc::new(fence);
    let (mut follower, state) = Follower::new(cluster.clone());
    let mut manager = Manager::new(config);
    manager.resync(&state);
    let mut sinks = Sinks::default();
    let (report, mut finished) = mpsc::channel::<Finished>(RUNNING_MAX);
    let mut running = 0;
    loop {
        let state = catch_up(&mut follower, &mut manager);
        while running < RUNNING_MAX {
            let Some(work) = manager.next(cluster.now()) else { break };
            let outcome = manager.reconcile(&work, &state, cluster.now());
            if outcome.steps.is_empty() {
                manager.done(&work, Ok(()), outcome.again_at, cluster.now());
                continue;
            }
            running += 1;
            let sink = sinks.of(&cluster, work.controller);
            tokio::spawn(carry_out(cluster.clone(), fence.clone(), work, outcome, sink, report.clone()));
        }
        let due = if running < RUNNING_MAX { manager.next_due(cluster.now()) } else { None };
        tokio::select! {
            alive = follower.changed() => if !alive { return },
            Some(done) = finished.recv() => {
                running -= 1;
                // The work's own writes must be seen before its controller looks again.
                catch_up(&mut follower, &mut manager);
                manager.done(&done.work, done.result, done.again_at, cluster.now());
            }
            () = until(due, cluster.now()) => {}
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

/// Waits for a moment of the cluster's time; for ever when there is none.
pub(crate) async fn until(due: Option<Timestamp>, now: Timestamp) {
    match due {
        Some(due) => {
            let millis = due.millis_since(now).max(0) as u64;
            tokio::time::sleep(std::time::Duration::from_millis(millis + 1)).await;
        }
        None => std::future::pending().await,
    }
}

/// A writer of events for each controller that had something to do.
#[derive(Default)]
struct Sinks(HashMap<&'static str, EventSink>);

impl Sinks {
    fn of(&mut self, cluster: &Arc<Cluster>, controller: &'static str) -> EventSink {
        let start = || EventSink::start(cluster.clone(), controller);
        self.0.entry(controller).or_insert_with(start).clone()
    }
}

async fn carry_out(
    cluster: Arc<Cluster>,
    fence: Arc<Fence>,
    work: Work,
    outcome: Outcome,
    sink: EventSink,
    report: mpsc::Sender<Finished>,
) {
    let again_at = outcome.again_at;
    let result = steps(&cluster, &fence, outcome.steps, &sink).await;
    if let Err(why) = &result {
        tracing::debug!(controller = work.controller, object = %work.key, "a step failed: {why}");
    }
    // The receiver is gone only when the controllers have stopped; nobody asks for the result then.
    let _ = report.send(Finished { work, result, again_at }).await;
}

/// Carries steps out in their order; neighbours that create or delete different objects go together.
async fn steps(cluster: &Cluster, fence: &Fence, steps: Vec<Step>, sink: &EventSink) -> Result<(), String> {
    let mut steps = steps.into_iter().peekable();
    while let Some(first) = steps.next() {
        let verb = first.request.verb;
        let mut batch = vec![first];
        if matches!(verb, Verb::Create | Verb::Delete) {
            batch.extend(std::iter::from_fn(|| steps.next_if(|next| next.request.verb == verb)));
        }
        together(cluster, fence, batch, sink).await?;
    }
    Ok(())
}

/// Carries out a batch, [`TOGETHER_MAX`] at a time; after a failure what is under way is finished and the rest is dropped.
async fn together(
    cluster: &Cluster,
    fence: &Fence,
    batch: Vec<Step>,
    sink: &EventSink,
) -> Result<(), String> {
    let mut batch = batch.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut result = Ok(());
    loop {
        while result.is_ok()
            && under_way.len() < TOGETHER_MAX
            && let Some(step) = batch.next()
        {
            under_way.push(carry_out_one(cluster, fence, step, sink));
        }
        match under_way.next().await {
            Some(done) => result = result.and(done),
            None => return result,
        }
    }
}

async fn carry_out_one(cluster: &Cluster, fence: &Fence, step: Step, sink: &EventSink) -> Result<(), String> {
    let tell = |note: Option<EventNote>, place: &str, text: &str| {
        if let Some(mut note) = note {
            note.message = note.message.replace(place, text);
            sink.tell(note);
        }
    };
    match cluster.apply_fenced(step.request, Some(fence)).await {
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
