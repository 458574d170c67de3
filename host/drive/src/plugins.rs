//! Plugins as API objects: loading components, binding them to profiles, swapping them while the cluster runs.
//!
//! A plugin that does not load, start or keep working takes nothing down: what served before serves on, and the objects'
//! status and events say why.

mod status;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::Timestamp;
use berth_control::{EventKind, EventNote, Writer};
use berth_pipeline::cluster::Cluster;
use berth_policy::{Component, Engine, Limits, WasmPolicy};
use berth_scheduler::policy::Policy;
use berth_scheduler::{Failover, OFFERED, PolicyFailure};
use berth_state::{State, Stored};
use tokio::sync::mpsc;

use crate::control::until;
use crate::events::EventSink;
use crate::scheduling::ScheduleHandle;
use status::Active;
use view::{FailurePolicy, PluginBinding, read};

/// The first wait before a policy that failed is started again.
const RESTART_MS_MIN: i64 = 1_000;
/// The longest: a policy that keeps failing costs little, and a mended cluster state brings it back soon.
const RESTART_MS_MAX: i64 = 60_000;

/// What the plugin manager works with.
pub struct PluginConfig {
    /// Compiles and limits components.
    pub engine: Arc<Engine>,
    /// The scheduler whose policies are managed.
    pub scheduler: ScheduleHandle,
    /// Where it reports failures of policies.
    pub failures: mpsc::Receiver<PolicyFailure>,
}

/// What a profile should be served by.
#[derive(Clone, PartialEq)]
struct Wanted {
    plugin: String,
    digest: String,
    limits: Limits,
    config: String,
}

/// A version that has served.
#[derive(Clone)]
struct Good {
    wanted: Wanted,
    component: Component,
}

/// One binding, as far as it has been carried out.
#[derive(Default)]
struct Bound {
    profile: String,
    tried: Option<Wanted>,
    serving: Option<Good>,
    before: Option<Good>,
    swaps: i64,
    failures: u32,
    restart_at: Option<Timestamp>,
    policy: FailurePolicy,
}

struct Manager {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    scheduler: ScheduleHandle,
    writer: Writer,
    events: EventSink,
    /// By plugin name: what was loaded of it, or why nothing was.
    loaded: HashMap<String, (String, Limits, Result<Component, String>)>,
    /// By binding name.
    bound: HashMap<String, Bound>,
}

/// Runs until the cluster shuts down.
pub async fn run_plugins(cluster: Arc<Cluster>, config: PluginConfig) {
    let PluginConfig { engine, scheduler, mut failures } = config;
    let mut manager = Manager {
        events: EventSink::start(cluster.clone(), "plugin-controller"),
        writer: Writer::new("plugin-controller", cluster.catalogue().clone()),
        cluster,
        engine,
        scheduler,
        loaded: HashMap::new(),
        bound: HashMap::new(),
    };
    let mut wake = manager.cluster.subscribe_to("plugins.berth.dev");
    let mut wake_bindings = manager.cluster.subscribe_to("pluginbindings.berth.dev");
    loop {
        manager.reconcile().await;
        let now = manager.cluster.now();
        let due = manager.bound.values().filter_map(|bound| bound.restart_at).min();
        tokio::select! {
            result = wake.changed() => if result.is_err() { return },
            result = wake_bindings.changed() => if result.is_err() { return },
            Some(failure) = failures.recv() => manager.failed(failure).await,
            () = until(due, now) => {}
        }
    }
}

