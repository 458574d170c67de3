//! How a cluster is set up, and why one does not start.

use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_api::{Catalogue, Status};
use berth_pipeline::{Admission, Authorizer, NoTokens, NodePorts, RoleAuthorizer, ServiceCidr, TokenIssuer};
use berth_state::StoreError;
use berth_tasks::Executor;

use crate::ids::{IdSource, SystemIds};

/// How a [`Cluster`] is set up.
#[derive(Clone)]
pub struct Config {
    /// The kinds of this build.
    pub catalogue: Arc<Catalogue>,
    /// Asked on every request.
    pub authorizer: Arc<dyn Authorizer>,
    /// Admission plugins after the built-in ones.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Signs service account tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// Where tasks run, and the time.
    pub executor: Executor,
    /// Where uids and generated names come from.
    pub ids: Arc<dyn IdSource>,
    /// Where cluster IPs come from.
    pub services: ServiceCidr,
    /// Where node ports come from.
    pub node_ports: NodePorts,
    /// The port on which the API server listens, for the Service `default/kubernetes`.
    pub api_port: u16,
}

/// The range of cluster IPs that kubeadm gives.
const SERVICES: &str = "10.96.0.0/16";
/// The port of API servers.
const API_PORT: u16 = 6443;

impl Config {
    /// A cluster of these kinds on this machine, with what Kubernetes has where nothing is said.
    ///
    /// # Panics
    /// Never: the usual range is one.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self {
            catalogue,
            authorizer: Arc::new(RoleAuthorizer),
            admission: vec![],
            tokens: Arc::new(NoTokens),
            executor: Executor::default(),
            ids: Arc::new(SystemIds),
            services: ServiceCidr::parse(SERVICES).expect("a range"),
            node_ports: NodePorts::default(),
            api_port: API_PORT,
        }
    }
}

/// Why a cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds an object that this version cannot read.
    #[error("the stored object {object} cannot be read: {source}")]
    Object {
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: berth_state::EncodeError,
    },
    /// The store holds an object of a kind that this version does not serve.
    #[error(
        "the store holds {object}, of a kind this version does not serve; it was written by a newer berth"
    )]
    UnknownKind {
        /// Which object.
        object: String,
    },
    /// The Services were made with another range.
    #[error(
        "--service-cidr {services} does not fit the Service {service}, which has the address {address}: a cluster keeps the \
         range that it was made with; give that one"
    )]
    Services {
        /// The range asked for.
        services: ServiceCidr,
        /// A Service that does not fit.
        service: String,
        /// Its address.
        address: Ipv4Addr,
    },
    /// An object that every cluster has could not be made.
    #[error("the cluster's own objects could not be made: {0}")]
    System(Status),
}
