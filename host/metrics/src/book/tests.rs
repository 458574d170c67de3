use berth_api::Timestamp;

use crate::{ContainerSample, NodeSample, NodeUsage, PodSample, PodUsage, Usage};

/// A container's instance, with what it has used so far in milliseconds of CPU.
type Container = (&'static str, &'static str, u64);

fn pod(uid: &str, at_ms: i64, containers: &[Container]) -> PodSample {
    let container = |(name, instance, cpu_ms): &Container| ContainerSample {
        name: (*name).to_owned(),
        instance: (*instance).to_owned(),
        cpu_nanos: cpu_ms * 1_000_000,
        memory_bytes: 4096,
    };
    PodSample {
        uid: uid.to_owned(),
        moment_micros: at_ms * 1000,
        containers: containers.iter().map(container).collect(),
        ..PodSample::default()
    }
}

fn node(at_ms: i64, cpu_ms: u64, pods: Vec<PodSample>) -> NodeSample {
    NodeSample { moment_micros: at_ms * 1000, cpu_nanos: cpu_ms * 1_000_000, memory_bytes: 8192, pods }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000).plus_millis(ms)
}

/// Thousandths of processors of each container of the pod `p`.
fn cpu(usage: &Usage, now: Timestamp) -> Option<Vec<(String, u64)>> {
    let usage = usage.pod("p", now)?;
    Some(usage.containers.iter().map(|one| (one.name.clone(), one.cpu_nanos / 1_000_000)).collect())
}

