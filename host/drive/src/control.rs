//! Running the controllers.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_control::{Config, Controller, EventNote, Manager, Outcome, Step, Work};
use berth_pipeline::cluster::Cluster;
use berth_pipeline::{Answer, Verb};
use berth_state::State;
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

/// Runs the controllers until the cluster shuts down.
pub async fn run_controllers(cluster: Arc<Cluster>, config: Config) {
    let (mut follower, mut replica) = Follower::new(cluster.clone());
    let mut manager = Manager::new(config);
    manager.resync(&replica);
    let sinks = Sinks::new(&cluster);
    let (report, mut finished) = mpsc::channel::<Finished>(RUNNING_MAX);
    let mut running = 0;
    loop {
        catch_up(&mut follower, &mut replica, &mut manager);
        while running < RUNNING_MAX {
            let Some(work) = manager.next(cluster.now()) else { break };
            let outcome = manager.reconcile(&work, &replica, cluster.now());
            if outcome.steps.is_empty() {
                manager.done(&work, Ok(()), outcome.again_at, cluster.now());
                continue;
            }
            running += 1;
            let sink = sinks.of(work.controller);
            tokio::spawn(carry_out(cluster.clone(), work, outcome, sink, report.clone()));
        }
        let due = if running < RUNNING_MAX { manager.next_due(cluster.now()) } else { None };
        tokio::select! {
            alive = follower.changed() => if !alive { return },
            Some(done) = finished.recv() => {
                running -= 1;
                // The replica must hold the work's own writes before its controller looks again.
                catch_up(&mut follower, &mut replica, &mut manager);
                manager.done(&done.work, done.result, done.again_at, cluster.now());
            }
            () = until(due, cluster.now()) => {}
        }
    }
}

fn catch_up(follower: &mut Follower, replica: &mut State, manager: &mut Manager) {
    match follower.next() {
        News::Changes(changes) => {
            for change in changes {
                replica.publish(change.clone());
                manager.on_change(replica, &change);
            }
        }
        News::State(state) => {
            *replica = *state;
            manager.resync(replica);
        }
    }
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

struct Sinks(HashMap<Controller, EventSink>);

impl Sinks {
    fn new(cluster: &Arc<Cluster>) -> Self {
        let telling =
            [Controller::Deployment, Controller::ReplicaSet, Controller::NodeLifecycle, Controller::Eviction];
        Self(telling.into_iter().map(|c| (c, EventSink::start(cluster.clone(), c.name()))).collect())
    }

    fn of(&self, controller: Controller) -> Option<EventSink> {
        self.0.get(&controller).cloned()
    }
}

async fn carry_out(
    cluster: Arc<Cluster>,
    work: Work,
    outcome: Outcome,
    sink: Option<EventSink>,
    report: mpsc::Sender<Finished>,
) {
    let again_at = outcome.again_at;
    let result = steps(&cluster, outcome.steps, sink.as_ref()).await;
    if let Err(why) = &result {
        tracing::debug!(controller = work.controller.name(), object = %work.key, "a step failed: {why}");
    }
    // The receiver is gone only when the controllers have stopped; nobody asks for the result then.
    let _ = report.send(Finished { work, result, again_at }).await;
}

/// Carries steps out in their order; neighbours that create or delete different objects go together.
async fn steps(cluster: &Cluster, steps: Vec<Step>, sink: Option<&EventSink>) -> Result<(), String> {
    let mut steps = steps.into_iter().peekable();
    let mut first_failure = None;
    while let Some(step) = steps.next() {
        let verb = step.request.verb;
        let together = matches!(verb, Verb::Create | Verb::Delete);
        let mut under_way = FuturesUnordered::new();
        under_way.push(carry_out_one(cluster, step, sink));
        loop {
            let next = steps.next_if(|next| together && next.request.verb == verb && first_failure.is_none());
            match next {
                Some(next) => under_way.push(carry_out_one(cluster, next, sink)),
                None if under_way.is_empty() => break,
                None => {}
            }
            if under_way.len() >= TOGETHER_MAX
                || steps.peek().is_none_or(|s| !together || s.request.verb != verb)
            {
                if let Some(Err(why)) = under_way.next().await {
                    first_failure.get_or_insert(why);
                }
            }
        }
        if let Some(why) = first_failure {
            return Err(why);
        }
    }
    Ok(())
}

async fn carry_out_one(cluster: &Cluster, step: Step, sink: Option<&EventSink>) -> Result<(), String> {
    let tell = |note: Option<EventNote>, place: &str, text: &str| {
        if let (Some(mut note), Some(sink)) = (note, sink) {
            note.message = note.message.replace(place, text);
            sink.tell(note);
        }
    };
    match cluster.apply(step.request).await {
        Ok(Answer { object, .. }) => {
            tell(step.succeeded, "{name}", object["metadata"]["name"].as_str().unwrap_or(""));
            Ok(())
        }
        Err(error) if step.on_miss.accepts(&error) => Ok(()),
        Err(error) => {
            tell(step.failed, "{error}", &error.message);
            Err(error.message)
        }
    }
}
