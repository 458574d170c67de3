//! The end of a run: faults stop, and everything must come to rest.

use crate::clients::Mood;
use crate::controllers::CA_CERTIFICATE;
use crate::faults::Fault;
use crate::policy::Style;
use crate::settings::{Report, Settings};
use crate::settled::complaints;
use crate::undone::undone;
use crate::workload;
use crate::world::World;

/// How long the cluster may take to come to rest: longer than default tolerations (5 min), than the wait of a pod that a
/// policy left waiting (5 min) and the longest back-offs together.
const SETTLE_MS_MAX: i64 = 1_200_000;
/// So long nothing may be written (leases and events apart): more than any back-off but the two above.
const QUIET_MS: i64 = 45_000;
const LOOK_MS: i64 = 5_000;

impl World {
    /// One whole run: a storm, then the calm in which everything must come to rest.
    pub fn run_seed(seed: u64) -> Report {
        let settings = Settings::storm(seed);
        let storm_ms = settings.storm_ms;
        let mut world = Self::new(seed, settings);
        world.run_for(storm_ms);
        world.settle();
        world.report()
    }

    /// Stops all faults and waits until the cluster is at rest and as it was asked to be.
    ///
    /// # Panics
    /// When it does not come to rest, with what is wrong.
    pub fn settle(&mut self) {
        self.calm_down();
        let deadline = self.now.plus_millis(SETTLE_MS_MAX);
        loop {
            self.run_for(LOOK_MS);
            let found = self.unrest();
            if found.is_empty() {
                break;
            }
            assert!(self.now < deadline, "the cluster does not come to rest:\n{}", found.join("\n"));
        }
        if let Some(plane) = &self.plane {
            self.oracle.check_equal(&plane.server.state, "the server at the end");
            self.clients.check_counter(&plane.server.state);
        }
    }

    fn calm_down(&mut self) {
        self.note("calm");
        self.loss_permille = 0;
        self.crash_after_commit = None;
        self.clients.mood = Mood::Tidy;
        self.break_something(Fault::DiskWorks);
        (0..self.settings.nodes).for_each(|node| self.break_something(Fault::NodeReturns { node }));
        self.break_something(Fault::Policy { style: Style::Spread, failing_permille: 0 });
    }

    /// Why the run cannot end yet.
    fn unrest(&mut self) -> Vec<String> {
        let Some(plane) = &self.plane else { return vec!["the server is down".to_owned()] };
        let state = &plane.server.state;
        let writer = berth_control::Writer::new("client", self.catalogue.clone());
        if self.clients.len() > 0 && workload::tidy(&writer, state).is_some() {
            return vec!["clients are still tidying up".to_owned()];
        }
        if self.now.millis_since(self.busy_at) < QUIET_MS {
            return vec![format!(
                "something is still being written: {}",
                self.log.tail().last().unwrap_or_default()
            )];
        }
        let mut found = complaints(state);
        let unbound = |pod: &&std::sync::Arc<berth_state::Stored>| {
            pod.field("spec.nodeName").is_none_or(str::is_empty) && pod.meta().deletion_timestamp.is_none()
        };
        let waiting = state.list("pods", "").filter(unbound).count();
        let (pending, batches) = plane.scheduling.pending();
        if pending != waiting || batches > 0 {
            found.push(format!(
                "{waiting} pods have no node, the scheduler has {pending} and {batches} batches"
            ));
        }
        if !plane.control.is_idle() {
            found.push("controllers are still at work".to_owned());
        }
        if found.is_empty() {
            found = undone(state, &self.catalogue, CA_CERTIFICATE, self.now);
        }
        found
    }
}
