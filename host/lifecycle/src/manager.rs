//! The manager of all profiles.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::Timestamp;
use berth_json::Value;
use berth_scheduler::Failover;

use crate::binding::{Move, News, Profile};
use crate::components::Components;
use crate::effect::{About, Effect, Event, Failure, LoadFailure, Loaded, StartFailure, Tone};
use crate::objects::{Binding, ComponentKey, Plugin, Version};
use crate::status;

/// Profiles that are served at a time. Each may have two instances while it is swapped and one that is being dropped, and
/// the engine has places for 64: with fewer profiles none waits for another's.
const PROFILES_MAX: usize = 24;
/// Policies that are started at a time: each takes the scheduler's time for its first feed.
const STARTS_MAX: usize = 4;

/// The manager.
#[derive(Debug, Default)]
pub struct PluginManager {
    components: Components,
    plugins: BTreeMap<String, Plugin>,
    profiles: BTreeMap<String, Profile>,
    /// Bindings that are not followed, and why.
    refused: BTreeMap<String, String>,
    /// By profile, as the shell was told.
    failovers: BTreeMap<String, Failover>,
    installations: u64,
}

impl PluginManager {
    /// What serves each profile before any policy is ready: to be heeded before the first decision.
    pub fn failovers(bindings: &[Binding]) -> Vec<(String, Failover)> {
        let (owners, _) = owners(bindings);
        owners.into_iter().map(|(profile, b)| (profile.to_owned(), b.failure_policy.failover())).collect()
    }

