//! The Wasm policy engine: load, verify, limit, feed, swap.
//!
//! [`Engine::load`] turns bytes from anywhere into a [`Component`] or says in one sentence why not. It starts as what
//! its role is: a [`WasmPolicy`] keeps one instance, which is fed; a [`WasmReviewer`] and a [`WasmRecommender`] are functions of their
//! question, and keep a pool.
//!
//! Everything slow can be done beside a policy that serves: loading compiles and checks, starting configures and describes, and
//! the first feed brings the whole cluster. A swap is then the exchange of one boxed policy for another.
//!
//! Berth compiles each component in a process of its own ([`compile_main_if_asked`]), under limits of the kernel.
//!
//! Invariants: nothing that a component does stops the host or holds it up for longer than its limits say; what a component may
//! import is listed in one place (`link.rs`); a component that has trapped is never called again; compiled code is loaded only
//! from files this user wrote, and from processes of this program.
//!
//! There is no async here: calls are short and run on the caller's thread.

mod bindings;
mod cache;
mod compile;
mod component;
mod engine;
mod error;
mod instance;
mod limits;
mod link;
mod log_limit;
mod manifest;
mod pool;
mod recommender;
mod reviewer;
mod sandbox;
mod ticker;
mod wasm_policy;

pub use cache::Cache;
pub use compile::{COMPILE_ARGUMENT, CompileLimits, compile_main_if_asked};
pub use component::{Component, Digest};
pub use engine::Engine;
pub use error::{LoadError, StartError};
pub use limits::{
    COMPILED_BYTES_MAX, COMPONENT_BYTES_MAX, DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, Limits,
    MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX,
};
pub use recommender::WasmRecommender;
pub use reviewer::WasmReviewer;
pub use wasm_policy::WasmPolicy;
