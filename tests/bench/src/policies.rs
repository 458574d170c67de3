//! The policy `spread`, in the sandbox and compiled into this program.

use anyhow::anyhow;
use berth_loops::ScheduleHandle;
use berth_native::Native;
use berth_plugin_spread::Spread;
use berth_policy::{Component, Engine, Limits};
use berth_scheduler::policy::Policy;
use berth_scheduler::{OFFERED, Scheduler};

/// How a policy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a component in wasmtime, as `berth up` runs it.
    Wasm,
    /// The same source, linked in.
    Native,
}

/// Makes policies of either kind.
pub(crate) struct Policies {
    component: Component,
}

impl Policies {
    /// Compiles the component.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let engine = Engine::new(None)?;
        Ok(Self { component: engine.load(berth_plugins::SPREAD, Limits::default())? })
    }

    /// A policy that has been fed nothing yet.
    pub(crate) fn start(&self, kind: Kind) -> anyhow::Result<Box<dyn Policy>> {
        Ok(match kind {
            Kind::Wasm => Box::new(self.component.scheduler("spread", b"", OFFERED)?),
            Kind::Native => Box::new(Native::<Spread>::start(b"", OFFERED)?),
        })
    }
}

/// Lets `policy` serve the default profile of a scheduler that is running; returns for how many microseconds it paused.
pub(crate) async fn install(scheduler: &ScheduleHandle, mut policy: Box<dyn Policy>) -> anyhow::Result<u64> {
    let (mirror, feed) = scheduler.prepare(policy.manifest().clone()).await?;
    let fed = move || policy.feed(&feed).map(|()| policy);
    let policy = tokio::task::spawn_blocking(fed).await?.map_err(|error| anyhow!("{error}"))?;
    Ok(scheduler.install("default-scheduler", 1, policy, mirror).await?)
}

/// The same for a scheduler that is in our own hands.
pub(crate) fn install_in(scheduler: &mut Scheduler, mut policy: Box<dyn Policy>) -> anyhow::Result<()> {
    let (mirror, feed) = scheduler.prepare(policy.manifest());
    policy.feed(&feed).map_err(|error| anyhow!("{error}"))?;
    drop(scheduler.install("default-scheduler", 1, policy, mirror));
    Ok(())
}
