//! What becomes of plugins and profiles, one story each.

#![allow(clippy::unwrap_used)] // a test may

mod common;

use berth_json::json;
use berth_lifecycle::{Event, Place, PluginManager, RoleName, StartFailure};
use berth_scheduler::Failover;
use common::{PROFILE, World, failure};

const MINUTE: i64 = 60_000;

#[test]
fn a_plugin_is_loaded_and_started_and_serves() {
    let mut world = World::new();
    world.plugin("spread", "one");
    world.bind(PROFILE, "spread");
    assert_eq!(world.active(PROFILE), ("Unknown", "Loading"));
    world.load_all();
    assert_eq!(world.active(PROFILE), ("Unknown", "Starting"));
    assert_eq!(world.status(PROFILE)["activePlugin"], json!(null), "nothing serves yet");
    world.start_all();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    let status = world.status(PROFILE);
    assert_eq!((&status["activePlugin"], &status["activeDigest"]), (&json!("spread"), &json!("sha256:one")));
    assert_eq!(status["swaps"], 1);
    assert_eq!(world.plugins["spread"]["status"]["phase"], "Ready");
}

#[test]
fn the_old_version_serves_until_the_new_one_is_ready() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("spread", "two");
    assert_eq!(world.active(PROFILE), ("Unknown", "Loading"), "an upload alone makes nothing serve");
    assert_eq!(world.status(PROFILE)["activeDigest"], "sha256:spread");
    assert_eq!(world.serves(PROFILE), Some("spread"));
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    assert_eq!(world.status(PROFILE)["activeDigest"], "sha256:two");
    assert_eq!(world.status(PROFILE)["lastGood"]["digest"], "sha256:spread");
}

#[test]
fn a_version_that_fails_makes_way_for_the_one_before_and_stays_away() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind_with(PROFILE, "new", json!({"config": {"a": [1, null]}}));
    world.settle();
    world.trap(PROFILE, "the policy trapped");
    assert_eq!(world.starts(PROFILE), Some("spread"), "at once");
    assert_eq!(world.status(PROFILE)["activePlugin"], json!(null), "nothing serves meanwhile");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert_eq!(world.active(PROFILE), ("False", "PolicyFailed"));
    let status = world.status(PROFILE);
    assert_eq!(status["activePlugin"], "spread");
    assert_eq!(
        (&status["failed"]["plugin"], &status["failed"]["config"]),
        (&json!("new"), &json!(r#"{"a":[1,null]}"#))
    );
    assert!(status["message"].as_str().unwrap().starts_with("plugin new: the policy trapped"), "{status}");
    world.pass(60 * MINUTE);
    assert_eq!((world.serves(PROFILE), world.starts(PROFILE)), (Some("spread"), None));
    assert_eq!((world.was_told("PolicyFailed"), world.was_told("PolicyRolledBack")), (1, 1));

    world.plugin("new", "mended");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("new"), "another version is another matter");
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    assert_eq!(world.status(PROFILE)["failed"], json!(null));
}

#[test]
fn the_last_good_version_is_not_rolled_back_to_itself_but_waits_longer_each_time() {
    let mut world = World::served_by("spread", "LastGood");
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.trap(PROFILE, "the policy trapped");
        assert_eq!(world.starts(PROFILE), None, "not at once");
        assert_eq!(world.active(PROFILE), ("False", "PolicyFailed"));
        let due = world.manager.next_due(world.now).unwrap();
        waits.push(due.millis_since(world.now));
        world.pass(waits.last().unwrap() - 1);
        assert_eq!(world.starts(PROFILE), None, "not before its time");
        world.pass(1);
        world.settle();
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(world.was_told("PolicyRolledBack"), 0);
    assert_eq!(world.status(PROFILE)["swaps"], 1, "the component was never replaced");

    world.pass(10 * MINUTE);
    world.trap(PROFILE, "the policy trapped");
    world.pass(1_000);
    assert_eq!(
        world.starts(PROFILE),
        Some("spread"),
        "after a long healthy time it begins with a short wait"
    );
}

