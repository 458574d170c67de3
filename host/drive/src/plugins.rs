//! Plugins as API objects: the shell around [`PluginManager`], which decides.
//!
//! Whatever takes its time (loading, starting, writing statuses) runs beside this loop, so that a failure of one plugin is
//! dealt with at once, whatever another one does.

mod load;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_api::Timestamp;
use berth_control::{EventKind, EventNote, Writer};
use berth_lifecycle::{
    About, Binding, ComponentKey, Effect, Event, LoadFailure, Loaded, Plugin, PluginManager, StartFailure,
    Tone, with_removals,
};
use berth_pipeline::cluster::Cluster;
use berth_pipeline::{Interest, Request};
use berth_policy::Component;
use berth_scheduler::Failover;
use berth_state::{Key, State, Stored};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::compile::Compiler;
use crate::control::until;
use crate::events::EventSink;
use crate::failures::FailureReports;
use crate::scheduling::ScheduleHandle;

const PLUGINS: &str = "plugins.berth.dev";
const BINDINGS: &str = "pluginbindings.berth.dev";

/// Ends of work that wait for the loop: few, since what ends waits for a place.
const ENDS_MAX: usize = 16;
/// The wait before a status that could not be written is written again.
const WRITE_AGAIN_MS: i64 = 1_000;

/// What the plugin manager works with.
pub struct PluginConfig {
    /// Loads components.
    pub compiler: Arc<Compiler>,
    /// The scheduler whose policies are managed.
    pub scheduler: ScheduleHandle,
    /// Where it reports failures of policies.
    pub failures: FailureReports,
}

/// Work that ran beside the loop has ended.
enum End {
    Loaded(ComponentKey, Result<(Component, u64), LoadFailure>),
    Started(u64, Result<u64, StartFailure>),
    /// Statuses were written; whether all of them.
    Wrote(bool),
}

struct Shell {
    cluster: Arc<Cluster>,
    compiler: Arc<Compiler>,
    scheduler: ScheduleHandle,
    writer: Writer,
    events: EventSink,
    manager: PluginManager,
    components: HashMap<ComponentKey, Component>,
    loads: HashMap<ComponentKey, AbortHandle>,
    /// Starts under way, by installation; set: it is not wanted any more.
    starts: HashMap<u64, Arc<AtomicBool>>,
    ends: mpsc::Sender<End>,
    writes: Writes,
}

/// How far the statuses are written.
#[derive(Default)]
struct Writes {
    are_under_way: bool,
    /// The manager was asked something since they were looked at.
    are_behind: bool,
    again_at: Option<Timestamp>,
}

/// What serves each profile until its plugin is ready: to be heeded before the scheduler's first decision.
pub fn first_failovers(cluster: &Cluster) -> Vec<(String, Failover)> {
    PluginManager::failovers(&read(cluster, BINDINGS, Binding::read))
}

/// Runs until the cluster shuts down.
pub async fn run_plugins(cluster: Arc<Cluster>, config: PluginConfig) {
    let PluginConfig { compiler, scheduler, failures } = config;
    let (ends, mut ended) = mpsc::channel(ENDS_MAX);
    let mut shell = Shell {
        events: EventSink::start(cluster.clone(), "plugin-controller"),
        writer: Writer::new("plugin-controller", cluster.catalogue()),
        cluster,
        compiler,
        scheduler,
        manager: PluginManager::default(),
        components: HashMap::new(),
        loads: HashMap::new(),
        starts: HashMap::new(),
        ends,
        writes: Writes::default(),
    };
    let mut plugins = shell.cluster.subscribe(PLUGINS, Interest::All);
    let mut bindings = shell.cluster.subscribe(BINDINGS, Interest::All);
    let mut event = shell.objects();
    loop {
        shell.handle(event).await;
        let now = shell.cluster.now();
        let due = shell.manager.next_due(now).into_iter().chain(shell.writes.again_at).min();
        event = tokio::select! {
            () = plugins.changed() => shell.objects(),
            () = bindings.changed() => shell.objects(),
            (installation, failure) = failures.next() => Event::Failed(installation, failure),
            Some(end) = ended.recv() => shell.ended(end),
            () = until(due, now) => Event::Due,
        };
    }
}

fn read<T>(cluster: &Cluster, resource: &str, read: impl Fn(&Stored) -> Option<T>) -> Vec<T> {
    let all = cluster.read(|state| state.list(resource, "").cloned().collect::<Vec<_>>());
    all.iter().filter_map(|stored| read(stored)).collect()
}

impl Shell {
    fn objects(&self) -> Event {
        Event::Objects {
            plugins: read(&self.cluster, PLUGINS, Plugin::read),
            bindings: read(&self.cluster, BINDINGS, Binding::read),
        }
    }

    async fn handle(&mut self, event: Event) {
        for effect in self.manager.handle(event, self.cluster.now()) {
            self.carry_out(effect).await;
        }
        self.writes.are_behind = true;
        self.write_statuses();
    }

