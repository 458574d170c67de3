//! The one writer: takes what is queued, makes it durable in one transaction, publishes it, answers.

use std::sync::Arc;
use std::time::Duration;

use berth_pipeline::Kinds;
use berth_state::{Change, Commit, CommitError, Fence, Ledger, Need, Refused, State, Store};
use berth_tasks::Executor;
use tokio::sync::{mpsc, oneshot};

use crate::catch_up::{self, News};
use crate::errors;
use crate::feed::Feed;

/// Jobs taken into one transaction. While one is being made durable the next ones gather; more than this at once
/// would only make the first of them wait longer.
const BATCH_JOBS_MAX: usize = 1024;

/// How often a batch is staged again because another server wrote meanwhile. Servers take turns, so this many in a row mean
/// that the others write without a pause; clients are told to come back.
const STAGED_MAX: usize = 64;

/// The pause after changes of other servers could not be read.
const RETRY: Duration = Duration::from_millis(500);

/// What became of one commit.
pub(crate) type Outcome = Result<Vec<Arc<Change>>, CommitError>;

/// Work for the writer.
pub(crate) enum Job {
    /// Commits, each taken or refused on its own, all in one transaction.
    Commits(Vec<Commit>, oneshot::Sender<Vec<Outcome>>),
    /// What other servers wrote is taken in.
    Look(oneshot::Sender<Result<(), String>>),
    /// No more jobs are taken; those queued are done.
    Stop,
}

/// Commits that were staged, and who waits for them.
#[derive(Default)]
struct Batch {
    changes: Vec<Arc<Change>>,
    waiting: Vec<(Vec<Staged>, oneshot::Sender<Vec<Outcome>>)>,
}

/// A commit that was staged or refused.
struct Staged {
    outcome: Outcome,
    /// What it depends on besides the objects it writes, where it may have to be staged again.
    guards: Option<(Option<Fence>, Vec<Need>)>,
}

pub(crate) struct Writer<S> {
    store: S,
    feed: Arc<Feed>,
    kinds: Arc<Kinds>,
    executor: Executor,
    ledger: Ledger,
}

impl<S: Store> Writer<S> {
    pub(crate) fn new(store: S, feed: Arc<Feed>, kinds: Arc<Kinds>, executor: Executor) -> Self {
        Self { store, feed, kinds, executor, ledger: Ledger::default() }
    }

    /// Works until it is told to stop, or nobody can send jobs any more; then closes the store.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH_JOBS_MAX);
        loop {
            let more = tokio::select! {
                biased;
                count = queue.recv_many(&mut jobs, BATCH_JOBS_MAX) => count > 0,
                () = self.store.changed() => {
                    self.follow().await;
                    continue;
                }
            };
            if !more {
                break;
            }
            let (mut writes, mut looks) = (vec![], vec![]);
            for job in jobs.drain(..) {
                match job {
                    Job::Commits(commits, answer) => writes.push((commits, answer)),
                    Job::Look(answer) => looks.push(answer),
                    Job::Stop => queue.close(),
                }
            }
            self.look(looks).await;
            self.write(writes).await;
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(error = %errors::sentence(&error), "the store did not close");
        }
    }

    fn stage(&mut self, state: &State, commit: Commit) -> Staged {
        let guards = self.store.is_shared().then(|| (commit.fence.clone(), commit.needs.clone()));
        Staged { outcome: self.ledger.stage(state, commit), guards }
    }

    async fn look(&mut self, waiting: Vec<oneshot::Sender<Result<(), String>>>) {
        if waiting.is_empty() {
            return;
        }
        let looked = self.catch_up().await;
        for answer in waiting {
            // A client that has gone does not want to know.
            let _ = answer.send(looked.clone());
        }
    }

    /// Makes commits durable in one transaction and publishes them; when another server was faster, looks at what it wrote and
    /// stages them again.
    async fn write(&mut self, writes: Vec<(Vec<Commit>, oneshot::Sender<Vec<Outcome>>)>) {
        if writes.is_empty() {
            return;
        }
        let mut state = self.feed.snapshot();
        let mut batch = Batch::default();
        for (commits, answer) in writes {
            let staged = commits.into_iter().map(|commit| self.stage(&state, commit)).collect();
            batch.waiting.push((staged, answer));
        }
        for _ in 0..STAGED_MAX {
            batch.changes =
                batch.staged().flat_map(|staged| staged.outcome.iter().flatten()).cloned().collect();
            if batch.changes.is_empty() {
                return self.finish(batch, Ok(()));
            }
            match self.store.commit(state.revision(), &batch.changes).await {
                Ok(()) => return self.finish(batch, Ok(())),
                Err(Refused::Failed(error)) => {
                    return self.finish(batch, Err(CommitError::Store(errors::sentence(&error))));
                }
                Err(Refused::Behind) => {}
            }
            if let Err(why) = self.catch_up().await {
                return self.finish(batch, Err(CommitError::Store(why)));
            }
            state = self.feed.snapshot();
            for staged in batch.waiting.iter_mut().flat_map(|(all, _)| all) {
                staged.again(&mut self.ledger, &state);
            }
        }
        self.finish(batch, Err(CommitError::Busy));
    }

    /// Publishes what is durable, or forgets what is not, and answers those who wait.
    fn finish(&mut self, batch: Batch, written: Result<(), CommitError>) {
        let Batch { changes, waiting } = batch;
        // Nobody else publishes, so what is built on the present state is its successor.
        let mut state = State::clone(&self.feed.snapshot());
        match &written {
            Ok(()) => changes.iter().for_each(|change| state.publish(change.clone())),
            Err(why) => tracing::error!(%why, commits = waiting.len(), "the store did not take a batch"),
        }
        self.ledger.clear(&state);
        if written.is_ok() {
            self.feed.publish(state, &changes);
        }
        for (staged, answer) in waiting {
            let outcomes = staged.into_iter().map(|staged| match &written {
                Ok(()) => staged.outcome,
                Err(why) => staged.outcome.and(Err(why.clone())),
            });
            // A client that has gone does not want to know.
            let _ = answer.send(outcomes.collect());
        }
    }

    /// Takes in what other servers wrote, while there is nothing to write.
    async fn follow(&mut self) {
        if let Err(why) = self.catch_up().await {
            tracing::error!(%why, "what another server wrote could not be taken in");
            self.executor.sleep(RETRY).await;
        }
    }

    async fn catch_up(&mut self) -> Result<(), String> {
        let known = self.feed.snapshot();
        match catch_up::news(&mut self.store, &known, &self.kinds).await? {
            News::Changes(state, changes) => {
                self.ledger.clear(&state);
                self.feed.publish(state, &changes);
            }
            News::Anew(state) => {
                let revision = state.revision();
                tracing::warn!(from = %known.revision(), to = %revision, "what other servers wrote is too much; everything was loaded");
                self.ledger.clear(&state);
                self.feed.publish_anew(state);
            }
        }
        Ok(())
    }
}

impl Batch {
    fn staged(&self) -> impl Iterator<Item = &Staged> {
        self.waiting.iter().flat_map(|(all, _)| all)
    }
}

impl Staged {
    /// Stages on a newer state what was staged before; what was refused stays refused.
    fn again(&mut self, ledger: &mut Ledger, state: &State) {
        let (Ok(changes), Some((fence, needs))) = (&self.outcome, &self.guards) else { return };
        let commit = Commit { fence: fence.clone(), needs: needs.clone(), ..Commit::of(changes) };
        self.outcome = ledger.stage(state, commit);
    }
}