#[test]
fn a_rate_is_between_two_samples_of_the_same_instance() {
    let c = |cpu: u64| Some(vec![("c".to_owned(), cpu)]);
    type Case = (&'static str, Vec<(i64, Vec<Container>)>, Option<Vec<(String, u64)>>);
    let cases: Vec<Case> = vec![
        ("one sample is no rate", vec![(0, vec![("c", "0", 50)])], None),
        ("half a processor", vec![(0, vec![("c", "0", 50)]), (10_000, vec![("c", "0", 5_050)])], c(500)),
        ("nothing", vec![(0, vec![("c", "0", 50)]), (10_000, vec![("c", "0", 50)])], c(0)),
        ("restarted", vec![(0, vec![("c", "0", 50)]), (10_000, vec![("c", "1", 9_000)])], None),
        (
            "and measured again",
            vec![
                (0, vec![("c", "0", 50)]),
                (10_000, vec![("c", "1", 9_000)]),
                (20_000, vec![("c", "1", 10_000)]),
            ],
            c(100),
        ),
        ("a counter that goes back", vec![(0, vec![("c", "0", 50)]), (10_000, vec![("c", "0", 49)])], None),
        ("the node was started anew", vec![(10_000, vec![("c", "0", 50)]), (0, vec![("c", "0", 60)])], None),
        ("silent for long", vec![(0, vec![("c", "0", 0)]), (60_001, vec![("c", "0", 1)])], None),
        (
            "too soon: the earlier rate stays",
            vec![
                (0, vec![("c", "0", 0)]),
                (10_000, vec![("c", "0", 1_000)]),
                (10_999, vec![("c", "0", 1_999)]),
            ],
            c(100),
        ),
        (
            "too soon for the first rate",
            vec![(0, vec![("c", "0", 0)]), (999, vec![("c", "0", 999)]), (2_000, vec![("c", "0", 1_000)])],
            c(500),
        ),
        (
            "too soon, and restarted",
            vec![(0, vec![("c", "0", 0)]), (10_000, vec![("c", "0", 1_000)]), (10_500, vec![("c", "1", 5)])],
            None,
        ),
        (
            "not all containers have a rate",
            vec![(0, vec![("c", "0", 0)]), (10_000, vec![("c", "0", 1_000), ("b", "0", 7)])],
            None,
        ),
        (
            "one has ended",
            vec![(0, vec![("c", "0", 0), ("b", "0", 0)]), (10_000, vec![("c", "0", 1_000)])],
            c(100),
        ),
        ("all have ended", vec![(0, vec![("c", "0", 0)]), (10_000, vec![])], None),
        (
            "sorted by name",
            vec![
                (0, vec![("c", "0", 0), ("b", "0", 0)]),
                (10_000, vec![("c", "0", 1_000), ("b", "0", 2_000)]),
            ],
            Some(vec![("b".to_owned(), 200), ("c".to_owned(), 100)]),
        ),
    ];
    for (name, samples, wanted) in cases {
        let usage = Usage::default();
        let mut now = at(0);
        for (moment, containers) in samples {
            now = at(moment);
            usage.sampled("n", node(moment, 0, vec![pod("p", moment, &containers)]), now);
        }
        assert_eq!(cpu(&usage, now), wanted, "{name}");
    }
}

#[test]
fn usage_bears_its_window_and_is_not_told_when_it_is_old() {
    let usage = Usage::default();
    // The node's own clock has nothing to do with the server's.
    for (moment, now) in [(500_000, at(0)), (515_250, at(15_300))] {
        let cpu = u64::try_from(moment).unwrap();
        usage.sampled("n", node(moment, cpu, vec![pod("p", moment, &[("c", "0", cpu)])]), now);
    }
    let found = usage.pod("p", at(20_000)).unwrap();
    assert_eq!((found.at, found.window_ms), (at(15_300), 15_250));
    assert_eq!(found.containers[0].memory_bytes, 4096);
    let wanted =
        NodeUsage { at: at(15_300), window_ms: 15_250, cpu_nanos: 1_000_000_000, memory_bytes: 8192 };
    assert_eq!(usage.node("n", at(20_000)), Some(wanted));
    assert!(usage.pod("p", at(75_300)).is_some());
    assert_eq!((usage.pod("p", at(75_301)), usage.node("n", at(75_301))), (None, None));
}

#[test]
fn what_a_node_names_no_more_is_forgotten() {
    let usage = Usage::default();
    let kept = || {
        usage.read(|book| {
            (book.nodes.keys().cloned().collect::<String>(), book.pods.keys().cloned().collect::<String>())
        })
    };
    let pods = |names: &[&str], at: i64| names.iter().map(|name| pod(name, at, &[("c", "0", 0)])).collect();
    usage.sampled("1", node(0, 0, pods(&["a", "b"], 0)), at(0));
    usage.sampled("2", node(0, 0, pods(&["c"], 0)), at(0));
    assert_eq!(kept(), ("12".to_owned(), "abc".to_owned()));
    usage.sampled("1", node(10_000, 0, pods(&["b"], 10_000)), at(10_000));
    assert_eq!(kept(), ("12".to_owned(), "bc".to_owned()));
    // A pod that another node names is not forgotten with the first.
    usage.sampled("2", node(10_000, 0, pods(&["b", "c"], 10_000)), at(10_000));
    usage.sampled("1", node(20_000, 0, pods(&[], 20_000)), at(20_000));
    assert_eq!(kept(), ("12".to_owned(), "bc".to_owned()));
    usage.forget_silent(at(70_001));
    assert_eq!(kept(), ("1".to_owned(), String::new()));
    usage.forget_silent(at(80_001));
    assert_eq!(kept(), (String::new(), String::new()));
}

#[test]
fn what_is_told_is_usage_at_once() {
    let usage = Usage::default();
    let of_pod = PodUsage { at: at(0), window_ms: 15_000, containers: vec![], values: [].into() };
    let of_node = NodeUsage { at: at(0), window_ms: 15_000, cpu_nanos: 1, memory_bytes: 2 };
    usage.told("n", of_node, vec![("p".to_owned(), of_pod.clone())]);
    assert_eq!(usage.pod("p", at(0)).as_deref(), Some(&of_pod));
    assert_eq!(usage.node("n", at(0)), Some(of_node));
    usage.told("n", of_node, vec![]);
    assert_eq!(usage.pod("p", at(0)), None);
}
