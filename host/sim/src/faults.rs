//! What breaks: by the seed's plan in a storm, by name in scenarios.

use berth_state::State;

use crate::plugins::{Recipe, Wish};
use crate::policy::Style;
use crate::randomness::{Purpose, Random};
use crate::settings::Settings;
use crate::world::{Event, World, node_name};

/// What bindings ask for when their policy fails.
const FAILURE_POLICIES: [&str; 3] = ["LastGood", "Default", "Fail"];

/// Something that breaks or is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A server's process is gone, and back after so many milliseconds.
    Crash {
        server: usize,
        down_ms: i64,
    },
    /// A server stands still: its tasks go on later, and find that the world has not waited.
    Freeze {
        server: usize,
        for_ms: i64,
    },
    /// Whoever commits next dies right after its batch has reached the disk, before anybody learns of it.
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
    /// Another policy is bound; of a thousand of its calls so many fail.
    Policy {
        style: Style,
        failing_permille: u32,
        failure_policy: &'static str,
    },
    /// Servers that look for what others wrote find now and then that it is not known any more.
    DiskForgets {
        permille: u32,
    },
    /// The nodes lose what they know of the cluster, and list anew.
    NodesForget,
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
        some(3, &|random| Fault::Crash {
            server: random.index(settings.servers),
            down_ms: random.between(1, 30_000),
        });
        some(3, &|random| Fault::Freeze {
            server: random.index(settings.servers),
            for_ms: random.between(100, 40_000),
        });
        some(1, &|random| Fault::DiskForgets { permille: random.between(1, 200) as u32 });
        some(3, &|random| Fault::CrashAfterCommit { down_ms: random.between(1, 8_000) });
        some(2, &|random| Fault::DiskFull { for_ms: random.between(100, 10_000) });
        some(3, &|random| Fault::NodeSilent {
            node: random.index(settings.nodes),
            for_ms: random.between(1_000, 120_000),
        });
        some(6, &|random| Fault::Policy {
            style: *random.pick(&Style::ALL),
            failing_permille: *random.pick(&[0, 20, 200]),
            failure_policy: FAILURE_POLICIES[random.index(FAILURE_POLICIES.len())],
        });
        some(2, &|_| Fault::NodesForget);
        Self { faults }
    }
}

impl World {
    pub(crate) fn break_something(&mut self, fault: Fault) {
        self.note(&format!("fault: {fault:?}"));
        match fault {
            Fault::Crash { server, down_ms } => self.crash(server, down_ms),
            Fault::Freeze { server, for_ms } => {
                self.servers[server].frozen_until = Some(self.now.plus_millis(for_ms));
            }
            Fault::CrashAfterCommit { down_ms } => self.parts.disk.crash_after_commit(Some(down_ms)),
            Fault::DiskFull { for_ms } => {
                self.parts.disk.store.set_failing(true);
                self.agenda.enter(self.now.plus_millis(for_ms), Event::Fault(Fault::DiskWorks));
            }
            Fault::DiskWorks => self.parts.disk.store.set_failing(false),
            Fault::DiskForgets { permille } => self.parts.disk.set_forgetting(permille),
            Fault::NodeSilent { node, for_ms } => {
                self.nodes.set_silent(&node_name(node), true, &self.nodes_replica, self.now);
                self.agenda.enter(self.now.plus_millis(for_ms), Event::Fault(Fault::NodeReturns { node }));
            }
            Fault::NodeReturns { node } => {
                self.nodes.set_silent(&node_name(node), false, &self.nodes_replica, self.now);
            }
            Fault::Policy { style, failing_permille, failure_policy } => {
                self.wish(Wish { recipe: Recipe { style, failing_permille }, failure_policy });
            }
            Fault::NodesForget => {
                self.nodes_replica = State::default();
                self.wake_followers();
            }
        }
    }

    /// A server's memory is gone, and what it was asked is not answered.
    pub(crate) fn crash(&mut self, server: usize, down_ms: i64) {
        if self.servers[server].running.is_none() {
            return; // it is down already
        }
        self.note(&format!("server {server} dies, for {down_ms} ms"));
        self.servers[server].kill();
        self.agenda.enter(self.now.plus_millis(down_ms.max(1)), Event::Start { server });
    }
}
