//! One place: what should serve it, what does, and what becomes of failures.

use berth_api::Timestamp;
use berth_json::Value;
use berth_scheduler::Failover;

use crate::components::Components;
use crate::effect::{Failure, Harm, StartFailure};
use crate::failures::Failures;
use crate::objects::{Binding, FailurePolicy, Version};

/// A version that has served so long is good, whatever it did before: kubelet, too, forgets a container's crashes after ten
/// minutes.
const HEALTHY_MS: i64 = 600_000;
/// Unusable answers within [`BAD_WINDOW_MS`] that count as a failure: each leaves a pod to the failover, and a policy that
/// gives them again and again decides nothing.
const BAD_ANSWERS_MAX: u32 = 5;
/// After so long without an unusable answer the policy is well again.
const BAD_WINDOW_MS: i64 = 60_000;

/// A version that may serve, and what it did so far.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) version: Version,
    pub(crate) trouble: Option<Trouble>,
    failures: Failures,
}

/// What went wrong with a version last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It did not start, and will not.
    Refused(String),
    /// It did not start.
    NotStarted(String),
    /// It failed while it served.
    Fell(String),
}

/// A policy that decides.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) installation: u64,
    pub(crate) candidate: Candidate,
    /// What the policy says of itself.
    pub(crate) manifest: Value,
    since: Timestamp,
    bad: BadAnswers,
}

/// Unusable answers of late.
#[derive(Clone, Debug, Default)]
struct BadAnswers {
    count: u32,
    first: Timestamp,
    last: Option<(Timestamp, String)>,
}

/// A policy that is being started. There is one at a time, so that none overtakes another.
#[derive(Clone, Debug)]
pub(crate) struct Starting {
    pub(crate) installation: u64,
    candidate: Candidate,
    is_cancelled: bool,
    /// Its failure, when the report of that overtook the report that it serves.
    failure: Option<Failure>,
}

/// The binding that a place follows.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) name: String,
    uid: String,
    failure_policy: FailurePolicy,
}

/// What a place needs done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Start(Version),
    CancelStart(u64),
    Uninstall(u64),
}

/// What is to be told after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A policy failed, or answered nonsense.
    Failed { why: String },
    /// It gave too many unusable answers, and must be put aside.
    PutAside { installation: u64 },
    /// The version that served before it is to serve again.
    RolledBack { plugin: String },
}

/// What is known of a place.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) owner: Option<Owner>,
    /// What the binding asks for, or why it asks for nothing that exists.
    pub(crate) wanted: Result<Candidate, String>,
    /// What to go back to.
    good: Option<Candidate>,
    /// The version that failed and is left alone until the binding asks for another, and how it failed.
    condemned: Option<(Version, String)>,
    pub(crate) serving: Option<Serving>,
    pub(crate) starting: Option<Starting>,
    pub(crate) swaps: i64,
    last_digest: Option<String>,
    last_version: Option<Version>,
}

impl Candidate {
    fn new(version: Version) -> Self {
        Self { version, trouble: None, failures: Failures::default() }
    }

    /// Whether it may be started now, as far as its past goes.
    fn may_start(&self, now: Timestamp) -> bool {
        !matches!(self.trouble, Some(Trouble::Refused(_))) && self.failures.may_retry(now)
    }

    fn retry_at(&self) -> Option<Timestamp> {
        if matches!(self.trouble, Some(Trouble::Refused(_))) { None } else { self.failures.retry_at() }
    }

    fn did_not_start(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Refused(_) | Trouble::NotStarted(_)))
    }
}

impl Served {
    pub(crate) fn new() -> Self {
        Self {
            owner: None,
            wanted: Err(String::new()),
            good: None,
            condemned: None,
            serving: None,
            starting: None,
            swaps: 0,
            last_digest: None,
            last_version: None,
        }
    }

