//! kill -9 of the real program at moments from a seed: nothing acknowledged is lost, and the rollout finishes.
#![allow(clippy::unwrap_used)] // a test may

use berth_tests::{Berth, Options, repository};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often berth is killed in one history.
const KILLS: u64 = 4;
/// The longest that it lives in between, in ms: several writes and some steps of a rollout.
const LIFE_MAX_MS: u64 = 900;

/// Numbers from a seed (SplitMix64).
fn roll(seed: u64) -> u64 {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Creates ConfigMaps as fast as it can until told to stop; notes each that the server acknowledged.
fn write(berth: &Mutex<Berth>, stop: &AtomicBool) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("write-{number}");
        // The command alone is made under the lock: it runs while berth is killed.
        let mut command = berth.lock().unwrap().kubectl_command(&["create", "configmap", &name]);
        if berth_tests::run(&mut command, "", Duration::from_secs(60)).code == 0 {
            acknowledged.insert(name);
        }
    }
    acknowledged
}

fn history(seed: u64) {
    let berth = Berth::start(Options::simulated(3));
    let manifest = repository().join("examples/manifests/my-app.yaml");
    berth.kubectl(&["apply", "-f", manifest.to_str().unwrap()]).ok();
    berth.kubectl(&["scale", "deployment", "my-app", "--replicas=12"]).ok();
    let berth = Mutex::new(berth);
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&berth, &stop));
        for kill in 0..KILLS {
            let image = format!("my-app=my-app:v{}", kill + 2);
            let mut change =
                berth.lock().unwrap().kubectl_command(&["set", "image", "deployment/my-app", &image]);
            berth_tests::run(&mut change, "", Duration::from_secs(60)).ok();
            // Not to wait for something: this is the moment that the seed chose.
            std::thread::sleep(Duration::from_millis(roll(seed * KILLS + kill) % LIFE_MAX_MS));
            let mut berth = berth.lock().unwrap();
            berth.kill_9();
            berth.up();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let berth = berth.into_inner().unwrap();
    let stored = berth.kubectl(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    let stored: BTreeSet<String> = stored.split(' ').map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    println!("crash: seed {seed}: {} writes acknowledged in {KILLS} crashes", acknowledged.len());
    assert!(lost.is_empty(), "seed {seed}: acknowledged and lost: {lost:?}");
    assert!(!acknowledged.is_empty(), "seed {seed}: the writer never came to write");

    berth.kubectl(&["rollout", "status", "deployment/my-app", "--timeout=90s"]).ok();
    let pods = berth.get(&["pods", "-l", "app=my-app"]);
    let images: Vec<&str> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap())
        .collect();
    assert_eq!(images, vec![format!("my-app:v{}", KILLS + 1); 12], "seed {seed}");
}

#[test]
fn crashes_lose_no_acknowledged_write_and_the_rollout_finishes() {
    for seed in 1..=3 {
        history(seed);
    }
}
