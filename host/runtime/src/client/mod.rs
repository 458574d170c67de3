//! Berth's side: starting shims, talking to them, and picking up what a dead one left.

mod cleanup;
mod executable;
mod pod;
mod process;
mod runtime;
mod watch;

pub use pod::PodHandle;
pub use process::{Attachment, ExecExit, ExecProcess};
pub use runtime::{Runtime, RuntimeConfig, ShimExecutable};
