//! Whether a pod may run on a node: the hard constraints, checked natively before a policy is asked and again before
//! its answer is believed.

use std::fmt::Write;
use std::sync::LazyLock;

use berth_api::views::{Expression, Taint, Term};

use crate::class::Class;
use crate::nodes::{Node, Nodes};
use crate::quantities::PODS;

/// Why a node does not do for a class, in kube-scheduler's words.
pub(crate) type Reason = String;

/// Whether a pod of the class fits on the node as it is now.
pub(crate) fn fits(class: &Class, node: &Node) -> bool {
    room(class, node) && ports_free(class, node) && eligible(class, node)
}

/// Whether it would fit if enough of the node's pods left: everything but resources and ports.
pub(crate) fn eligible(class: &Class, node: &Node) -> bool {
    schedulable(class, node) && untolerated_taint(class, node).is_none() && affine(class, node)
}

fn room(class: &Class, node: &Node) -> bool {
    class.requests.iter().all(|(dimension, amount)| {
        let dimension = usize::from(*dimension);
        node.requested(dimension).saturating_add(*amount) <= node.allocatable(dimension)
    })
}

fn ports_free(class: &Class, node: &Node) -> bool {
    class.ports.iter().all(|wanted| !node.ports().iter().any(|taken| taken.conflicts(wanted)))
}

/// The toleration of `node.kubernetes.io/unschedulable` lets a pod onto a cordoned node.
fn schedulable(class: &Class, node: &Node) -> bool {
    !node.unschedulable || class.tolerations.iter().any(|toleration| toleration.tolerates(&CORDONED))
}

/// What a cordoned node is to a pod, whether or not it carries the taint yet.
static CORDONED: LazyLock<Taint> = LazyLock::new(|| Taint {
    key: "node.kubernetes.io/unschedulable".into(),
    value: "".into(),
    effect: "NoSchedule".into(),
    time_added: None,
});

fn untolerated_taint<'a>(class: &Class, node: &'a Node) -> Option<&'a Taint> {
    node.taints.iter().find(|taint| {
        matches!(&*taint.effect, "NoSchedule" | "NoExecute")
            && !class.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    })
}

/// How many `PreferNoSchedule` taints of the node the class does not tolerate.
pub(crate) fn taints_to_avoid(class: &Class, node: &Node) -> i32 {
    let soft = node.taints.iter().filter(|taint| &*taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !class.tolerations.iter().any(|toleration| toleration.tolerates(taint))).count()
        as i32
}

/// The sum of the weights of the preferred node affinity terms that the node matches.
pub(crate) fn affinity_weight(class: &Class, node: &Node) -> i32 {
    class.preferred.iter().filter(|(_, term)| term_matches(term, node)).map(|(weight, _)| weight).sum()
}

fn affine(class: &Class, node: &Node) -> bool {
    let selected = class.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = class.affinity.as_ref();
    selected && required.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &Term, node: &Node) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let labels = term.match_expressions.iter().all(|e| holds(e, node.labels.get(&e.key)));
    let name = |e: &Expression| (&*e.key == "metadata.name").then_some(&*node.name);
    labels && term.match_fields.iter().all(|e| holds(e, name(e)))
}

fn holds(expression: &Expression, value: Option<&str>) -> bool {
    let listed = |value: &str| expression.values.iter().any(|v| **v == *value);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = expression.values.first().and_then(|v| number(v));
    match (&*expression.operator, value) {
        ("In", Some(value)) => listed(value),
        ("NotIn", Some(value)) => !listed(value),
        ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
        ("Gt", Some(value)) => number(value).zip(bound).is_some_and(|(value, bound)| value > bound),
        ("Lt", Some(value)) => number(value).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Why the class does not fit on the node; the first kind of trouble, as kube-scheduler's filters find it.
fn reasons(class: &Class, node: &Node, nodes: &Nodes) -> Vec<Reason> {
    if !schedulable(class, node) {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    if let Some(taint) = untolerated_taint(class, node) {
        return vec![format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value)];
    }
    if !affine(class, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
    }
    if !ports_free(class, node) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    let short = class.requests.iter().filter(|(dimension, amount)| {
        let dimension = usize::from(*dimension);
        node.requested(dimension).saturating_add(*amount) > node.allocatable(dimension)
    });
    short
        .map(|(dimension, _)| match usize::from(*dimension) {
            PODS => "Too many pods".to_owned(),
            dimension => format!("Insufficient {}", nodes.dimensions.names()[dimension]),
        })
        .collect()
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
pub(crate) fn explain(class: &Class, nodes: &Nodes) -> String {
    if nodes.len() == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counts = std::collections::BTreeMap::<Reason, usize>::new();
    for (_, node) in nodes.all() {
        for reason in reasons(class, node, nodes) {
            *counts.entry(reason).or_default() += 1;
        }
    }
    let mut parts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    let mut text = format!("0/{} nodes are available", nodes.len());
    if !parts.is_empty() {
        let _ = write!(text, ": {}", parts.join(", ")); // writing to a String cannot fail
    }
    text.push('.');
    text
}
