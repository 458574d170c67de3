//! The node agent: makes a node's containers be what the API says its pods are, and reports what they are.
//!
//! [`Agent::start`] registers the node, takes over what an earlier run left, and follows the pods bound to the node.
//! Each pod has a worker, which asks a pure function ([`converge`](converge::converge)) what to do next; the
//! [`AgentHandle`] serves logs, exec and attach. Stopping the agent, or its death, leaves all containers running.
//!
//! ```text
//! <data>/pods/<uid>/    checkpoint, volumes, etc/, containers/<id>/{upper,work,volumes}
//! <data>/memory/<uid>/  volumes that must not reach a disk (a tmpfs)
//! <data>/logs/          <namespace>_<name>_<uid>/<container>/<attempt>.log
//! <data>/images, run, netns, network: of the image, runtime and network crates
//! ```

mod admission;
mod agent;
mod backoff;
mod checkpoint;
mod clock;
mod config;
mod container_spec;
mod converge;
mod dispatcher;
mod env;
mod error;
mod etc;
mod events;
mod fields;
mod image_failure;
mod image_gc;
mod images;
mod keys;
mod logs;
mod machine;
mod node;
mod node_status;
mod observed;
mod pod;
mod probes;
mod process;
mod pull_secrets;
mod resources;
mod running;
mod serve;
mod sources;
mod status;
mod storage;
mod streams;
mod sysctl;
mod termination;
mod volumes;
mod worker;
mod workers;

pub use agent::{Agent, AgentHandle};
pub use backoff::Pauses;
pub use config::{AgentConfig, ImageGcPolicy};
pub use error::AgentError;
pub use sysctl::SysctlPattern;
