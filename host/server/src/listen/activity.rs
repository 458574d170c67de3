//! When a connection is given up: nothing was asked on it yet, or nothing is for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a client may take from its TLS handshake to the end of its first request's head.
pub(super) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle, as on the API server: Go's clients close theirs after as long.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a connection that is given up gets to say so.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// The requests of one connection. Clones share it.
#[derive(Clone)]
pub(super) struct Activity(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy)]
struct State {
    open: usize,
    asked: bool,
    since: Instant,
}

impl Activity {
    /// A connection on which nothing was asked yet.
    pub(super) fn new() -> Self {
        let state = State { open: 0, asked: false, since: Instant::now() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(super) fn begin(&self) -> Ongoing {
        self.change(|state| {
            state.open += 1;
            state.asked = true;
        });
        Ongoing(self.clone())
    }

    /// Comes back when the connection has been idle for too long.
    pub(super) async fn idle(&self) {
        self.quiet(|asked| if asked { IDLE_TIMEOUT } else { FIRST_REQUEST_TIMEOUT }).await;
    }

    /// Comes back when no request is open any more, and the client had a moment to see that there will be no other.
    pub(super) async fn done(&self) {
        self.change(|_| {});
        self.quiet(|_| GOODBYE_TIMEOUT).await;
    }

    async fn quiet(&self, limit: fn(bool) -> Duration) {
        loop {
            let changed = self.0.changed.notified();
            let State { open, asked, since } = *self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            if open > 0 {
                changed.await;
            } else if tokio::time::timeout_at(since + limit(asked), changed).await.is_err() {
                return;
            }
        }
    }

    fn change(&self, act: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut state);
        state.since = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}

/// A request that is not answered to its end yet.
pub(super) struct Ongoing(Activity);

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.change(|state| state.open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn idle_after(activity: &Activity) -> Duration {
        let started = Instant::now();
        activity.idle().await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_idle_sooner_than_a_pause() {
        let activity = Activity::new();
        assert_eq!(idle_after(&activity).await, FIRST_REQUEST_TIMEOUT);
        drop(activity.begin());
        assert_eq!(idle_after(&activity).await, IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_request_is_no_idleness() {
        let activity = Activity::new();
        let request = activity.begin();
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { idle_after(&activity).await }
        });
        tokio::time::sleep(IDLE_TIMEOUT * 10).await;
        assert!(!waiting.is_finished());
        drop(request);
        assert_eq!(waiting.await.unwrap(), IDLE_TIMEOUT * 11);
    }
}
