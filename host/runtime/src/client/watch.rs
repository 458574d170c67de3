//! One place to wait for what happens in all pods.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::error::{Error, Result};
use crate::rundir::PodDirectory;
use crate::status::Event;
use crate::wire::{self, Envelope, Reply, Request};

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 64;

/// A subscription to each pod's shim, and one descriptor that becomes readable when any of them has news.
pub(super) struct Watch {
    epoll: Epoll,
    subscriptions: Mutex<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    /// By the number the kernel hands back; never used twice, so that late news of a pod cannot be taken for another's.
    by_token: HashMap<u64, Subscription>,
    token_next: u64,
}

struct Subscription {
    pod_id: String,
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Watch> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Watch { epoll, subscriptions: Mutex::default() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Subscriptions> {
        // A panic while it was held leaves complete subscriptions: each is inserted and removed in one step.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to a pod. What has already ended in it is told again.
    pub(super) fn add(&self, pod_id: &str, directory: &PodDirectory) -> io::Result<()> {
        let socket = directory.connect()?;
        wire::send(&socket, &Envelope { version: wire::VERSION, request: Request::Subscribe }, &[])?;
        socket.set_nonblocking(true)?;
        let mut subscriptions = self.lock();
        subscriptions.by_token.retain(|_, subscription| subscription.pod_id != pod_id);
        let token = subscriptions.token_next;
        subscriptions.token_next += 1;
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        let subscription = Subscription { pod_id: pod_id.to_owned(), socket, buffer: Vec::new() };
        subscriptions.by_token.insert(token, subscription);
        Ok(())
    }

    /// Ends a subscription; nothing more is told of that pod.
    pub(super) fn remove(&self, pod_id: &str) {
        // Closing the socket takes it out of the epoll set.
        self.lock().by_token.retain(|_, subscription| subscription.pod_id != pod_id);
    }

    /// Waits for news. None when `timeout` has passed.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Event>> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(timeout) => EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX),
        };
        let mut ready = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(Error::io("wait for events")(error.into())),
        };
        let mut subscriptions = self.lock();
        let mut events = Vec::new();
        for token in ready[..count].iter().map(EpollEvent::data) {
            let Some(subscription) = subscriptions.by_token.get_mut(&token) else { continue };
            let alive = subscription.read(&mut events);
            if !alive && let Some(gone) = subscriptions.by_token.remove(&token) {
                // Before it is closed, or a descriptor inherited by a child would keep it in the set.
                let _ = self.epoll.delete(&gone.socket);
                events.push(Event::ShimDied { pod_id: gone.pod_id });
            }
        }
        Ok(events)
    }
}

impl Subscription {
    /// Takes what has arrived. False when the shim is gone, or talks nonsense.
    fn read(&mut self, events: &mut Vec<Event>) -> bool {
        let mut descriptors = Vec::new(); // none are sent here; if they were, they are closed
        let alive = wire::fill(&self.socket, &mut self.buffer, &mut descriptors).unwrap_or(false);
        loop {
            match wire::take::<Reply>(&mut self.buffer) {
                Ok(Some(Reply::Event { container, status })) => {
                    events.push(Event::Exited {
                        pod_id: self.pod_id.clone(),
                        container_id: container,
                        status,
                    });
                }
                // A shim that could not make its sandbox says so to whoever talks first; the socket ends next.
                Ok(Some(_)) => {}
                Ok(None) => return alive,
                Err(_) => return false,
            }
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("epoll", &self.epoll.0.as_raw_fd()).finish_non_exhaustive()
    }
}
