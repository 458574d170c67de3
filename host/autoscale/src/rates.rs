//! What bounds, stabilisation windows and rates make of a recommendation, as Kubernetes' horizontal controller does it.

use crate::memory::Memory;
use crate::spec::{Autoscaler, Behavior, RateKind, Rules, Select};

/// Over how long recommendations of fewer replicas are compared where nobody says otherwise:
/// `--horizontal-pod-autoscaler-downscale-stabilization`.
const DOWN_WINDOW_S: i64 = 300;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Said {
    pub(crate) fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds, reason, message: message.into() }
    }
}

/// What shall be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) replicas: u32,
    pub(crate) able: Said,
    pub(crate) limited: Said,
}

/// What a limit makes of a number, and why.
type Limit = (u32, &'static str, &'static str);

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: (&str, &str) =
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: (&str, &str) =
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FAST_UP: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const HELD_DOWN: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const HELD_UP: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);

/// Holds `recommended` to what the autoscaler allows of a workload that has `current` replicas, and remembers it.
pub(crate) fn hold(
    autoscaler: &Autoscaler,
    memory: &mut Memory,
    current: u32,
    recommended: u32,
    now_ms: i64,
) -> Held {
    memory.begin(now_ms, current);
    let bounds = (autoscaler.min_replicas(), autoscaler.max_replicas());
    let behavior = autoscaler.spec.behavior.as_ref();
    let (stable, why) = match behavior {
        None => {
            let highest = memory.highest(now_ms, DOWN_WINDOW_S).unwrap_or_default();
            (recommended.max(highest), HELD_UP)
        }
        Some(behavior) => stabilized(behavior, memory, current, recommended, now_ms),
    };
    memory.recommend(now_ms, recommended);
    let (replicas, reason, message) = match behavior {
        None => within_rules(current, stable, bounds),
        Some(behavior) => within_rates(behavior, memory, current, stable, bounds, now_ms),
    };
    let (able_reason, able_message) = if stable == recommended { READY } else { why };
    Held {
        replicas,
        able: Said::new(true, able_reason, able_message),
        limited: Said::new(replicas != stable, reason, message),
    }
}

fn stabilized(
    behavior: &Behavior,
    memory: &Memory,
    current: u32,
    recommended: u32,
    now_ms: i64,
) -> (u32, (&'static str, &'static str)) {
    let window = |rules: &Rules, otherwise| rules.stabilization_window_seconds.unwrap_or(otherwise);
    let lowest = memory.lowest(now_ms, window(&behavior.scale_up, 0));
    let highest = memory.highest(now_ms, window(&behavior.scale_down, DOWN_WINDOW_S));
    let up = lowest.unwrap_or(recommended).min(recommended);
    let down = highest.unwrap_or(recommended).max(recommended);
    let why = if recommended >= current { HELD_DOWN } else { HELD_UP };
    (current.max(up).min(down), why)
}

/// Without a `behavior`: at most twice as many, or four, at a time.
fn within_rules(current: u32, desired: u32, (least, most): (u32, u32)) -> Limit {
    let fast = current.saturating_mul(2).max(4);
    let (top, (reason, message)) = if most > fast { (fast, TOO_FAST_UP) } else { (most, TOO_MANY) };
    if desired < least {
        (least, TOO_FEW.0, TOO_FEW.1)
    } else if desired > top {
        (top, reason, message)
    } else {
        (desired, WITHIN.0, WITHIN.1)
    }
}

fn within_rates(
    behavior: &Behavior,
    memory: &Memory,
    current: u32,
    desired: u32,
    (least, most): (u32, u32),
    now_ms: i64,
) -> Limit {
    if desired > current {
        let fast = up_limit(&behavior.scale_up, memory, current, now_ms).max(current);
        let (top, (reason, message)) = if most > fast { (fast, TOO_FAST_UP) } else { (most, TOO_MANY) };
        if desired > top {
            return (top, reason, message);
        }
    } else if desired < current {
        let fast = down_limit(&behavior.scale_down, memory, current, now_ms).min(current);
        let (bottom, (reason, message)) = if least < fast { (fast, TOO_FAST_DOWN) } else { (least, TOO_FEW) };
        if desired < bottom {
            return (bottom, reason, message);
        }
    }
    (desired, WITHIN.0, WITHIN.1)
}

