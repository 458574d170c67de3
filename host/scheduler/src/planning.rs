//! Policies that place whole batches: what they are asked, and which of their actions are carried out.

use std::collections::BTreeMap;

use berth_api::Timestamp;

use crate::decide::{Decisions, Eviction, Nomination, Scheduler, split};
use crate::fits::{eligible, explain, fits};
use crate::mirror::Known;
use crate::pods::{Place, Pods};
use crate::policy::{self, Action, Ctx, PlanQuestion, PolicyError, Verb, check_plan};
use crate::rating::Rater;

/// One pod's part of a transaction, as far as it was carried out.
struct Done {
    id: u64,
    slot: u32,
}

pub(crate) fn place_batch(
    scheduler: &mut Scheduler,
    profile: usize,
    batch: Vec<u64>,
    now: Timestamp,
    decisions: &mut Decisions,
) {
    batch.iter().for_each(|id| scheduler.give_up_nomination(*id));
    let seed = batch.first().copied().unwrap_or_default();
    let (known, at) = split(scheduler, profile);
    let Some(rater) = &mut at.rater else { return };
    match ask(rater, known, &batch, now, seed) {
        Ok(actions) => carry_out(scheduler, profile, &batch, actions, now, decisions),
        Err(error) => {
            scheduler.policy_failed(profile, error.clone(), now, decisions);
            for id in batch {
                scheduler.place_without_policy(id, profile, Some(error.clone()), now, decisions);
            }
        }
    }
}

fn ask(
    rater: &mut Rater,
    known: Known<'_>,
    batch: &[u64],
    now: Timestamp,
    seed: u64,
) -> Result<Vec<Action>, PolicyError> {
    let pods: Vec<policy::Pod> =
        batch.iter().filter_map(|id| known.pods.get(*id)).map(|pod| pod.for_policy()).collect();
    let mut classes: Vec<u32> = pods.iter().map(|pod| pod.class).collect();
    classes.sort_unstable();
    classes.dedup();
    rater.catch_up(known, &classes)?;
    let slots: Vec<u32> = (0..known.nodes.slots().next_multiple_of(64)).collect();
    let (mut feasible, mut can, mut columns, mut values) = (vec![], vec![], vec![], vec![]);
    for id in &classes {
        let class = known.classes.get(*id);
        feasible.extend(bits(&slots, |slot| known.nodes.node(slot).is_some_and(|node| fits(class, node))));
        can.extend(bits(&slots, |slot| known.nodes.node(slot).is_some_and(|node| eligible(class, node))));
        rater.mirror.class_columns(class, known.nodes, &slots, &mut values);
        columns.append(&mut values);
    }
    let question = PlanQuestion {
        ctx: Ctx { seq: rater.mirror.seq(), now_ms: now.micros().max(0) as u64 / 1000, seed },
        pods: &pods,
        classes: &classes,
        words: (slots.len() / 64) as u32,
        feasible: &feasible,
        eligible: &can,
        columns: &columns,
    };
    let mut actions = Vec::new();
    rater.policy().plan(&question, &mut actions)?;
    check_plan(&question, &actions)?;
    let reasons = rater.mirror.manifest().reasons.len();
    if let Some(action) = actions.iter().find(|action| action.reason as usize > reasons) {
        let text = format!("reason {} of {reasons}, for pod {}", action.reason, action.pod);
        return Err(PolicyError::BadAnswer(text));
    }
    Ok(actions)
}

fn bits(slots: &[u32], holds: impl Fn(u32) -> bool) -> impl Iterator<Item = u64> {
    slots.chunks(64).map(move |chunk| {
        chunk.iter().enumerate().fold(0, |word, (at, slot)| word | (u64::from(holds(*slot)) << at))
    })
}

fn carry_out(
    scheduler: &mut Scheduler,
    profile: usize,
    batch: &[u64],
    actions: Vec<Action>,
    now: Timestamp,
    decisions: &mut Decisions,
) {
    let mut transactions: BTreeMap<u32, Vec<Action>> = BTreeMap::new();
    for action in actions {
        transactions.entry(action.transaction).or_default().push(action);
    }
    let mut decided = std::collections::HashSet::new();
    for (number, actions) in transactions {
        decided.extend(actions.iter().map(|action| action.pod));
        if number == 0 {
            for action in actions {
                carry_out_transaction(
                    scheduler,
                    profile,
                    std::slice::from_ref(&action),
                    false,
                    now,
                    decisions,
                );
            }
        } else {
            carry_out_transaction(scheduler, profile, &actions, true, now, decisions);
        }
    }
    for id in batch.iter().filter(|id| !decided.contains(id)) {
        scheduler.leave(*id, "the scheduling policy left this pod waiting.".to_owned(), now, decisions);
    }
}

