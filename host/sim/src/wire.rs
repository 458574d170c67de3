//! Messages: calls on their way to a server and answers on their way back, changes on their way to followers.

use berth_api::Status;
use berth_json::Value;
use berth_pipeline::Request;
use berth_state::Key;

use crate::call::{Ask, Caller, Reply, Ticket, outcome};
use crate::world::{Event, Follower, World};

/// A message over the network takes about this long, in milliseconds.
const NETWORK_MS: i64 = 8;
/// How long a caller waits for an answer.
const TIMEOUT_MS: i64 = 5_000;
/// Of a thousand calls of nodes as many arrive twice: proxies repeat what they think idempotent.
const DOUBLED_PERMILLE: u32 = 10;

impl World {
    /// Sends a call on its way, to whichever server is asked this time.
    pub(crate) fn call(&mut self, caller: Caller, ask: Ask) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let server = self.network.index(self.servers.len());
        let arrives = self.now.plus_millis(self.network.delay_ms(NETWORK_MS));
        let is_lost = caller.can_lose() && self.network.chance(self.loss_permille);
        let is_doubled = matches!(caller, Caller::Node(_)) && self.network.chance(DOUBLED_PERMILLE);
        let again = self.now.plus_millis(self.network.delay_ms(NETWORK_MS * 20));
        self.calls.insert(ticket, caller);
        if is_lost {
            self.note_call(ticket, "lost:", &ask);
            self.agenda.enter(self.now.plus_millis(TIMEOUT_MS), Event::TimedOut { ticket });
            return ticket;
        }
        if is_doubled {
            self.agenda.enter(again, Event::Arrive { ticket, server, ask: ask.clone() });
        }
        self.agenda.enter(arrives, Event::Arrive { ticket, server, ask });
        ticket
    }

    /// A call reaches a server, or the place where it was.
    pub(crate) fn arrive(&mut self, ticket: Ticket, server: usize, ask: Ask) {
        let running = self.servers[server].running.as_ref().filter(|running| running.cluster().is_some());
        let Some(running) = running else {
            self.note_call(ticket, "refused, the server is down:", &ask);
            self.agenda.enter(self.now.plus_millis(1), Event::TimedOut { ticket });
            return;
        };
        running.process.set_now(self.now);
        running.take(ticket, ask.clone());
        self.note_call(ticket, &format!("at server {server}:"), &ask);
        // It may die, or stand still.
        self.agenda.enter(self.now.plus_millis(TIMEOUT_MS), Event::TimedOut { ticket });
    }

    /// An answer leaves the server.
    pub(crate) fn send_answer(&mut self, ticket: Ticket, reply: Reply) {
        self.note(&format!("#{ticket} {}", outcome(&reply)));
        let Some(caller) = self.calls.get(&ticket) else { return };
        let arrives = self.now.plus_millis(self.network.delay_ms(NETWORK_MS));
        if caller.can_lose() && self.network.chance(self.loss_permille) {
            self.note(&format!("#{ticket} its answer is lost"));
        } else {
            self.agenda.enter(arrives, Event::Answer { ticket, reply });
        }
    }

    /// An answer arrives, or there is none in time (`None`).
    pub(crate) fn answered(&mut self, ticket: Ticket, reply: Option<Reply>) {
        let Some(caller) = self.calls.remove(&ticket) else { return };
        if let Caller::Admin(waiting) = caller {
            // Dropped without an answer, it tells that there is none.
            if let Some(reply) = reply {
                let _ = waiting.send(reply);
            }
            return;
        }
        let result = match reply {
            Some(Reply::Written(result)) => Some(result),
            Some(Reply::Uploaded(_)) | None => None,
        };
        let short = result.as_ref().map(|result| result.as_ref().map(|_| ()));
        match caller {
            Caller::Admin(_) => {}
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
                let result = result.map(|result| result.map(|answer| answer.object().into_owned()));
                self.script.insert(ticket, result);
            }
        }
    }

    /// What a client is told is durable.
    pub(crate) fn check_answer(&self, reply: &Reply) {
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
        let all: Vec<Follower> = std::iter::once(Follower::Nodes).chain(watchers).collect();
        all.into_iter().for_each(|follower| self.wake(follower));
    }

    fn wake(&mut self, follower: Follower) {
        if self.delivering.insert(follower) {
            let typical = match follower {
                Follower::Nodes => NETWORK_MS,
                Follower::Watcher(_) => NETWORK_MS * 10,
            };
            let at = self.now.plus_millis(self.feed.delay_ms(typical));
            self.agenda.enter(at, Event::Deliver { follower });
        }
    }

    /// A follower takes in some or all of what is new at the server that it is connected to.
    pub(crate) fn deliver(&mut self, follower: Follower) {
        self.delivering.remove(&follower);
        let limit = if self.feed.chance(300) { self.feed.index(4) + 1 } else { usize::MAX };
        let Some(state) = self.state_of_one() else {
            return; // whoever starts has news
        };
        let more = match follower {
            Follower::Watcher(number) => self.watchers[number].deliver(&state, &self.oracle, limit),
            Follower::Nodes if state.revision() < self.nodes_replica.revision() => true,
            Follower::Nodes => match state.changes_after(self.nodes_replica.revision()) {
                Some(changes) => {
                    for change in changes.into_iter().take(limit) {
                        self.nodes.on_change(change);
                        self.nodes_replica.publish(change.clone());
                    }
                    self.nodes_replica.revision() < state.revision()
                }
                None => {
                    self.nodes_replica = (*state).clone();
                    self.nodes.resync(&self.nodes_replica);
                    false
                }
            },
        };
        if more {
            self.wake(follower);
        }
    }

    /// The state of a server that can be reached: connections come and go.
    fn state_of_one(&mut self) -> Option<std::sync::Arc<berth_state::State>> {
        let reached: Vec<usize> =
            (0..self.servers.len()).filter(|server| self.servers[*server].is_reached()).collect();
        if reached.is_empty() {
            return None;
        }
        self.servers[reached[self.feed.index(reached.len())]].state()
    }

    /// Does one write as a client, and waits for the answer in virtual time.
    ///
    /// # Errors
    /// What the server answers; 504 when it does not answer.
    pub fn write(&mut self, request: Request) -> Result<Value, Status> {
        let ticket = self.call(Caller::Script, Ask::Write(Box::new(request)));
        while !self.script.contains_key(&ticket) && self.step() {}
        let timeout = || Status::new(berth_api::Reason::Timeout, "no answer in time");
        self.script.remove(&ticket).flatten().unwrap_or_else(|| Err(timeout()))
    }
}
