//! Built-in autoscaling policies on the requests per minute of a real site, with what berth itself makes of their answers.
//!
//! A pod bears 25 requests a second and is ready 30 s after it was wanted; what is measured is 45 s old; the autoscaler looks
//! every 15 s. `cargo run -p berth-native --example worldcup98 -- requests_per_minute.csv`

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_api::{Timestamp, views};
use berth_autoscale::{
    Answer, Autoscaler, Look, Memory, Recommender, Scale, SeenPod, asks, fair_share, judge,
};
use berth_json::{from_value, json};
use berth_metrics::PodUsage;
use berth_native::NativeRecommender;
use berth_plugin_predictive::Predictive;
use berth_plugin_target_utilisation::TargetUtilisation;

const TICK_S: usize = 15;
const OF_A_POD: f64 = 25.0;
const REPLICAS_MAX: u32 = 5_000;

/// What a run took.
struct Run {
    pod_ticks: u64,
    violations: u64,
    flips: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: worldcup98 FILE.csv [CONFIG]")?;
    let config = std::env::args().nth(2).unwrap_or_default();
    let text = std::fs::read_to_string(path)?;
    let rates: Vec<f64> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1)?.parse::<f64>().ok())
        .map(|count| count / 60.0)
        .collect();
    let ticks = rates.len() * 60 / TICK_S;
    let rate = |tick: usize| rates[(tick * TICK_S / 60).min(rates.len() - 1)];
    let oracle: u64 = (0..ticks).map(|tick| (rate(tick) / OF_A_POD).ceil().max(1.0) as u64).sum();
    let show = |name: &str, run: &Run| {
        let (hours, share) = (run.pod_ticks as f64 / oracle as f64, run.violations as f64 / ticks as f64);
        println!("{name:<36} {hours:.3} x pod-hours, {:.3} % violating, {} flips", share * 100.0, run.flips);
    };
    let formula = NativeRecommender::<TargetUtilisation>::start(b"")?;
    let predictive = NativeRecommender::<Predictive>::start(config.as_bytes())?;
    if std::env::args().nth(3).is_none() {
        show("target-utilisation at 70 %, no lag", &run(&formula, "17500m", ticks, rate, (0, 0)));
        show("target-utilisation at 70 %", &run(&formula, "17500m", ticks, rate, (2, 3)));
    }
    show("predictive at 100 %", &run(&predictive, "25", ticks, rate, (2, 3)));
    Ok(())
}

/// Runs a policy; a pod takes `start` ticks, and measurements are `lag` ticks old.
fn run(
    policy: &dyn Recommender,
    target: &str,
    ticks: usize,
    rate: impl Fn(usize) -> f64,
    (start, lag): (usize, usize),
) -> Run {
    let metric = json!({"name": "requests"});
    let target = json!({"type": "AverageValue", "averageValue": target});
    let metrics = json!([{"type": "Pods", "pods": {"metric": metric, "target": target}}]);
    let spec = json!({"minReplicas": 1, "maxReplicas": REPLICAS_MAX, "metrics": metrics});
    let autoscaler: Autoscaler = from_value(&json!({"spec": spec})).unwrap_or_default();
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    let pod: views::Pod =
        from_value(&json!({"status": {"phase": "Running", "conditions": ready}})).unwrap_or_default();
    let pending: views::Pod = from_value(&json!({"status": {"phase": "Pending"}})).unwrap_or_default();
    let mut memory = Memory::default();
    let mut wanted = vec![1_u32];
    let mut run = Run { pod_ticks: 0, violations: 0, flips: 0 };
    let mut direction = 0_i32;
    for tick in 0..ticks {
        let now = Timestamp::from_seconds(1_600_000_000 + (tick * TICK_S) as i64);
        let current = wanted[tick];
        // A pod that goes is gone at once; one that comes is ready when it was wanted all the time.
        let ready = wanted[tick.saturating_sub(start)..=tick].iter().copied().min().unwrap_or(current);
        run.pod_ticks += u64::from(current);
        run.violations += u64::from(rate(tick) > f64::from(ready) * OF_A_POD);
        let milli = (rate(tick.saturating_sub(lag)) * 1000.0 / f64::from(ready)) as i64;
        let usage = Arc::new(PodUsage {
            at: now,
            window_ms: 15_000,
            containers: Vec::new(),
            values: BTreeMap::from([("requests".to_owned(), milli)]),
        });
        let pods: Vec<SeenPod<'_>> = (0..current)
            .map(|i| {
                let (view, uid) = if i < ready { (&pod, "ready") } else { (&pending, "") };
                SeenPod { name: uid, uid, is_deleted: false, view }
            })
            .collect();
        let scale = Scale { wanted: current, present: current };
        let look = Look {
            namespace: "default",
            name: "web",
            autoscaler: &autoscaler,
            scale,
            pods: &pods,
            usages: &|uid| (uid == "ready").then(|| usage.clone()),
            described: &|_| Err(String::new()),
            now,
        };
        let question = look.question(Some(policy.manifest()), &mut memory, fair_share(1));
        let answer = match policy.recommend(&question) {
            Ok(recommendation) if asks(&autoscaler, scale) => {
                Answer::Recommended(question.into(), recommendation)
            }
            Ok(_) => Answer::Unasked,
            Err(error) => Answer::Failed(question.into(), error.to_string()),
        };
        let verdict = judge(&autoscaler, scale, answer, &mut memory, now);
        let next = verdict.rescale.unwrap_or(current);
        let turn = i32::from(next > current) - i32::from(next < current);
        if turn != 0 {
            run.flips += u64::from(direction == -turn);
            direction = turn;
        }
        wanted.push(next);
    }
    run
}
