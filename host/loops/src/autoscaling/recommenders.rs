//! Which autoscaling policies run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_autoscale::Recommender;
use berth_scheduler::Failover;
use tokio::sync::Notify;

use super::DEFAULT_PROFILE;

/// The autoscaling policies that run in this server, by profile. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Recommenders(Arc<Shared>);

#[derive(Default)]
struct Shared {
    profiles: Mutex<BTreeMap<String, Profile>>,
    changed: Notify,
}

#[derive(Default)]
struct Profile {
    serving: Option<Serving>,
    failover: Failover,
}

/// A policy that serves.
#[derive(Clone)]
pub(super) struct Serving {
    /// The number under which its failures are reported.
    pub(super) installation: u64,
    pub(super) recommender: Arc<dyn Recommender>,
}

impl Recommenders {
    /// From now on this policy is asked; calls of the one before it end by themselves. Returns that one, which may take its time
    /// to go.
    pub fn install(
        &self,
        profile: &str,
        installation: u64,
        recommender: Arc<dyn Recommender>,
    ) -> Option<Arc<dyn Recommender>> {
        let serving = Serving { installation, recommender };
        let before = self.profiles().entry(profile.to_owned()).or_default().serving.replace(serving);
        self.0.changed.notify_one();
        before.map(|before| before.recommender)
    }

    /// Leaves a profile to its failover, if it still has the policy of that installation, which is returned.
    pub fn uninstall(&self, profile: &str, installation: u64) -> Option<Arc<dyn Recommender>> {
        let mut profiles = self.profiles();
        let serving = &mut profiles.get_mut(profile)?.serving;
        let gone = serving.take_if(|serving| serving.installation == installation);
        gone.map(|gone| gone.recommender)
    }

    /// Says what serves a profile without a working policy: the default profile's, or none, so that replicas stay as they are.
    pub fn set_failover(&self, profile: &str, failover: Failover) {
        self.profiles().entry(profile.to_owned()).or_default().failover = failover;
        self.0.changed.notify_one();
    }

    /// Who is asked for a profile; what is to be done when that is nobody.
    pub(super) fn of(&self, profile: &str) -> Result<Serving, String> {
        let profiles = self.profiles();
        let asked = profiles.get(profile);
        if let Some(serving) = asked.and_then(|profile| profile.serving.as_ref()) {
            return Ok(serving.clone());
        }
        // A profile that nobody has bound anything to is more likely a slip than a wish.
        let may_fall_back = asked.is_some_and(|asked| asked.failover == Failover::Builtin);
        let default = profiles.get(DEFAULT_PROFILE).and_then(|profile| profile.serving.as_ref());
        default.filter(|_| may_fall_back).cloned().ok_or_else(|| {
            format!(
                "no autoscaling policy serves the profile {profile:?}, and the replicas stay as they are: bind a \
                 plugin to it (a PluginBinding with role autoscaler)"
            )
        })
    }

    /// Waits until a profile may have another policy.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn profiles(&self) -> MutexGuard<'_, BTreeMap<String, Profile>> {
        self.0.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use berth_autoscale::{Manifest, PolicyError, Question, Recommendation};

    use super::*;

    struct Nobody(Manifest);

    impl Recommender for Nobody {
        fn manifest(&self) -> &Manifest {
            &self.0
        }

        fn recommend(&self, _: &Question) -> Result<Recommendation, PolicyError> {
            Err(PolicyError::Failed("it was not to be asked".to_owned()))
        }
    }

    fn nobody() -> Arc<dyn Recommender> {
        let (window, step) = (Duration::ZERO, Duration::from_secs(15));
        Arc::new(Nobody(Manifest { name: String::new(), version: String::new(), window, step }))
    }

    #[test]
    fn a_profile_has_its_own_policy_or_as_it_wishes_that_of_the_default() {
        let recommenders = Recommenders::default();
        let asked = |profile: &str| recommenders.of(profile).map(|serving| serving.installation).ok();
        assert_eq!(asked("default"), None);
        recommenders.install("default", 1, nobody());
        assert_eq!((asked("default"), asked("other")), (Some(1), None));
        recommenders.install("other", 2, nobody());
        assert!(recommenders.uninstall("other", 1).is_none(), "that is another one's");
        assert_eq!(asked("other"), Some(2));
        recommenders.set_failover("other", Failover::Hold);
        assert!(recommenders.uninstall("other", 2).is_some());
        assert_eq!(asked("other"), None);
        recommenders.set_failover("other", Failover::Builtin);
        assert_eq!(asked("other"), Some(1));
        assert!(recommenders.install("default", 3, nobody()).is_some());
        assert_eq!(asked("other"), Some(3));
    }
}
