//! Clients: each does one thing after another, tries again what failed for no fault of its own, and keeps accounts.

use std::sync::Arc;

use berth_api::{Catalogue, Status};
use berth_control::Writer;
use berth_pipeline::Request;
use berth_state::{Key, State};

use crate::oracle::Oracle;
use crate::randomness::{Purpose, Random};
use crate::workload::{self, COUNTER, Intent};

/// How often a client repeats a request that got no answer or 503 before it thinks of something else.
const ATTEMPTS_MAX: u32 = 8;

/// What clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Anything.
    Busy,
    /// Only what lets the cluster come to rest.
    Tidy,
    /// Nothing of their own.
    Idle,
}

struct Client {
    random: Random,
    writer: Writer,
    /// What it waits for, and how often it was sent.
    open: Option<(Request, Intent, u32)>,
}

/// All clients and what they count.
pub(crate) struct Clients {
    clients: Vec<Client>,
    pub(crate) mood: Mood,
    counts_sent: u64,
    counts_acknowledged: u64,
    /// Writes that were answered with success.
    pub(crate) acknowledged: u64,
    /// Writes that were answered 503.
    pub(crate) unavailable: u64,
}

impl Clients {
    pub(crate) fn new(seed: u64, count: usize, catalogue: &Arc<Catalogue>) -> Self {
        let client = |number| Client {
            random: Random::new(seed, Purpose::Client(number)),
            writer: Writer::new("client", catalogue.clone()),
            open: None,
        };
        let clients = (0..count).map(client).collect();
        let (counts_sent, counts_acknowledged) = (0, 0);
        Self { clients, mood: Mood::Busy, counts_sent, counts_acknowledged, acknowledged: 0, unavailable: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The client's next request; `state` is what it reads. `None`: it has nothing to do now.
    pub(crate) fn next(&mut self, number: usize, state: &State, oracle: &mut Oracle) -> Option<Request> {
        let client = &mut self.clients[number];
        if let Some((request, _, attempts)) = &mut client.open {
            *attempts += 1;
            return Some(request.clone());
        }
        let (request, intent) = match self.mood {
            Mood::Busy => workload::next(&mut client.random, &client.writer, state),
            Mood::Tidy => workload::tidy(&client.writer, state),
            Mood::Idle => None,
        }?;
        match &intent {
            Intent::Plain => {}
            Intent::Count => self.counts_sent += 1,
            Intent::Release(key) => oracle.release(key.clone()),
        }
        client.open = Some((request.clone(), intent, 1));
        Some(request)
    }

    /// The client's request was answered, or not in time (`None`); returns after how many milliseconds it goes on.
    pub(crate) fn answered(&mut self, number: usize, result: Option<Result<(), &Status>>) -> i64 {
        let client = &mut self.clients[number];
        let tried = client.open.as_ref().map_or(0, |(_, _, attempts)| *attempts);
        let again = match result {
            None => true,
            Some(Err(status)) => status.code == 503,
            Some(Ok(())) => false,
        };
        self.unavailable += u64::from(result.is_some() && again);
        if again && tried < ATTEMPTS_MAX {
            return client.random.between(50, 500) << tried;
        }
        if let Some((_, intent, _)) = client.open.take()
            && let Some(Ok(())) = result
        {
            self.acknowledged += 1;
            self.counts_acknowledged += u64::from(intent == Intent::Count);
        }
        client.random.between(200, 6_000)
    }

    /// No count was lost and none was made twice.
    pub(crate) fn check_counter(&self, state: &State) {
        let Some(counter) = state.get(&Key::new("configmaps", "default", COUNTER)) else {
            assert_eq!(self.counts_acknowledged, 0, "the counter is gone");
            return;
        };
        let object = self.clients[0].writer.value(counter);
        let n: u64 = object["data"]["n"].as_str().and_then(|text| text.parse().ok()).expect("a count");
        assert!(
            (self.counts_acknowledged..=self.counts_sent).contains(&n),
            "the counter stands at {n}, though {} counts were acknowledged and {} sent",
            self.counts_acknowledged,
            self.counts_sent
        );
    }
}
