//! Starting one container.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use berth_image::Image;
use berth_runtime::{ContainerPhase, ContainerSpec, Error, MountSource, PodHandle, StartErrorKind, Started};

use super::StartFailure;
use crate::container::env;
use crate::container::etc::{self, EtcFiles};
use crate::container::fields::Surroundings;
use crate::container::sources::PodSources;
use crate::container::spec::{self, ContainerPaths, Inputs};
use crate::container::volumes::Directories;
use crate::manifest::{Container, Pod};
use crate::node::Node;
use crate::process::blocking;

/// Everything a start needs, so that it can go on without the worker.
pub(super) struct Job {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: String,
    pub(super) attempt: u32,
    pub(super) handle: PodHandle,
    pub(super) image: Arc<Image>,
    pub(super) directories: Arc<Directories>,
    pub(super) sources: Arc<PodSources>,
    pub(super) around: Surroundings,
}

pub(super) async fn start(job: Job) -> Result<Started, StartFailure> {
    let Some(container) = job.pod.container(&job.container).cloned() else {
        return Err(StartFailure::Config(format!("container {:?} is not in the pod", job.container)));
    };
    let paths = job.node.paths(&job.pod, &job.container, job.attempt);
    let spec = spec(&job, &container, &paths).await.map_err(StartFailure::Config)?;
    let (pod, name, handle) = (Arc::clone(&job.pod), job.container.clone(), job.handle.clone());
    let (attempt, image) = (job.attempt, container.image.clone());
    let previous = attempt.checked_sub(1);
    let previous = previous.map(|previous| job.node.paths(&job.pod, &job.container, previous).directory);
    let started = blocking(move || {
        // It was tried before under this number, and what came of that may not have been heard.
        if paths.directory.exists() {
            let state = handle.state().map_err(|error| StartFailure::Create(error.to_string()))?;
            let known = state.containers.into_iter().find(|known| known.spec.id == spec.id);
            if let Some(started) = found(&name, known.map(|known| known.phase))? {
                return Ok(started);
            }
        }
        if let Some(previous) = previous {
            remove_previous(&previous);
        }
        prepare(&paths, attempt).map_err(|error| {
            StartFailure::Create(format!("cannot prepare {}: {error}", paths.directory.display()))
        })?;
        make_volumes(&spec).map_err(|error| {
            StartFailure::Create(format!("cannot make the volumes of image {image:?}: {error}"))
        })?;
        let started = handle.start_container(&spec);
        started.map_err(|error| failure(&pod, &name, &error))
    });
    started.await.map_err(|error| StartFailure::Create(error.to_string()))?
}

/// What the shim knows of an instance that is to be started: nothing, nearly always. One that runs is that instance,
/// and its files are not to be made anew; one that comes up or ends in this moment is told by the next look or event.
fn found(name: &str, phase: Option<ContainerPhase>) -> Result<Option<Started>, StartFailure> {
    match phase {
        None => Ok(None),
        Some(ContainerPhase::Running(started)) => Ok(Some(started)),
        Some(ContainerPhase::Starting) => {
            Err(StartFailure::Create(format!("container {name:?} is still starting")))
        }
        Some(ContainerPhase::Exited(_)) => {
            Err(StartFailure::Create(format!("container {name:?} has just ended")))
        }
    }
}

async fn spec(job: &Job, container: &Container, paths: &ContainerPaths) -> Result<ContainerSpec, String> {
    let objects = job.sources.get(&job.node.sources, env::sources(container)).await?;
    let services = job.node.services.get().await?;
    let (pod, around) = (&*job.pod, job.around);
    let variables =
        env::variables(&env::Inputs { pod, container, objects: &objects, services: &services, around })?;
    spec::build(&Inputs {
        pod,
        container,
        attempt: job.attempt,
        image: &job.image,
        variables: &variables,
        hostname: &etc::hostname(pod),
        directories: &job.directories,
        etc: &EtcFiles::of(&job.node.layout.pod(pod.uid())),
        paths,
        machine_memory_bytes: job.node.machine.memory_bytes,
    })
}

/// Removes the files of the instance before. Nearly always that has been done when it ended; but nobody has when its
/// end was not seen, because the shim or the machine died, or when it never ran.
fn remove_previous(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "the files of an earlier instance could not be removed");
        }
        _ => {}
    }
}

/// Makes the writable layer anew, and removes the log of the attempt before the one before.
fn prepare(paths: &ContainerPaths, attempt: u32) -> io::Result<()> {
    match fs::remove_dir_all(&paths.directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(paths.upper())?;
    fs::create_dir(paths.work())?;
    // The root directory of the container: as in an image, everybody may look into it.
    fs::set_permissions(paths.upper(), fs::Permissions::from_mode(0o755))?;
    fs::write(paths.termination_log(), "")?;
    fs::set_permissions(paths.termination_log(), fs::Permissions::from_mode(0o666))?;
    match attempt.checked_sub(2) {
        Some(old) => remove_logs(paths, old),
        None => Ok(()),
    }
}

/// Directories for the volumes that the image declares; they are filled when the container starts.
fn make_volumes(spec: &ContainerSpec) -> io::Result<()> {
    spec.mounts.iter().try_for_each(|mount| match &mount.source {
        MountSource::ImageVolume { path } => {
            fs::create_dir_all(path)?;
            // Of one that the image does not have; otherwise it becomes as it is there.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        }
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => Ok(()),
    })
}

fn remove_logs(paths: &ContainerPaths, attempt: u32) -> io::Result<()> {
    let Some(directory) = paths.log.parent() else { return Ok(()) };
    let stem = format!("{attempt}.log");
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&stem) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn failure(pod: &Pod, container: &str, error: &Error) -> StartFailure {
    let Error::Start(start) = error else { return StartFailure::Create(error.to_string()) };
    match start.kind {
        StartErrorKind::RootRefused => StartFailure::Config(format!(
            "container has runAsNonRoot and image will run as root (pod: \"{}\", container: {container})",
            pod.display()
        )),
        StartErrorKind::SubPath => StartFailure::Config(format!(
            "failed to prepare the volumeMounts of container {container:?}: {start}"
        )),
        StartErrorKind::CommandNotFound
        | StartErrorKind::CommandNotExecutable
        | StartErrorKind::WorkingDirectory => {
            let message = format!("failed to start container {container:?}: {start}");
            StartFailure::Run { exit_code: start.kind.exit_code(), message }
        }
        StartErrorKind::UserNotFound
        | StartErrorKind::Mount
        | StartErrorKind::Rootfs
        | StartErrorKind::Cgroup
        | StartErrorKind::Network
        | StartErrorKind::Security
        | StartErrorKind::TimedOut
        | StartErrorKind::Internal => {
            StartFailure::Create(format!("failed to create container {container:?}: {start}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn an_instance_that_runs_already_is_not_started_again() {
        let started = Started { pid: 7, started_at: SystemTime::UNIX_EPOCH, warnings: Vec::new() };
        assert_eq!(found("c", None), Ok(None));
        assert_eq!(found("c", Some(ContainerPhase::Running(started.clone()))), Ok(Some(started)));
        let wait = found("c", Some(ContainerPhase::Starting)).unwrap_err();
        assert_eq!(wait, StartFailure::Create("container \"c\" is still starting".to_owned()));
    }
}
