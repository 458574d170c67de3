//! The node agent: makes a node's containers be what the API says its pods are, and reports what they are.
//!
//! [`Agent::start`] registers the node, takes over what an earlier run left, and follows the pods bound to the node.
//! Each pod has a worker, which asks a pure function ([`converge`](pod::converge::converge)) what to do next; the
//! [`AgentHandle`] serves logs, exec and attach. Stopping the agent, or its death, leaves all containers running.
//!
//! The rooms, each built on those before it: `manifest` (what the API says a pod is), `container`, `node` (what all pods
//! share), `pod` (a worker and what it decides), `serve`.
//!
//! ```text
//! <data>/pods/<uid>/    checkpoint, volumes, etc/, containers/<id>/{upper,work,volumes}
//! <data>/memory/<uid>/  volumes that must not reach a disk (a tmpfs)
//! <data>/logs/          <namespace>_<name>_<uid>/<container>/<attempt>.log
//! <data>/images, run, netns, network: of the image, runtime and network crates
//! ```

mod agent;
mod backoff;
mod clock;
mod config;
mod container;
mod error;
mod manifest;
mod node;
mod pod;
mod process;
mod serve;
mod sysctl;

pub use agent::{Agent, AgentHandle};
pub use backoff::Pauses;
pub use config::{AgentConfig, ImageGcPolicy};
pub use error::AgentError;
pub use sysctl::SysctlPattern;
