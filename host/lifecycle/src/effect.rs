//! What the manager is told, and what it wants done.

use berth_json::Value;
use berth_scheduler::Failover;

use crate::objects::{Binding, ComponentKey, Plugin, Version};
use crate::place::{Place, RoleName};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are all plugins and bindings now.
    Objects {
        /// In any order.
        plugins: Vec<Plugin>,
        /// In any order.
        bindings: Vec<Binding>,
    },
    /// An [`Effect::Load`] has ended.
    Loaded(ComponentKey, Result<Loaded, LoadFailure>),
    /// An [`Effect::Start`] has ended.
    Started(u64, Result<Started, StartFailure>),
    /// A policy that decides has failed.
    Failed(u64, Failure),
    /// Time has passed.
    Due,
}

/// A component that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it is for.
    pub role: RoleName,
    /// Its bytes.
    pub size: u64,
}

/// Why a component did not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFailure {
    /// One sentence.
    pub why: String,
    /// Its bytes, where they were found.
    pub size: u64,
    /// Whether the same bytes may load later: the component itself is not at fault.
    pub passing: bool,
}

/// A policy decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// How many microseconds nothing was decided while it took over.
    pub gap_us: u64,
    /// What it says of itself, as the binding's status shows it.
    pub manifest: Value,
}

/// Why a policy was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// [`Effect::CancelStart`] came in time.
    Cancelled,
    /// The same version would fail in the same way: its configuration or manifest is at fault.
    Refused(String),
    /// It failed as a policy fails while it serves, or for the machine's sake.
    Failed(String),
}

/// How a policy that decided has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence.
    pub why: String,
    /// What that means for it.
    pub harm: Harm,
    /// How many failures of this kind the report is about.
    pub count: u32,
}

/// What a failure means for the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// It goes on: whoever asks it sees to it that it is not asked when it fails too often.
    Passing,
    /// It goes on, unless there are too many of these.
    Unusable,
    /// Whoever asked it has put it aside.
    Ended,
}

/// Something is to be done. Whoever does it reports what came of [`Effect::Load`] and [`Effect::Start`], and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Compile and check a component, and keep it.
    Load(ComponentKey),
    /// Nobody needs the component any more that is being loaded: there need not be a report.
    CancelLoad(ComponentKey),
    /// Let go of a component.
    Unload(ComponentKey),
    /// Start a policy, feed it, and let it decide.
    Start {
        /// A number that is used once.
        installation: u64,
        /// Where.
        place: Place,
        /// Of a component that is loaded.
        version: Version,
    },
    /// Better not start that one; there is a report all the same.
    CancelStart(u64),
    /// Put a policy aside, if it is still the place's.
    Uninstall {
        /// Where.
        place: Place,
        /// Which one.
        installation: u64,
    },
    /// What serves a place while no policy of its own does.
    SetFailover(Place, Failover),
    /// Tell people.
    Tell {
        /// Of what.
        about: About,
        /// News or trouble.
        tone: Tone,
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

/// An object, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A plugin.
    Plugin(String),
    /// A binding.
    Binding(String),
}

/// Whether something is as intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is.
    News,
    /// It needs a look.
    Trouble,
}
