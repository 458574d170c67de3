//! What a pod's worker knows of its pod: the second argument of [`crate::pod::converge::converge`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_api::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::container::termination::Termination;
use crate::manifest::{Container, Pod, RestartPolicy};

/// A pod's present state on this node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Observed {
    /// Network and shim.
    pub(crate) sandbox: Part,
    /// The pod's address, once it has one; kept after the sandbox is gone, as `status.podIP` is.
    pub(crate) ip: Option<Ipv4Addr>,
    /// Volumes and the files that every container gets.
    pub(crate) volumes: Part,
    /// By name.
    pub(crate) containers: BTreeMap<String, Record>,
    /// The init containers have all succeeded in this sandbox.
    pub(crate) initialized: bool,
    /// When this node first took care of the pod.
    pub(crate) started_at: Option<Timestamp>,
    /// Why this node would not begin with it.
    pub(crate) refusal: Option<Refusal>,
    /// The node ends the pod for a reason of its own.
    pub(crate) failure: Option<PodFailure>,
    /// Somebody has deleted it, and it waits for this node.
    pub(crate) deletion: Option<Deletion>,
    /// The API object is gone without having waited for this node.
    pub(crate) vanished: Option<Moment>,
    /// Directories and logs.
    pub(crate) remains: Remains,
}

/// Why the node ends a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodFailure {
    pub(crate) reason: FailureReason,
    /// One sentence.
    pub(crate) message: String,
    /// By then its containers have ended.
    #[serde(default)]
    pub(crate) deadline: Moment,
}

/// Why a node does not run a pod at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: FailureReason,
    /// One sentence.
    pub(crate) message: String,
}

/// Why a node ends a pod, or does not begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureReason {
    /// It was active for as long as it may be.
    DeadlineExceeded,
    /// It has written more than it may.
    Evicted,
    /// It asks for a kernel parameter that is not for pods.
    SysctlForbidden,
    /// It asks for a profile that nobody would enforce.
    AppArmor,
}

impl FailureReason {
    /// As status and events have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            FailureReason::DeadlineExceeded => "DeadlineExceeded",
            FailureReason::Evicted => "Evicted",
            FailureReason::SysctlForbidden => "SysctlForbidden",
            FailureReason::AppArmor => "AppArmor",
        }
    }

    /// Whether nothing of the pod was ever begun.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, FailureReason::SysctlForbidden | FailureReason::AppArmor)
    }
}

/// The deletion of a pod, as this node has learned of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    /// What its containers were given, in seconds.
    pub(crate) grace_seconds: i64,
    /// By then they have ended. Counted here since it was learned: the API's own time stamp is of the server's clock, and
    /// cut to whole seconds.
    pub(crate) deadline: Moment,
}

/// Something the pod needs as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Part {
    /// Not there.
    #[default]
    Absent,
    /// Being made.
    Making,
    /// There.
    Ready,
    /// Could not be made; try again then.
    Failed {
        /// One sentence.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// Being taken away.
    Removing,
    /// Could not be taken away, or is broken and must be: try then.
    Broken {
        /// When to try.
        retry_at: Timestamp,
    },
}

/// What an ended pod leaves on the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Everything is still there.
    #[default]
    Present,
    /// Being removed.
    Removing,
    /// Could not be removed; try again then.
    Stuck(Timestamp),
    /// Nothing is left; the API may forget the pod.
    Gone,
    /// The API is being told.
    Deleting,
    /// The API would not listen; try again then.
    Refused(Timestamp),
    /// All done: the worker can end.
    Done,
}

/// One container of the spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    /// How often it was started before the present instance: `restartCount`.
    pub(crate) attempt: u32,
    pub(crate) phase: Phase,
    /// How the instance before the present one ended.
    pub(crate) last: Option<Termination>,
    pub(crate) image: ImageState,
    /// Of the present instance, or the last one: what `status.image` and `imageID` show.
    pub(crate) image_ref: String,
    pub(crate) image_id: String,
    /// Restarts.
    pub(crate) backoff: Backoff,
    /// Failures before a container exists: image, configuration, creation.
    pub(crate) image_backoff: Backoff,
}

/// Where a container is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Phase {
    /// Not started yet, or not again.
    #[default]
    Waiting,
    /// It could not be created; try again then.
    Blocked {
        /// `CreateContainerConfigError`, `CreateContainerError`.
        reason: &'static str,
        message: String,
        retry_at: Timestamp,
    },
    /// The runtime is starting it.
    Starting,
    Running(Running),
    Exited(Termination),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) started_at: Timestamp,
    /// The postStart hook is done, or there is none.
    pub(crate) hooked: bool,
    /// The startup probe has succeeded, or there is none.
    pub(crate) started: bool,
    /// The readiness probe succeeds, or there is none.
    pub(crate) ready: bool,
    /// Why it must be killed although the pod goes on (a liveness or startup probe, a hook).
    pub(crate) unhealthy: Option<Unhealthy>,
    /// It has been told to end.
    pub(crate) stop: Option<Stop>,
}

/// Why a container must be killed and started anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unhealthy {
    /// For the event: `Container web failed liveness probe, will be restarted`.
    pub(crate) message: String,
    /// Instead of the pod's grace period, in seconds.
    pub(crate) grace_seconds: Option<i64>,
}

