//! The feed over a state that is written by hand.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use berth_json::json;
use berth_state::conformance::resource;
use berth_state::{Action, Change, Commit, Draft, Expect, Key, Ledger, Op, Revision, State, StoredField};

use super::{Feed, Interest, RING_CHANGES_MAX, Subscription};
use crate::Expired;

const THINGS: &str = "things.example.com";

/// Puts an object, or deletes it when it goes to no node.
type Write<'w> = (&'w str, &'w str, Option<&'w str>);

fn op(state: &State, (namespace, name, node): Write<'_>, text: &str) -> Op {
    let key = Key::new(THINGS, namespace, name);
    let expect = state.get(&key).map_or(Expect::Absent, |stored| Expect::At(stored.revision));
    let action = node.map_or(Action::Delete, |node| {
        let object = json!({"metadata": {"name": name, "uid": format!("{namespace}-{name}")}, "text": text});
        let mut draft = Draft::encode(&resource(), &object, None).unwrap();
        let field = |name: &'static str, is_indexed| StoredField {
            name: name.into(),
            value: node.into(),
            is_indexed,
        };
        draft.fields = vec![field("spec.nodeName", true), field("spec.other", false)];
        Action::Put(draft)
    });
    Op { key, expect, action }
}

/// What the writer does with a batch before it publishes it.
fn stage(state: &State, writes: &[Write<'_>], text: &str) -> (State, Vec<Arc<Change>>) {
    let ops = writes.iter().map(|write| op(state, *write, text)).collect();
    let changes = Ledger::default().stage(state, Commit { ops, ..Commit::default() }).unwrap();
    let mut next = state.clone();
    changes.iter().for_each(|change| next.publish(change.clone()));
    (next, changes)
}

fn write(feed: &Feed, writes: &[Write<'_>]) {
    let (state, changes) = stage(&feed.snapshot(), writes, "");
    feed.publish(state, &changes);
}

fn namespace(name: &str) -> Interest {
    Interest::Namespace(name.into())
}

fn object(namespace: &str, name: &str) -> Interest {
    Interest::Object(namespace.into(), name.into())
}

fn node(name: &str) -> Interest {
    Interest::Field("spec.nodeName".into(), name.into())
}

fn revisions(followed: &mut Subscription, limit: usize) -> Vec<u64> {
    followed.take(limit).unwrap().changes.iter().map(|change| change.revision.0).collect()
}

#[test]
fn everybody_sees_what_touches_his_interest_and_is_woken_for_nothing_else() {
    let batches: [&[Write<'_>]; 5] = [
        &[("a", "p", Some("")), ("b", "p", Some("m"))],
        &[("a", "p", Some("n"))],
        &[("a", "p", Some("n")), ("b", "q", Some("n"))],
        &[("a", "p", Some("m"))],
        &[("a", "p", None), ("b", "q", None)],
    ];
    let cases: [(Interest, [&[u64]; 5]); 8] = [
        (Interest::All, [&[1, 2], &[3], &[4, 5], &[6], &[7, 8]]),
        (namespace("a"), [&[1], &[3], &[4], &[6], &[7]]),
        (namespace("b"), [&[2], &[], &[5], &[], &[8]]),
        (object("a", "p"), [&[1], &[3], &[4], &[6], &[7]]),
        (object("b", "q"), [&[], &[], &[5], &[], &[8]]),
        (node(""), [&[1], &[3], &[], &[], &[]]),
        (node("n"), [&[], &[3], &[4, 5], &[6], &[8]]),
        (node("m"), [&[2], &[], &[], &[6], &[7]]),
    ];
    let feed = Feed::new(State::default());
    let mut followers: Vec<_> =
        cases.iter().map(|(interest, _)| feed.subscribe(THINGS, interest.clone())).collect();
    let others = feed.subscribe("others.example.com", Interest::All);
    for (at, batch) in batches.into_iter().enumerate() {
        write(&feed, batch);
        let upto = feed.snapshot().revision();
        for (followed, (interest, wanted)) in followers.iter_mut().zip(&cases) {
            assert_eq!(followed.has_changed(), !wanted[at].is_empty(), "{interest:?} {at}");
            assert_eq!(revisions(followed, 10), wanted[at], "{interest:?} {at}");
            assert_eq!(followed.take(10).unwrap().upto, upto, "a bookmark may say how far it was looked");
            assert!(!followed.has_changed(), "{interest:?} {at}: told of what was taken");
        }
    }
    assert!(!others.has_changed());
    for (followed, (interest, wanted)) in followers.iter_mut().zip(&cases) {
        // From the history, a bite at a time.
        followed.seek(Revision(0));
        let again: Vec<u64> = (0..9).flat_map(|_| revisions(followed, 1)).collect();
        assert_eq!(again, wanted.concat(), "{interest:?} again");
        let mut late = feed.subscribe(THINGS, interest.clone());
        assert_eq!(revisions(&mut late, 10), [0_u64; 0], "{interest:?} from now on");
        late.seek(Revision(4));
        let rest: Vec<u64> = wanted.concat().into_iter().filter(|revision| *revision > 4).collect();
        assert_eq!(revisions(&mut late, 10), rest, "{interest:?} from before it came");
    }
}

#[test]
fn who_is_behind_the_ring_misses_nothing() {
    let feed = Feed::new(State::default());
    let mut followed = feed.subscribe(THINGS, object("a", "p"));
    let rounds = RING_CHANGES_MAX as u64 + 10;
    for _ in 0..rounds {
        write(&feed, &[("a", "p", Some("n")), ("a", "q", Some("n"))]);
    }
    let wanted: Vec<u64> = (0..rounds).map(|round| 2 * round + 1).collect();
    let first = revisions(&mut followed, 7);
    assert!(followed.channel.ring().between(followed.after, Revision(2 * rounds), 1).is_none(), "behind");
    let rest = revisions(&mut followed, usize::MAX);
    assert_eq!([first, rest].concat(), wanted);
    followed.seek(Revision(2 * rounds - 5));
    assert!(followed.channel.ring().between(followed.after, Revision(2 * rounds), 1).is_some(), "not behind");
    assert_eq!(revisions(&mut followed, usize::MAX), wanted[wanted.len() - 2..]);
}

#[test]
fn what_is_forgotten_is_expired_but_for_whom_it_did_not_touch() {
    let feed = Feed::new(State::restored(Revision(10), []));
    let mut early = feed.subscribe(THINGS, namespace("a"));
    early.seek(Revision(9));
    assert_eq!(early.take(1).unwrap_err(), Expired { after: Revision(9), oldest: Revision(10) });

    write(&feed, &[("a", "quiet", Some("n"))]);
    let mut quiet = feed.subscribe(THINGS, object("a", "quiet"));
    let mut large = feed.subscribe(THINGS, object("a", "large"));
    let begin = feed.snapshot().revision();
    let text = "x".repeat(1 << 20);
    for _ in 0..90 {
        let (state, changes) = stage(&feed.snapshot(), &[("a", "large", Some("n"))], &text);
        feed.publish(state, &changes);
    }
    let oldest = feed.snapshot().complete_after_of(THINGS);
    assert!(oldest > begin, "64 MiB are kept");
    assert_eq!(large.take(10).unwrap_err(), Expired { after: begin, oldest });
    write(&feed, &[("a", "quiet", Some("m"))]);
    assert_eq!(revisions(&mut quiet, 10), [begin.0 + 91]);
}

#[test]
fn nobody_sees_a_change_before_the_state_has_it() {
    let feed = Feed::new(State::default());
    let mut followed = feed.subscribe(THINGS, namespace("a"));
    let (state, changes) = stage(&feed.snapshot(), &[("a", "p", Some("n"))], "");
    let touched = feed.channels().touch(&changes, state.revision());
    assert_eq!(touched.len(), 1);
    let taken = followed.take(10).unwrap();
    assert_eq!((taken.changes.len(), taken.upto), (0, Revision(0)));
    *feed.state.write().unwrap() = Arc::new(state);
    assert_eq!(revisions(&mut followed, 10), [1]);
}

#[test]
fn what_nobody_follows_any_more_is_not_kept() {
    let feed = Feed::new(State::default());
    let first = feed.subscribe(THINGS, node("n"));
    let second = feed.subscribe(THINGS, node("n"));
    let third = feed.subscribe(THINGS, namespace("a"));
    drop(first);
    write(&feed, &[("a", "p", Some("n"))]);
    assert!(second.has_changed() && third.has_changed());
    drop(second);
    assert_eq!(feed.channels().followed[THINGS].len(), 1);
    drop(third);
    assert!(feed.channels().followed.is_empty());
}

/// Notes who was woken.
struct Noting(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn followers_wake_in_the_order_of_the_changes_and_of_their_sleep() {
    let feed = Feed::new(State::default());
    let interests = [node("n"), object("b", "p"), node("n"), Interest::All, namespace("a"), node("n")];
    let woken = Arc::new(Mutex::new(vec![]));
    let mut followers = interests.map(|interest| feed.subscribe(THINGS, interest));
    let mut sleeps: Vec<_> = followers.iter_mut().map(|followed| Box::pin(followed.changed())).collect();
    for (number, sleep) in sleeps.iter_mut().enumerate() {
        let waker = Waker::from(Arc::new(Noting(number, woken.clone())));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    write(&feed, &[("b", "p", Some("")), ("a", "p", Some("n"))]);
    assert_eq!(*woken.lock().unwrap(), [3, 1, 4, 0, 2, 5]);
    for mut sleep in sleeps {
        assert_eq!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
    }
}

#[test]
fn a_write_before_the_sleep_is_not_slept_through() {
    let feed = Feed::new(State::default());
    let mut followed = feed.subscribe(THINGS, Interest::All);
    write(&feed, &[("a", "p", Some("n"))]);
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(followed.changed()).poll(&mut context).is_ready());
    assert!(pin!(followed.changed()).poll(&mut context).is_pending(), "each is told of once");
    assert_eq!(revisions(&mut followed, 10), [1], "and can be taken all the same");
}