#[test]
fn another_failure_policy_gives_a_version_that_failed_another_chance() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    world.trap(PROFILE, "the policy trapped");
    world.settle();
    world.bind_with(PROFILE, "new", json!({"failurePolicy": "Default"}));
    world.pass(1_000);
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("new"));
    assert_eq!(world.status(PROFILE)["failed"], json!(null));
}

#[test]
fn two_plugins_in_a_row_fail() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    world.trap(PROFILE, "the new one trapped");
    world.settle();
    world.trap(PROFILE, "the old one trapped");
    assert_eq!((world.serves(PROFILE), world.starts(PROFILE)), (None, None));
    assert!(world.status(PROFILE)["message"].as_str().unwrap().contains("the new one trapped"));
    world.pass(1_000);
    assert_eq!(world.starts(PROFILE), Some("spread"), "the last good one, not the one that failed first");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
}

#[test]
fn what_serves_in_place_of_a_version_that_does_not_load_is_started_again() {
    let mut world = World::served_by("spread", "LastGood");
    for plugin in ["steady", "broken"] {
        world.plugin(plugin, plugin);
        world.bind(PROFILE, plugin);
        if plugin == "broken" {
            world.fail_load(plugin, "it does not compile", false);
        }
        world.settle();
    }
    assert_eq!(world.serves(PROFILE), Some("steady"));
    world.trap(PROFILE, "the policy trapped");
    world.pass(1_000);
    assert_eq!(world.starts(PROFILE), Some("steady"), "it served last");
}

#[test]
fn under_default_a_version_that_failed_is_started_again() {
    let mut world = World::served_by("spread", "Default");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    world.trap(PROFILE, "the policy trapped");
    assert_eq!((world.serves(PROFILE), world.starts(PROFILE)), (None, None), "the built-in policy serves");
    world.pass(1_000);
    assert_eq!(world.starts(PROFILE), Some("new"));
    world.fail_start(StartFailure::Failed("it traps when it is fed".to_owned()));
    world.pass(10_000);
    assert_eq!(world.starts(PROFILE), Some("new"), "not the one before, which nobody asks for");
}

#[test]
fn under_fail_pods_wait_from_before_the_first_decision_on() {
    let mut world = World::served_by("spread", "Fail");
    assert_eq!(world.failovers[PROFILE], Failover::Hold);
    world.restart();
    let first = PluginManager::failovers(&world.read_bindings());
    let place = Place { role: RoleName::Scheduler, name: PROFILE.to_owned() };
    assert_eq!(first, [(place, Failover::Hold)], "known without a plugin being loaded");
    world.unbind(PROFILE);
    assert_eq!(world.failovers[PROFILE], Failover::Builtin);
}

#[test]
fn a_late_failure_of_the_old_version_is_not_charged_to_the_new_one() {
    let mut world = World::served_by("spread", "LastGood");
    let old = world.scheduler[PROFILE].0;
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    let before = world.status(PROFILE).clone();
    for fatal in [true, false, false, false, false, false, false] {
        world.handle(Event::Failed(old, failure("the old policy trapped", fatal)));
    }
    assert_eq!(world.serves(PROFILE), Some("new"));
    assert_eq!((world.status(PROFILE), world.active(PROFILE)), (&before, ("True", "Installed")));
    assert_eq!(world.was_told("PolicyFailed"), 0);
}

#[test]
fn a_failure_may_be_heard_of_before_the_start() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.load_all();
    let number = *world.starting.keys().next().unwrap();
    world.handle(Event::Failed(number, failure("the policy trapped", true)));
    assert_eq!(world.status(PROFILE)["activePlugin"], "spread", "as far as is known");
    world.start(number);
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert_eq!(world.active(PROFILE), ("False", "PolicyFailed"));
}

#[test]
fn what_failed_and_what_is_good_survive_a_restart() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    world.trap(PROFILE, "the policy trapped");
    world.settle();
    for _ in 0..2 {
        world.restart();
        assert_eq!(world.status(PROFILE)["activePlugin"], json!(null), "nothing serves yet");
        assert_eq!(world.active(PROFILE), ("False", "PolicyFailed"));
        world.settle();
        assert_eq!(world.serves(PROFILE), Some("spread"));
        assert_eq!(world.status(PROFILE)["swaps"], 3, "a restart replaces nothing");
    }
    world.remove_plugin("new");
    world.plugin("new", "mended");
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
}

