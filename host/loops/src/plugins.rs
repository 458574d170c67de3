//! Plugins as API objects: the shell around [`PluginManager`], which decides.
//!
//! Whatever takes its time (loading, starting, writing statuses) runs beside this loop, so that a failure of one plugin is
//! dealt with at once, whatever another one does.

mod config;
mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_api::Timestamp;
use berth_cluster::{Cluster, Interest, Leader};
use berth_control::{EventKind, EventNote, Writer};
use berth_lifecycle::{
    About, Binding, Component, ComponentKey, Effect, Event, LoadFailure, Loaded, Loader, Place, Plugin,
    PluginManager, RoleName, StartFailure, Started, Tone, Version, with_removals,
};
use berth_pipeline::Request;
use berth_scheduler::Failover;
use berth_state::{Key, State, Stored};
use futures_util::future::AbortHandle;
use tokio::sync::mpsc;

use crate::calls::PolicyCalls;
use crate::events::EventSink;
use crate::failures::FailureReports;
use crate::roles::{Role, Start};

const PLUGINS: &str = "plugins.berth.dev";
const BINDINGS: &str = "pluginbindings.berth.dev";

/// Ends of work that wait for the loop: few, since what ends waits for a place.
const ENDS_MAX: usize = 16;
/// The wait before a status that could not be written is written again.
const WRITE_AGAIN_MS: i64 = 1_000;

/// What the plugin manager works with.
pub struct PluginConfig {
    /// Makes components.
    pub loader: Arc<dyn Loader>,
    /// The kinds of policy that are served.
    pub roles: BTreeMap<RoleName, Arc<dyn Role>>,
    /// Where failures of policies are reported.
    pub failures: FailureReports,
    /// Where their calls are counted.
    pub calls: PolicyCalls,
}

/// Work that ran beside the loop has ended.
enum End {
    Loaded(ComponentKey, Result<(Arc<dyn Component>, u64), LoadFailure>),
    Started(u64, Result<Started, StartFailure>),
    /// Statuses were written; whether all of them.
    Wrote(bool),
}

struct Shell {
    leader: Leader,
    loader: Arc<dyn Loader>,
    roles: BTreeMap<RoleName, Arc<dyn Role>>,
    writer: Writer,
    events: EventSink,
    manager: PluginManager,
    components: BTreeMap<ComponentKey, Arc<dyn Component>>,
    loads: BTreeMap<ComponentKey, AbortHandle>,
    /// Starts under way, by installation; set: it is not wanted any more.
    starts: BTreeMap<u64, Arc<AtomicBool>>,
    ends: mpsc::Sender<End>,
    writes: Writes,
    calls: PolicyCalls,
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
    let all = PluginManager::failovers(&read(cluster, BINDINGS, Binding::read));
    let profiles = all.into_iter().filter(|(place, _)| place.role == RoleName::Scheduler);
    profiles.map(|(place, failover)| (place.name, failover)).collect()
}

/// Runs for as long as the leader leads.
pub async fn run_plugins(leader: Leader, config: PluginConfig) {
    let PluginConfig { loader, roles, failures, calls } = config;
    let (ends, mut ended) = mpsc::channel(ENDS_MAX);
    let mut shell = Shell {
        events: EventSink::start(leader.clone(), "plugin-controller"),
        writer: Writer::new("plugin-controller", leader.catalogue()),
        leader,
        loader,
        roles,
        manager: PluginManager::default(),
        components: BTreeMap::new(),
        loads: BTreeMap::new(),
        starts: BTreeMap::new(),
        ends,
        writes: Writes::default(),
        calls,
    };
    let mut plugins = shell.leader.subscribe(PLUGINS, Interest::All);
    let mut bindings = shell.leader.subscribe(BINDINGS, Interest::All);
    let mut event = Some(shell.objects());
    loop {
        match event {
            Some(event) => shell.handle(event).await,
            None => shell.write_statuses(),
        }
        let now = shell.leader.now();
        let due = shell.manager.next_due(now).into_iter().chain(shell.writes.again_at).min();
        event = tokio::select! {
            biased;
            Some(end) = ended.recv() => shell.ended(end),
            (installation, failure) = failures.next() => Some(Event::Failed(installation, failure)),
            () = plugins.changed() => Some(shell.objects()),
            () = bindings.changed() => Some(shell.objects()),
            () = shell.leader.executor().sleep_until(due) => Some(Event::Due),
        };
    }
}

/// Nothing that was begun outlives the leader.
impl Drop for Shell {
    fn drop(&mut self) {
        self.loads.values().for_each(AbortHandle::abort);
        self.starts.values().for_each(|start| start.store(true, Ordering::Relaxed));
    }
}

fn read<T>(cluster: &Cluster, resource: &str, read: impl Fn(&Stored) -> Option<T>) -> Vec<T> {
    let all = cluster.read(|state| state.list(resource, "").cloned().collect::<Vec<_>>());
    all.iter().filter_map(|stored| read(stored)).collect()
}

