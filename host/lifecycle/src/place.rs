//! Where a policy serves.

use std::fmt;

/// A kind of policy. Each is started and asked in a way of its own; how one comes and goes is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Places pods.
    Scheduler,
    /// Changes or refuses objects.
    Admission,
    /// Recommends numbers of replicas.
    Autoscaler,
}

impl RoleName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Scheduler, Self::Admission, Self::Autoscaler];

    /// As `spec.role` of a binding and the contract's worlds name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Admission => "admission",
            Self::Autoscaler => "autoscaler",
        }
    }

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that one policy serves at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which kind of policy.
    pub role: RoleName,
    /// Of a scheduler the profile: the `spec.schedulerName` of its pods. Of an autoscaler the profile that
    /// HorizontalPodAutoscalers name. Of an admission policy its binding.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            RoleName::Scheduler => write!(f, "profile {}", self.name),
            RoleName::Admission => write!(f, "admission as {}", self.name),
            RoleName::Autoscaler => write!(f, "autoscaling profile {}", self.name),
        }
    }
}
