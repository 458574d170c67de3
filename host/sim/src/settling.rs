//! The end of a run: faults stop, and everything must come to rest.

use crate::clients::Mood;
use crate::faults::Fault;
use crate::policy::Style;
use crate::servers::{CA_CERTIFICATE, Server};
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
/// After so long no server stands still any more, and no call that was made before the calm is still on its way.
const STALE_MS: i64 = 50_000;

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
        // What was asked of a server that stood still, and given up since, is done only now: the last wish comes after that.
        self.run_for(STALE_MS);
        let failure_policy = "LastGood";
        self.break_something(Fault::Policy { style: Style::Spread, failing_permille: 0, failure_policy });
        let deadline = self.now.plus_millis(SETTLE_MS_MAX);
        loop {
            self.run_for(LOOK_MS);
            let found = self.unrest();
            if found.is_empty() {
                break;
            }
            assert!(self.now < deadline, "the cluster does not come to rest:\n{}", found.join("\n"));
        }
        for server in &self.servers {
            let state = server.state().expect("all are up");
            self.oracle.check_equal(&state, &format!("server {} at the end", server.number));
            self.clients.check_counter(&state);
        }
    }

    fn calm_down(&mut self) {
        self.note("calm");
        self.loss_permille = 0;
        self.parts.disk.crash_after_commit(None);
        self.parts.disk.set_forgetting(0);
        self.clients.mood = Mood::Tidy;
        self.break_something(Fault::DiskWorks);
        (0..self.settings.nodes).for_each(|node| self.break_something(Fault::NodeReturns { node }));
    }

    /// Why the run cannot end yet.
    fn unrest(&mut self) -> Vec<String> {
        if self.servers.iter().any(|server| !server.is_reached()) {
            return vec!["a server is down".to_owned()];
        }
        let newest = self.oracle.revision();
        let is_behind = |server: &&Server| server.state().is_none_or(|state| state.revision() != newest);
        if let Some(server) = self.servers.iter().find(is_behind) {
            return vec![format!("server {} is behind", server.number)];
        }
        let state = self.state();
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
        let found = complaints(state);
        if found.is_empty() { undone(state, &self.catalogue, CA_CERTIFICATE, self.now) } else { found }
    }
}
