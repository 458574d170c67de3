//! The policy that serves, and its successor brought up beside it.
//!
//! A swap has four steps, of which the scheduler waits for the last alone:
//! 1. [`crate::Engine::load`] and [`crate::Component::scheduler`] compile, describe and check the new policy, on any thread;
//! 2. the scheduler opens a second subscription for the new policy's manifest and hands its full feed to [`Active::prepare`];
//! 3. a thread of its own feeds it to the new policy while the old one serves;
//! 4. when [`Active::poll`] finds it done, it feeds what changed meanwhile and exchanges the two.
//!
//! A policy that fails on the way leaves the old one serving.

use berth_scheduler::policy::{Feed, Manifest, Policy, PolicyError};
use std::sync::mpsc::{self, Receiver, TryRecvError};

/// A policy that serves, and perhaps one that is to follow.
pub struct Active<P: Policy + 'static> {
    serving: P,
    standby: Option<Receiver<Result<P, PolicyError>>>,
}

/// What [`Active::poll`] found.
#[derive(Debug)]
#[must_use]
pub enum Swap {
    /// No successor, or not yet ready.
    None,
    /// The successor serves from now on.
    Done,
    /// The successor failed and is gone; the old policy serves on.
    Failed(PolicyError),
}

impl<P: Policy + 'static> std::fmt::Debug for Active<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let serving = &self.serving.manifest().name;
        f.debug_struct("Active").field("serving", serving).field("standby", &self.standby.is_some()).finish()
    }
}

impl<P: Policy + 'static> Active<P> {
    /// Serves a policy that has been fed.
    pub fn new(policy: P) -> Self {
        Self { serving: policy, standby: None }
    }

    /// The policy that serves.
    pub fn serving(&mut self) -> &mut P {
        &mut self.serving
    }

    /// Whether a successor is being brought up.
    pub fn is_preparing(&self) -> bool {
        self.standby.is_some()
    }

    /// Starts to bring up a successor: feeds it `everything`, the cluster as its manifest wants it, off this thread. A
    /// successor that was being brought up before is dropped.
    ///
    /// # Errors
    /// When no thread can be started; nothing has changed then.
    pub fn prepare(&mut self, mut successor: P, everything: Feed) -> std::io::Result<()> {
        let (done, standby) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("policy-sync".to_owned()).spawn(move || {
            let result = successor.feed(&everything).map(|()| successor);
            // Nobody waits any more when yet another successor was chosen.
            let _ = done.send(result);
        })?;
        self.standby = Some(standby);
        Ok(())
    }

    /// Exchanges the policies if the successor is ready; costs next to nothing when it is not. `catch_up` says what changed
    /// since the feed that [`Active::prepare`] was given, as the successor's manifest wants it.
    pub fn poll(&mut self, catch_up: impl FnOnce(&Manifest) -> Feed) -> Swap {
        let Some(standby) = &self.standby else { return Swap::None };
        let synced = match standby.try_recv() {
            Err(TryRecvError::Empty) => return Swap::None,
            Err(TryRecvError::Disconnected) => Err(PolicyError::Trap("it panicked".to_owned())),
            Ok(result) => result,
        };
        self.standby = None;
        let caught_up = synced.and_then(|mut successor| {
            let feed = catch_up(successor.manifest());
            successor.feed(&feed).map(|()| successor)
        });
        match caught_up {
            Ok(successor) => {
                retire(std::mem::replace(&mut self.serving, successor));
                Swap::Done
            }
            Err(error) => Swap::Failed(error),
        }
    }
}

/// Drops a policy off this thread: giving its memory back takes longer than a decision.
fn retire<P: Policy + 'static>(policy: P) {
    // Without a thread it is dropped here, which is only slower.
    let _ = std::thread::Builder::new().name("policy-retire".to_owned()).spawn(move || drop(policy));
}
