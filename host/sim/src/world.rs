//! The world of one run: everything that is, and what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_api::{Catalogue, Status, Timestamp, kinds};
use berth_cluster::SharedIds;
use berth_hollow::{HollowNodes, Shape};
use berth_json::Value;
use berth_pipeline::Body;
use berth_state::{Key, State};
use tokio::sync::mpsc;

use crate::agenda::Agenda;
use crate::call::{Ask, Caller, Reply, Ticket, describe};
use crate::clients::{Clients, Mood};
use crate::disk::Disk;
use crate::faults::{Fault, Plan};
use crate::log::Log;
use crate::oracle::Oracle;
use crate::plugins::{Admin, Recipe, Sent, Wish, Workshop};
use crate::policy::{Style, Tap};
use crate::process::{Process, TaskId};
use crate::randomness::{Purpose, Random};
use crate::servers::{Parts, Server};
use crate::settings::{Report, Settings};
use crate::watchers::Watcher;

/// Nodes boot after the servers: one that finds none registers itself as late as its next renewal.
const NODES_BOOT_MS: i64 = 500;

/// Who follows the changes of a server from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Follower {
    Nodes,
    Watcher(usize),
}

/// Everything that can happen. `life` says during which life of the server: what outlives it is void.
pub(crate) enum Event {
    Start {
        server: usize,
    },
    Arrive {
        ticket: Ticket,
        server: usize,
        ask: Ask,
    },
    Answer {
        ticket: Ticket,
        reply: Reply,
    },
    TimedOut {
        ticket: Ticket,
    },
    Poll {
        server: usize,
        life: u64,
        task: TaskId,
    },
    /// Void unless it is the one that is waited for: an earlier one may have come up since.
    Timer {
        server: usize,
        life: u64,
        at: Timestamp,
    },
    PollOutside {
        task: TaskId,
    },
    TimerOutside {
        at: Timestamp,
    },
    Deliver {
        follower: Follower,
    },
    NodesDue,
    Client(usize),
    NodeRetry(Key),
    Fault(Fault),
}

