//! A component that has been compiled, checked and linked.

use crate::bindings::{cluster, interface, planning, scoring};
use crate::error::{LoadError, StartError};
use crate::limits::Limits;
use crate::sandbox::{Sandbox, first_line};
use crate::{Engine, WasmPolicy, link};
use berth_lifecycle::{RoleName, StartFailure};
use berth_scheduler::OFFERED;
use berth_scheduler::policy::Columns;
use berth_scheduler::policy::Policy;
use sha2::Digest as _;
use std::fmt;
use std::sync::Arc;
use wasmtime::component::InstancePre;

/// SHA-256 of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// In hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The interface whose export makes a component this.
fn interface_of(role: RoleName) -> &'static str {
    match role {
        RoleName::Scheduler => "cluster",
        RoleName::Admission => "reviewing",
        RoleName::Autoscaler => "scaling",
    }
}

/// Ready to be started any number of times. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Component {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    digest: Digest,
    role: RoleName,
    limits: Limits,
    pre: InstancePre<Sandbox>,
    scheduler: Option<SchedulerExports>,
}

/// Where a scheduler's interfaces are.
pub(crate) struct SchedulerExports {
    pub(crate) cluster: cluster::GuestIndices,
    pub(crate) scoring: Option<scoring::GuestIndices>,
    pub(crate) planning: Option<planning::GuestIndices>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("digest", &self.digest)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Component {
    /// Checks what a compiled component imports and exports.
    pub(crate) fn link(
        engine: &Engine,
        component: &wasmtime::component::Component,
        digest: Digest,
        limits: Limits,
    ) -> Result<Self, LoadError> {
        let kind = component.component_type();
        let ungranted = link::ungranted(kind.imports(engine.wasmtime()).map(|(name, _)| name));
        if !ungranted.is_empty() {
            return Err(LoadError::Ungranted(ungranted));
        }
        let exports: Vec<String> = kind.exports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
        let role = role(&exports)?;
        let pre = engine.linker().instantiate_pre(component).map_err(|error| mismatch("log", &error))?;
        let scheduler = match role {
            RoleName::Scheduler => Some(SchedulerExports::find(&pre, &exports)?),
            RoleName::Admission | RoleName::Autoscaler => None,
        };
        let engine = engine.clone();
        Ok(Self { shared: Arc::new(Shared { engine, digest, role, limits, pre, scheduler }) })
    }

    /// SHA-256 of the bytes it was made of.
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// What it is for.
    pub fn role(&self) -> RoleName {
        self.shared.role
    }

    /// What each of its instances may use.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Starts a scheduling policy: a new instance, configured, described and checked, but not fed. Log lines carry `name`.
    pub fn scheduler(
        &self,
        name: &str,
        config: &[u8],
        offered: Columns<'_>,
    ) -> Result<WasmPolicy, StartError> {
        WasmPolicy::start(self, name, config, offered)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn pre(&self) -> &InstancePre<Sandbox> {
        &self.shared.pre
    }

    pub(crate) fn scheduler_exports(&self) -> Option<&SchedulerExports> {
        self.shared.scheduler.as_ref()
    }
}

/// As roles start it.
impl berth_lifecycle::Component for Component {
    fn role(&self) -> RoleName {
        self.shared.role
    }

    fn scheduler(&self, name: &str, config: &str) -> Result<Box<dyn Policy>, StartFailure> {
        match Self::scheduler(self, name, config.as_bytes(), OFFERED) {
            Ok(policy) => Ok(Box::new(policy)),
            Err(error) if error.is_final() => Err(StartFailure::Refused(error.to_string())),
            Err(error) => Err(StartFailure::Failed(error.to_string())),
        }
    }
}

impl SchedulerExports {
    fn find(pre: &InstancePre<Sandbox>, exports: &[String]) -> Result<Self, LoadError> {
        let has = |name: &str| exports.iter().any(|export| *export == interface(name));
        let cluster = cluster::GuestIndices::new(pre).map_err(|error| mismatch("cluster", &error))?;
        let scoring = has("scoring").then(|| scoring::GuestIndices::new(pre)).transpose();
        let planning = has("planning").then(|| planning::GuestIndices::new(pre)).transpose();
        Ok(Self {
            cluster,
            scoring: scoring.map_err(|error| mismatch("scoring", &error))?,
            planning: planning.map_err(|error| mismatch("planning", &error))?,
        })
    }
}

fn mismatch(name: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Mismatch { interface: interface(name), reason: first_line(&format!("{error:#}")) }
}

/// The role the exports speak of, in this version of the contract.
fn role(exports: &[String]) -> Result<RoleName, LoadError> {
    let exact = |role: &RoleName| exports.iter().any(|export| *export == interface(interface_of(*role)));
    if let Some(role) = RoleName::ALL.into_iter().find(exact) {
        return Ok(role);
    }
    for role in RoleName::ALL {
        let any_version = format!("berth:policy/{}@", interface_of(role));
        if let Some(found) = exports.iter().find(|export| export.starts_with(&any_version)) {
            return Err(LoadError::OtherVersion {
                found: found.clone(),
                served: interface(interface_of(role)),
            });
        }
    }
    let known = RoleName::ALL.map(|role| interface(interface_of(role))).to_vec();
    Err(LoadError::ExportsNothing { found: exports.to_vec(), known })
}
