//! A component that has been compiled, checked and linked.

use crate::bindings::{cluster, configuring, interface, planning, reviewing, scaling, scoring};
use crate::error::{LoadError, StartError};
use crate::instance::Instance;
use crate::limits::{Limits, SCHEMA_BYTES_MAX, SETUP_DEADLINE};
use crate::sandbox::{Sandbox, first_line};
use crate::{Engine, WasmPolicy, WasmRecommender, WasmReviewer, link};
use berth_admission::Reviewer;
use berth_autoscale::Recommender;
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
    indices: Indices,
    configuring: Option<configuring::GuestIndices>,
    exports: Vec<String>,
    imports: Vec<String>,
}

/// Where the interfaces of its role are.
pub(crate) enum Indices {
    Scheduler {
        cluster: Box<cluster::GuestIndices>,
        scoring: Option<scoring::GuestIndices>,
        planning: Option<planning::GuestIndices>,
    },
    Admission(reviewing::GuestIndices),
    Autoscaler(scaling::GuestIndices),
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
        let imports: Vec<String> = kind.imports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
        let ungranted = link::ungranted(imports.iter().map(String::as_str));
        if !ungranted.is_empty() {
            return Err(LoadError::Ungranted(ungranted));
        }
        let exports: Vec<String> = kind.exports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
        let role = role(&exports)?;
        let pre = engine.linker().instantiate_pre(component).map_err(|error| mismatch("log", &error))?;
        let indices = Indices::find(role, &pre, &exports)?;
        let configuring = found("configuring", &exports, || configuring::GuestIndices::new(&pre))?;
        let engine = engine.clone();
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                digest,
                role,
                limits,
                pre,
                indices,
                configuring,
                exports,
                imports,
            }),
        })
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

    /// The interfaces it exports.
    pub fn exports(&self) -> &[String] {
        &self.shared.exports
    }

    /// The interfaces it imports, all of them granted.
    pub fn imports(&self) -> &[String] {
        &self.shared.imports
    }

    /// How many bytes of memory an instance has that was only started.
    pub fn memory_at_start(&self) -> Result<usize, StartError> {
        Ok(Instance::start(self, "", |_, _| Ok(()))?.memory_bytes())
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

    /// Starts an admission policy. Log lines carry `name`.
    pub fn admission(&self, name: &str, config: &[u8]) -> Result<WasmReviewer, StartError> {
        WasmReviewer::start(self, name, config)
    }

    /// Starts an autoscaling policy. Log lines carry `name`.
    pub fn autoscaler(&self, name: &str, config: &[u8]) -> Result<WasmRecommender, StartError> {
        WasmRecommender::start(self, name, config)
    }

    /// The schema of its configuration, as JSON; empty when it has none.
    pub fn config_schema(&self) -> Result<String, StartError> {
        let Some(indices) = &self.shared.configuring else { return Ok(String::new()) };
        let mut instance = Instance::start(self, "", |store, instance| indices.load(store, instance))?;
        let schema = instance.call(SETUP_DEADLINE, |store, guest| guest.call_schema(store))?;
        if schema.len() > SCHEMA_BYTES_MAX {
            let why = format!("its schema has {} bytes, and {SCHEMA_BYTES_MAX} are the limit", schema.len());
            return Err(StartError::BadManifest(why));
        }
        Ok(schema)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn pre(&self) -> &InstancePre<Sandbox> {
        &self.shared.pre
    }

    pub(crate) fn indices(&self) -> &Indices {
        &self.shared.indices
    }
}

/// As roles start it.
impl berth_lifecycle::Component for Component {
    fn role(&self) -> RoleName {
        self.shared.role
    }

    fn scheduler(&self, name: &str, config: &str) -> Result<Box<dyn Policy>, StartFailure> {
        let started = Self::scheduler(self, name, config.as_bytes(), OFFERED);
        started.map(|policy| Box::new(policy) as _).map_err(failure)
    }

    fn admission(&self, name: &str, config: &str) -> Result<Arc<dyn Reviewer>, StartFailure> {
        Self::admission(self, name, config.as_bytes()).map(|policy| Arc::new(policy) as _).map_err(failure)
    }

    fn autoscaler(&self, name: &str, config: &str) -> Result<Arc<dyn Recommender>, StartFailure> {
        Self::autoscaler(self, name, config.as_bytes()).map(|policy| Arc::new(policy) as _).map_err(failure)
    }

    fn config_schema(&self) -> Result<String, StartFailure> {
        Self::config_schema(self).map_err(failure)
    }
}

fn failure(error: StartError) -> StartFailure {
    let why = error.to_string();
    if error.is_final() { StartFailure::Refused(why) } else { StartFailure::Failed(why) }
}

impl Indices {
    fn find(role: RoleName, pre: &InstancePre<Sandbox>, exports: &[String]) -> Result<Self, LoadError> {
        let needed = |name: &str, error: wasmtime::Error| mismatch(name, &error);
        Ok(match role {
            RoleName::Scheduler => Self::Scheduler {
                cluster: Box::new(cluster::GuestIndices::new(pre).map_err(|error| needed("cluster", error))?),
                scoring: found("scoring", exports, || scoring::GuestIndices::new(pre))?,
                planning: found("planning", exports, || planning::GuestIndices::new(pre))?,
            },
            RoleName::Admission => Self::Admission(
                reviewing::GuestIndices::new(pre).map_err(|error| needed("reviewing", error))?,
            ),
            RoleName::Autoscaler => {
                Self::Autoscaler(scaling::GuestIndices::new(pre).map_err(|error| needed("scaling", error))?)
            }
        })
    }
}

/// Where an optional interface is, if it is exported.
fn found<T>(
    name: &str,
    exports: &[String],
    find: impl FnOnce() -> wasmtime::Result<T>,
) -> Result<Option<T>, LoadError> {
    let is_exported = exports.iter().any(|export| *export == interface(name));
    is_exported.then(find).transpose().map_err(|error| mismatch(name, &error))
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