    /// The binding is this, and asks for this version.
    pub(crate) fn bind(&mut self, binding: &Binding, wanted: Result<Version, String>) {
        let before = self.owner.as_ref().filter(|owner| owner.uid == binding.uid);
        if before.is_some_and(|owner| owner.failure_policy != binding.failure_policy) {
            self.condemned = None; // that it was left alone was the policy's doing
        }
        if before.is_none() {
            let memory = binding.memory.clone();
            self.wanted = Err(String::new());
            self.good = memory.last_good.map(Candidate::new);
            self.condemned = memory.failed;
            self.swaps = memory.swaps;
            self.last_digest = memory.digest;
            self.last_version = None;
        }
        self.owner = Some(Owner {
            name: binding.name.clone(),
            uid: binding.uid.clone(),
            failure_policy: binding.failure_policy,
        });
        match wanted {
            Ok(version) if self.wanted.as_ref().is_ok_and(|before| before.version == version) => {}
            Ok(version) => {
                self.condemned = self.condemned.take().filter(|(failed, _)| *failed == version);
                self.wanted = Ok(self.known(&version).cloned().unwrap_or_else(|| Candidate::new(version)));
            }
            Err(why) => self.wanted = Err(why),
        }
    }

    /// There is no binding any more.
    pub(crate) fn unbind(&mut self) {
        let Self { serving, starting, .. } = std::mem::replace(self, Self::new());
        (self.serving, self.starting) = (serving, starting);
    }

    /// What serves the place while no policy of its own does.
    pub(crate) fn failover(&self) -> Failover {
        self.owner.as_ref().map_or(Failover::Builtin, |owner| owner.failure_policy.failover())
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_over(&self) -> bool {
        self.owner.is_none() && self.serving.is_none() && self.starting.is_none()
    }

    /// The versions whose components must be at hand.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        let candidates = self.wanted.iter().chain(&self.good);
        let running = self.serving.iter().map(|serving| &serving.candidate);
        let running = running.chain(self.starting.iter().map(|starting| &starting.candidate));
        candidates.chain(running).map(|candidate| &candidate.version)
    }

    /// How the version that is asked for failed, if it is left alone for that.
    pub(crate) fn condemned(&self) -> Option<&str> {
        let wanted = self.wanted.as_ref().ok()?;
        self.condemned.as_ref().filter(|(version, _)| *version == wanted.version).map(|(_, why)| why.as_str())
    }

    /// What the status remembers: the version to go back to, and the one that is left alone.
    pub(crate) fn memory(&self) -> (Option<&Version>, Option<&(Version, String)>) {
        let serving = self.serving.as_ref().filter(|_| !self.wanted_serves()).map(|s| &s.candidate);
        (serving.or(self.good.as_ref()).map(|candidate| &candidate.version), self.condemned.as_ref())
    }

    pub(crate) fn wanted_serves(&self) -> bool {
        matches!((&self.wanted, &self.serving), (Ok(wanted), Some(s)) if wanted.version == s.candidate.version)
    }

    /// The last unusable answer, while it is not long ago.
    pub(crate) fn bad_answer(&self, now: Timestamp) -> Option<&str> {
        let (at, why) = self.serving.as_ref()?.bad.last.as_ref()?;
        (now.millis_since(*at) < BAD_WINDOW_MS).then_some(why)
    }

    /// What is to be done next; called again after every event.
    pub(crate) fn next(&self, components: &Components, now: Timestamp) -> Option<Move> {
        if let Some(Starting { installation, candidate, is_cancelled, .. }) = &self.starting {
            let is_meant = self.choices(components).any(|choice| choice.version == candidate.version);
            return (!is_meant && !is_cancelled).then_some(Move::CancelStart(*installation));
        }
        let served = self.serving.as_ref().map(|serving| &serving.candidate.version);
        if self.owner.is_none() {
            return self.serving.as_ref().map(|serving| Move::Uninstall(serving.installation));
        }
        let is_ready =
            |choice: &&Candidate| components.is_kept(&choice.version.component) && choice.may_start(now);
        let mut choices = self.choices(components);
        let wanted = choices.next_if(|_| self.is_wanted_a_choice());
        if let Some(wanted) = wanted.filter(|choice| served != Some(&choice.version)).filter(is_ready) {
            return Some(Move::Start(wanted.version.clone()));
        }
        choices
            .next()
            .filter(|_| served.is_none())
            .filter(is_ready)
            .map(|good| Move::Start(good.version.clone()))
    }