impl Manager {
    async fn reconcile(&mut self) {
        let listed = |state: &State, resource: &str| state.list(resource, "").cloned().collect::<Vec<_>>();
        let (plugins, bindings) = self
            .cluster
            .read(|state| (listed(state, "plugins.berth.dev"), listed(state, "pluginbindings.berth.dev")));
        for plugin in &plugins {
            self.load(plugin).await;
        }
        self.loaded.retain(|name, _| plugins.iter().any(|plugin| *plugin.key.name == **name));
        let gone: Vec<String> = self
            .bound
            .keys()
            .filter(|name| !bindings.iter().any(|b| *b.key.name == ***name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(bound) = self.bound.remove(&name) {
                self.release(&bound.profile).await;
            }
        }
        for binding in &bindings {
            self.bind(binding).await;
        }
    }

    /// Compiles a plugin whose component or limits are new, and says in its status what came of it.
    async fn load(&mut self, stored: &Arc<Stored>) {
        let Some(plugin) = read::<view::Plugin>(stored) else { return };
        let (name, digest, limits) =
            (stored.key.name.to_string(), plugin.spec.digest.clone(), plugin.limits());
        let known = self.loaded.get(&name).is_some_and(|(d, l, _)| *d == digest && *l == limits);
        if known || digest.is_empty() {
            return;
        }
        let (result, size) = match self.cluster.get_blob(&digest).await {
            Ok(Some(bytes)) => {
                let (engine, size) = (self.engine.clone(), bytes.len());
                let result = tokio::task::spawn_blocking(move || engine.load(&bytes, limits)).await;
                (result.map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| e.to_string())), size)
            }
            Ok(None) => (
                Err(format!(
                    "no component with the digest {digest} was uploaded; upload it with `berth plugin install FILE` or PUT it to plugins/{name}/component"
                )),
                0,
            ),
            Err(error) => (Err(error.message), 0),
        };
        if let Err(why) = &result {
            self.tell(stored, EventKind::Warning, "LoadFailed", why.clone());
        }
        let outcome = result.as_ref().map(|component| component.role().to_string()).map_err(String::clone);
        let status = status::plugin(&self.writer.value(stored), &digest, size, outcome, self.cluster.now());
        self.write(stored, status).await;
        self.loaded.insert(name, (digest, limits, result));
    }

    /// Brings a binding's profile to the plugin it names.
    async fn bind(&mut self, stored: &Arc<Stored>) {
        let Some(binding) = read::<PluginBinding>(stored) else { return };
        let name = stored.key.name.to_string();
        if binding.spec.role != "scheduler" {
            return; // refused by validation until the next roles are served
        }
        let rival =
            self.bound.iter().find(|(other, bound)| **other != name && bound.profile == binding.spec.profile);
        if let Some((rival, _)) = rival {
            let why = format!(
                "profile {} is bound by {rival} already; delete one of the two",
                binding.spec.profile
            );
            self.refuse(stored, &why, None).await;
            return;
        }
        let now = self.cluster.now();
        let bound = self.bound.entry(name.clone()).or_default();
        if bound.profile != binding.spec.profile && !bound.profile.is_empty() {
            let profile = std::mem::take(&mut bound.profile);
            *bound = Bound::default();
            self.release(&profile).await;
        }
        let bound = self.bound.entry(name.clone()).or_default();
        bound.profile.clone_from(&binding.spec.profile);
        bound.policy = binding.spec.failure_policy;
        let failover = if bound.policy == FailurePolicy::Fail { Failover::Hold } else { Failover::Builtin };
        if self.scheduler.set_failover(&binding.spec.profile, failover).await.is_err() {
            return;
        }
        let (wanted, component) = match self.wanted(&binding) {
            Ok(found) => found,
            Err(why) => return self.refuse(stored, &why, None).await,
        };
        let Some(bound) = self.bound.get_mut(&name) else { return };
        let restart = bound.restart_at.is_some_and(|at| at <= now);
        if bound.tried.as_ref() == Some(&wanted) && !restart {
            return;
        }
        if bound.tried.as_ref() != Some(&wanted) {
            bound.failures = 0;
        }
        bound.tried = Some(wanted.clone());
        bound.restart_at = None;
        self.swap(stored, Good { wanted, component }).await;
    }

    fn wanted(&self, binding: &PluginBinding) -> Result<(Wanted, Component), String> {
        let plugin = &binding.spec.plugin;
        let Some((digest, limits, result)) = self.loaded.get(plugin) else {
            return Err(format!("plugin {plugin} does not exist, or has no component yet"));
        };
        let component = result.clone().map_err(|why| format!("plugin {plugin} did not load: {why}"))?;
        let config = binding.config();
        let wanted = Wanted { plugin: plugin.clone(), digest: digest.clone(), limits: *limits, config };
        Ok((wanted, component))
    }

    /// Starts, feeds and installs a version; the one that served goes on until this one is ready.
    async fn swap(&mut self, stored: &Arc<Stored>, next: Good) {
        let name = stored.key.name.to_string();
        let Some(profile) = self.bound.get(&name).map(|bound| bound.profile.clone()) else { return };
        match bring_up(&self.scheduler, &profile, &next).await {
            Ok(gap_us) => {
                let Some(bound) = self.bound.get_mut(&name) else { return };
                bound.swaps += 1;
                let before = bound.serving.replace(next.clone());
                bound.before = before.filter(|good| good.wanted != next.wanted).or(bound.before.take());
                let Wanted { plugin, digest, .. } = &next.wanted;
                let text = format!(
                    "Profile {profile} is served by plugin {plugin} ({digest}); decisions paused for {gap_us} µs"
                );
                tracing::info!("{text}");
                self.tell(stored, EventKind::Normal, "PolicyInstalled", text);
                self.report(stored, None).await;
            }
            Err(why) => {
                let text = format!("plugin {}: {why}", next.wanted.plugin);
                self.refuse(stored, &text, Some("StartFailed")).await;
            }
        }
    }

    /// A policy that served has failed; the scheduler has put it aside if it cannot go on.
    async fn failed(&mut self, failure: PolicyFailure) {
        let now = self.cluster.now();
        let found = self.bound.iter_mut().find(|(_, bound)| bound.profile == failure.profile);
        let Some((name, bound)) = found else { return };
        let key = berth_state::Key::new("pluginbindings.berth.dev", "", name.as_str());
        let Some(stored) = self.cluster.read(|state| state.get(&key).cloned()) else { return };
        let text = failure.error.to_string();
        if failure.error.is_fatal() {
            let delay = RESTART_MS_MAX.min(RESTART_MS_MIN << bound.failures.min(16));
            bound.failures += 1;
            bound.restart_at = Some(now.plus_millis(delay));
            bound.serving = None;
        }
        let roll_back = failure.error.is_fatal() && bound.policy == FailurePolicy::LastGood;
        let last_good = bound.before.clone().filter(|_| roll_back);
        self.tell(&stored, EventKind::Warning, "PolicyFailed", text.clone());
        if let Some(good) = last_good {
            let text = format!("Profile {} went back to plugin {}", failure.profile, good.wanted.plugin);
            self.tell(&stored, EventKind::Warning, "PolicyRolledBack", text);
            if let Some(bound) = self.bound.get_mut(&*stored.key.name) {
                bound.restart_at = None; // the failed version stays away until the binding or its plugin changes
            }
            self.swap(&stored, good).await;
        }
        self.report(&stored, Some(("PolicyFailed", &text))).await;
    }

    async fn release(&self, profile: &str) {
        // An error means that the scheduler is gone, and its profiles with it.
        let _ = self.scheduler.uninstall(profile).await;
        let _ = self.scheduler.set_failover(profile, Failover::Builtin).await;
    }

    async fn refuse(&self, stored: &Arc<Stored>, why: &str, event: Option<&'static str>) {
        if let Some(reason) = event {
            self.tell(stored, EventKind::Warning, reason, why.to_owned());
        }
        self.report(stored, Some(("NotInstalled", why))).await;
    }

    async fn report(&self, stored: &Arc<Stored>, trouble: Option<(&str, &str)>) {
        let bound = self.bound.get(&*stored.key.name);
        let active = bound
            .and_then(|bound| bound.serving.as_ref())
            .map(|good| Active { plugin: &good.wanted.plugin, digest: &good.wanted.digest });
        let swaps = bound.map_or(0, |bound| bound.swaps);
        let value = self.writer.value(stored);
        let status = status::binding(&value, active, swaps, trouble, self.cluster.now());
        self.write(stored, status).await;
    }

    async fn write(&self, stored: &Arc<Stored>, status: berth_json::Value) {
        if self.writer.value(stored)["status"] == status {
            return;
        }
        let mut patch = berth_json::json!({"metadata": {"uid": &*stored.meta().uid}, "status": status});
        status::remove_absent(&self.writer.value(stored)["status"], &mut patch["status"]);
        if let Err(error) = self.cluster.apply(self.writer.merge(&stored.key, "status", &patch)).await {
            tracing::warn!(object = %stored.key, "its status was not written: {error}");
        }
    }

    fn tell(&self, about: &Stored, kind: EventKind, reason: &'static str, text: String) {
        self.events.tell(EventNote::new(about, kind, reason, text));
    }
}

/// Everything up to the exchange happens beside the deciding; returns for how many microseconds no decision was made.
async fn bring_up(scheduler: &ScheduleHandle, profile: &str, next: &Good) -> Result<u128, String> {
    let (component, name) = (next.component.clone(), next.wanted.plugin.clone());
    let config = next.wanted.config.clone();
    let start = move || component.scheduler(&name, config.as_bytes(), OFFERED).map_err(|e| e.to_string());
    let policy: WasmPolicy = blocking(start).await?;
    let stopped = |e: crate::SchedulerStopped| e.to_string();
    let (mirror, feed) = scheduler.prepare(policy.manifest().clone()).await.map_err(stopped)?;
    let fed = move || {
        let mut policy = policy;
        policy.feed(&feed).map_err(|e| format!("fed the cluster's state, {e}"))?;
        Ok(policy)
    };
    let policy = blocking(fed).await?;
    scheduler.install(profile, Box::new(policy), mirror).await.map_err(stopped)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| format!("the host failed: {panic}"))?
}
