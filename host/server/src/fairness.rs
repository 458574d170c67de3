//! Clients share the server fairly, in the spirit of Kubernetes' API priority and fairness: requests have levels, users of
//! a level come in turn, and who finds no place is told to come back.

mod queue;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_api::status::Details;
use berth_api::{Reason, Status};
use berth_pipeline::Identity;
use tokio::sync::oneshot;

use queue::{Entry, Limits, Queue};

/// How long somebody waits for a seat, as on the API server: a quarter of what a request may take.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// After how many seconds a client that was turned away may come back.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Whom a request is for; each level has seats of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Administrators, and what runs in this process.
    System,
    /// Nodes.
    Nodes,
    /// Service accounts and other users.
    Workloads,
    /// Nobody in particular.
    Strangers,
}

impl Level {
    /// The level of whoever asks; `None` for nobody in particular.
    pub(crate) fn of(identity: Option<&Identity>) -> Self {
        match identity {
            None => Self::Strangers,
            Some(identity) if identity.in_group("system:masters") => Self::System,
            Some(identity) if identity.in_group("system:nodes") => Self::Nodes,
            Some(_) => Self::Workloads,
        }
    }

    /// Requests that are being answered. Many writes at once are wanted, because they share a transaction; what is too
    /// much is one user's crowd. A request holds some 100 KiB: all levels together are below 200 MiB.
    const fn requests(self) -> Limits {
        match self {
            Self::System => Limits { seats: 1024, seats_of_one: 1024, places: 4096, places_of_one: 4096 },
            Self::Nodes => Limits { seats: 256, seats_of_one: 64, places: 1024, places_of_one: 128 },
            Self::Workloads => Limits { seats: 128, seats_of_one: 16, places: 1024, places_of_one: 128 },
            Self::Strangers => Limits { seats: 32, seats_of_one: 32, places: 128, places_of_one: 128 },
        }
    }

    /// Watches, sessions and logs, which last: none of them waits. A controller has some fifty watches, and replicas share
    /// an account.
    const fn lasting(self) -> Limits {
        let (seats, seats_of_one) = match self {
            Self::System => (8000, 8000),
            Self::Nodes => (4000, 1000),
            Self::Workloads => (4000, 500),
            Self::Strangers => (0, 0),
        };
        Limits { seats, seats_of_one, places: 0, places_of_one: 0 }
    }
}

/// Large bodies that are being received, or wait to be read: at most 36 MiB of them.
const LARGE_BODIES: Limits = Limits { seats: 12, seats_of_one: 3, places: 512, places_of_one: 64 };

/// All the seats of a server.
pub(crate) struct Fairness {
    requests: [Seats; 4],
    lasting: [Seats; 4],
    /// Taken before a large body is read, and held until it was planned.
    pub(crate) large_bodies: Seats,
    /// Taken to plan something that takes long: half of the processors, so that the other half answers everybody else.
    pub(crate) heavy: Seats,
}

impl Default for Fairness {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let levels = [Level::System, Level::Nodes, Level::Workloads, Level::Strangers];
        let seats = (processors / 2).max(1);
        let heavy = Limits { seats, seats_of_one: (seats / 2).max(1), places: 512, places_of_one: 64 };
        Self {
            requests: levels.map(|level| Seats::new(level.requests())),
            lasting: levels.map(|level| Seats::new(level.lasting())),
            large_bodies: Seats::new(LARGE_BODIES),
            heavy: Seats::new(heavy),
        }
    }
}

impl Fairness {
    /// Where a request of this level gets its seat.
    pub(crate) fn requests(&self, level: Level) -> &Seats {
        &self.requests[level as usize]
    }

    /// Where a request that lasts gets its seat besides.
    pub(crate) fn lasting(&self, level: Level) -> &Seats {
        &self.lasting[level as usize]
    }
}

/// A queue that is waited in.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Mutex<Queue<oneshot::Sender<()>>>>);

impl Seats {
    fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Queue::new(limits))))
    }

    /// A seat for one of `user`'s requests, once it is his turn.
    ///
    /// # Errors
    /// 429 when too many wait already, or for too long.
    pub(crate) async fn take(&self, user: &str) -> Result<Seat, Status> {
        let user: Arc<str> = user.into();
        let (turn, is_my_turn) = oneshot::channel();
        let place = match self.with(|queue| queue.enter(&user, turn)) {
            Entry::Seated => return Ok(Seat { seats: self.clone(), user }),
            Entry::Waits(place) => Place { seats: self, user: &user, place, is_seated: false },
            Entry::Refused(_) => return Err(too_many()),
        };
        place.wait(is_my_turn).await
    }

    fn with<R>(&self, act: impl FnOnce(&mut Queue<oneshot::Sender<()>>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a seat back, and on to somebody who is still there.
    fn leave(&self, user: &Arc<str>) {
        // Whoever has gone gives up his seat himself.
        if let Some(next) = self.with(|queue| queue.leave(user)) {
            let _ = next.send(());
        }
    }
}

/// A place in the queue. Given up when the request is dropped.
struct Place<'s> {
    seats: &'s Seats,
    user: &'s Arc<str>,
    place: u64,
    is_seated: bool,
}

impl Place<'_> {
    async fn wait(mut self, is_my_turn: impl Future) -> Result<Seat, Status> {
        tokio::time::timeout(WAIT_MAX, is_my_turn).await.map_err(|_| too_many())?;
        self.is_seated = true;
        Ok(Seat { seats: self.seats.clone(), user: self.user.clone() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_seated && !self.seats.with(|queue| queue.give_up(self.user, self.place)) {
            self.seats.leave(self.user);
        }
    }
}

/// A seat. Given back when it is dropped.
pub(crate) struct Seat {
    seats: Seats,
    user: Arc<str>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.leave(&self.user);
    }
}

/// 429, as the API server words it.
pub(crate) fn too_many() -> Status {
    let details = Details { retry_after_seconds: RETRY_AFTER_SECONDS, ..Details::default() };
    let status = Status::new(Reason::TooManyRequests, "Too many requests, please try again later.");
    Status { details: Some(Box::new(details)), ..status }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    fn seats(seats: usize, places: usize) -> Seats {
        Seats::new(Limits { seats, seats_of_one: seats, places, places_of_one: places })
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_seat_that_becomes_free() {
        let seats = seats(1, 1);
        let first = seats.take("a").await.ok().unwrap();
        let second = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take("b").await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(seats.take("c").await.err().unwrap().code, 429, "there is no place left");
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert!(seats.take("c").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_goes_leaves_no_seat_behind() {
        let seats = seats(1, 9);
        let first = seats.take("a").await.ok().unwrap();
        let status = seats.take("b").await.err().unwrap();
        assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 1));
        // This one goes between its turn and the moment at which it would have noticed.
        let mut gone = Box::pin(seats.take("b"));
        let is_pending =
            std::future::poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(first);
        drop(gone);
        assert!(seats.take("c").await.is_ok());
    }

    #[test]
    fn levels() {
        let of = |groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            Level::of(Some(&Identity { groups, ..Identity::default() }))
        };
        assert_eq!(of(&["system:masters", "system:nodes"]), Level::System);
        assert_eq!(of(&["system:nodes"]), Level::Nodes);
        assert_eq!(of(&["system:serviceaccounts"]), Level::Workloads);
        assert_eq!(Level::of(None), Level::Strangers);
    }
}
