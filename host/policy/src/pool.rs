//! Instances of one component that any question may go to.

use crate::error::StartError;
use crate::instance::Instance;
use crate::limits::POOL_IDLE_MAX;
use std::sync::{Mutex, PoisonError};

/// Makes instances as they are needed and keeps a few that are idle. One that has trapped, or has grown, is replaced: a policy
/// that leaks does not end by that.
pub(crate) struct Pool<E> {
    make: Box<dyn Fn() -> Result<Instance<E>, StartError> + Send + Sync>,
    idle: Mutex<Vec<Instance<E>>>,
}

impl<E> Pool<E> {
    /// A pool of instances that `make` starts and configures, with the first one; what that said of itself.
    pub(crate) fn start<M>(
        make: impl Fn() -> Result<(Instance<E>, M), StartError> + Send + Sync + 'static,
    ) -> Result<(Self, M), StartError> {
        let (first, described) = make()?;
        let make = move || make().map(|(instance, _)| instance);
        Ok((Self { make: Box::new(make), idle: Mutex::new(vec![first]) }, described))
    }

    /// Calls with an instance that nobody else calls meanwhile.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Instance<E>) -> T) -> Result<T, StartError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => (self.make)()?,
        };
        let result = call(&mut instance);
        if instance.is_fit() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < POOL_IDLE_MAX {
                idle.push(instance);
            }
        }
        Ok(result)
    }
}
