//! Random histories: whatever happens in whatever order, statuses tell the truth, and once nothing more goes wrong every
//! profile is served by what its binding asks for, or by what it can go back to.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use std::collections::VecDeque;

use berth_json::json;
use berth_lifecycle::{ComponentKey, Event, LoadFailure, StartFailure};
use common::{World, failure};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const PROFILES: [&str; 3] = ["default-scheduler", "batch", "gpu"];
const PLUGINS: [&str; 4] = ["spread", "binpack", "gang", "fgd"];
const COMPONENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[(self.roll() % list.len() as u64) as usize].clone()
    }
}

/// A history: reports of failures may be late by some steps.
struct History {
    world: World,
    dice: Dice,
    late: VecDeque<Event>,
}

impl History {
    fn step(&mut self) {
        let Self { world, dice, late } = self;
        match dice.roll() % 16 {
            0 | 1 => world.plugin(dice.pick(&PLUGINS), dice.pick(&COMPONENTS)),
            2 if dice.roll().is_multiple_of(4) => world.remove_plugin(dice.pick(&PLUGINS)),
            3 | 4 => {
                let policy = dice.pick(&["LastGood", "Default", "Fail"]);
                let config = dice.roll() % 2;
                world.bind_with(
                    dice.pick(&PROFILES),
                    dice.pick(&PLUGINS),
                    json!({"failurePolicy": policy, "config": config}),
                );
            }
            5 if dice.roll().is_multiple_of(4) => world.unbind(dice.pick(&PROFILES)),
            6 | 7 => {
                let loading: Vec<ComponentKey> = world.loading.iter().cloned().collect();
                if let Some(key) = loading.first() {
                    match dice.roll() % 4 {
                        0 => fail_load(world, key, dice.roll().is_multiple_of(2)),
                        _ => world.load(key),
                    }
                }
            }
            8 | 9 => {
                let starting: Vec<(u64, bool)> =
                    world.starting.iter().map(|(number, start)| (*number, start.is_cancelled)).collect();
                if !starting.is_empty() {
                    let (number, is_cancelled) = dice.pick(&starting);
                    match dice.roll() % 6 {
                        0 => end_start(world, number, StartFailure::Failed("it trapped".to_owned())),
                        1 => end_start(world, number, StartFailure::Refused("no".to_owned())),
                        2 if is_cancelled => end_start(world, number, StartFailure::Cancelled),
                        _ => world.start(number),
                    }
                }
            }
            10 | 11 => {
                let serving: Vec<String> = world.scheduler.keys().cloned().collect();
                if !serving.is_empty() {
                    let profile = dice.pick(&serving);
                    let fatal = dice.roll().is_multiple_of(2);
                    let installation = world.scheduler[&profile].0;
                    if fatal {
                        world.scheduler.remove(&profile);
                    }
                    late.push_back(Event::Failed(installation, failure("it trapped", fatal)));
                }
            }
            12 => late.drain(..).for_each(|event| world.handle(event)),
            13 => world.pass((dice.roll() % 100_000) as i64),
            14 if dice.roll().is_multiple_of(8) => {
                late.clear();
                world.restart();
            }
            _ => world.look(),
        }
        self.check();
    }

    /// What must be true at every moment.
    fn check(&self) {
        let World { scheduler, bindings, starting, .. } = &self.world;
        for (profile, object) in bindings {
            let status = &object["status"];
            let serves = scheduler.get(profile).map(|(_, version)| version);
            // What nobody has told the manager yet it cannot know.
            if self.late.is_empty() {
                let plugin = serves.map(|version| version.plugin.as_str());
                let digest = serves.map(|version| version.component.digest.as_str());
                assert_eq!(
                    (status["activePlugin"].as_str(), status["activeDigest"].as_str()),
                    (plugin, digest)
                );
            }
            let active = &status["conditions"][0];
            if active["status"] == "True" {
                assert_eq!(status["activePlugin"], object["spec"]["plugin"], "{status}");
            }
            let hopeless = active["status"] == "False" && active["message"] == "";
            assert!(!hopeless, "a reason is given: {status}");
        }
        assert!(starting.len() <= PROFILES.len());
    }

    /// Nothing goes wrong any more: all is loaded and started as it is asked for.
    fn recover(&mut self) {
        let world = &mut self.world;
        self.late.drain(..).for_each(|event| world.handle(event));
        for _ in 0..20 {
            world.settle();
            world.pass(60_000);
        }
        assert!(world.loading.is_empty() && world.starting.is_empty());
        let mut bound = 0;
        for (profile, object) in &world.bindings {
            let status = &object["status"];
            let memory = &status["lastGood"];
            let reason = status["conditions"][0]["reason"].as_str().unwrap();
            let serves = world.serves(profile);
            match reason {
                "Installed" => assert_eq!(serves, object["spec"]["plugin"].as_str(), "{status}"),
                // Left alone for good: its plugin is not there, or it failed in a way that time does not mend.
                "NotInstalled" | "LoadFailed" | "StartFailed" | "PolicyFailed" => {
                    let is_left_alone = memory["plugin"].as_str();
                    assert!(serves == is_left_alone || is_unusable(memory, world), "{status}: {serves:?}");
                }
                other => panic!("{other} is no end: {status}"),
            }
            bound += 1;
        }
        assert_eq!(world.scheduler.len().max(bound), bound, "nothing serves a profile without a binding");
        let used = world.scheduler.values().map(|(_, version)| &version.component);
        assert!(used.into_iter().all(|key| world.kept.contains(key)), "what serves is kept");
    }
}

/// Whether the version to go back to does not load or start either.
fn is_unusable(memory: &berth_json::Value, world: &World) -> bool {
    let digest = memory["digest"].as_str().unwrap_or_default();
    world.told.iter().any(|(_, reason, text)| {
        *reason == "StartFailed" && text.ends_with(": no") || *reason == "LoadFailed" && text.contains(digest)
    })
}

fn fail_load(world: &mut World, key: &ComponentKey, passing: bool) {
    assert!(world.loading.remove(key));
    let failure = LoadFailure { why: format!("{} does not load", key.digest), size: 1, passing };
    world.handle(Event::Loaded(key.clone(), Err(failure)));
}

fn end_start(world: &mut World, installation: u64, why: StartFailure) {
    assert!(world.starting.remove(&installation).is_some());
    world.handle(Event::Started(installation, Err(why)));
}

#[test]
fn statuses_tell_the_truth_and_everything_recovers() {
    for seed in 0..SEEDS {
        let mut history = History { world: World::new(), dice: Dice(seed), late: VecDeque::new() };
        println!("seed {seed}");
        for _ in 0..STEPS {
            history.step();
        }
        history.recover();
    }
}