impl Shell {
    fn objects(&self) -> Event {
        Event::Objects {
            plugins: read(&self.leader, PLUGINS, Plugin::read),
            bindings: read(&self.leader, BINDINGS, Binding::read),
        }
    }

    async fn handle(&mut self, event: Event) {
        for effect in self.manager.handle(event, self.leader.now()) {
            self.carry_out(effect).await;
        }
        self.writes.are_behind = true;
        self.write_statuses();
    }

    /// Takes over what work beside the loop has brought, and says what that means to the manager.
    /// A write is none: were it one, a status that cannot be written as it should be would be written for ever.
    fn ended(&mut self, end: End) -> Option<Event> {
        match end {
            End::Loaded(key, result) => {
                self.loads.remove(&key);
                let result = result.map(|(component, size)| {
                    let role = component.role();
                    self.components.insert(key.clone(), component);
                    Loaded { role, size }
                });
                Some(Event::Loaded(key, result))
            }
            End::Started(installation, result) => {
                self.starts.remove(&installation);
                Some(Event::Started(installation, result))
            }
            End::Wrote(all) => {
                self.writes.are_under_way = false;
                self.writes.again_at = (!all).then(|| self.leader.now().plus_millis(WRITE_AGAIN_MS));
                None
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
            Effect::Start { installation, place, version } => self.start(installation, place, version),
            Effect::CancelStart(installation) => {
                if let Some(start) = self.starts.get(&installation) {
                    start.store(true, Ordering::Relaxed);
                }
            }
            Effect::Uninstall { place, installation } => {
                if let Some(role) = self.roles.get(&place.role) {
                    role.uninstall(&place, installation).await;
                }
            }
            Effect::SetFailover(place, failover) => {
                if let Some(role) = self.roles.get(&place.role) {
                    role.set_failover(&place, failover).await;
                }
            }
            Effect::Tell { about, tone, reason, message } => self.tell(&about, tone, reason, message),
        }
    }

    fn load(&mut self, key: ComponentKey) {
        let (leader, loader) = (self.leader.clone(), self.loader.clone());
        let (ends, of) = (self.ends.clone(), key.clone());
        let task = self.leader.executor().spawn("load", async move {
            let result = load::load(&leader, loader.as_ref(), &of).await;
            // Without the loop nobody asks.
            let _ = ends.send(End::Loaded(of, result)).await;
        });
        self.loads.insert(key, task);
    }

    fn start(&mut self, installation: u64, place: Place, version: Version) {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        self.starts.insert(installation, is_cancelled.clone());
        let (role, component) = (self.roles.get(&place.role), self.components.get(&version.component));
        let started = match (role, component) {
            (Some(role), Some(component)) => {
                let (component, executor) = (component.clone(), self.leader.executor().clone());
                let (role, configured) = (role.clone(), (component.clone(), version.config.clone()));
                let calls = self.calls.clone();
                Ok(async move {
                    let (of, config) = configured;
                    let checked = executor.blocking(move || config::check(&of, &config)).await;
                    checked.map_err(|panic| StartFailure::Failed(panic.to_string()))??;
                    role.start(Start { place, installation, version, component, is_cancelled, calls }).await
                })
            }
            (None, _) => Err(StartFailure::Refused(format!("{} policies are not served yet", place.role))),
            (_, None) => Err(StartFailure::Failed("its component is not loaded".to_owned())),
        };
        let ends = self.ends.clone();
        self.leader.executor().spawn("start", async move {
            let result = match started {
                Ok(start) => start.await,
                Err(failure) => Err(failure),
            };
            // Without the loop nobody asks.
            let _ = ends.send(End::Started(installation, result)).await;
        });
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
        if let Some(stored) = self.leader.read(|state| state.get(&key).cloned()) {
            self.events.tell(EventNote::new(&stored, kind, reason, message));
        }
    }

    /// Makes the statuses what the manager says, all in one batch beside the loop.
    fn write_statuses(&mut self) {
        if self.writes.are_under_way || !self.writes.are_behind {
            return;
        }
        self.writes.are_behind = false;
        self.writes.again_at = None; // the end of this write says whether there is an again
        let requests = self.outdated();
        if requests.is_empty() {
            return;
        }
        self.writes.are_under_way = true;
        let (leader, ends) = (self.leader.clone(), self.ends.clone());
        self.leader.executor().spawn("statuses", async move {
            let mut all = true;
            for error in leader.apply_each(requests).await.into_iter().filter_map(Result::err) {
                tracing::warn!("the status of a plugin or binding was not written: {error}");
                all = false;
            }
            // Without the loop nobody asks.
            let _ = ends.send(End::Wrote(all)).await;
        });
    }

    fn outdated(&self) -> Vec<Request> {
        let listed = |state: &State, resource: &str| state.list(resource, "").cloned().collect::<Vec<_>>();
        let (plugins, bindings) = self.leader.read(|state| (listed(state, PLUGINS), listed(state, BINDINGS)));
        let now = self.leader.now();
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