/// How many there may be. Percent are rounded up, so that one pod can become two.
fn up_limit(rules: &Rules, memory: &Memory, current: u32, now_ms: i64) -> u32 {
    let allowed = rules.policies.iter().map(|policy| {
        let start = memory.at_start_of(now_ms, policy.period_seconds, current);
        match policy.kind {
            RateKind::Pods => start.saturating_add(policy.value),
            RateKind::Percent => (start as f64 * (1.0 + policy.value as f64 / 100.0)).ceil() as i64,
        }
    });
    let limit = match rules.select_policy {
        Select::Disabled => None,
        Select::Max => allowed.max(),
        Select::Min => allowed.min(),
    };
    limit.map_or(current, crate::spec::count)
}

/// How few there may be. The policy that allows least leaves the most.
fn down_limit(rules: &Rules, memory: &Memory, current: u32, now_ms: i64) -> u32 {
    let allowed = rules.policies.iter().map(|policy| {
        let start = memory.at_start_of(now_ms, policy.period_seconds, current);
        match policy.kind {
            RateKind::Pods => start.saturating_sub(policy.value),
            RateKind::Percent => (start as f64 * (1.0 - policy.value as f64 / 100.0)) as i64,
        }
    });
    let limit = match rules.select_policy {
        Select::Disabled => None,
        Select::Max => allowed.min(),
        Select::Min => allowed.max(),
    };
    limit.map_or(current, crate::spec::count)
}

#[cfg(test)]
mod tests {
    use berth_json::{Value, from_value, json};

    use super::*;

    fn autoscaler(behavior: Value) -> Autoscaler {
        from_value(&json!({"spec": {"minReplicas": 2, "maxReplicas": 100, "behavior": behavior}})).unwrap()
    }

    /// Recommendations at times in seconds that are followed at once; what becomes of each.
    fn follow(
        autoscaler: &Autoscaler,
        mut current: u32,
        looks: &[(i64, u32)],
    ) -> Vec<(u32, &'static str, &'static str)> {
        let mut memory = Memory::default();
        let mut look = |&(at, recommended): &(i64, u32)| {
            let held = hold(autoscaler, &mut memory, current, recommended, at * 1000);
            if held.replicas != current {
                memory.scaled(at * 1000, current, held.replicas);
                current = held.replicas;
            }
            (held.replicas, held.able.reason, held.limited.reason)
        };
        looks.iter().map(&mut look).collect()
    }

    #[test]
    fn without_a_behavior() {
        let plain = autoscaler(Value::Null);
        let up = follow(&plain, 3, &[(0, 5), (15, 50), (30, 200), (45, 200), (60, 200), (75, 200)]);
        assert_eq!(
            up,
            [
                (5, "ReadyForNewScale", "DesiredWithinRange"),
                (10, "ReadyForNewScale", "ScaleUpLimit"),
                (20, "ReadyForNewScale", "ScaleUpLimit"),
                (40, "ReadyForNewScale", "ScaleUpLimit"),
                (80, "ReadyForNewScale", "ScaleUpLimit"),
                (100, "ReadyForNewScale", "TooManyReplicas"),
            ]
        );
        let one = follow(&plain, 1, &[(0, 9)]);
        assert_eq!(one, [(4, "ReadyForNewScale", "ScaleUpLimit")]);
        let down = follow(&plain, 10, &[(0, 4), (285, 4), (295, 6), (301, 1), (600, 1), (900, 1)]);
        assert_eq!(
            down,
            [
                (10, "ScaleDownStabilized", "DesiredWithinRange"),
                (10, "ScaleDownStabilized", "DesiredWithinRange"),
                (10, "ScaleDownStabilized", "DesiredWithinRange"),
                (6, "ScaleDownStabilized", "DesiredWithinRange"),
                (2, "ReadyForNewScale", "TooFewReplicas"),
                (2, "ReadyForNewScale", "TooFewReplicas"),
            ]
        );
    }