    /// Takes over what work beside the loop has brought, and says what that means to the manager.
    fn ended(&mut self, end: End) -> Event {
        match end {
            End::Loaded(key, result) => {
                self.loads.remove(&key);
                let result = result.map(|(component, size)| {
                    let role = component.role().to_string();
                    self.components.insert(key.clone(), component);
                    Loaded { role, size }
                });
                Event::Loaded(key, result)
            }
            End::Started(installation, result) => {
                self.starts.remove(&installation);
                Event::Started(installation, result)
            }
            End::Wrote(all) => {
                self.writes.are_under_way = false;
                self.writes.again_at = (!all).then(|| self.cluster.now().plus_millis(WRITE_AGAIN_MS));
                Event::Due
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Load(key) => self.load(key),
            Effect::CancelLoad(key) => {
                if let Some(load) = self.loads.remove(&key) {
                    load.abort();
                }
            }
            Effect::Unload(key) => drop(self.components.remove(&key)),
            Effect::Start { installation, profile, version } => {
                let is_cancelled = Arc::new(AtomicBool::new(false));
                self.starts.insert(installation, is_cancelled.clone());
                let component = self.components.get(&version.component).cloned();
                let (scheduler, ends) = (self.scheduler.clone(), self.ends.clone());
                tokio::spawn(async move {
                    let place = start::Place { scheduler, profile, installation, is_cancelled };
                    let result = start::start(place, component, version).await;
                    // Without the loop nobody asks.
                    let _ = ends.send(End::Started(installation, result)).await;
                });
            }
            Effect::CancelStart(installation) => {
                if let Some(start) = self.starts.get(&installation) {
                    start.store(true, Ordering::Relaxed);
                }
            }
            // An error of these means that the scheduler is gone, and its profiles with it.
            Effect::Uninstall { profile, installation } => {
                let _ = self.scheduler.uninstall(&profile, installation).await;
            }
            Effect::SetFailover(profile, failover) => {
                let _ = self.scheduler.set_failover(&profile, failover).await;
            }
            Effect::Tell { about, tone, reason, message } => self.tell(&about, tone, reason, message),
        }
    }

    fn load(&mut self, key: ComponentKey) {
        let (cluster, compiler) = (self.cluster.clone(), self.compiler.clone());
        let (ends, of) = (self.ends.clone(), key.clone());
        let task = tokio::spawn(async move {
            let result = load::load(&cluster, &compiler, &of).await;
            // Without the loop nobody asks.
            let _ = ends.send(End::Loaded(of, result)).await;
        });
        self.loads.insert(key, task.abort_handle());
    }

    fn tell(&self, about: &About, tone: Tone, reason: &'static str, message: String) {
        let (resource, name) = match about {
            About::Plugin(name) => (PLUGINS, name),
            About::Binding(name) => (BINDINGS, name),
        };
        let kind = match tone {
            Tone::News => {
                tracing::info!(object = %name, reason, "{message}");
                EventKind::Normal
            }
            Tone::Trouble => {
                tracing::warn!(object = %name, reason, "{message}");
                EventKind::Warning
            }
        };
        let key = Key::new(resource, "", name.as_str());
        if let Some(stored) = self.cluster.read(|state| state.get(&key).cloned()) {
            self.events.tell(EventNote::new(&stored, kind, reason, message));
        }
    }

    /// Makes the statuses what the manager says, all in one batch beside the loop.
    fn write_statuses(&mut self) {
        if self.writes.are_under_way || !self.writes.are_behind {
            return;
        }
        self.writes.are_behind = false;
        let requests = self.outdated();
        if requests.is_empty() {
            self.writes.again_at = None;
            return;
        }
        self.writes.are_under_way = true;
        let (cluster, ends) = (self.cluster.clone(), self.ends.clone());
        tokio::spawn(async move {
            let mut all = true;
            for error in cluster.apply_each(requests).await.into_iter().filter_map(Result::err) {
                tracing::warn!("the status of a plugin or binding was not written: {error}");
                all = false;
            }
            // Without the loop nobody asks.
            let _ = ends.send(End::Wrote(all)).await;
        });
    }

    fn outdated(&self) -> Vec<Request> {
        let listed = |state: &State, resource: &str| state.list(resource, "").cloned().collect::<Vec<_>>();
        let (plugins, bindings) =
            self.cluster.read(|state| (listed(state, PLUGINS), listed(state, BINDINGS)));
        let now = self.cluster.now();
        let write = |stored: &Arc<Stored>, status: Option<berth_json::Value>| {
            let before = self.writer.value(stored)["status"].take();
            let status = status.filter(|status| *status != before)?;
            let status = with_removals(&before, status);
            let patch = berth_json::json!({"metadata": {"uid": &*stored.meta().uid}, "status": status});
            Some(self.writer.merge(&stored.key, "status", &patch))
        };
        let of_plugins = plugins.iter().filter_map(|stored| {
            write(stored, self.manager.plugin_status(&stored.key.name, &self.writer.value(stored), now))
        });
        let of_bindings = bindings.iter().filter_map(|stored| {
            write(stored, self.manager.binding_status(&stored.key.name, &self.writer.value(stored), now))
        });
        of_plugins.chain(of_bindings).collect()
    }
}
