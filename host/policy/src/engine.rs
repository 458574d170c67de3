//! The engine: one per process.

use crate::component::{Component, Digest};
use crate::error::LoadError;
use crate::limits::{self, Limits};
use crate::sandbox::{Sandbox, first_line};
use crate::ticker::Ticker;
use crate::{Cache, link};
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Compiles and runs components. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    engine: wasmtime::Engine,
    linker: Linker<Sandbox>,
    cache: Option<Cache>,
    ticker: Ticker,
}

impl Engine {
    /// Starts an engine; with a cache, a component that was seen before need not be compiled again.
    ///
    /// # Errors
    /// When the machine cannot give what it needs: address space for the instances, a thread.
    pub fn new(cache: Option<Cache>) -> Result<Self, std::io::Error> {
        let engine = wasmtime::Engine::new(&config()).map_err(other)?;
        let linker = link::linker(&engine).map_err(other)?;
        let ticking = engine.clone();
        let ticker = Ticker::start(move || ticking.increment_epoch())?;
        Ok(Self { shared: Arc::new(Shared { engine, linker, cache, ticker }) })
    }

    /// Makes a component of bytes that may come from anywhere. Takes as long as compiling takes: call it off the hot path.
    pub fn load(&self, bytes: &[u8], limits: Limits) -> Result<Component, LoadError> {
        check_kind(bytes)?;
        let digest = Digest::of(bytes);
        let compiled = self.compile(bytes, &digest)?;
        Component::link(self, &compiled, digest, limits)
    }

    /// The same for bytes whose compiled code is in the cache; `None` for others.
    pub fn load_known(&self, bytes: &[u8], limits: Limits) -> Result<Option<Component>, LoadError> {
        check_kind(bytes)?;
        let digest = Digest::of(bytes);
        let cached = self.shared.cache.as_ref().and_then(|cache| cache.get(self.wasmtime(), &digest));
        cached.map(|component| Component::link(self, &component, digest, limits)).transpose()
    }

    /// Makes a component of bytes and the code that [`crate::compile_main_if_asked`] made of them.
    ///
    /// # Safety
    /// The code is run with the host's rights: it must be what a process of this very program wrote.
    pub unsafe fn load_compiled(
        &self,
        bytes: &[u8],
        code: &[u8],
        limits: Limits,
    ) -> Result<Component, LoadError> {
        let digest = Digest::of(bytes);
        // SAFETY: the caller vouches for the code.
        let component = unsafe { wasmtime::component::Component::deserialize(self.wasmtime(), code) }
            .map_err(|error| LoadError::Invalid(first_line(&format!("{error:#}"))))?;
        if let Some(cache) = &self.shared.cache {
            cache.put(self.wasmtime(), &digest, &component);
        }
        Component::link(self, &component, digest, limits)
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.engine
    }

    pub(crate) fn linker(&self) -> &Linker<Sandbox> {
        &self.shared.linker
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.shared.ticker
    }

    fn compile(&self, bytes: &[u8], digest: &Digest) -> Result<wasmtime::component::Component, LoadError> {
        let engine = &self.shared.engine;
        let cached = self.shared.cache.as_ref().and_then(|cache| cache.get(engine, digest));
        if let Some(component) = cached {
            return Ok(component);
        }
        let component = wasmtime::component::Component::from_binary(engine, bytes)
            .map_err(|error| LoadError::Invalid(first_line(&format!("{error:#}"))))?;
        if let Some(cache) = &self.shared.cache {
            cache.put(engine, digest, &component);
        }
        Ok(component)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Refuses what is not a component, by its first bytes: `\0asm`, a version, and the layer (0 module, 1 component).
fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > limits::COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule),
        _ => Err(LoadError::NotWasm),
    }
}

fn config() -> Config {
    let mut config = config_to_compile();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits::INSTANCES_MAX)
        .total_core_instances(limits::INSTANCES_MAX * limits::CORE_INSTANCES_MAX)
        .total_memories(limits::INSTANCES_MAX * limits::MEMORIES_MAX)
        .total_tables(limits::INSTANCES_MAX * limits::TABLES_MAX)
        .max_core_instances_per_component(limits::CORE_INSTANCES_MAX)
        .max_memories_per_component(limits::MEMORIES_MAX)
        .max_tables_per_component(limits::TABLES_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .max_memory_size(limits::MEMORY_BYTES_MAX);
    pool
}

/// All that compiled code depends on.
pub(crate) fn config_to_compile() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        // Equal answers on every kind of processor: what makes a decision repeatable elsewhere.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(limits::STACK_BYTES_MAX);
    config
}

fn other(error: wasmtime::Error) -> std::io::Error {
    std::io::Error::other(format!("the Wasm engine does not start: {error:#}"))
}
