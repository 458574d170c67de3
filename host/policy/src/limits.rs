//! What a component may use, and why.

use std::time::Duration;

/// Bytes of a component. A Python policy has 18 MB with its interpreter; beyond twice that compilation takes tens of seconds.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// Bytes of compiled code: an interpreter compiles to about three times its size.
pub const COMPILED_BYTES_MAX: u64 = 4 * COMPONENT_BYTES_MAX as u64;

/// Memory a compilation may take: an interpreter's 18 MB take some 500 MiB, one function of 2 MB takes 650 MiB.
pub(crate) const COMPILE_MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Processor time a compilation may take: an interpreter takes 10 s of it, where the compiler itself is not optimised
/// several times that.
pub(crate) const COMPILE_CPU_SECONDS_MAX: u64 = 60;

/// Time by the clock on the wall that it may take: on a loaded machine a compilation waits, but not for ever.
pub(crate) const COMPILE_WALL_SECONDS_MAX: u32 = 300;

/// Linear memory a component may be given: room for 100,000 nodes, while a pool of such memories stays a small part of the
/// address space.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Linear memory of a component that asks for no other limit: 5,000 nodes take 2 MiB, an interpreter 50.
pub const MEMORY_BYTES_DEFAULT: usize = 128 << 20;

/// Time one call may be given. A scheduler stands still meanwhile.
pub const DEADLINE_MS_MAX: u64 = 10_000;

/// Time for one call of a component that asks for no other limit: 5,000 nodes are scored in well under 1 ms.
pub const DEADLINE_MS_DEFAULT: u64 = 100;

/// Time for calls that happen once per plugin and not in the way of decisions: `describe`, and the feed of the whole cluster.
pub(crate) const SETUP_DEADLINE: Duration = Duration::from_secs(2);

/// How many times its processor time a call may take by the clock on the wall: on a loaded machine a call waits through no
/// fault of its own.
pub(crate) const WALL_FACTOR: u32 = 10;

/// Bytes a component may hand to the host in one call. Wasmtime's default would let 2 MiB of overlapping strings become 4 GiB;
/// a plan for 10,000 pods has 0.5 MiB.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Lines an instance may log in a second: enough to explain some decisions, too little to fill a disk or to hide what others
/// say.
pub(crate) const LOG_LINES_PER_SECOND_MAX: u32 = 20;

/// Bytes of a component's own text that are shown: a line of its log, a reason, an error. They end in the log, in events and
/// in the status of objects, where a long one would leave no room for anything else.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

/// Instances alive at one time, over all components: a pool for each place that is bound, twice while it is swapped.
pub(crate) const INSTANCES_MAX: u32 = 256;

/// Idle instances that a pool keeps: as many as are asked at a time where writes come one after another, while a policy in an
/// interpreted language keeps tens of MiB in each.
pub(crate) const POOL_IDLE_MAX: usize = 2;

/// Bytes of the schema of a configuration.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Core instances, memories and tables per component: what interpreters with adapters need. Python's has 38 instances,
/// QuickJS's has 3 memories.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
pub(crate) const MEMORIES_MAX: u32 = 4;
pub(crate) const TABLES_MAX: u32 = 4;

/// Elements of a table: StarlingMonkey has 30,000 functions.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Stack of a call. Wasmtime runs on the caller's stack, of which a thread has 2 MiB.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;

/// Entries a manifest's lists may have together, and bytes of all its texts: each label key is a column of the cluster.
pub(crate) const MANIFEST_ENTRIES_MAX: usize = 256;
pub(crate) const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Limits of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    memory_bytes: usize,
    deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: MEMORY_BYTES_DEFAULT, deadline_ms: DEADLINE_MS_DEFAULT }
    }
}

impl Limits {
    /// Limits cut to what this engine can give: at most [`MEMORY_BYTES_MAX`], and 1 to [`DEADLINE_MS_MAX`] milliseconds.
    pub fn new(memory_bytes: usize, deadline_ms: u64) -> Self {
        Self {
            memory_bytes: memory_bytes.min(MEMORY_BYTES_MAX),
            deadline_ms: deadline_ms.clamp(1, DEADLINE_MS_MAX),
        }
    }

    /// Linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Processor time of one call.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}
