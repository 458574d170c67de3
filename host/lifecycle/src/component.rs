//! What roles need of a component, whatever runs it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use berth_admission::Reviewer;
use berth_autoscale::Recommender;
use berth_scheduler::policy::Policy;
use bytes::Bytes;

use crate::effect::StartFailure;
use crate::objects::Limits;
use crate::place::RoleName;

/// A component that was loaded and can be started any number of times.
pub trait Component: Send + Sync {
    /// What it is for.
    fn role(&self) -> RoleName;

    /// Starts a scheduling policy with a JSON text as its configuration, not fed yet. `name` is the plugin's.
    ///
    /// # Errors
    /// When it does not start, or is of another role.
    fn scheduler(&self, name: &str, config: &str) -> Result<Box<dyn Policy>, StartFailure>;

    /// Starts an admission policy in the same way.
    ///
    /// # Errors
    /// When it does not start, or is of another role.
    fn admission(&self, name: &str, config: &str) -> Result<Arc<dyn Reviewer>, StartFailure>;

    /// Starts an autoscaling policy in the same way.
    ///
    /// # Errors
    /// When it does not start, or is of another role.
    fn autoscaler(&self, name: &str, config: &str) -> Result<Arc<dyn Recommender>, StartFailure>;

    /// The schema of its configuration, as JSON (`configuring` of the contract); empty when it has none.
    ///
    /// # Errors
    /// When it fails to say so.
    fn config_schema(&self) -> Result<String, StartFailure>;
}

/// Why a component did not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The component is at fault.
    Refused(String),
    /// The machine is: the same bytes may load later.
    Machine(String),
}

/// A load under way; dropping it ends it.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn Component>, LoadError>> + Send + 'a>>;

/// Makes components of bytes that may come from anywhere.
pub trait Loader: Send + Sync {
    /// Checks and compiles a component.
    fn load(&self, bytes: Bytes, limits: Limits) -> Loading<'_>;
}
