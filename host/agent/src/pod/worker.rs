//! One task per pod: asks [`converge`] what to do, has it done, learns how it went, and reports.
//!
//! Nothing in here blocks: what takes time runs as a task of its own and comes back as a [`Message`], so that the
//! worker always knows what is under way, and no pod waits for another.

mod adopt;
mod learn;
mod ops;
mod probing;
mod report;
mod sandbox;
mod start;
mod writing;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use berth_api::time::Timestamp;
use berth_client::ClientError;
use berth_image::Image;
use berth_runtime::{ContainerPhase, ExitStatus, PodHandle, PodState, Started};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::backoff::Backoff;
use crate::clock::{self, Moment, Now};
use crate::container::fields::Surroundings;
use crate::container::probes::ProbeKind;
use crate::container::volumes::{Directories, Made, Volumes};
use crate::manifest::Pod;
use crate::node::Node;
use crate::node::image_failure::ImageFailure;
use crate::node::images::Resolved;
use crate::pod::admission;
use crate::pod::converge::{self, converge};
use crate::pod::observed::{Observed, Remains};
use crate::pod::status::{Facts, Fields};
pub(crate) use sandbox::remove_files;

/// Messages that wait for a worker; a pod has a handful of things under way at a time.
const INBOX_MAX: usize = 64;

/// How often it is decided anew in one step. Nearly always twice is enough; an operation that must wait for another
/// is asked for again without an end.
const ROUNDS_MAX: usize = 4;

/// What the API wants of a pod.
#[derive(Clone)]
pub(crate) struct Desired {
    pub(crate) pod: Arc<Pod>,
    /// The status as the API has it.
    pub(crate) status: Arc<Fields>,
    /// The object is gone.
    pub(crate) vanished: bool,
}

/// Something a worker learns.
pub(crate) enum Message {
    SandboxMade(Result<(PodHandle, Option<Ipv4Addr>), String>),
    SandboxRemoved(Result<(), String>),
    VolumesMade(Result<Made, String>),
    VolumesRemoved(Result<(), String>),
    ImageResolved {
        container: String,
        result: Result<Resolved, ImageFailure>,
    },
    Started {
        container: String,
        result: Result<Started, StartFailure>,
    },
    /// Found in the shim after a restart, still starting then.
    Settled {
        container: String,
        phase: Option<ContainerPhase>,
    },
    Exited {
        container_id: String,
        status: ExitStatus,
    },
    ShimDied,
    PostStartDone {
        container_id: String,
        result: Result<(), String>,
    },
    PreStopDone {
        container_id: String,
    },
    Probed {
        container_id: String,
        kind: ProbeKind,
        success: bool,
    },
    /// It has written more to the node's disk than it may.
    Overused(String),
    RemainsRemoved(Result<(), String>),
    ObjectDeleted(Result<(), ClientError>),
    Reported {
        fields: Fields,
        result: Result<(), ClientError>,
    },
}

impl Message {
    /// For the log: the steps of a pod's start with their times.
    fn word(&self) -> &'static str {
        match self {
            Message::SandboxMade(_) => "sandbox made",
            Message::SandboxRemoved(_) => "sandbox removed",
            Message::VolumesMade(_) => "volumes made",
            Message::VolumesRemoved(_) => "volumes removed",
            Message::ImageResolved { .. } => "image resolved",
            Message::Started { .. } => "container started",
            Message::Settled { .. } => "container settled",
            Message::Exited { .. } => "container exited",
            Message::ShimDied => "shim died",
            Message::PostStartDone { .. } => "postStart done",
            Message::PreStopDone { .. } => "preStop done",
            Message::Probed { .. } => "probe decided",
            Message::Overused(_) => "storage overused",
            Message::RemainsRemoved(_) => "remains removed",
            Message::ObjectDeleted(_) => "object deleted",
            Message::Reported { .. } => "status reported",
        }
    }
}

/// Why a container does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// What the pod asks for cannot be (now): `CreateContainerConfigError`.
    Config(String),
    /// It could not be made: `CreateContainerError`.
    Create(String),
    /// Its program could not be executed: it counts as run and ended.
    Run { exit_code: i32, message: String },
}