/// One run.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) begun: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) parts: Parts,
    pub(crate) servers: Vec<Server>,
    /// Where what is neither a server nor a node thinks.
    outside: Process,
    outside_timer_at: Option<Timestamp>,
    sent: Sent,
    wishes: mpsc::UnboundedSender<Wish>,
    tap: Tap,
    pub(crate) nodes: HollowNodes,
    pub(crate) nodes_replica: State,
    pub(crate) clients: Clients,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) oracle: Oracle,
    pub(crate) network: Random,
    pub(crate) feed: Random,
    threads: Random,
    pub(crate) loss_permille: u32,
    pub(crate) calls: BTreeMap<Ticket, Caller>,
    pub(crate) tickets: Ticket,
    pub(crate) script: BTreeMap<Ticket, Option<Result<Value, Status>>>,
    pub(crate) delivering: BTreeSet<Follower>,
    nodes_due: Option<Timestamp>,
    /// The newest state that a server has published.
    pub(crate) seen: Option<Arc<State>>,
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
        let mut nodes = HollowNodes::new(catalogue.clone());
        for number in 0..settings.nodes {
            nodes.add(&node_name(number), shape(), begun, number as i64 * 1_700);
        }
        let tap = Tap::default();
        let parts = Parts {
            disk: Disk::new(seed),
            ids: SharedIds::new(Random::new(seed, Purpose::Ids).bits()),
            catalogue: catalogue.clone(),
            workshop: Workshop::new(seed, tap.clone()),
            is_shared: settings.servers > 1,
        };
        let outside = Process::default();
        outside.set_now(begun);
        let sent = Sent::default();
        let (wishes, wished) = mpsc::unbounded_channel();
        let executor = outside.executor();
        executor.spawn("admin", Admin::new(catalogue.clone(), sent.clone(), executor.clone()).work(wished));
        let mut world = Self {
            seed,
            begun,
            now: begun,
            agenda: Agenda::new(),
            servers: (0..settings.servers).map(Server::new).collect(),
            parts,
            outside,
            outside_timer_at: None,
            sent,
            wishes,
            tap,
            nodes,
            nodes_replica: State::default(),
            clients: Clients::new(seed, settings.clients, &catalogue),
            watchers: ["", "pods", "deployments.apps", "configmaps"].map(Watcher::new).into(),
            oracle: Oracle::new(catalogue.clone()),
            network: Random::new(seed, Purpose::Network),
            feed: Random::new(seed, Purpose::Feed),
            threads: Random::new(seed, Purpose::Threads),
            loss_permille: settings.loss_permille,
            calls: BTreeMap::new(),
            tickets: 0,
            script: BTreeMap::new(),
            delivering: BTreeSet::new(),
            nodes_due: None,
            seen: None,
            busy_at: begun,
            log: Log::default(),
            steps: 0,
            catalogue,
            settings,
        };
        for server in 0..world.servers.len() {
            world.agenda.enter(begun.plus_millis(server as i64 * 300), Event::Start { server });
        }
        world.agenda.enter(begun.plus_millis(NODES_BOOT_MS), Event::NodesDue);
        for number in 0..world.clients.len() {
            world.agenda.enter(begun.plus_millis(2_000 + number as i64 * 100), Event::Client(number));
        }
        if world.settings.faults {
            let recipe = Recipe { style: Style::Spread, failing_permille: 0 };
            world.wish(Wish { recipe, failure_policy: "LastGood" });
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
        self.outside.set_now(self.now);
        self.happen(event);
        self.go_on();
        true
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, millis: i64) {
        self.run_for_checking(millis, |_| {});
    }

    /// Lets virtual time pass and looks at the newest state after every step.
    pub fn run_for_checking(&mut self, millis: i64, mut check: impl FnMut(&State)) {
        let until = self.now.plus_millis(millis);
        while self.agenda.next_at().is_some_and(|at| at <= until) {
            self.step();
            if let Some(state) = &self.seen {
                check(state);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start { server } => self.start(server),
            Event::Arrive { ticket, server, ask } => self.arrive(ticket, server, ask),
            Event::Answer { ticket, reply } => self.answered(ticket, Some(reply)),
            Event::TimedOut { ticket } => self.answered(ticket, None),
            Event::Poll { server, life, task } => self.poll(server, life, task),
            Event::Timer { server, life, at } => self.fire_timers(server, life, at),
            Event::PollOutside { task } => self.outside.poll(task),
            Event::TimerOutside { at } if self.outside_timer_at != Some(at) => {}
            Event::TimerOutside { .. } => {
                self.outside_timer_at = None;
                self.outside.fire_timers();
            }
            Event::Deliver { follower } => self.deliver(follower),
            Event::NodesDue => self.nodes_due = None,
            Event::Client(number) => self.client_goes_on(number),
            Event::NodeRetry(key) => self.nodes.retry(&key),
            Event::Fault(fault) => self.break_something(fault),
        }
    }

    fn start(&mut self, server: usize) {
        let server = &mut self.servers[server];
        if server.running.is_some() {
            return;
        }
        server.start(&self.parts, self.now);
        let text = format!("server {} starts, life {}", server.number, server.life);
        self.note(&text);
    }

    /// A task of a server goes on, unless the server stands still.
    fn poll(&mut self, number: usize, life: u64, task: TaskId) {
        let server = &self.servers[number];
        let Some(running) = server.running.as_ref().filter(|_| server.life == life) else { return };
        if let Some(thaw) = server.frozen_until.filter(|thaw| *thaw > self.now) {
            return self.agenda.enter(thaw, Event::Poll { server: number, life, task });
        }
        running.process.set_now(self.now);
        running.process.poll(task);
    }

    fn fire_timers(&mut self, number: usize, life: u64, at: Timestamp) {
        let server = &mut self.servers[number];
        let is_meant = server.life == life && server.timer_at == Some(at);
        let Some(running) = server.running.as_ref().filter(|_| is_meant) else { return };
        server.timer_at = None;
        if server.frozen_until.is_some_and(|thaw| thaw > self.now) {
            return; // entered again for the time after
        }
        running.process.set_now(self.now);
        running.process.fire_timers();
    }

    /// After every event: what became durable is told to the oracle, answers and asks are sent, whoever was woken gets a moment
    /// at which he goes on.
    fn go_on(&mut self) {
        self.look_at_disk();
        for number in 0..self.servers.len() {
            self.look_at_server(number);
        }
        self.seen = self.servers.iter().filter_map(Server::state).max_by_key(|state| state.revision());
        let asked = std::mem::take(&mut *self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (ask, answer) in asked {
            self.call(Caller::Admin(answer), ask);
        }
        for (task, _) in self.outside.take_woken() {
            self.agenda.enter(self.now, Event::PollOutside { task });
        }
        if let Some(due) = self.outside.next_timer()
            && self.outside_timer_at.is_none_or(|at| due < at)
        {
            self.outside_timer_at = Some(due);
            self.agenda.enter(due, Event::TimerOutside { at: due });
        }
        self.nodes_go_on();
    }

    fn look_at_disk(&mut self) {
        for (server, changes) in self.parts.disk.take_committed() {
            let life = self.servers[server].life;
            for change in &changes {
                let what = if change.new.is_some() { "puts" } else { "deletes" };
                self.log.note(
                    self.begun,
                    self.now,
                    &format!("server {server} {what} {} at {}", change.key, change.revision),
                );
                if let Some(new) = &change.new {
                    self.log.hash_bytes(new.bytes());
                }
                self.oracle.took(change, server, life);
                if is_interesting(&change.key) {
                    self.busy_at = self.now;
                }
            }
        }
        if let Some((server, down_ms)) = self.parts.disk.take_crashed() {
            self.crash(server, down_ms);
        }
    }

    fn look_at_server(&mut self, number: usize) {
        let Some(running) = &self.servers[number].running else { return };
        for (ticket, reply) in running.take_answers() {
            self.check_answer(&reply);
            self.send_answer(ticket, reply);
        }
        let server = &mut self.servers[number];
        let life = server.life;
        let state = server.state();
        let Some(running) = &mut server.running else { return };
        for (task, name) in running.process.take_woken() {
            let at = Timestamp::from_micros(self.now.micros() + self.threads.pause_us());
            self.log.hash_bytes(name.as_bytes());
            self.agenda.enter(at, Event::Poll { server: number, life, task });
        }
        let thaw = server.frozen_until.unwrap_or_default();
        if let Some(due) = running.process.next_timer().map(|due| due.max(thaw))
            && server.timer_at.is_none_or(|at| due < at)
        {
            server.timer_at = Some(due);
            self.agenda.enter(due, Event::Timer { server: number, life, at: due });
        }
        if let Some(state) = state
            && state.revision() != running.seen
        {
            self.oracle.check_published(&state, running.seen, number);
            running.seen = state.revision();
            self.wake_followers();
        }
    }

    fn nodes_go_on(&mut self) {
        if self.now < self.begun.plus_millis(NODES_BOOT_MS) {
            return;
        }
        for request in self.nodes.step(&self.nodes_replica, self.now, usize::MAX) {
            let name = match &request.body {
                Body::Object(object) if request.name.is_empty() => {
                    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
                }
                _ => request.name.clone(),
            };
            let key = Key::new(request.resource.id.clone(), request.namespace.as_str(), name);
            self.call(Caller::Node(key), Ask::Write(Box::new(request)));
        }
        if let Some(due) = self.nodes.next_due(self.now) {
            let due = due.max(self.now.plus_millis(1));
            if self.nodes_due.is_none_or(|set| due < set) {
                self.nodes_due = Some(due);
                self.agenda.enter(due, Event::NodesDue);
            }
        }
    }

    fn client_goes_on(&mut self, number: usize) {
        let request = match &self.seen {
            Some(state) => self.clients.next(number, state, &mut self.oracle),
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

    /// Tells the administrator what to bind.
    pub(crate) fn wish(&self, wish: Wish) {
        self.wishes.send(wish).expect("the administrator never goes");
    }

    /// What the run has come to so far.
    pub fn report(&self) -> Report {
        let sum = |count: fn(&Watcher) -> u64| self.watchers.iter().map(count).sum();
        let (decisions_hash, decisions) = self.tap.hash();
        Report {
            hash: self.log.hash() ^ decisions_hash.rotate_left(1),
            steps: self.steps,
            revision: self.oracle.revision().0,
            acknowledged: self.clients.acknowledged,
            unavailable: self.clients.unavailable,
            starts: self.servers.iter().map(|server| server.life).sum(),
            decisions,
            leaders: self.oracle.leaders(),
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

/// Whether a write means that the cluster is not at rest.
fn is_interesting(key: &Key) -> bool {
    !matches!(&*key.resource, "leases.coordination.k8s.io" | "events")
}

/// A failed check panics; the run then tells what led to it and how to see it again.
impl Drop for World {
    fn drop(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
        self.outside.kill();
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