    /// Takes in an event; what is to be done, in this order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Objects { plugins, bindings } => self.look_at(plugins, &bindings),
            Event::Loaded(key, result) => self.loaded(&key, result, now, &mut effects),
            Event::Started(installation, result) => self.started(installation, result, now, &mut effects),
            Event::Failed(installation, failure) => self.failed(installation, failure, now, &mut effects),
            Event::Due => {}
        }
        self.profiles.values_mut().for_each(|profile| profile.age(now));
        self.tell_failovers(&mut effects);
        self.move_on(now, &mut effects);
        self.profiles.retain(|_, profile| !profile.is_over());
        self.load(now, &mut effects);
        effects
    }

    /// When [`Event::Due`] is to come.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let profiles = self.profiles.values().filter_map(|profile| profile.next_due(now));
        profiles.chain(self.components.next_due().filter(|at| *at > now)).min()
    }

    /// What the status of a plugin (an API object) should be now; `None` for an unknown one.
    pub fn plugin_status(&self, name: &str, object: &Value, now: Timestamp) -> Option<Value> {
        let component = self.plugins.get(name)?.component.as_ref();
        let result = component.and_then(|component| self.components.result(component));
        Some(status::plugin(object, component, result, now))
    }

    /// What the status of a binding (an API object) should be now; `None` for an unknown one.
    pub fn binding_status(&self, name: &str, object: &Value, now: Timestamp) -> Option<Value> {
        if let Some(why) = self.refused.get(name) {
            return Some(status::refused(object, why, now));
        }
        let (_, profile) = self.owned_by(name)?;
        Some(status::binding(object, profile, &self.components, now))
    }

    fn owned_by(&self, binding: &str) -> Option<(&String, &Profile)> {
        let is_owned = |profile: &Profile| profile.owner.as_ref().is_some_and(|owner| owner.name == binding);
        self.profiles.iter().find(|(_, profile)| is_owned(profile))
    }

    fn look_at(&mut self, plugins: Vec<Plugin>, bindings: &[Binding]) {
        self.plugins = plugins.into_iter().map(|plugin| (plugin.name.clone(), plugin)).collect();
        let (owners, refused) = owners(bindings);
        self.refused = refused;
        for (profile, state) in &mut self.profiles {
            if !owners.contains_key(profile.as_str()) {
                state.unbind();
            }
        }
        for (profile, binding) in owners {
            let wanted = self.wanted(binding);
            self.profiles.entry(profile.to_owned()).or_insert_with(Profile::new).bind(binding, wanted);
        }
    }

    fn wanted(&self, binding: &Binding) -> Result<Version, String> {
        let name = &binding.plugin;
        let plugin = self.plugins.get(name).ok_or_else(|| format!("plugin {name} does not exist"))?;
        let component = plugin.component.clone();
        let component = component.ok_or_else(|| {
            format!("plugin {name} has no component yet; upload one with `berth plugin install`")
        })?;
        Ok(Version { plugin: name.clone(), component, config: binding.config.clone() })
    }

    fn tell_failovers(&mut self, effects: &mut Vec<Effect>) {
        for (name, profile) in &self.profiles {
            let failover = profile.failover();
            if self.failovers.insert(name.clone(), failover) != Some(failover) {
                effects.push(Effect::SetFailover(name.clone(), failover));
            }
        }
        self.failovers.retain(|name, _| self.profiles.contains_key(name));
    }

    fn load(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let versions = self.profiles.values().flat_map(Profile::versions);
        let bound: BTreeSet<ComponentKey> = versions.map(|version| version.component.clone()).collect();
        let named = self.plugins.values().filter_map(|plugin| plugin.component.clone()).collect();
        self.components.need(&bound, &named, now, effects);
    }

    fn move_on(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut starts = self.profiles.values().filter(|profile| profile.starting.is_some()).count();
        for (name, profile) in &mut self.profiles {
            match profile.next(&self.components, now) {
                Some(Move::Start(version)) if starts < STARTS_MAX => {
                    starts += 1;
                    self.installations += 1;
                    let installation = self.installations;
                    profile.starting(installation, &version);
                    effects.push(Effect::Start { installation, profile: name.clone(), version });
                }
                Some(Move::CancelStart(installation)) => {
                    profile.cancelled();
                    effects.push(Effect::CancelStart(installation));
                }
                Some(Move::Uninstall(installation)) => {
                    profile.put_aside();
                    effects.push(Effect::Uninstall { profile: name.clone(), installation });
                }
                Some(Move::Start(_)) | None => {}
            }
        }
    }

    fn loaded(
        &mut self,
        key: &ComponentKey,
        result: Result<Loaded, LoadFailure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let failure = result.as_ref().err().map(|failure| failure.why.clone());
        if !self.components.loaded(key, result, now, effects) {
            return;
        }
        let Some(why) = failure else { return };
        for plugin in self.plugins.values().filter(|plugin| plugin.component.as_ref() == Some(key)) {
            let about = About::Plugin(plugin.name.clone());
            effects.push(tell(about, Tone::Trouble, "LoadFailed", &why));
        }
    }

    fn started(
        &mut self,
        installation: u64,
        result: Result<u64, StartFailure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let is_meant =
            |profile: &Profile| profile.starting.as_ref().is_some_and(|s| s.installation == installation);
        let Some((name, profile)) = self.profiles.iter_mut().find(|(_, profile)| is_meant(profile)) else {
            return;
        };
        let about = profile.owner.as_ref().map(|owner| About::Binding(owner.name.clone()));
        let mut early = None;
        match result {
            Ok(gap_us) => {
                let Some((version, failure)) = profile.started(now) else { return };
                early = failure;
                let Version { plugin, component, .. } = &version;
                let text = format!(
                    "Profile {name} is served by plugin {plugin} ({}); decisions paused for {gap_us} µs",
                    component.digest
                );
                effects.extend(about.map(|about| tell(about, Tone::News, "PolicyInstalled", &text)));
            }
            Err(why) => {
                if let (Some((version, why)), Some(about)) = (profile.not_started(why, now), about) {
                    let text = format!("plugin {}: {why}", version.plugin);
                    effects.push(tell(about, Tone::Trouble, "StartFailed", &text));
                }
            }
        }
        if let Some(failure) = early {
            self.failed(installation, failure, now, effects);
        }
    }

    fn failed(&mut self, installation: u64, failure: Failure, now: Timestamp, effects: &mut Vec<Effect>) {
        for (name, profile) in &mut self.profiles {
            if profile.starting.as_ref().is_some_and(|starting| starting.installation == installation) {
                return profile.failed_early(failure);
            }
            // What an earlier installation did is no news of the one that serves now.
            if profile.serving.as_ref().is_none_or(|serving| serving.installation != installation) {
                continue;
            }
            let about = profile.owner.as_ref().map(|owner| About::Binding(owner.name.clone()));
            for news in profile.failed(failure, now) {
                let told = match news {
                    News::Failed { why } => Some(("PolicyFailed", why)),
                    News::PutAside { installation } => {
                        effects.push(Effect::Uninstall { profile: name.clone(), installation });
                        None
                    }
                    News::RolledBack { plugin } => {
                        Some(("PolicyRolledBack", format!("Profile {name} goes back to plugin {plugin}")))
                    }
                };
                if let (Some((reason, text)), Some(about)) = (told, about.clone()) {
                    effects.push(tell(about, Tone::Trouble, reason, &text));
                }
            }
            return;
        }
    }
}

/// The binding that each profile follows, and why the others are not followed.
fn owners(bindings: &[Binding]) -> (BTreeMap<&str, &Binding>, BTreeMap<String, String>) {
    let mut by_age: Vec<&Binding> = bindings.iter().collect();
    by_age.sort_by_key(|binding| (binding.created, &binding.name));
    let mut owners: BTreeMap<&str, &Binding> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for binding in by_age {
        let profile = binding.profile.as_str();
        let why = match owners.get(profile) {
            Some(owner) => {
                format!("profile {profile} is bound by {} already; delete one of the two", owner.name)
            }
            None if owners.len() == PROFILES_MAX => {
                format!("{PROFILES_MAX} profiles are bound already, and no more are served; delete a binding")
            }
            None => {
                owners.insert(profile, binding);
                continue;
            }
        };
        refused.insert(binding.name.clone(), why);
    }
    (owners, refused)
}

fn tell(about: About, tone: Tone, reason: &'static str, text: &str) -> Effect {
    Effect::Tell { about, tone, reason, message: status::sentence(text) }
}
