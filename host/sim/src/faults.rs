//! What breaks: by the seed's plan in a storm, by name in scenarios.

use berth_state::State;

use crate::call::Caller;
use crate::policy::Style;
use crate::randomness::{Purpose, Random};
use crate::settings::Settings;
use crate::world::{Event, Plane, World, node_name};

/// Something that breaks or is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server's process is gone, and back after so many milliseconds.
    Crash {
        down_ms: i64,
    },
    /// The same, right after the next batch has reached the disk and before anybody learns of it.
    CrashAfterCommit {
        down_ms: i64,
    },
    /// Every write to the disk fails, for so long.
    DiskFull {
        for_ms: i64,
    },
    DiskWorks,
    /// A node does and says nothing, for so long.
    NodeSilent {
        node: usize,
        for_ms: i64,
    },
    NodeReturns {
        node: usize,
    },
    /// Another policy takes over; of a thousand of its calls so many fail.
    Policy {
        style: Style,
        failing_permille: u32,
    },
    /// The nodes lose what they know of the cluster, and list anew.
    NodesForget,
    /// The scheduler has fallen so far behind that it begins anew with the present state, its bindings under way.
    SchedulerBehind,
}

/// The faults of one storm, with their times in milliseconds from the start.
pub(crate) struct Plan {
    pub(crate) faults: Vec<(i64, Fault)>,
}

impl Plan {
    pub(crate) fn of(seed: u64, settings: &Settings) -> Self {
        let mut faults = Vec::new();
        if !settings.faults {
            return Self { faults };
        }
        let mut random = Random::new(seed, Purpose::Faults);
        let mut some = |most: usize, make: &dyn Fn(&mut Random) -> Fault| {
            for _ in 0..random.index(most + 1) {
                let at_ms = random.between(3_000, settings.storm_ms);
                faults.push((at_ms, make(&mut random)));
            }
        };
        some(3, &|random| Fault::Crash { down_ms: random.between(1, 8_000) });
        some(3, &|random| Fault::CrashAfterCommit { down_ms: random.between(1, 8_000) });
        some(2, &|random| Fault::DiskFull { for_ms: random.between(100, 10_000) });
        some(3, &|random| Fault::NodeSilent {
            node: random.index(settings.nodes),
            for_ms: random.between(1_000, 120_000),
        });
        some(3, &|random| Fault::Policy {
            style: *random.pick(&[Style::Spread, Style::Pack, Style::Plan]),
            failing_permille: *random.pick(&[0, 20, 200]),
        });
        some(2, &|_| Fault::NodesForget);
        some(3, &|_| Fault::SchedulerBehind);
        Self { faults }
    }
}

impl World {
    pub(crate) fn break_something(&mut self, fault: Fault) {
        self.note(&format!("fault: {fault:?}"));
        match fault {
            Fault::Crash { down_ms } => self.crash(down_ms),
            Fault::CrashAfterCommit { down_ms } => self.crash_after_commit = Some(down_ms),
            Fault::DiskFull { for_ms } => {
                self.disk.set_failing(true);
                self.agenda.enter(self.now.plus_millis(for_ms), Event::Fault(Fault::DiskWorks));
            }
            Fault::DiskWorks => self.disk.set_failing(false),
            Fault::NodeSilent { node, for_ms } => {
                self.nodes.set_silent(&node_name(node), true, &self.nodes_replica, self.now);
                self.agenda.enter(self.now.plus_millis(for_ms), Event::Fault(Fault::NodeReturns { node }));
            }
            Fault::NodeReturns { node } => {
                self.nodes.set_silent(&node_name(node), false, &self.nodes_replica, self.now);
            }
            Fault::Policy { style, failing_permille } => {
                self.policy = (style, failing_permille);
                self.agenda.enter(self.now, Event::StartPolicy { life: self.life });
            }
            Fault::NodesForget => {
                self.nodes_replica = State::default();
                self.wake_followers();
            }
            Fault::SchedulerBehind => {
                if let Some(plane) = self.plane.take() {
                    let Plane { server, control, scheduling } = plane;
                    let scheduling = scheduling.restarted(&server.state, self.now);
                    self.plane = Some(Plane { server, control, scheduling });
                }
            }
        }
    }

    /// The server's memory is gone: state, controllers, scheduler, staged writes, open connections.
    pub(crate) fn crash(&mut self, down_ms: i64) {
        if self.plane.take().is_none() {
            return; // it is down already
        }
        self.note(&format!("the server dies, for {down_ms} ms"));
        self.crash_after_commit = None;
        let reset = self.now.plus_millis(5);
        for (ticket, (caller, _)) in &self.calls {
            if !caller.is_inside() {
                self.agenda.enter(reset, Event::TimedOut { ticket: *ticket });
            }
        }
        self.calls.retain(|_, (caller, _): &mut (Caller, u64)| !caller.is_inside());
        self.agenda.enter(self.now.plus_millis(down_ms.max(1)), Event::Start);
    }
}
