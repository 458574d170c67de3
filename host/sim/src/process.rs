//! A process under virtual time: its tasks are polled one at a time, in an order and after delays that the world chooses.
//!
//! What wakes a task does not run it: the world asks for the tasks that were woken, enters each into its agenda, and polls it
//! when its moment has come. So tasks of one process overtake each other as threads do, the same way for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use berth_api::Timestamp;
use berth_tasks::{Clock, Executor, Tasks};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Names one task of a process.
pub(crate) type TaskId = u64;

/// A handle of a process; the process ends with [`Process::kill`].
#[derive(Clone, Default)]
pub(crate) struct Process(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    woken: Mutex<BTreeSet<TaskId>>,
}

#[derive(Default)]
struct Inner {
    now: Timestamp,
    tasks: BTreeMap<TaskId, Task>,
    started: TaskId,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    timers_set: u64,
    is_dead: bool,
}

struct Task {
    name: &'static str,
    /// Away while it is being polled.
    future: Option<BoxFuture<'static, ()>>,
}

struct TaskWaker {
    process: Arc<Shared>,
    task: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.process.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task);
    }
}

impl Process {
    /// What loops run with in this process.
    pub(crate) fn executor(&self) -> Executor {
        Executor::new(Arc::new(self.clone()), Arc::new(self.clone()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_now(&self, now: Timestamp) {
        self.inner().now = now;
    }

    /// The tasks that were woken since this was asked last, and their names.
    pub(crate) fn take_woken(&self) -> Vec<(TaskId, &'static str)> {
        let woken = std::mem::take(&mut *self.0.woken.lock().unwrap_or_else(PoisonError::into_inner));
        let inner = self.inner();
        woken.into_iter().filter_map(|id| Some((id, inner.tasks.get(&id)?.name))).collect()
    }

    /// Lets a task go on.
    pub(crate) fn poll(&self, id: TaskId) {
        let Some(mut future) = self.inner().tasks.get_mut(&id).and_then(|task| task.future.take()) else {
            return;
        };
        let waker = Waker::from(Arc::new(TaskWaker { process: self.0.clone(), task: id }));
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut inner = self.inner();
        if done || inner.is_dead {
            inner.tasks.remove(&id);
        } else if let Some(task) = inner.tasks.get_mut(&id) {
            task.future = Some(future);
            return;
        }
        drop(inner);
        drop(future); // what it holds may wake others, or this process's own tasks
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.inner().timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes whoever's time has come.
    pub(crate) fn fire_timers(&self) {
        loop {
            let mut inner = self.inner();
            let now = inner.now;
            let Some(first) = inner.timers.first_entry().filter(|entry| entry.key().0 <= now) else { return };
            let waker = first.remove();
            drop(inner);
            waker.wake();
        }
    }

    /// All tasks are gone, in the middle of whatever they did.
    pub(crate) fn kill(&self) {
        let mut inner = self.inner();
        inner.is_dead = true;
        let (tasks, timers) = (std::mem::take(&mut inner.tasks), std::mem::take(&mut inner.timers));
        drop(inner);
        drop((tasks, timers));
    }

    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let mut inner = self.inner();
        if inner.is_dead {
            drop(inner);
            return;
        }
        inner.started += 1;
        let id = inner.started;
        inner.tasks.insert(id, Task { name, future: Some(task) });
        drop(inner);
        self.0.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }
}

impl Clock for Process {
    fn now(&self) -> Timestamp {
        self.inner().now
    }
}

impl Tasks for Process {
    fn run(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.start(name, task);
    }

    fn run_apart(&self, name: &'static str, task: BoxFuture<'static, ()>) -> std::io::Result<()> {
        self.start(name, task);
        Ok(())
    }

    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        self.start("work", async move { work() }.boxed());
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let process = self.clone();
        let until = self.inner().now.plus_millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let mut key = None;
        poll_fn(move |context| {
            let mut inner = process.inner();
            if let Some(key) = key.take() {
                inner.timers.remove(&key);
            }
            if inner.now >= until || inner.is_dead {
                return Poll::Ready(());
            }
            inner.timers_set += 1;
            let set = (until, inner.timers_set);
            inner.timers.insert(set, context.waker().clone());
            key = Some(set);
            Poll::Pending
        })
        .boxed()
    }
}
