//! A world around the manager: objects with their statuses, a shell that does as it is told when a test lets it, and a
//! scheduler of which only is known what serves.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)] // Each test program uses a part of it.

use std::collections::{BTreeMap, BTreeSet};

use berth_api::{Catalogue, Timestamp, kinds};
use berth_json::{Value, json};
use berth_lifecycle::{
    About, Binding, ComponentKey, Effect, Event, Failure, Harm, LoadFailure, Loaded, Place, Plugin,
    PluginManager, RoleName, StartFailure, Started, Version,
};
use berth_scheduler::Failover;
use berth_state::{Draft, Key, Revision, Stored};

pub const PROFILE: &str = "default-scheduler";

/// A start under way.
#[derive(Clone, Debug)]
pub struct Start {
    pub profile: String,
    pub version: Version,
    pub is_cancelled: bool,
}

pub struct World {
    pub manager: PluginManager,
    pub now: Timestamp,
    catalogue: Catalogue,
    pub plugins: BTreeMap<String, Value>,
    pub bindings: BTreeMap<String, Value>,
    pub loading: BTreeSet<ComponentKey>,
    pub kept: BTreeSet<ComponentKey>,
    pub starting: BTreeMap<u64, Start>,
    /// By profile: the truth that statuses must tell.
    pub scheduler: BTreeMap<String, (u64, Version)>,
    pub failovers: BTreeMap<String, Failover>,
    pub told: Vec<(String, &'static str, String)>,
    uids: u32,
}

impl World {
    pub fn new() -> Self {
        Self {
            manager: PluginManager::default(),
            now: Timestamp::from_seconds(1_000_000),
            catalogue: kinds::catalogue(),
            plugins: BTreeMap::new(),
            bindings: BTreeMap::new(),
            loading: BTreeSet::new(),
            kept: BTreeSet::new(),
            starting: BTreeMap::new(),
            scheduler: BTreeMap::new(),
            failovers: BTreeMap::new(),
            told: Vec::new(),
            uids: 0,
        }
    }

    /// A world in which `plugin`, bound with this failure policy, serves the default profile.
    pub fn served_by(plugin: &str, failure_policy: &str) -> Self {
        let mut world = Self::new();
        world.plugin(plugin, plugin);
        world.bind_with(PROFILE, plugin, json!({"failurePolicy": failure_policy}));
        world.settle();
        assert_eq!(world.serves(PROFILE), Some(plugin));
        world
    }

    /// A component is uploaded for a plugin.
    pub fn plugin(&mut self, name: &str, component: &str) {
        let uid = self.uid();
        let object = self.plugins.entry(name.to_owned()).or_insert_with(
            || json!({"metadata": {"name": name, "uid": uid, "generation": 0}, "spec": {}, "status": {}}),
        );
        object["spec"]["digest"] = format!("sha256:{component}").into();
        object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap() + 1).into();
        self.look();
    }

    pub fn remove_plugin(&mut self, name: &str) {
        self.plugins.remove(name);
        self.look();
    }

    /// Binds the profile of the same name to a plugin.
    pub fn bind(&mut self, name: &str, plugin: &str) {
        self.bind_with(name, plugin, json!({}));
    }

