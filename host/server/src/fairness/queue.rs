//! Seats that are given to users in turn. Pure: who holds a seat or a place says so, and is told who is next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many may be served, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// At a time.
    pub(crate) seats: usize,
    /// At a time for one user.
    pub(crate) seats_of_one: usize,
    /// Waiting for a seat.
    pub(crate) places: usize,
    /// Waiting for a seat of one user.
    pub(crate) places_of_one: usize,
}

/// What becomes of somebody who comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    /// A seat is free.
    Seated,
    /// What was brought is handed out again by [`Queue::leave`] once there is a seat; the number is that of the place.
    Waits(u64),
    /// There is no place either: what was brought comes back.
    Refused(T),
}

/// Seats and places. `T` is what is handed out when a place becomes a seat.
///
/// Nobody waits for a seat that is free and that he may take: who comes finds at most one of both.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: Limits,
    users: HashMap<Arc<str>, User<T>>,
    /// The users who wait, in the order in which they are looked at.
    turns: VecDeque<Arc<str>>,
    seated: usize,
    waiting: usize,
    next_place: u64,
}

#[derive(Debug)]
struct User<T> {
    seated: usize,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Default for User<T> {
    fn default() -> Self {
        Self { seated: 0, waiting: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, users: HashMap::new(), turns: VecDeque::new(), seated: 0, waiting: 0, next_place: 0 }
    }

    /// Somebody comes.
    pub(crate) fn enter(&mut self, name: &Arc<str>, brought: T) -> Entry<T> {
        let Limits { seats, seats_of_one, places, places_of_one } = self.limits;
        let user = self.users.entry(name.clone()).or_default();
        if self.seated < seats && user.seated < seats_of_one {
            user.seated += 1;
            self.seated += 1;
            return Entry::Seated;
        }
        if self.waiting >= places || user.waiting.len() >= places_of_one {
            self.forget(name);
            return Entry::Refused(brought);
        }
        if user.waiting.is_empty() {
            self.turns.push_back(name.clone());
        }
        let place = self.next_place;
        user.waiting.push_back((place, brought));
        self.next_place += 1;
        self.waiting += 1;
        Entry::Waits(place)
    }

    /// A seat becomes free. Returns what the one brought who has it now.
    pub(crate) fn leave(&mut self, name: &Arc<str>) -> Option<T> {
        let user = self.users.get_mut(name)?;
        user.seated = user.seated.saturating_sub(1);
        self.seated = self.seated.saturating_sub(1);
        let next = self.seat_next();
        self.forget(name);
        next
    }

    /// Somebody does not want to wait any longer. False when the place has become a seat, which is then to be left.
    pub(crate) fn give_up(&mut self, name: &Arc<str>, place: u64) -> bool {
        let Some(user) = self.users.get_mut(name) else { return false };
        let Some(at) = user.waiting.iter().position(|(here, _)| *here == place) else { return false };
        user.waiting.remove(at);
        self.waiting -= 1;
        if user.waiting.is_empty() {
            self.turns.retain(|other| other != name);
        }
        self.forget(name);
        true
    }

    /// The first user in turn who may have a seat gets it, and goes to the end.
    fn seat_next(&mut self) -> Option<T> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let user = self.users.get_mut(&name)?;
            if user.seated >= self.limits.seats_of_one {
                self.turns.push_back(name);
                continue;
            }
            let (_, brought) = user.waiting.pop_front()?;
            user.seated += 1;
            self.seated += 1;
            self.waiting -= 1;
            if !user.waiting.is_empty() {
                self.turns.push_back(name);
            }
            return Some(brought);
        }
        None
    }

    fn forget(&mut self, name: &Arc<str>) {
        if self.users.get(name).is_some_and(|user| user.seated == 0 && user.waiting.is_empty()) {
            self.users.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { seats: 2, seats_of_one: 1, places: 4, places_of_one: 3 };

    /// Plays a script: `+a1` somebody of user a comes and brings 1, `-a` one of a leaves, `~a0` place 0 of a is given
    /// up. Each step says what came of it.
    fn played(limits: Limits, script: &str) -> String {
        let mut queue: Queue<char> = Queue::new(limits);
        let steps = script.split(' ').map(|step| {
            let mut chars = step.chars();
            let (what, user) = (chars.next().unwrap(), chars.next().unwrap().to_string());
            let user: Arc<str> = user.into();
            match what {
                '+' => match queue.enter(&user, chars.next().unwrap()) {
                    Entry::Seated => "seat".to_owned(),
                    Entry::Waits(place) => place.to_string(),
                    Entry::Refused(_) => "no".to_owned(),
                },
                '-' => queue.leave(&user).map_or("nobody".to_owned(), String::from),
                _ => queue.give_up(&user, chars.as_str().parse().unwrap()).to_string(),
            }
        });
        steps.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scripts() {
        for (what, script, expected) in [
            ("seats of one are few", "+a1 +a2 +b1", "seat 0 seat"),
            ("a free seat is taken by whom it is for", "+a1 +a2 -a", "seat 0 2"),
            ("places of one are few", "+a1 +a2 +a3 +a4 +a5", "seat 0 1 2 no"),
            ("places are few", "+a1 +a2 +a3 +a4 +b1 +b2 +c1 +c2", "seat 0 1 2 seat 3 no no"),
            (
                "users come in turn",
                "+a1 +b1 +a2 +a3 +c1 +c2 -a -b -a -c -c",
                "seat seat 0 1 2 3 2 1 3 2 nobody",
            ),
            ("who gave up is passed over", "+a1 +a2 +a3 ~a0 -a -a", "seat 0 1 true 3 nobody"),
            ("who has a seat cannot give up", "+a1 +a2 -a ~a0", "seat 0 2 false"),
            ("nothing is left behind", "+a1 -a +a1 -a", "seat nobody seat nobody"),
            ("who left is not there", "-a +a1", "nobody seat"),
        ] {
            assert_eq!(played(LIMITS, script), expected, "{what}: {script}");
        }
    }

    #[test]
    fn a_crowd_of_one_user_delays_nobody_else_by_more_than_a_seat() {
        let limits = Limits { seats: 4, seats_of_one: 4, places: 1000, places_of_one: 500 };
        let mut queue = Queue::new(limits);
        let (crowd, other): (Arc<str>, Arc<str>) = ("crowd".into(), "other".into());
        for at in 0..400 {
            assert_eq!(queue.enter(&crowd, "crowd") == Entry::Seated, at < limits.seats);
        }
        assert!(matches!(queue.enter(&other, "other"), Entry::Waits(_)));
        let until = (0..).find(|_| queue.leave(&crowd) == Some("other"));
        assert!(until <= Some(1), "{until:?}");
    }

    #[test]
    fn a_refused_user_is_forgotten() {
        let mut queue = Queue::new(Limits { seats: 0, seats_of_one: 0, places: 0, places_of_one: 0 });
        for at in 0..1000 {
            assert_eq!(queue.enter(&at.to_string().into(), at), Entry::Refused(at));
        }
        assert!(queue.users.is_empty());
    }
}
