//! What the binary gives a server that crates below it do not know.

use std::collections::HashMap;
use std::sync::Arc;

use berth_api::{ResourceName, Timestamp};
use berth_json::Value;
use berth_state::Stored;
use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Checks a plugin's component before it is stored, so that a client learns at once what is wrong with it.
pub trait ComponentCheck: Send + Sync + 'static {
    /// Whether these bytes are a component that can be used; if not, one clear sentence for the client. Dropped when the
    /// client has left.
    fn check(&self, component: Bytes) -> BoxFuture<'_, Result<(), String>>;
}

/// Makes the objects of a resource that is read and stored nowhere: each of a stored one with the same name, namespace and
/// labels.
pub trait Derived: Send + Sync + 'static {
    /// The resource of what is stored, e.g. `pods`.
    fn source(&self) -> &'static str;

    /// The object with kind and apiVersion; `None` when there is none of this one.
    fn object(&self, source: &Stored, now: Timestamp) -> Option<Value>;
}

/// A server's hooks.
#[derive(Clone)]
pub struct Hooks {
    /// Asked about uploaded components.
    pub components: Arc<dyn ComponentCheck>,
    /// Asked for the objects of the resources that are stored nowhere.
    pub derived: HashMap<ResourceName, Arc<dyn Derived>>,
    /// Asked for more of `/metrics`, in the Prometheus text format 0.0.4.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Takes every component; what is wrong with it shows in the Plugin's status later.
#[derive(Clone, Copy, Debug, Default)]
pub struct UncheckedComponents;

impl ComponentCheck for UncheckedComponents {
    fn check(&self, _: Bytes) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            components: Arc::new(UncheckedComponents),
            derived: HashMap::new(),
            metrics: Arc::new(String::new),
        }
    }
}