/// What others may see of a pod.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) pod: Arc<Pod>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) handle: Option<PodHandle>,
}

/// A worker as the dispatcher holds it.
pub(crate) struct WorkerHandle {
    pub(crate) desired: watch::Sender<Desired>,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) view: watch::Receiver<View>,
}

pub(crate) struct Worker {
    node: Arc<Node>,
    pod: Arc<Pod>,
    /// When this worker began, for the times in the log.
    begun: std::time::Instant,
    observed: Observed,
    handle: Option<PodHandle>,
    images: HashMap<String, Arc<Image>>,
    /// Images being looked for.
    pulls: Vec<AbortHandle>,
    directories: Arc<Directories>,
    volumes: Arc<Volumes>,
    /// When tokens have to be renewed, and whether a round of that is under way.
    refresh_at: Option<Timestamp>,
    refreshing: bool,
    /// Something has changed since the round that is under way began.
    stale: bool,
    /// Ends of containers of which the start is not known yet.
    early_exits: HashMap<String, ExitStatus>,
    /// Running probes, by container id.
    probes: HashMap<String, Vec<AbortHandle>>,
    /// Measures what the pod writes, if it has limits.
    writing: Option<AbortHandle>,
    report: report::Report,
    /// Failures of what the node does for the pod: its sandbox, its volumes, taking them away.
    trouble: Backoff,
    inbox: mpsc::Receiver<Message>,
    sender: mpsc::Sender<Message>,
    desired: watch::Receiver<Desired>,
    view: watch::Sender<View>,
}

impl Worker {
    /// Starts a worker for a pod; `recovered` is what an earlier run left of it.
    pub(crate) fn spawn(
        node: &Arc<Node>,
        desired: Desired,
        recovered: Option<(PodHandle, PodState)>,
        tasks: &mut tokio::task::JoinSet<String>,
    ) -> WorkerHandle {
        let pod = Arc::clone(&desired.pod);
        let uid = pod.uid().to_owned();
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let volumes = Arc::new(Volumes {
            directory: node.layout.pod(&uid),
            memory_directory: node.layout.memory().join(&uid),
            sources: Arc::new(crate::container::sources::PodSources::new(&pod.metadata.namespace)),
            tokens: tokio::sync::Mutex::default(),
        });
        let mut adopted = adopt::adopt(node, &pod, recovered, &sender);
        let allowed = &node.config.allowed_unsafe_sysctls;
        adopted.observed.refusal = admission::refusal(&pod, allowed, node.machine.has_app_armor);
        let report = report::Report::new(crate::pod::status::own(&desired.status), adopted.settled);
        let view = View {
            pod: Arc::clone(&pod),
            observed: Arc::new(adopted.observed.clone()),
            handle: adopted.handle.clone(),
        };
        let (view, views) = watch::channel(view);
        let (desired, wanted) = watch::channel(desired);
        let mut worker = Worker {
            node: Arc::clone(node),
            pod,
            begun: std::time::Instant::now(),
            observed: adopted.observed,
            handle: adopted.handle,
            images: HashMap::new(),
            pulls: Vec::new(),
            directories: Arc::default(),
            volumes,
            refresh_at: None,
            refreshing: false,
            stale: false,
            early_exits: HashMap::new(),
            probes: HashMap::new(),
            writing: None,
            report,
            trouble: Backoff::default(),
            inbox,
            sender: sender.clone(),
            desired: wanted,
            view,
        };
        worker.find_images();
        worker.probe_adopted();
        worker.writing = worker.watch_writing();
        tasks.spawn(async move {
            if adopted.settled {
                worker.wait_for_deletion().await;
            }
            worker.run().await;
            uid
        });
        WorkerHandle { desired, inbox: sender, view: views }
    }

    /// A pod that had ended before this node knew it is only waited with.
    async fn wait_for_deletion(&mut self) {
        let deleted = |desired: &Desired| desired.vanished || desired.pod.is_deleted();
        // Fails when the dispatcher is gone; then run() ends as well.
        drop(self.desired.wait_for(deleted).await.map(drop));
        self.adopt_desired();
    }