#[test]
fn after_a_restart_a_binding_is_not_active_before_its_policy_serves() {
    let mut world = World::served_by("spread", "LastGood");
    world.restart();
    assert_eq!(world.active(PROFILE), ("Unknown", "Loading"));
    assert_eq!(world.plugins["spread"]["status"]["phase"], "Ready", "its bytes are what they were");
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
}

#[test]
fn what_served_last_serves_after_a_restart_where_the_wanted_version_does_not_come_up() {
    for failure_policy in ["LastGood", "Default", "Fail"] {
        let mut world = World::served_by("spread", failure_policy);
        world.plugin("new", "new");
        world.bind(PROFILE, "new");
        world.fail_load("new", "it does not compile", false);
        assert_eq!(world.active(PROFILE), ("False", "LoadFailed"));
        assert_eq!(world.status(PROFILE)["activePlugin"], "spread", "it serves on");
        world.restart();
        world.fail_load("new", "it does not compile", false);
        world.settle();
        assert_eq!(world.serves(PROFILE), Some("spread"), "{failure_policy}");
        assert_eq!(world.active(PROFILE), ("False", "LoadFailed"));
    }
}

#[test]
fn what_served_last_serves_after_a_restart_even_when_its_plugin_was_deleted() {
    let mut world = World::served_by("spread", "LastGood");
    world.remove_plugin("spread");
    assert_eq!(world.active(PROFILE), ("False", "NotInstalled"));
    assert_eq!(world.serves(PROFILE), Some("spread"), "it serves on");
    world.restart();
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert_eq!(world.status(PROFILE)["message"], "plugin spread does not exist");
}

#[test]
fn a_start_that_fails_is_tried_again_and_a_refused_one_is_not() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.load_all();
    world.fail_start(StartFailure::Failed("all places are taken".to_owned()));
    assert_eq!(world.active(PROFILE), ("False", "StartFailed"));
    assert_eq!(world.status(PROFILE)["message"], "plugin new: all places are taken");
    assert_eq!(world.serves(PROFILE), Some("spread"));
    world.pass(1_000);
    assert_eq!(world.starts(PROFILE), Some("new"));
    world.fail_start(StartFailure::Refused("the plugin refuses its configuration: no".to_owned()));
    world.pass(60 * MINUTE);
    assert_eq!(world.starts(PROFILE), None);
    world.bind_with(PROFILE, "new", json!({"config": {"a": 1}}));
    assert_eq!(world.starts(PROFILE), Some("new"), "another configuration is another matter");
}

#[test]
fn a_swap_during_a_swap_waits_for_its_end() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("one", "one");
    world.plugin("two", "two");
    world.load_all();
    world.bind(PROFILE, "one");
    world.load_all();
    assert_eq!(world.starts(PROFILE), Some("one"));
    world.bind(PROFILE, "two");
    world.load_all();
    assert!(world.starting.values().all(|start| start.is_cancelled), "{:?}", world.starting);
    assert_eq!(world.starting.len(), 1, "the second waits: the first must not overtake it");
    let mut other = *world.starting.keys().next().unwrap();
    world.start(other); // the cancellation came too late
    assert_eq!(world.status(PROFILE)["activePlugin"], "one", "the truth");
    assert_eq!(world.active(PROFILE).0, "Unknown");
    assert_eq!(world.starts(PROFILE), Some("two"));
    world.bind(PROFILE, "spread");
    other = *world.starting.keys().next().unwrap();
    world.starting.remove(&other);
    world.handle(Event::Started(other, Err(StartFailure::Cancelled)));
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert_eq!(world.was_told("StartFailed"), 0, "a cancelled start is no failure");
}

