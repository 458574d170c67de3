//! The world of one run: everything that is, and what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_api::{Catalogue, Status, Timestamp, kinds};
use berth_pipeline::{Answer, SeededIds};
use berth_scheduler::Mirror;
use berth_scheduler::policy::Policy;
use berth_state::{Key, MemoryStore, State};

use crate::agenda::Agenda;
use crate::call::{Ask, Caller, Reply, Ticket, describe};
use crate::clients::{Clients, Mood};
use crate::controllers::{Calls, Controllers};
use crate::faults::{Fault, Plan};
use crate::log::Log;
use crate::nodes::{Shape, SimulatedNodes};
use crate::oracle::Oracle;
use crate::policy::{SimulatedPolicy, Style};
use crate::randomness::{Purpose, Random};
use crate::scheduling::Scheduling;
use crate::server::Server;
use crate::settings::{Report, Settings};
use crate::watchers::Watcher;

/// Who follows the change feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Follower {
    Control,
    Scheduler,
    Nodes,
    Watcher(usize),
}

/// Who has timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Control,
    Scheduler,
    Nodes,
}

/// Everything that can happen. `life` says during which life of the server: what outlives it is void.
pub(crate) enum Event {
    Start,
    Arrive { ticket: Ticket, ask: Ask },
    Answer { ticket: Ticket, reply: Reply },
    TimedOut { ticket: Ticket },
    DiskDone { life: u64 },
    Deliver { life: u64, follower: Follower },
    Wake { timer: Timer },
    Client(usize),
    NodeRetry(Key),
    Fault(Fault),
    StartPolicy { life: u64 },
    InstallPolicy { life: u64, policy: Box<dyn Policy>, mirror: Box<Mirror> },
}

/// What lives in the server's process.
pub(crate) struct Plane {
    pub(crate) server: Server,
    pub(crate) control: Controllers,
    pub(crate) scheduling: Scheduling,
}

/// One run.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) begun: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) disk: MemoryStore,
    /// `None` while the server is down.
    pub(crate) plane: Option<Plane>,
    pub(crate) life: u64,
    pub(crate) ids: SeededIds,
    pub(crate) nodes: SimulatedNodes,
    pub(crate) nodes_replica: State,
    pub(crate) clients: Clients,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) oracle: Oracle,
    pub(crate) network: Random,
    pub(crate) disk_random: Random,
    pub(crate) feed: Random,
    pub(crate) loss_permille: u32,
    pub(crate) calls: BTreeMap<Ticket, (Caller, u64)>,
    pub(crate) tickets: Ticket,
    pub(crate) script: BTreeMap<Ticket, Option<Result<Answer, Status>>>,
    pub(crate) delivering: BTreeSet<Follower>,
    pub(crate) timers: BTreeMap<Timer, Timestamp>,
    pub(crate) crash_after_commit: Option<i64>,
    pub(crate) policy: (Style, u32),
    pub(crate) policy_failures: u64,
    /// When something other than a lease or an event was last written.
    pub(crate) busy_at: Timestamp,
    pub(crate) log: Log,
    pub(crate) steps: u64,
}

impl World {
    /// The world of a seed, before its first event.
    pub fn new(seed: u64, settings: Settings) -> Self {
        let catalogue = Arc::new(kinds::catalogue());
        let begun = Timestamp::from_seconds(1_800_000_000);
        let mut nodes = SimulatedNodes::new(catalogue.clone());
        for number in 0..settings.nodes {
            nodes.add(&node_name(number), shape(), begun, number as i64 * 1_700);
        }
        let mut world = Self {
            seed,
            begun,
            now: begun,
            agenda: Agenda::new(),
            disk: MemoryStore::new(),
            plane: None,
            life: 0,
            ids: SeededIds::new(Random::new(seed, Purpose::Ids).bits()),
            nodes,
            nodes_replica: State::default(),
            clients: Clients::new(seed, settings.clients, &catalogue),
            watchers: ["", "pods", "deployments.apps", "configmaps"].map(Watcher::new).into(),
            oracle: Oracle::new(catalogue.clone()),
            network: Random::new(seed, Purpose::Network),
            disk_random: Random::new(seed, Purpose::Disk),
            feed: Random::new(seed, Purpose::Feed),
            loss_permille: settings.loss_permille,
            calls: BTreeMap::new(),
            tickets: 0,
            script: BTreeMap::new(),
            delivering: BTreeSet::new(),
            timers: BTreeMap::new(),
            crash_after_commit: None,
            policy: (Style::Spread, 0),
            policy_failures: 0,
            busy_at: begun,
            log: Log::default(),
            steps: 0,
            catalogue,
            settings,
        };
        world.agenda.enter(begun, Event::Start);
        world.agenda.enter(begun, Event::Wake { timer: Timer::Nodes });
        for number in 0..world.clients.len() {
            world.agenda.enter(begun.plus_millis(2_000 + number as i64 * 100), Event::Client(number));
        }
        for (at_ms, fault) in Plan::of(seed, &world.settings).faults {
            world.agenda.enter(begun.plus_millis(at_ms), Event::Fault(fault));
        }
        world
    }