    async fn run(mut self) {
        let mut changes = self.volumes.sources.changes();
        loop {
            let wake_at = self.step(Now::read());
            if self.observed.remains == Remains::Done {
                return;
            }
            self.show();
            let sleep = async {
                match wake_at {
                    Some(at) => tokio::time::sleep(clock::until(at, clock::now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.learn(message),
                    None => return,
                },
                changed = self.desired.changed() => match changed {
                    Ok(()) => self.adopt_desired(),
                    // The agent is stopping: containers are left as they are.
                    Err(_) => return,
                },
                Ok(()) = changes.changed() => self.source_changed(),
                () = sleep => {}
            }
            // What else has come is taken in before anything is decided.
            while let Ok(message) = self.inbox.try_recv() {
                self.learn(message);
            }
        }
    }

    /// Decides, acts, reports; when to come back at the latest.
    fn step(&mut self, now: Now) -> Option<Timestamp> {
        if self.observed.note_deletion(&self.pod, now.steady) && self.observed.remains == Remains::Present {
            self.save(now.wall);
        }
        if !self.observed.initialized && converge::has_initialized(&self.pod, &self.observed) {
            self.observed.initialized = true;
        }
        if converge::ends(&self.pod, &self.observed, now) {
            self.end_pulls();
        }
        let mut plan = converge(&self.pod, &self.observed, self.node.config.crash_pauses, now);
        // What has begun may have a deadline of its own: only a plan without operations knows when to wake up.
        for _ in 0..ROUNDS_MAX {
            if plan.ops.is_empty() {
                break;
            }
            for op in plan.ops {
                self.begin(op, now);
            }
            plan = converge(&self.pod, &self.observed, self.node.config.crash_pauses, now);
        }
        let refresh_at = self.refresh_due(now.wall);
        let report_at = self.report(now.wall);
        [plan.wake_at, refresh_at, report_at].into_iter().flatten().min()
    }

    /// Refreshes volumes when it is time; when it will be.
    fn refresh_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        let at = self.refresh_at?;
        if at > now {
            return Some(at);
        }
        self.refresh_at = None;
        self.refresh_volumes();
        None
    }

    fn adopt_desired(&mut self) {
        let desired = self.desired.borrow_and_update().clone();
        if desired.vanished && self.observed.vanished.is_none() {
            self.observed.vanished = Some(Moment::now());
        }
        let downward_changed = self.pod.metadata.labels != desired.pod.metadata.labels
            || self.pod.metadata.annotations != desired.pod.metadata.annotations;
        self.pod = desired.pod;
        if downward_changed {
            self.source_changed();
        }
    }

    fn show(&self) {
        self.view.send_replace(View {
            pod: Arc::clone(&self.pod),
            observed: Arc::new(self.observed.clone()),
            handle: self.handle.clone(),
        });
    }

    /// Runs something that takes time; it comes back as a message.
    fn background(&self, work: impl Future<Output = Message> + Send + 'static) -> AbortHandle {
        let sender = self.sender.clone();
        let task = tokio::spawn(async move {
            // Fails when the worker has ended: then nobody needs to know.
            drop(sender.send(work.await).await);
        });
        task.abort_handle()
    }

    fn facts(&self) -> Facts {
        Facts { host_ip: self.node.machine.ip, crash: self.node.config.crash_pauses }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            host_ip: self.node.machine.ip,
            pod_ip: Some(self.pod_ip()),
            allocatable: self.node.machine.allocatable(),
        }
    }

    /// The pod's address: its own, or the node's when it shares the node's network.
    fn pod_ip(&self) -> IpAddr {
        self.observed.ip.map_or(self.node.machine.ip, IpAddr::V4)
    }

    fn directory(&self) -> PathBuf {
        self.node.layout.pod(self.pod.uid())
    }

    /// Writes down what must not be forgotten.
    fn save(&self, now: Timestamp) {
        if let Err(error) = crate::pod::checkpoint::save(&self.directory(), &self.observed, now) {
            tracing::warn!(pod = self.pod.display(), %error, "the pod's checkpoint could not be written");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let tasks = self.probes.values().flatten().chain(&self.writing).chain(&self.pulls);
        tasks.for_each(AbortHandle::abort);
    }
}