/// Carries out one transaction, or none of it.
fn carry_out_transaction(
    scheduler: &mut Scheduler,
    profile: usize,
    actions: &[Action],
    together: bool,
    now: Timestamp,
    decisions: &mut Decisions,
) {
    let mut attempt = Decisions::default();
    let transaction = if together {
        scheduler.transactions += 1;
        scheduler.transactions
    } else {
        0
    };
    let highest = highest_priority(&scheduler.pods, actions);
    let mut done: Vec<Done> = Vec::new();
    let mut refused = None;
    for action in actions {
        let result = match action.verb {
            Verb::Place => place(scheduler, action, transaction, &mut done, &mut attempt),
            Verb::Evict => evict(scheduler, action, highest, &mut attempt),
            Verb::Nominate => nominate(scheduler, action, &mut attempt),
            Verb::Hold | Verb::Reject => Ok(()),
        };
        if let Err(why) = result {
            refused = Some(why);
            break;
        }
    }
    if let Some(why) = refused {
        roll_back(scheduler, &done, &attempt, now);
        let batch = actions.iter().filter(|action| action.verb != Verb::Evict);
        for action in batch {
            scheduler.leave(
                action.pod,
                format!("the scheduling policy's plan was refused: {why}"),
                now,
                decisions,
            );
        }
        return;
    }
    for action in actions.iter().filter(|a| matches!(a.verb, Verb::Hold | Verb::Reject)) {
        let text = reason(scheduler, profile, action);
        scheduler.leave(action.pod, text, now, decisions);
    }
    for action in actions.iter().filter(|a| a.verb == Verb::Nominate) {
        scheduler.queue.unschedulable(action.pod, now);
    }
    decisions.placements.append(&mut attempt.placements);
    decisions.evictions.append(&mut attempt.evictions);
    decisions.nominations.append(&mut attempt.nominations);
}

fn highest_priority(pods: &Pods, actions: &[Action]) -> Option<(i32, u64)> {
    let gaining = actions.iter().filter(|action| matches!(action.verb, Verb::Place | Verb::Nominate));
    gaining.filter_map(|action| Some((pods.get(action.pod)?.priority, action.pod))).max()
}

fn place(
    scheduler: &mut Scheduler,
    action: &Action,
    transaction: u32,
    done: &mut Vec<Done>,
    attempt: &mut Decisions,
) -> Result<(), String> {
    let Some(pod) = scheduler.pods.get(action.pod) else { return Err("a pod is gone".to_owned()) };
    let class = scheduler.classes.get(pod.class);
    match scheduler.nodes.node(action.slot) {
        Some(node) if fits(class, node) => {}
        Some(node) => return Err(format!("{} does not fit on node {}.", pod.key(), node.name)),
        None => return Err(format!("{} was placed on a node that does not exist.", pod.key())),
    }
    done.push(Done { id: action.pod, slot: action.slot });
    scheduler.assume(action.pod, action.slot, transaction, attempt);
    Ok(())
}

/// A pod may be evicted for one of higher priority in the same transaction.
fn evict(
    scheduler: &Scheduler,
    action: &Action,
    highest: Option<(i32, u64)>,
    attempt: &mut Decisions,
) -> Result<(), String> {
    let Some(victim) = scheduler.pods.get(action.pod) else {
        return Err("a pod to evict is gone".to_owned());
    };
    let Some((_, preemptor)) = highest.filter(|(priority, _)| *priority > victim.priority) else {
        return Err(format!("{} would be evicted for no pod of higher priority.", victim.key()));
    };
    if !matches!(victim.place, Place::Bound(_)) || victim.stored.meta().deletion_timestamp.is_some() {
        return Err(format!("{} cannot be evicted, for it is not running or already leaving.", victim.key()));
    }
    attempt.evictions.push(Eviction {
        pod: victim.key().clone(),
        uid: victim.uid().into(),
        preemptor: scheduler.pods.get(preemptor).map(|pod| pod.key().clone()),
    });
    Ok(())
}

/// Room that will be free is kept: it counts as taken for everybody else.
fn nominate(scheduler: &mut Scheduler, action: &Action, attempt: &mut Decisions) -> Result<(), String> {
    let Some(pod) = scheduler.pods.get_mut(action.pod) else { return Err("a pod is gone".to_owned()) };
    let class = scheduler.classes.get(pod.class).clone();
    let Some(node) = scheduler.nodes.node(action.slot).filter(|node| eligible(&class, node)) else {
        return Err(format!("{} was nominated to a node it may not run on.", pod.key()));
    };
    attempt.nominations.push(Nomination {
        pod: pod.key().clone(),
        uid: pod.uid().into(),
        node: node.name.clone(),
    });
    pod.place = Place::Nominated(action.slot);
    scheduler.nodes.take(action.slot, &class);
    Ok(())
}

fn roll_back(scheduler: &mut Scheduler, done: &[Done], attempt: &Decisions, now: Timestamp) {
    for Done { id, slot } in done {
        let Some(pod) = scheduler.pods.get(*id) else { continue };
        debug_assert_eq!(pod.place, Place::Assumed(*slot));
        let (key, uid) = (pod.key().clone(), pod.uid().to_owned());
        scheduler.refused(&key, &uid, now);
    }
    for nomination in &attempt.nominations {
        if let Some(id) = scheduler.pods.find(&nomination.pod) {
            scheduler.give_up_nomination(id);
        }
    }
}

/// Why a pod waits: what the policy says; else what the nodes say, where that is the reason.
fn reason(scheduler: &Scheduler, profile: usize, action: &Action) -> String {
    let manifest = scheduler.profiles[profile].rater.as_ref().map(|rater| rater.mirror.manifest());
    let text = manifest.and_then(|m| m.reasons.get((action.reason as usize).checked_sub(1)?));
    let class = scheduler.pods.get(action.pod).map(|pod| scheduler.classes.get(pod.class));
    let fits_nowhere = class.filter(|class| !scheduler.nodes.all().any(|(_, node)| fits(class, node)));
    match (text, fits_nowhere) {
        (Some(text), _) => text.clone(),
        (None, Some(class)) => explain(class, &scheduler.nodes),
        (None, None) if action.verb == Verb::Reject => "the scheduling policy rejected this pod.".to_owned(),
        (None, None) => "the scheduling policy left this pod waiting.".to_owned(),
    }
}
