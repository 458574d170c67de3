//! Running horizontal autoscalers: each is looked at every 15 seconds, at a moment of its own, and at once when it changes.
//!
//! A look takes a snapshot, asks the policy of the autoscaler's profile beside the async threads, and writes first the scale
//! of the workload and then what came of it.

mod look;
mod recommenders;
mod role;
mod rota;
mod workload;

use berth_autoscale::{Autoscaler, fair_share};
use berth_cluster::{Interest, Leader, Subscription};
use berth_control::Writer;
use berth_metrics::Usage;
use berth_state::{Change, Stored};
use tokio::sync::mpsc;

use crate::events::EventSink;
use crate::failures::FailureReports;
use look::{Hands, Looked};
use rota::{Rota, Version};

pub use recommenders::Recommenders;
pub use role::AutoscalerRole;

const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";

/// By which profile's policy an autoscaler is scaled.
const PROFILE: &str = "berth.dev/autoscaling-profile";
/// Where nobody says.
const DEFAULT_PROFILE: &str = "default";

/// Looks under way: each may keep a thread that a policy computes on, and a policy has few instances.
const LOOKS_MAX: usize = 8;
/// Changes of autoscalers taken together.
const CHANGES_MAX: usize = 1_024;

/// What autoscalers are looked at with.
#[derive(Clone, Default)]
pub struct Autoscaling {
    /// Who recommends.
    pub recommenders: Recommenders,
    /// What pods use.
    pub usage: Usage,
    /// Where failures of policies are reported.
    pub failures: FailureReports,
}

/// Runs for as long as the leader leads.
pub async fn run_autoscaling(leader: Leader, autoscaling: Autoscaling) {
    let mut autoscalers = leader.subscribe(AUTOSCALERS, Interest::All);
    let mut rota = Rota::default();
    begin(&leader, &mut rota);
    let hands = Hands {
        writer: Writer::new("horizontal-pod-autoscaler", leader.catalogue()),
        events: EventSink::start(leader.clone(), "horizontal-pod-autoscaler"),
        leader: leader.clone(),
        autoscaling: autoscaling.clone(),
    };
    let (report, mut reports) = mpsc::channel::<Looked>(LOOKS_MAX);
    let mut under_way = 0;
    loop {
        while under_way < LOOKS_MAX {
            let Some((key, memory)) = rota.next(leader.now()) else { break };
            under_way += 1;
            let (hands, report, share) = (hands.clone(), report.clone(), fair_share(rota.len()));
            leader.executor().spawn("look", async move {
                let looked = hands.look(key, memory, share).await;
                // The receiver is gone when another server leads; nobody needs the memory then.
                let _ = report.send(looked).await;
            });
        }
        let due = if under_way < LOOKS_MAX { rota.next_due() } else { None };
        tokio::select! {
            biased;
            Some(Looked { key, memory, lacks_policy }) = reports.recv() => {
                under_way -= 1;
                rota.done(&key, memory, lacks_policy, leader.now());
            }
            () = autoscalers.changed() => catch_up(&leader, &mut autoscalers, &mut rota),
            () = autoscaling.recommenders.changed() => rota.policies_changed(leader.now()),
            () = leader.executor().sleep_until(due) => {}
        }
    }
}

fn begin(leader: &Leader, rota: &mut Rota) {
    let state = leader.snapshot();
    let now = leader.now();
    let all = state.list(AUTOSCALERS, "").map(|stored| (stored.key.clone(), version(stored)));
    rota.begin(all.collect(), now);
}

fn catch_up(leader: &Leader, autoscalers: &mut Subscription, rota: &mut Rota) {
    loop {
        match autoscalers.take(CHANGES_MAX) {
            Ok(taken) => {
                taken.changes.iter().for_each(|change| hear(leader, rota, change));
                if taken.changes.len() < CHANGES_MAX {
                    return;
                }
            }
            Err(expired) => {
                tracing::warn!("autoscalers fell behind, beginning anew: {expired}");
                autoscalers.seek(leader.snapshot().revision());
                return begin(leader, rota);
            }
        }
    }
}

fn hear(leader: &Leader, rota: &mut Rota, change: &Change) {
    match &change.new {
        Some(stored) => rota.see(&stored.key, version(stored), leader.now()),
        None => rota.forget(&change.key),
    }
}

/// What a look depends on of the autoscaler itself.
fn version(stored: &Stored) -> Version {
    Version {
        uid: stored.meta().uid.clone(),
        generation: stored.meta().generation,
        profile: stored.view::<Autoscaler>().map_or(DEFAULT_PROFILE, profile).into(),
    }
}

fn profile(autoscaler: &Autoscaler) -> &str {
    autoscaler.metadata.annotations.get(PROFILE).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_PROFILE)
}

#[cfg(test)]
mod tests;
