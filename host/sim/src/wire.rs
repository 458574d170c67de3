//! Messages: calls on their way to the server and answers on their way back, changes on their way to followers.

use std::collections::BTreeMap;

use berth_api::Status;
use berth_pipeline::Request;
use berth_state::Key;

use crate::call::{Ask, Caller, Reply, Ticket, describe};
use crate::controllers::Calls;
use crate::world::{Event, Follower, World};

/// A call within the process takes about this long, in milliseconds.
const INSIDE_MS: i64 = 1;
/// A message over the network takes about this long.
const NETWORK_MS: i64 = 8;
/// How long a caller waits for an answer.
const TIMEOUT_MS: i64 = 5_000;
/// Of a thousand calls of nodes as many arrive twice: proxies repeat what they think idempotent.
const DOUBLED_PERMILLE: u32 = 10;

impl World {
    pub(crate) fn make(&mut self, calls: Calls) {
        for (caller, ask) in calls {
            self.call(caller, ask);
        }
    }

    /// Sends a call on its way.
    pub(crate) fn call(&mut self, caller: Caller, ask: Ask) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let typical = if caller.is_inside() { INSIDE_MS } else { NETWORK_MS };
        let arrives = self.now.plus_millis(self.network.delay_ms(typical));
        let is_lost = caller.can_lose() && self.network.chance(self.loss_permille);
        let is_doubled = matches!(caller, Caller::Node(_)) && self.network.chance(DOUBLED_PERMILLE);
        let again = self.now.plus_millis(self.network.delay_ms(typical * 20));
        self.calls.insert(ticket, (caller, self.life));
        if is_lost {
            self.note_call(ticket, "lost:", &ask);
            self.agenda.enter(self.now.plus_millis(TIMEOUT_MS), Event::TimedOut { ticket });
            return ticket;
        }
        if is_doubled {
            self.agenda.enter(again, Event::Arrive { ticket, ask: ask.clone() });
        }
        self.agenda.enter(arrives, Event::Arrive { ticket, ask });
        ticket
    }

    /// A call reaches the server, or the place where it was.
    pub(crate) fn arrive(&mut self, ticket: Ticket, ask: Ask) {
        let known = self.calls.get(&ticket);
        if known.is_some_and(|(caller, life)| caller.is_inside() && *life != self.life) {
            self.calls.remove(&ticket);
            return;
        }
        let Some(plane) = &mut self.plane else {
            self.note_call(ticket, "refused, the server is down:", &ask);
            self.agenda.enter(self.now.plus_millis(1), Event::TimedOut { ticket });
            return;
        };
        let text = describe(&ask);
        let reply = plane.server.take(ticket, ask, self.now, &mut self.ids);
        self.note(&format!("#{ticket} {text}"));
        if let Some(reply) = reply {
            self.send_answer(ticket, reply);
        }
    }

    /// An answer leaves the server.
    pub(crate) fn send_answer(&mut self, ticket: Ticket, reply: Reply) {
        self.note(&format!("#{ticket} {}", outcome(&reply)));
        let Some((caller, _)) = self.calls.get(&ticket) else { return };
        let typical = if caller.is_inside() { INSIDE_MS } else { NETWORK_MS };
        let arrives = self.now.plus_millis(self.network.delay_ms(typical));
        if caller.can_lose() && self.network.chance(self.loss_permille) {
            self.note(&format!("#{ticket} its answer is lost"));
            self.agenda.enter(self.now.plus_millis(TIMEOUT_MS), Event::TimedOut { ticket });
        } else {
            self.agenda.enter(arrives, Event::Answer { ticket, reply });
        }
    }

    /// An answer arrives, or there is none in time (`None`).
    pub(crate) fn answered(&mut self, ticket: Ticket, reply: Option<Reply>) {
        let Some((caller, life)) = self.calls.remove(&ticket) else { return };
        if caller.is_inside() && life != self.life {
            return;
        }
        let result = match reply {
            Some(Reply::Bound(results)) => {
                self.bound(&caller, results);
                return;
            }
            Some(Reply::Written(result)) => Some(result),
            None => None,
        };
        let short = result.as_ref().map(|result| result.as_ref().map(|_| ()));
        match caller {
            Caller::Step { run, component, told, on_miss } => {
                let name = |result: &Result<berth_pipeline::Answer, Status>| {
                    result.as_ref().ok().map(|answer| answer.name().to_owned())
                };
                let name = result.as_ref().and_then(name).unwrap_or_default();
                let succeeded = matches!(short, Some(Ok(())));
                let result = match short {
                    Some(Ok(())) => Ok(()),
                    Some(Err(status)) if on_miss.accepts(status) => Ok(()),
                    Some(Err(status)) => Err(status.message.clone()),
                    None => Err("no answer in time".to_owned()),
                };
                self.step_answered(run, result);
                if let (true, true, Some(mut note)) = (self.settings.events, succeeded, told) {
                    note.message = note.message.replace("{name}", &name);
                    self.tell(component, note);
                }
            }
            Caller::Binder { .. } | Caller::SchedulerStatus | Caller::Courtesy => {}
            Caller::Node(key) => {
                let is_over = match short {
                    Some(Ok(())) => true,
                    Some(Err(status)) => status.code != 503,
                    None => false,
                };
                if !is_over {
                    self.agenda.enter(self.now.plus_millis(1_000), Event::NodeRetry(key));
                }
            }
            Caller::Client(number) => {
                let wait = self.clients.answered(number, short);
                self.agenda.enter(self.now.plus_millis(wait), Event::Client(number));
            }
            Caller::Script => {
                self.script.insert(ticket, result);
            }
        }
    }

    fn bound(&mut self, caller: &Caller, results: Vec<Result<(), Status>>) {
        let Caller::Binder { pods } = caller else { return };
        let refused = pods.iter().zip(&results).filter(|(_, result)| result.is_err());
        let refused: Vec<(Key, Box<str>)> = refused.map(|(pod, _)| pod.clone()).collect();
        if let Some(plane) = &mut self.plane {
            plane.scheduling.bound(&refused, self.now);
        }
    }

    fn step_answered(&mut self, run: u64, result: Result<(), String>) {
        let Some(plane) = &mut self.plane else { return };
        let calls = plane.control.answered(run, result, &plane.server.state, self.now);
        self.make(calls);
    }

    fn tell(&mut self, component: &'static str, note: berth_control::EventNote) {
        let Some(plane) = &mut self.plane else { return };
        if let Some(request) = plane.control.record(component, note, self.now) {
            self.call(Caller::Courtesy, Ask::Write(Box::new(request)));
        }
    }

    /// The disk has taken the writer's batch, or not.
    pub(crate) fn disk_done(&mut self) {
        let Some(plane) = &mut self.plane else { return };
        let staged = plane.server.staged().to_vec();
        let failed = if staged.is_empty() { None } else { self.disk.commit_now(&staged).err() };
        if failed.is_none() {
            staged.iter().for_each(|change| self.oracle.took(change));
            if let Some(down_ms) = self.crash_after_commit.take_if(|_| !staged.is_empty()) {
                return self.crash(down_ms);
            }
        }
        let why = failed.map(|error| error.to_string());
        let finished = plane.server.end_write(why.as_deref(), self.now, &mut self.ids);
        if finished.changes.iter().any(|change| is_interesting(&change.key)) {
            self.busy_at = self.now;
        }
        let state = &plane.server.state;
        assert_eq!(state.revision(), self.oracle.revision(), "published is what is durable");
        for (ticket, reply) in finished.replies {
            self.check_answer(ticket, &reply);
            self.send_answer(ticket, reply);
        }
        self.wake_followers();
    }

    fn check_answer(&self, _: Ticket, reply: &Reply) {
        let Reply::Written(Ok(answer)) = reply else { return };
        let object = answer.object();
        let found = self
            .catalogue
            .iter()
            .find(|r| object["kind"] == r.kind.as_str() && object["apiVersion"] == r.api_version().as_str());
        let Some(resource) = found else { return };
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or("").to_owned();
        self.oracle
            .check_acknowledged(&Key::new(resource.id.clone(), text("namespace"), text("name")), answer);
    }

    /// Lets every follower know, after a while of its own, that there is news.
    pub(crate) fn wake_followers(&mut self) {
        let watchers = (0..self.watchers.len()).map(Follower::Watcher);
        let all: Vec<Follower> =
            [Follower::Control, Follower::Scheduler, Follower::Nodes].into_iter().chain(watchers).collect();
        all.into_iter().for_each(|follower| self.wake(follower));
    }

    fn wake(&mut self, follower: Follower) {
        if self.delivering.insert(follower) {
            let typical = match follower {
                Follower::Control | Follower::Scheduler => INSIDE_MS * 2,
                Follower::Nodes => NETWORK_MS,
                Follower::Watcher(_) => NETWORK_MS * 10,
            };
            let at = self.now.plus_millis(self.feed.delay_ms(typical));
            self.agenda.enter(at, Event::Deliver { life: self.life, follower });
        }
    }

    /// A follower takes in some or all of what is new.
    pub(crate) fn deliver(&mut self, follower: Follower) {
        self.delivering.remove(&follower);
        let limit = if self.feed.chance(300) { self.feed.index(4) + 1 } else { usize::MAX };
        let Some(plane) = &mut self.plane else { return };
        let state = &plane.server.state;
        let more = match follower {
            Follower::Control => {
                let more = plane.control.catch_up(state, limit);
                if !more {
                    self.oracle.check_equal(&plane.control.replica, "the controllers' replica");
                }
                more
            }
            Follower::Scheduler => plane.scheduling.catch_up(state, limit, self.now),
            Follower::Watcher(number) => self.watchers[number].deliver(state, &self.oracle, limit),
            Follower::Nodes => match state.changes_after(self.nodes_replica.revision()) {
                Some(changes) => {
                    for change in changes.into_iter().take(limit) {
                        self.nodes.on_change(change);
                        self.nodes_replica.publish(change.clone());
                    }
                    self.nodes_replica.revision() < state.revision()
                }
                None => {
                    self.nodes_replica = state.clone();
                    self.nodes.resync(&self.nodes_replica);
                    false
                }
            },
        };
        if more {
            self.wake(follower);
        }
    }

    /// Does one write as a client, and waits for the answer in virtual time.
    ///
    /// # Errors
    /// What the server answers; 504 when it does not answer.
    pub fn write(&mut self, request: Request) -> Result<berth_json::Value, Status> {
        let ticket = self.call(Caller::Script, Ask::Write(Box::new(request)));
        while !self.script.contains_key(&ticket) && self.step() {}
        let timeout = || Status::new(berth_api::Reason::Timeout, "no answer in time");
        let answer = self.script.remove(&ticket).flatten().unwrap_or_else(|| Err(timeout()));
        answer.map(|answer| answer.object().into_owned())
    }
}

/// Whether a write means that the cluster is not at rest.
fn is_interesting(key: &Key) -> bool {
    !matches!(&*key.resource, "leases.coordination.k8s.io" | "events")
}

fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Written(Ok(answer)) => {
            format!(
                "→ {} at {}",
                answer.code,
                answer.object()["metadata"]["resourceVersion"].as_str().unwrap_or("-")
            )
        }
        Reply::Written(Err(status)) => format!("→ {} {}", status.code, status.message),
        Reply::Bound(results) => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for result in results {
                let text =
                    result.as_ref().map_or_else(|status| status.message.clone(), |()| "bound".to_owned());
                *counts.entry(text).or_default() += 1;
            }
            format!("→ {counts:?}")
        }
    }
}
