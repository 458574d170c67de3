//! The one writer: takes what is queued, makes it durable in one transaction, publishes it, answers.

use std::sync::Arc;

use berth_state::{Change, Commit, CommitError, Ledger, State, Store, StoreError};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::errors;
use super::feed::Feed;

/// Jobs taken into one transaction. While one is being made durable the next ones gather; more than this at once
/// would only make the first of them wait longer.
const BATCH_JOBS_MAX: usize = 1024;

/// What became of one commit.
pub(super) type Outcome = Result<Vec<Arc<Change>>, CommitError>;

/// Work for the writer.
pub(super) enum Job {
    /// Commits, each taken or refused on its own, all in one transaction.
    Commits(Vec<Commit>, oneshot::Sender<Vec<Outcome>>),
    /// Something with a blob.
    Blob(BlobJob),
    /// No more jobs are taken; those queued are done.
    Stop,
}

pub(super) enum BlobJob {
    Put { digest: String, bytes: Bytes, answer: oneshot::Sender<Result<(), StoreError>> },
    Get { digest: String, answer: oneshot::Sender<Result<Option<Bytes>, StoreError>> },
    Delete { digest: String, answer: oneshot::Sender<Result<(), StoreError>> },
}

/// Commits that were staged, and who waits for them.
#[derive(Default)]
struct Batch {
    changes: Vec<Arc<Change>>,
    waiting: Vec<(Vec<Outcome>, oneshot::Sender<Vec<Outcome>>)>,
}

/// Works until it is told to stop, or nobody can send jobs any more; then closes the store.
pub(super) async fn run<S: Store>(mut store: S, feed: Arc<Feed>, mut queue: mpsc::Receiver<Job>) {
    let mut ledger = Ledger::default();
    let mut jobs = Vec::with_capacity(BATCH_JOBS_MAX);
    while queue.recv_many(&mut jobs, BATCH_JOBS_MAX).await > 0 {
        let mut batch = Batch::default();
        let mut blobs = vec![];
        for job in jobs.drain(..) {
            match job {
                Job::Commits(commits, answer) => batch.stage(&feed.snapshot(), &mut ledger, commits, answer),
                Job::Blob(blob) => blobs.push(blob),
                Job::Stop => queue.close(),
            }
        }
        let written = if batch.changes.is_empty() { Ok(()) } else { store.commit(&batch.changes).await };
        batch.finish(&feed, &mut ledger, written);
        for blob in blobs {
            serve_blob(&mut store, blob).await;
        }
    }
    if let Err(error) = store.close().await {
        tracing::error!(error = %errors::sentence(&error), "the store did not close");
    }
}

impl Batch {
    fn stage(
        &mut self,
        state: &State,
        ledger: &mut Ledger,
        commits: Vec<Commit>,
        answer: oneshot::Sender<Vec<Outcome>>,
    ) {
        let outcomes: Vec<Outcome> = commits.into_iter().map(|commit| ledger.stage(state, commit)).collect();
        self.changes.extend(outcomes.iter().flatten().flatten().cloned());
        self.waiting.push((outcomes, answer));
    }

    /// Publishes what is durable, or forgets what is not, and answers those who wait.
    fn finish(self, feed: &Feed, ledger: &mut Ledger, written: Result<(), StoreError>) {
        let Self { changes, waiting } = self;
        let failed = written.err().map(|error| errors::sentence(&error));
        // Nobody else writes, so what is built on the present state is its successor.
        let mut state = State::clone(&feed.snapshot());
        if failed.is_none() {
            changes.iter().for_each(|change| state.publish(change.clone()));
        }
        ledger.clear(&state);
        match &failed {
            None => feed.publish(state, &changes),
            Some(why) => tracing::error!(%why, commits = waiting.len(), "the store did not take a batch"),
        }
        for (mut outcomes, answer) in waiting {
            if let Some(why) = &failed {
                outcomes
                    .iter_mut()
                    .filter(|o| o.is_ok())
                    .for_each(|o| *o = Err(CommitError::Store(why.clone())));
            }
            // A client that has gone does not want to know.
            let _ = answer.send(outcomes);
        }
    }
}

async fn serve_blob<S: Store>(store: &mut S, job: BlobJob) {
    match job {
        BlobJob::Put { digest, bytes, answer } => {
            let _ = answer.send(store.put_blob(&digest, bytes).await);
        }
        BlobJob::Get { digest, answer } => {
            let _ = answer.send(store.get_blob(&digest).await);
        }
        BlobJob::Delete { digest, answer } => {
            let _ = answer.send(store.delete_blob(&digest).await);
        }
    }
}