/// A container that is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// When it was told.
    pub(crate) begun_at: Moment,
    /// When it is killed; once it has been, when it is killed again.
    pub(crate) kill_at: Moment,
    pub(crate) stage: StopStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopStage {
    /// The preStop hook runs.
    Hook,
    /// The hook is done: the signal is due.
    Due,
    /// It has its stop signal.
    Signalled,
    /// It has its stop signal, and a moment although its time is over: its hook has taken all of it.
    Overdue,
    /// It has SIGKILL.
    Killed,
}

/// Where a container's image is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum ImageState {
    /// To be looked for.
    #[default]
    Unknown,
    /// Being looked for or pulled.
    Resolving {
        /// How the pull before failed, if it did: it is shown until this one has succeeded.
        failed: Option<String>,
    },
    /// On the node.
    Present,
    /// Not to be had; try again then, if ever.
    Failed {
        /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
        reason: &'static str,
        message: String,
        failed_at: Timestamp,
        retry_at: Timestamp,
    },
}

impl Observed {
    /// A pod that is new to this node.
    pub(crate) fn new(pod: &Pod, now: Timestamp) -> Observed {
        let containers =
            pod.containers().map(|container| (container.name.clone(), Record::default())).collect();
        Observed { containers, started_at: Some(now), ..Observed::default() }
    }

    /// Takes note that the pod was deleted, or again with less grace; whether that was news.
    pub(crate) fn note_deletion(&mut self, pod: &Pod, now: Moment) -> bool {
        let Some(grace_seconds) = pod.deletion_grace_seconds() else { return false };
        let deadline = now.plus_seconds(grace_seconds);
        let deadline = match self.deletion {
            Some(known) if known.grace_seconds <= grace_seconds => return false,
            Some(known) => deadline.min(known.deadline),
            None => deadline,
        };
        self.deletion = Some(Deletion { grace_seconds, deadline });
        true
    }

    pub(crate) fn record(&self, container: &str) -> &Record {
        // Made for every container of the spec, whose list of names cannot change.
        static NONE: std::sync::LazyLock<Record> = std::sync::LazyLock::new(Record::default);
        self.containers.get(container).unwrap_or(&NONE)
    }

    /// Whether any container runs or is being started.
    pub(crate) fn is_active(&self) -> bool {
        self.containers.values().any(Record::is_active)
    }

    /// Whether the pod's containers have all ended for good: by themselves, and the restart policy lets them.
    pub(crate) fn is_finished(&self, pod: &Pod) -> bool {
        let for_good = |container: &Container| {
            let end = self.record(&container.name).exited();
            end.is_some_and(|end| !end.is_restarted(pod.restart_policy_of(container)))
        };
        let (inits, containers) = (&pod.spec.init_containers, &pod.spec.containers);
        let has_failed = |init: &Container| for_good(init) && !self.record(&init.name).succeeded();
        let init_failed = !self.initialized && inits.iter().any(has_failed);
        init_failed || (!containers.is_empty() && containers.iter().all(for_good))
    }
}

impl Termination {
    /// Whether a container that has ended so is started anew.
    pub(crate) fn is_restarted(&self, policy: RestartPolicy) -> bool {
        match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => self.exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

impl Observed {
    /// The shim died, or the machine was restarted: nothing runs any more, and init containers have to run again.
    /// `ended` says how each container that was running has ended.
    pub(crate) fn lose_sandbox(
        &mut self,
        pod: &Pod,
        now: Timestamp,
        ended: impl Fn(&Running) -> Termination,
    ) {
        self.sandbox = Part::Broken { retry_at: now };
        for record in self.containers.values_mut() {
            if let Phase::Running(running) = &record.phase {
                record.end(ended(running));
            }
        }
        // What has ended for good needs no other sandbox, and its init containers do not run again.
        if self.is_finished(pod) {
            return;
        }
        let is_over =
            |(name, record): &(&String, &mut Record)| pod.is_init(name) && record.exited().is_some();
        self.containers.iter_mut().filter(is_over).for_each(|(_, record)| record.next_attempt());
        self.initialized = false;
    }
}

impl Record {
    /// The present instance has ended.
    pub(crate) fn end(&mut self, termination: Termination) {
        self.phase = Phase::Exited(termination);
        // The next instance looks for the image anew: its tag may have moved, or it may have been removed.
        self.image = ImageState::Unknown;
    }

    /// Makes room for the next instance.
    pub(crate) fn next_attempt(&mut self) {
        if let Phase::Exited(termination) = std::mem::take(&mut self.phase) {
            self.last = Some(termination);
            self.attempt += 1;
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Running(_) | Phase::Starting)
    }

    /// Whether it counts as started: its hook is done and its startup probe has succeeded.
    pub(crate) fn is_started(&self) -> bool {
        self.running().is_some_and(|running| running.hooked && running.started)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.running().is_some_and(|running| running.hooked && running.started && running.ready)
    }

    pub(crate) fn exited(&self) -> Option<&Termination> {
        match &self.phase {
            Phase::Exited(termination) => Some(termination),
            _ => None,
        }
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.exited().is_some_and(|termination| termination.exit_code == 0)
    }
}
