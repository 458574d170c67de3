//! Berth's side: starting shims, talking to them, and picking up what a dead one left.

mod cleanup;
mod executable;
mod pod;
mod process;
mod runtime;
mod shared;
mod watch;

pub use pod::PodHandle;
pub(crate) use process::set_terminal_size;
pub use process::{Attachment, ExecExit, ExecProcess};
pub use runtime::{Recovered, Runtime, RuntimeConfig, ShimExecutable};
