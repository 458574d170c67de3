//! One instance of a component in its sandbox.

use crate::component::Component;
use crate::error::StartError;
use crate::limits::{ANSWER_BYTES_MAX, SETUP_DEADLINE};
use crate::sandbox::Sandbox;
use berth_scheduler::policy::PolicyError;
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Store};

/// A running component, called through its exports `E` and within its limits.
pub(crate) struct Instance<E> {
    component: Component,
    store: Store<Sandbox>,
    exports: E,
    state: State,
}

/// Whether an instance can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// It has trapped, and Wasmtime would refuse to enter it.
    Dead,
}

impl<E> Instance<E> {
    /// Starts one; `find` looks up what will be called. Log lines carry `name`.
    pub(crate) fn start(
        component: &Component,
        name: &str,
        find: impl FnOnce(&mut Store<Sandbox>, &wasmtime::component::Instance) -> wasmtime::Result<E>,
    ) -> Result<Self, StartError> {
        let mut store =
            Store::new(component.engine().wasmtime(), Sandbox::new(name.to_owned(), component.limits()));
        store.limiter(|sandbox| sandbox);
        store.set_hostcall_fuel(ANSWER_BYTES_MAX);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()));
        let failed =
            |store: &Store<Sandbox>, error: &wasmtime::Error| match error.is::<PoolConcurrencyLimitError>() {
                true => StartError::NoPlace,
                false => StartError::Instantiate(store.data().explain(error).to_string()),
            };
        // Instantiation may run code of the component.
        let in_flight = component.engine().ticker().enter();
        store.data_mut().begin(SETUP_DEADLINE);
        store.set_epoch_deadline(1);
        let instance = component.pre().instantiate(&mut store).map_err(|error| failed(&store, &error))?;
        drop(in_flight);
        let exports = find(&mut store, &instance).map_err(|error| failed(&store, &error))?;
        Ok(Self { component: component.clone(), store, exports, state: State::Alive })
    }

    /// Calls into the component. After an error it is dead.
    pub(crate) fn call<T>(
        &mut self,
        deadline: Duration,
        call: impl FnOnce(&mut Store<Sandbox>, &E) -> wasmtime::Result<T>,
    ) -> Result<T, PolicyError> {
        if self.state == State::Dead {
            return Err(PolicyError::Gone);
        }
        let in_flight = self.component.engine().ticker().enter();
        self.store.data_mut().begin(deadline);
        self.store.set_epoch_deadline(1);
        let result = call(&mut self.store, &self.exports);
        drop(in_flight);
        result.map_err(|error| {
            self.state = State::Dead;
            self.store.data().explain(&error)
        })
    }

    /// The component it is an instance of.
    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    /// What can be called.
    pub(crate) fn exports(&self) -> &E {
        &self.exports
    }

    /// The time that one call may take.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.component.limits().deadline_ms())
    }

    /// Whether it may be asked again: it has not trapped, and has room for more questions.
    pub(crate) fn is_fit(&self) -> bool {
        self.state == State::Alive && self.store.data().has_room()
    }
}
