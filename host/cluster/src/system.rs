//! The objects that every cluster has, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use berth_api::Reason;
use berth_pipeline::{Request, ServiceCidr, bootstrap};
use berth_state::{Key, State};

use crate::{Cluster, Interest, StartError};

/// How long after a failed attempt the next one is made: the period at which the API server of Kubernetes looks after its
/// Service.
const RETRY: Duration = Duration::from_secs(10);

impl Cluster {
    /// Makes what is missing of the objects that every cluster has, and corrects the port at which its Service finds this
    /// server: it may listen elsewhere than at the last start.
    pub(crate) async fn ensure_system_objects(&self) -> Result<(), StartError> {
        for request in self.system_writes() {
            // No policy is in the way of what a cluster cannot be without.
            match self.apply_admitted(request, &[], None).await {
                Err(status) if status.reason == Reason::AlreadyExists => {}
                Err(status) => return Err(StartError::System(status)),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Brings back what is deleted of them, for as long as it is let: `kubectl delete service --all` takes the Service
    /// `kubernetes` along, and every pod that starts afterwards looks for the API in its environment.
    pub async fn keep_system_objects(self: Arc<Self>) {
        let mut namespaces = self.subscribe("namespaces", Interest::All);
        let mut service = self.subscribe("services", Interest::Object("default".into(), "kubernetes".into()));
        loop {
            let kept = self.ensure_system_objects().await;
            if let Err(error) = &kept {
                tracing::warn!(%error, "what every cluster has is not all there; it is tried again");
            }
            tokio::select! {
                biased;
                () = namespaces.changed() => {}
                () = service.changed() => {}
                () = self.executor().sleep(RETRY), if kept.is_err() => {}
            }
        }
    }

    fn system_writes(&self) -> Vec<Request> {
        let config = &self.config;
        let all = bootstrap::system_objects(&config.catalogue, config.services, config.api_port);
        self.read(|state: &State| all.into_iter().filter_map(|create| write_for(state, create)).collect())
    }
}

/// Refuses a range in which a Service that is there already has no place.
pub(crate) fn check_services(state: &State, services: ServiceCidr) -> Result<(), StartError> {
    for stored in state.list("services", "") {
        // Those without an address of their own fit everywhere.
        let address = stored.field("spec.clusterIP").and_then(|address| address.parse().ok());
        let Some(address) = address else { continue };
        let fits = match (&*stored.key.namespace, &*stored.key.name) {
            ("default", "kubernetes") => address == services.api_server(),
            _ => services.offset(address).is_some(),
        };
        if !fits {
            let service = format!("{}/{}", stored.key.namespace, stored.key.name);
            return Err(StartError::Services { services, service, address });
        }
    }
    Ok(())
}

/// What is to be done so that the object is as `create` would make it.
fn write_for(state: &State, create: Request) -> Option<Request> {
    let name = bootstrap::name_of(&create);
    match state.get(&Key::new(create.resource.id.clone(), create.namespace.as_str(), name)) {
        None => Some(create),
        Some(present) => bootstrap::port_correction(&create, &present.to_value(&create.resource)),
    }
}