#[test]
fn a_swap_back_before_the_new_version_is_ready_changes_nothing() {
    let mut world = World::served_by("spread", "LastGood");
    let serving = world.scheduler[PROFILE].0;
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.load_all();
    world.bind(PROFILE, "spread");
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    world.fail_start(StartFailure::Cancelled);
    assert_eq!((world.scheduler[PROFILE].0, world.starts(PROFILE)), (serving, None));
}

#[test]
fn a_binding_is_deleted_while_its_policy_is_started() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.load_all();
    world.unbind(PROFILE);
    assert!(world.starting.values().all(|start| start.is_cancelled));
    world.start_all();
    assert_eq!(world.serves(PROFILE), None, "the profile is left to the built-in policy");
    assert!(world.kept.is_empty(), "and nothing is kept: {:?}", world.kept);
    // The same name again is another binding.
    world.bind(PROFILE, "spread");
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    assert_eq!(world.status(PROFILE)["lastGood"], json!(null));
}

#[test]
fn a_plugin_is_deleted_while_it_is_loaded() {
    let mut world = World::new();
    world.plugin("spread", "one");
    let key = world.loading.first().unwrap().clone();
    world.remove_plugin("spread");
    assert!(world.loading.is_empty(), "the load is cancelled");
    // The report was under way already.
    world.kept.insert(key.clone());
    let loaded = berth_lifecycle::Loaded { role: RoleName::Scheduler, size: 1 };
    world.handle(Event::Loaded(key, Ok(loaded)));
    assert!(world.kept.is_empty(), "nobody needs it");
}

#[test]
fn a_digest_that_is_not_in_the_store_yet_is_looked_for_again() {
    let mut world = World::new();
    world.plugin("spread", "one");
    world.bind(PROFILE, "spread");
    world.fail_load("one", "no component with this digest was uploaded", true);
    assert_eq!(world.active(PROFILE), ("False", "LoadFailed"));
    assert_eq!(world.plugins["spread"]["status"]["phase"], "Failed");
    assert_eq!(world.was_told("LoadFailed"), 1);
    world.pass(1_000);
    assert_eq!(world.active(PROFILE), ("False", "LoadFailed"), "as far as is known");
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"));
    assert_eq!(world.plugins["spread"]["status"]["phase"], "Ready");
}

#[test]
fn a_component_that_cannot_load_is_not_tried_for_ever() {
    let mut world = World::new();
    world.plugin("spread", "one");
    world.fail_load("one", "it is no component", false);
    world.pass(60 * MINUTE);
    assert!(world.loading.is_empty());
    assert_eq!(world.manager.next_due(world.now), None);
}

#[test]
fn an_unusable_answer_is_told_and_forgotten() {
    let mut world = World::served_by("spread", "LastGood");
    world.answer_badly(PROFILE, "2 scores for 3 candidates");
    assert_eq!(world.active(PROFILE), ("True", "Installed"), "it serves all the same");
    let status = world.status(PROFILE);
    assert_eq!(
        (&status["conditions"][1]["type"], &status["message"]),
        (&json!("Degraded"), &json!("2 scores for 3 candidates"))
    );
    world.pass(MINUTE);
    assert_eq!(world.status(PROFILE)["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(world.status(PROFILE)["message"], json!(null));
}

#[test]
fn unusable_answers_again_and_again_are_a_failure() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    for _ in 0..4 {
        world.answer_badly(PROFILE, "nonsense");
        world.pass(1_000);
    }
    assert_eq!(world.serves(PROFILE), Some("new"));
    world.answer_badly(PROFILE, "nonsense");
    assert_eq!(world.serves(PROFILE), None, "it is put aside");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert!(
        world.status(PROFILE)["message"].as_str().unwrap().contains("nonsense; 5 such answers within 60 s")
    );

    let mut seldom = World::served_by("spread", "LastGood");
    for _ in 0..20 {
        seldom.answer_badly(PROFILE, "nonsense");
        seldom.pass(MINUTE / 2);
    }
    assert_eq!(seldom.serves(PROFILE), Some("spread"), "now and then is none");
}

#[test]
fn a_version_that_served_long_is_what_later_ones_go_back_to() {
    let mut world = World::served_by("old", "LastGood");
    world.plugin("steady", "steady");
    world.bind(PROFILE, "steady");
    world.settle();
    assert_eq!(world.status(PROFILE)["lastGood"]["plugin"], "old");
    world.pass(10 * MINUTE);
    assert_eq!(world.status(PROFILE)["lastGood"]["plugin"], "steady");
    world.trap(PROFILE, "the policy trapped");
    world.pass(1_000);
    assert_eq!(world.starts(PROFILE), Some("steady"), "one trap in ten minutes condemns nothing");
}

#[test]
fn of_two_bindings_of_one_profile_the_older_counts_whatever_the_order() {
    let mut world = World::served_by("spread", "LastGood");
    world.pass(1_000);
    world.plugin("new", "new");
    world.bind_with("a-rival", "new", json!({"profile": PROFILE}));
    world.settle();
    let why = "profile default-scheduler is bound by default-scheduler already; delete one of the two";
    assert_eq!(world.status("a-rival")["message"], why);
    world.restart();
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    world.unbind(PROFILE);
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("new"));
    assert_eq!(world.active("a-rival"), ("True", "Installed"));
}

