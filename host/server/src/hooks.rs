//! What the binary gives a server that crates below it do not know.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Checks a plugin's component before it is stored, so that a client learns at once what is wrong with it.
pub trait ComponentCheck: Send + Sync + 'static {
    /// Whether these bytes are a component that can be used; if not, one clear sentence for the client. Dropped when the
    /// client has left.
    fn check(&self, component: Bytes) -> BoxFuture<'_, Result<(), String>>;
}

/// A server's hooks.
#[derive(Clone)]
pub struct Hooks {
    /// Asked about uploaded components.
    pub components: Arc<dyn ComponentCheck>,
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
        Self { components: Arc::new(UncheckedComponents) }
    }
}
