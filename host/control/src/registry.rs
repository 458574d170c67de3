//! The controllers of this build.

use std::sync::Arc;

use berth_pipeline::Kinds;

use crate::controller::Controller;
use crate::{definition, deployment, eviction, expiry, garbage, namespace, node, replicaset};

/// What controllers must know of their cluster.
#[derive(Clone)]
pub struct Config {
    /// Which kinds are served.
    pub kinds: Arc<Kinds>,
    /// The cluster's CA certificate in PEM, for the ConfigMap `kube-root-ca.crt` of every namespace.
    pub ca_certificate: String,
}

/// All of them, a line each.
pub(crate) fn controllers(config: &Config) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(deployment::Deployments),
        Box::new(replicaset::ReplicaSets),
        Box::new(namespace::Namespaces::new(config)),
        Box::new(node::NodeLifecycle),
        Box::new(eviction::Eviction::default()),
        Box::new(garbage::Garbage),
        Box::new(expiry::EventExpiry),
        Box::new(definition::Definitions::new(config)),
    ]
}