    /// The same, with further fields of the spec.
    pub fn bind_with(&mut self, name: &str, plugin: &str, more: Value) {
        let (uid, created) = (self.uid(), self.now.rfc3339());
        let object = self.bindings.entry(name.to_owned()).or_insert_with(|| {
            let metadata = json!({"name": name, "uid": uid, "generation": 0, "creationTimestamp": created});
            json!({"metadata": metadata, "spec": {"role": "scheduler", "profile": name}, "status": {}})
        });
        object["spec"]["plugin"] = plugin.into();
        for (key, value) in more.as_object().unwrap().iter() {
            object["spec"][key.as_str()] = value.clone();
        }
        object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap() + 1).into();
        self.look();
    }

    pub fn unbind(&mut self, name: &str) {
        self.bindings.remove(name);
        self.look();
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    fn stored(&self, resource: &str, object: &Value) -> Stored {
        let draft = Draft::encode(self.catalogue.named(resource).unwrap(), object, None).unwrap();
        Stored::new(Key::new(resource, "", object["metadata"]["name"].as_str().unwrap()), Revision(1), draft)
    }

    pub fn read_bindings(&self) -> Vec<Binding> {
        let bindings = self.bindings.values().map(|object| self.stored("pluginbindings.berth.dev", object));
        bindings.map(|stored| Binding::read(&stored).unwrap()).collect()
    }

    /// The shell looks at the objects.
    pub fn look(&mut self) {
        let plugins = self.plugins.values().map(|object| self.stored("plugins.berth.dev", object));
        let plugins = plugins.map(|stored| Plugin::read(&stored).unwrap()).collect();
        let bindings = self.read_bindings();
        self.handle(Event::Objects { plugins, bindings });
    }

    pub fn handle(&mut self, event: Event) {
        for effect in self.manager.handle(event, self.now) {
            self.carry_out(effect);
        }
        self.write_statuses();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Load(key) => assert!(self.loading.insert(key.clone()), "{key:?} is loaded twice"),
            Effect::CancelLoad(key) => assert!(self.loading.remove(&key), "{key:?} is not being loaded"),
            Effect::Unload(key) => assert!(self.kept.remove(&key), "{key:?} is not kept"),
            Effect::Start { installation, place, version } => {
                let profile = profile(place);
                assert!(self.kept.contains(&version.component), "{version:?} is started before it is loaded");
                let beside = self.starting.values().find(|start| start.profile == profile);
                assert!(beside.is_none(), "{version:?} is started beside {beside:?}");
                self.starting.insert(installation, Start { profile, version, is_cancelled: false });
            }
            Effect::CancelStart(number) => self.starting.get_mut(&number).unwrap().is_cancelled = true,
            Effect::Uninstall { place, installation } => {
                let profile = profile(place);
                if self.scheduler.get(&profile).is_some_and(|(serving, _)| *serving == installation) {
                    self.scheduler.remove(&profile);
                }
            }
            Effect::SetFailover(place, failover) => drop(self.failovers.insert(profile(place), failover)),
            Effect::Tell { about, reason, message, .. } => {
                let (About::Plugin(name) | About::Binding(name)) = about;
                self.told.push((name, reason, message));
            }
        }
    }

    fn write_statuses(&mut self) {
        for (name, object) in &mut self.plugins {
            if let Some(status) = self.manager.plugin_status(name, object, self.now) {
                object["status"] = status;
            }
        }
        for (name, object) in &mut self.bindings {
            if let Some(status) = self.manager.binding_status(name, object, self.now) {
                object["status"] = status;
            }
        }
    }

    /// Every load that is under way succeeds.
    pub fn load_all(&mut self) {
        while let Some(key) = self.loading.first().cloned() {
            self.load(&key);
        }
    }

    pub fn load(&mut self, key: &ComponentKey) {
        assert!(self.loading.remove(key));
        self.kept.insert(key.clone());
        let loaded = Loaded { role: RoleName::Scheduler, size: 100 };
        self.handle(Event::Loaded(key.clone(), Ok(loaded)));
    }

    /// The load of a component fails.
    #[track_caller]
    pub fn fail_load(&mut self, component: &str, why: &str, passing: bool) {
        let digest = format!("sha256:{component}");
        let key = self.loading.iter().find(|key| key.digest == digest).expect("it is being loaded").clone();
        self.loading.remove(&key);
        let failure = LoadFailure { why: why.to_owned(), size: 100, passing };
        self.handle(Event::Loaded(key, Err(failure)));
    }

    /// Every start that is under way succeeds, cancelled or not: the cancellation came too late.
    pub fn start_all(&mut self) {
        while let Some(number) = self.starting.keys().next().copied() {
            self.start(number);
        }
    }

    pub fn start(&mut self, installation: u64) {
        let Start { profile, version, .. } = self.starting.remove(&installation).unwrap();
        self.scheduler.insert(profile, (installation, version));
        self.handle(Event::Started(installation, Ok(Started { gap_us: 7, manifest: Value::Null })));
    }

    /// The one start that is under way fails.
    #[track_caller]
    pub fn fail_start(&mut self, why: StartFailure) {
        let number = *self.starting.keys().next().expect("something is being started");
        self.starting.remove(&number);
        self.handle(Event::Started(number, Err(why)));
    }

    pub fn settle(&mut self) {
        while !self.loading.is_empty() || !self.starting.is_empty() {
            self.load_all();
            self.start_all();
        }
    }

    /// What serves a profile traps.
    #[track_caller]
    pub fn trap(&mut self, profile: &str, why: &str) {
        let (installation, _) = self.scheduler.remove(profile).expect("a policy serves");
        self.handle(Event::Failed(installation, failure(why, true)));
    }

    /// What serves a profile answers nonsense.
    #[track_caller]
    pub fn answer_badly(&mut self, profile: &str, why: &str) {
        let installation = self.scheduler[profile].0;
        self.handle(Event::Failed(installation, failure(why, false)));
    }

    /// Time passes; what is due on the way happens.
    pub fn pass(&mut self, ms: i64) {
        let end = self.now.plus_millis(ms);
        while let Some(due) = self.manager.next_due(self.now).filter(|due| *due <= end) {
            self.now = due;
            self.handle(Event::Due);
        }
        self.now = end;
        self.handle(Event::Due);
    }

    /// The server is started anew: nothing is loaded, nothing serves; the objects are as they were.
    pub fn restart(&mut self) {
        self.manager = PluginManager::default();
        (self.loading, self.kept, self.starting) = Default::default();
        (self.scheduler, self.failovers) = Default::default();
        self.look();
    }

    /// The plugin that serves a profile, in truth.
    pub fn serves(&self, profile: &str) -> Option<&str> {
        self.scheduler.get(profile).map(|(_, version)| version.plugin.as_str())
    }

    /// The plugin that is being started for a profile.
    pub fn starts(&self, profile: &str) -> Option<&str> {
        let start = self.starting.values().find(|start| start.profile == profile)?;
        Some(&start.version.plugin)
    }

    pub fn status(&self, binding: &str) -> &Value {
        &self.bindings[binding]["status"]
    }

    /// The condition `Active` of a binding: status and reason.
    pub fn active(&self, binding: &str) -> (&str, &str) {
        let condition = &self.status(binding)["conditions"][0];
        assert_eq!(condition["type"], "Active");
        (condition["status"].as_str().unwrap(), condition["reason"].as_str().unwrap())
    }

    pub fn was_told(&self, reason: &str) -> usize {
        self.told.iter().filter(|(_, told, _)| *told == reason).count()
    }
}

pub fn failure(why: &str, fatal: bool) -> Failure {
    let harm = if fatal { Harm::Ended } else { Harm::Unusable };
    Failure { why: why.to_owned(), harm, count: 1 }
}

/// The profile that a place of these tests is.
fn profile(place: Place) -> String {
    assert_eq!(place.role, RoleName::Scheduler);
    place.name
}
