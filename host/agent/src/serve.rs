//! What the server asks of the node: logs, exec, attach, and what it uses.

mod running;
mod scrape;
mod streams;
mod usage;

use berth_client::{
    AttachRequest, ByteStream, ExecRequest, ExitStatus, LogRequest, NodeApi, NodeError, Streams,
};
use berth_metrics::NodeSample;
use berth_runtime::PodHandle;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::agent::AgentHandle;
use crate::clock;
use crate::container::logs::{self, Wanted};
use crate::container::spec::id;
use crate::manifest::Pod;
use crate::node::events::Severity;
use crate::pod::observed::{ImageState, Observed, Phase, Record};
use crate::pod::worker::View;
use crate::serve::running::Running;

pub(crate) use scrape::Scraper;

impl NodeApi for AgentHandle {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Box::pin(async move {
            let view = self.view(&request.uid, &request.namespace, &request.pod)?;
            let seen = view.borrow().clone();
            let record = record(&seen, &request.container)?;
            let attempt = log_attempt(&seen, record, &request)?;
            let path = self.node.paths(&seen.pod, &request.container, attempt).log;
            let wanted = Wanted::of(&request, clock::now()).map_err(NodeError::BadRequest)?;
            let follows = request.follow && !request.previous && attempt == record.attempt;
            let container_id = id(seen.pod.uid(), &request.container, attempt);
            let runs = record.running().is_some_and(|running| running.id == container_id);
            if !path.exists() && !runs {
                let id = crate::pod::status::container_id(&container_id);
                return Err(NodeError::NotFound(format!("unable to retrieve container logs for {id}")));
            }
            let container = request.container;
            let alive = (follows && runs).then(|| Box::new(Running { view, container, container_id }) as _);
            Ok(logs::stream(path, wanted, alive))
        })
    }

    fn exec(&self, request: ExecRequest, streams: Streams) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
        Box::pin(async move {
            let view = self.view(&request.uid, &request.namespace, &request.pod)?;
            let (handle, container_id) = running(&view.borrow(), &request.container)?;
            streams::exec(&handle, &container_id, request.command, request.tty, streams).await
        })
    }

    fn attach(
        &self,
        request: AttachRequest,
        streams: Streams,
    ) -> BoxFuture<'_, Result<ExitStatus, NodeError>> {
        Box::pin(async move {
            let view = self.view(&request.uid, &request.namespace, &request.pod)?;
            let (handle, container_id) = running(&view.borrow(), &request.container)?;
            let mut running = Running { view, container: request.container, container_id };
            streams::attach(&handle, &mut running, streams).await
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<NodeSample, NodeError>> {
        Box::pin(async {
            let pods = usage::running(&self.workers, self.node.machine.ip);
            let pages = pods.iter().map(usage::Measured::page).collect();
            let read = tokio::task::spawn_blocking(move || usage::read(&pods));
            let tell = |pod: &Pod, why| self.node.events.pod(pod, Severity::Warning, "ScrapeFailed", why);
            let (mut values, read) = tokio::join!(self.scraper.scrape(pages, tell), read);
            let failed = |_| NodeError::Internal("reading what the node uses failed".to_owned());
            let mut sample = read.map_err(failed)??;
            for pod in &mut sample.pods {
                pod.values = values.remove(&pod.uid).unwrap_or_default();
            }
            Ok(sample)
        })
    }
}

impl AgentHandle {
    fn view(&self, uid: &str, namespace: &str, name: &str) -> Result<watch::Receiver<View>, NodeError> {
        let found = self.workers.with(|workers| match workers.get(uid) {
            Some(worker) => Some(worker.view.clone()),
            None => workers
                .values()
                .map(|worker| &worker.view)
                .find(|view| is_named(&view.borrow().pod, namespace, name))
                .cloned(),
        });
        found.ok_or_else(|| NodeError::NotFound(format!("pod {name:?} not found on this node")))
    }
}

fn is_named(pod: &Pod, namespace: &str, name: &str) -> bool {
    pod.metadata.namespace == namespace && pod.metadata.name == name
}

fn record<'a>(view: &'a View, container: &str) -> Result<&'a Record, NodeError> {
    let name = &view.pod.metadata.name;
    let found = view.observed.containers.get(container);
    found.ok_or_else(|| NodeError::BadRequest(format!("container {container} is not valid for pod {name}")))
}

/// The instance whose log is wanted.
fn log_attempt(view: &View, record: &Record, request: &LogRequest) -> Result<u32, NodeError> {
    let (container, pod) = (&request.container, &view.pod.metadata.name);
    let present = match &record.phase {
        Phase::Running(_) | Phase::Exited(_) => Some(record.attempt),
        Phase::Waiting | Phase::Blocked { .. } | Phase::Starting => None,
    };
    match (request.previous, present) {
        (false, Some(attempt)) => Ok(attempt),
        // While the next instance is being made, the log is that of the last.
        (true, _) | (false, None) if record.last.is_some() => Ok(record.attempt - 1),
        (true, _) => {
            let text = format!("previous terminated container {container:?} in pod {pod:?} not found");
            Err(NodeError::BadRequest(text))
        }
        (false, None) => {
            let why = waiting_reason(&view.observed, record, &view.pod);
            Err(NodeError::NotReady(format!(
                "container {container:?} in pod {pod:?} is waiting to start: {why}"
            )))
        }
    }
}

fn waiting_reason(observed: &Observed, record: &Record, pod: &Pod) -> String {
    match (&record.phase, &record.image) {
        (Phase::Blocked { reason, .. }, _) => (*reason).to_owned(),
        (
            _,
            ImageState::Failed { reason: "ErrImagePull", .. } | ImageState::Resolving { failed: Some(_) },
        ) => "trying and failing to pull image".to_owned(),
        (_, ImageState::Failed { reason, .. }) => (*reason).to_owned(),
        _ if !observed.initialized && !pod.spec.init_containers.is_empty() => "PodInitializing".to_owned(),
        _ => "ContainerCreating".to_owned(),
    }
}

fn running(view: &View, container: &str) -> Result<(PodHandle, String), NodeError> {
    let record = record(view, container)?;
    match (record.running(), &view.handle) {
        (Some(running), Some(handle)) => Ok((handle.clone(), running.id.clone())),
        _ => {
            let (name, namespace) = (&view.pod.metadata.name, &view.pod.metadata.namespace);
            let text = match record.exited() {
                Some(_) => format!(
                    "cannot use a container in a completed state: container {container:?} of pod {namespace}/{name} has ended"
                ),
                None => format!(
                    "container not found ({container:?}): it is not running in pod {namespace}/{name}"
                ),
            };
            Err(NodeError::NotReady(text))
        }
    }
}