    #[test]
    fn the_rates_of_a_behavior() {
        let rules = |policies: Value, select: &str| json!({"policies": policies, "selectPolicy": select, "stabilizationWindowSeconds": 0});
        let pods = |value: i64, period: i64| json!({"type": "Pods", "value": value, "periodSeconds": period});
        let percent =
            |value: i64, period: i64| json!({"type": "Percent", "value": value, "periodSeconds": period});
        let both = |value: Value| json!({"scaleUp": value, "scaleDown": value});
        let usual = json!([pods(4, 15), percent(100, 15)]);
        type Case<'a> = (Value, u32, &'a [(i64, u32)], &'a [u32]);
        let cases: Vec<Case<'_>> = vec![
            (both(rules(usual.clone(), "Max")), 1, &[(0, 50), (5, 50), (16, 50), (32, 50)], &[5, 5, 10, 20]),
            (both(rules(usual.clone(), "Min")), 3, &[(0, 50), (16, 50), (32, 50)], &[6, 10, 14]),
            (both(rules(usual, "Disabled")), 3, &[(0, 50), (16, 2)], &[3, 3]),
            // One pod may always become two.
            (both(rules(json!([percent(1, 60)]), "Max")), 1, &[(0, 9), (30, 9), (61, 9)], &[2, 2, 3]),
            (both(rules(json!([percent(10, 60)]), "Max")), 80, &[(0, 2), (30, 2), (61, 2)], &[72, 72, 64]),
            (both(rules(json!([pods(5, 60), percent(50, 60)]), "Max")), 80, &[(0, 2), (61, 2)], &[40, 20]),
            (both(rules(json!([pods(5, 60), percent(50, 60)]), "Min")), 80, &[(0, 2), (61, 2)], &[75, 70]),
            // What went up in a period may go down again beyond its rate.
            (both(rules(json!([pods(3, 60)]), "Max")), 10, &[(0, 13), (6, 2)], &[13, 7]),
        ];
        for (behavior, current, looks, expected) in cases {
            let found: Vec<u32> =
                follow(&autoscaler(behavior.clone()), current, looks).iter().map(|one| one.0).collect();
            assert_eq!(found, expected, "{behavior}");
        }
        let said = |behavior: Value, current, recommended| {
            follow(&autoscaler(behavior), current, &[(0, recommended)])
        };
        let one = both(rules(json!([pods(1, 60)]), "Max"));
        assert_eq!(said(one.clone(), 5, 9), [(6, "ReadyForNewScale", "ScaleUpLimit")]);
        assert_eq!(said(one, 5, 3), [(4, "ReadyForNewScale", "ScaleDownLimit")]);
        let all = both(rules(json!([percent(100, 15)]), "Max"));
        assert_eq!(said(all.clone(), 90, 200), [(100, "ReadyForNewScale", "TooManyReplicas")]);
        assert_eq!(said(all, 90, 1), [(2, "ReadyForNewScale", "TooFewReplicas")]);
    }

    #[test]
    fn the_windows_of_a_behavior() {
        let all = json!([{"type": "Percent", "value": 1000, "periodSeconds": 15}]);
        let rules = |window: Value| json!({"policies": all.clone(), "stabilizationWindowSeconds": window});
        let behavior = json!({"scaleUp": rules(json!(60)), "scaleDown": rules(Value::Null)});
        let found =
            follow(&autoscaler(behavior), 5, &[(0, 9), (30, 8), (61, 9), (100, 3), (330, 3), (362, 3)]);
        assert_eq!(
            found,
            [
                (5, "ScaleUpStabilized", "DesiredWithinRange"),
                (5, "ScaleUpStabilized", "DesiredWithinRange"),
                (8, "ScaleUpStabilized", "DesiredWithinRange"),
                (8, "ScaleDownStabilized", "DesiredWithinRange"),
                (8, "ScaleDownStabilized", "DesiredWithinRange"),
                (3, "ReadyForNewScale", "DesiredWithinRange"),
            ]
        );
    }
}
