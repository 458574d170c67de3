//! What all pods of a node share.

pub(crate) mod events;
pub(crate) mod image_failure;
pub(crate) mod image_gc;
pub(crate) mod images;
pub(crate) mod machine;
pub(crate) mod pull_secrets;
pub(crate) mod status;
pub(crate) mod storage;

use std::path::PathBuf;
use std::sync::Arc;

use berth_client::{ApiResource, Client, Followed, ListOptions};
use berth_network::Network;
use berth_runtime::Runtime;
use tokio::sync::watch;

use crate::config::{AgentConfig, Layout};
use crate::container::env::ServiceAddress;
use crate::container::sources::Sources;
use crate::container::spec::ContainerPaths;
use crate::manifest::Pod;
use crate::node::events::Events;
use crate::node::images::Images;
use crate::node::machine::Machine;

/// One node's machinery.
pub(crate) struct Node {
    pub(crate) config: AgentConfig,
    pub(crate) layout: Layout,
    pub(crate) machine: Machine,
    pub(crate) runtime: Runtime,
    pub(crate) network: Network,
    pub(crate) images: Images,
    pub(crate) sources: Sources,
    pub(crate) services: Services,
    pub(crate) events: Events,
}

impl Node {
    pub(crate) fn client(&self) -> &Client {
        &self.config.client
    }

    /// Where an instance of a container has its files.
    pub(crate) fn paths(&self, pod: &Pod, container: &str, attempt: u32) -> ContainerPaths {
        let id = crate::container::spec::id(pod.uid(), container, attempt);
        let directory = self.layout.pod(pod.uid()).join("containers").join(id);
        ContainerPaths {
            directory,
            log: self.log_directory(pod).join(container).join(format!("{attempt}.log")),
        }
    }

    /// Where a pod has its logs, named as the kubelet names it.
    pub(crate) fn log_directory(&self, pod: &Pod) -> PathBuf {
        let crate::manifest::Metadata { name, namespace, uid, .. } = &pod.metadata;
        self.layout.logs().join(format!("{namespace}_{name}_{uid}"))
    }
}

/// The addresses of all services; `None` until the first answer.
#[derive(Clone)]
pub(crate) struct Services {
    known: watch::Receiver<Option<Arc<Vec<ServiceAddress>>>>,
}

impl Services {
    /// Follows services for as long as somebody is interested.
    pub(crate) fn start(client: Client) -> Services {
        let (sender, known) = watch::channel(None);
        tokio::spawn(async move {
            let mut follow = client.follow(ApiResource::SERVICES, "", ListOptions::default());
            let mut all = Vec::new();
            loop {
                let event = tokio::select! {
                    event = follow.next() => event,
                    () = sender.closed() => return,
                };
                apply(&mut all, event);
                sender.send_replace(Some(Arc::new(all.clone())));
            }
        });
        Services { known }
    }

    /// All services; waits for the first answer.
    ///
    /// # Errors
    /// In the kubelet's words, when there is none within ten seconds.
    pub(crate) async fn get(&self) -> Result<Arc<Vec<ServiceAddress>>, String> {
        const FIRST_ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(10);
        let mut known = self.known.clone();
        let first = tokio::time::timeout(FIRST_ANSWER_MAX, known.wait_for(Option::is_some)).await;
        let services = first.ok().and_then(Result::ok).and_then(|services| services.clone());
        services
            .ok_or_else(|| "services have not yet been read at least once, cannot construct envs".to_owned())
    }
}

fn apply(all: &mut Vec<ServiceAddress>, event: Followed) {
    match event {
        Followed::Replaced(services) => {
            *all = services.iter().filter_map(ServiceAddress::from_value).collect()
        }
        Followed::Applied(service) | Followed::Deleted(service) if service["spec"]["clusterIP"] == "None" => {
            remove(all, &service);
        }
        Followed::Applied(service) => {
            remove(all, &service);
            all.extend(ServiceAddress::from_value(&service));
        }
        Followed::Deleted(service) => remove(all, &service),
    }
}

fn remove(all: &mut Vec<ServiceAddress>, service: &serde_json::Value) {
    let metadata = &service["metadata"];
    all.retain(|known| metadata["name"] != *known.name || metadata["namespace"] != *known.namespace);
}
