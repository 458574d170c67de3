//! What the runtime and its pods' handles share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use super::executable::SealedExecutable;
use super::watch::Watch;
use crate::cgroups::{Cgroups, Layout};
use crate::error::{Error, Result};
use crate::rundir::PodDirectory;
use crate::seccomp;
use crate::spec::{ContainerSpec, Seccomp};

pub(super) struct Shared {
    pub(super) run_dir: PathBuf,
    pub(super) cgroup_root: String,
    pub(super) layout: Layout,
    pub(super) cgroups: Box<dyn Cgroups>,
    pub(super) watch: Watch,
    /// Shims that are children of this process, to be reaped when they end.
    pub(super) shims: Mutex<HashMap<String, Child>>,
    pub(super) executable: SealedExecutable,
    pub(super) filters: seccomp::Cache,
}

impl Shared {
    pub(super) fn directory(&self, pod_id: &str) -> PodDirectory {
        PodDirectory::new(&self.run_dir, pod_id)
    }

    pub(super) fn lock_shims(&self) -> std::sync::MutexGuard<'_, HashMap<String, Child>> {
        // A map of children is whole between any two statements, whoever panicked.
        self.shims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects a shim that has no reason to be there any more, if it is a child of this process.
    pub(super) fn reap_shim(&self, pod_id: &str) {
        let child = self.lock_shims().remove(pod_id);
        if let Some(mut child) = child {
            // It has ended, or was told to; one that hung before it could say who it is, was not. Both fail only for a
            // process that somebody else has reaped.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Makes sure that a shim finds the compiled filter a container needs.
    pub(super) fn prepare_filter(&self, spec: &ContainerSpec) -> Result<()> {
        if spec.privileged || spec.seccomp == Seccomp::Unconfined {
            return Ok(());
        }
        self.filters.prepare(&spec.capabilities).map_err(Error::io("compile the seccomp profile"))
    }
}
