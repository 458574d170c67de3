//! Servers: each a process that loads its state from the disk, answers calls, and leads when it can, with the loops that
//! `berth up` runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_api::{Catalogue, Timestamp};
use berth_cluster::{Cluster, Config, SharedIds};
use berth_control::Config as ControlConfig;
use berth_loops::{Holder, Leading, PolicyCalls, Reviews, lead_when_possible};
use berth_metrics::Usage;
use berth_state::{Revision, State};

use crate::call::{Ask, Reply, Ticket};
use crate::disk::Disk;
use crate::plugins::Workshop;
use crate::process::Process;

/// How soon a server that could not start is started again, as systemd does it.
const START_AGAIN: Duration = Duration::from_secs(1);

/// What stands for the cluster's CA certificate.
pub(crate) const CA_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

/// One server; it may be down, and have been up before.
pub(crate) struct Server {
    pub(crate) number: usize,
    /// Counts its starts: what outlives a life is void.
    pub(crate) life: u64,
    pub(crate) running: Option<Running>,
    /// It does nothing until then, as a machine that swaps or a virtual one that is moved.
    pub(crate) frozen_until: Option<Timestamp>,
    /// When the world will look at its timers.
    pub(crate) timer_at: Option<Timestamp>,
}

/// A life of a server.
pub(crate) struct Running {
    pub(crate) process: Process,
    cluster: Arc<Mutex<Option<Arc<Cluster>>>>,
    outbox: Arc<Mutex<Vec<(Ticket, Reply)>>>,
    /// What its state was when the world looked last.
    pub(crate) seen: Revision,
}

/// What servers are made of.
pub(crate) struct Parts {
    pub(crate) disk: Disk,
    pub(crate) ids: SharedIds,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) workshop: Workshop,
    pub(crate) is_shared: bool,
}

/// What the lease of a leader names.
pub(crate) fn holder_of(server: usize, life: u64) -> String {
    format!("server-{server}_{life}")
}

impl Server {
    pub(crate) fn new(number: usize) -> Self {
        Self { number, life: 0, running: None, frozen_until: None, timer_at: None }
    }

    /// Starts with nothing but the disk.
    pub(crate) fn start(&mut self, parts: &Parts, now: Timestamp) {
        self.life += 1;
        self.timer_at = None;
        let process = Process::default();
        process.set_now(now);
        let executor = process.executor();
        let cluster = Arc::<Mutex<Option<Arc<Cluster>>>>::default();
        let running = Running {
            process: process.clone(),
            cluster: cluster.clone(),
            outbox: Arc::default(),
            seen: Revision::default(),
        };
        let (disk, number, is_shared) = (parts.disk.clone(), self.number, parts.is_shared);
        let holder = Holder::new(&format!("server-{number}"), &self.life.to_string());
        let ids = Arc::new(parts.ids.clone());
        let reviews = Reviews::new(executor.clone(), ids.clone());
        let config = Config {
            admission: vec![Arc::new(reviews.clone())],
            executor: executor.clone(),
            ids,
            ..Config::new(parts.catalogue.clone())
        };
        let loader = Arc::new(parts.workshop.loader(executor.clone()));
        executor.clone().spawn("start", async move {
            let started = loop {
                let store = disk.open(number, is_shared, executor.clone());
                match Cluster::start(store, config.clone()).await {
                    Ok(started) => break started,
                    Err(_) => executor.sleep(START_AGAIN).await,
                }
            };
            let ca_certificate = CA_CERTIFICATE.to_owned();
            let control = ControlConfig { kinds: started.kinds().clone(), ca_certificate };
            lead_when_possible(
                &started,
                Leading {
                    holder,
                    control,
                    loader,
                    reviews,
                    usage: Usage::default(),
                    calls: PolicyCalls::default(),
                },
            );
            *lock(&cluster) = Some(started);
        });
        self.running = Some(running);
    }

    /// Its memory is gone: state, controllers, scheduler, staged writes, open connections.
    pub(crate) fn kill(&mut self) {
        self.frozen_until = None;
        if let Some(running) = self.running.take() {
            running.process.kill();
            lock(&running.cluster).take();
        }
    }

    /// Its state, when it is up and has read it.
    pub(crate) fn state(&self) -> Option<Arc<State>> {
        Some(self.running.as_ref()?.cluster()?.snapshot())
    }

    /// Whether calls reach it.
    pub(crate) fn is_reached(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.cluster().is_some())
    }
}

impl Running {
    pub(crate) fn cluster(&self) -> Option<Arc<Cluster>> {
        lock(&self.cluster).clone()
    }

    /// Takes in a call, whose answer will be in the outbox.
    pub(crate) fn take(&self, ticket: Ticket, ask: Ask) {
        let (Some(cluster), outbox) = (self.cluster(), self.outbox.clone()) else { return };
        let executor = cluster.executor().clone();
        executor.spawn("call", async move {
            let reply = match ask {
                Ask::Write(request) => Reply::Written(cluster.apply(*request).await),
                Ask::Upload(bytes) => Reply::Uploaded(cluster.put_blob(bytes).await),
            };
            lock(&outbox).push((ticket, reply));
        });
    }

    /// The answers since this was asked last.
    pub(crate) fn take_answers(&self) -> Vec<(Ticket, Reply)> {
        std::mem::take(&mut *lock(&self.outbox))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
