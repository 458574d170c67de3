//! The manager of all places.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::Timestamp;
use berth_json::Value;
use berth_scheduler::Failover;

use crate::binding::{Move, News, Served};
use crate::components::Components;
use crate::effect::{About, Effect, Event, Failure, LoadFailure, Loaded, StartFailure, Started, Tone};
use crate::objects::{Binding, ComponentKey, Plugin, Version};
use crate::place::Place;
use crate::status;

/// Places that are served at a time. A place of a pooled role may have four instances that are asked and two that are idle, and
/// twice that while it is swapped; the engine has room for 256: with few places more none waits for another's.
const PLACES_MAX: usize = 24;
/// Policies that are started at a time: each takes the scheduler's time for its first feed.
const STARTS_MAX: usize = 4;

/// The manager.
#[derive(Debug, Default)]
pub struct PluginManager {
    components: Components,
    plugins: BTreeMap<String, Plugin>,
    places: BTreeMap<Place, Served>,
    /// Bindings that are not followed, and why.
    refused: BTreeMap<String, String>,
    /// As the shell was told.
    failovers: BTreeMap<Place, Failover>,
    installations: u64,
}

impl PluginManager {
    /// What serves each place before any policy is ready: to be heeded before the first decision.
    pub fn failovers(bindings: &[Binding]) -> Vec<(Place, Failover)> {
        let (owners, _) = owners(bindings);
        owners.into_iter().map(|(place, b)| (place.clone(), b.failure_policy.failover())).collect()
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
        self.places.values_mut().for_each(|served| served.age(now));
        self.tell_failovers(&mut effects);
        self.move_on(now, &mut effects);
        self.places.retain(|_, served| !served.is_over());
        self.load(now, &mut effects);
        effects
    }

    /// When [`Event::Due`] is to come.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let places = self.places.values().filter_map(|served| served.next_due(now));
        places.chain(self.components.next_due().filter(|at| *at > now)).min()
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
        Some(status::binding(object, self.owned_by(name)?, &self.components, now))
    }

    fn owned_by(&self, binding: &str) -> Option<&Served> {
        self.places.values().find(|served| served.owner.as_ref().is_some_and(|owner| owner.name == binding))
    }

    fn look_at(&mut self, plugins: Vec<Plugin>, bindings: &[Binding]) {
        self.plugins = plugins.into_iter().map(|plugin| (plugin.name.clone(), plugin)).collect();
        let (owners, refused) = owners(bindings);
        self.refused = refused;
        for (place, served) in &mut self.places {
            if !owners.contains_key(place) {
                served.unbind();
            }
        }
        for (place, binding) in owners {
            let wanted = self.wanted(binding);
            self.places.entry(place.clone()).or_insert_with(Served::new).bind(binding, wanted);
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
        for (place, served) in &self.places {
            let failover = served.failover();
            if self.failovers.insert(place.clone(), failover) != Some(failover) {
                effects.push(Effect::SetFailover(place.clone(), failover));
            }
        }
        self.failovers.retain(|place, _| self.places.contains_key(place));
    }

    fn load(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let versions = self.places.values().flat_map(Served::versions);
        let bound: BTreeSet<ComponentKey> = versions.map(|version| version.component.clone()).collect();
        let named = self.plugins.values().filter_map(|plugin| plugin.component.clone()).collect();
        self.components.need(&bound, &named, now, effects);
    }

    fn move_on(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut starts = self.places.values().filter(|served| served.starting.is_some()).count();
        for (place, served) in &mut self.places {
            match served.next(&self.components, now) {
                Some(Move::Start(version)) if starts < STARTS_MAX => {
                    starts += 1;
                    self.installations += 1;
                    let installation = self.installations;
                    served.starting(installation, &version);
                    effects.push(Effect::Start { installation, place: place.clone(), version });
                }
                Some(Move::CancelStart(installation)) => {
                    served.cancelled();
                    effects.push(Effect::CancelStart(installation));
                }
                Some(Move::Uninstall(installation)) => {
                    served.put_aside();
                    effects.push(Effect::Uninstall { place: place.clone(), installation });
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
        result: Result<Started, StartFailure>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let is_meant =
            |served: &Served| served.starting.as_ref().is_some_and(|s| s.installation == installation);
        let Some((place, served)) = self.places.iter_mut().find(|(_, served)| is_meant(served)) else {
            return;
        };
        let about = served.owner.as_ref().map(|owner| About::Binding(owner.name.clone()));
        let mut early = None;
        match result {
            Ok(Started { gap_us, manifest }) => {
                let Some((version, failure)) = served.started(manifest, now) else { return };
                early = failure;
                let Version { plugin, component, .. } = &version;
                let text = format!(
                    "Plugin {plugin} ({}) serves {place}; decisions paused for {gap_us} µs",
                    component.digest
                );
                effects.extend(about.map(|about| tell(about, Tone::News, "PolicyInstalled", &text)));
            }
            Err(why) => {
                if let (Some((version, why)), Some(about)) = (served.not_started(why, now), about) {
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
        for (place, served) in &mut self.places {
            if served.starting.as_ref().is_some_and(|starting| starting.installation == installation) {
                return served.failed_early(failure);
            }
            // What an earlier installation did is no news of the one that serves now.
            if served.serving.as_ref().is_none_or(|serving| serving.installation != installation) {
                continue;
            }
            let about = served.owner.as_ref().map(|owner| About::Binding(owner.name.clone()));
            for news in served.failed(failure, now) {
                let told = match news {
                    News::Failed { why } => Some(("PolicyFailed", why)),
                    News::PutAside { installation } => {
                        effects.push(Effect::Uninstall { place: place.clone(), installation });
                        None
                    }
                    News::RolledBack { plugin } => {
                        Some(("PolicyRolledBack", format!("Plugin {plugin} serves {place} again")))
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

/// The binding that each place follows, and why the others are not followed.
fn owners(bindings: &[Binding]) -> (BTreeMap<&Place, &Binding>, BTreeMap<String, String>) {
    let mut by_age: Vec<&Binding> = bindings.iter().collect();
    by_age.sort_by_key(|binding| (binding.created, &binding.name));
    let mut owners: BTreeMap<&Place, &Binding> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for binding in by_age {
        let place = &binding.place;
        let why = match owners.get(place) {
            Some(owner) => format!("{place} is bound by {} already; delete one of the two", owner.name),
            None if owners.len() == PLACES_MAX => {
                format!("{PLACES_MAX} places are bound already, and no more are served; delete a binding")
            }
            None => {
                owners.insert(place, binding);
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
