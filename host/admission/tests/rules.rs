//! Which writes concern a policy.
#![allow(clippy::unwrap_used)] // a test may

use berth_admission::{Bound, FailurePolicy, Manifest, Mutates, Operation, Rule, Rules, Subject};
use berth_json::{Value, json};

fn rule(groups: &[&str], resources: &[&str], operations: u32) -> Rule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Rule { groups: owned(groups), resources: owned(resources), operations, ..Rule::default() }
}

fn subject<'a>(operation: Operation, group: &'a str, path: &'a str, namespace: &'a str) -> Subject<'a> {
    let (resource, sub_resource) = path.split_once('/').unwrap_or((path, ""));
    Subject {
        operation,
        group,
        resource,
        sub_resource,
        namespace,
        namespace_labels: &|| None,
        objects: [None, None],
    }
}

#[test]
fn resources_operations_and_namespaces() {
    use Operation::{Create, Delete, Update};
    let cases = [
        (rule(&[""], &["pods"], 1), (Create, "", "pods"), true),
        (rule(&[""], &["pods"], 1), (Update, "", "pods"), false),
        (rule(&[""], &["pods"], 3), (Update, "", "pods"), true),
        (rule(&[""], &["pods"], 4), (Delete, "", "pods"), true),
        (rule(&[""], &["pods"], 7), (Update, "", "pods/status"), false),
        (rule(&[""], &["pods/status"], 7), (Update, "", "pods/status"), true),
        (rule(&[""], &["pods/*"], 7), (Update, "", "pods/status"), true),
        (rule(&[""], &["pods/*"], 7), (Update, "", "pods"), false),
        (rule(&["*"], &["*"], 7), (Create, "apps", "deployments"), true),
        (rule(&["*"], &["*"], 7), (Update, "apps", "deployments/scale"), false),
        (rule(&["*"], &["*/*"], 7), (Update, "apps", "deployments/scale"), true),
        (rule(&["apps"], &["deployments"], 7), (Create, "extensions", "deployments"), false),
        // What opens a cluster again that a policy has locked, and what keeps it alive.
        (rule(&["*"], &["*", "*/*"], 7), (Delete, "berth.dev", "pluginbindings"), false),
        (rule(&["berth.dev"], &["plugins"], 7), (Create, "berth.dev", "plugins"), false),
        (rule(&["*"], &["*"], 7), (Update, "coordination.k8s.io", "leases"), false),
        (rule(&["*"], &["*/*"], 7), (Update, "", "nodes/status"), false),
        (rule(&["*"], &["*"], 7), (Update, "", "nodes"), true),
        (rule(&["*"], &["*/*"], 7), (Create, "", "pods/binding"), false),
    ];
    for (rule, (operation, group, path), matches) in cases {
        let rules = Rules::new(std::slice::from_ref(&rule)).unwrap();
        let asked = subject(operation, group, path, "team");
        assert_eq!(rules.matches(&asked), matches, "{rule:?} and {operation:?} {group}/{path}");
    }
    let rules = Rule { namespaces: vec!["team".to_owned()], ..rule(&[""], &["pods"], 1) };
    let rules = Rules::new(&[rules]).unwrap();
    assert!(rules.matches(&subject(Create, "", "pods", "team")));
    assert!(!rules.matches(&subject(Create, "", "pods", "other")));
}

#[test]
fn labels_of_the_object_the_old_one_and_the_namespace() {
    let labelled = |label: &str| json!({"metadata": {"labels": {"tier": label}}});
    let (gold, tin) = (labelled("gold"), labelled("tin"));
    let of_objects = Rule { selector: "tier=gold".to_owned(), ..rule(&[""], &["pods"], 7) };
    let of_objects = Rules::new(&[of_objects]).unwrap();
    let matches = |objects: [Option<&Value>; 2]| {
        of_objects.matches(&Subject { objects, ..subject(Operation::Update, "", "pods", "team") })
    };
    assert!(matches([Some(&gold), Some(&tin)]));
    assert!(matches([Some(&tin), Some(&gold)]), "who takes the label away is asked about, too");
    assert!(!matches([Some(&tin), Some(&tin)]));
    assert!(!matches([Some(&json!({})), None]));

    let of_namespaces = Rule { namespace_selector: "env in (prod)".to_owned(), ..rule(&[""], &["pods"], 7) };
    let of_namespaces = Rules::new(&[of_namespaces]).unwrap();
    let in_env = |labels: Option<&[(String, String)]>| {
        let labels = || labels.map(<[_]>::to_vec);
        let asked = Subject { namespace_labels: &labels, ..subject(Operation::Create, "", "pods", "team") };
        of_namespaces.matches(&asked)
    };
    assert!(in_env(Some(&[("env".to_owned(), "prod".to_owned())])));
    assert!(!in_env(Some(&[("env".to_owned(), "test".to_owned())])));
    assert!(!in_env(Some(&[])));
    assert!(in_env(None), "an object that is in no namespace");
}

#[test]
fn rules_that_mean_nothing_are_named() {
    let said = |rules: &[Rule]| Rules::new(rules).unwrap_err().to_string();
    let good = rule(&[""], &["pods"], 1);
    assert_eq!(
        said(&[good.clone(), rule(&[], &["pods"], 1)]),
        "its rule 2: it names no group or no resource (`*` is any)"
    );
    assert_eq!(
        said(&[rule(&[""], &["pods"], 8)]),
        "its rule 1: operations are the bits 1 create, 2 update and 4 delete, not 8"
    );
    let unparseable = Rule { selector: "a in".to_owned(), ..good.clone() };
    assert!(said(&[unparseable]).starts_with("its rule 1: the selector `a in`: "));
    assert_eq!(said(&vec![good.clone(); 65]), "it has 65 rules, and 64 are the limit");
    let long = Rule { namespaces: vec!["n".repeat(70_000)], ..good };
    assert_eq!(said(&[long]), "its rules have 70004 bytes, and 65536 are the limit");
}

#[test]
fn what_a_policy_said_is_read_back_from_the_status_of_its_binding() {
    let asked = Rule {
        namespaces: vec!["team".to_owned()],
        selector: "a=b".to_owned(),
        namespace_selector: "c=d".to_owned(),
        ..rule(&["", "apps"], &["pods", "deployments"], 3)
    };
    let manifest = Manifest {
        name: "n".to_owned(),
        version: "1".to_owned(),
        mutates: Mutates::Again,
        rules: vec![asked],
    };
    let binding = json!({
        "spec": {"role": "admission", "order": -3, "failurePolicy": "Ignore"},
        "status": {"manifest": manifest.to_value()},
    });
    let bound: Bound = serde_json::from_str(&binding.to_string()).unwrap();
    assert!(bound.is_admission());
    assert_eq!((bound.order(), bound.failure_policy()), (-3, FailurePolicy::Ignore));
    let (mutates, rules) = bound.remembered().unwrap();
    let direct = Rules::new(&manifest.rules).unwrap();
    assert_eq!((mutates, format!("{rules:?}")), (Mutates::Again, format!("{direct:?}")));

    for status in [json!({}), json!({"manifest": {"name": "spread", "scores": "node-local"}})] {
        let binding = json!({"spec": {"role": "scheduler", "failurePolicy": "Default"}, "status": status});
        let bound: Bound = serde_json::from_str(&binding.to_string()).unwrap();
        assert!(!bound.is_admission() && bound.remembered().is_none());
    }
}