#[test]
fn a_slow_load_delays_nobody_elses_failure() {
    let mut world = World::served_by("spread", "LastGood");
    world.plugin("new", "new");
    world.bind(PROFILE, "new");
    world.settle();
    world.plugin("slow", "slow");
    world.bind("other", "slow");
    assert_eq!(world.loading.len(), 1, "and that is all that goes on");
    world.trap(PROFILE, "the policy trapped");
    assert_eq!(world.starts(PROFILE), Some("spread"));
}

#[test]
fn profiles_past_the_limit_are_refused_and_served_when_there_is_room() {
    let mut world = World::new();
    world.plugin("spread", "one");
    for number in 0..25 {
        world.bind(&format!("profile-{number:02}"), "spread");
    }
    assert!(world.starting.len() <= 4, "few are started at a time");
    world.settle();
    assert_eq!(world.scheduler.len(), 24);
    let last = &world.status("profile-24")["message"];
    assert_eq!(*last, "24 places are bound already, and no more are served; delete a binding");
    world.unbind("profile-00");
    world.settle();
    assert_eq!(world.serves("profile-24"), Some("spread"));
}

#[test]
fn a_plugin_that_serves_nobody_is_looked_at_and_let_go() {
    let mut world = World::new();
    world.plugin("spread", "one");
    world.load_all();
    assert_eq!(world.plugins["spread"]["status"]["phase"], "Ready");
    assert!(world.kept.is_empty());
    world.bind(PROFILE, "spread");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
}

#[test]
fn a_plugins_words_are_cut_and_kept_on_one_line() {
    let mut world = World::new();
    world.plugin("spread", "one");
    world.bind(PROFILE, "spread");
    world.load_all();
    world.fail_start(StartFailure::Refused(format!("first\nsecond\u{7}{}", "ü".repeat(1 << 20))));
    let message = world.status(PROFILE)["message"].as_str().unwrap();
    assert!(message.starts_with("plugin spread: first second ü"), "{message}");
    assert!(message.len() < 2_000 && message.ends_with("ü…"), "{}", message.len());
    assert!(world.told.iter().all(|(_, _, text)| text.len() < 2_000 && !text.contains('\n')));
}

#[test]
fn a_configuration_too_long_to_be_remembered_serves_all_the_same() {
    let mut world = World::served_by("spread", "LastGood");
    world.bind_with(PROFILE, "spread", json!({"config": "x".repeat(100_000)}));
    world.plugin("new", "new");
    world.settle();
    world.bind(PROFILE, "new");
    world.settle();
    world.trap(PROFILE, "the policy trapped");
    world.settle();
    assert_eq!(world.serves(PROFILE), Some("spread"));
    assert!(world.status(PROFILE).to_string().len() < 2_000, "{}", world.status(PROFILE));
    world.restart();
    world.settle();
    assert_eq!(world.active(PROFILE), ("True", "Installed"), "what failed is forgotten, too");
}