    /// Lets the next event happen. Returns `false` when there is none.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.next() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        self.happen(event);
        self.go_on();
        true
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, millis: i64) {
        self.run_for_checking(millis, |_| {});
    }

    /// Lets virtual time pass and looks at the server's state after every step while there is one.
    pub fn run_for_checking(&mut self, millis: i64, mut check: impl FnMut(&State)) {
        let until = self.now.plus_millis(millis);
        while self.agenda.next_at().is_some_and(|at| at <= until) {
            self.step();
            if let Some(plane) = &self.plane {
                check(&plane.server.state);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start => self.start(),
            Event::Arrive { ticket, ask } => self.arrive(ticket, ask),
            Event::Answer { ticket, reply } => self.answered(ticket, Some(reply)),
            Event::TimedOut { ticket } => self.answered(ticket, None),
            Event::DiskDone { life } if life == self.life => self.disk_done(),
            Event::Deliver { life, follower } if life == self.life => self.deliver(follower),
            Event::Wake { timer } => {
                self.timers.remove(&timer);
            }
            Event::Client(number) => self.client_goes_on(number),
            Event::NodeRetry(key) => self.nodes.retry(&key),
            Event::Fault(fault) => self.break_something(fault),
            Event::StartPolicy { life } if life == self.life => self.start_policy(),
            Event::InstallPolicy { life, policy, mirror } if life == self.life => {
                self.note(&format!("policy {} installed", policy.manifest().name));
                if let Some(plane) = &mut self.plane {
                    plane.scheduling.install(policy, *mirror, self.now);
                }
            }
            Event::DiskDone { .. }
            | Event::Deliver { .. }
            | Event::StartPolicy { .. }
            | Event::InstallPolicy { .. } => {} // of a life that has ended
        }
    }

    /// The server starts, with nothing but its disk.
    fn start(&mut self) {
        self.life += 1;
        self.note(&format!("the server starts, life {}", self.life));
        let mut server = Server::start(&self.disk, self.catalogue.clone());
        self.oracle.check_equal(&server.state, "the server that started");
        for ask in server.system_objects() {
            server.take(0, ask, self.now, &mut self.ids);
        }
        let control = Controllers::start(&server.state, self.catalogue.clone());
        let seed = Random::new(self.seed, Purpose::Scheduler).bits();
        let scheduling = Scheduling::start(seed, &server.state, self.catalogue.clone(), self.now);
        self.plane = Some(Plane { server, control, scheduling });
        self.delivering.clear();
        self.wake_followers();
        let soon = self.now.plus_millis(500);
        self.agenda.enter(soon, Event::StartPolicy { life: self.life });
    }

    /// After every event: whoever has something to do does it, and sets his timer.
    fn go_on(&mut self) {
        let now = self.now;
        let limit = self.feed.index(16) + 1;
        let Some(plane) = &mut self.plane else { return self.nodes_go_on() };
        if plane.server.can_write() {
            plane.server.begin_write(limit);
            let done = now.plus_millis(self.disk_random.delay_ms(4));
            self.agenda.enter(done, Event::DiskDone { life: self.life });
        }
        let mut calls: Calls = plane.control.work(now);
        let (bindings, failures) = plane.scheduling.decide(&plane.server.state, now, limit);
        calls.extend(bindings);
        let (control, scheduler) = (plane.control.next_due(now), plane.scheduling.next_due(now));
        self.make(calls);
        for failure in failures {
            self.policy_failures += 1;
            self.note(&format!("the policy failed: {}", failure.error));
            if failure.error.is_fatal() {
                self.agenda.enter(now.plus_millis(1_000), Event::StartPolicy { life: self.life });
            }
        }
        self.set_timer(Timer::Control, control);
        self.set_timer(Timer::Scheduler, scheduler);
        self.nodes_go_on();
    }

    fn nodes_go_on(&mut self) {
        for request in self.nodes.step(&self.nodes_replica, self.now, usize::MAX) {
            let name = match request.body.clone() {
                berth_pipeline::Body::Object(object) if request.name.is_empty() => {
                    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
                }
                _ => request.name.clone(),
            };
            let key = Key::new(request.resource.id.clone(), request.namespace.as_str(), name);
            self.call(Caller::Node(key), Ask::Write(Box::new(request)));
        }
        let due = self.nodes.next_due(self.now);
        self.set_timer(Timer::Nodes, due);
    }

    fn set_timer(&mut self, timer: Timer, due: Option<Timestamp>) {
        let Some(due) = due else { return };
        let due = due.max(self.now.plus_millis(1));
        if self.timers.get(&timer).is_none_or(|set| due < *set) {
            self.timers.insert(timer, due);
            self.agenda.enter(due, Event::Wake { timer });
        }
    }

    fn client_goes_on(&mut self, number: usize) {
        let request = match &self.plane {
            Some(plane) => self.clients.next(number, &plane.server.state, &mut self.oracle),
            None => None,
        };
        match request {
            Some(request) => {
                self.call(Caller::Client(number), Ask::Write(Box::new(request)));
            }
            None if self.clients.mood == Mood::Idle => {}
            None => self.agenda.enter(self.now.plus_millis(1_000), Event::Client(number)),
        }
    }

    fn start_policy(&mut self) {
        let (style, failing) = self.policy;
        let random = Random::new(self.seed, Purpose::Policy(self.steps));
        let mut policy = SimulatedPolicy::new(style, failing, random);
        let Some(plane) = &mut self.plane else { return };
        let (mirror, feed) = plane.scheduling.prepare(policy.manifest());
        let event = match policy.feed(&feed) {
            Ok(()) => {
                Event::InstallPolicy { life: self.life, policy: Box::new(policy), mirror: Box::new(mirror) }
            }
            Err(_) => Event::StartPolicy { life: self.life },
        };
        let delay = self.feed.between(10, 800);
        self.agenda.enter(self.now.plus_millis(delay), event);
    }

    /// What the run has come to so far.
    pub fn report(&self) -> Report {
        let sum = |count: fn(&Watcher) -> u64| self.watchers.iter().map(count).sum();
        Report {
            hash: self.log.hash(),
            steps: self.steps,
            revision: self.oracle.revision().0,
            acknowledged: self.clients.acknowledged,
            unavailable: self.clients.unavailable,
            starts: self.life,
            policy_failures: self.policy_failures,
            watched: (sum(|watcher| watcher.seen), sum(|watcher| watcher.lists)),
            virtual_ms: self.now.millis_since(self.begun),
        }
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.log.note(self.begun, self.now, text);
    }

    pub(crate) fn note_call(&mut self, ticket: Ticket, how: &str, ask: &Ask) {
        let text = format!("#{ticket} {how} {}", describe(ask));
        self.note(&text);
    }
}

/// A failed check panics; the run then tells what led to it and how to see it again.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "seed {} failed at step {}, {} ms:",
            self.seed,
            self.steps,
            self.now.millis_since(self.begun)
        );
        self.log.tail().for_each(|line| eprintln!("  {line}"));
        if self.settings.faults {
            let seed = self.seed;
            eprintln!(
                "again: BERTH_SIM_FIRST={seed} BERTH_SIM_SEEDS=1 cargo test -p berth-sim --test seeds -- --nocapture"
            );
        }
    }
}

pub(crate) fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn shape() -> Shape {
    let capacity = [("cpu", "4"), ("memory", "8Gi"), ("pods", "12")];
    let capacity = capacity.map(|(name, quantity)| (name.to_owned(), quantity.to_owned())).into();
    Shape { capacity, ..Shape::default() }
}
