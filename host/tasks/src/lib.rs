//! Where the loops of the control plane run: tasks, timers and the time, given from outside.
//!
//! The loops are async functions that take nothing from tokio but its channels: what they start, how long they wait and what
//! time it is goes through an [`Executor`]. [`Tokio`] runs them in the binary; the simulation runs the same functions one at a
//! time under virtual time, in an order that follows from its seed.

mod clock;
mod tokio;

use std::sync::Arc;
use std::time::Duration;

use ::tokio::sync::oneshot;
use berth_api::Timestamp;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};

pub use crate::clock::{Clock, SystemClock};
pub use crate::tokio::Tokio;

/// What runs tasks.
pub trait Tasks: Send + Sync {
    /// Runs a task beside the caller.
    fn run(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Runs a task that takes its time between two waits, where it holds up no other.
    ///
    /// # Errors
    /// When there is no place for it.
    fn run_apart(&self, name: &'static str, task: BoxFuture<'static, ()>) -> std::io::Result<()>;

    /// Does a piece of work that takes its time, where it holds up nobody.
    fn work(&self, work: Box<dyn FnOnce() + Send>);

    /// Is over after so long.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The work ended in a panic, which was reported where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host failed")]
pub struct Panicked;

/// Runs tasks, and tells the time by which they wait. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    tasks: Arc<dyn Tasks>,
    clock: Arc<dyn Clock>,
}

impl Default for Executor {
    fn default() -> Self {
        Self::new(Arc::new(Tokio), Arc::new(SystemClock))
    }
}

impl Executor {
    /// Tasks that wait by `clock`.
    pub fn new(tasks: Arc<dyn Tasks>, clock: Arc<dyn Clock>) -> Self {
        Self { tasks, clock }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs a task beside the caller; the handle ends it early.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        self.tasks.run(name, Abortable::new(task, registration).map(drop).boxed());
        handle
    }

    /// Runs a task that takes its time between two waits, on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn_apart(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        self.tasks.run_apart(name, task.boxed())
    }

    /// Does a piece of work that takes its time beside the async threads.
    ///
    /// # Errors
    /// When it panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (done, result) = oneshot::channel();
        self.tasks.work(Box::new(move || {
            // Whoever asked may have gone.
            let _ = done.send(work());
        }));
        result.await.map_err(|_| Panicked)
    }

    /// Drops something that takes its time to go, beside the async threads.
    pub fn unload(&self, what: impl Send + 'static) {
        self.tasks.work(Box::new(move || drop(what)));
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        self.tasks.sleep(time).await;
    }

    /// Waits for a moment; for ever when there is none.
    pub async fn sleep_until(&self, moment: Option<Timestamp>) {
        match moment {
            Some(moment) => {
                let millis = moment.millis_since(self.now()).max(0).unsigned_abs();
                self.sleep(Duration::from_millis(millis + 1)).await;
            }
            None => std::future::pending().await,
        }
    }
}