    fn is_wanted_a_choice(&self) -> bool {
        self.owner.is_some() && self.wanted.is_ok() && self.condemned().is_none()
    }

    /// The versions that may be started: the one that is asked for, and the last good one where that does not come to serve.
    fn choices<'a>(
        &'a self,
        components: &Components,
    ) -> std::iter::Peekable<impl Iterator<Item = &'a Candidate>> {
        let wanted = self.wanted.as_ref().ok();
        let falls_back = self.owner.is_some()
            && wanted.is_none_or(|wanted| {
                let is_unloadable = components.failure(&wanted.version.component).is_some();
                self.condemned().is_some() || wanted.did_not_start() || is_unloadable
            });
        let other = self.good.as_ref().filter(|good| wanted.is_none_or(|w| w.version != good.version));
        let wanted = wanted.filter(|_| self.is_wanted_a_choice());
        wanted.into_iter().chain(other.filter(|_| falls_back)).peekable()
    }

    pub(crate) fn starting(&mut self, installation: u64, version: &Version) {
        let candidate = self.known(version).cloned().unwrap_or_else(|| Candidate::new(version.clone()));
        self.starting = Some(Starting { installation, candidate, is_cancelled: false, failure: None });
    }

    pub(crate) fn cancelled(&mut self) {
        if let Some(starting) = &mut self.starting {
            starting.is_cancelled = true;
        }
    }

    pub(crate) fn put_aside(&mut self) {
        self.serving = None;
    }

    /// The start under way has ended well: this version serves. Its failure, when it has failed already.
    pub(crate) fn started(&mut self, manifest: Value, now: Timestamp) -> Option<(Version, Option<Failure>)> {
        let Starting { installation, mut candidate, failure, .. } = self.starting.take()?;
        candidate.trouble = None;
        let version = candidate.version.clone();
        self.remember(candidate.clone());
        let serving = Serving { installation, candidate, manifest, since: now, bad: BadAnswers::default() };
        let before = self.serving.replace(serving).map(|serving| serving.candidate);
        if let Some(before) = before.filter(|before| before.version != version && self.wanted_serves()) {
            self.good = Some(before);
        }
        let is_new = match &self.last_version {
            Some(last) => *last != version,
            None => self.last_digest.as_ref() != Some(&version.component.digest),
        };
        self.swaps += i64::from(is_new);
        self.last_version = Some(version.clone());
        Some((version, failure))
    }

    /// The start under way has ended without a policy. What is to be told, of which version.
    pub(crate) fn not_started(&mut self, why: StartFailure, now: Timestamp) -> Option<(Version, String)> {
        let Starting { mut candidate, .. } = self.starting.take()?;
        let text = match why {
            StartFailure::Cancelled => return None,
            StartFailure::Refused(why) => {
                candidate.trouble = Some(Trouble::Refused(why.clone()));
                why
            }
            StartFailure::Failed(why) => {
                candidate.failures.add(now);
                // What fell while it served goes the way its failure policy says, not back to another version.
                candidate.trouble = Some(match candidate.trouble {
                    Some(Trouble::Fell(_)) => Trouble::Fell(why.clone()),
                    _ => Trouble::NotStarted(why.clone()),
                });
                why
            }
        };
        let version = candidate.version.clone();
        self.remember(candidate);
        Some((version, text))
    }

    /// An installation of this place has failed.
    pub(crate) fn failed(&mut self, failure: Failure, now: Timestamp) -> Vec<News> {
        let mut news = vec![News::Failed { why: failure.why.clone() }];
        let Some(serving) = &mut self.serving else { return news };
        let mut why = failure.why;
        if failure.harm == Harm::Passing {
            serving.bad.last = Some((now, why));
            return news;
        }
        if failure.harm == Harm::Unusable {
            let count = serving.bad.add(now, failure.count, &why);
            if count < BAD_ANSWERS_MAX {
                return news;
            }
            news.push(News::PutAside { installation: serving.installation });
            why = format!("{why}; {count} such answers within {} s", BAD_WINDOW_MS / 1000);
        }
        let Some(Serving { mut candidate, since, .. }) = self.serving.take() else { return news };
        if now.millis_since(since) >= HEALTHY_MS {
            candidate.failures.forget();
        }
        candidate.failures.add(now);
        candidate.trouble = Some(Trouble::Fell(why.clone()));
        let version = candidate.version.clone();
        let is_wanted = self.wanted.as_ref().is_ok_and(|wanted| wanted.version == version);
        if !self.remember(candidate.clone()) {
            self.good = Some(candidate); // it served until now, whatever was asked for
        }
        let goes_back = self.owner.as_ref().is_some_and(|o| o.failure_policy == FailurePolicy::LastGood);
        let good = self.good.as_ref().filter(|good| good.version != version);
        if let Some(good) = good.filter(|_| is_wanted && goes_back) {
            news.push(News::RolledBack { plugin: good.version.plugin.clone() });
            self.condemned = Some((version, why));
        }
        news
    }

    /// Keeps the report of a failure that overtook the report of the start.
    pub(crate) fn failed_early(&mut self, failure: Failure) {
        if let Some(starting) = &mut self.starting
            && starting.failure.as_ref().is_none_or(|before| before.harm < Harm::Ended)
        {
            starting.failure = Some(failure);
        }
    }

    /// What has served for long without a failure is good.
    pub(crate) fn age(&mut self, now: Timestamp) {
        let is_wanted = self.wanted_serves();
        let Some(serving) = self.serving.as_mut().filter(|s| now.millis_since(s.since) >= HEALTHY_MS) else {
            return;
        };
        serving.candidate.failures.forget();
        let candidate = serving.candidate.clone();
        if is_wanted {
            self.good = Some(candidate.clone());
        }
        self.remember(candidate);
    }

    /// When time alone changes something.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let served = self.serving.as_ref().map(|serving| &serving.candidate.version);
        let waiting = self.wanted.iter().chain(&self.good).filter(|c| Some(&c.version) != served);
        let retries = waiting.filter_map(Candidate::retry_at);
        let serving = self.serving.as_ref();
        let healthy = serving.map(|serving| serving.since.plus_millis(HEALTHY_MS));
        let well = serving.and_then(|serving| Some(serving.bad.last.as_ref()?.0.plus_millis(BAD_WINDOW_MS)));
        retries.chain(healthy).chain(well).filter(|at| *at > now).min()
    }

    fn known(&self, version: &Version) -> Option<&Candidate> {
        let running = self.serving.as_ref().map(|serving| &serving.candidate);
        self.wanted.iter().chain(&self.good).chain(running).find(|candidate| candidate.version == *version)
    }

    /// Writes down what is known of a version wherever it stands; whether it stands anywhere.
    fn remember(&mut self, candidate: Candidate) -> bool {
        let places = self.wanted.iter_mut().chain(&mut self.good);
        let same = places.filter(|place| place.version == candidate.version);
        same.map(|place| *place = candidate.clone()).count() > 0
    }
}

impl BadAnswers {
    /// How many there were of late, with these.
    fn add(&mut self, now: Timestamp, count: u32, why: &str) -> u32 {
        if self.count == 0 || now.millis_since(self.first) >= BAD_WINDOW_MS {
            (self.first, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(count.max(1));
        self.last = Some((now, why.to_owned()));
        self.count
    }
}
